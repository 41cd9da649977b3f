import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsoImage, type ReadAt } from "../../../core/machine/isoImage";
import { isoImage } from "../../support/images";

const sector = 2048;

/** Counts what is asked for, so that a test can say that reading ended. */
function reader(bytes: Uint8Array): { read: ReadAt; asked: () => number } {
  let asked = 0;
  return {
    read: (offset, length) => {
      asked += length;
      return Promise.resolve(bytes.subarray(Math.min(offset, bytes.length), Math.min(offset + length, bytes.length)));
    },
    asked: () => asked,
  };
}

const open = (bytes: Uint8Array): Promise<IsoImage | undefined> => IsoImage.open(reader(bytes).read);

interface Record {
  readonly name: string | readonly number[];
  readonly at: number;
  readonly size: number;
  readonly directory?: boolean;
  readonly systemUse?: readonly number[];
  readonly goesOn?: boolean;
}

/** ECMA-119 9.1, little-endian halves only: more is not read. */
function directory(...records: readonly Record[]): Buffer {
  const parts = records.map(({ name, at, size, directory = false, systemUse = [], goesOn = false }) => {
    const identifier = typeof name === "string" ? Buffer.from(name, "latin1") : Buffer.from(name);
    const padded = 33 + identifier.length + (identifier.length % 2 === 0 ? 1 : 0);
    const record = Buffer.alloc(padded + systemUse.length);
    record[0] = record.length;
    record.writeUInt32LE(at, 2);
    record.writeUInt32LE(size, 10);
    record[25] = (directory ? 2 : 0) | (goesOn ? 0x80 : 0);
    record[32] = identifier.length;
    identifier.copy(record, 33);
    Buffer.from(systemUse).copy(record, padded);
    return record;
  });
  return Buffer.concat([...parts, Buffer.alloc(sector)], Math.max(sector, Buffer.concat(parts).length));
}

/** An image whose root directory, at sector 20, is `root`; `rest` follows it. */
function image(root: Buffer, rest: Buffer = Buffer.alloc(0)): Buffer {
  const head = isoImage({ bootable: false });
  directory({ name: [0], at: 20, size: root.length, directory: true }).subarray(0, 34).copy(head, 16 * sector + 156);
  return Buffer.concat([head, root, rest]);
}

