import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import type { BlockDevice } from "../../core/storage/blockDevice";
import { openFile, openImageFile } from "../../core/storage/file";
import { checkQcow2, createQcow2, growQcow2, openQcow2, repairQcow2, type CreateOptions, type Qcow2Image } from "../../core/storage/qcow2";
import { changeBoth, firstDifference, pattern, readAll, Seeded } from "../support/diskModel";
import { qemuCheck, qemuImg, qemuIo } from "../support/qemuTools";
import { useTemporaryFolder } from "../support/temporaryFolder";

/* QEMU judges what we write, and writes what we read. */

const folder = useTemporaryFolder();
const place = (name: string): string => join(folder.path, name);

async function open(path: string, options: { readOnly?: boolean; backing?: BlockDevice | null } = {}): Promise<Qcow2Image> {
  const file = await openImageFile(path, { readOnly: options.readOnly ?? false });
  if (!file.ok) throw new Error(file.error);
  return openQcow2(file.value, { name: path, backing: options.backing ?? null });
}

async function create(path: string, options: CreateOptions): Promise<void> {
  const file = await openImageFile(path, { readOnly: false, create: true });
  if (!file.ok) throw new Error(file.error);
  await createQcow2(file.value, options);
  await file.value.close();
}

async function raw(path: string): Promise<BlockDevice> {
  const file = await openFile(path, { readOnly: true });
  if (!file.ok) throw new Error(file.error);
  return file.value;
}

async function change(image: Qcow2Image, model: Uint8Array, random: Seeded, count: number): Promise<void> {
  for (let mark = 0; mark < count; mark++) {
    await changeBoth(image, model, random, 2 ** image.header.clusterBits, mark + count);
    if (random.next(8) === 0) await image.flush();
  }
}

/** Compares an image with plain bytes, by QEMU and by us. */
async function expectSame(path: string, model: Uint8Array, backing: BlockDevice | null = null): Promise<void> {
  await writeFile(place("expected"), model);
  expect(qemuImg("compare", "-f", "qcow2", "-F", "raw", path, place("expected"))).toContain("identical");
  const image = await open(path, { readOnly: true, backing });
  expect(firstDifference(await readAll(image), model)).toBeUndefined();
  await image.close();
}

/** Changes by QEMU: writes, zeroes, discards, and compressed writes, which it does only where there is nothing yet. */
function changeByQemu(path: string, model: Uint8Array, random: Seeded, cluster: number, isNew = false): void {
  const commands: string[] = [];
  const write = (kind: string, first: number, length: number, byte: number): void => {
    commands.push(`write ${kind}${byte === 0 ? "" : ` -P ${byte}`} ${first} ${length}`);
    model.fill(byte, first, first + length);
  };
  const clusters = Math.floor(model.length / cluster);
  for (let at = 0; isNew && at < clusters; at += 1 + Math.ceil(clusters / 6)) write("-c", at * cluster, cluster, 1 + random.next(254));
  for (let index = 0; index < 20; index++) {
    const first = random.next(model.length / 512) * 512;
    const length = Math.min(model.length - first, (1 + random.next((cluster * 2) / 512)) * 512);
    const kind = random.next(5);
    if (kind === 1) write("-z", first, length, 0);
    else if (kind === 2) write("-z -u", first - (first % cluster), Math.min(cluster, model.length - first + (first % cluster)), 0);
    else write("", first, length, 1 + random.next(254));
  }
  qemuIo(path, ...commands);
}

const sizeOf = (cluster: number): number => Math.max(1_000_448, cluster * 6 + 512);

