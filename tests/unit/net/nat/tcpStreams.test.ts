import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joined, pattern, TcpBench } from "../../../support/net/tcpBench";
import { ReferenceTcp } from "../../../support/net/referenceTcp";

const line = fc.record({
  loss: fc.double({ min: 0, max: 0.2, noNaN: true }),
  duplication: fc.double({ min: 0, max: 0.1, noNaN: true }),
  /** Differing delays put segments out of order. */
  delayMs: fc.integer({ min: 0, max: 30 }),
});

const ends = fc.record({
  mss: fc.integer({ min: 100, max: 1460 }),
  windowScale: fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }),
  sack: fc.boolean(),
  timestamps: fc.boolean(),
  capacity: fc.integer({ min: 1000, max: 200_000 }),
  pace: fc.integer({ min: 500, max: 50_000 }),
  endsLast: fc.boolean(),
});

const host = fc.record({
  /** What its socket takes every 5 ms. */
  takes: fc.integer({ min: 200, max: 50_000 }),
  piece: fc.integer({ min: 50, max: 40_000 }),
  endsLast: fc.boolean(),
});

const most = 60_000;

describe("streams over a line that loses, doubles and reorders", () => {
  it("arrive complete and equal both ways, ends included, and nothing is left behind", () => {
    fc.assert(
      fc.property(line, ends, host, fc.nat(most), fc.nat(most), fc.integer(), fc.integer(), (conditions, guest, hostEnd, up, down, seed, initial) => {
        // A window below its own unit would always be a closed one.
        const guestEnd = { ...guest, capacity: Math.max(guest.capacity, 16 << (guest.windowScale ?? 0)) };
        const bench = new TcpBench();
        const chance = chanceFrom(seed);
        const lossy = (deliver: () => void): void => {
          if (chance() < conditions.loss) return;
          bench.reactor.schedule(chance() * conditions.delayMs, deliver);
          if (chance() < conditions.duplication) bench.reactor.schedule(chance() * conditions.delayMs, deliver);
        };
        const fromGuest = pattern(up, 5);
        const fromHost = pattern(down, 77);
        const reference = new ReferenceTcp(bench.reactor, fromGuest, down, initial, guestEnd, (bytes) => lossy(() => bench.putBytes(bytes)));
        const carry = (): void => {
          for (const { payload } of bench.output.take()) lossy(() => reference.receive(payload));
        };
        let offered = 0;
        let ended = false;
        // A guest whose program never gets its end, and a host that waits for the guest's, would wait for each other.
        const hostWaits = hostEnd.endsLast && !guestEnd.endsLast;
        const turn = (): void => {
          const socket = bench.sockets.opened[0];
          if (socket && !socket.isGone) {
            if (!socket.handler) throw new Error("a socket without a handler");
            if (offered === 0 && !ended) {
              socket.takes = 0;
              socket.handler.connected();
            }
            for (; offered < down && socket.unreadBytes < 100_000; offered += hostEnd.piece) socket.send(fromHost.subarray(offered, Math.min(down, offered + hostEnd.piece)));
            if (offered >= down && !ended && (!hostWaits || socket.ended)) {
              socket.end();
              ended = true;
            }
            socket.allow(hostEnd.takes - socket.takes);
            socket.poll();
          }
          bench.reactor.endTurn();
          carry();
        };
        for (let ms = 0; ms < 1_800_000 && !(reference.done && bench.nat.connections() === 0); ms += 5) {
          bench.reactor.advance(5);
          turn();
        }
        const [socket] = bench.sockets.opened;
        expect(bench.sockets.opened).toHaveLength(1);
        expect(reference.wasReset).toBe(false);
        expect(Buffer.compare(joined(socket?.written ?? []), fromGuest)).toBe(0);
        expect(Buffer.compare(reference.got, fromHost)).toBe(0);
        expect(reference.gotEnd && reference.endTaken && socket?.ended && socket.isClosed).toBe(true);
        expect(bench.nat.connections()).toBe(0);
        expect(bench.pool.usedBytes).toBe(0);
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
});

function chanceFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
