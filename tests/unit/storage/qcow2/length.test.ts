import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { qcow2Length } from "../../../../core/storage/qcow2";

/* The real judge is qemu-img, in the integration tests; here is what it does not make. */

const asked: number[] = [];
const lengthOf = (bytes: Buffer, sizeBytes = bytes.length): Promise<number | undefined> =>
  qcow2Length((offset, length) => {
    asked.push(length);
    return Promise.resolve(bytes.subarray(Math.min(offset, bytes.length), Math.min(offset + length, bytes.length)));
  }, sizeBytes);

/** A header with a first table of one entry at 64 KiB and a table of reference counts at 128 KiB. */
function image(patch: (head: Buffer) => void = () => undefined): Buffer {
  const bytes = Buffer.alloc(192 * 1024);
  bytes.write("QFI\xfb", 0, "latin1");
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(16, 20);
  bytes.writeUInt32BE(1, 36);
  bytes.writeBigUInt64BE(0x10000n, 40);
  bytes.writeBigUInt64BE(0x20000n, 48);
  bytes.writeUInt32BE(1, 56);
  patch(bytes);
  return bytes;
}

describe("qcow2Length", () => {
  it("is where the last table ends of an image without data", async () => {
    expect(await lengthOf(image())).toBe(192 * 1024);
  });

  it("is where a second table ends that is not there", async () => {
    expect(await lengthOf(image((bytes) => bytes.writeBigUInt64BE(0x8000_0000_0100_0000n, 0x10000)))).toBe(0x0101_0000);
  });

  it("is not known when the header makes no sense", async () => {
    expect(await lengthOf(image((head) => head.writeUInt32BE(99, 20)))).toBeUndefined();
    expect(await lengthOf(image((head) => head.writeUInt32BE(7, 4)))).toBeUndefined();
    expect(await lengthOf(image((head) => head.writeUInt32BE(0xffff_ffff, 36)))).toBeUndefined();
  });

  it("never throws, and reads no more than QEMU would, whatever the image says", async () => {
    const patches = fc.array(fc.tuple(fc.integer({ min: 4, max: 103 }), fc.integer({ min: 0, max: 255 })), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(patches, fc.uint8Array({ maxLength: 600 }), async (changes, table) => {
        asked.length = 0;
        const bytes = image((head) => {
          for (const [at, value] of changes) head[at] = value;
          head.set(table, 0x10000);
        });
        const length = await lengthOf(bytes, 2 ** 40);
        expect(length === undefined || length >= 0).toBe(true);
        expect(asked.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(112 + 3 * 64 * 1024 * 1024);
      }),
    );
  });
});
