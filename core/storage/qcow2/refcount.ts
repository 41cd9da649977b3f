import { TerrariumError } from "../../contract/errors";
import { compressedFlag, compressedRange, entryOffset, refcountAt, refcountPosition, setRefcount } from "./entries";
import { limits } from "./format";
import { TableCache, type Foundation } from "./foundation";
import { areaBlock, areaWrites, enterBlocks, planArea } from "./refcountArea";
import { Table } from "./table";
import type { Batch } from "./writeback";

/** Clusters in a row. */
export interface HostRun {
  /** In the file, bytes. */
  readonly offset: number;
  clusters: number;
  /** Nothing was ever written there: they read as zeroes. */
  readonly fresh: boolean;
}

interface Freed {
  readonly first: number;
  count: number;
}

/**
 * The reference counts of an image, and the search for free clusters.
 *
 * Theory of operation. In the file a count may be higher than the references there are (a leak), never lower. So a
 * cluster is counted in memory when it is taken, and its count is written before anything that leads to it (writeback.ts).
 * What is let go of is only remembered (`free`); when the tables that no longer lead to it are durable (`committed`), and
 * every operation that may still use it has ended, it is counted down and can be taken again. All of this happens under
 * the image's lock of its tables, except `free`, `collect` and `committed`, which change memory at one stroke.
 */
export class Refcounts {
  private readonly blocks: TableCache;
  /** No cluster before this one is free, except in what is still to be settled. */
  private cursor = 0;
  /** Clusters from here on were never written. */
  private freshFrom: number;
  /** Ranges without a free cluster. */
  private readonly full = new Set<number>();
  private freed: Freed[] = [];
  private settling: { readonly generation: number; readonly freed: readonly Freed[] }[] = [];

  /** @param commit makes every table in memory durable */
  constructor(
    private readonly image: Foundation,
    private table: Table,
    private readonly commit: () => Promise<void>,
  ) {
    this.blocks = new TableCache(image.tablesInMemory);
    this.freshFrom = Math.ceil(image.file.length / image.geometry.cluster);
  }

  /** Runs that have been let go of and are not counted down yet. */
  get freedRuns(): number {
    return this.freed.length;
  }

  get hasUnsettled(): boolean {
    return this.freed.length > 0 || this.settling.length > 0;
  }

  get isDirty(): boolean {
    return this.table.isDirty || this.blocks.hasDirty;
  }

  /** Takes clusters, in as few runs as can be found, each with one reference. */
  async allocate(count: number): Promise<HostRun[]> {
    await this.settle();
    const { perBlock, cluster } = this.image.geometry;
    const runs: HostRun[] = [];
    let missing = count;
    try {
      while (missing > 0) {
        const range = Math.floor(this.cursor / perBlock);
        const block = this.full.has(range) ? undefined : ((await this.block(range)) ?? (await this.addBlock(range)));
        const cluster_ = block ? this.firstFree(block, range) : undefined;
        if (!block || cluster_ === undefined) {
          this.full.add(range);
          this.cursor = (range + 1) * perBlock;
          continue;
        }
        const offset = cluster_ * cluster;
        if (this.image.tables.touches(offset, cluster, cluster)) throw await this.image.damage(`one of its tables, at byte ${offset}, is counted as free`);
        this.count(block, cluster_, 1);
        const fresh = cluster_ >= this.freshFrom;
        if (fresh) this.freshFrom = cluster_ + 1;
        this.cursor = cluster_ + 1;
        const last = runs.at(-1);
        if (last && last.fresh === fresh && last.offset + last.clusters * cluster === offset) last.clusters++;
        else runs.push({ offset, clusters: 1, fresh });
        missing--;
      }
    } catch (failure) {
      this.abandon(runs);
      throw failure;
    }
    return runs;
  }

