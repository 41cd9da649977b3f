/*
 * Reads the directories of a CD image: ISO 9660 (ECMA-119) with the longer names of Rock Ridge (IEEE P1282) or Joliet, and
 * the boot catalogue (El Torito 1.0). Read-only, over a function that reads a range of the file.
 *
 * Images are hostile: nothing here throws at what the bytes say. A part that makes no sense is as good as absent, every
 * length is checked and capped, and all reading ends with the budget, so that records that lead in a circle end it too.
 */

/** Reads `length` bytes at `offset`, fewer at the end of the file. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

export interface IsoEntry {
  /** As Rock Ridge or Joliet has it, else the ISO 9660 name without its version. */
  readonly name: string;
  readonly directory: boolean;
  readonly sizeBytes: number;
  /** Where its bytes are, in sectors. */
  readonly sector: number;
}

export type IsoFirmware = "bios" | "uefi";

const sectorBytes = 2048;
/** Volume descriptors begin here (ECMA-119 6.2.1); how many are looked at. */
const firstDescriptor = 16;
const mostDescriptors = 16;

const mostDirectoryBytes = 1024 * 1024;
const mostEntries = 20_000;
const mostDepth = 16;
const mostNameBytes = 255;
/** What may be read of one image in all. */
const budgetBytes = 16 * 1024 * 1024;

export class IsoImage {
  private spent = 0;
  private readonly directories = new Map<number, Promise<readonly IsoEntry[]>>();

  private constructor(
    private readonly read: ReadAt,
    /** What can start from it, by its boot catalogue; empty when nothing can. */
    readonly firmwares: readonly IsoFirmware[],
    private readonly root: IsoEntry,
    private readonly joliet: boolean,
    /** Bytes to skip in every system use area (SUSP 5.3); undefined without Rock Ridge. */
    private readonly suspSkip: number | undefined,
    spent: number,
  ) {
    this.spent = spent;
  }

  /** Undefined for what is no ISO 9660 image (one of UDF alone is none). Rejects only as `read` does. */
  static async open(read: ReadAt): Promise<IsoImage | undefined> {
    const descriptors = await read(firstDescriptor * sectorBytes, mostDescriptors * sectorBytes);
    let primary: Uint8Array | undefined;
    let joliet: Uint8Array | undefined;
    let catalogue: number | undefined;
    for (let at = 0; at + sectorBytes <= descriptors.length; at += sectorBytes) {
      const descriptor = descriptors.subarray(at, at + sectorBytes);
      if (latin1(descriptor, 1, 5) !== "CD001") continue;
      const type = descriptor[0];
      if (type === 255) break;
      if (type === 0 && latin1(descriptor, 7, 23) === "EL TORITO SPECIFICATION") catalogue ??= u32(descriptor, 0x47);
      if (type === 1) primary ??= descriptor;
      // Joliet specification, escape sequences: UCS-2 level 1, 2 or 3.
      if (type === 2 && ["%/@", "%/C", "%/E"].includes(latin1(descriptor, 88, 3))) joliet ??= descriptor;
    }
    if (!primary) return undefined;
    const firmwares = catalogue === undefined ? [] : bootable(await read(catalogue * sectorBytes, 2 * sectorBytes));
    const root = rootOf(primary);
    const first = root && (await read(root.sector * sectorBytes, sectorBytes));
    const suspSkip = first && rockRidge(first);
    const jolietRoot = joliet && rootOf(joliet);
    const useJoliet = suspSkip === undefined && jolietRoot !== undefined;
    const tree = useJoliet ? jolietRoot : root;
    return new IsoImage(read, firmwares, tree ?? { name: "", directory: true, sizeBytes: 0, sector: 0 }, useJoliet, useJoliet ? undefined : suspSkip, (mostDescriptors + 3) * sectorBytes);
  }

  /** What is in a directory; empty when there is none of that path. */
  async list(path: string): Promise<readonly IsoEntry[]> {
    const entry = await this.find(path);
    return entry?.directory ? this.entriesOf(entry) : [];
  }

