import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { finishFrame, isToBeCut, offloadHeaderBytes } from "../../../../core/net/link/offload";
import { mergedFrameAt, SegmentMerge } from "../../../../core/net/link/segmentMerge";
import { maxFrameBytes } from "../../../../core/net/port";
import { read32, write16 } from "../../../../core/net/wire/addresses";
import { checksum, pseudoHeaderSum } from "../../../../core/net/wire/checksum";
import { IpProtocol, readIpv4, writeIpv4 } from "../../../../core/net/wire/ipv4";
import { TcpFlag, tcpHeaderLength, writeTcp, type TcpFields } from "../../../../core/net/wire/tcp";

const [source, destination] = [0x0a09_0002, 0x0a09_000f];
const ipAt = 14;
const tcpAt = 34;

interface Segment extends Partial<TcpFields> {
  readonly payload: number;
  readonly identification?: number;
  readonly ttl?: number;
  readonly service?: number;
  readonly dontFragment?: boolean;
  readonly toMac?: number;
}

/** A frame with a segment whose payload is told by where in the stream it is. */
function frame({ payload, identification = 0, ttl = 64, service = 0, dontFragment = true, toMac = 1, ...fields }: Segment): Uint8Array {
  const header = { sourcePort: 80, destinationPort: 40_000, sequence: 0, acknowledgment: 77, flags: TcpFlag.ack, window: 500, ...fields };
  const length = tcpHeaderLength(header.options ?? {}) + payload;
  const bytes = new Uint8Array(tcpAt + length);
  bytes.set([2, 0, 0, 0, 0, toMac, 2, 0, 0, 0, 0, 2, 8, 0]);
  writeIpv4(bytes, ipAt, { source, destination, protocol: IpProtocol.tcp, length, ttl, service, identification, dontFragment });
  for (let index = 0; index < payload; index++) bytes[bytes.length - payload + index] = (header.sequence + index) * 7;
  writeTcp(bytes, tcpAt, bytes.length, source, destination, header);
  return bytes;
}

/** Segments that follow each other, with identifications that do, too. */
function following(lengths: readonly number[], fields: Omit<Segment, "payload"> = {}, sequence = 0xffff_f000): Uint8Array[] {
  let at = sequence;
  return lengths.map((payload, index) => {
    const made = frame({ ...fields, payload, sequence: at >>> 0, identification: index });
    at += payload;
    return made;
  });
}

interface Written {
  /** The virtio header, and the packet behind it. */
  readonly bytes: Uint8Array;
  readonly frames: number;
  readonly frameBytes: number;
}

function written(frames: readonly Uint8Array[]): Written[] {
  const memory = new Uint8Array(mergedFrameAt + maxFrameBytes).fill(0xee);
  const writes: Written[] = [];
  const merge = new SegmentMerge(memory, ({ at, bytes, ...counts }) => writes.push({ bytes: memory.slice(at, at + bytes), ...counts }));
  for (const one of frames) merge.put(Uint8Array.from([9, 9, 9, ...one, 9]), 3, 3 + one.length);
  merge.flush();
  merge.flush();
  return writes;
}

