import { describe, expect, it } from "vitest";
import { compressedPayload, withUnpackedPayload } from "../../../build/starter/kernel.mjs";

const setupSectors = 3;
const setupBytes = (setupSectors + 1) * 512;
const xzMagic = Buffer.from("fd377a585a00", "hex");

/** A kernel image in bzImage form with `payload` at `offset` of its protected-mode part (boot.rst). */
function makeKernel(payload: Buffer, offset = 0x40): Buffer {
  const setup = Buffer.alloc(setupBytes);
  setup[0x1f1] = setupSectors;
  setup.write("HdrS", 0x202, "latin1");
  setup.writeUInt16LE(0x20f, 0x206);
  setup[0x211] = 1;
  setup[0x234] = 1;
  setup.writeUInt32LE(offset, 0x248);
  setup.writeUInt32LE(payload.length + 4, 0x24c);
  const size = Buffer.alloc(4, 0xee);
  return Buffer.concat([setup, Buffer.alloc(offset, 0x90), payload, size, Buffer.alloc(64)]);
}

interface Segment {
  readonly physical: number;
  readonly virtual: number;
  readonly bytes: Buffer;
}

/** An ELF image of the segments; the entry point is given as the kernel gives it, a physical address. */
function makeElf(entry: number, segments: readonly Segment[]): Buffer {
  const header = Buffer.alloc(52 + 32 * segments.length);
  Buffer.from("7f454c46010101", "hex").copy(header);
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(3, 18);
  header.writeUInt32LE(entry, 24);
  header.writeUInt32LE(52, 28);
  header.writeUInt16LE(32, 42);
  header.writeUInt16LE(segments.length, 44);
  let offset = header.length;
  segments.forEach((segment, index) => {
    const at = 52 + 32 * index;
    [1, offset, segment.virtual, segment.physical, segment.bytes.length, segment.bytes.length + 100].forEach((value, field) =>
      header.writeUInt32LE(value, at + 4 * field),
    );
    offset += segment.bytes.length;
  });
  return Buffer.concat([header, ...segments.map((segment) => segment.bytes)]);
}

const code = { physical: 0x1000000, virtual: 0xc1000000, bytes: Buffer.from("the code of the kernel") };
const data = { physical: 0x1200000, virtual: 0xc1200000, bytes: Buffer.from("the data") };

describe("the fast kernel", () => {
  it("is the setup of the old one and every segment at its physical address above 1 MiB", () => {
    const fast = withUnpackedPayload(makeKernel(xzMagic), makeElf(0x1000000, [code, data]));
    const image = fast.subarray(setupBytes);
    for (const segment of [code, data]) {
      const at = segment.physical - 0x100000;
      expect(image.subarray(at, at + segment.bytes.length)).toEqual(segment.bytes);
    }
    expect(image.subarray(7, code.physical - 0x100000).every((byte) => byte === 0)).toBe(true);
    expect(fast.readUInt32LE(0x1f4) * 16).toBe(image.length);
    expect(image.length).toBeGreaterThanOrEqual(data.physical - 0x100000 + data.bytes.length);
  });

  it("begins with a jump to the kernel's entry point", () => {
    const fast = withUnpackedPayload(makeKernel(xzMagic), makeElf(0x1000010, [code, data]));
    // mov eax, imm32; jmp eax
    expect(fast.subarray(setupBytes, setupBytes + 7).toString("hex")).toBe("b810000001ffe0");
  });

  it("takes an entry point given as a virtual address to where it lies", () => {
    const fast = withUnpackedPayload(makeKernel(xzMagic), makeElf(0xc1000004, [code]));
    expect(fast.readUInt32LE(setupBytes + 1)).toBe(0x1000004);
  });

  it("is never moved and has nothing left to unpack", () => {
    const fast = withUnpackedPayload(makeKernel(xzMagic), makeElf(0x1000000, [code]));
    expect(fast[0x234]).toBe(0);
    expect(fast.readUInt32LE(0x24c)).toBe(0);
  });

  it("finds the compressed payload without the size behind it", () => {
    const payload = Buffer.concat([xzMagic, Buffer.from("packed")]);
    expect(compressedPayload(makeKernel(payload))).toEqual(payload);
  });

  it("refuses what is no kernel, one cut off, another compression, and an entry point in no segment", () => {
    expect(() => compressedPayload(Buffer.alloc(4096))).toThrow(/not a Linux kernel/);
    expect(() => compressedPayload(makeKernel(Buffer.from("gzipped")))).toThrow(/xz/);
    const kernel = makeKernel(Buffer.concat([xzMagic, Buffer.alloc(1000)]));
    expect(() => compressedPayload(kernel.subarray(0, setupBytes + 100))).toThrow(/cut off/);
    expect(() => withUnpackedPayload(makeKernel(xzMagic), makeElf(0x5000000, [code]))).toThrow(/entry point/);
    expect(() => withUnpackedPayload(makeKernel(xzMagic), makeElf(0x100000, [{ ...code, physical: 0x100000 }]))).toThrow(/stub/);
    expect(() => withUnpackedPayload(makeKernel(xzMagic), Buffer.from("no ELF file at all, but long enough for its header...."))).toThrow(/ELF/);
  });
});
