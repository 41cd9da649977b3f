import { describe, expect, it } from "vitest";
import { joined, pattern, TcpBench, type OpenGuest } from "../../../support/net/tcpBench";

/** A connection with ten full segments on their way. */
function tenSegments(sackPermitted: boolean): OpenGuest {
  const open = new TcpBench().connect({ mss: 1000, sackPermitted });
  expect(open.hostSends(pattern(10_000))).toHaveLength(10);
  return open;
}

describe("a lost segment", () => {
  it("is sent again, alone, when SACK tells of three behind it", () => {
    const open = tenSegments(true);
    open.send({ acknowledges: 1000, options: { sack: [open.block(2000, 3000)] } });
    open.send({ acknowledges: 1000, options: { sack: [open.block(2000, 4000)] } });
    const replies = open.send({ acknowledges: 1000, options: { sack: [open.block(2000, 5000)] } });
    expect(replies.map((reply) => open.at(reply))).toEqual([1000]);
    expect(replies[0]?.data).toEqual(pattern(1000, 1000));
  });

  it("is sent again, alone, after three duplicates without SACK, and the next one at the partial ACK", () => {
    const open = tenSegments(false);
    open.send({ acknowledges: 1000 });
    expect(open.send({ acknowledges: 1000 })).toEqual([]);
    expect(open.send({ acknowledges: 1000 })).toEqual([]);
    expect(open.send({ acknowledges: 1000 }).map((reply) => open.at(reply))).toEqual([1000]);
    expect(open.send({ acknowledges: 5000 }).map((reply) => open.at(reply))).toEqual([5000]);
  });

  it("is not seen in duplicates that carry data", () => {
    const open = tenSegments(false);
    for (let index = 0; index < 5; index++) {
      const replies = open.send({ at: index * 10, data: pattern(10, index * 10) });
      expect(replies.filter((reply) => reply.data.length > 0)).toEqual([]);
    }
  });

  it("is sent again after a time that doubles, until the guest counts as gone", () => {
    const open = tenSegments(false);
    let waited = 0;
    const gaps: number[] = [];
    while (open.bench.nat.connections() > 0 && waited < 3_600_000) {
      const replies = open.bench.after(10);
      waited += 10;
      if (replies.length === 0) continue;
      gaps.push(waited);
      waited = 0;
      if (replies[0]?.names.includes("RST")) break;
      expect(open.at(replies[0]!)).toBe(0);
    }
    expect(gaps.length).toBeGreaterThan(8);
    for (let index = 2; index < gaps.length; index++) expect(gaps[index]).toBeGreaterThanOrEqual(Math.min(2 * gaps[index - 1]! - 20, 60_000));
    expect(open.socket.isReset).toBe(true);
    expect(open.bench.nat.connections()).toBe(0);
    expect(open.bench.pool.usedBytes).toBe(0);
  });

  it("makes the sender slow down: after a time-out it begins with one segment", () => {
    const open = tenSegments(false);
    let replies = open.bench.after(0);
    while (replies.length === 0) replies = open.bench.after(50);
    expect(replies.map((reply) => open.at(reply))).toEqual([0]);
    expect(open.send({ acknowledges: 1000 }).map((reply) => open.at(reply))).toEqual([1000, 2000]);
  });

  it("at the end of what is sent is found by a probe, before a time-out", () => {
    const open = tenSegments(true);
    open.send({ acknowledges: 5000 });
    let waited = 0;
    let replies = open.bench.after(0);
    for (; replies.length === 0; waited += 5) replies = open.bench.after(5);
    expect(waited).toBeLessThan(100);
    expect(replies.map((reply) => open.at(reply))).toEqual([9000]);
    const repaired = open.send({ acknowledges: 5000, options: { sack: [open.block(9000, 10_000)] } });
    expect(repaired.map((reply) => open.at(reply))).toEqual([5000, 6000]);
    expect(open.send({ acknowledges: 7000, options: { sack: [open.block(9000, 10_000)] } }).map((reply) => open.at(reply))).toEqual([7000, 8000]);
    expect(open.send({ acknowledges: 10_000 })).toEqual([]);
    expect(open.bench.after(1000)).toEqual([]);
  });

  it("is probed for once, and then left to the time-out", () => {
    const open = tenSegments(true);
    const sent: number[] = [];
    for (let ms = 0; ms < 500; ms += 5) sent.push(...open.bench.after(5).map((reply) => open.at(reply)));
    expect(sent).toEqual([9000, 0]);
  });

  it("that is lost again is sent again once what was sent behind it has come", () => {
    const open = new TcpBench().connect({ mss: 1000, sackPermitted: true });
    expect(open.hostSends(pattern(40_000))).toHaveLength(40);
    expect(open.send({ acknowledges: 0, options: { sack: [open.block(1000, 30_000)] } }).map((reply) => open.at(reply))).toEqual([0, 39_000]);
    const behind = open.hostSends(pattern(5000, 40_000)).map((reply) => open.at(reply));
    expect(behind).toEqual([40_000, 41_000, 42_000, 43_000, 44_000]);
    expect(open.send({ acknowledges: 0, options: { sack: [open.block(1000, 42_000)] } })).toEqual([]);
    expect(open.send({ acknowledges: 0, options: { sack: [open.block(1000, 43_000)] } }).map((reply) => open.at(reply))).toEqual([0]);
    expect(open.send({ acknowledges: 0, options: { sack: [open.block(1000, 45_000)] } })).toEqual([]);
  });

  it("is sent again at once when a guest is heard that was away for long", () => {
    const open = tenSegments(true);
    for (let ms = 0; ms < 60_000; ms += 10) open.bench.after(10);
    const replies = [...open.send({ acknowledges: 0 }), ...open.bench.after(1)];
    expect(replies.map((reply) => open.at(reply))).toEqual([0]);
    expect(open.send({ acknowledges: 1000 }).map((reply) => open.at(reply))).toEqual([1000, 2000]);
  });
});

