import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { address, guest, packetOf, pattern, remote, TcpBench } from "../../../support/net/tcpBench";
import { MemoryTcp } from "../../../support/net/memorySockets";

describe("resets and SYNs that somebody guessed (RFC 5961)", () => {
  it("do not end a connection: within the window they are answered by a challenge, beyond it a reset is dropped", () => {
    const open = new TcpBench().connect();
    const [challenge] = open.send({ at: 10, flags: "RST" });
    expect(challenge).toMatchObject({ names: "ACK", acknowledgment: 1001 });
    expect(open.send({ at: 50_000_000, flags: "RST" })).toEqual([]);
    expect(open.send({ at: 10, flags: "SYN" })).toMatchObject([{ names: "ACK" }]);
    expect(open.state).toBe("established");
  });

  it("get so many challenges in a time, then none", () => {
    const open = new TcpBench().connect();
    let challenges = 0;
    for (let index = 0; index < 100; index++) challenges += open.send({ at: 10, flags: "RST" }).length;
    expect(challenges).toBe(10);
    open.bench.after(6000);
    expect(open.send({ at: 10, flags: "RST" })).toHaveLength(1);
  });

  it("and ACKs of what was never sent carry no data in", () => {
    const open = new TcpBench().connect();
    expect(open.send({ acknowledges: 5000, data: pattern(10) })).toMatchObject([{ names: "ACK", acknowledgment: 1001 }]);
    expect(open.socket.writtenBytes).toBe(0);
  });
});

describe("old segments", () => {
  it("are dropped by their timestamps and answered (PAWS)", () => {
    const open = new TcpBench().connect({ mss: 1460, timestamps: { value: 1, echo: 0 } });
    const stamps = (value: number): { options: { timestamps: { value: number; echo: number } } } => ({ options: { timestamps: { value, echo: 0 } } });
    open.send({ data: pattern(10), ...stamps(500) });
    expect(open.send({ at: 10, data: pattern(10), ...stamps(400) })).toMatchObject([{ acknowledgment: 1011 }]);
    expect(open.send({ at: 10, data: pattern(10) })).toEqual([]);
    expect(open.socket.writtenBytes).toBe(10);
    open.send({ at: 10, data: pattern(10, 10), ...stamps(501) });
    expect(open.received).toEqual(pattern(20));
  });
});

describe("a segment of no connection", () => {
  it("is answered with the reset that its sender believes", () => {
    const bench = new TcpBench();
    expect(bench.send({ flags: "ACK", sequence: 5, acknowledgment: 77 })).toMatchObject([{ names: "RST", sequence: 77 }]);
    expect(bench.send({ flags: "FIN", sequence: 5, data: pattern(3) })).toMatchObject([{ names: "RST ACK", acknowledgment: 9 }]);
    expect(bench.send({ flags: "RST", sequence: 5 })).toEqual([]);
  });

  it("to port 0 or to a group is not answered at all", () => {
    const bench = new TcpBench();
    expect(bench.send({ flags: "SYN" }, guest, { address: remote.address, port: 0 })).toEqual([]);
    expect(bench.send({ flags: "SYN" }, guest, { address: address("224.0.0.1"), port: 80 })).toEqual([]);
    expect(bench.sockets.opened).toEqual([]);
  });
});

describe("a destination that must not be reached", () => {
  it("is refused by ICMP and by no connection of the host", () => {
    const bench = new TcpBench({ policy: { route: () => ({ refused: "prohibited" }) } });
    bench.send({ flags: "SYN", sequence: 7 });
    expect(bench.unreachable).toMatchObject([{ code: 13, lost: { sequence: 7 } }]);
    expect(bench.sockets.opened).toEqual([]);
  });
});

