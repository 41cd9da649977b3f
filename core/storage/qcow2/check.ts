import type { ImageFile } from "../blockDevice";
import { compressedFlag, copiedFlag, entryOffset, refcountAt } from "./entries";
import type { Foundation } from "./foundation";
import { readFoundation, readTable } from "./open";
import { Findings, References } from "./references";
import type { Table } from "./table";

export interface CheckReport {
  /** Counts that are too low, entries that make no sense: data may be lost when the image is written. */
  readonly corruptions: number;
  /** Clusters that are counted as used and that nothing leads to: they cost space alone. */
  readonly leaks: number;
  /** The first of the corruptions, as sentences without an end. */
  readonly messages: readonly string[];
}

export interface CheckOptions {
  /** For messages: the image's path. */
  readonly name: string;
  readonly signal?: AbortSignal;
}

/**
 * Checks an image that nobody writes, as `qemu-img check` does. The file stays open.
 * @throws TerrariumError when the image cannot be opened at all
 */
export async function checkQcow2(file: ImageFile, { name, signal }: CheckOptions): Promise<CheckReport> {
  return (await examine(file, name, signal)).findings;
}

/** What a check found out, for a repair. */
export interface Examination {
  readonly image: Foundation;
  readonly findings: Findings;
  readonly references: References;
  readonly blocks: CountBlocks;
  /** What the count of a cluster has to be. */
  total(cluster: number): number;
  /** The counts as they are in the file are wrong, not only too high, or their own tables are. */
  readonly countsAreWrong: boolean;
}

export async function examine(file: ImageFile, name: string, signal: AbortSignal | undefined): Promise<Examination> {
  const image = await readFoundation(file, name);
  const findings = new Findings();
  const references = new References(image, findings, signal);
  await references.collect();
  const { header, geometry } = image;
  const table = await readTable(image, header.refcountTableOffset, header.refcountTableClusters * geometry.cluster, "its table of reference counts");
  const blocks = new CountBlocks(image, table);
  const before = findings.corruptions;
  const own = blocks.examine(findings);
  const total = (cluster: number): number => references.counts.get(cluster) + (own.get(cluster) ?? 0);
  await compare(image, references, blocks, total, findings, signal);
  const countsAreWrong = findings.corruptions > before;
  await checkCopied(image, references, blocks, findings, signal);
  return { image, findings, references, blocks, total, countsAreWrong };
}

/** The counts as they are in the file. */
export class CountBlocks {
  private readonly recent = new Map<number, DataView>();

  constructor(
    private readonly image: Foundation,
    readonly table: Table,
  ) {}

  /** Where the block of a range is, bytes; undefined when there is none, or none that could be read. */
  offset(range: number): number | undefined {
    if (range * 8 >= this.table.bytes.length) return undefined;
    const [high, low] = [this.table.view.getUint32(range * 8), this.table.view.getUint32(range * 8 + 4)];
    const offset = high * 2 ** 32 + low;
    return offset === 0 || offset % this.image.geometry.cluster !== 0 || offset >= this.image.file.length ? undefined : offset;
  }

  /** Looks at the table itself. Returns how often the clusters of the table and the blocks are referred to by it. */
  examine(findings: Findings): Map<number, number> {
    const { cluster } = this.image.geometry;
    const own = new Map<number, number>();
    const add = (number: number): number => {
      const count = (own.get(number) ?? 0) + 1;
      own.set(number, count);
      return count;
    };
    for (let at = 0; at < this.table.bytes.length; at += cluster) add((this.table.offset + at) / cluster);
    for (let range = 0; range * 8 < this.table.bytes.length; range++) {
      if (this.table.view.getBigUint64(range * 8) === 0n) continue;
      const offset = this.offset(range);
      if (offset === undefined) findings.corrupt(`block ${range} of the reference counts is where none can be`);
      else if (add(offset / cluster) > 1) findings.corrupt(`block ${range} of the reference counts is where another table is`);
    }
    return own;
  }

