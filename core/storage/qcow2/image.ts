import { TerrariumError } from "../../contract/errors";
import type { BlockDevice } from "../blockDevice";
import { writeBackingName, type BackingName } from "./backingName";
import { compressedRange } from "./entries";
import { Decompressed, decompress } from "./compression";
import type { Foundation } from "./foundation";
import type { Header } from "./format";
import { Mapping, type Mapped } from "./mapping";
import type { HostRun, Refcounts } from "./refcount";
import { Mutex, RangeLocks } from "./serial";
import type { Table } from "./table";
import { Writeback } from "./writeback";

/** So many runs of clusters may be let go of before they are made free. */
const mostFreedRuns = 4096;
/** Bytes of zeroes written at once. */
const zeroBytes = 256 * 1024;
/** Bytes of decompressed clusters kept. */
const decompressedBytes = 1024 * 1024;

/**
 * An open qcow2 image as a disk (qcow2 spec, version 2 and 3).
 *
 * Theory of operation. Clusters that are this image's alone are written in place. Everything else (what is below,
 * compressed, zero, or shared with a snapshot) is written to a new cluster, and when the data is there the L2 entry in
 * memory is set at one stroke; tables reach the file at a flush (`Writeback`, whose order is what makes power cuts
 * harmless). Operations run side by side: writers of the same clusters wait for each other (`RangeLocks`, for a write of
 * half a cluster reads the rest of it), clusters are allocated and tables copied under one lock, and a cluster that was
 * let go of is used again only when everybody who may still read it has finished (`Generations`).
 */
export class Qcow2Image implements BlockDevice {
  private readonly tablesLock = new Mutex();
  private readonly ranges = new RangeLocks();
  private readonly decompressed: Decompressed;
  private readonly mapping: Mapping;
  private readonly refcounts: Refcounts | undefined;
  private readonly writeback: Writeback;

  constructor(
    private readonly image: Foundation,
    l1: Table,
    makeRefcounts: ((commit: () => Promise<void>) => Refcounts) | undefined,
    private below: BlockDevice | null,
  ) {
    const commit = (): Promise<void> => this.writeback.commit();
    this.refcounts = makeRefcounts?.(commit);
    this.mapping = new Mapping(image, l1, this.refcounts, commit);
    this.decompressed = new Decompressed(Math.max(1, decompressedBytes / image.geometry.cluster));
    this.writeback = new Writeback(image.file, (batch) => {
      this.mapping.collect(batch);
      this.refcounts?.collect(batch);
    });
  }

  get header(): Header {
    return this.image.header;
  }

  /** Sectors that are not whole do not count, as QEMU has it. */
  get size(): number {
    return Math.floor(this.image.header.size / 512) * 512;
  }

  get readOnly(): boolean {
    return this.image.file.readOnly;
  }

  /** The disk that shows where this image has nothing. Somebody else opens and closes it. */
  get backing(): BlockDevice | null {
    return this.below;
  }

  /** Puts another disk below. Its content has to be the same wherever this image has nothing, or nothing was read yet. */
  rebase(backing: BlockDevice | null): void {
    this.below = backing;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.requireRange(offset, target.length);
    const generation = this.image.generations.begin();
    try {
      for (let done = 0; done < target.length; ) {
        const mapped = await this.look(offset + done, target.length - done);
        await this.fill(mapped, offset + done, target.subarray(done, done + mapped.length));
        done += mapped.length;
      }
    } finally {
      generation.running--;
    }
  }

  write(offset: number, data: Uint8Array): Promise<void> {
    return this.change(offset, data.length, async () => {
      for (let done = 0; done < data.length; ) {
        const mapped = await this.look(offset + done, data.length - done);
        done += await this.put(mapped, offset + done, data.subarray(done, done + mapped.length));
      }
    });
  }

  /** Whole clusters become free; of others the part is written as zeroes. */
  discard(offset: number, length: number): Promise<void> {
    const { cluster } = this.image.geometry;
    return this.change(offset, length, async () => {
      for (let done = 0; done < length; ) {
        const at = offset + done;
        const mapped = await this.look(at, length - done);
        const whole = at % cluster === 0 && (mapped.length >= cluster || at + mapped.length === this.image.header.size);
        // Up to where whole clusters begin, or end.
        const part = whole ? Math.max(mapped.length - (mapped.length % cluster), Math.min(mapped.length, cluster)) : Math.min(mapped.length, cluster - (at % cluster));
        await this.zero(mapped, at, part, whole);
        done += part;
      }
    });
  }

