import { qcow2Features, qcow2Fields, qcow2HeaderBytes } from "../qcow2";

/*
 * What the headers of other programs' disk images say, read by us and not by QEMU: the size a guest sees, and whether the
 * image leads to other files. Image files are hostile: a header may name any file of the host, and a program that opens the
 * image opens that file too. So this is looked at first, and nothing else opens an image that leads elsewhere.
 */

/** Reads `length` bytes at `offset`, fewer at the end of the file. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

export interface ImageHeader {
  /** The size a guest sees, where the header tells it in a simple way. */
  readonly virtualBytes?: number;
  /** What it needs beside itself, as the end of a sentence: `builds on the file "base.qcow2"`. */
  readonly leadsTo?: string;
  readonly encrypted?: boolean;
  /** Marked as damaged by the program that wrote it. */
  readonly corrupt?: boolean;
}

/** Formats QEMU is asked to read, as we call them and as it does. */
export const qemuFormats: Readonly<Record<string, string>> = { raw: "raw", qcow2: "qcow2", vmdk: "vmdk", vdi: "vdi", vhdx: "vhdx", vhd: "vpc" };

/** Rejects only as `read` does. */
export async function readImageHeader(format: string, read: ReadAt, sizeBytes: number): Promise<ImageHeader> {
  switch (format) {
    case "raw":
      return { virtualBytes: sizeBytes };
    case "qcow2":
      return qcow2(read);
    case "vmdk":
      return vmdk(read);
    case "vdi": {
      // VirtualBox's VDICore.h: the size behind the geometry, the parent's UUID in a differencing image.
      const head = await bytes(read, 0, 0x1a8);
      return head.length < 0x178 ? {} : { ...size(head.readBigUInt64LE(0x170)), ...(head.readUInt32LE(0x4c) === 4 ? { leadsTo: "holds only the changes to another image" } : {}) };
    }
    case "vhdx":
      return vhdx(read);
    case "vhd": {
      // Virtual Hard Disk Image Format Specification 1.0: the footer, of which a dynamic disk has a copy in front.
      const footer = await bytes(read, Math.max(0, sizeBytes - 512), 512);
      const found = isVhdFooter(footer) ? footer : await bytes(read, 0, 512);
      if (!isVhdFooter(found)) return {};
      return { ...size(found.readBigUInt64BE(48)), ...(found.readUInt32BE(60) === 4 ? { leadsTo: "holds only the changes to another image" } : {}) };
    }
    default:
      return {};
  }
}

async function bytes(read: ReadAt, offset: number, length: number): Promise<Buffer> {
  const found = await read(offset, length);
  return Buffer.from(found.buffer, found.byteOffset, found.byteLength);
}

/** A size that no disk has is not told. */
function size(value: bigint): { virtualBytes?: number } {
  return value > 0n && value <= BigInt(Number.MAX_SAFE_INTEGER) ? { virtualBytes: Number(value) } : {};
}

const mostNameBytes = 1023;

async function qcow2(read: ReadAt): Promise<ImageHeader> {
  const fields = qcow2Fields(await read(0, qcow2HeaderBytes));
  if (!fields) return {};
  const { backingOffset, backingBytes, incompatible } = fields;
  let leadsTo: string | undefined;
  if (incompatible & qcow2Features.dataFile) leadsTo = "keeps its data in another file";
  else if (backingOffset !== 0n) {
    const name = backingOffset < BigInt(Number.MAX_SAFE_INTEGER) ? await bytes(read, Number(backingOffset), Math.min(backingBytes, mostNameBytes)) : Buffer.alloc(0);
    leadsTo = `builds on the file ${quoted(name.toString("utf8"))}`;
  }
  return { ...size(fields.size), ...(leadsTo === undefined ? {} : { leadsTo }), encrypted: fields.encryption !== 0, corrupt: (incompatible & qcow2Features.corrupt) !== 0n };
}

/** Where QEMU looks for the descriptor of a VMDK that has one inside, and how much of it it reads (block/vmdk.c). */
const vmdkDescriptorBytes = 20 * 512;