  /** The file or directory of a path such as `/.disk/info`, in upper or lower case. */
  async find(path: string): Promise<IsoEntry | undefined> {
    const parts = path.split("/").filter((part) => part !== "");
    if (parts.length > mostDepth) return undefined;
    let entry = this.root;
    for (const part of parts) {
      if (!entry.directory) return undefined;
      const wanted = part.toLowerCase();
      const next = (await this.entriesOf(entry)).find((candidate) => candidate.name.toLowerCase() === wanted);
      if (!next) return undefined;
      entry = next;
    }
    return entry;
  }

  /** The bytes of a file, up to `mostBytes`; undefined when there is no such file. */
  async readFile(path: string, mostBytes: number): Promise<Uint8Array | undefined> {
    const entry = await this.find(path);
    if (!entry || entry.directory) return undefined;
    return this.take(entry.sector * sectorBytes, Math.min(entry.sizeBytes, mostBytes));
  }

  private entriesOf(directory: IsoEntry): Promise<readonly IsoEntry[]> {
    const known = this.directories.get(directory.sector);
    if (known) return known;
    const entries = this.readDirectory(directory);
    this.directories.set(directory.sector, entries);
    return entries;
  }

  private async readDirectory({ sector, sizeBytes }: IsoEntry): Promise<readonly IsoEntry[]> {
    const bytes = await this.take(sector * sectorBytes, Math.min(sizeBytes, mostDirectoryBytes));
    const entries: IsoEntry[] = [];
    let unfinished = 0;
    for (let at = 0; at < bytes.length && entries.length < mostEntries; ) {
      const length = bytes[at] ?? 0;
      // ECMA-119 6.8.1.1: a record never crosses a sector; the rest of a sector is zero.
      if (length === 0 || (at % sectorBytes) + length > sectorBytes) {
        at = (Math.floor(at / sectorBytes) + 1) * sectorBytes;
        continue;
      }
      const record = parseRecord(bytes.subarray(at, at + length));
      at += length;
      if (!record || record.special) continue;
      // ECMA-119 9.1.6, bit 7: the file goes on in the next record.
      if (record.goesOn) {
        unfinished += record.sizeBytes;
        continue;
      }
      const name = (this.suspSkip === undefined ? undefined : await this.rockRidgeName(record.systemUse, this.suspSkip)) ?? (this.joliet ? jolietName(record.identifier) : isoName(record.identifier));
      if (name !== "") entries.push({ name, directory: record.directory, sizeBytes: record.sizeBytes + unfinished, sector: record.sector });
      unfinished = 0;
    }
    return entries;
  }

  /** IEEE P1282 4.1.4: the NM entries of a record, in it or in the places its CE entries lead to. */
  private async rockRidgeName(systemUse: Uint8Array, skip: number): Promise<string | undefined> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    let area = systemUse.subarray(skip);
    for (let continuations = 0; continuations < 8; continuations++) {
      let next: { sector: number; offset: number; length: number } | undefined;
      for (const { tag, data } of suspEntries(area)) {
        if (tag === "NM" && ((data[0] ?? 0) & 0x06) === 0) {
          pieces.push(data.subarray(1));
          length += data.length - 1;
        }
        if (tag === "CE" && data.length >= 24) next = { sector: u32(data, 0), offset: u32(data, 8), length: u32(data, 16) };
      }
      if (!next || length > mostNameBytes) break;
      area = await this.take(next.sector * sectorBytes + next.offset, Math.min(next.length, sectorBytes));
    }
    if (pieces.length === 0 || length > mostNameBytes) return undefined;
    return cleaned(new TextDecoder().decode(Buffer.concat(pieces)));
  }

  private async take(offset: number, length: number): Promise<Uint8Array> {
    // A sector costs at least itself, so that many tiny reads end as well.
    this.spent += Math.max(length, sectorBytes);
    if (length <= 0 || this.spent > budgetBytes) return new Uint8Array(0);
    return this.read(offset, length);
  }
}

interface DirectoryRecord {
  readonly identifier: Uint8Array;
  readonly systemUse: Uint8Array;
  readonly directory: boolean;
  readonly goesOn: boolean;
  /** The directory itself or the one above. */
  readonly special: boolean;
  readonly sizeBytes: number;
  readonly sector: number;
}

