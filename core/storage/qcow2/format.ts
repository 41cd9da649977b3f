import { err, ok, type Result } from "../../base/result";

/*
 * The header of a qcow2 image: the one place that knows it (qcow2 spec, Header). Pure: bytes in, values out. Images are
 * hostile, so nothing here throws on what it reads, and every refusal says why.
 */

export const qcow2Magic = 0x514649fb;
/** Bytes of the header of version 2; of version 3 at least; and with the compression type, as it is written today. */
export const shortHeaderBytes = 72;
export const leastLongHeaderBytes = 104;
export const longHeaderBytes = 112;

export const incompatibleBits = { dirty: 1n, corrupt: 2n, dataFile: 4n, compression: 8n, extendedL2: 16n } as const;
export const lazyRefcountsBit = 1n;
export const bitmapsBit = 1n;

export const extensionTypes = { end: 0, backingFormat: 0xe2792aca, featureNames: 0x6803f857, bitmaps: 0x23852875 } as const;

/** Limits that QEMU has too, so that no image works here and not there. */
export const limits = {
  clusterBits: { least: 9, most: 21 },
  l1Bytes: 32 * 1024 * 1024,
  refcountTableBytes: 8 * 1024 * 1024,
  backingNameBytes: 1023,
  snapshots: 65536,
  snapshotTableBytes: 64 * 1024 * 1024,
  snapshotExtraBytes: 1024,
} as const;

/** The fields as they stand in the file, whether they make sense or not. */
export interface HeaderFields {
  readonly magic: number;
  readonly version: number;
  readonly backingOffset: bigint;
  readonly backingBytes: number;
  readonly clusterBits: number;
  readonly size: bigint;
  readonly encryption: number;
  readonly l1Entries: number;
  readonly l1Offset: bigint;
  readonly refcountTableOffset: bigint;
  readonly refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: bigint;
  readonly incompatible: bigint;
  readonly compatible: bigint;
  readonly autoclear: bigint;
  readonly refcountOrder: number;
  readonly headerBytes: number;
  readonly compression: number;
}

/**
 * What version 2 does not have reads as what it means there; undefined when not even that is whole. A longer header that
 * is cut off reads as zeroes, as QEMU has it.
 */
export function headerFields(bytes: Uint8Array): HeaderFields | undefined {
  if (bytes.length < shortHeaderBytes) return undefined;
  const whole = new Uint8Array(longHeaderBytes);
  whole.set(bytes.subarray(0, longHeaderBytes));
  const view = new DataView(whole.buffer);
  const version = view.getUint32(4);
  const long = version >= 3;
  const headerBytes = long ? view.getUint32(100) : shortHeaderBytes;
  return {
    magic: view.getUint32(0),
    version,
    backingOffset: view.getBigUint64(8),
    backingBytes: view.getUint32(16),
    clusterBits: view.getUint32(20),
    size: view.getBigUint64(24),
    encryption: view.getUint32(32),
    l1Entries: view.getUint32(36),
    l1Offset: view.getBigUint64(40),
    refcountTableOffset: view.getBigUint64(48),
    refcountTableClusters: view.getUint32(56),
    snapshotCount: view.getUint32(60),
    snapshotsOffset: view.getBigUint64(64),
    incompatible: long ? view.getBigUint64(72) : 0n,
    compatible: long ? view.getBigUint64(80) : 0n,
    autoclear: long ? view.getBigUint64(88) : 0n,
    refcountOrder: long ? view.getUint32(96) : 4,
    headerBytes,
    compression: long && headerBytes > leastLongHeaderBytes ? view.getUint8(leastLongHeaderBytes) : 0,
  };
}

