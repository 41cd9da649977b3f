import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { Switch, maxAddresses } from "../../../core/net/switch";
import { broadcastMac, parseMac, type MacNumber } from "../../../core/net/wire/addresses";
import { writeEthernet } from "../../../core/net/wire/ethernet";
import { Plug } from "../../support/net/plug";

const [a, b, c, d] = [1, 2, 3, 4].map((number) => 0x0200_0000_0000 + number) as [MacNumber, MacNumber, MacNumber, MacNumber];

function frame(destination: MacNumber, source: MacNumber, fill = 0, length = 60): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill);
  writeEthernet(bytes, 0, { destination, source, type: 0x88b5 });
  return bytes;
}

/** A switch with a plug for each address, which have not spoken yet. */
function build(count = 3): { clock: ManualClock; lan: Switch; plugs: Plug[]; cables: { dispose(): void }[] } {
  const clock = new ManualClock();
  const lan = new Switch(clock);
  const plugs = Array.from({ length: count }, () => new Plug());
  return { clock, lan, plugs, cables: plugs.map((plug) => lan.attach(plug)) };
}

describe("a switch", () => {
  it("floods frames to unknown stations, broadcasts and groups to all ports but their own", () => {
    const { plugs } = build();
    const [one, two, three] = plugs as [Plug, Plug, Plug];
    for (const destination of [b, broadcastMac, parseMac("01:00:5e:00:00:fb") as number]) {
      one.say(frame(destination, a));
      expect([one, two, three].map((plug) => plug.take().length)).toEqual([0, 1, 1]);
    }
  });

  it("sends frames to a station it has heard to its port only", () => {
    const { plugs } = build();
    const [one, two, three] = plugs as [Plug, Plug, Plug];
    two.say(frame(a, b));
    one.take();
    three.take();
    one.say(frame(b, a, 7));
    expect(two.take()).toEqual([frame(b, a, 7)]);
    expect(three.take()).toEqual([]);
  });

  it("never sends a frame back to its port", () => {
    const { plugs, lan } = build(2);
    const [one, two] = plugs as [Plug, Plug];
    one.say(frame(broadcastMac, a), frame(broadcastMac, c));
    two.take();
    one.say(frame(c, a));
    expect(one.heard).toEqual([]);
    expect(two.heard).toEqual([]);
    expect(lan.counters.frames).toBe(2);
  });

  it("passes frames in a row to one port on as the bytes they came in", () => {
    const { plugs } = build();
    const [one, two, three] = plugs as [Plug, Plug, Plug];
    two.say(frame(a, b));
    three.say(frame(a, c));
    for (const plug of plugs) plug.take();
    two.runs = three.runs = 0;
    const run = one.say(frame(b, a, 1), frame(b, a, 2), frame(b, a, 3), frame(c, a, 4), frame(b, a, 5));
    expect(two.heard).toEqual([frame(b, a, 1), frame(b, a, 2), frame(b, a, 3), frame(b, a, 5)]);
    expect(three.heard).toEqual([frame(c, a, 4)]);
    expect([two.runs, three.runs]).toEqual([2, 1]);
    expect(two.lastRun).toEqual({ bytes: run, at: 4 * 64, end: 5 * 64 });
    expect(two.lastRun?.bytes).toBe(run);
  });

  it("counts each frame once, with its bytes, also a flooded one", () => {
    const { plugs, lan } = build();
    plugs[0]?.say(frame(broadcastMac, a, 0, 60), frame(broadcastMac, a, 0, 1514));
    expect(lan.counters).toEqual({ frames: 2, bytes: 1574 });
  });

  it("forgets a station that was silent for five minutes", () => {
    const { plugs, clock, lan } = build();
    const [one, two, three] = plugs as [Plug, Plug, Plug];
    two.say(frame(broadcastMac, b));
    clock.advance(300_000);
    expect(lan.knows(b)).toBe(true);
    clock.advance(1);
    expect(lan.knows(b)).toBe(false);
    three.take();
    one.say(frame(b, a));
    expect(three.take()).toHaveLength(1);
  });

  it("forgets the stations of a port at once when it is unplugged, and sends it nothing more", () => {
    const { plugs, lan, cables } = build();
    const [one, two, three] = plugs as [Plug, Plug, Plug];
    two.say(frame(broadcastMac, b));
    cables[1]?.dispose();
    expect(lan.knows(b)).toBe(false);
    expect(two.isConnected).toBe(false);
    three.take();
    one.say(frame(b, a), frame(broadcastMac, a));
    expect(two.take()).toEqual([]);
    expect(three.take()).toHaveLength(2);
  });

  it("does not flood frames to an adapter that is plugged in but has not spoken", () => {
    const { plugs, lan } = build();
    const quiet = new Plug();
    lan.attach(quiet, { mac: d });
    plugs[0]?.say(frame(d, a));
    expect(quiet.take()).toHaveLength(1);
    expect(plugs[1]?.heard).toEqual([]);
  });

  it("follows a station that moves to another port", () => {
    const { plugs, clock } = build();
    const [one, two, three] = plugs as [Plug, Plug, Plug];
    two.say(frame(broadcastMac, b));
    clock.advance(1000);
    three.say(frame(broadcastMac, b));
    for (const plug of plugs) plug.take();
    one.say(frame(b, a));
    expect(two.take()).toEqual([]);
    expect(three.take()).toHaveLength(1);
  });

  it("leaves an address that two ports fight for with the adapter it belongs to", () => {
    const { lan, plugs, clock } = build(2);
    const [speaker, liar] = plugs as [Plug, Plug];
    const owner = new Plug();
    lan.attach(owner, { mac: d });
    for (let round = 0; round < 100; round++) {
      liar.say(frame(broadcastMac, d));
      clock.advance(1);
    }
    for (let round = 0; round < 10; round++) {
      owner.say(frame(broadcastMac, d));
      liar.say(frame(broadcastMac, d));
    }
    owner.take();
    liar.take();
    speaker.say(frame(d, a));
    expect(owner.take()).toHaveLength(1);
    expect(liar.take()).toEqual([]);
  });

  it("lets nobody take an address of ours, and counts the attempts", () => {
    const { lan, plugs } = build(2);
    const [one, liar] = plugs as [Plug, Plug];
    const ours = new Plug();
    lan.attach(ours, { mac: d, fixed: true });
    liar.say(frame(broadcastMac, d), frame(broadcastMac, c));
    expect(one.take()).toEqual([frame(broadcastMac, c)]);
    expect(liar.counters.dropped).toEqual({ "mac-policy": 1 });
    one.say(frame(d, a));
    expect(ours.heard.at(-1)).toEqual(frame(d, a));
    expect(liar.heard).toEqual([]);
  });

  it("drops frames that say they come from a group or from nobody, and counts them", () => {
    const { plugs } = build(2);
    plugs[0]?.say(frame(b, broadcastMac), frame(b, 0), frame(b, 0x0100_5e00_0001));
    expect(plugs[1]?.heard).toEqual([]);
    expect(plugs[0]?.counters.dropped).toEqual({ malformed: 3 });
  });

  it("keeps pauses and spanning trees to itself, as bridges do", () => {
    const { plugs } = build(2);
    plugs[0]?.say(frame(0x0180_c200_0000, a), frame(0x0180_c200_000f, a), frame(0x0180_c200_0010, a));
    expect(plugs[1]?.heard).toHaveLength(1);
    expect(plugs[0]?.counters.dropped).toEqual({ reserved: 2 });
  });

  it("keeps so many addresses of a port that invents them, and none of the others is pushed out", () => {
    const { plugs, lan } = build(3);
    const [one, two, liar] = plugs as [Plug, Plug, Plug];
    one.say(frame(broadcastMac, a));
    two.say(frame(broadcastMac, b));
    for (let number = 0; number < 5000; number++) liar.say(frame(a, 0x0a00_0000_0000 + number));
    expect(lan.addressCount).toBe(maxAddresses + 2);
    one.take();
    liar.take();
    two.say(frame(a, b));
    expect(one.take()).toHaveLength(1);
    expect(liar.take()).toEqual([]);
  });

  it("passes on to the others what a port that does not read misses", () => {
    const { plugs } = build();
    const [one, deaf, three] = plugs as [Plug, Plug, Plug];
    deaf.writable = false;
    for (let round = 0; round < 50; round++) one.say(frame(broadcastMac, a, round));
    expect(three.take()).toHaveLength(50);
  });

  it("carries frames of every length, and ends at one that is cut off", () => {
    const { plugs } = build(2);
    const [one, two] = plugs as [Plug, Plug];
    one.say(frame(broadcastMac, a, 1, 14), frame(broadcastMac, a, 2, 65_550));
    expect(two.take().map((got) => got.length)).toEqual([14, 65_550]);
  });
});