  /** The ranges that have a block. */
  *ranges(): Iterable<number> {
    for (let range = 0; range * 8 < this.table.bytes.length; range++) if (this.offset(range) !== undefined) yield range;
  }

  /** The block of a range; undefined when there is none. */
  async block(range: number): Promise<DataView | undefined> {
    const known = this.recent.get(range);
    if (known) return known;
    const offset = this.offset(range);
    if (offset === undefined) return undefined;
    const bytes = new Uint8Array(this.image.geometry.cluster);
    await this.image.file.read(offset, bytes);
    const block = new DataView(bytes.buffer);
    for (const oldest of this.recent.keys()) {
      if (this.recent.size < 8) break;
      this.recent.delete(oldest);
    }
    this.recent.set(range, block);
    return block;
  }

  async count(cluster: number): Promise<number> {
    const { perBlock, refcountOrder } = this.image.geometry;
    const block = await this.block(Math.floor(cluster / perBlock));
    return block ? refcountAt(block, cluster % perBlock, refcountOrder) : 0;
  }
}

/** Compares the counts in the file with the references there are. What is counted behind the end of the file is no concern. */
async function compare(image: Foundation, references: References, blocks: CountBlocks, total: (cluster: number) => number, findings: Findings, signal: AbortSignal | undefined): Promise<void> {
  const { perBlock, refcountOrder, cluster } = image.geometry;
  const end = Math.max(Math.ceil(image.file.length / cluster), references.counts.end);
  for (const range of new Set([...blocks.ranges(), ...references.counts.ranges(perBlock)])) {
    signal?.throwIfAborted();
    const block = await blocks.block(range);
    for (let number = range * perBlock; number < Math.min(end, (range + 1) * perBlock); number++) {
      const counted = block ? refcountAt(block, number % perBlock, refcountOrder) : 0;
      const wanted = total(number);
      if (counted === wanted) continue;
      if (counted > wanted) findings.leaks++;
      else findings.corrupt(`the cluster at byte ${number * cluster} is used ${wanted} times and counted ${counted} times`);
    }
  }
}

/** Clusters with one reference, and only those, are marked as such where the disk as it is now leads to them. */
async function checkCopied(image: Foundation, references: References, blocks: CountBlocks, findings: Findings, signal: AbortSignal | undefined): Promise<void> {
  await eachCopiedEntry(image, references, signal, async (high, _low, offset) => {
    const isOne = (await blocks.count(offset / image.geometry.cluster)) === 1;
    if (isOne !== ((high & copiedFlag) !== 0)) findings.corrupt(`the mark for a single reference to the cluster at byte ${offset} is wrong`);
    return undefined;
  });
}

/**
 * Visits the entries of the disk's own tables that carry the mark for a single reference, or should.
 * @param visit answers with another upper half of the entry, to be written, or with undefined
 */
export async function eachCopiedEntry(image: Foundation, references: References, signal: AbortSignal | undefined, visit: (high: number, low: number, offset: number) => Promise<number | undefined>): Promise<void> {
  const { header, geometry } = image;
  const tables = [{ offset: header.l1Offset, bytes: header.l1Entries * 8 }, ...references.activeL2.map((offset) => ({ offset, bytes: geometry.cluster }))];
  for (const { offset, bytes } of tables) {
    signal?.throwIfAborted();
    const table = await readTable(image, offset, Math.min(bytes, Math.max(0, image.file.length - offset)), "a table");
    for (let at = 0; at + 8 <= table.bytes.length; at += 8) {
      const [high, low] = [table.view.getUint32(at), table.view.getUint32(at + 4)];
      if ((high & compressedFlag) !== 0) continue;
      const leads = entryOffset(high, low);
      if (leads === 0 || leads % geometry.cluster !== 0) continue;
      const other = await visit(high, low, leads);
      if (other === undefined) continue;
      table.view.setUint32(at, other >>> 0);
      table.touch(at);
    }
    const writes: { offset: number; data: Uint8Array }[] = [];
    if (table.isDirty) table.take(writes);
    for (const { offset: to, data } of writes) await image.file.write(to, data);
  }
}
