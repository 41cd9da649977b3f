import { open } from "node:fs/promises";
import type { Steps } from "../storage/steps";

/*
 * A new layer: a qcow2 image (version 3) without any data of its own. What lies under it is said in machine.json; the name in
 * the image is for other programs only.
 */

const clusterBits = 16;
const clusterBytes = 1 << clusterBits;
const magic = 0x514649fb;
const backingFormatExtension = 0xe2792aca;
/** One L1 entry leads to as much as a cluster full of L2 entries can. */
const bytesPerL1Entry = (clusterBytes / 8) * clusterBytes;
/** Beyond this a disk is larger than any that is made here, and an L1 table is not read into memory. */
const mostL1Entries = 1 << 20;

export interface Backing {
  /** As the image names it: relative to its own folder. */
  readonly file: string;
  readonly format: "raw" | "qcow2";
}

/** Makes an empty layer of a disk of `sizeBytes`. It is on the disk when this resolves; its name is, when its folder is synced. */
export async function createOverlay(path: string, sizeBytes: number, backing: Backing, steps: Steps): Promise<void> {
  const l1Entries = Math.ceil(sizeBytes / bytesPerL1Entry);
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterBytes);
  const clusters = 3 + l1Clusters;
  const header = Buffer.alloc(4096);
  const name = Buffer.from(backing.file, "utf8");
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(3, 4);
  header.writeUInt32BE(clusterBits, 20);
  header.writeBigUInt64BE(BigInt(sizeBytes), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(BigInt(3 * clusterBytes), 40);
  header.writeBigUInt64BE(BigInt(clusterBytes), 48);
  header.writeUInt32BE(1, 56);
  header.writeUInt32BE(4, 96);
  header.writeUInt32BE(104, 100);
  header.writeUInt32BE(backingFormatExtension, 104);
  header.writeUInt32BE(backing.format.length, 108);
  header.write(backing.format, 112, "latin1");
  // The list of extensions ends with zeroes; the name follows. Longer ones than the format allows are left out.
  const nameOffset = 112 + 8 + 8;
  if (name.length <= 1023) {
    header.writeBigUInt64BE(BigInt(nameOffset), 8);
    header.writeUInt32BE(name.length, 16);
    name.copy(header, nameOffset);
  }
  const refcountTable = Buffer.alloc(8);
  refcountTable.writeBigUInt64BE(BigInt(2 * clusterBytes));
  const refcounts = Buffer.alloc(clusters * 2);
  for (let cluster = 0; cluster < clusters; cluster++) refcounts.writeUInt16BE(1, cluster * 2);
  await steps.create(path, clusters * clusterBytes, [
    { offset: 0, bytes: header },
    { offset: clusterBytes, bytes: refcountTable },
    { offset: 2 * clusterBytes, bytes: refcounts },
  ]);
}

/** Whether nothing was ever written to a layer: none of its clusters leads anywhere. False for what is no qcow2 image. */
export async function isUnwritten(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const header = Buffer.alloc(72);
    const { bytesRead } = await file.read(header, 0, header.length, 0);
    if (bytesRead < header.length || header.readUInt32BE(0) !== magic || header.readUInt32BE(60) !== 0) return false;
    const entries = header.readUInt32BE(36);
    const offset = header.readBigUInt64BE(40);
    if (entries > mostL1Entries || offset > BigInt((await file.stat()).size)) return false;
    const table = Buffer.alloc(entries * 8);
    const read = await file.read(table, 0, table.length, Number(offset));
    return read.bytesRead === table.length && table.every((byte) => byte === 0);
  } finally {
    await file.close();
  }
}
