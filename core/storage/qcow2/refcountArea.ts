import { setRefcount } from "./entries";
import type { Geometry } from "./foundation";
import type { TableWrite } from "./table";

/*
 * A stretch of an image that counts its own clusters: blocks of reference counts, the table that leads to them, and room
 * for something else. It can be written while nothing leads to it; then one sector of the header makes it valid at once.
 * New images, tables of reference counts that have to move, and rebuilt ones are made so.
 */

export interface Area {
  /** The cluster it begins with; its blocks come first. */
  readonly first: number;
  /** The ranges whose counts its blocks hold, in their order. */
  readonly ranges: readonly number[];
  readonly tableAt: number;
  readonly tableClusters: number;
  readonly payloadAt: number;
  /** The cluster behind it. */
  readonly end: number;
}

/**
 * Plans an area; all in clusters.
 * @param ranges that need a block beside those the area itself lies in
 * @param leastEntries that the table has to have room for
 */
export function planArea({ perBlock, cluster }: Geometry, first: number, ranges: Iterable<number>, leastEntries: number, payload: number): Area {
  const wanted = new Set(ranges);
  for (let end = first + 1; ; ) {
    for (let range = Math.floor(first / perBlock); range <= Math.floor((end - 1) / perBlock); range++) wanted.add(range);
    let last = 0;
    for (const range of wanted) last = Math.max(last, range);
    const tableClusters = Math.ceil((Math.max(leastEntries, last + 1) * 8) / cluster);
    const tableAt = first + wanted.size;
    const needed = tableAt + tableClusters + payload;
    if (needed <= end) return { first, ranges: [...wanted].sort((one, other) => one - other), tableAt, tableClusters, payloadAt: tableAt + tableClusters, end: needed };
    end = needed;
  }
}

/** The block of counts for the range with this index in `area.ranges`, with one reference for each cluster of the area. */
export function areaBlock({ perBlock, cluster, refcountOrder }: Geometry, area: Area, range: number): DataView {
  const block = new DataView(new ArrayBuffer(cluster));
  const from = Math.max(area.first, range * perBlock);
  const to = Math.min(area.end, (range + 1) * perBlock);
  for (let index = from; index < to; index++) setRefcount(block, index - range * perBlock, refcountOrder, 1);
  return block;
}

/** Enters the area's blocks in the table. */
export function enterBlocks({ cluster }: Geometry, area: Area, table: DataView): void {
  area.ranges.forEach((range, index) => table.setBigUint64(range * 8, BigInt((area.first + index) * cluster)));
}

/** What has to be written for the area, payload excepted. */
export function areaWrites({ cluster }: Geometry, area: Area, blocks: readonly DataView[], table: Uint8Array): TableWrite[] {
  return [
    ...blocks.map((block, index) => ({ offset: (area.first + index) * cluster, data: new Uint8Array(block.buffer, block.byteOffset, block.byteLength) })),
    { offset: area.tableAt * cluster, data: table },
  ];
}