  /** What a stretch of the disk is in this image alone: `absent` shows what is below. For whoever copies images. */
  async extent(offset: number, length: number): Promise<{ readonly kind: "data" | "zero" | "absent"; readonly length: number }> {
    this.requireRange(offset, length);
    const mapped = await this.look(offset, length);
    return { kind: mapped.kind === "compressed" ? "data" : mapped.kind, length: mapped.length };
  }

  /** Changes the name of the disk below that the image carries for other programs; see `writeBackingName`. */
  async nameBacking(backing: BackingName | undefined): Promise<void> {
    this.requireWritable();
    await this.tablesLock.run(async () => {
      const head = new Uint8Array(Math.min(this.image.geometry.cluster, this.image.file.length));
      await this.image.file.read(0, head);
      await writeBackingName(this.image, head, backing);
    });
  }

  async flush(): Promise<void> {
    this.requireSound();
    if (this.readOnly) return;
    await this.writeback.commit();
  }

  /** Makes everything durable, gives back what was let go of, and closes the file, also when that fails. */
  async close(): Promise<void> {
    try {
      if (this.refcounts && !this.image.broken) await this.settle(this.refcounts);
    } finally {
      await this.image.file.close();
    }
  }

  private async settle(refcounts: Refcounts): Promise<void> {
    await this.writeback.commit();
    if (!refcounts.hasUnsettled) return;
    await this.tablesLock.run(() => refcounts.settle());
    await this.writeback.commit();
  }

  /** Runs a change of a range, alone among those that touch its clusters. */
  private async change(offset: number, length: number, work: () => Promise<void>): Promise<void> {
    this.requireRange(offset, length);
    this.requireWritable();
    if (length === 0) return;
    const { cluster } = this.image.geometry;
    const [from, to] = [Math.floor(offset / cluster), Math.ceil((offset + length) / cluster)];
    const release = this.ranges.tryAcquire(from, to) ?? (await this.ranges.acquire(from, to));
    const generation = this.image.generations.begin();
    try {
      await work();
    } finally {
      generation.running--;
      release();
    }
    if ((this.refcounts?.freedRuns ?? 0) > mostFreedRuns) await this.writeback.commit();
  }

  private look(offset: number, length: number): Mapped | Promise<Mapped> {
    const table = this.mapping.table(Math.floor(offset / this.image.geometry.l2Span));
    if (table instanceof Promise) return table.then((loaded) => this.mapping.look(loaded, offset, length));
    return this.mapping.look(table, offset, length);
  }

  private async fill(mapped: Mapped, offset: number, target: Uint8Array): Promise<void> {
    switch (mapped.kind) {
      case "data":
        return this.image.file.read(mapped.host, target);
      case "zero":
        return void target.fill(0);
      case "absent":
        return this.fillFromBelow(offset, target);
      case "compressed": {
        const plain = await this.decompressed.get(`${mapped.high} ${mapped.low}`, () => this.unpack(mapped.high, mapped.low, offset));
        return target.set(plain.subarray(mapped.within, mapped.within + target.length));
      }
    }
  }

  /** What is below may be smaller than this disk; behind its end are zeroes. */
  private async fillFromBelow(offset: number, target: Uint8Array): Promise<void> {
    const { below } = this;
    const there = Math.min(target.length, Math.max(0, (below?.size ?? 0) - offset));
    target.fill(0, there);
    if (below && there > 0) await below.read(offset, target.subarray(0, there));
  }

  private async unpack(high: number, low: number, offset: number): Promise<Uint8Array> {
    const { image } = this;
    const { offset: host, length } = compressedRange(high, low, image.geometry.clusterBits);
    if (host >= image.file.length) throw image.unusable(`it is cut off: byte ${offset} of the disk is at byte ${host}, and the file has ${image.file.length}`);
    const packed = new Uint8Array(length);
    await image.file.read(host, packed);
    try {
      return await decompress(image.header.compression, packed, image.geometry.cluster);
    } catch (failure) {
      throw image.unusable(`what is compressed for byte ${offset} of the disk cannot be read (${failure instanceof Error ? failure.message : String(failure)})`);
    }
  }

