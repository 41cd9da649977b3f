/*
 * Writes small CD images: ISO 9660 (ECMA-119) with Rock Ridge (IEEE P1282) and Joliet, all files in the root directory. Pure;
 * the same input gives the same bytes.
 *
 * Sectors: 0-15 empty, 16 primary descriptor, 17 Joliet's, 18 their end, 19-22 path tables (little- and big-endian, for each
 * tree), then the root directory of each tree, then the files.
 */

export interface IsoFile {
  /** What people see: letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  readonly content: Uint8Array;
}

export interface IsoContents {
  /** Up to 16 characters, which is what fits into both descriptors. */
  readonly label: string;
  readonly files: readonly IsoFile[];
  /** Of all files, milliseconds since the Unix epoch. */
  readonly time?: number;
}

const sectorBytes = 2048;
const primarySector = 16;
const tablesSector = 19;
const firstTreeSector = 23;
const mostNameLength = 64;
const mostFiles = 100;

/** @throws RangeError for names that cannot be on a disc; the caller chooses them. */
export function writeIso({ label, files, time = 0 }: IsoContents): Buffer {
  if (!/^[A-Za-z0-9_-]{1,16}$/.test(label)) throw new RangeError(`"${label}" cannot be a volume label`);
  if (files.length > mostFiles) throw new RangeError(`${files.length} files are more than are written`);
  for (const { name } of files) if (!/^[A-Za-z0-9._-]+$/.test(name) || /^\.+$/.test(name) || name.length > mostNameLength) throw new RangeError(`"${name}" cannot be a file on a disc`);
  if (new Set(files.map(({ name }) => name.toLowerCase())).size !== files.length) throw new RangeError("two files have the same name");

  const shorts = shortNames(files.map(({ name }) => name));
  const placed = files.map((file, index) => ({ ...file, short: shorts[index] ?? "", sector: 0 }));
  const tree = (sector: number, joliet: boolean): Buffer => directory(sector, sizes[joliet ? 1 : 0] ?? sectorBytes, placed, joliet, time);
  // The size of a directory depends on the names alone, so it is known before the places are.
  let sizes = [sectorBytes, sectorBytes];
  sizes = [tree(0, false).length, tree(0, true).length];
  const [rockSize = sectorBytes, jolietSize = sectorBytes] = sizes;
  const jolietSector = firstTreeSector + rockSize / sectorBytes;
  let next = jolietSector + jolietSize / sectorBytes;
  for (const file of placed) {
    file.sector = next;
    next += Math.max(1, Math.ceil(file.content.length / sectorBytes));
  }

  const image = Buffer.alloc(next * sectorBytes);
  const put = (sector: number, bytes: Uint8Array): void => image.set(bytes, sector * sectorBytes);
  put(primarySector, descriptor({ label, joliet: false, sectors: next, root: firstTreeSector, rootBytes: rockSize, tables: tablesSector, time }));
  put(primarySector + 1, descriptor({ label, joliet: true, sectors: next, root: jolietSector, rootBytes: jolietSize, tables: tablesSector + 2, time }));
  put(primarySector + 2, Buffer.from("\xffCD001\x01", "latin1"));
  for (const [offset, root] of [[0, firstTreeSector], [2, jolietSector]] as const) {
    put(tablesSector + offset, pathTable(root, false));
    put(tablesSector + offset + 1, pathTable(root, true));
  }
  put(firstTreeSector, tree(firstTreeSector, false));
  put(jolietSector, tree(jolietSector, true));
  for (const { sector, content } of placed) put(sector, content);
  return image;
}

/** Names of level 1 (ECMA-119 10.1): eight letters, digits or underscores, a dot, three more; all different. */
function shortNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const dot = name.lastIndexOf(".");
    const clean = (text: string, length: number): string => text.toUpperCase().replace(/[^A-Z0-9]/g, "_").slice(0, length);
    const stem = clean(dot > 0 ? name.slice(0, dot) : name, 8);
    const extension = dot > 0 ? clean(name.slice(dot + 1), 3) : "";
    let short = `${stem}.${extension};1`;
    for (let number = 1; taken.has(short); number++) short = `${stem.slice(0, 8 - String(number).length)}${number}.${extension};1`;
    taken.add(short);
    return short;
  });
}

/** ECMA-119 8.4; with `joliet` the supplementary one (8.5), its texts in UCS-2. */
function descriptor({ label, joliet, sectors, root, rootBytes, tables, time }: { label: string; joliet: boolean; sectors: number; root: number; rootBytes: number; tables: number; time: number }): Buffer {
  const bytes = Buffer.alloc(sectorBytes);
  bytes[0] = joliet ? 2 : 1;
  bytes.write("CD001\x01", 1, "latin1");
  const text = (offset: number, length: number, value = ""): void => void (joliet ? ucs2(value, length) : Buffer.from(value.padEnd(length), "latin1")).copy(bytes, offset);
  text(8, 32);
  text(40, 32, label);
  bothOrders32(bytes, 80, sectors);
  if (joliet) bytes.write("%/E", 88, "latin1");
  bothOrders16(bytes, 120, 1);
  bothOrders16(bytes, 124, 1);
  bothOrders16(bytes, 128, sectorBytes);
  bothOrders32(bytes, 132, pathTableBytes);
  bytes.writeUInt32LE(tables, 140);
  bytes.writeUInt32BE(tables + 1, 148);
  record({ identifier: Buffer.from([0]), sector: root, size: rootBytes, isDirectory: true, time }).copy(bytes, 156);
  for (const [offset, length] of [[190, 128], [318, 128], [446, 128], [574, 128], [702, 37], [739, 37], [776, 37]] as const) text(offset, length);
  for (const [offset, at] of [[813, time], [830, time], [847, undefined], [864, undefined]] as const) longDate(at).copy(bytes, offset);
  bytes[881] = 1;
  return bytes;
}

