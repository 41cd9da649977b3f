import { compressedFlag, compressedRange, entryOffset, zeroFlag } from "./entries";
import { headerFields, incompatibleBits, limits, leastLongHeaderBytes, longHeaderBytes, shortHeaderBytes } from "./format";

/*
 * How long a file has to be for everything its tables lead to. QEMU opens an image that is cut off and gives its guest
 * zeros for what is missing. Images that only QEMU can open (extended L2 entries) are looked at too.
 */

/** Of a larger image not all second tables are read: what is missing of a file is missing at its end, and seldom unseen by the rest. */
const mostReadBytes = 64 * 1024 * 1024;

/** Reads `length` bytes at `offset`, fewer at the end of the file. */
type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** The bytes the file has to have at least, as far as that was looked into; undefined when the header makes no sense, which QEMU says better. Rejects only as `read` does. */
export async function qcow2Length(read: ReadAt, sizeBytes: number): Promise<number | undefined> {
  const head = await read(0, longHeaderBytes);
  const fields = headerFields(head);
  if (!fields) return shortHeaderBytes;
  const { version, clusterBits, incompatible } = fields;
  if (version < 2 || version > 3 || clusterBits < limits.clusterBits.least || clusterBits > limits.clusterBits.most) return undefined;
  if (version === 3 && head.length < leastLongHeaderBytes) return leastLongHeaderBytes;
  const cluster = 2 ** clusterBits;
  // Its data is elsewhere, which is refused before anybody opens it.
  const hasDataFile = (incompatible & incompatibleBits.dataFile) !== 0n;
  const entryBytes = (incompatible & incompatibleBits.extendedL2) === 0n ? 8 : 16;
  const diskBytes = Number(fields.size);
  const firstAt = safe(fields.l1Offset);
  const firstBytes = fields.l1Entries * 8;
  const countsAt = safe(fields.refcountTableOffset);
  if (firstAt === undefined || countsAt === undefined || firstBytes > limits.l1Bytes) return undefined;
  const countsBytes = fields.refcountTableClusters * cluster;
  let needed = Math.max(firstAt + firstBytes, countsAt + countsBytes);
  if (needed > sizeBytes) return needed;

  const counts = view(await read(countsAt, Math.min(countsBytes, limits.l1Bytes)));
  for (let at = 0; at + 8 <= counts.byteLength; at += 8) {
    const blockAt = Number(counts.getBigUint64(at) & ~511n);
    if (blockAt !== 0) needed = Math.max(needed, blockAt + cluster);
  }

  let readBytes = 0;
  const first = view(await read(firstAt, firstBytes));
  for (let at = 0; at + 8 <= first.byteLength; at += 8) {
    const tableAt = entryOffset(first.getUint32(at), first.getUint32(at + 4));
    if (tableAt === 0) continue;
    needed = Math.max(needed, tableAt + cluster);
    if (tableAt + cluster > sizeBytes || hasDataFile || (readBytes += cluster) > mostReadBytes) continue;
    const before = (at / 8) * (cluster / entryBytes) * cluster;
    needed = Math.max(needed, reach(view(await read(tableAt, cluster)), { entryBytes, cluster, clusterBits, diskBytes: diskBytes - before }));
  }
  return needed;
}

/**
 * Where the last of a second table's clusters ends.
 * @param diskBytes from the table's first cluster to the disk's end: of the cluster in which it ends the rest may be missing
 */
function reach(table: DataView, { entryBytes, cluster, clusterBits, diskBytes }: { entryBytes: number; cluster: number; clusterBits: number; diskBytes: number }): number {
  let needed = 0;
  for (let at = 0; at + entryBytes <= table.byteLength; at += entryBytes) {
    const high = table.getUint32(at);
    const low = table.getUint32(at + 4);
    if (high === 0 && low === 0) continue;
    if ((high & compressedFlag) !== 0) {
      // The last sector need not be whole.
      needed = Math.max(needed, compressedRange(high, low, clusterBits).offset + 1);
      continue;
    }
    const dataAt = entryOffset(high, low);
    const used = Math.min(cluster, diskBytes - (at / entryBytes) * cluster);
    if (dataAt === 0 || used <= 0) continue;
    if (entryBytes === 8) {
      if ((low & zeroFlag) === 0) needed = Math.max(needed, dataAt + used);
      continue;
    }
    // qcow2 spec, Extended L2 Entries: subclusters of which the lower half of the bitmap says that they are there.
    const present = table.getUint32(at + 12);
    if (present !== 0) needed = Math.max(needed, dataAt + Math.min(used, ((32 - Math.clz32(present)) * cluster) / 32));
  }
  return needed;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function safe(value: bigint): number | undefined {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}
