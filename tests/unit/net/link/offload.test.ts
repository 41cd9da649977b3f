import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { finishFrame, offloadHeaderBytes, type FrameRoom, type VlanTag } from "../../../../core/net/link/offload";
import { addBytes, checksum, finish, pseudoHeaderSum } from "../../../../core/net/wire/checksum";
import { read16, read32, write16, write32 } from "../../../../core/net/wire/addresses";
import { IpProtocol, readIpv4, writeIpv4 } from "../../../../core/net/wire/ipv4";

const roomBytes = new Uint8Array(4 << 20);

/** Collects what is put into it as frames. */
class Room implements FrameRoom {
  readonly bytes = roomBytes;
  private readonly parts: [number, number][] = [];
  private used = 0;

  take(length: number): number {
    const at = this.used;
    this.parts.push([at, length]);
    this.used += length;
    return at;
  }

  get frames(): Uint8Array[] {
    return this.parts.map(([at, length]) => this.bytes.slice(at, at + length));
  }
}

interface Offload {
  flags?: number;
  kind?: number;
  segment?: number;
  begin?: number;
  field?: number;
}

function finished(frame: Uint8Array, offload: Offload, tag?: VlanTag): { done: boolean; frames: Uint8Array[] } {
  const bytes = new Uint8Array(offloadHeaderBytes + frame.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = offload.flags ?? 0;
  bytes[1] = offload.kind ?? 0;
  view.setUint16(4, offload.segment ?? 0, true);
  view.setUint16(6, offload.begin ?? 0, true);
  view.setUint16(8, offload.field ?? 0, true);
  bytes.set(frame, offloadHeaderBytes);
  const room = new Room();
  return { done: finishFrame(bytes, 0, offloadHeaderBytes, bytes.length, tag, room), frames: room.frames };
}

const [here, there] = [0xc6336401, 0xc6336432];

/** An IPv4 frame whose transport header is `head` and whose checksum, at `field` of it, holds the pseudo-header's sum only. */
function frame4(protocol: number, head: Uint8Array, field: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(34 + head.length + payload.length);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
  writeIpv4(frame, 14, { source: here, destination: there, protocol, length: head.length + payload.length, ttl: 64, identification: 0xfffe, dontFragment: true });
  frame.set(head, 34);
  frame.set(payload, 34 + head.length);
  write16(frame, 34 + field, ~finish(pseudoHeaderSum(here, there, protocol, head.length + payload.length)) & 0xffff);
  return frame;
}

function frame6(protocol: number, head: Uint8Array, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(54 + head.length + payload.length);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60]);
  write16(frame, 18, head.length + payload.length);
  frame[20] = protocol;
  frame[21] = 64;
  frame.set([0x20, 0x01, 0x0d, 0xb8], 22);
  frame.set([0x20, 0x01, 0x0d, 0xb8], 38);
  frame.set(head, 54);
  frame.set(payload, 54 + head.length);
  return frame;
}

function tcpHead(sequence: number, flags: number): Uint8Array {
  const head = new Uint8Array(32);
  write16(head, 0, 80);
  write16(head, 2, 40_000);
  write32(head, 4, sequence);
  head[12] = 8 << 4;
  head[13] = flags;
  head.fill(1, 20);
  return head;
}

const flag = { fin: 1, push: 8, acknowledge: 16, reduced: 128 };