/** ECMA-119 9.1. */
function parseRecord(record: Uint8Array): DirectoryRecord | undefined {
  const nameLength = record[32] ?? 0;
  const nameEnd = 33 + nameLength;
  if (record.length < 34 || nameLength === 0 || nameEnd > record.length) return undefined;
  const flags = record[25] ?? 0;
  const identifier = record.subarray(33, nameEnd);
  return {
    identifier,
    systemUse: record.subarray(nameEnd + (nameLength % 2 === 0 ? 1 : 0)),
    directory: (flags & 0x02) !== 0,
    goesOn: (flags & 0x80) !== 0,
    special: nameLength === 1 && (identifier[0] === 0 || identifier[0] === 1),
    sector: u32(record, 2),
    sizeBytes: u32(record, 10),
  };
}

/** ECMA-119 8.4.18: the record of the root directory, in the volume descriptor. */
function rootOf(descriptor: Uint8Array): IsoEntry | undefined {
  const record = parseRecord(descriptor.subarray(156, 190));
  return record && { name: "", directory: true, sizeBytes: record.sizeBytes, sector: record.sector };
}

/** SUSP 5.3: the first record of the root says by an SP entry that system use areas follow the protocol. */
function rockRidge(sector: Uint8Array): number | undefined {
  const record = parseRecord(sector.subarray(0, sector[0] ?? 0));
  if (!record) return undefined;
  // CD-ROM XA puts 14 bytes before it.
  for (const start of [0, 14]) {
    const entry = suspEntries(record.systemUse.subarray(start)).next();
    if (!entry.done && entry.value.tag === "SP" && entry.value.data[0] === 0xbe && entry.value.data[1] === 0xef) return entry.value.data[2] ?? 0;
  }
  return undefined;
}

/** SUSP 4.1: signature, length, version, data. */
function* suspEntries(area: Uint8Array): Generator<{ tag: string; data: Uint8Array }> {
  for (let at = 0; at + 4 <= area.length; ) {
    const length = area[at + 2] ?? 0;
    if (length < 4 || at + length > area.length) return;
    const tag = latin1(area, at, 2);
    if (tag === "ST") return;
    yield { tag, data: area.subarray(at + 4, at + length) };
    at += length;
  }
}

/**
 * El Torito 1.0, 2.0: a validation entry, the initial entry of its platform, then sections of entries, each with a platform.
 * Platform 0 is the BIOS; 0xEF is UEFI (UEFI specification 2.10, 13.3.2.1).
 */
function bootable(catalogue: Uint8Array): IsoFirmware[] {
  const entryBytes = 32;
  const at = (index: number): Uint8Array => catalogue.subarray(index * entryBytes, (index + 1) * entryBytes);
  const validation = at(0);
  if (validation.length < entryBytes || validation[0] !== 1 || validation[0x1e] !== 0x55 || validation[0x1f] !== 0xaa) return [];
  const found = new Set<number | undefined>();
  const note = (entry: Uint8Array, platform: number | undefined): void => {
    if (entry[0] === 0x88) found.add(platform);
  };
  note(at(1), validation[1]);
  let index = 2;
  for (;;) {
    const header = at(index);
    if (header.length < entryBytes || (header[0] !== 0x90 && header[0] !== 0x91)) break;
    const end = index + (header[2] ?? 0) + (header[3] ?? 0) * 256;
    for (index++; index <= end && at(index).length === entryBytes; index++) note(at(index), header[1]);
    if (header[0] === 0x91) break;
  }
  return [...(found.has(0) ? (["bios"] as const) : []), ...(found.has(0xef) ? (["uefi"] as const) : [])];
}

function isoName(identifier: Uint8Array): string {
  return cleaned(latin1(identifier, 0, identifier.length).replace(/;\d*$/, "").replace(/\.$/, ""));
}

function jolietName(identifier: Uint8Array): string {
  let name = "";
  for (let at = 0; at + 1 < identifier.length; at += 2) name += String.fromCharCode((identifier[at] ?? 0) * 256 + (identifier[at + 1] ?? 0));
  return cleaned(name.replace(/;\d*$/, ""));
}

/** A name with nothing in it that a path or a screen could stumble over. */
function cleaned(name: string): string {
  return name.replace(/[\p{Cc}/]/gu, "");
}

function latin1(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", offset, offset + length);
}

/** The little-endian half of a number that ISO 9660 writes in both orders. */
function u32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) + (bytes[offset + 1] ?? 0) * 0x100 + (bytes[offset + 2] ?? 0) * 0x10000 + (bytes[offset + 3] ?? 0) * 0x1000000;
}