/** What would be on the wire behind a card that gets these. */
function cut(writes: readonly Written[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (const { bytes } of writes) {
    const room = { bytes: new Uint8Array(1 << 20), used: 0, take(length: number) {
      const at = room.used;
      frames.push(room.bytes.subarray(at, at + length));
      room.used += length;
      return at;
    } };
    expect(finishFrame(bytes, 0, offloadHeaderBytes, bytes.length, undefined, room)).toBe(true);
  }
  return frames;
}

describe("segments that go to the kernel", () => {
  it("become one packet when they follow each other, whose headers hold and which says how it is to be cut", () => {
    const writes = written(following([1448, 1448, 1448, 600], { options: { timestamps: { value: 5, echo: 6 } } }));
    expect(writes).toHaveLength(1);
    const [{ bytes, frames, frameBytes }] = writes as [Written];
    expect({ frames, frameBytes }).toEqual({ frames: 4, frameBytes: 4 * 66 + 3 * 1448 + 600 });
    const view = new DataView(bytes.buffer);
    const little = (at: number): number => view.getUint16(at, true);
    expect([bytes[0], bytes[1], little(2), little(4), little(6), little(8)]).toEqual([1, 1, 66, 1448, 34, 16]);
    const packet = bytes.subarray(offloadHeaderBytes);
    const ip = readIpv4(packet, ipAt, packet.length);
    expect(ip).toMatchObject({ end: packet.length });
    expect(read32(packet, tcpAt + 4)).toBe(0xffff_f000);
    // A stack that finishes the checksum finds it right.
    write16(packet, tcpAt + 16, checksum(packet, tcpAt, packet.length));
    expect(checksum(packet, tcpAt, packet.length, pseudoHeaderSum(source, destination, IpProtocol.tcp, packet.length - tcpAt))).toBe(0);
  });

  it("come out as they went in where the packet is cut, whatever they are", () => {
    const piece = fc.record({
      payload: fc.constantFrom(0, 1, 300, 300, 300, 1448, 1448, 1448, 9000),
      gap: fc.constantFrom(0, 0, 0, 0, 0, 5),
      flags: fc.constantFrom(16, 16, 16, 16, 24, 17, 80),
      window: fc.constantFrom(500, 500, 500, 501),
      ttl: fc.constantFrom(64, 64, 64, 63),
      toMac: fc.constantFrom(1, 1, 1, 2),
      stamped: fc.constantFrom(0, 0, 0, 7),
    });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 120 }), (pieces) => {
        let sequence = 0xffff_ff00;
        const frames = pieces.map(({ gap, stamped, ...fields }, identification) => {
          sequence = (sequence + gap) >>> 0;
          const made = frame({ ...fields, sequence, identification, ...(stamped > 0 ? { options: { timestamps: { value: stamped, echo: 1 } } } : {}) });
          sequence = (sequence + fields.payload) >>> 0;
          return made;
        });
        const writes = written(frames);
        expect(cut(writes)).toEqual(frames);
        expect(writes.reduce((sum, write) => sum + write.frames, 0)).toBe(frames.length);
        expect(writes.reduce((sum, write) => sum + write.frameBytes, 0)).toBe(frames.reduce((sum, one) => sum + one.length, 0));
      }),
      { numRuns: 60 },
    );
  });

  it("stay as they are, wherever a bit of one of them was changed on the way", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 }), fc.nat({ max: 8 * 700 - 1 }), (which, bit) => {
        const frames = following([646, 646, 646]);
        const broken = frames[which] as Uint8Array;
        broken[bit >>> 3] = (broken[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        // What is under no checksum, on the Ethernet, makes it another station's.
        expect(cut(written(frames))).toEqual(frames);
      }),
    );
  });

  it("grow to the longest packet there is, and no further", () => {
    const writes = written(following(Array.from({ length: 100 }, () => 1460)));
    expect(writes.map(({ frames }) => frames)).toEqual([44, 44, 12]);
    expect(Math.max(...writes.map(({ bytes }) => bytes.length - offloadHeaderBytes - ipAt))).toBeLessThanOrEqual(65_535);
  });

  it.each<[string, Partial<Segment>]>([
    ["has another acknowledgment", { acknowledgment: 78 }],
    ["has another window", { window: 499 }],
    ["ends the stream", { flags: TcpFlag.ack | TcpFlag.fin }],
    ["is urgent", { flags: TcpFlag.ack | TcpFlag.urg }],
    ["tells of congestion", { flags: TcpFlag.ack | TcpFlag.ece }],
    ["is for another port", { destinationPort: 40_001 }],
    ["is for another station", { toMac: 9 }],
    ["may be fragmented", { dontFragment: false }],
    ["has another service", { service: 4 }],
    ["is longer than those before", { payload: 1001 }],
  ])("are not joined by one that %s", (_what, other) => {
    const frames = [frame({ payload: 1000 }), frame({ payload: 1000, sequence: 1000, ...other })];
    expect(written(frames).map(({ frames: count }) => count)).toEqual([1, 1]);
  });

  it("are not joined when they are small, and none follows a pushed one or a short one", () => {
    expect(written(following([255, 255]))).toHaveLength(2);
    expect(written(following([1000, 999, 999]))).toHaveLength(2);
    const [first, second, third] = [frame({ payload: 500 }), frame({ payload: 500, sequence: 500, flags: TcpFlag.ack | TcpFlag.psh }), frame({ payload: 500, sequence: 1000 })];
    expect(written([first, second, third]).map(({ frames }) => frames)).toEqual([2, 1]);
  });

  it("have an empty virtio header when they go alone, after others, too", () => {
    const writes = written([...following([1000, 1000]), frame({ payload: 20 }), Uint8Array.from({ length: 60 }, (_, index) => index)]);
    expect(writes).toHaveLength(3);
    expect(isToBeCut(writes[0]?.bytes as Uint8Array, 0)).toBe(true);
    for (const { bytes } of writes.slice(1)) expect([...bytes.subarray(0, offloadHeaderBytes)]).toEqual(new Array(offloadHeaderBytes).fill(0));
  });

  it("are any bytes without a fault", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 15, maxLength: 400, size: "max" }), { maxLength: 10 }), (frames) => {
        for (const one of frames) {
          one.set([8, 0, 0x45], 12);
          if (one.length > 23) one[23] = 6;
        }
        expect(written(frames).map(({ bytes }) => bytes.subarray(offloadHeaderBytes))).toEqual(frames);
      }),
    );
  });
});
