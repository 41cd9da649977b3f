import { writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { systemClock } from "../base/clock";
import { DisposableStore } from "../base/disposable";
import { createLog, type Log } from "../base/log";
import { lockImage } from "../storage/imageLock";
import { parseArguments, type MachineArguments } from "./argv";
import { createCommands, qmpVersion } from "./commands";
import { exitCodes, MachineProcess } from "./machineProcess";
import { claimPidFile } from "./pidFile";
import { QmpServer } from "./qmp";
import { createRfbServer } from "./rfb";
import { listenOn } from "./sockets";

/** How long clients get to read the last events, milliseconds. */
const farewell = 1000;

/** One machine, from its command line to its end. Standard error is the log. */
async function main(): Promise<void> {
  const log = createLog((line) => process.stderr.write(`${line}\n`));
  const parsed = parseArguments(process.argv.slice(2));
  if (!parsed.ok) return refuse(parsed.error);
  const store = new DisposableStore();
  try {
    await serve(parsed.value, store, log);
  } catch (error) {
    store.dispose();
    refuse((error as Error).message);
  }
}

async function serve(machine: MachineArguments, store: DisposableStore, log: Log): Promise<void> {
  const pidFile = claimPidFile(machine.pidFile);
  if (!pidFile.ok) throw new Error(pidFile.error);
  store.add(pidFile.value);
  for (const disk of machine.disks) {
    if (disk.readOnly) continue;
    const lock = await lockImage(disk.file);
    if (!lock.ok) throw new Error(lock.error);
    store.add(lock.value);
  }

  const emulator = new MachineProcess(machine, { directory: dirname(__filename) }, log);
  const qmp = new QmpServer(qmpVersion, createCommands(emulator, systemClock()), log.child("qmp"));
  store.add(emulator.onDidEvent(({ event, data }) => qmp.event(event, data)));
  // Who was not there when the machine ended reads here why it did.
  const noteEnd = (data: unknown): void => {
    try {
      writeFileSync(`${machine.pidFile}.end`, `${JSON.stringify(data)}\n`, { mode: 0o600 });
    } catch (error) {
      // The run directory may have been cleaned away under a machine of many days; it has to end all the same.
      log.warn(`why the machine ended could not be noted: ${(error as Error).message}`);
    }
  };
  store.add(emulator.onDidEvent(({ event, data }) => event === "SHUTDOWN" && noteEnd(data)));
  const leave = async (code: number): Promise<void> => {
    await qmp.finish(farewell);
    store.dispose();
    process.exit(code);
  };
  store.add(
    emulator.onDidEnd((code) => {
      leave(code).catch((error: unknown) => {
        log.error("the machine did not end cleanly", error);
        process.exit(code);
      });
    }),
  );
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      emulator.quit("host-signal").catch((error: unknown) => log.error("the machine did not end cleanly", error));
    });
  }

  const begun = emulator.begin();
  // A machine that cannot begin must not end the process before the sockets are ours to take away again.
  const outcome = begun.then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  const listen = async (path: string | undefined, accept: Parameters<typeof listenOn>[2]): Promise<void> => {
    if (path !== undefined) store.add(await listenOn(path, log, accept));
  };
  await listen(machine.serial, emulator.serial.clients.accept);
  await listen(machine.agent, emulator.agent.clients.accept);
  for (const [index, adapter] of machine.adapters.entries()) {
    const net = emulator.nets[index];
    if (net) await listen(adapter.path, net.clients.accept);
  }
  if (machine.vnc !== undefined) {
    const rfb = store.add(createRfbServer({ display: emulator.display, name: machine.name, input: emulator.input, log: log.child("rfb") }));
    await rfb.listen(machine.vnc);
  }
  // The monitor comes last: who can talk to it finds everything else in place.
  await listen(machine.monitor, qmp.accept);
  const failure = await outcome;
  if (failure) throw failure;
}

function refuse(reason: string): void {
  process.stderr.write(`emulator: ${reason}\n`);
  process.exit(exitCodes.failed);
}

void main();
