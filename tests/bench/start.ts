// `npm run bench -- start [PART...]`: how fast machines start and run. Parts: warm, cold, emulator.

import { defaultStarterMemoryMiB } from "../../core/machine/index";
import { startEmulator } from "../support/emulatorProcess";
import { BenchHost, prepareStarter, starterSpec, type StartTimes } from "./pieces/benchHost";
import { timeCommand, type GuestLine } from "./pieces/guestLine";
import { bePlainV86, plainArgument, PlainV86 } from "./pieces/plainV86";
import { processorSeconds, processorShare, residentMiB } from "./pieces/processes";
import { figure, median, milliseconds, rounded, runBench, say, type Figure, type Part } from "./pieces/report";

const warmRounds = 7;
const coldRounds = 3;
const comparedRounds = 7;
/** What one command of the comparison should take, milliseconds: long against the serial line, short enough for rounds. */
const comparedMs = 2500;
const idleSeconds = 20;
/** An idle guest has settled when two windows in a row differ by less than this, percent of a core. */
const settledWithin = 1;
const settlingWindowSeconds = 5;
const settlingWindows = 12;

/** Starts of a starter machine as the wizard makes it, then the same machine left alone. */
const warm: Part = {
  name: "warm",
  async measure() {
    await prepareStarter();
    const host = await BenchHost.open();
    try {
      const id = await host.create({ ...starterSpec, name: "bench" });
      // The disk is new and gets its file system now.
      const first = await host.start(id);
      requireOrigin(first, "pre-booted", host);
      await host.shutdown(id);
      const rounds: StartTimes[] = [];
      for (let round = 0; round < warmRounds; round++) {
        if (round > 0) await host.shutdown(id);
        const times = await host.start(id);
        requireOrigin(times, "pre-booted", host);
        rounds.push(times);
        say(`start ${round + 1}: ${Math.round(times.answered)} ms`);
      }
      const pid = await host.pid(id);
      const started = [
        figure("start of a starter machine to an answered agent command", median(rounds.map((times) => times.answered)) / 1000, "s", { atMost: 1 }, {
          rounds: milliseconds(rounds.map((times) => times.answered)),
          medianMilliseconds: phases(rounds),
          processorMilliseconds: milliseconds(rounds.map((times) => times.processor)),
        }),
        figure("the same, first start with an empty disk", first.answered / 1000, "s", undefined, { medianMilliseconds: phases([first]) }),
      ];
      return [...started, ...(await idle(pid))];
    } finally {
      await host.close();
    }
  },
};

/** The steps of a start, each from the end of the one before, milliseconds. */
function phases(rounds: readonly StartTimes[]): Record<string, number> {
  const of = (pick: (times: StartTimes) => number | undefined): number => Math.round(median(rounds.map((times) => pick(times) ?? NaN)));
  return {
    processAndSockets: of((times) => times.process),
    stateLoaded: of((times) => (times.running ?? NaN) - (times.process ?? NaN)),
    identity: of((times) => times.job - (times.running ?? NaN)),
    agentSeen: of((times) => times.agent - times.job),
    command: of((times) => times.answered - times.agent),
  };
}

async function idle(pid: number): Promise<Figure[]> {
  const settling: number[] = [];
  for (let window = 0; window < settlingWindows; window++) {
    const before = settling.at(-1);
    const share = await processorShare(pid, settlingWindowSeconds);
    settling.push(rounded(share));
    if (before !== undefined && Math.abs(share - before) < settledWithin) break;
  }
  const share = await processorShare(pid, idleSeconds);
  return [
    figure("processor share of an idle guest", share, "% of a core", { atMost: 10 }, { seconds: idleSeconds, settling }),
    figure("resident memory of the machine process, idle", residentMiB(pid), "MiB", undefined, { guestMiB: defaultStarterMemoryMiB }),
  ];
}

/** Boots of the same guest without a state: the kernel that is made for it, from the power button on. */
const cold: Part = {
  name: "cold",
  async measure() {
    const host = await BenchHost.open();
    try {
      // Memory that no state was made for, so that it really boots.
      const id = await host.create({ ...starterSpec, name: "bench", memoryMiB: defaultStarterMemoryMiB + 16 });
      const rounds: StartTimes[] = [];
      for (let round = 0; round < coldRounds; round++) {
        const times = await host.start(id);
        // The host service now makes a state for the next time, which would be measured along and end the cold boots.
        await host.cancel("prepare-state");
        requireOrigin(times, "cold", host);
        rounds.push(times);
        say(`cold boot ${round + 1}: ${Math.round(times.answered)} ms`);
        await host.powerOff(id);
      }
      return [
        figure("cold boot of the same guest to an answered agent command", median(rounds.map((times) => times.answered)) / 1000, "s", { atMost: 12 }, {
          rounds: milliseconds(rounds.map((times) => times.answered)),
          processorMilliseconds: milliseconds(rounds.map((times) => times.processor)),
        }),
      ];
    } finally {
      await host.close();
    }
  },
};