describe("segments out of order", () => {
  it("are kept, and told of by SACK with the latest first", () => {
    const open = new TcpBench().connect({ mss: 1460, sackPermitted: true });
    open.send({ at: 2000, data: pattern(100, 2000) });
    const [reply] = open.send({ at: 4000, data: pattern(100, 4000) });
    expect(open.acknowledged(reply!)).toBe(0);
    expect(reply?.options.sack).toEqual([
      [1001 + 4000, 1001 + 4100],
      [1001 + 2000, 1001 + 2100],
    ]);
    open.send({ at: 0, data: pattern(2000) });
    const [last] = open.send({ at: 2100, data: pattern(1900, 2100) });
    expect(open.acknowledged(last!)).toBe(4100);
    expect(last?.options.sack).toBeUndefined();
    expect(open.received).toEqual(pattern(4100));
  });

  it("are each answered by a duplicate when the guest knows no SACK", () => {
    const open = new TcpBench().connect({ mss: 1460 });
    for (const at of [1000, 2000, 3000]) open.put({ at, data: pattern(1000, at) });
    const replies = open.bench.endTurn();
    expect(replies.map((reply) => open.acknowledged(reply))).toEqual([0, 0, 0]);
  });

  it("take no more memory than the window, however they are scattered", () => {
    const open = new TcpBench().connect();
    for (let index = 0; index < 5000; index++) open.put({ at: 1000 + index * 977, data: pattern(1) });
    open.bench.endTurn();
    expect(open.bench.pool.usedBytes).toBeLessThan(1_200_000);
    open.send({ flags: "RST" });
    expect(open.bench.pool.usedBytes).toBe(0);
  });

  it("may end with the guest's FIN, which counts once the gap is filled", () => {
    const open = new TcpBench().connect();
    open.send({ at: 100, data: pattern(100, 100), flags: "FIN ACK" });
    expect(open.socket.ended).toBe(false);
    const [reply] = open.send({ at: 0, data: pattern(100) });
    expect(open.acknowledged(reply!)).toBe(201);
    expect(open.received).toEqual(pattern(200));
    expect(open.socket.ended).toBe(true);
  });
});