describe("an image that we wrote", () => {
  const layouts: CreateOptions[] = [
    ...[512, 1024, 4096, 65536, 2 ** 21].map((cluster) => ({ size: sizeOf(cluster), cluster })),
    ...[1, 2, 4, 8, 32, 64].map((refcountBits) => ({ size: sizeOf(2048), cluster: 2048, refcountBits })),
    ...[512, 65536].map((cluster) => ({ size: sizeOf(cluster), cluster, version: 2 as const })),
    { size: sizeOf(4096), cluster: 4096, lazyRefcounts: true },
  ];
  it.each(layouts)("is right for QEMU, which writes on: %o", async (layout) => {
    const random = new Seeded(layout.cluster ?? 0);
    const model = new Uint8Array(layout.size);
    await create(place("ours"), layout);
    expect(qemuCheck(place("ours")).code).toBe(0);
    const image = await open(place("ours"));
    await change(image, model, random, 60);
    await image.close();
    expect(qemuCheck(place("ours"))).toMatchObject({ code: 0 });
    await expectSame(place("ours"), model);
    changeByQemu(place("ours"), model, random, layout.cluster ?? 0);
    await expectSame(place("ours"), model);
    const again = await open(place("ours"));
    await change(again, model, random, 20);
    await again.close();
    expect(qemuCheck(place("ours"))).toMatchObject({ code: 0 });
    await expectSame(place("ours"), model);
  });

  it("shows through what is below, for QEMU as for us, and QEMU finds that by its name", async () => {
    const random = new Seeded(7);
    const size = 2_000_384;
    const model = pattern(0, size - 70_144, 3);
    await writeFile(place("base"), model);
    await create(place("middle"), { size, cluster: 4096, version: 2, backing: { file: "base", format: "raw" } });
    await create(place("top"), { size: size + 8192, cluster: 512, backing: { file: "middle", format: "qcow2" } });
    const visible = new Uint8Array(size + 8192);
    visible.set(model);
    const base = await raw(place("base"));
    const middle = await open(place("middle"), { backing: base });
    await change(middle, visible.subarray(0, size), random, 40);
    await middle.flush();
    const top = await open(place("top"), { backing: middle });
    await change(top, visible, random, 60);
    await top.close();
    await middle.close();
    for (const name of ["middle", "top"]) expect(qemuCheck(place(name))).toMatchObject({ code: 0 });
    expect(qemuImg("info", "--backing-chain", place("top"))).toContain(place("base"));
    const below = await open(place("middle"), { readOnly: true, backing: base });
    await expectSame(place("top"), visible, below);
    expect(firstDifference(await readFile(place("base")), model)).toBeUndefined();
    await below.close();
    await base.close();
  });

  it("is as large as QEMU's for a disk of many terabytes", async () => {
    await create(place("large"), { size: 16 * 2 ** 40 });
    expect(qemuCheck(place("large")).code).toBe(0);
    const image = await open(place("large"));
    await image.write(16 * 2 ** 40 - 512, pattern(0, 512, 1));
    await image.close();
    expect(qemuCheck(place("large")).code).toBe(0);
    const found = new Uint8Array(512);
    const again = await open(place("large"), { readOnly: true });
    await again.read(again.size - 512, found);
    expect(firstDifference(found, pattern(0, 512, 1))).toBeUndefined();
    await again.close();
  });
});

describe("an image that we changed", () => {
  it("is longer for QEMU too, and has its new name for what is below", async () => {
    const model = new Uint8Array(40 * 2 ** 20);
    for (const cluster of ["512", "64k"]) {
      qemuImg("create", "-q", "-f", "qcow2", "-o", `cluster_size=${cluster}`, place("changed"), "1M");
      qemuIo(place("changed"), "write -P 4 0 300k");
      const file = await openImageFile(place("changed"), { readOnly: false });
      if (!file.ok) throw new Error(file.error);
      await growQcow2(file.value, { name: "changed", size: model.length });
      await file.value.close();
      await expectSame(place("changed"), model.fill(4, 0, 300 * 1024));
      await writeFile(place("below"), new Uint8Array(model.length));
      const image = await open(place("changed"));
      await image.nameBacking({ file: "below", format: "raw" });
      await image.close();
      expect(JSON.parse(qemuImg("info", "--output=json", place("changed")))).toMatchObject({ "virtual-size": model.length, "backing-filename": "below", "backing-filename-format": "raw" });
      expect(qemuCheck(place("changed"))).toMatchObject({ code: 0 });
      await expectSame(place("changed"), model);
    }
  });
});