function requireOrigin(times: StartTimes, origin: string, host: BenchHost): void {
  if (times.startedFrom !== origin) throw new Error(`the machine came up ${String(times.startedFrom)}, not ${origin}:\n${host.log.slice(-3000)}`);
}

/** Commands that keep the guest's processor busy in different ways; `count` says how long. */
const loops: Readonly<Record<string, { first: number; command: (count: number) => string }>> = {
  shell: { first: 20_000, command: (count) => `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); done` },
  awk: { first: 50_000, command: (count) => `awk 'BEGIN { for (i = 0; i < ${count}; i++) s += i * i % 7; exit s < 0 }'` },
  processes: { first: 40, command: (count) => `i=0; while [ $i -lt ${count} ]; do /bin/busybox true; i=$((i+1)); done` },
};

/** The same commands in our machine process and in v86 as its package comes, in turns, the other one stopped. */
const emulator: Part = {
  name: "emulator",
  async measure() {
    const plain = PlainV86.start(defaultStarterMemoryMiB);
    const own = startEmulator({ memory: defaultStarterMemoryMiB });
    try {
      await plain.until(/~# /);
      await plain.move("stop");
      await own.bootToShell();
      const monitor = await own.qmp();
      const line = await own.serial();
      const ownPid = own.process.pid ?? 0;
      const sides = {
        own: { line: line as GuestLine, pid: ownPid, run: () => monitor.execute("cont"), stop: () => monitor.execute("stop") },
        plain: { line: plain as GuestLine, pid: plain.pid, run: () => plain.move("run"), stop: () => plain.move("stop") },
      };
      await sides.own.stop();
      // A guest goes on booting behind its prompt; each settles before anything is timed.
      for (const side of [sides.plain, sides.own]) {
        await side.run();
        await settled(side.pid);
        await side.stop();
      }
      const residents = { own: Math.round(residentMiB(ownPid)), plain: Math.round(residentMiB(plain.pid)) };

      const ratios: Record<string, object> = {};
      const medians = { own: 0, plain: 0 };
      const processorMedians = { own: 0, plain: 0 };
      for (const [name, loop] of Object.entries(loops)) {
        const time = async (which: keyof typeof sides, count: number): Promise<{ ms: number; processor: number }> => {
          const side = sides[which];
          await side.run();
          const before = processorSeconds(side.pid);
          const ms = await timeCommand(side.line, loop.command(count));
          const processor = (processorSeconds(side.pid) - before) * 1000;
          await side.stop();
          return { ms, processor };
        };
        // Both translate the code of the loop first; then it is known how often it has to run.
        let count = loop.first;
        for (let took = (await time("plain", count)).ms; took < comparedMs * 0.7; took = (await time("plain", count)).ms) {
          count = Math.ceil(count * Math.min(20, (comparedMs / took) * 1.05));
        }
        await time("own", count);
        const rounds = { own: [] as number[], plain: [] as number[] };
        const processor = { own: [] as number[], plain: [] as number[] };
        for (let round = 0; round < comparedRounds; round++) {
          for (const which of round % 2 === 0 ? (["own", "plain"] as const) : (["plain", "own"] as const)) {
            const { ms, processor: used } = await time(which, count);
            rounds[which].push(ms);
            processor[which].push(used);
          }
        }
        for (const which of ["own", "plain"] as const) {
          medians[which] += median(rounds[which]);
          processorMedians[which] += median(processor[which]);
        }
        const ratio = rounded(median(rounds.plain) / median(rounds.own));
        const byProcessorTime = rounded(median(processor.plain) / median(processor.own));
        ratios[name] = { ratio, byProcessorTime, count, own: milliseconds(rounds.own), plain: milliseconds(rounds.plain) };
        say(`${name}: ${ratio} (by processor time ${byProcessorTime})`);
      }
      return [
        figure("speed of the guest in the machine process, against plain v86 in Node", medians.plain / medians.own, "", { atLeast: 0.95 }, {
          medianMilliseconds: { own: Math.round(medians.own), plain: Math.round(medians.plain) },
          // Says the same with less noise where other programs take turns on the same cores.
          byProcessorTime: rounded(processorMedians.plain / processorMedians.own),
          loops: ratios,
        }),
        figure("resident memory of the machine process, booted", residents.own, "MiB", undefined, { plain: residents.plain, guestMiB: defaultStarterMemoryMiB }),
      ];
    } finally {
      own.dispose();
      await plain.end();
    }
  },
};

/** Waits until a process takes as much of a core as a second before, or half a minute has passed. */
async function settled(pid: number): Promise<void> {
  let before = await processorShare(pid, 1);
  for (let second = 0; second < 30; second++) {
    const now = await processorShare(pid, 1);
    if (now < 50 && Math.abs(now - before) < 5) return;
    before = now;
  }
}

if (process.argv[2] === plainArgument) bePlainV86(Number(process.argv[3]));
else void runBench("start", [warm, cold, emulator]);