describe("windows", () => {
  it("keep the guest from sending what the host does not take, and open again", () => {
    const open = new TcpBench().connect();
    open.socket.takes = 0;
    let at = 0;
    let window = Infinity;
    while (window > 0) {
      const data = pattern(Math.min(1460, window === Infinity ? 1460 : window), at);
      const [reply] = [...open.send({ at, data }), ...open.bench.after(50)].slice(-1);
      at += data.length;
      window = (reply?.window ?? 0) << 7;
    }
    expect(at).toBeLessThanOrEqual(1_050_000);
    // Probes of the closed window are answered; more than the unit of a scaled window is not taken from them.
    for (let probes = 0; probes < 200; probes++) {
      const [answer] = open.send({ at, data: pattern(1, at) });
      expect(answer?.window).toBe(0);
      at = open.acknowledged(answer!);
    }
    expect(at).toBeLessThanOrEqual(1_050_000);
    open.socket.allow(Infinity);
    const [update] = open.bench.endTurn();
    expect(update!.window << 7).toBeGreaterThan(100_000);
    expect(Buffer.compare(open.received, pattern(at))).toBe(0);
  });

  it("of the guest are not overrun, and a closed one is asked about until it opens", () => {
    const open = new TcpBench().connect({ mss: 1000 }, 3000);
    expect(joined(open.hostSends(pattern(8000)).map((reply) => reply.data))).toEqual(pattern(3000));
    open.window = 0;
    expect(open.send({ acknowledges: 3000 })).toEqual([]);
    for (let probes = 0; probes < 20; probes++) {
      let replies = open.bench.after(0);
      while (replies.length === 0) replies = open.bench.after(100);
      expect(replies.map((reply) => [open.at(reply), reply.data.length])).toEqual([[3000, 1]]);
      open.send({ acknowledges: 3000 });
    }
    open.window = 65_535;
    expect(joined(open.send({ acknowledges: 3000 }).map((reply) => reply.data))).toEqual(pattern(5000, 3000));
  });

  it("of the guest that are closed are not overstepped by ACKs, which it would not heed", () => {
    const open = new TcpBench().connect({ mss: 1000 }, 3000);
    open.hostSends(pattern(8000));
    open.window = 0;
    open.send({ acknowledges: 3000 });
    let replies = open.bench.after(0);
    while (replies.length === 0) replies = open.bench.after(100);
    open.send({ acknowledges: 3000, data: pattern(2000) });
    const [reply] = open.bench.after(50);
    expect([open.at(reply!), reply!.data.length, open.acknowledged(reply!)]).toEqual([3000, 0, 2000]);
  });

  it("bound what is read from the host", () => {
    const open = new TcpBench().connect({ mss: 1000 }, 2000);
    open.hostSends(pattern(3_000_000));
    expect(3_000_000 - open.socket.unreadBytes).toBeLessThan(300_000);
    expect(open.socket.reading).toBe(false);
  });

  it("that are small do not stop the stream", () => {
    const open = new TcpBench().connect({ mss: 1000 }, 1500);
    const got: Uint8Array[] = [];
    let replies = open.hostSends(pattern(400_000));
    for (let rounds = 0; rounds < 2000 && joined(got).length < 400_000; rounds++) {
      for (const reply of replies) if (open.at(reply) === joined(got).length) got.push(reply.data);
      replies = [...open.send({ acknowledges: joined(got).length }), ...open.poll()];
      if (replies.length === 0) replies = open.bench.after(100);
    }
    expect(Buffer.compare(joined(got), pattern(400_000))).toBe(0);
  });
});
