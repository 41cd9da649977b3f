import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTcp, sequenceAdd, sequenceBefore, sequenceDistance, tcpChecksumHolds, TcpFlag, tcpHeaderLength, writeTcp, type TcpFields, type TcpOptions } from "../../../../core/net/wire/tcp";
import { any16, any32, anyAddress, anyByte, damaged, expectTotal, written } from "./hostile";

const anyBlocks = (maxLength: number): fc.Arbitrary<[number, number][]> => fc.array(fc.tuple(any32, any32), { minLength: 1, maxLength });

/** Options as ends of connections send them: what belongs on a SYN, or what belongs on others. */
const anyOptions: fc.Arbitrary<TcpOptions> = fc.oneof(
  fc.record({ mss: any16, windowScale: fc.nat({ max: 14 }), sackPermitted: fc.constant(true), timestamps: fc.record({ value: any32, echo: any32 }) }, { requiredKeys: [] }),
  fc.record({ timestamps: fc.record({ value: any32, echo: any32 }), sack: anyBlocks(3) }, { requiredKeys: [] }),
  fc.record({ sack: anyBlocks(4) }, { requiredKeys: [] }),
);

const anyFields = fc.record({ sourcePort: any16, destinationPort: any16, sequence: any32, acknowledgment: any32, flags: anyByte, window: any16, options: anyOptions });
const anySegment = fc.record({ fields: anyFields, payload: fc.uint8Array({ maxLength: 300 }), from: anyAddress, to: anyAddress });

function put({ fields, payload, from, to }: { fields: TcpFields; payload: Uint8Array; from: number; to: number }): { bytes: Uint8Array; at: number; end: number } {
  const header = tcpHeaderLength(fields.options ?? {});
  return written(header + payload.length, (target, where, behind) => {
    target.set(payload, where + header);
    writeTcp(target, where, behind, from, to, fields);
  });
}

/** A segment whose options are these bytes. */
function withOptions(...options: number[]): TcpOptions | undefined {
  const bytes = new Uint8Array(20 + options.length);
  bytes[12] = (bytes.length / 4) << 4;
  bytes.set(options, 20);
  return readTcp(bytes, 0, bytes.length)?.options;
}

describe("TCP segments", () => {
  it("are read as they were written, with a checksum that holds", () => {
    fc.assert(
      fc.property(anySegment, (segment) => {
        const { bytes, at, end } = put(segment);
        expect(readTcp(bytes, at, end)).toEqual({ ...segment.fields, payload: end - segment.payload.length, end });
        expect(bytes.subarray(end - segment.payload.length, end)).toEqual(segment.payload);
        expect(tcpChecksumHolds(bytes, at, end, segment.from, segment.to)).toBe(true);
      }),
    );
  });

  it("that were damaged or sent to others have a checksum that does not hold", () => {
    fc.assert(
      fc.property(anySegment, fc.nat(), fc.integer({ min: 0, max: 7 }), (segment, where, bit) => {
        const { bytes, at, end } = put(segment);
        expect(tcpChecksumHolds(bytes, at, end, (segment.from ^ 0x100) >>> 0, segment.to)).toBe(false);
        const index = at + (where % (end - at));
        bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
        expect(tcpChecksumHolds(bytes, at, end, segment.from, segment.to)).toBe(false);
      }),
    );
  });

  it("have a header of whole words, never longer than can be said, and lose SACK blocks first", () => {
    const blocks: [number, number][] = Array.from({ length: 6 }, (_, index) => [index * 100, index * 100 + 50]);
    const timestamps = { value: 1, echo: 2 };
    for (const [options, kept] of [[{ sack: blocks }, 4], [{ sack: blocks, timestamps }, 3], [{ sack: blocks, timestamps, mss: 1460, windowScale: 7, sackPermitted: true }, 1]] as const) {
      const length = tcpHeaderLength(options);
      expect(length % 4).toBe(0);
      expect(length).toBeLessThanOrEqual(60);
      const { bytes, at, end } = put({ fields: { sourcePort: 1, destinationPort: 2, sequence: 3, acknowledgment: 4, flags: TcpFlag.ack, window: 5, options }, payload: Uint8Array.of(1, 2, 3), from: 1, to: 2 });
      expect(readTcp(bytes, at, end)?.options).toEqual({ ...options, sack: blocks.slice(0, kept) });
    }
  });

  it("are read from any bytes without a fault, and end within them", () => {
    const read = (bytes: Uint8Array, at: number, end: number): unknown => {
      const segment = readTcp(bytes, at, end);
      if (segment) expect(segment.payload).toBeLessThanOrEqual(end);
      return segment;
    };
    expectTotal(damaged(anySegment.map((segment) => put(segment).bytes.slice(7, -11))), read);
    expectTotal(fc.uint8Array({ maxLength: 80 }), read);
  });

  it("with a header shorter than 20 bytes or longer than the segment are none", () => {
    for (const words of [0, 4, 7]) {
      const bytes = new Uint8Array(24);
      bytes[12] = words << 4;
      expect(readTcp(bytes, 0, 24)).toBeUndefined();
    }
    expect(readTcp(new Uint8Array(19).fill(0x50), 0, 19)).toBeUndefined();
  });
});

describe("TCP options", () => {
  it("that are unknown or have another length than theirs are skipped", () => {
    expect(withOptions(254, 4, 9, 9, 2, 4, 5, 180, 3, 4, 7, 0)).toEqual({ mss: 1460 });
    expect(withOptions(5, 2, 5, 6, 0, 0, 0, 0)).toEqual({});
  });

  it("end at the end mark, and where one is cut off or has no length", () => {
    expect(withOptions(0, 2, 4, 5)).toEqual({});
    expect(withOptions(1, 1, 1, 2)).toEqual({});
    expect(withOptions(3, 3, 7, 9, 0, 4, 2, 4)).toEqual({ windowScale: 7 });
    expect(withOptions(3, 3, 7, 2, 40, 4, 5, 5)).toEqual({ windowScale: 7 });
  });

  it("scale a window by 14 at most, as RFC 7323 has it", () => {
    expect(withOptions(3, 3, 15, 0)).toEqual({ windowScale: 14 });
  });
});

describe("sequence numbers", () => {
  it("go round in a circle", () => {
    expect(sequenceAdd(0xffff_fff0, 0x20)).toBe(0x10);
    expect(sequenceBefore(0xffff_fff0, 0x10)).toBe(true);
    expect(sequenceBefore(0x10, 0xffff_fff0)).toBe(false);
    expect(sequenceBefore(5, 5)).toBe(false);
    fc.assert(
      fc.property(any32, fc.integer({ min: 1, max: 0x7fff_ffff }), (sequence, count) => {
        const later = sequenceAdd(sequence, count);
        expect(sequenceBefore(sequence, later)).toBe(true);
        expect(sequenceDistance(sequence, later)).toBe(count);
        expect(sequenceDistance(later, sequence)).toBe(-count);
      }),
    );
  });
});