export interface HeaderExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** A header that makes sense. Offsets and sizes in bytes. */
export interface Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** The disk's size as its guest sees it. */
  readonly size: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** A reference count has 2 to the power of this many bits. */
  readonly refcountOrder: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  readonly incompatible: bigint;
  readonly compatible: bigint;
  readonly autoclear: bigint;
  readonly compression: "zlib" | "zstd";
  /** Of the header proper; the extensions begin there. */
  readonly headerBytes: number;
  /** The name as it stands in the image. Nothing opens it but by a rule of the caller's. */
  readonly backing?: string | undefined;
  readonly backingFormat?: string | undefined;
  readonly extensions: readonly HeaderExtension[];
}

/** Why an image is not taken: as the end of a sentence whose subject is the image. */
export interface Refusal {
  readonly code: "image-unusable" | "unsupported";
  readonly because: string;
}

/** How many L1 entries a disk of this size takes. */
export function l1EntriesFor(size: number, clusterBits: number): number {
  return Math.ceil(size / 2 ** (2 * clusterBits - 3));
}

/**
 * Reads the first cluster of an image (at least its first 112 bytes, or all of a shorter file).
 * qcow2 spec, Header and Header extensions.
 */
export function parseHeader(bytes: Uint8Array): Result<Header, Refusal> {
  const fields = headerFields(bytes);
  if (!fields) return damaged(`is too short for a qcow2 image: ${bytes.length} bytes`);
  if (fields.magic !== qcow2Magic) return damaged("is not a qcow2 image");
  const { version, clusterBits, encryption, incompatible, refcountOrder, headerBytes } = fields;
  if (version !== 2 && version !== 3) return unsupported(`is of qcow2 version ${version}; versions 2 and 3 are known`);
  if (clusterBits < limits.clusterBits.least || clusterBits > limits.clusterBits.most) return damaged(`says that its clusters have 2^${clusterBits} bytes; 2^9 to 2^21 is possible`);
  const cluster = 2 ** clusterBits;
  if (encryption !== 0) return unsupported(`is encrypted (${encryption === 1 ? "AES" : encryption === 2 ? "LUKS" : `method ${encryption}`})`);
  if (version === 3 && (headerBytes < leastLongHeaderBytes || headerBytes % 8 !== 0 || headerBytes > Math.min(cluster, bytes.length))) return damaged(`says that its header has ${headerBytes} bytes`);
  if (refcountOrder > 6) return damaged(`says that its reference counts have 2^${refcountOrder} bits; at most 2^6 is possible`);

  const extensions = parseExtensions(bytes.subarray(0, cluster), headerBytes, fields.backingOffset);
  if (!extensions.ok) return extensions;
  const feature = refusedFeature(incompatible, extensions.value);
  if (feature !== undefined) return unsupported(feature);
  const hasCompression = (incompatible & incompatibleBits.compression) !== 0n;
  if (hasCompression !== (fields.compression !== 0)) return damaged("contradicts itself about how it is compressed");
  if (fields.compression > 1) return unsupported(`is compressed by a method that is not known (${fields.compression})`);

  const size = numberIn(fields.size);
  const { l1Entries, refcountTableClusters, snapshotCount } = fields;
  if (size === undefined) return damaged("says that its disk is larger than any disk");
  const l1Offset = tableOffset(fields.l1Offset, cluster);
  const refcountTableOffset = tableOffset(fields.refcountTableOffset, cluster);
  const snapshotsOffset = snapshotCount === 0 ? 0 : tableOffset(fields.snapshotsOffset, cluster);
  if (l1Entries * 8 > limits.l1Bytes) return damaged(`says that its first table has ${l1Entries} entries, more than any image`);
  if (l1Entries < l1EntriesFor(size, clusterBits)) return damaged("has a first table that is too short for its disk");
  if (l1Offset === undefined || (l1Entries > 0 && l1Offset === 0)) return damaged("has its first table where none can be");
  if (refcountTableOffset === undefined || refcountTableOffset === 0 || refcountTableClusters === 0) return damaged("has its table of reference counts where none can be");
  if (refcountTableClusters * cluster > limits.refcountTableBytes) return damaged("says that its table of reference counts is larger than that of any image");
  if (snapshotCount > limits.snapshots) return damaged(`says that it has ${snapshotCount} snapshots`);
  if (snapshotsOffset === undefined) return damaged("has its table of snapshots where none can be");

  const backing = backingName(bytes.subarray(0, cluster), fields, cluster);
  if (!backing.ok) return backing;
  const format = extensions.value.find(({ type }) => type === extensionTypes.backingFormat);
  return ok({
    version,
    clusterBits,
    size,
    l1Entries,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    refcountOrder,
    snapshotCount,
    snapshotsOffset,
    incompatible,
    compatible: fields.compatible,
    autoclear: fields.autoclear,
    compression: fields.compression === 1 ? "zstd" : "zlib",
    headerBytes,
    ...(backing.value === undefined ? {} : { backing: backing.value }),
    ...(format ? { backingFormat: text(format.data) } : {}),
    extensions: extensions.value,
  });
}

