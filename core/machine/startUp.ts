import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock";
import { DisposableStore } from "../base/disposable";
import { bootId } from "../base/processes";
import { TerrariumError } from "../contract/errors";
import type { MachineConfig } from "../contract/model";
import { adapterSlots, type Engine, type GuestFiles, type MachineSockets } from "../engine/engine";
import { guestIdentity } from "./identity";
import { readLogEnd } from "./logEnd";
import { loadState, type StateRoute } from "./migration";
import { endOrphan } from "./orphan";
import { makeNeededFiles } from "./neededFiles";
import { cancelled, linksOf, Run, type RunSurroundings } from "./run";
import { writeRunRecord, type RunRecord } from "./runRecord";
import { Session } from "./session";
import { isMissing } from "../storage/fileErrors";

/** Where a run begins: at the firmware, or from a file with memory and devices. */
export type Origin =
  | { readonly from: "cold" }
  | { readonly from: "pre-booted"; readonly file: string }
  /** `identified`: the guest had been told who it is before it was saved, at `savedAt`. */
  | { readonly from: "saved"; readonly file: string; readonly identified: boolean; readonly savedAt: number };

/** A state could not be loaded, or the guest in it does not answer. The machine could start another way. */
export class StateUnusable extends Error {
  /** @param damaged the state itself could not be read; else its guest only did not answer. */
  constructor(
    readonly reason: TerrariumError,
    readonly damaged: boolean,
  ) {
    super(reason.message);
  }
}

export interface StartUp {
  readonly config: MachineConfig;
  readonly engine: Engine;
  readonly origin: Origin;
  readonly sockets: MachineSockets;
  readonly runDir: string;
  readonly guest: GuestFiles;
  /** Makes images of one format from another: the path of qemu-img. */
  readonly imageTool: string | undefined;
  readonly around: RunSurroundings;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** The machine process is there and connected; its guest does not run yet. */
  readonly onRun: (run: Run) => void;
  /** What follows when a guest that boots from the beginning is up. */
  readonly onGuestUp: () => void;
}

/**
 * Brings a machine up: its process, then its memory if there is a state, then the guest, then, for a starter guest from a
 * pre-booted state, who it is. What does not depend on each other happens at once; nothing waits for a poll.
 * When it throws, the run that `onRun` was given is still there: whoever called ends it.
 * @throws StateUnusable when the fault is the state's.
 */
