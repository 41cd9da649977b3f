import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { steadyMemory } from "../../../../core/net/memory";
import { addBytes, checksum, finish, pseudoHeaderSum } from "../../../../core/net/wire/checksum";
import { mostSummedBytes, sumIn } from "../../../../core/net/wire/vectorSum";

/** RFC 1071 as it stands there, with nothing made faster. */
function plain(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    sum = (sum & 0xffff) + (sum >>> 16);
  }
  return ~sum & 0xffff;
}

/** The bytes at a place of their own in a memory, so that every alignment comes up. */
function placed(part: Uint8Array, viewAt: number, at: number): Uint8Array {
  const view = new Uint8Array(new ArrayBuffer(viewAt + at + part.length + 5), viewAt).fill(0xee);
  view.set(part, at);
  return view;
}

/** Where vector instructions add. */
const steady = new Uint8Array(steadyMemory(300_000));

function inSteadyMemory(part: Uint8Array, at: number): Uint8Array {
  steady.fill(0xee, 0, at + part.length + 80);
  steady.set(part, at);
  return steady;
}

describe("the Internet checksum by vector instructions", () => {
  it("is there in the runtimes that Terrarium runs on", () => {
    const runtime = (globalThis as unknown as { WebAssembly: { Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer } } }).WebAssembly;
    const memory = new runtime.Memory({ initial: 1, maximum: 1 });
    new Uint8Array(memory.buffer).fill(0xff);
    expect(sumIn(memory)?.(0, mostSummedBytes)).toBe((mostSummedBytes / 2) * 0xffff);
  });

  it("is right for every length and every alignment", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1600, size: "max" }), fc.nat({ max: 70 }), (part, at) => {
        expect(checksum(inSteadyMemory(part, at), at, at + part.length)).toBe(plain(part));
      }),
    );
    for (let length = 120; length < 400; length++) {
      const part = Uint8Array.from({ length }, (_, index) => (index * 199 + length) & 255);
      for (const at of [0, 1]) expect(checksum(inSteadyMemory(part, at), at, at + length)).toBe(plain(part));
    }
  });

  it("does not overflow over the longest packets, and longer", () => {
    for (const length of [65_535, 65_550, 0x1_0000, 0x1_0001, 200_001]) {
      const part = new Uint8Array(length).fill(0xff);
      for (const at of [0, 1]) expect(checksum(inSteadyMemory(part, at), at, at + length)).toBe(plain(part));
    }
  });
});

describe("the Internet checksum", () => {
  it("is that of RFC 1071's own example", () => {
    expect(finish(addBytes(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8))).toBe(~0xddf2 & 0xffff);
  });

  it("is right for every length and every alignment of bytes and memory", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1600, size: "max" }), fc.nat({ max: 3 }), fc.nat({ max: 3 }), (part, viewAt, at) => {
        expect(checksum(placed(part, viewAt, at), at, at + part.length)).toBe(plain(part));
      }),
    );
  });

  it("is right at each length around those where the way of adding changes", () => {
    for (let length = 0; length < 400; length++) {
      const part = Uint8Array.from({ length }, (_, index) => (index * 199 + length) & 255);
      for (const at of [0, 1]) expect(checksum(placed(part, 0, at), at, at + length)).toBe(plain(part));
    }
  });

  it("does not overflow over the longest packets, and longer", () => {
    for (const length of [65_535, 65_550, 0x1_0000, 0x1_0001, 200_001]) {
      const part = new Uint8Array(length).fill(0xff);
      for (const at of [0, 1]) expect(checksum(placed(part, 0, at), at, at + length)).toBe(plain(part));
    }
  });

  it("is right when memories take turns", () => {
    const parts = Array.from({ length: 5 }, (_, index) => placed(new Uint8Array(300).fill(index * 50 + 3), 0, index));
    for (let turn = 0; turn < 20; turn++) {
      const index = (turn * turn) % 5;
      expect(checksum(parts[index] as Uint8Array, index, index + 300)).toBe(plain(new Uint8Array(300).fill(index * 50 + 3)));
    }
  });

  it("adds up over parts of even length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700, size: "max" }), fc.nat({ max: 350 }), (bytes, cut) => {
        const middle = Math.min(cut * 2, bytes.length & ~1);
        expect(finish(addBytes(bytes, middle, bytes.length, addBytes(bytes, 0, middle)))).toBe(plain(bytes));
      }),
    );
  });

  it("is zero over bytes that hold it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 400 }).filter((bytes) => bytes.some((byte) => byte !== 0)), (bytes) => {
        bytes.set([0, 0], 2);
        if (bytes.every((byte) => byte === 0)) bytes[0] = 1;
        const sum = checksum(bytes, 0, bytes.length);
        bytes.set([sum >>> 8, sum & 255], 2);
        expect(checksum(bytes, 0, bytes.length)).toBe(0);
      }),
    );
  });

  it("takes in a pseudo-header as if its twelve bytes stood in front", () => {
    const header = Uint8Array.of(10, 0, 2, 15, 203, 0, 113, 7, 0, 17, 0, 3);
    expect(checksum(Uint8Array.of(1, 2, 3), 0, 3, pseudoHeaderSum(0x0a00020f, 0xcb007107, 17, 3))).toBe(plain(Uint8Array.of(...header, 1, 2, 3)));
  });
});
