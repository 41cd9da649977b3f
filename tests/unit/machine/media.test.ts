import { execFileSync } from "node:child_process";
import { chmod, mkdir, open, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { headBytes, recognise } from "../../../core/machine/fileFormats";
import { inspectFile, judgeImage, withoutConverter, type Inspection } from "../../../core/machine/media";
import { cpioArchive, gptDisk, isoImage, kernelImage, mbrDisk, qcow2Image, vmdkHeader } from "../../support/images";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();

async function inspect(content: Uint8Array | string): Promise<Inspection> {
  const path = join(folder.path, "file");
  await writeFile(path, content);
  return inspectFile(path);
}

const vhd = (): Buffer => Buffer.concat([Buffer.alloc(4096, 7), Buffer.from("conectix".padEnd(512, "\0"))]);

describe("inspectFile", () => {
  it.each<[string, () => Uint8Array | string, Partial<Inspection>]>([
    ["a bootable ISO with its label", () => isoImage(), { kind: "iso", format: "iso9660", label: "DEBIAN 12", bootable: true }],
    ["an ISO with data only", () => isoImage({ bootable: false, label: "" }), { kind: "iso", bootable: false }],
    ["a disk with an MBR", () => mbrDisk(), { kind: "disk", format: "raw", bootable: true }],
    ["a disk with a partition table but no boot code", () => mbrDisk(4096, false), { kind: "disk", format: "raw", bootable: false }],
    ["a GPT disk", () => gptDisk(), { kind: "disk", format: "raw", bootable: false }],
    ["an empty disk", () => Buffer.alloc(1024 * 1024), { kind: "disk", format: "raw", bootable: false }],
    ["a QCOW2 image", () => qcow2Image(), { kind: "disk", format: "qcow2" }],
    ["a VMDK image with its size", () => vmdkHeader(2048), { kind: "disk", format: "vmdk", virtualBytes: 1024 * 1024 }],
    ["a VDI image", () => Buffer.concat([Buffer.from("<<< Oracle VM VirtualBox Disk Image >>>\n".padEnd(64, "\0")), Buffer.from([0x7f, 0x10, 0xda, 0xbe]), Buffer.alloc(512)]), { kind: "disk", format: "vdi" }],
    ["a VHDX image", () => "vhdxfile".padEnd(1024, "\0"), { kind: "disk", format: "vhdx" }],
    ["a VHD image, known by its end", vhd, { kind: "disk", format: "vhd" }],
    ["a 32-bit kernel", () => kernelImage(), { kind: "kernel", format: "bzImage", needs64Bit: false }],
    ["a 64-bit kernel", () => kernelImage({ is64Bit: true }), { kind: "kernel", needs64Bit: true }],
    ["a cpio archive", () => cpioArchive(), { kind: "initrd", format: "cpio" }],
    ["a compressed cpio archive", () => gzipSync(cpioArchive()), { kind: "initrd", format: "gzip" }],
    ["a compressed something else", () => gzipSync("hello"), { kind: "unknown", format: "gzip" }],
    ["a gzip header with rubbish behind", () => Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8]), { kind: "unknown", format: "gzip" }],
    ["an xz file", () => Buffer.from("\xfd7zXZ\0rest", "latin1"), { kind: "initrd", format: "xz" }],
    ["a PDF", () => "%PDF-1.4", { kind: "unknown", format: "pdf" }],
    ["a failed download", () => "<!DOCTYPE html><title>404", { kind: "unknown", format: "html" }],
    ["plain text", () => "hello", { kind: "unknown", format: "unknown" }],
    ["one byte", () => "\x1f", { kind: "unknown" }],
  ])("recognises %s", async (_, content, expected) => {
    const inspection = await inspect(content());
    expect(inspection).toMatchObject(expected);
    expect(inspection.problem).toBeUndefined();
  });

  it("tells the size of a disk, and of which system and firmware its partitions are", async () => {
    const disk = gptDisk();
    disk.writeBigUInt64LE(2n, 512 + 72);
    disk.writeUInt32LE(128, 512 + 80);
    disk.writeUInt32LE(128, 512 + 84);
    Buffer.from("28732ac11ff8d211ba4b00a0c93ec93b", "hex").copy(disk, 1024);
    Buffer.from("e3bc684fcde8b14d96e7fbcaf984b709", "hex").copy(disk, 1024 + 128);
    expect(await inspect(disk)).toMatchObject({ virtualBytes: disk.length, system: "linux-amd64", arch: "x86_64", firmwares: ["uefi"] });
    const mbr = mbrDisk();
    mbr[446 + 4] = 0xa5;
    expect(await inspect(mbr)).toMatchObject({ system: "freebsd-amd64", firmwares: ["bios"] });
  });

  it("tells the system of an ISO by its label, and what can start from it", async () => {
    expect(await inspect(isoImage({ label: "Debian 12.5.0 amd64 n", platforms: [0, 0xef] }))).toMatchObject({ system: "debian-12-amd64", arch: "x86_64", firmwares: ["bios", "uefi"], bootable: true });
    expect(await inspect(isoImage({ label: "PICTURES", bootable: false }))).toMatchObject({ firmwares: [], bootable: false });
  });

  it("tells the processor of a kernel that runs on one only", async () => {
    expect((await inspect(kernelImage({ is64Bit: true }))).arch).toBe("x86_64");
    expect((await inspect(kernelImage())).arch).toBeUndefined();
  });

  it.each([
    ["a VMDK that points to a file of the host", '# Disk DescriptorFile\nRW 2048 FLAT "/etc/shadow" 0\n', "only lists the files"],
    ["a QCOW2 image that builds on one", Buffer.concat([Buffer.from("QFI\xfb\0\0\0\x03\0\0\0\0\0\0\0\x70\0\0\0\x0b\0\0\0\x10", "latin1"), Buffer.alloc(88), Buffer.from("/etc/shadow"), Buffer.alloc(512)]), '"/etc/shadow"'],
  ])("refuses %s", async (_, content, message) => {
    const inspection = await inspect(content);
    expect(inspection.problem).toMatchObject({ code: "image-unusable", message: expect.stringContaining(message) as string, remedy: expect.stringContaining("qemu-img convert") as string });
    expect(judgeImage(inspection, "disk")).toMatchObject({ level: "error" });
  });

  it("recognises what real tools make", async () => {
    const ext2 = join(folder.path, "fs");
    const file = await open(ext2, "w");
    await file.truncate(1024 * 1024);
    await file.close();
    execFileSync("mke2fs", ["-q", "-F", ext2], { env: { ...process.env, PATH: `${process.env["PATH"]}:/sbin:/usr/sbin` } });
    expect(await inspectFile(ext2)).toMatchObject({ kind: "disk", format: "raw", bootable: false });
  });

  it.each<[string, (path: string) => Promise<unknown>, string]>([
    ["is missing", () => Promise.resolve(), "does not exist"],
    ["is empty", (path) => writeFile(path, ""), "is empty"],
    ["is a folder", (path) => mkdir(path), "is a folder"],
    ["is a link that leads in a circle", (path) => symlink(path, path), "circle"],
    ["is a link that leads nowhere", (path) => symlink(`${path}-gone`, path), "does not exist"],
    ["is a pipe, which is never opened", (path) => Promise.resolve(execFileSync("mkfifo", [path])), "pipe"],
  ])("says so when the file %s", async (_, make, message) => {
    const path = join(folder.path, "file");
    await make(path);
    expect((await inspectFile(path)).problem).toMatchObject({ code: "image-unusable", message: expect.stringContaining(message) as string, remedy: expect.any(String) as string });
  });

  it("does not open sockets and devices", async () => {
    const path = join(folder.path, "s");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    expect((await inspectFile(path)).problem?.message).toContain("device");
    await new Promise((resolve) => server.close(resolve));
    expect((await inspectFile("/dev/zero")).problem?.message).toContain("device");
  });

  it("refuses what is no path of a file", async () => {
    for (const path of ["relative.iso", "", "/a\0b", `/${"x".repeat(300)}`, `/${"x/".repeat(3000)}`]) expect((await inspectFile(path)).problem, path.slice(0, 20)).toMatchObject({ code: "image-unusable", remedy: expect.any(String) as string });
  });

  it("explains a file that may not be read", async () => {
    const path = join(folder.path, "secret");
    await writeFile(path, isoImage());
    await chmod(path, 0);
    // The superuser may read everything; everyone else is told.
    const { problem } = await inspectFile(path);
    if (process.getuid?.() === 0) expect(problem).toBeUndefined();
    else expect(problem?.message).toContain("permission");
  });

  it("recognises anything without throwing, however hostile", () => {
    const starts = ["", "\x1f\x8b\x08", "QFI\xfb", "KDMV", "070701", "\x7fELF"].map((text) => Buffer.from(text, "latin1"));
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 3000 }), fc.uint8Array({ maxLength: 512 }), (start, rest, tail) => {
        const recognised = recognise({ head: Buffer.concat([start, rest]), tail });
        expect(recognised.noun).not.toBe("");
      }),
      { numRuns: 300 },
    );
  });

  it("is not held up by a compressed file that unpacks to far more", async () => {
    const bomb = await inspect(gzipSync(Buffer.alloc(200 * 1024 * 1024)));
    expect(bomb).toMatchObject({ kind: "unknown", format: "gzip" });
    expect(headBytes).toBeLessThanOrEqual(128 * 1024);
  });
});

