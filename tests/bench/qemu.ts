// `npm run bench -- qemu [PART...]`: what Terrarium adds to QEMU. Parts: start, boot, console.

import { spawn, type ChildProcess } from "node:child_process";
import { watch } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { MachineSpecInput } from "../../core/contract/model";
import { BenchHost, benchRuntime, prepareStarter, starterSpec } from "./pieces/benchHost";
import { measureConsole } from "./pieces/console";
import { figure, median, milliseconds, runBench, say, type Figure, type Part } from "./pieces/report";

const startRounds = 7;
const bootRounds = 5;

/** The starter's kernel and RAM disk as a person would give them, so that both ways run exactly the same guest. */
async function starterKernel(extra: string): Promise<Pick<MachineSpecInput, "boot" | "engine" | "memoryMiB" | "disks" | "adapters">> {
  const { guestDir } = benchRuntime();
  const { cmdline } = JSON.parse(await readFile(join(guestDir, "guest.json"), "utf8")) as { cmdline: string };
  return { ...starterSpec, engine: "qemu", boot: { kind: "kernel", kernel: join(guestDir, "kernel-fast.bin"), initrd: join(guestDir, "initrd.cpio"), cmdline: `${cmdline}${extra}` } };
}

/** Milliseconds from `begin` until the file says `pattern`; what it said before counts nothing. */
async function untilSaid(file: string, pattern: RegExp, begin: () => Promise<unknown>): Promise<number> {
  await mkdir(dirname(file), { recursive: true });
  const before = await readFile(file, "utf8").catch(() => "");
  const began = performance.now();
  const said = new Promise<number>((resolve) => {
    const look = (): void =>
      void readFile(file, "utf8").then((text) => {
        if (!pattern.test(text.slice(before.length))) return;
        watcher.close();
        resolve(performance.now() - began);
      }, () => undefined);
    const watcher = watch(dirname(file), look);
  });
  await begin();
  return said;
}

/** A machine's command line, run by hand in a folder of its own, without waiting for anybody. */
class ByHand {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly command: readonly string[],
    readonly folder: string,
  ) {}

  /** Sockets and the serial log go elsewhere; -S would have it wait for a monitor. */
  static async of(command: readonly string[], runDir: string, serialLog: string): Promise<ByHand> {
    const folder = await mkdtemp(join(tmpdir(), "tb-hand-"));
    const own = command.filter((word) => word !== "-S").map((word) => word.replaceAll(serialLog, join(folder, "serial0.log")).replaceAll(runDir, folder));
    return new ByHand(own, folder);
  }

  get serialLog(): string {
    return join(this.folder, "serial0.log");
  }

  async start(): Promise<void> {
    const [program = "", ...args] = this.command;
    const child = spawn(program, args, { stdio: "ignore" });
    this.child = child;
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  }

  async end(): Promise<void> {
    const { child } = this;
    if (!child) return;
    this.child = undefined;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  async remove(): Promise<void> {
    await this.end();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Starts the same machine by Terrarium and by hand in turns, and times how long each takes to say `pattern`. */
async function compare(spec: MachineSpecInput, pattern: RegExp, rounds: number): Promise<{ ours: number[]; byHand: number[] }> {
  const host = await BenchHost.open();
  try {
    const id = await host.create(spec);
    const { folder } = await host.service.call("machine.get", { id });
    const serialLog = join(folder, "logs", "serial0.log");
    const start = async (): Promise<number> => {
      const took = await untilSaid(serialLog, pattern, async () => host.finishJob((await host.service.call("machine.start", { id })).job.id));
      return took;
    };
    // The first start makes what later ones find; its command line is the one that is run by hand.
    await start();
    const { command } = await host.service.call("machine.commandLine", { id });
    await host.powerOff(id);
    const hand = await ByHand.of(command, join(host.service.runDir, "m", id.slice(0, 8)), serialLog);
    const [ours, byHand]: [number[], number[]] = [[], []];
    try {
      for (let round = 0; round < rounds; round++) {
        ours.push(await start());
        await host.powerOff(id);
        byHand.push(await untilSaid(hand.serialLog, pattern, () => hand.start()));
        await hand.end();
        say(`round ${round + 1}: ${Math.round(ours.at(-1) ?? NaN)} ms, by hand ${Math.round(byHand.at(-1) ?? NaN)} ms`);
      }
    } finally {
      await hand.remove();
    }
    return { ours, byHand };
  } finally {
    await host.close();
  }
}

/** From Start to the first thing the guest says: what is more than by hand is Terrarium's. */
const start: Part = {
  name: "start",
  async measure(): Promise<Figure[]> {
    await prepareStarter();
    const { ours, byHand } = await compare({ name: "bench", ...(await starterKernel(" ignore_loglevel earlyprintk=serial,ttyS0,115200")) }, /\S/, startRounds);
    return [
      figure("Terrarium's own part of a start on QEMU, to the guest's first word", median(ours) - median(byHand), "ms", { atMost: 300 }, { terrarium: milliseconds(ours), byHand: milliseconds(byHand) }),
    ];
  },
};

/** The same guest to its prompt. */
const boot: Part = {
  name: "boot",
  async measure(): Promise<Figure[]> {
    await prepareStarter();
    const { ours, byHand } = await compare({ name: "bench", ...(await starterKernel("")) }, /root@\S+:~# /, bootRounds);
    return [
      figure("boot of the starter on QEMU against the same command line by hand", median(ours) / median(byHand), "", { atMost: 1.05 }, { terrarium: milliseconds(ours), byHand: milliseconds(byHand) }),
    ];
  },
};

/** The console of a machine on QEMU, as `-- ui console` measures the built-in emulator's. */
const console_: Part = { name: "console", measure: () => measureConsole({ engine: "qemu" }) };

void runBench("qemu", [start, boot, console_]);
