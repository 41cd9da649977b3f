import { describe, it } from "vitest";
import { FuzzedNetwork } from "../../support/net/fuzzedNetwork";
import { expectUnharmed } from "../../support/net/unharmed";

const frames = 300_000;

describe("a network of hostile guests", () => {
  it(`takes ${frames} frames of every kind, keeps its tables bounded, goes on, and leaves nothing behind`, async () => {
    const fuzzed = new FuzzedNetwork(20_240_607);
    await fuzzed.run(frames);
    await expectUnharmed(fuzzed, frames);
  }, 120_000);
});