  /** Takes clusters in one run. */
  async allocateRun(count: number): Promise<number> {
    await this.settle();
    const { perBlock, cluster, refcountOrder } = this.image.geometry;
    let found = 0;
    for (let range = 0; range < this.ranges; range++) {
      const block = await this.block(range);
      if (!block) found = 0;
      for (let index = 0; block && index < perBlock; index++) {
        found = refcountAt(block.view, index, refcountOrder) === 0 ? found + 1 : 0;
        if (found < count) continue;
        const first = range * perBlock + index + 1 - count;
        if (this.image.tables.touches(first * cluster, count * cluster, cluster)) throw await this.image.damage(`one of its tables, behind byte ${first * cluster}, is counted as free`);
        for (let each = first; each < first + count; each++) this.count((await this.block(Math.floor(each / perBlock)))!, each, 1);
        this.freshFrom = Math.max(this.freshFrom, first + count);
        return first * cluster;
      }
    }
    return this.moveTable(count);
  }

  /** Gives back what was taken and nothing ever led to. */
  abandon(runs: readonly HostRun[]): void {
    const { cluster } = this.image.geometry;
    if (runs.length > 0) this.settling.push({ generation: -1, freed: runs.map(({ offset, clusters }) => ({ first: offset / cluster, count: clusters })) });
  }

  /** Lets go of one reference to each cluster that [offset, offset + bytes) touches: no table in memory has it any more. */
  free(offset: number, bytes: number): void {
    const { cluster } = this.image.geometry;
    const first = Math.floor(offset / cluster);
    const count = Math.ceil((offset + bytes) / cluster) - first;
    const last = this.freed.at(-1);
    if (last && last.first + last.count === first) last.count += count;
    else this.freed.push({ first, count });
  }

  /** The same for all that an L2 entry led to. */
  freeEntry(high: number, low: number, clusterBits: number): void {
    if ((high & compressedFlag) !== 0) {
      const { offset, length } = compressedRange(high, low, clusterBits);
      this.free(offset, length);
    } else if (entryOffset(high, low) !== 0) this.free(entryOffset(high, low), 2 ** clusterBits);
  }

  /** Puts what has to be written into the batch. Counts that went down are written with it: their references are gone from the file. */
  collect(batch: Batch): void {
    for (const block of this.blocks.values()) {
      if (!block.isDirty) continue;
      const isNew = !block.linked;
      batch.add(block.take(batch.first));
      if (isNew) batch.linkedSecond.push(block);
    }
    if (this.table.isDirty) batch.add(this.table.take(batch.second));
    const freed = this.freed;
    this.freed = [];
    if (freed.length === 0) return;
    const generation = this.image.generations.next();
    batch.add({ done: () => void this.settling.push({ generation, freed }), restore: () => void this.freed.unshift(...freed) });
  }

  /** Counts down what nothing in the file leads to any more. */
  async settle(): Promise<void> {
    if (this.settling.length === 0) return;
    const ready = this.settling.filter(({ generation }) => this.image.generations.hasEnded(generation));
    this.settling = this.settling.filter((each) => !ready.includes(each));
    for (const { freed } of ready) {
      for (const { first, count } of freed) for (let cluster = first; cluster < first + count; cluster++) await this.release(cluster);
    }
  }

  private async release(cluster: number): Promise<void> {
    const { perBlock, refcountOrder } = this.image.geometry;
    const range = Math.floor(cluster / perBlock);
    const block = await this.block(range);
    const before = block ? refcountAt(block.view, cluster % perBlock, refcountOrder) : 0;
    if (!block || before === 0) throw await this.image.damage(`the cluster at byte ${cluster * this.image.geometry.cluster} was in use and is counted as free`);
    this.count(block, cluster, before - 1);
    this.image.tables.delete(cluster * this.image.geometry.cluster);
    if (before > 1) return;
    this.full.delete(range);
    this.cursor = Math.min(this.cursor, cluster);
  }

  private get ranges(): number {
    return this.table.bytes.length / 8;
  }

  private count(block: Table, cluster: number, value: number): void {
    const { perBlock, refcountOrder } = this.image.geometry;
    setRefcount(block.view, cluster % perBlock, refcountOrder, value);
    block.touch(refcountPosition(cluster % perBlock, refcountOrder));
  }