export async function comeUp(start: StartUp): Promise<void> {
  const { config, engine, origin, around, signal, clock } = start;
  const watch = new StopWatch(clock);
  // A starter guest without an identity gets no link; other guests have none to wait for.
  const held = config.boot.kind === "starter" && (origin.from !== "saved" || !origin.identified);
  const identity = held && origin.from === "pre-booted" ? around.authorizedKeys().then((keys) => guestIdentity(config, around.folder, keys, around.spareMacs())) : undefined;
  identity?.catch((error: unknown) => void error); // Awaited below, unless something fails before.
  const logs = join(around.folder, "logs");
  const [boot] = await Promise.all([bootId(), mkdir(start.runDir, { recursive: true, mode: 0o700 }), mkdir(logs, { recursive: true, mode: 0o700 })]);
  const plan = engine.plan(config, {
    folder: around.folder,
    sockets: start.sockets,
    serialLog: join(logs, "serial0.log"),
    dumpDir: logs,
    guest: start.guest,
    links: held || origin.from === "pre-booted" ? Array.from({ length: adapterSlots }, () => false) : linksOf(config.adapters),
    incoming: origin.from !== "cold",
  });
  const engineLog = join(logs, "engine.log");
  await makeNeededFiles(plan.files, start.imageTool, signal);
  const begun: { record?: RunRecord; written?: Promise<void> } = {};
  await endOrphan(start.sockets, join(logs, "serial0.log"), { clock, log: around.log });
  const said = { engine, config, engineLog, logBytes: await sizeOf(engineLog) };
  const session = await Session.launch(plan, start.sockets, {
    engineLog,
    signal,
    clock,
    serialLog: origin.from === "saved" ? join(logs, "serial0.log") : undefined,
    onPid: ({ pid, start: processStart }) => {
      begun.record = { pid, processStart, bootId: boot, startedAt: clock.now(), startedFrom: origin.from, engine: engine.id, command: [plan.command, ...plan.args], ...(origin.from === "saved" ? { savedAt: origin.savedAt } : {}), ran: false, identified: !held };
      begun.written = writeRunRecord(around.folder, begun.record);
      begun.written.catch((error: unknown) => void error); // Awaited below.
    },
  }).catch(async (error: unknown) => {
    throw signal.aborted ? error : await explained(error, said);
  });
  if (!begun.record) throw new TerrariumError("internal", "A machine process was started that nobody heard of.");
  const run = new Run(session, begun.record, around);
  start.onRun(run);
  watch.lap("process");

  const waits = new DisposableStore();
  try {
    const gone = Promise.race([endedEarly(run), cancelled(signal, waits)]);
    gone.catch((error: unknown) => void error); // Of interest only to the races below.
    // A process that ends closes its connections first; why it ended says more than that it did.
    const unlessGone = <T>(work: Promise<T>): Promise<T> => Promise.race([work.catch((error: unknown) => (isDisconnected(error) ? gone : Promise.reject(error))), gone]);
    const stateFault = (error: unknown, damaged: boolean): unknown => (signal.aborted || !(error instanceof TerrariumError) ? error : new StateUnusable(error, damaged));
    await begun.written;
    const route: StateRoute = { transport: engine.info.capabilities.stateTransport, runDir: start.runDir };
    if (origin.from !== "cold") {
      try {
        await unlessGone(loadState(session.qmp, origin.file, route, signal));
      } catch (error) {
        throw stateFault(await explained(error, said), true);
      }
      watch.lap("state");
    }
    await unlessGone(run.tell(plan.before));
    await unlessGone(run.begin(signal));
    watch.lap("running");
    if (identity) {
      const who = await identity;
      try {
        await unlessGone(run.untilAwake(signal));
        watch.lap("agent");
        await unlessGone(run.identify(who));
        watch.lap("identity");
      } catch (error) {
        throw stateFault(error, false);
      }
    } else if (held) run.identifyWhenUp(start.onGuestUp);
    else run.guest.watch();
    around.logEvent(`started ${originInWords[origin.from]} in ${(watch.total / 1000).toFixed(1)} s`);
    around.log.info(`${config.name}: steps of its start, milliseconds: ${watch.toString()}`);
  } finally {
    waits.dispose();
  }
}

/** A machine process that gave up has often said why. */
async function explained(error: unknown, said: { engine: Engine; config: MachineConfig; engineLog: string; logBytes: number }): Promise<unknown> {
  const { engine, config, engineLog, logBytes } = said;
  if (!engine.explain || !(error instanceof TerrariumError) || error.code !== "engine-failed") return error;
  const length = Math.max(0, (await sizeOf(engineLog)) - logBytes);
  const { text } = await readLogEnd(engineLog, Math.min(length, maxSaidBytes));
  // Its command line comes first, and it is not the machine process that says it.
  const why = engine.explain(text.replace(/^\n[^\n]*\n/, ""), config.hardware?.extraArguments);
  return why ? new TerrariumError(why.code, why.message, why.remedy, { cause: error }) : error;
}

const maxSaidBytes = 64 * 1024;

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

const originInWords: Readonly<Record<Origin["from"], string>> = { cold: "from power on", "pre-booted": "from the pre-booted state", saved: "where it was saved" };

/** Where the time of a start goes, for the log. */
class StopWatch {
  private readonly began: number;
  private last: number;
  private readonly laps: string[] = [];

  constructor(private readonly clock: Clock) {
    this.began = this.last = clock.monotonic();
  }

  lap(name: string): void {
    const now = this.clock.monotonic();
    this.laps.push(`${name} ${Math.round(now - this.last)}`);
    this.last = now;
  }

  /** Milliseconds from the beginning to the last lap. */
  get total(): number {
    return this.last - this.began;
  }

  toString(): string {
    return this.laps.join(", ");
  }
}

function isDisconnected(error: unknown): boolean {
  return error instanceof TerrariumError && error.code === "disconnected";
}

async function endedEarly(run: Run): Promise<never> {
  const end = await run.ended;
  throw new TerrariumError("engine-failed", end.kind === "crashed" ? end.reason : "The machine process ended while it started.", "The machine's engine log says more.");
}
