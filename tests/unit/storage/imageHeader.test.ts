import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { qemuFormats, readImageHeader, type ImageHeader } from "../../../core/storage/formats/imageHeader";
import { vmdkHeader } from "../../support/images";

const read = (format: string, bytes: Uint8Array): Promise<ImageHeader> => readImageHeader(format, (offset, length) => Promise.resolve(bytes.subarray(Math.min(offset, bytes.length), Math.min(offset + length, bytes.length))), bytes.length);

function qcow2(options: { version?: number; backing?: string; features?: number; crypt?: number; size?: bigint } = {}): Buffer {
  const { version = 3, backing = "", features = 0, crypt = 0, size = 1024n } = options;
  const bytes = Buffer.alloc(4096);
  bytes.write("QFI\xfb", 0, "latin1");
  bytes.writeUInt32BE(version, 4);
  if (backing !== "") {
    bytes.writeBigUInt64BE(512n, 8);
    bytes.writeUInt32BE(Buffer.byteLength(backing), 16);
    bytes.write(backing, 512);
  }
  bytes.writeBigUInt64BE(size, 24);
  bytes.writeUInt32BE(crypt, 32);
  bytes.writeBigUInt64BE(BigInt(features), 72);
  return bytes;
}

describe("readImageHeader", () => {
  it("tells the size of a QCOW2 image of either version", async () => {
    expect(await read("qcow2", qcow2({ version: 2, size: 10n << 30n }))).toEqual({ virtualBytes: 10 * 2 ** 30, encrypted: false, corrupt: false });
    expect(await read("qcow2", qcow2({ features: 2, crypt: 2 }))).toMatchObject({ encrypted: true, corrupt: true });
  });

  it("tells that a QCOW2 image leads to another file", async () => {
    expect((await read("qcow2", qcow2({ backing: "/etc/shadow" }))).leadsTo).toBe('builds on the file "/etc/shadow"');
    expect((await read("qcow2", qcow2({ features: 4 }))).leadsTo).toBe("keeps its data in another file");
    // Version 2 has no features; what stands there is something else.
    expect((await read("qcow2", qcow2({ version: 2, features: 4 }))).leadsTo).toBeUndefined();
    const shown = (await read("qcow2", qcow2({ backing: `\x1b[2J\u202e${"x".repeat(900)}` }))).leadsTo ?? "";
    expect(shown.length).toBeLessThan(260);
    expect(shown).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    const far = qcow2({ backing: "x" });
    far.writeBigUInt64BE(0xffffffffffffffffn, 8);
    expect((await read("qcow2", far)).leadsTo).toBe('builds on the file ""');
  });

  it("does not tell a size that no disk has", async () => {
    expect((await read("qcow2", qcow2({ size: 0n }))).virtualBytes).toBeUndefined();
    expect((await read("qcow2", qcow2({ size: 1n << 63n }))).virtualBytes).toBeUndefined();
  });

  it("tells that a VMDK leads to other files, in each of the ways it can", async () => {
    const extent = 'createType="monolithicSparse"\nRW 2048 SPARSE "disk.vmdk"\n';
    expect(await read("vmdk", vmdkHeader(2048, extent))).toEqual({ virtualBytes: 2048 * 512 });
    expect((await read("vmdk", vmdkHeader(0, extent))).leadsTo).toBe("only lists the files that hold its data");
    expect((await read("vmdk", Buffer.from('# Disk DescriptorFile\nRW 2048 FLAT "/etc/shadow" 0\n'))).leadsTo).toBe("only lists the files that hold its data");
    expect((await read("vmdk", vmdkHeader(2048, `${extent}parentFileNameHint="/etc/shadow"\n`))).leadsTo).toBe('builds on the file "/etc/shadow"');
    expect((await read("vmdk", vmdkHeader(2048, `${extent}RW 2048 SPARSE "other.vmdk"\n`))).leadsTo).toBe("is one part of a set of files");
    expect((await read("vmdk", Buffer.from("COWD".padEnd(2048, "\0")))).leadsTo).toBe("is one part of a set of files");
  });

  it("takes a raw image for as large as its file", async () => {
    expect(await read("raw", Buffer.alloc(1536))).toEqual({ virtualBytes: 1536 });
    expect(await read("parallels", Buffer.alloc(1536))).toEqual({});
  });

  it("never throws, whatever the bytes", async () => {
    const starts = [Buffer.alloc(0), qcow2({ backing: "x" }), vmdkHeader(2048, "parentFileNameHint="), Buffer.from("conectix"), Buffer.concat([Buffer.alloc(192 * 1024), Buffer.from("regi")])];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.keys(qemuFormats)), fc.constantFrom(...starts), fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 600 }), async (format, start, patch, at) => {
        const bytes = Buffer.concat([start, Buffer.alloc(1024)]);
        bytes.set(patch, at);
        const { virtualBytes = 0, leadsTo = "" } = await read(format, bytes);
        expect(Number.isSafeInteger(virtualBytes) && leadsTo.length < 300).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
