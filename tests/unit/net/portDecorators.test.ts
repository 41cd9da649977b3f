import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { MacPolicyPort } from "../../../core/net/macPolicy";
import { RateLimitedPort } from "../../../core/net/rateLimit";
import { writeEthernet } from "../../../core/net/wire/ethernet";
import { framesOf, Plug, runOf } from "../../support/net/plug";

const own = 0x5254_0000_0001;

function frame(fill: number, length = 1000, source = own): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill);
  writeEthernet(bytes, 0, { destination: 0xffff_ffff_ffff, source, type: 0x88b5 });
  return bytes;
}

/** What a port says towards the fabric. */
function listenTo(port: RateLimitedPort | MacPolicyPort): Uint8Array[] {
  const heard: Uint8Array[] = [];
  port.connect({ frames: (bytes, at, end) => heard.push(...framesOf(bytes, at, end)) });
  return heard;
}

describe("a port with a rate", () => {
  const bits = 8_000_000; // 1000 bytes a millisecond

  it("carries so many bytes a second each way, in order, and no more", () => {
    const clock = new ManualClock();
    const plug = new Plug();
    const port = new RateLimitedPort(plug, { toGuest: bits, fromGuest: bits / 2 }, clock);
    const heard = listenTo(port);
    const frames = Array.from({ length: 200 }, (_, number) => frame(number));
    const run = runOf(frames);
    port.frames(run, 0, run.length);
    plug.say(...frames);
    // The burst, and one frame that may be owed.
    expect([plug.heard.length, heard.length]).toEqual([20, 10]);
    clock.advance(50);
    expect(plug.heard.length).toBeGreaterThanOrEqual(69);
    expect(plug.heard.length).toBeLessThanOrEqual(71);
    expect(heard.length).toBeGreaterThanOrEqual(34);
    expect(heard.length).toBeLessThanOrEqual(36);
    clock.advance(1000);
    const numbers = (list: readonly Uint8Array[]): unknown[] => list.map((bytes) => [bytes.length, bytes[20], bytes.at(-1)]);
    expect(numbers(plug.heard)).toEqual(numbers(frames));
    expect(numbers(heard)).toEqual(numbers(frames.slice(0, heard.length)));
  });

  it("drops and counts what does not fit into its queue, and says when it is crowded", () => {
    const clock = new ManualClock();
    const plug = new Plug();
    const port = new RateLimitedPort(plug, { toGuest: bits }, clock);
    expect(port.writable).toBe(true);
    for (let number = 0; number < 1000; number++) {
      const run = runOf([frame(number)]);
      port.frames(run, 0, run.length);
    }
    expect(port.writable).toBe(false);
    clock.advance(10_000);
    expect(port.writable).toBe(true);
    const dropped = port.counters.dropped["rate-limit"] ?? 0;
    expect(dropped).toBeGreaterThan(700);
    expect(plug.heard.length + dropped).toBe(1000);
  });

  it("carries a frame that is longer than a burst, and owes it", () => {
    const clock = new ManualClock();
    const plug = new Plug();
    const port = new RateLimitedPort(plug, { toGuest: 80_000 }, clock);
    const run = runOf([frame(1, 65_550), frame(2, 100)]);
    port.frames(run, 0, run.length);
    expect(plug.heard).toHaveLength(1);
    clock.advance(5900);
    expect(plug.heard).toHaveLength(1);
    clock.advance(100);
    expect(plug.heard).toHaveLength(2);
  });

  it("passes runs on untouched without a rate, and takes another rate while frames wait", () => {
    const clock = new ManualClock();
    const plug = new Plug();
    const port = new RateLimitedPort(plug, {}, clock);
    const run = runOf([frame(1), frame(2)]);
    port.frames(run, 0, run.length);
    expect(plug.lastRun?.bytes).toBe(run);
    port.setRates({ toGuest: 8000 });
    for (let number = 0; number < 30; number++) port.frames(run, 0, run.length);
    const before = plug.heard.length;
    expect(before).toBeLessThan(12);
    port.setRates({});
    expect(plug.heard).toHaveLength(62);
  });

  it("leaves no timer behind", () => {
    const clock = new ManualClock();
    const plug = new Plug();
    const port = new RateLimitedPort(plug, { toGuest: 8000 }, clock);
    const run = runOf(Array.from({ length: 50 }, (_, number) => frame(number)));
    port.frames(run, 0, run.length);
    port.dispose();
    const before = plug.heard.length;
    clock.advance(100_000);
    expect(plug.heard).toHaveLength(before);
    expect(plug.disposed).toBe(true);
  });
});

describe("a port with a MAC policy", () => {
  it("lets frames with its own address through, in runs, and counts the others", () => {
    const plug = new Plug();
    const port = new MacPolicyPort(plug, own);
    const heard = listenTo(port);
    plug.say(frame(1), frame(2), frame(3, 60, own + 1), frame(4), frame(5, 60, own - 2 ** 40), frame(6, 60, own + 2));
    expect(heard).toEqual([frame(1), frame(2), frame(4)]);
    expect(port.counters.dropped).toEqual({ "mac-policy": 3 });
  });

  it("can be changed while the port is open", () => {
    const plug = new Plug();
    const port = new MacPolicyPort(plug, undefined);
    const heard = listenTo(port);
    plug.say(frame(1, 60, own + 1));
    port.setOwn(own);
    plug.say(frame(2, 60, own + 1));
    port.setOwn(own + 1);
    plug.say(frame(3, 60, own + 1));
    expect(heard.map((bytes) => bytes[20])).toEqual([1, 3]);
  });
});