describe("a flood of SYNs", () => {
  it("holds no more half-open connections than allowed, and leaves those that stand alone", () => {
    const bench = new TcpBench({ limits: { halfOpen: 16 } });
    const open = bench.connect();
    for (let port = 1; port < 1000; port++) bench.put({ flags: "SYN" }, { address: guest.address, port });
    bench.endTurn();
    expect(bench.nat.connections()).toBe(17);
    expect(bench.sockets.opened.filter((socket) => !socket.isGone)).toHaveLength(17);
    open.send({ data: pattern(5) });
    expect(open.received).toEqual(pattern(5));
    bench.nat.dispose();
    expect(bench.nat.connections()).toBe(0);
    expect(bench.sockets.opened.every((socket) => socket.isGone)).toBe(true);
  });
});

describe("connections that end by the thousand", () => {
  it("leave one in peace that has ended too, but whose data the host has not taken", () => {
    const bench = new TcpBench({ limits: { timeWait: 16 } });
    const open = bench.connect();
    open.socket.takes = 1000;
    open.send({ data: pattern(1400) });
    open.send({ data: pattern(1400, 1400), at: 1400, flags: "FIN ACK" });
    open.hostEnds();
    open.send({ at: 2801, acknowledges: 1 });
    for (let port = 1024; port < 1124; port++) {
      const from = { address: guest.address, port };
      bench.send({ flags: "SYN", sequence: 1000 }, from);
      const socket = bench.sockets.latest;
      socket.handler?.connected();
      const [answer] = bench.endTurn();
      const own = (acknowledges: number) => ({ sequence: 1001, acknowledgment: (answer!.sequence + acknowledges) >>> 0 });
      bench.send(own(1), from);
      socket.end();
      socket.poll();
      bench.endTurn();
      bench.send({ flags: "FIN ACK", ...own(2) }, from);
      expect(socket.isClosed).toBe(true);
    }
    expect(bench.nat.connections()).toBe(17);
    expect(open.socket.isGone).toBe(false);
    open.socket.allow(5000);
    bench.endTurn();
    expect(open.received).toEqual(pattern(2800));
    expect([open.socket.ended, open.socket.isClosed, open.socket.isReset]).toEqual([true, true, false]);
    bench.after(10_000);
    expect(bench.nat.connections()).toBe(0);
  });
});

describe("a connection that came to a forward", () => {
  const from = { address: address("10.0.2.2"), port: 5555 };
  const service = { address: guest.address, port: 22 };
  const accept = (bench: TcpBench, patienceMs?: number): { socket: MemoryTcp; why: string[] } => {
    const socket = new MemoryTcp();
    const why: string[] = [];
    socket.handler = bench.nat.accept(socket, { address: address("192.0.2.1"), port: 9 }, service, from, { patienceMs, onDidFail: (reason) => why.push(reason) });
    return { socket, why };
  };

  it("is made with the guest, and carries data both ways", () => {
    const bench = new TcpBench();
    const { socket } = accept(bench);
    const [syn] = bench.endTurn();
    expect(syn).toMatchObject({ names: "SYN", from: from.address, to: guest.address, sourcePort: 5555, destinationPort: 22 });
    const numbers = { sequence: 501, acknowledgment: (syn!.sequence + 1) >>> 0 };
    expect(bench.send({ flags: "SYN ACK", ...numbers, sequence: 500, options: { mss: 1000 } }, service, from)).toMatchObject([{ names: "ACK", acknowledgment: 501 }]);
    bench.send({ ...numbers, data: pattern(20) }, service, from);
    expect(socket.writtenBytes).toBe(20);
    socket.send(pattern(7));
    socket.poll();
    expect(bench.endTurn()).toMatchObject([{ data: pattern(7) }]);
    expect(bench.nat.flows()).toMatchObject([{ direction: "in", state: "established", guestPort: 22, sentBytes: 20 }]);
  });

  it("is reset when the guest refuses", () => {
    const bench = new TcpBench();
    const { socket, why } = accept(bench);
    const [syn] = bench.endTurn();
    bench.send({ flags: "RST ACK", acknowledgment: (syn!.sequence + 1) >>> 0 }, service, from);
    expect(socket.isReset).toBe(true);
    expect(why).toEqual(["refused"]);
    expect(bench.nat.connections()).toBe(0);
  });

  it("asks a silent guest again and again, for as long as it was told, then is reset", () => {
    const bench = new TcpBench();
    const { socket, why } = accept(bench, 5000);
    bench.endTurn();
    expect(bench.after(4900).length).toBeGreaterThanOrEqual(4);
    expect(socket.isReset).toBe(false);
    bench.after(200);
    expect(socket.isReset).toBe(true);
    expect(why).toEqual(["silent"]);
  });

  it("gets another port when the one it is to be seen from is in use", () => {
    const bench = new TcpBench();
    accept(bench);
    accept(bench);
    const ports = bench.endTurn().map((reply) => reply.sourcePort);
    expect(ports[0]).toBe(5555);
    expect(ports[1]).not.toBe(5555);
  });
});

