import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../../core/base/clock";
import { Reassembler, type Reassembled } from "../../../../core/net/nat/reassembly";
import { IpProtocol, ipv4HeaderBytes, readIpv4, writeIpv4 } from "../../../../core/net/wire/ipv4";

interface Piece {
  from: number;
  data: Uint8Array;
  more: boolean;
}

interface Around {
  source?: number;
  identification?: number;
  protocol?: number;
}

/** Sends a fragment as a packet that lies somewhere in a buffer. */
function send(reassembler: Reassembler, { from, data, more }: Piece, { source = 1, identification = 7, protocol = IpProtocol.udp }: Around = {}): Reassembled | undefined {
  const bytes = new Uint8Array(3 + ipv4HeaderBytes + data.length + 9).fill(0xee);
  bytes.set(data, 3 + ipv4HeaderBytes);
  writeIpv4(bytes, 3, { source, destination: 2, protocol, identification, ttl: 64, length: data.length, fragmentOffset: from, moreFragments: more });
  const packet = readIpv4(bytes, 3, bytes.length);
  if (typeof packet === "string") throw new Error(packet);
  const whole = reassembler.add(bytes, 3, packet);
  bytes.fill(0xdd);
  return whole;
}

const payloadOf = (whole: Reassembled | undefined): number[] | undefined => whole && [...whole.bytes.subarray(whole.packet.payload, whole.packet.end)];
const filled = (length: number, value = 1): Uint8Array => new Uint8Array(length).fill(value);

function cut(payload: Uint8Array, size: number): Piece[] {
  const pieces: Piece[] = [];
  for (let from = 0; from < payload.length; from += size) pieces.push({ from, data: payload.slice(from, from + size), more: from + size < payload.length });
  return pieces;
}

