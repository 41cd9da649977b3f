import fc from "fast-check";
import { expect } from "vitest";

/** Bytes with something before and behind the part that is to be read: [bytes, at, end). */
export function surrounded(inner: fc.Arbitrary<Uint8Array>): fc.Arbitrary<{ bytes: Uint8Array; at: number; end: number }> {
  return fc.tuple(fc.uint8Array({ maxLength: 9 }), inner, fc.uint8Array({ maxLength: 40 })).map(([before, part, behind]) => {
    const bytes = new Uint8Array(before.length + part.length + behind.length);
    bytes.set(before);
    bytes.set(part, before.length);
    bytes.set(behind, before.length + part.length);
    return { bytes, at: before.length, end: before.length + part.length };
  });
}

/** `valid` bytes with some of them changed, and cut or lengthened: more of it gets past a reader's first look than of mere noise. */
export function damaged(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(0, 1, 0x3f, 0x40, 0xc0, 0xff), fc.integer({ min: 0, max: 255 }))), { maxLength: 6 });
  return fc.tuple(valid, changes, fc.option(fc.nat(), { freq: 3 }), fc.uint8Array({ maxLength: 4 })).map(([bytes, list, cut, more]) => {
    const result = new Uint8Array(bytes.length + more.length);
    result.set(bytes);
    result.set(more, bytes.length);
    for (const [where, value] of list) if (result.length > 0) result[where % result.length] = value;
    return cut === null ? result : result.slice(0, cut % (result.length + 1));
  });
}

/**
 * `read` throws on no bytes, says the same whatever lies around them, and changes nothing. It is given a view that
 * begins within its memory, as frames in a receive buffer do.
 */
export function expectTotal(inner: fc.Arbitrary<Uint8Array>, read: (bytes: Uint8Array, at: number, end: number) => unknown): void {
  fc.assert(
    fc.property(surrounded(inner), ({ bytes, at, end }) => {
      const before = bytes.slice();
      const here = read(bytes, at, end);
      expect(bytes).toEqual(before);
      const elsewhere = bytes.map((byte, index) => (index >= at && index < end ? byte : ~byte));
      expect(read(elsewhere, at, end)).toEqual(here);
    }),
    { numRuns: 500 },
  );
}

/** What `write` puts there, with nothing written outside of [at, at + length). */
export function written(length: number, write: (bytes: Uint8Array, at: number, end: number) => void): { bytes: Uint8Array; at: number; end: number } {
  const at = 7;
  const bytes = new Uint8Array(at + length + 11).fill(0xa5);
  write(bytes, at, at + length);
  expect([...bytes.subarray(0, at), ...bytes.subarray(at + length)].every((byte) => byte === 0xa5)).toBe(true);
  return { bytes, at, end: at + length };
}

export const anyAddress = fc.integer({ min: 0, max: 0xffff_ffff });
export const anyMac = fc.integer({ min: 0, max: 0xffff_ffff_ffff });
export const any16 = fc.integer({ min: 0, max: 0xffff });
export const any32 = anyAddress;
export const anyByte = fc.integer({ min: 0, max: 255 });