/**
 * Writes a header with its extensions and the backing file's name behind them.
 * @param from the header bytes that stood there: fields that are not known are kept as they were
 * @returns the bytes, and an error when they do not fit in a cluster.
 */
export function emitHeader(header: Header, from?: Uint8Array): Result<Uint8Array> {
  const own = header.version === 2 ? shortHeaderBytes : from ? header.headerBytes : longHeaderBytes;
  const extensions = header.extensions.filter(({ type }) => type !== extensionTypes.end && type !== extensionTypes.backingFormat);
  if (header.backingFormat !== undefined) extensions.unshift({ type: extensionTypes.backingFormat, data: new TextEncoder().encode(header.backingFormat) });
  const name = new TextEncoder().encode(header.backing ?? "");
  const extensionBytes = extensions.reduce((sum, { data }) => sum + 8 + padded(data.length), 8);
  const total = own + extensionBytes + name.length;
  if (name.length > limits.backingNameBytes) return err("The backing file's name is too long");
  if (total > 2 ** header.clusterBits) return err("The header does not fit in a cluster");
  const bytes = new Uint8Array(total);
  if (from) bytes.set(from.subarray(0, Math.min(own, from.length)));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, qcow2Magic);
  view.setUint32(4, header.version);
  view.setBigUint64(8, name.length === 0 ? 0n : BigInt(own + extensionBytes));
  view.setUint32(16, name.length);
  view.setUint32(20, header.clusterBits);
  view.setUint32(32, 0);
  patchTables(view, header);
  view.setUint32(60, header.snapshotCount);
  view.setBigUint64(64, BigInt(header.snapshotsOffset));
  if (header.version === 3) {
    patchFeatures(view, header);
    view.setUint32(96, header.refcountOrder);
    view.setUint32(100, own);
    if (own > leastLongHeaderBytes) bytes[leastLongHeaderBytes] = header.compression === "zstd" ? 1 : 0;
  }
  let at = own;
  for (const { type, data } of extensions) {
    bytes.set(emitExtension({ type, data }), at);
    at += 8 + padded(data.length);
  }
  bytes.set(name, at + 8);
  return ok(bytes);
}

/** Of a header's first sector: what changes when tables move. They lie within one sector, so a power cut leaves all or nothing. */
export function patchTables(view: DataView, header: Pick<Header, "size" | "l1Entries" | "l1Offset" | "refcountTableOffset" | "refcountTableClusters">): void {
  view.setBigUint64(24, BigInt(header.size));
  view.setUint32(36, header.l1Entries);
  view.setBigUint64(40, BigInt(header.l1Offset));
  view.setBigUint64(48, BigInt(header.refcountTableOffset));
  view.setUint32(56, header.refcountTableClusters);
}