  /** Writes data of one kind of place. Returns how much of it was written. */
  private async put(mapped: Mapped, offset: number, data: Uint8Array): Promise<number> {
    if (mapped.kind === "data" && mapped.inPlace) {
      await this.writeInPlace(mapped.host, data);
      return data.length;
    }
    const { cluster } = this.image.geometry;
    const first = offset - (offset % cluster);
    const refcounts = this.requireRefcounts();
    const runs = await this.tablesLock.run(() => refcounts.allocate(Math.ceil((offset + data.length - first) / cluster)));
    let at = first;
    while (runs[0]) {
      const end = at + runs[0].clusters * cluster;
      try {
        await this.writeNew(mapped, runs[0], at, offset, data);
        await this.lead(at, runs[0]);
      } catch (failure) {
        refcounts.abandon(runs);
        throw failure;
      }
      runs.shift();
      at = end;
    }
    return data.length;
  }

  private async writeInPlace(host: number, data: Uint8Array): Promise<void> {
    const { image } = this;
    const { cluster } = image.geometry;
    const from = host - (host % cluster);
    if (image.tables.touches(from, host + data.length - from, cluster)) throw await image.damage(`its data at byte ${host} is where one of its tables is`);
    await image.file.write(host, data);
  }

  /** Fills clusters that nothing leads to yet: with the data, and around it with what was there, up to whole clusters. */
  private async writeNew(mapped: Mapped, run: HostRun, at: number, offset: number, data: Uint8Array): Promise<void> {
    const { file, geometry } = this.image;
    const bytes = run.clusters * geometry.cluster;
    const from = Math.max(at, offset);
    const to = Math.min(at + bytes, offset + data.length);
    const own = data.subarray(from - offset, to - offset);
    const isBlank = run.fresh && (mapped.kind === "zero" || (mapped.kind === "absent" && this.below === null));
    if (own.length === bytes || isBlank) return file.write(run.offset + from - at, own);
    const whole = new Uint8Array(bytes);
    await this.fillOld(at, whole.subarray(0, from - at));
    whole.set(own, from - at);
    await this.fillOld(to, whole.subarray(to - at));
    await file.write(run.offset, whole);
  }

  /** Content of the disk as it is; what lies behind its end is zero. */
  private async fillOld(offset: number, target: Uint8Array): Promise<void> {
    const inside = target.subarray(0, Math.max(0, this.image.header.size - offset));
    for (let done = 0; done < inside.length; ) {
      const mapped = await this.look(offset + done, inside.length - done);
      await this.fill(mapped, offset + done, inside.subarray(done, done + mapped.length));
      done += mapped.length;
    }
  }

  /** Lets the disk's clusters from `at` on lead to those of the run, whose data is written. */
  private async lead(at: number, run: HostRun): Promise<void> {
    const { cluster } = this.image.geometry;
    await this.changeTable(at, (table) => {
      for (let index = 0; index < run.clusters; index++) this.mapping.set(table, at + index * cluster, run.offset + index * cluster);
    });
  }

  /** Changes the table of the cluster at `at`, at one stroke: once anything was waited for, the cache may hold another. */
  private async changeTable(at: number, change: (table: Table) => void): Promise<void> {
    const number = Math.floor(at / this.image.geometry.l2Span);
    for (;;) {
      const table = this.mapping.writableNow(number);
      if (table) return change(table);
      await this.tablesLock.run(() => this.mapping.makeWritable(number));
    }
  }

  private async zero(mapped: Mapped, offset: number, length: number, whole: boolean): Promise<void> {
    const hasBelow = this.below !== null || this.image.header.backing !== undefined;
    if (mapped.kind === "zero" || (mapped.kind === "absent" && !hasBelow)) return;
    if (whole && (!hasBelow || this.image.header.version >= 3)) {
      return this.changeTable(offset, (table) => {
        for (let at = offset; at < offset + length; at += this.image.geometry.cluster) this.mapping.clear(table, at, hasBelow ? "zero" : "absent");
      });
    }
    const zeroes = new Uint8Array(Math.min(length, zeroBytes));
    for (let done = 0; done < length; ) {
      const now = await this.look(offset + done, Math.min(zeroes.length, length - done));
      done += await this.put(now, offset + done, zeroes.subarray(0, now.length));
    }
  }

  private requireRange(offset: number, length: number): void {
    if (!(offset >= 0 && offset + length <= this.image.header.size)) throw new RangeError(`${length} bytes at ${offset} are not on a disk of ${this.image.header.size}`);
  }

  private requireWritable(): void {
    if (this.readOnly) throw new TerrariumError("read-only", `The image ${this.image.name} is open for reading only.`);
    this.requireSound();
  }

  private requireSound(): void {
    if (this.image.broken) throw this.image.broken;
  }

  private requireRefcounts(): Refcounts {
    if (!this.refcounts) throw new Error("an image that is only read has no counts");
    return this.refcounts;
  }
}
