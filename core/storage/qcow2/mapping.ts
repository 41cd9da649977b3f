import { compressedFlag, copiedFlag, entryOffset, setEntry, zeroFlag } from "./entries";
import { TableCache, type Foundation } from "./foundation";
import type { Refcounts } from "./refcount";
import { Table } from "./table";
import type { Batch } from "./writeback";

/**
 * What a stretch of the disk is in this image. `absent`: not here, but below; `data` and `compressed` say where.
 * `inPlace`: nobody else has these clusters, so they may be written over.
 */
export type Mapped =
  | { readonly kind: "absent" | "zero"; readonly length: number }
  | { readonly kind: "data"; readonly length: number; readonly host: number; readonly inPlace: boolean }
  | { readonly kind: "compressed"; readonly length: number; readonly high: number; readonly low: number; readonly within: number };

/** Where the disk's clusters are: the L1 table, and of the L2 tables those in use. Numbers of tables are indices in the L1 table. */
export class Mapping {
  private readonly cache: TableCache;
  private readonly loading = new Map<number, Promise<Table>>();

  constructor(
    private readonly image: Foundation,
    private readonly l1: Table,
    private readonly refcounts: Refcounts | undefined,
    private readonly commit: () => Promise<void>,
  ) {
    this.cache = new TableCache(image.tablesInMemory);
  }

  /** The table with this number if it is in memory, `undefined` when there is none, or a promise of it. */
  table(number: number): Table | undefined | Promise<Table> {
    const known = this.cache.get(number);
    if (known) return known;
    const offset = this.l1Offset(number);
    if (offset === 0) return undefined;
    const loading = this.loading.get(number);
    if (loading) return loading;
    const load = this.load(number, offset).finally(() => this.loading.delete(number));
    this.loading.set(number, load);
    return load;
  }

  /** The table if it is in memory and may be written in place. */
  writableNow(number: number): Table | undefined {
    const table = this.cache.get(number);
    return table && this.isOwn(number) ? table : undefined;
  }

  /** Makes the table with this number ready to be written: there, and nobody else's. Call it under the lock of the tables. */
  async makeWritable(number: number): Promise<void> {
    const old = await this.table(number);
    if (old && this.isOwn(number)) return;
    const { cluster } = this.image.geometry;
    const [run] = await this.refcountsOf().allocate(1);
    const table = new Table(run!.offset, old ? old.bytes.slice() : new Uint8Array(cluster), false);
    if (old) this.refcountsOf().free(old.offset, cluster);
    this.image.tables.add(table.offset);
    this.cache.set(number, table);
    setEntry(this.l1.view, number * 8, table.offset, copiedFlag);
    this.l1.touch(number * 8);
    if (!this.cache.shrink()) await this.commit();
  }

  /**
   * What is at `offset` of the disk, and for how long the same goes on: at most `length`, and within one table.
   * @throws TerrariumError when the entry makes no sense
   */
  look(table: Table | undefined, offset: number, length: number): Mapped {
    const { cluster, l2Entries, l2Span, clusterBits } = this.image.geometry;
    const within = offset % cluster;
    const most = Math.min(length, l2Span - (offset % l2Span));
    if (!table) return { kind: "absent", length: most };
    const { view } = table;
    const first = Math.floor(offset / cluster) % l2Entries;
    const clusters = Math.ceil((within + most) / 2 ** clusterBits);
    const high = view.getUint32(first * 8);
    const low = view.getUint32(first * 8 + 4);
    if ((high & compressedFlag) !== 0) return { kind: "compressed", length: Math.min(most, cluster - within), high, low, within };
    const host = entryOffset(high, low);
    const isZero = (low & zeroFlag) !== 0;
    if (isZero && this.image.header.version === 2) throw this.image.unusable(`byte ${offset} of the disk has a mark that images of version 2 do not have`);
    let count = 1;
    for (; count < clusters; count++) {
      const at = (first + count) * 8;
      const [nextHigh, nextLow] = [view.getUint32(at), view.getUint32(at + 4)];
      if ((nextHigh & compressedFlag) !== 0 || ((nextLow & zeroFlag) !== 0) !== isZero) break;
      if (isZero) continue;
      const next = entryOffset(nextHigh, nextLow);
      if (host === 0 ? next !== 0 : next !== host + count * cluster || (nextHigh & copiedFlag) !== (high & copiedFlag)) break;
    }
    const known = Math.min(most, count * cluster - within);
    if (!isZero && host !== 0) this.image.requireInside(host + (count - 1) * cluster, `byte ${offset + known - 1} of the disk`);
    if (isZero) return { kind: "zero", length: known };
    if (host === 0) return { kind: "absent", length: known };
    return { kind: "data", length: known, host: host + within, inPlace: (high & copiedFlag) !== 0 && this.isOwn(Math.floor(offset / l2Span)) };
  }

  /** Lets the disk's cluster at `offset` lead to `host`. The table has to be writable. What was there is let go of. */
  set(table: Table, offset: number, host: number): void {
    this.replace(table, offset, host, copiedFlag, 0);
  }

  /** Lets the disk's cluster at `offset` read as zeroes, or as what is below. */
  clear(table: Table, offset: number, to: "zero" | "absent"): void {
    this.replace(table, offset, 0, 0, to === "zero" ? zeroFlag : 0);
  }

  /** Puts what has to be written into the batch. */
  collect(batch: Batch): void {
    for (const table of this.cache.values()) {
      if (!table.isDirty) continue;
      batch.needsData = true;
      if (table.linked) batch.add(table.take(batch.third));
      else {
        batch.add(table.take(batch.first));
        batch.linkedThird.push(table);
      }
    }
    if (this.l1.isDirty) batch.add(this.l1.take(batch.third));
  }

  private replace(table: Table, offset: number, host: number, highFlags: number, lowFlags: number): void {
    const { cluster, l2Entries, clusterBits } = this.image.geometry;
    const at = (Math.floor(offset / cluster) % l2Entries) * 8;
    const [high, low] = [table.view.getUint32(at), table.view.getUint32(at + 4)];
    setEntry(table.view, at, host, highFlags, lowFlags);
    table.touch(at);
    this.refcountsOf().freeEntry(high, low, clusterBits);
  }

  private async load(number: number, offset: number): Promise<Table> {
    this.image.requireInside(offset, "one of its tables");
    const bytes = new Uint8Array(this.image.geometry.cluster);
    await this.image.file.read(offset, bytes);
    // Room is made first, so that what is asked for stays.
    if (!this.cache.shrink()) await this.commit();
    const known = this.cache.get(number);
    if (known) return known;
    const table = new Table(offset, bytes, true);
    this.cache.set(number, table);
    return table;
  }

  private l1Offset(number: number): number {
    const at = number * 8;
    return at + 8 > this.l1.bytes.length ? 0 : entryOffset(this.l1.view.getUint32(at), this.l1.view.getUint32(at + 4));
  }

  /** Whether the table belongs to the disk as it is now alone, and not to a snapshot as well. */
  private isOwn(number: number): boolean {
    return (this.l1.view.getUint32(number * 8) & copiedFlag) !== 0;
  }

  private refcountsOf(): Refcounts {
    if (!this.refcounts) throw new Error("an image that is only read is never changed");
    return this.refcounts;
  }
}