describe("a guest that is gone", () => {
  it("is asked after long silence, and its connections are reset when it does not answer", () => {
    const bench = new TcpBench({ limits: { keepAlive: { idleMs: 60_000, intervalMs: 10_000, probes: 3 } } });
    const open = bench.connect();
    expect(bench.after(59_000)).toEqual([]);
    const [probe] = bench.after(2_000);
    expect(open.at(probe!)).toBe(-1);
    open.send({});
    bench.after(50_000);
    expect(open.socket.isReset).toBe(false);
    bench.after(100_000);
    expect(open.socket.isReset).toBe(true);
    expect(bench.nat.connections()).toBe(0);
  });

  it("can be forgotten at once", () => {
    const bench = new TcpBench();
    const open = bench.connect();
    bench.nat.forget(guest.address);
    expect(bench.endTurn()).toEqual([]);
    expect(open.socket.isReset).toBe(true);
  });
});

describe("a flow", () => {
  it("is listed with its bytes, and cut with a reset both ways", () => {
    const open = new TcpBench().connect();
    const { nat } = open.bench;
    open.send({ data: pattern(9) });
    open.hostSends(pattern(11));
    open.send({ at: 9, acknowledges: 11 });
    const [flow] = nat.flows();
    expect(flow).toMatchObject({ protocol: "tcp", direction: "out", guestPort: 40_000, remotePort: 80, state: "established", sentBytes: 9, receivedBytes: 11 });
    expect(nat.cut(flow!.id)).toBe(true);
    expect(open.bench.endTurn()).toMatchObject([{ names: "RST ACK", acknowledgment: 1010 }]);
    expect(open.socket.isReset).toBe(true);
    expect(nat.cut(flow!.id)).toBe(false);
  });
});

describe("arbitrary segments", () => {
  const numbers = fc.oneof(fc.integer({ min: 990, max: 1100 }), fc.nat(0xffff_ffff));

  it("never throw, and only bytes that fit into the stream reach the host", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ sequence: numbers, ack: fc.oneof(fc.integer({ min: -5, max: 50 }), fc.nat(0xffff_ffff)), flags: fc.nat(255), window: fc.nat(65_535), data: fc.nat(80) }), { maxLength: 60 }),
        (segments) => {
          const open = new TcpBench().connect();
          const [first] = open.hostSends(pattern(30));
          for (const { sequence, ack, flags, window, data } of segments) {
            const names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"].filter((_, bit) => (flags & (1 << bit)) !== 0).join(" ");
            // What is at each place of the guest's stream is the same whoever says it.
            const at = (sequence - 1001) | 0;
            open.bench.send({ sequence, acknowledgment: (first!.sequence + ack) >>> 0, flags: names, window, data: pattern(data, at) });
            if (!open.socket.isGone) open.poll();
          }
          expect(open.received).toEqual(pattern(open.socket.writtenBytes));
          open.bench.after(24 * 3600_000);
          open.bench.nat.dispose();
          expect(open.bench.pool.usedBytes).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("and arbitrary bytes never throw", () => {
    const bench = new TcpBench();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        bench.nat.input(bytes, 0, bytes.length, packetOf(guest.address, remote.address, bytes.length));
        bench.endTurn();
      }),
      { numRuns: 1000 },
    );
  });
});