const pathTableBytes = 10;

/** ECMA-119 9.4: one entry, the root, which is its own parent. */
function pathTable(root: number, bigEndian: boolean): Buffer {
  const bytes = Buffer.alloc(pathTableBytes);
  bytes[0] = 1;
  if (bigEndian) {
    bytes.writeUInt32BE(root, 2);
    bytes.writeUInt16BE(1, 6);
  } else {
    bytes.writeUInt32LE(root, 2);
    bytes.writeUInt16LE(1, 6);
  }
  return bytes;
}

interface Placed extends IsoFile {
  readonly short: string;
  readonly sector: number;
}

/** ECMA-119 6.8: the directory itself, the one above (the root is both), the files in the order of their identifiers. */
function directory(sector: number, size: number, files: readonly Placed[], joliet: boolean, time: number): Buffer {
  const self = { sector, size, isDirectory: true, time };
  const records = [
    record({ ...self, identifier: Buffer.from([0]), systemUse: joliet ? undefined : Buffer.concat([suspIndicator, extensionReference, posix(0o40555, 2)]) }),
    record({ ...self, identifier: Buffer.from([1]), systemUse: joliet ? undefined : posix(0o40555, 2) }),
    ...files
      .map(({ name, short, sector: at, content }) => ({ identifier: joliet ? ucs2(`${name};1`) : Buffer.from(short, "latin1"), sector: at, size: content.length, isDirectory: false, time, systemUse: joliet ? undefined : Buffer.concat([alternateName(name), posix(0o100444, 1)]) }))
      .sort((a, b) => Buffer.compare(a.identifier, b.identifier))
      .map(record),
  ];
  const parts: Buffer[] = [];
  let length = 0;
  for (const bytes of records) {
    // A record never crosses a sector (ECMA-119 6.8.1.1).
    const left = sectorBytes - (length % sectorBytes);
    const pad = bytes.length > left ? left : 0;
    parts.push(Buffer.alloc(pad), bytes);
    length += pad + bytes.length;
  }
  return Buffer.concat(parts, Math.ceil(length / sectorBytes) * sectorBytes);
}

/** ECMA-119 9.1. */
function record({ identifier, sector, size, isDirectory, time, systemUse = Buffer.alloc(0) }: { identifier: Buffer; sector: number; size: number; isDirectory: boolean; time: number; systemUse?: Buffer | undefined }): Buffer {
  const named = 33 + identifier.length + (identifier.length % 2 === 0 ? 1 : 0);
  const bytes = Buffer.alloc(named + systemUse.length + (systemUse.length % 2));
  bytes[0] = bytes.length;
  bothOrders32(bytes, 2, sector);
  bothOrders32(bytes, 10, size);
  shortDate(time).copy(bytes, 18);
  bytes[25] = isDirectory ? 2 : 0;
  bothOrders16(bytes, 28, 1);
  bytes[32] = identifier.length;
  identifier.copy(bytes, 33);
  systemUse.copy(bytes, named);
  return bytes;
}

/** SUSP 4.1. */
function susp(tag: string, data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(tag, "latin1"), Buffer.from([4 + data.length, 1]), data]);
}

/** SUSP 5.3: these areas follow the protocol. */
const suspIndicator = susp("SP", Buffer.from([0xbe, 0xef, 0]));

/** SUSP 5.5: which extension they hold. */
const extensionReference = (() => {
  const [id, described, source] = ["RRIP_1991A", "POSIX file system semantics", "IEEE P1282"].map((text) => Buffer.from(text, "latin1"));
  if (!id || !described || !source) throw new Error("three texts make three buffers");
  return susp("ER", Buffer.concat([Buffer.from([id.length, described.length, source.length, 1]), id, described, source]));
})();

/** IEEE P1282 4.1.4. */
function alternateName(name: string): Buffer {
  return susp("NM", Buffer.concat([Buffer.from([0]), Buffer.from(name, "latin1")]));
}

/** IEEE P1282 4.1.1: mode, links, owner, group. */
function posix(mode: number, links: number): Buffer {
  const data = Buffer.alloc(32);
  bothOrders32(data, 0, mode);
  bothOrders32(data, 8, links);
  return susp("PX", data);
}

function bothOrders32(bytes: Buffer, offset: number, value: number): void {
  bytes.writeUInt32LE(value, offset);
  bytes.writeUInt32BE(value, offset + 4);
}

function bothOrders16(bytes: Buffer, offset: number, value: number): void {
  bytes.writeUInt16LE(value, offset);
  bytes.writeUInt16BE(value, offset + 2);
}

/** Big-endian UCS-2, filled with spaces; a field of an odd length ends with a zero. */
function ucs2(text: string, length = text.length * 2): Buffer {
  const bytes = Buffer.from(text.padEnd(Math.floor(length / 2)), "utf16le").swap16();
  return Buffer.concat([bytes], length);
}

/** ECMA-119 9.1.5, in UTC. */
function shortDate(time: number): Buffer {
  const date = new Date(time);
  return Buffer.from([date.getUTCFullYear() - 1900, date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds(), 0]);
}

/** ECMA-119 8.4.26.1, in UTC; zeroes for a date that is not given. */
function longDate(time: number | undefined): Buffer {
  const digits = time === undefined ? "0".repeat(16) : `${new Date(time).toISOString().replace(/\D/g, "").slice(0, 14)}00`;
  return Buffer.concat([Buffer.from(digits, "latin1"), Buffer.from([0])]);
}