describe("fragments", () => {
  it("become the packet again in any order, some coming twice", () => {
    const anyPayload = fc.uint8Array({ minLength: 9, maxLength: 1200, size: "max" });
    fc.assert(
      fc.property(anyPayload, fc.integer({ min: 3, max: 60 }), fc.array(fc.nat(), { maxLength: 20 }), (payload, words, swaps) => {
        const pieces = cut(payload, words * 8);
        fc.pre(pieces.length > 1);
        const order = pieces.slice();
        for (const [index, swap] of swaps.entries()) {
          const other = swap % order.length;
          const here = index % order.length;
          [order[here], order[other]] = [order[other] as Piece, order[here] as Piece];
        }
        const reassembler = new Reassembler(new ManualClock());
        const last = order.pop() as Piece;
        for (const piece of [...order, ...order.slice(0, 2)]) expect(send(reassembler, piece)).toBeUndefined();
        const whole = send(reassembler, last);
        expect(payloadOf(whole)).toEqual([...payload]);
        expect(whole?.packet).toMatchObject({ source: 1, destination: 2, protocol: 17, identification: 7, moreFragments: false, fragmentOffset: 0, payload: 20, end: 20 + payload.length });
        expect(readIpv4((whole as Reassembled).bytes, 0, 20 + payload.length)).toEqual(whole?.packet);
        expect(reassembler.pending).toEqual({ packets: 0, bytes: 0 });
        reassembler.dispose();
      }),
    );
  });

  it("of packets that differ in sender, protocol or number are kept apart", () => {
    const reassembler = new Reassembler(new ManualClock());
    const kinds: Around[] = [{}, { source: 9 }, { identification: 8 }, { protocol: IpProtocol.icmp }];
    for (const [index, kind] of kinds.entries()) expect(send(reassembler, { from: 0, data: filled(8, index), more: true }, kind)).toBeUndefined();
    for (const [index, kind] of kinds.entries()) expect(payloadOf(send(reassembler, { from: 8, data: filled(1, index), more: false }, kind))).toEqual(new Array(9).fill(index));
  });

  it("may make a packet of 65535 bytes, but none longer", () => {
    const reassembler = new Reassembler(new ManualClock());
    const payload = Uint8Array.from({ length: 65_515 }, (_, index) => index * 31);
    const results = cut(payload, 1480).map((piece) => send(reassembler, piece));
    expect(payloadOf(results.at(-1))).toEqual([...payload]);
    expect(send(reassembler, { from: 65_512, data: filled(4), more: false })).toBeUndefined();
    expect(send(reassembler, { from: 65_528, data: filled(1000), more: false }, { identification: 9 })).toBeUndefined();
    expect(send(reassembler, { from: 0, data: filled(65_512), more: true })).toBeUndefined();
    expect(reassembler.pending.bytes).toBeLessThan(1000);
  });

  it("that overlap end their packet, also for the fragments still to come", () => {
    for (const overlap of [
      { from: 8, data: filled(16, 2), more: true },
      { from: 0, data: filled(16, 2), more: true },
      { from: 0, data: filled(32, 2), more: true },
      { from: 8, data: filled(4, 2), more: false },
    ]) {
      const reassembler = new Reassembler(new ManualClock());
      send(reassembler, { from: 0, data: filled(16), more: true });
      expect(send(reassembler, overlap)).toBeUndefined();
      expect(send(reassembler, { from: 0, data: filled(16), more: true })).toBeUndefined();
      expect(send(reassembler, { from: 16, data: filled(8), more: false })).toBeUndefined();
      expect(reassembler.pending.packets).toBe(1);
    }
  });

  it("that contradict each other about the end, are empty or end between words make no packet", () => {
    const impossible: Piece[][] = [
      [{ from: 16, data: filled(8), more: false }, { from: 0, data: filled(24), more: true }],
      [{ from: 8, data: filled(8), more: false }, { from: 16, data: filled(8), more: false }, { from: 0, data: filled(8), more: true }],
      [{ from: 16, data: filled(8), more: true }, { from: 8, data: filled(8), more: false }, { from: 0, data: filled(8), more: true }],
      [{ from: 32, data: filled(8), more: true }, { from: 0, data: filled(8), more: true }, { from: 16, data: filled(8), more: false }],
      [{ from: 0, data: filled(12), more: true }],
      [{ from: 0, data: filled(12), more: true }, { from: 8, data: filled(8), more: false }],
      [{ from: 8, data: filled(0), more: false }, { from: 0, data: filled(8), more: true }, { from: 8, data: filled(8), more: false }],
    ];
    for (const pieces of impossible) {
      const reassembler = new Reassembler(new ManualClock());
      for (const piece of pieces) expect(send(reassembler, piece)).toBeUndefined();
      expect(reassembler.pending).toEqual({ packets: 1, bytes: 128 });
    }
  });

  it("that part the header of TCP make no packet", () => {
    const reassembler = new Reassembler(new ManualClock());
    for (const piece of cut(filled(64), 16)) expect(send(reassembler, piece, { protocol: IpProtocol.tcp })).toBeUndefined();
    const results = cut(filled(64), 24).map((piece) => send(reassembler, piece, { protocol: IpProtocol.tcp, identification: 8 }));
    expect(payloadOf(results.at(-1))).toHaveLength(64);
  });

  it("are forgotten when the rest does not come in 30 seconds, each packet in its time", () => {
    const clock = new ManualClock();
    const reassembler = new Reassembler(clock);
    send(reassembler, { from: 0, data: filled(8), more: true });
    clock.advance(20_000);
    send(reassembler, { from: 0, data: filled(8), more: true }, { identification: 8 });
    clock.advance(10_000);
    expect(reassembler.pending.packets).toBe(1);
    expect(send(reassembler, { from: 8, data: filled(8), more: false })).toBeUndefined();
    expect(send(reassembler, { from: 8, data: filled(8), more: false }, { identification: 8 })).toBeDefined();
    clock.advance(30_000);
    expect(reassembler.pending).toEqual({ packets: 0, bytes: 0 });
  });

  it("of one sender take a share of the room, and never that of another", () => {
    const reassembler = new Reassembler(new ManualClock(), { bytes: 100_000, packets: 40, share: 1 / 4 });
    send(reassembler, { from: 0, data: filled(8), more: true }, { source: 5 });
    for (let identification = 0; identification < 5000; identification++) send(reassembler, { from: 0, data: filled(1000), more: true }, { identification });
    expect(reassembler.pending.packets).toBeLessThanOrEqual(11);
    expect(reassembler.pending.bytes).toBeLessThanOrEqual(26_500);
    expect(payloadOf(send(reassembler, { from: 8, data: filled(8), more: false }, { source: 5 }))).toHaveLength(16);
    for (let source = 100; source < 3000; source++) send(reassembler, { from: 0, data: filled(1000), more: true }, { source });
    expect(reassembler.pending.packets).toBeLessThanOrEqual(40);
    expect(reassembler.pending.bytes).toBeLessThanOrEqual(100_000);
    reassembler.dispose();
    expect(reassembler.pending).toEqual({ packets: 0, bytes: 0 });
  });

  it("are few of one packet, however small they are", () => {
    const reassembler = new Reassembler(new ManualClock());
    for (const piece of cut(filled(8 * 2000), 8)) expect(send(reassembler, piece)).toBeUndefined();
    expect(reassembler.pending.bytes).toBeLessThan(1000);
  });
});
