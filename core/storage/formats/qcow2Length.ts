import type { ReadAt } from "./imageHeader";

/*
 * How long a QCOW2 file has to be for everything its tables lead to. QEMU opens an image that is cut off and gives its
 * guest zeros for what is missing. (qcow2 spec: header, L1 table entry, L2 table entry, extended L2 entries.)
 */

/** What QEMU takes at most for the first table, bytes (block/qcow2.h, QCOW_MAX_L1_SIZE). */
const mostTableBytes = 32 * 1024 * 1024;
/** Of a larger image not all second tables are read: what is missing of a file is missing at its end, and seldom unseen by the rest. */
const mostReadBytes = 64 * 1024 * 1024;
const offsetMask = 0x00ff_ffff_ffff_fe00n;

/** The bytes the file has to have at least, as far as that was looked into; undefined when the header makes no sense, which QEMU says better. Rejects only as `read` does. */
export async function qcow2Length(read: ReadAt, sizeBytes: number): Promise<number | undefined> {
  const head = view(await read(0, 104));
  if (head.byteLength < 72) return 72;
  const version = head.getUint32(4);
  const clusterBits = head.getUint32(20);
  if (version < 2 || version > 3 || clusterBits < 9 || clusterBits > 21) return undefined;
  if (version === 3 && head.byteLength < 104) return 104;
  const cluster = 2 ** clusterBits;
  const features = version === 3 ? head.getBigUint64(72) : 0n;
  // Its data is elsewhere, which is refused before anybody opens it.
  const hasDataFile = (features & 4n) !== 0n;
  const entryBytes = (features & 16n) === 0n ? 8 : 16;
  const diskBytes = Number(head.getBigUint64(24));
  const firstAt = safe(head.getBigUint64(40));
  const firstBytes = head.getUint32(36) * 8;
  const countsAt = safe(head.getBigUint64(48));
  if (firstAt === undefined || countsAt === undefined || firstBytes > mostTableBytes) return undefined;
  const countsBytes = head.getUint32(56) * cluster;
  let needed = Math.max(firstAt + firstBytes, countsAt + countsBytes);
  if (needed > sizeBytes) return needed;

  const counts = view(await read(countsAt, Math.min(countsBytes, mostTableBytes)));
  for (let at = 0; at + 8 <= counts.byteLength; at += 8) {
    const blockAt = Number(counts.getBigUint64(at) & ~511n);
    if (blockAt !== 0) needed = Math.max(needed, blockAt + cluster);
  }

  let readBytes = 0;
  const first = view(await read(firstAt, firstBytes));
  for (let at = 0; at + 8 <= first.byteLength; at += 8) {
    const tableAt = Number(first.getBigUint64(at) & offsetMask);
    if (tableAt === 0) continue;
    needed = Math.max(needed, tableAt + cluster);
    if (tableAt + cluster > sizeBytes || hasDataFile || (readBytes += cluster) > mostReadBytes) continue;
    const before = (at / 8) * (cluster / entryBytes) * cluster;
    needed = Math.max(needed, reach(view(await read(tableAt, cluster)), { entryBytes, cluster, diskBytes: diskBytes - before }));
  }
  return needed;
}

/**
 * Where the last of a second table's clusters ends.
 * @param diskBytes from the table's first cluster to the disk's end: of the cluster in which it ends the rest may be missing
 */
function reach(table: DataView, { entryBytes, cluster, diskBytes }: { entryBytes: number; cluster: number; diskBytes: number }): number {
  let needed = 0;
  for (let at = 0; at + entryBytes <= table.byteLength; at += entryBytes) {
    const high = table.getUint32(at);
    const low = table.getUint32(at + 4);
    if (high === 0 && low === 0) continue;
    if ((high & 0x4000_0000) !== 0) {
      // Compressed: the offset's width depends on the cluster's size; the last sector need not be whole.
      const bits = 62 - (Math.log2(cluster) - 8);
      needed = Math.max(needed, Number((BigInt(high & 0x3fff_ffff) << 32n | BigInt(low)) & ((1n << BigInt(bits)) - 1n)) + 1);
      continue;
    }
    const dataAt = (high & 0x00ff_ffff) * 2 ** 32 + (low >>> 9) * 512;
    const used = Math.min(cluster, diskBytes - (at / entryBytes) * cluster);
    if (dataAt === 0 || used <= 0) continue;
    if (entryBytes === 8) {
      // Bit 0: reads as zeros, whatever is there.
      if ((low & 1) === 0) needed = Math.max(needed, dataAt + used);
      continue;
    }
    // Subclusters of which the lower half of the bitmap says that they are there.
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
