import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compressedRange, entryOffset, mostReferences, refcountAt, refcountPosition, setEntry, setRefcount } from "../../../../core/storage/qcow2/entries";
import { emitHeader, extensionTypes, headerFields, incompatibleBits, l1EntriesFor, parseHeader, type Header } from "../../../../core/storage/qcow2/format";

const headers: fc.Arbitrary<Header> = fc
  .record({
    version: fc.constantFrom(2 as const, 3 as const),
    clusterBits: fc.integer({ min: 12, max: 21 }),
    size: fc.nat().map((sectors) => sectors * 512),
    l1At: fc.integer({ min: 1, max: 2 ** 20 }),
    countsAt: fc.integer({ min: 1, max: 2 ** 20 }),
    refcountOrder: fc.nat({ max: 6 }),
    flags: fc.record({ dirty: fc.boolean(), corrupt: fc.boolean(), zstd: fc.boolean(), lazy: fc.boolean(), autoclear: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
    backing: fc.option(fc.string({ minLength: 1, maxLength: 200, unit: "grapheme" })),
    format: fc.option(fc.constantFrom("raw", "qcow2")),
    unknown: fc.array(fc.record({ type: fc.integer({ min: 1, max: 0x1000_0000 }), data: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 3 }),
  })
  .map(({ version, clusterBits, size, l1At, countsAt, refcountOrder, flags, backing, format, unknown }) => {
    const cluster = 2 ** clusterBits;
    const zstd = version === 3 && flags.zstd;
    return {
      ...{ version, clusterBits, size, l1Entries: l1EntriesFor(size, clusterBits), l1Offset: l1At * cluster, refcountTableOffset: countsAt * cluster, refcountTableClusters: 1 },
      ...{ refcountOrder: version === 2 ? 4 : refcountOrder, snapshotCount: 0, snapshotsOffset: 0 },
      incompatible: version === 2 ? 0n : (flags.dirty ? incompatibleBits.dirty : 0n) | (flags.corrupt ? incompatibleBits.corrupt : 0n) | (zstd ? incompatibleBits.compression : 0n),
      compatible: version === 3 && flags.lazy ? 1n : 0n,
      autoclear: version === 3 ? flags.autoclear : 0n,
      compression: zstd ? "zstd" : "zlib",
      headerBytes: version === 2 ? 72 : 112,
      ...(backing === null ? {} : { backing }),
      ...(format === null ? {} : { backingFormat: format }),
      extensions: [...(format === null ? [] : [{ type: extensionTypes.backingFormat, data: new TextEncoder().encode(format) }]), ...unknown],
    } satisfies Header;
  });

/** The file around a header: parsing wants the whole header cluster. */
function cluster(header: Uint8Array, bits: number): Uint8Array {
  const bytes = new Uint8Array(2 ** bits);
  bytes.set(header);
  return bytes;
}

function emitted(header: Header): Uint8Array {
  const bytes = emitHeader(header);
  if (!bytes.ok) throw new Error(bytes.error);
  return cluster(bytes.value, header.clusterBits);
}

const plain: Header = {
  ...{ version: 3, clusterBits: 16, size: 1048576, l1Entries: 1, l1Offset: 0x30000, refcountTableOffset: 0x10000, refcountTableClusters: 1, refcountOrder: 4 },
  ...{ snapshotCount: 0, snapshotsOffset: 0, incompatible: 0n, compatible: 0n, autoclear: 0n, compression: "zlib", headerBytes: 112, extensions: [] },
};

/** The reason for which a header with a change to its bytes is refused. */
function refused(change: (view: DataView) => void, header = plain): string {
  const bytes = emitted(header);
  change(new DataView(bytes.buffer));
  const parsed = parseHeader(bytes);
  return parsed.ok ? "taken" : `${parsed.error.code}: ${parsed.error.because}`;
}

describe("a header", () => {
  it("reads as it was written, with the extensions that nobody knows", () => {
    fc.assert(
      fc.property(headers, (header) => {
        expect(parseHeader(emitted(header))).toEqual({ ok: true, value: header });
      }),
    );
  });

  it("never throws, whatever its bytes", () => {
    const patches = fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 255 })), { maxLength: 12 });
    fc.assert(
      fc.property(headers, patches, fc.nat({ max: 5000 }), (header, changes, length) => {
        const bytes = emitted(header);
        for (const [at, value] of changes) bytes[at] = value;
        parseHeader(bytes.subarray(0, length));
        parseHeader(bytes);
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => !parseHeader(bytes).ok));
  });

  it.each<[string, (view: DataView) => void, string]>([
    ["another format", (view) => view.setUint32(0, 0x4b444d56), "image-unusable: is not a qcow2 image"],
    ["version 1", (view) => view.setUint32(4, 1), "unsupported: is of qcow2 version 1; versions 2 and 3 are known"],
    ["version 4", (view) => view.setUint32(4, 4), "unsupported: is of qcow2 version 4; versions 2 and 3 are known"],
    ["clusters of 256 bytes", (view) => view.setUint32(20, 8), "image-unusable: says that its clusters have 2^8 bytes; 2^9 to 2^21 is possible"],
    ["clusters of 4 MiB", (view) => view.setUint32(20, 22), "image-unusable: says that its clusters have 2^22 bytes; 2^9 to 2^21 is possible"],
    ["a LUKS header", (view) => view.setUint32(32, 2), "unsupported: is encrypted (LUKS)"],
    ["a method of encryption to come", (view) => view.setUint32(32, 9), "unsupported: is encrypted (method 9)"],
    ["an external data file", (view) => view.setBigUint64(72, 4n), "unsupported: keeps its data in another file (external data file)"],
    ["subclusters", (view) => view.setBigUint64(72, 16n), "unsupported: has subclusters (extended L2 entries), which are not supported"],
    ["a feature to come", (view) => view.setBigUint64(72, 1n << 40n), 'unsupported: needs the feature "bit 40", which is not known here'],
    ["a compression to come", (view) => (view.setBigUint64(72, 8n), view.setUint8(104, 7)), "unsupported: is compressed by a method that is not known (7)"],
    ["a compression without its feature", (view) => view.setUint8(104, 1), "image-unusable: contradicts itself about how it is compressed"],
    ["a disk larger than numbers are exact", (view) => view.setBigUint64(24, 1n << 60n), "image-unusable: says that its disk is larger than any disk"],
    ["a first table of gigabytes", (view) => view.setUint32(36, 0x1000_0000), "image-unusable: says that its first table has 268435456 entries, more than any image"],
    ["a first table too short", (view) => view.setBigUint64(24, 1n << 40n), "image-unusable: has a first table that is too short for its disk"],
    ["a first table between clusters", (view) => view.setBigUint64(40, 0x30200n), "image-unusable: has its first table where none can be"],
    ["counts of 128 bits", (view) => view.setUint32(96, 7), "image-unusable: says that its reference counts have 2^7 bits; at most 2^6 is possible"],
    ["a table of counts of gigabytes", (view) => view.setUint32(56, 0xffff_ffff), "image-unusable: says that its table of reference counts is larger than that of any image"],
    ["no table of counts", (view) => view.setUint32(56, 0), "image-unusable: has its table of reference counts where none can be"],
    ["millions of snapshots", (view) => view.setUint32(60, 0x0100_0000), "image-unusable: says that it has 16777216 snapshots"],
    ["a header that ends in the next cluster", (view) => view.setUint32(100, 0x20000), "image-unusable: says that its header has 131072 bytes"],
    ["an extension that reaches out", (view) => (view.setUint32(112, 0x1234), view.setUint32(116, 0xffff_0000)), "image-unusable: has a header extension that reaches out of its header"],
    ["a backing file's name without end", (view) => (view.setBigUint64(8, 200n), view.setUint32(16, 0xffff_ffff)), "image-unusable: names a backing file by a name that is too long"],
    ["a backing file's name elsewhere", (view) => (view.setBigUint64(8, 0xffffn), view.setUint32(16, 10)), "image-unusable: has the name of its backing file outside of its header"],
  ])("is refused with its reason: %s", (_name, change, reason) => {
    expect(refused(change)).toBe(reason);
  });

  it("calls an unknown feature by the name the image has for it", () => {
    const names = new Uint8Array(48);
    names.set([0, 40, ...new TextEncoder().encode("time travel")]);
    const reason = refused((view) => view.setBigUint64(72, 1n << 40n), { ...plain, extensions: [{ type: extensionTypes.featureNames, data: names }] });
    expect(reason).toBe('unsupported: needs the feature "time travel", which is not known here');
  });

  it("reads as far as it goes where it is cut off", () => {
    expect(headerFields(emitted(plain).subarray(0, 80))).toMatchObject({ version: 3, l1Entries: 1, refcountOrder: 0 });
    expect(headerFields(emitted(plain).subarray(0, 71))).toBeUndefined();
  });
});