describe("IsoImage", () => {
  it("opens nothing that is no ISO 9660 image", async () => {
    expect(await open(Buffer.alloc(0))).toBeUndefined();
    expect(await open(Buffer.alloc(64 * 1024, 0x41))).toBeUndefined();
    expect(await open(isoImage().subarray(0, 33_000))).toBeUndefined();
  });

  it("tells which firmware can start from it", async () => {
    expect((await open(isoImage({ bootable: false })))?.firmwares).toEqual([]);
    expect((await open(isoImage()))?.firmwares).toEqual(["bios"]);
    expect((await open(isoImage({ platforms: [0xef] })))?.firmwares).toEqual(["uefi"]);
    expect((await open(isoImage({ platforms: [0, 0xef] })))?.firmwares).toEqual(["bios", "uefi"]);
    expect((await open(isoImage({ platforms: [2, 1, 0xef] })))?.firmwares).toEqual(["uefi"]);
    // PowerPC and Mac.
    expect((await open(isoImage({ platforms: [1, 2] })))?.firmwares).toEqual([]);
  });

  it("takes a boot catalogue without its signature, or beyond the file's end, for none", async () => {
    const unsigned = isoImage();
    unsigned[19 * sector + 31] = 0;
    expect((await open(unsigned))?.firmwares).toEqual([]);
    const elsewhere = isoImage();
    elsewhere.writeUInt32LE(0xffffffff, 17 * sector + 0x47);
    expect((await open(elsewhere))?.firmwares).toEqual([]);
  });

  it("finds files by plain names in any case, without version and dot", async () => {
    const iso = await open(image(directory({ name: "README.TXT;1", at: 21, size: 5 }, { name: "KERNEL.;1", at: 21, size: 2 }), Buffer.from("hello world")));
    expect((await iso?.list("/"))?.map((entry) => entry.name)).toEqual(["README.TXT", "KERNEL"]);
    expect(Buffer.from((await iso?.readFile("/readme.txt", 100)) ?? []).toString()).toBe("hello");
    expect(Buffer.from((await iso?.readFile("/kernel", 1)) ?? []).toString()).toBe("h");
    expect(await iso?.readFile("/gone", 100)).toBeUndefined();
    expect(await iso?.readFile("/readme.txt/deeper", 100)).toBeUndefined();
    expect(await iso?.readFile("/", 100)).toBeUndefined();
  });

  it("adds up a file in several pieces", async () => {
    const iso = await open(image(directory({ name: "BIG.;1", at: 21, size: 2048, goesOn: true }, { name: "BIG.;1", at: 22, size: 10 }, { name: "SMALL.;1", at: 23, size: 3 })));
    expect((await iso?.list("/"))?.map((entry) => [entry.name, entry.sizeBytes])).toEqual([["BIG", 2058], ["SMALL", 3]]);
  });

  it("ends in directories that hold themselves", async () => {
    const { read, asked } = reader(image(directory({ name: "A", at: 20, size: sector, directory: true })));
    const iso = await IsoImage.open(read);
    const opened = asked();
    expect(await iso?.find("/A/A/A/A/A/A/A/A")).toMatchObject({ directory: true, sector: 20 });
    expect(await iso?.find(`/${"A/".repeat(10_000)}`)).toBeUndefined();
    // The directory is read once, however often the way leads through it.
    expect(asked() - opened).toBe(sector);
  });

  it("ends where a Rock Ridge name continues in itself", async () => {
    // SUSP 5.1: CE; block, offset and length each in both orders.
    const both = (value: number): number[] => [value & 255, (value >> 8) & 255, 0, 0, 0, 0, (value >> 8) & 255, value & 255];
    const circle = [0x43, 0x45, 28, 1, ...both(21), ...both(0), ...both(28)];
    const sp = [0x53, 0x50, 7, 1, 0xbe, 0xef, 0];
    const { read, asked } = reader(image(directory({ name: [0], at: 20, size: sector, directory: true, systemUse: sp }, { name: "FILE.;1", at: 22, size: 1, systemUse: circle }), Buffer.from([...circle, ...Buffer.alloc(sector)])));
    const iso = await IsoImage.open(read);
    expect((await iso?.list("/"))?.map((entry) => entry.name)).toEqual(["FILE"]);
    expect(asked()).toBeLessThan(100 * 1024);
  });

  it("stops reading an image that has no end of directories", async () => {
    const many = Array.from({ length: 40 }, (_, index) => ({ name: `D${index}`, at: 20, size: 0xffffffff, directory: true }));
    // Every directory has another place, so none is known already, and says that it is as large as can be.
    const bytes = image(directory(...many.map((record, index) => ({ ...record, at: 20 + index }))), Buffer.alloc(40 * 1024 * 1024));
    const { read, asked } = reader(bytes);
    const iso = await IsoImage.open(read);
    for (let index = 0; index < 40; index++) await iso?.list(`/D${index}`);
    expect(asked()).toBeLessThan(17 * 1024 * 1024);
  });

  it("shows no name with which a path could be left", async () => {
    const iso = await open(image(directory({ name: "../../ETC/PASSWD;1", at: 21, size: 1 }, { name: "A\0B\x1b[2J;1", at: 21, size: 1 })));
    expect((await iso?.list("/"))?.map((entry) => entry.name)).toEqual(["....ETCPASSWD", "AB[2J"]);
  });

  it("never throws, whatever the bytes", async () => {
    const starts = [isoImage(), isoImage({ platforms: [0, 0xef] }), image(directory({ name: [0], at: 20, size: sector, directory: true, systemUse: [0x53, 0x50, 7, 1, 0xbe, 0xef, 0] }, { name: "A", at: 20, size: sector, directory: true }))];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...starts), fc.array(fc.tuple(fc.integer({ min: 16 * sector, max: 22 * sector }), fc.uint8Array({ minLength: 1, maxLength: 40 })), { maxLength: 12 }), fc.integer({ min: 0, max: 24 * sector }), async (start, patches, length) => {
        const bytes = Buffer.concat([start, Buffer.alloc(2 * sector)]);
        for (const [at, patch] of patches) bytes.set(patch.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
        const iso = await open(bytes.subarray(0, Math.max(length, 18 * sector)));
        await iso?.list("/");
        await iso?.readFile("/a/a/.disk/info", 1000);
        expect(iso === undefined || iso.firmwares.length <= 2).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
