import { systemClock } from "../../../core/base/clock";
import { newCounters, type FramePort, type FrameSink } from "../../../core/net/port";
import { Switch } from "../../../core/net/switch";
import { write32, writeMac, type MacNumber } from "../../../core/net/wire/addresses";
import { figure, median, rounded, type Figure } from "./report";

const batch = 64;
const rounds = 7;
const roundMs = 400;

/** The end of a cable that counts what comes out of it. */
class CountingPort implements FramePort {
  readonly counters = newCounters();
  readonly writable = true;
  bytes = 0;
  private sink: FrameSink | undefined;

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(_bytes: Uint8Array, at: number, end: number): void {
    this.bytes += end - at;
  }

  say(run: Uint8Array): void {
    this.sink?.frames(run, 0, run.length);
  }

  dispose(): void {
    this.sink = undefined;
  }
}

function runOf(from: MacNumber, to: MacNumber, length: number): Uint8Array {
  const run = new Uint8Array((4 + length) * batch);
  for (let at = 0; at < run.length; at += 4 + length) {
    write32(run, at, length);
    writeMac(run, at + 4, to);
    writeMac(run, at + 10, from);
  }
  return run;
}

/** Frames a second through a switch, one port to another, in runs of `batch`. */
function framesASecond(length: number): { readonly perSecond: number; readonly rounds: number[] } {
  const lan = new Switch(systemClock());
  const [from, to] = [0x5254_0000_0001, 0x5254_0000_0002];
  const [one, other, third] = [new CountingPort(), new CountingPort(), new CountingPort()];
  for (const port of [one, other, third]) lan.attach(port);
  other.say(runOf(to, from, length));
  const run = runOf(from, to, length);
  const measured: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const began = performance.now();
    const before = lan.counters.frames;
    while (performance.now() - began < roundMs) for (let count = 0; count < 256; count++) one.say(run);
    const perSecond = (lan.counters.frames - before) / ((performance.now() - began) / 1000);
    // The first warms up.
    if (round > 0) measured.push(perSecond);
  }
  if (other.bytes < lan.counters.bytes - batch * length) throw new Error("the switch has counted frames that nobody got");
  return { perSecond: median(measured), rounds: measured.map(rounded) };
}

export function measureSwitching(): Figure[] {
  const small = framesASecond(64);
  const large = framesASecond(1514);
  return [
    figure(`switch in the process, 64 B in batches of ${batch}`, small.perSecond / 1e6, "million frames/s", { atLeast: 3 }, { rounds: small.rounds }),
    figure(`switch in the process, 1514 B in batches of ${batch}`, (large.perSecond * 1514 * 8) / 1e9, "Gbit/s", { atLeast: 8 }, { framesPerSecond: large.rounds }),
  ];
}