describe("judgeImage", () => {
  it("lets the right kinds of file through", async () => {
    expect(judgeImage(await inspect(isoImage()), "medium")).toBeUndefined();
    expect(judgeImage(await inspect(mbrDisk()), "disk")).toBeUndefined();
    expect(judgeImage(await inspect(kernelImage()), "kernel")).toBeUndefined();
    expect(judgeImage(await inspect(cpioArchive()), "initrd")).toBeUndefined();
    expect(judgeImage(await inspect(qcow2Image()), "disk", { formats: ["raw", "qcow2"], canConvert: false })).toBeUndefined();
  });

  it("says what a wrong file is and where it belongs", async () => {
    expect(judgeImage(await inspect(isoImage()), "disk")).toMatchObject({ level: "error", message: expect.stringContaining("a CD or DVD image, not a disk image") as string, remedy: "Put it into the CD drive instead." });
    expect(judgeImage(await inspect(mbrDisk()), "medium")).toMatchObject({ level: "error", remedy: "Add it as a disk instead." });
    expect(judgeImage(await inspect("%PDF"), "kernel")).toMatchObject({ level: "error", message: expect.stringContaining("PDF") as string });
    expect(judgeImage(await inspect("hello"), "initrd")).toMatchObject({ level: "error" });
    expect(judgeImage(await inspect("hello"), "disk")).toMatchObject({ level: "error" });
  });

  it("says how to convert a disk that the engine does not read", async () => {
    expect(judgeImage(await inspect(qcow2Image()), "disk")).toMatchObject({ level: "error", remedy: expect.stringContaining("qemu-img convert") as string });
  });

  it("says what to install for a disk that would have to be converted where nothing can", async () => {
    const image = await inspect(vmdkHeader(2048, 'createType="monolithicSparse"\nRW 2048 SPARSE "disk.vmdk"\n'));
    expect(judgeImage(image, "disk", { formats: ["raw", "qcow2"], canConvert: false, install: "Install it." })).toMatchObject({ level: "error", message: expect.stringContaining("cannot be converted on this computer") as string, remedy: "Install it." });
    expect(withoutConverter(image, "Install it.").unconvertible).toMatchObject({ code: "unavailable", remedy: "Install it." });
    // Nobody converts a raw disk, and nothing converts what is none.
    for (const other of [mbrDisk(), isoImage()]) expect(withoutConverter(await inspect(other), "Install it.").unconvertible).toBeUndefined();
  });

  it("warns about a disk of which nothing is known, because it may be one", async () => {
    expect(judgeImage(await inspect(Buffer.alloc(1024, 7)), "disk")).toMatchObject({ level: "warning" });
  });
});
