import { describe, expect, it } from "vitest";
import { Unreachable } from "../../../../core/net/wire/icmp";
import { address, guest, joined, pattern, TcpBench } from "../../../support/net/tcpBench";

describe("a guest's connection", () => {
  it("is answered only once the host's stands", () => {
    const bench = new TcpBench();
    expect(bench.send({ flags: "SYN", sequence: 1000 })).toEqual([]);
    expect(bench.sockets.latest).toMatchObject({ address: address("93.184.216.34"), port: 80 });
    bench.sockets.latest.handler?.connected();
    expect(bench.endTurn()).toMatchObject([{ names: "SYN ACK", acknowledgment: 1001, options: { mss: 1460 } }]);
  });

  it("agrees on what the guest offers, and on no more", () => {
    const bench = new TcpBench();
    bench.send({ flags: "SYN", sequence: 1, options: { mss: 1460 } });
    bench.sockets.latest.handler?.connected();
    const [plain] = bench.endTurn();
    expect(plain?.options).toEqual({ mss: 1460 });
    const other = { address: guest.address, port: 40_001 };
    bench.send({ flags: "SYN", sequence: 1, options: { mss: 1460, windowScale: 7, sackPermitted: true, timestamps: { value: 77, echo: 0 } } }, other);
    bench.sockets.latest.handler?.connected();
    const [rich] = bench.endTurn();
    expect(rich?.options).toMatchObject({ mss: 1460, sackPermitted: true, timestamps: { echo: 77 } });
    expect(rich?.options.windowScale).toBeGreaterThan(3);
  });

  it("carries data both ways", () => {
    const open = new TcpBench().connect();
    open.send({ data: pattern(100), flags: "ACK PSH" });
    expect(open.received).toEqual(pattern(100));
    const [reply] = open.hostSends(pattern(200));
    expect(reply).toMatchObject({ names: "PSH ACK", data: pattern(200) });
    expect(open.acknowledged(reply!)).toBe(100);
  });

  it("gives the host one gathered write and the guest one ACK for all segments of a turn", () => {
    const open = new TcpBench().connect();
    for (let index = 0; index < 10; index++) open.put({ at: index * 1448, data: pattern(1448, index * 1448) });
    const replies = open.bench.endTurn();
    expect(replies).toHaveLength(1);
    expect(open.acknowledged(replies[0]!)).toBe(14_480);
    expect(open.socket.writes).toBe(1);
    expect(open.received).toEqual(pattern(14_480));
  });

  it("sends what the host has in full segments", () => {
    const open = new TcpBench().connect();
    const replies = open.hostSends(pattern(5000));
    expect(replies.map((reply) => reply.data.length)).toEqual([1460, 1460, 1460, 620]);
    expect(joined(replies.map((reply) => reply.data))).toEqual(pattern(5000));
  });

  it("is refused with a reset when the host's is", () => {
    const bench = new TcpBench();
    bench.send({ flags: "SYN", sequence: 1000 });
    bench.sockets.latest.fail("refused");
    expect(bench.endTurn()).toMatchObject([{ names: "RST ACK", sequence: 0, acknowledgment: 1001 }]);
    expect(bench.nat.connections()).toBe(0);
  });

  it.each([
    ["unreachable-host", Unreachable.host],
    ["unreachable-network", Unreachable.network],
    ["prohibited", Unreachable.prohibited],
  ] as const)("hears by ICMP that the host's is %s", (failure, code) => {
    const bench = new TcpBench();
    bench.send({ flags: "SYN", sequence: 1000 });
    bench.sockets.latest.fail(failure);
    expect(bench.endTurn()).toEqual([]);
    expect(bench.unreachable).toMatchObject([{ code, lost: { guestPort: 40_000, remotePort: 80, sequence: 1000 } }]);
    expect(bench.nat.connections()).toBe(0);
  });

  it("closes from the guest's side: the host may go on sending", () => {
    const open = new TcpBench().connect();
    open.send({ data: pattern(10), flags: "FIN ACK" });
    expect(open.received).toEqual(pattern(10));
    expect(open.socket.ended).toBe(true);
    expect(open.state).toBe("close-wait");
    expect(open.hostSends(pattern(30))).toMatchObject([{ data: pattern(30), acknowledgment: 1012 }]);
    const [fin] = open.hostEnds();
    expect(fin?.names).toBe("FIN ACK");
    expect(open.state).toBe("last-ack");
    open.send({ at: 11, acknowledges: 31 });
    expect(open.state).toBe("gone");
    expect(open.socket.isClosed).toBe(true);
    expect(open.bench.pool.usedBytes).toBe(0);
  });

  it("closes from the host's side: the guest may go on sending", () => {
    const open = new TcpBench().connect();
    expect(open.hostEnds()).toMatchObject([{ names: "FIN ACK" }]);
    expect(open.state).toBe("fin-wait-1");
    open.send({ acknowledges: 1 });
    expect(open.state).toBe("fin-wait-2");
    open.send({ acknowledges: 1, data: pattern(50) });
    expect(open.received).toEqual(pattern(50));
    const [ack] = open.send({ at: 50, acknowledges: 1, flags: "FIN ACK" });
    expect(open.acknowledged(ack!)).toBe(51);
    expect(open.state).toBe("time-wait");
    expect(open.socket.ended && open.socket.isClosed).toBe(true);
    open.bench.after(60_000);
    expect(open.bench.nat.connections()).toBe(0);
  });

  it("closes from both sides at once", () => {
    const open = new TcpBench().connect();
    open.hostEnds();
    open.send({ flags: "FIN ACK" });
    expect(open.state).toBe("closing");
    open.send({ at: 1, acknowledges: 1 });
    expect(open.state).toBe("time-wait");
  });

  it("resets the host's socket when the guest resets, and the guest when the host's fails", () => {
    const first = new TcpBench().connect();
    first.send({ flags: "RST" });
    expect(first.socket.isReset).toBe(true);
    expect(first.bench.nat.connections()).toBe(0);
    const second = new TcpBench().connect();
    second.socket.fail("reset");
    expect(second.bench.endTurn()).toMatchObject([{ names: "RST ACK" }]);
    expect(second.bench.nat.connections()).toBe(0);
  });
});
