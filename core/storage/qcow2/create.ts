import { TerrariumError } from "../../contract/errors";
import type { ImageFile } from "../blockDevice";
import type { BackingName } from "./backingName";
import { setRefcount } from "./entries";
import { emitHeader, l1EntriesFor, lazyRefcountsBit, limits, longHeaderBytes, shortHeaderBytes, type Header } from "./format";
import { geometryOf } from "./foundation";
import { areaBlock, areaWrites, enterBlocks, planArea } from "./refcountArea";

export interface CreateOptions {
  /** Of the disk, bytes; rounded up to whole sectors. */
  readonly size: number;
  readonly version?: 2 | 3;
  /** Bytes, a power of two from 512 to 2 MiB. */
  readonly cluster?: number;
  /** 1, 2, 4 .. 64; other than 16 in version 3 only. */
  readonly refcountBits?: number;
  /** Lets other programs be lazy; version 3 only. */
  readonly lazyRefcounts?: boolean;
  /** Written into the header for other programs; nothing here follows it. */
  readonly backing?: BackingName;
}

/**
 * Writes an empty image into an empty file, and makes it durable. The header comes last: until then the file is no image.
 * @throws TerrariumError `invalid-input`, or the system's error
 */
export async function createQcow2(file: ImageFile, options: CreateOptions): Promise<void> {
  const { version = 3, cluster = 65536, refcountBits = 16, lazyRefcounts = false, backing } = options;
  const size = Math.ceil(options.size / 512) * 512;
  const [clusterBits, refcountOrder] = [Math.log2(cluster), Math.log2(refcountBits)];
  require(file.length === 0, "it is written into an empty file");
  require(Number.isSafeInteger(size) && size >= 0, "the size has to be a number of bytes");
  require(Number.isInteger(clusterBits) && clusterBits >= limits.clusterBits.least && clusterBits <= limits.clusterBits.most, "clusters have 512 bytes to 2 MiB, a power of two");
  require(Number.isInteger(refcountOrder) && refcountOrder >= 0 && refcountOrder <= 6, "reference counts have 1 to 64 bits, a power of two");
  require(version === 3 || (refcountOrder === 4 && !lazyRefcounts), "version 2 has reference counts of 16 bits that are never lazy");
  const l1Entries = Math.max(1, l1EntriesFor(size, clusterBits));
  require(l1Entries * 8 <= limits.l1Bytes, "with clusters of this size it cannot be that large");

  const geometry = geometryOf({ clusterBits, refcountOrder });
  const area = planArea(geometry, 1, [], 1, Math.ceil((l1Entries * 8) / cluster));
  const blocks = area.ranges.map((range) => areaBlock(geometry, area, range));
  // The header's own cluster lies before the area.
  setRefcount(blocks[0]!, 0, refcountOrder, 1);
  const table = new Uint8Array(area.tableClusters * cluster);
  enterBlocks(geometry, area, new DataView(table.buffer));
  const header: Header = {
    ...{ version, clusterBits, size, l1Entries, refcountOrder },
    ...{ l1Offset: area.payloadAt * cluster, refcountTableOffset: area.tableAt * cluster, refcountTableClusters: area.tableClusters },
    ...{ snapshotCount: 0, snapshotsOffset: 0, incompatible: 0n, compatible: lazyRefcounts ? lazyRefcountsBit : 0n, autoclear: 0n },
    ...{ compression: "zlib", headerBytes: version === 2 ? shortHeaderBytes : longHeaderBytes, extensions: [] },
    ...(backing ? { backing: backing.file, backingFormat: backing.format } : {}),
  };
  const head = emitHeader(header);
  if (!head.ok) throw new TerrariumError("invalid-input", `A qcow2 image cannot be made so: ${head.error}.`);
  for (const { offset, data } of areaWrites(geometry, area, blocks, table)) await file.write(offset, data);
  // All of the first table has to be in the file, and of it only zeroes.
  await file.write(area.end * cluster - 1, new Uint8Array(1));
  await file.flush();
  await file.write(0, head.value);
  await file.flush();
}

function require(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new TerrariumError("invalid-input", `A qcow2 image cannot be made so: ${rule}.`);
}