  private firstFree(block: Table, range: number): number | undefined {
    const { perBlock, refcountOrder } = this.image.geometry;
    for (let index = this.cursor - range * perBlock; index < perBlock; index++) if (refcountAt(block.view, index, refcountOrder) === 0) return range * perBlock + index;
    return undefined;
  }

  /** The counts of a range; undefined when none are there, so that all are 0. */
  private async block(range: number): Promise<Table | undefined> {
    const known = this.blocks.get(range);
    if (known) return known;
    if (range >= this.ranges) return undefined;
    const offset = Number(this.table.view.getBigUint64(range * 8));
    if (offset === 0) return undefined;
    this.image.requireInside(offset, "a block of its reference counts");
    const block = new Table(offset, new Uint8Array(this.image.geometry.cluster), true);
    await this.image.file.read(offset, block.bytes);
    // Room is made first, so that what is asked for stays.
    if (!this.blocks.shrink()) await this.commit();
    this.blocks.set(range, block);
    return block;
  }

  /** Begins a range that has no block yet: its first cluster becomes the block, so that it counts itself. */
  private async addBlock(range: number): Promise<Table | undefined> {
    if (range >= this.ranges) {
      await this.moveTable(0);
      return this.block(range);
    }
    const { perBlock, cluster } = this.image.geometry;
    const offset = range * perBlock * cluster;
    if (this.image.tables.touches(offset, cluster, cluster)) throw await this.image.damage(`one of its tables, at byte ${offset}, is counted as free`);
    const block = new Table(offset, new Uint8Array(cluster), false);
    this.count(block, range * perBlock, 1);
    this.freshFrom = Math.max(this.freshFrom, range * perBlock + 1);
    this.blocks.set(range, block);
    this.table.view.setBigUint64(range * 8, BigInt(offset));
    this.table.touch(range * 8);
    this.image.tables.add(offset);
    return block;
  }

  /**
   * Writes the table anew and larger, behind everything that is counted, with room for `payload` clusters in a row.
   * @returns where the room is, bytes
   */
  private async moveTable(payload: number): Promise<number> {
    // Every block has to be in the file that the new table leads to. New ones come only under the lock we hold.
    await this.commit();
    const { image } = this;
    const { cluster, perBlock } = image.geometry;
    let last = this.ranges;
    while (last > 0 && this.table.view.getBigUint64((last - 1) * 8) === 0n) last--;
    const area = planArea(image.geometry, last * perBlock, [], Math.max(this.ranges, Math.ceil((last + 1) * 1.5)), payload);
    if (area.tableClusters * cluster > limits.refcountTableBytes) throw new TerrariumError("insufficient-resources", `The image ${image.name} cannot grow: its table of reference counts would be larger than any program takes.`, "Copy it into an image with larger clusters.");
    if (image.tables.touches(area.first * cluster, (area.end - area.first) * cluster, cluster)) throw await image.damage(`one of its tables, behind byte ${area.first * cluster}, is counted as free`);
    const table = new Table(area.tableAt * cluster, new Uint8Array(area.tableClusters * cluster), true);
    table.bytes.set(this.table.bytes);
    enterBlocks(image.geometry, area, table.view);
    const blocks = area.ranges.map((range) => areaBlock(image.geometry, area, range));
    for (const { offset, data } of areaWrites(image.geometry, area, blocks, table.bytes)) await image.file.write(offset, data);
    const old = this.table;
    await image.updateHeader({ refcountTableOffset: table.offset, refcountTableClusters: area.tableClusters });

    this.table = table;
    image.tables.deleteArea(old.offset);
    image.tables.addArea(table.offset, table.bytes.length);
    area.ranges.forEach((range, index) => {
      const offset = (area.first + index) * cluster;
      image.tables.add(offset);
      this.blocks.set(range, new Table(offset, new Uint8Array(blocks[index]!.buffer), true));
    });
    this.freshFrom = Math.max(this.freshFrom, area.end);
    this.abandon([{ offset: old.offset, clusters: old.bytes.length / cluster, fresh: false }]);
    return area.payloadAt * cluster;
  }
}