export function patchFeatures(view: DataView, header: Pick<Header, "incompatible" | "compatible" | "autoclear">): void {
  view.setBigUint64(72, header.incompatible);
  view.setBigUint64(80, header.compatible);
  view.setBigUint64(88, header.autoclear);
}

export function emitExtension({ type, data }: HeaderExtension): Uint8Array {
  const bytes = new Uint8Array(8 + padded(data.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type);
  view.setUint32(4, data.length);
  bytes.set(data, 8);
  return bytes;
}

/** Where the extensions of a header that makes sense end, with the mark behind them; the end of the bytes when nothing marks it. */
export function endOfExtensions(bytes: Uint8Array, headerBytes: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = headerBytes; at + 8 <= bytes.length; at += 8 + padded(view.getUint32(at + 4))) if (view.getUint32(at) === extensionTypes.end) return at + 8;
  return bytes.length;
}

function parseExtensions(bytes: Uint8Array, start: number, backingOffset: bigint): Result<HeaderExtension[], Refusal> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // The name of the backing file ends the extensions where nothing else does.
  const end = backingOffset > BigInt(start) && backingOffset < BigInt(bytes.length) ? Number(backingOffset) : bytes.length;
  const extensions: HeaderExtension[] = [];
  for (let at = start; at + 8 <= end; ) {
    const [type, length] = [view.getUint32(at), view.getUint32(at + 4)];
    if (type === extensionTypes.end) break;
    if (length > end - at - 8) return damaged("has a header extension that reaches out of its header");
    extensions.push({ type, data: bytes.slice(at + 8, at + 8 + length) });
    at += 8 + padded(length);
  }
  return ok(extensions);
}

/** The incompatible feature that keeps us from opening the image, by its name; undefined when there is none. */
function refusedFeature(bits: bigint, extensions: readonly HeaderExtension[]): string | undefined {
  if (bits & incompatibleBits.dataFile) return "keeps its data in another file (external data file)";
  if (bits & incompatibleBits.extendedL2) return "has subclusters (extended L2 entries), which are not supported";
  const known = Object.values(incompatibleBits).reduce((all, bit) => all | bit, 0n);
  for (let bit = 0; bit < 64; bit++) {
    if (((bits & ~known) >> BigInt(bit)) & 1n) return `needs the feature "${featureName(bit, extensions)}", which is not known here`;
  }
  return undefined;
}

/** qcow2 spec, Feature name table: 48 bytes each; type 0 are incompatible features. */
function featureName(bit: number, extensions: readonly HeaderExtension[]): string {
  const table = extensions.find(({ type }) => type === extensionTypes.featureNames)?.data ?? new Uint8Array();
  for (let at = 0; at + 48 <= table.length; at += 48) {
    if (table[at] === 0 && table[at + 1] === bit) return text(table.subarray(at + 2, at + 48)).replace(/\0.*$/s, "").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}"]/gu, "?");
  }
  return `bit ${bit}`;
}

function backingName(bytes: Uint8Array, { backingOffset, backingBytes }: HeaderFields, cluster: number): Result<string | undefined, Refusal> {
  if (backingOffset === 0n) return ok(undefined);
  if (backingBytes > limits.backingNameBytes) return damaged("names a backing file by a name that is too long");
  if (backingOffset + BigInt(backingBytes) > BigInt(Math.min(cluster, bytes.length))) return damaged("has the name of its backing file outside of its header");
  if (backingBytes === 0) return ok(undefined);
  return ok(text(bytes.subarray(Number(backingOffset), Number(backingOffset) + backingBytes)));
}

function numberIn(value: bigint): number | undefined {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

function tableOffset(value: bigint, cluster: number): number | undefined {
  const offset = numberIn(value);
  return offset === undefined || offset % cluster !== 0 ? undefined : offset;
}

function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function damaged(because: string): Result<never, Refusal> {
  return err({ code: "image-unusable", because });
}

function unsupported(because: string): Result<never, Refusal> {
  return err({ code: "unsupported", because });
}