describe("an image that QEMU wrote", () => {
  const layouts = ["compat=1.1", "compat=0.10", "compat=1.1,lazy_refcounts=on", "compat=1.1,preallocation=metadata", "compat=1.1,preallocation=full,cluster_size=4096", "cluster_size=512,refcount_bits=1", "cluster_size=2M,refcount_bits=64", "cluster_size=16k,refcount_bits=8"];
  it.each(layouts)("reads as QEMU reads it, and is still right when we have written to it: %s", async (layout) => {
    const random = new Seeded(layout.length);
    const cluster = Number(/cluster_size=(\d+)/.exec(layout)?.[1] ?? 64) * (layout.includes("2M") ? 2 ** 20 : /cluster_size=\d{3}/.test(layout) ? 1 : 1024);
    const model = new Uint8Array(sizeOf(cluster));
    qemuImg("create", "-q", "-f", "qcow2", "-o", layout, place("theirs"), String(model.length));
    for (let round = 0; round < 2; round++) {
      changeByQemu(place("theirs"), model, random, cluster, round === 0 && !layout.includes("preallocation"));
      await expectSame(place("theirs"), model);
      const image = await open(place("theirs"));
      await change(image, model, random, 40);
      await image.close();
      expect(qemuCheck(place("theirs"))).toMatchObject({ code: 0 });
      await expectSame(place("theirs"), model);
    }
  });

  it.each([512, 4096, 65536, 2 ** 21])("is read where it is compressed, and written over, with clusters of %i bytes", async (cluster) => {
    const random = new Seeded(cluster);
    const model = new Uint8Array(sizeOf(cluster));
    for (let at = 0; at < model.length; at += 512) if (random.next(3) > 0) model.fill(random.next(256), at, at + 400);
    await writeFile(place("plain"), model);
    qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", `cluster_size=${cluster}`, place("plain"), place("packed"));
    await expectSame(place("packed"), model);
    const image = await open(place("packed"));
    await change(image, model, random, 60);
    await image.close();
    expect(qemuCheck(place("packed"))).toMatchObject({ code: 0 });
    await expectSame(place("packed"), model);
  });

  it("keeps its snapshots, however much is written after them", async () => {
    const random = new Seeded(5);
    const model = new Uint8Array(sizeOf(1024));
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=1024", place("kept"), String(model.length));
    changeByQemu(place("kept"), model, random, 1024, true);
    const kept: [string, Uint8Array][] = [];
    for (const name of ["one", "two"]) {
      qemuImg("snapshot", "-c", name, place("kept"));
      kept.push([name, model.slice()]);
      const image = await open(place("kept"));
      await change(image, model, random, 80);
      await image.close();
      expect(qemuCheck(place("kept"))).toMatchObject({ code: 0 });
      await expectSame(place("kept"), model);
    }
    for (const [name, then] of kept) {
      qemuImg("snapshot", "-a", name, place("kept"));
      await expectSame(place("kept"), then);
    }
    qemuImg("snapshot", "-d", "one", place("kept"));
    qemuImg("snapshot", "-d", "two", place("kept"));
    expect(qemuCheck(place("kept"))).toMatchObject({ code: 0 });
  });

  it("is refused when it was not closed, and whole again after a repair", async () => {
    const model = new Uint8Array(sizeOf(65536));
    qemuImg("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", place("dirty"), String(model.length));
    qemuIo(place("dirty"), "write -P 7 131072 262144", "write -P 9 0 512", "flush", "abort");
    model.fill(7, 131072, 131072 + 262144).fill(9, 0, 512);
    await expect(open(place("dirty"))).rejects.toThrow(/was not closed/);
    const before = await readFile(place("dirty"));
    const file = await openImageFile(place("dirty"), { readOnly: false });
    if (!file.ok) throw new Error(file.error);
    const { before: found, after } = await repairQcow2(file.value, { name: "dirty" });
    expect(found.corruptions).toBeGreaterThan(0);
    expect(after).toMatchObject({ corruptions: 0, leaks: 0 });
    await file.value.close();
    expect(firstDifference(await readFile(place("dirty")), before)).toBeDefined();
    expect(qemuCheck(place("dirty"))).toMatchObject({ code: 0 });
    await expectSame(place("dirty"), model);
    const image = await open(place("dirty"));
    await change(image, model, new Seeded(1), 30);
    await image.close();
    expect(qemuCheck(place("dirty"))).toMatchObject({ code: 0 });
    await expectSame(place("dirty"), model);
  });

  it("may have bitmaps of changes, which count until we write", async () => {
    qemuImg("create", "-q", "-f", "qcow2", place("marked"), "8M");
    qemuImg("bitmap", "--add", place("marked"), "changes");
    qemuIo(place("marked"), "write -P 3 0 1M");
    const check = async (): Promise<{ code: number; leaks: number }> => {
      const file = await openImageFile(place("marked"), { readOnly: true });
      if (!file.ok) throw new Error(file.error);
      const { corruptions, leaks } = await checkQcow2(file.value, { name: "marked" });
      await file.value.close();
      expect(corruptions).toBe(0);
      return { code: qemuCheck(place("marked")).code, leaks };
    };
    expect(await check()).toEqual({ code: 0, leaks: 0 });
    await (await open(place("marked"))).close();
    const after = await check();
    expect(after.code).toBe(3);
    expect(after.leaks).toBeGreaterThan(0);
  });

  it("is read where it is compressed by zstd if the runtime can, and refused by name where not", async () => {
    const model = pattern(0, 2 ** 20, 1);
    await writeFile(place("plain"), model);
    qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", place("plain"), place("packed"));
    if ("zstdDecompress" in zlib) await expectSame(place("packed"), model);
    else await expect(open(place("packed"), { readOnly: true })).rejects.toMatchObject({ code: "unsupported", message: expect.stringMatching(/compressed by zstd/) as string });
  });

  it.each([
    ["encrypted", ["--object", "secret,id=key,data=secret", "-o", "encrypt.format=aes,encrypt.key-secret=key"], /is encrypted \(AES\)/],
    ["of another file's data", ["-o", "data_file=outside"], /external data file/],
    ["with subclusters", ["-o", "extended_l2=on"], /extended L2 entries/],
  ] as const)("is refused by name when it is %s", async (_name, options, reason) => {
    await writeFile(place("outside"), "");
    await truncate(place("outside"), 2 ** 20);
    qemuImg("create", "-q", "-f", "qcow2", ...options.map((option) => option.replace("=outside", `=${place("outside")}`)), place("refused"), "1M");
    await expect(open(place("refused"), { readOnly: true })).rejects.toMatchObject({ code: "unsupported", message: expect.stringMatching(reason) as string });
  });
});