describe("entries", () => {
  it("lead where they were set to", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 53n) / 512n - 1n }), fc.constantFrom(0, 0x8000_0000), fc.constantFrom(0, 1), (sector, high, low) => {
        const view = new DataView(new ArrayBuffer(8));
        const offset = Number(sector * 512n);
        setEntry(view, 0, offset, high, low);
        expect(entryOffset(view.getUint32(0), view.getUint32(4))).toBe(offset);
        expect([(view.getUint32(0) & 0x8000_0000) >>> 0, view.getUint32(4) & 1]).toEqual([high, low]);
      }),
    );
  });

  it("of compressed clusters tell offset and length at every size of clusters", () => {
    fc.assert(
      fc.property(fc.integer({ min: 9, max: 21 }), fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }), fc.nat(), (bits, offset, count) => {
        const sectors = count % 2 ** (bits - 8);
        const descriptor = (1n << 62n) | (BigInt(sectors) << BigInt(62 - (bits - 8))) | offset;
        const range = compressedRange(Number(descriptor >> 32n), Number(descriptor & 0xffff_ffffn), bits);
        expect(range).toEqual({ offset: Number(offset), length: (sectors + 1) * 512 - Number(offset % 512n) });
      }),
    );
  });

  it("of reference counts keep their values beside each other, at every width", () => {
    fc.assert(
      fc.property(fc.nat({ max: 6 }), fc.array(fc.tuple(fc.nat({ max: 63 }), fc.nat()), { maxLength: 40 }), (order, changes) => {
        const block = new DataView(new ArrayBuffer(512));
        const model = new Map<number, number>();
        for (const [index, value] of changes) {
          const count = Math.min(value, mostReferences(order));
          setRefcount(block, index, order, count);
          model.set(index, count);
          expect(refcountPosition(index, order)).toBeLessThan(512);
        }
        for (let index = 0; index < 64; index++) expect(refcountAt(block, index, order)).toBe(model.get(index) ?? 0);
      }),
    );
  });
});