/**
 * VMware Virtual Disk Format 1.1: the header of a sparse extent. A descriptor inside may name a parent; a file that is only
 * a descriptor, or a header without a capacity, names extents that may be any file.
 */
async function vmdk(read: ReadAt): Promise<ImageHeader> {
  const head = await bytes(read, 0, 512 + vmdkDescriptorBytes);
  const signature = head.toString("latin1", 0, 4);
  if (signature === "COWD") return { leadsTo: "is one part of a set of files" };
  if (signature !== "KDMV" || head.length < 79) return { leadsTo: "only lists the files that hold its data" };
  const sectors = head.readBigUInt64LE(12);
  if (sectors === 0n) return { leadsTo: "only lists the files that hold its data" };
  const described = head.readBigUInt64LE(28);
  const inside = described > 0n && described < 1n << 40n ? await bytes(read, Number(described) * 512, vmdkDescriptorBytes) : Buffer.alloc(0);
  const descriptor = `${head.toString("latin1", 512)}\n${inside.toString("latin1")}`;
  const parent = /parentFileNameHint[ \t]*=?[ \t]*"?([^"\r\n\0]*)/.exec(descriptor);
  const extents = new Set([...inside.toString("latin1").matchAll(/^[ \t]*(?:RW|RDONLY|NOACCESS)[ \t]+\d+[ \t]+\S+[ \t]+("[^"]*")/gm)].map((extent) => extent[1]));
  const leadsTo = parent ? `builds on the file ${quoted(parent[1] ?? "")}` : extents.size > 1 ? "is one part of a set of files" : undefined;
  return { ...size(sectors * 512n), ...(leadsTo === undefined ? {} : { leadsTo }) };
}

const vhdxMetadataRegion = "06a27c8b90479a4bb8fe575f050f886e";
const vhdxVirtualSize = "2442a52f1bcd7648b2115dbed83bf4b8";
const vhdxFileParameters = "3767a1ca36fa434db3b633f0aa44e76b";

/** [MS-VHDX] 2.2.3 and 2.6: the region table leads to the metadata table, which leads to its items. */
async function vhdx(read: ReadAt): Promise<ImageHeader> {
  const regions = await bytes(read, 192 * 1024, 64 * 1024);
  if (regions.toString("latin1", 0, 4) !== "regi") return {};
  const region = tableEntry(regions, 16, regions.readUInt32LE(8), vhdxMetadataRegion);
  if (!region) return {};
  const start = region.readBigUInt64LE(16);
  if (start > 1n << 50n) return {};
  const table = await bytes(read, Number(start), 64 * 1024);
  if (table.toString("latin1", 0, 8) !== "metadata" || table.length < 32) return {};
  const item = async (id: string): Promise<Buffer> => {
    const entry = tableEntry(table, 32, table.readUInt16LE(10), id);
    return entry ? bytes(read, Number(start) + entry.readUInt32LE(16), 8) : Buffer.alloc(0);
  };
  const virtual = await item(vhdxVirtualSize);
  const parameters = await item(vhdxFileParameters);
  // 2.6.2.1: bit 1 of the flags behind the block size is HasParent.
  const leadsTo = parameters.length === 8 && (parameters.readUInt32LE(4) & 2) !== 0 ? "holds only the changes to another image" : undefined;
  return { ...(virtual.length === 8 ? size(virtual.readBigUInt64LE(0)) : {}), ...(leadsTo === undefined ? {} : { leadsTo }) };
}

function tableEntry(table: Buffer, first: number, count: number, id: string): Buffer | undefined {
  for (let index = 0; index < Math.min(count, 2047); index++) {
    const entry = table.subarray(first + index * 32, first + (index + 1) * 32);
    if (entry.length < 32) return undefined;
    if (entry.toString("hex", 0, 16) === id) return entry;
  }
  return undefined;
}

function isVhdFooter(footer: Buffer): boolean {
  return footer.length >= 64 && footer.toString("latin1", 0, 8) === "conectix";
}

/** A name from an image, fit for a message. */
function quoted(name: string): string {
  const shown = name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  return `"${shown.length > 200 ? `${shown.slice(0, 200)}…` : shown}"`;
}
