import { describe, it } from "vitest";
import { FuzzedNetwork } from "../support/net/fuzzedNetwork";
import { expectUnharmed } from "../support/net/unharmed";

const rounds = 20;
const frames = 500_000;

describe("networks of hostile guests", () => {
  it(`take ${rounds * frames} frames of every kind without harm, and without growing`, async () => {
    const heaps: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const fuzzed = new FuzzedNetwork(1000 + round * 7919);
      await fuzzed.run(frames);
      await expectUnharmed(fuzzed, frames);
      heaps.push(process.memoryUsage().heapUsed);
    }
    // Garbage comes and goes; what leaks only comes.
    const lowest = (some: readonly number[]): number => Math.min(...some);
    if (lowest(heaps.slice(rounds / 2)) > lowest(heaps.slice(0, rounds / 2)) * 2) throw new Error(`memory grows: ${heaps.join(", ")}`);
  });
});