describe("what a card was to finish", () => {
  it("passes a finished frame on as it is", () => {
    const frame = Uint8Array.from({ length: 60 }, (_, index) => index);
    expect(finished(frame, {})).toEqual({ done: true, frames: [frame] });
  });

  it("finishes a checksum, so that it holds", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1460 }), (payload) => {
        const { done, frames } = finished(frame4(IpProtocol.tcp, tcpHead(1, flag.push), 16, payload), { flags: 1, begin: 34, field: 16 });
        expect(done).toBe(true);
        const [frame = new Uint8Array()] = frames;
        expect(checksum(frame, 34, frame.length, pseudoHeaderSum(here, there, IpProtocol.tcp, frame.length - 34))).toBe(0);
      }),
    );
  });

  it("never writes a zero as the checksum of a datagram: that means that there is none", () => {
    // The two bytes of payload bring the sum to all ones.
    const head = new Uint8Array(8);
    write16(head, 4, 10);
    const frame = frame4(IpProtocol.udp, head, 6, new Uint8Array(2));
    write16(frame, 42, finish(addBytes(frame, 34, 44)));
    const [out = new Uint8Array()] = finished(frame, { flags: 1, begin: 34, field: 6 }).frames;
    expect(read16(out, 40)).toBe(0xffff);
  });

  it("refuses a checksum beyond the frame's end", () => {
    expect(finished(new Uint8Array(60), { flags: 1, begin: 50, field: 9 })).toEqual({ done: false, frames: [] });
  });

  it("puts a VLAN tag back where it was", () => {
    const frame = Uint8Array.from({ length: 60 }, (_, index) => index);
    const [out = new Uint8Array()] = finished(frame, {}, { type: 0x88a8, control: 0x6005 }).frames;
    expect([...out]).toEqual([...frame.subarray(0, 12), 0x88, 0xa8, 0x60, 0x05, ...frame.subarray(12)]);
  });

  it("cuts a long TCP packet into those it was made of", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 9000 }), fc.integer({ min: 8, max: 2000 }), fc.integer({ min: 0, max: 0xffff_ffff }), fc.boolean(), (payload, size, sequence, tagged) => {
        const flags = flag.fin | flag.push | flag.acknowledge | flag.reduced;
        const { done, frames } = finished(frame4(IpProtocol.tcp, tcpHead(sequence, flags), 16, payload), { flags: 1, kind: 0x81, segment: size, begin: 34, field: 16 }, tagged ? { type: 0x8100, control: 7 } : undefined);
        expect(done).toBe(true);
        expect(frames).toHaveLength(Math.ceil(payload.length / size));
        const got: number[] = [];
        frames.forEach((frame, index) => {
          const ip = tagged ? 18 : 14;
          const packet = readIpv4(frame, ip, frame.length);
          if (typeof packet === "string") throw new Error(packet);
          expect(packet.end).toBe(frame.length);
          expect(packet.identification).toBe((0xfffe + index) & 0xffff);
          expect(checksum(frame, packet.payload, packet.end, pseudoHeaderSum(here, there, IpProtocol.tcp, packet.end - packet.payload))).toBe(0);
          expect(read32(frame, packet.payload + 4)).toBe((sequence + got.length) >>> 0);
          const isLast = index === frames.length - 1;
          expect(frame[packet.payload + 13]).toBe(flag.acknowledge | (isLast ? flag.fin | flag.push : 0) | (index === 0 ? flag.reduced : 0));
          expect([...frame.subarray(packet.payload + 20, packet.payload + 32)]).toEqual(new Array(12).fill(1));
          got.push(...frame.subarray(packet.payload + 32));
        });
        expect(got).toEqual([...payload]);
      }),
      { numRuns: 60 },
    );
  });

  it("cuts a long TCP packet of IPv6 too", () => {
    const payload = Uint8Array.from({ length: 3000 }, (_, index) => index);
    const { frames } = finished(frame6(IpProtocol.tcp, tcpHead(5, flag.push), payload), { flags: 1, kind: 4, segment: 1400, begin: 54, field: 16 });
    expect(frames.map((frame) => frame.length)).toEqual([54 + 32 + 1400, 54 + 32 + 1400, 54 + 32 + 200]);
    for (const frame of frames) {
      expect(read16(frame, 18)).toBe(frame.length - 54);
      expect(checksum(frame, 54, frame.length, addBytes(frame, 22, 54, IpProtocol.tcp + frame.length - 54))).toBe(0);
    }
  });

  it("cuts a run of datagrams into datagrams", () => {
    const head = new Uint8Array(8);
    write16(head, 0, 53);
    write16(head, 2, 5000);
    const payload = Uint8Array.from({ length: 2500 }, (_, index) => index);
    const { frames } = finished(frame4(IpProtocol.udp, head, 6, payload), { flags: 1, kind: 5, segment: 1000, begin: 34, field: 6 });
    expect(frames.map((frame) => read16(frame, 38))).toEqual([1008, 1008, 508]);
    for (const frame of frames) expect(checksum(frame, 34, frame.length, pseudoHeaderSum(here, there, IpProtocol.udp, frame.length - 34))).toBe(0);
    expect(frames.flatMap((frame) => [...frame.subarray(42)])).toEqual([...payload]);
  });

  it("refuses what cannot be cut, and puts nothing anywhere", () => {
    const tcp = frame4(IpProtocol.tcp, tcpHead(1, 0), 16, new Uint8Array(3000));
    expect(finished(tcp, { kind: 3, segment: 1000 })).toEqual({ done: false, frames: [] });
    expect(finished(tcp, { kind: 5, segment: 1000 })).toEqual({ done: false, frames: [] });
    expect(finished(tcp, { kind: 1, segment: 0 })).toEqual({ done: false, frames: [] });
    expect(finished(tcp.subarray(0, 40), { kind: 1, segment: 1000 })).toEqual({ done: false, frames: [] });
  });

  it("never fails on any bytes, and its frames never grow beyond what came in", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 14, maxLength: 300 }), fc.uint8Array({ minLength: 10, maxLength: 10 }), fc.constantFrom(0x0800, 0x86dd, 0x8100, 0x0806), (bytes, header, type) => {
        write16(bytes, 12, type);
        const whole = new Uint8Array(offloadHeaderBytes + bytes.length);
        whole.set(header);
        whole.set(bytes, offloadHeaderBytes);
        const room = new Room();
        const done = finishFrame(whole, 0, offloadHeaderBytes, whole.length, undefined, room);
        if (!done) expect(room.frames).toEqual([]);
        for (const frame of room.frames) expect(frame.length).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2000 },
    );
  });
});
