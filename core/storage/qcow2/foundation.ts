import { TerrariumError } from "../../contract/errors";
import type { ImageFile } from "../blockDevice";
import { incompatibleBits, patchFeatures, patchTables, type Header } from "./format";
import { Generations } from "./serial";
import type { Table } from "./table";

/** Sizes that follow from a header; bytes unless said otherwise. */
export interface Geometry {
  readonly clusterBits: number;
  readonly cluster: number;
  /** Entries of an L2 table. */
  readonly l2Entries: number;
  /** What an L2 table maps of the disk. */
  readonly l2Span: number;
  readonly refcountOrder: number;
  /** Counts in a block of reference counts: the clusters of a range. */
  readonly perBlock: number;
}

export function geometryOf({ clusterBits, refcountOrder }: Pick<Header, "clusterBits" | "refcountOrder">): Geometry {
  const cluster = 2 ** clusterBits;
  return { clusterBits, cluster, l2Entries: cluster / 8, l2Span: (cluster * cluster) / 8, refcountOrder, perBlock: (cluster * 8) / 2 ** refcountOrder };
}

/** Small tables cost more memory than their bytes. */
const mostTables = 8192;
/** Of L2 tables so much maps 256 GiB with clusters of 64 KiB. Of each kind of table a few are kept however large they are. */
const defaultCacheBytes = 32 * 1024 * 1024;
const leastTables = 4;

/** What every part of an open image stands on: its file, its header, and where its tables are. */
export class Foundation {
  readonly geometry: Geometry;
  /** How many L2 tables, and as many blocks of counts, are kept in memory. */
  readonly tablesInMemory: number;
  readonly tables = new TablePlaces();
  readonly generations = new Generations();
  /** Why nothing is written any more. */
  broken: TerrariumError | undefined;

  constructor(
    readonly file: ImageFile,
    /** For messages. */
    readonly name: string,
    private current: Header,
    /** The first sector of the file, as it stands there. */
    private readonly firstSector: Uint8Array,
    cacheBytes = defaultCacheBytes,
  ) {
    this.geometry = geometryOf(current);
    this.tablesInMemory = Math.max(leastTables, Math.min(mostTables, Math.floor(cacheBytes / this.geometry.cluster)));
  }

  get header(): Header {
    return this.current;
  }

  /**
   * Changes the header once everything written before is durable, and is durable itself when it resolves.
   * @param patch changes what else is in its first sector
   */
  async updateHeader(change: Partial<Header>, patch: (sector: Uint8Array) => void = () => undefined): Promise<void> {
    await this.file.flush();
    const next = { ...this.current, ...change };
    const view = new DataView(this.firstSector.buffer, this.firstSector.byteOffset, this.firstSector.byteLength);
    patchTables(view, next);
    if (next.version === 3) patchFeatures(view, next);
    patch(this.firstSector);
    await this.file.write(0, this.firstSector.slice());
    await this.file.flush();
    this.current = next;
  }

  /** An error of the image itself. Once the tables contradict each other, writing on could only make it worse, so nothing is written any more. */
  async damage(because: string): Promise<TerrariumError> {
    const error = this.unusable(because);
    if (this.broken || this.file.readOnly) return error;
    this.broken = error;
    if (this.current.version === 3) await this.updateHeader({ incompatible: this.current.incompatible | incompatibleBits.corrupt });
    return error;
  }

  unusable(because: string): TerrariumError {
    return new TerrariumError("image-unusable", `The image ${this.name} is damaged: ${because}.`, "Stop the machine and have the disk checked and repaired, or go back to a snapshot or a copy.");
  }

  /** @throws TerrariumError unless a table or cluster can be at `offset` of the file. */
  requireInside(offset: number, what: string): void {
    if (offset % this.geometry.cluster !== 0) throw this.unusable(`${what} is at byte ${offset}, where no cluster begins`);
    if (offset >= this.file.length) throw this.unusable(`it is cut off: ${what} is at byte ${offset}, and the file has ${this.file.length}`);
  }
}

/** Where an image's own tables are, so that nothing else is written there whatever other tables say. */
export class TablePlaces {
  private readonly clusters = new Set<number>();
  private areas: { readonly from: number; readonly to: number }[] = [];

  add(offset: number): void {
    this.clusters.add(offset);
  }

  delete(offset: number): void {
    this.clusters.delete(offset);
  }

  addArea(from: number, bytes: number): void {
    if (bytes > 0) this.areas.push({ from, to: from + bytes });
  }

  deleteArea(from: number): void {
    this.areas = this.areas.filter((area) => area.from !== from);
  }

  /** Whether [offset, offset + bytes) touches a table; `offset` is where a cluster of `cluster` bytes begins. */
  touches(offset: number, bytes: number, cluster: number): boolean {
    for (let at = offset; at < offset + bytes; at += cluster) if (this.clusters.has(at)) return true;
    for (const { from, to } of this.areas) if (offset < to && from < offset + bytes) return true;
    return false;
  }
}

/** Tables in memory by their number; those least lately used are dropped, unless they have to be written yet. */
export class TableCache {
  private readonly tables = new Map<number, Table>();

  constructor(private readonly most: number) {}

  get(number: number): Table | undefined {
    const table = this.tables.get(number);
    if (table) table.used = true;
    return table;
  }

  set(number: number, table: Table): void {
    this.tables.set(number, table);
  }

  values(): Iterable<Table> {
    return this.tables.values();
  }

  get hasDirty(): boolean {
    for (const table of this.tables.values()) if (table.isDirty) return true;
    return false;
  }

  /** Drops what is too much; false when that was not enough, because the rest has to be written first. */
  shrink(): boolean {
    for (let round = 0; round < 2 && this.tables.size > this.most; round++) {
      for (const [number, table] of this.tables) {
        if (this.tables.size <= this.most) break;
        if (!table.isStored) continue;
        if (table.used && round === 0) table.used = false;
        else this.tables.delete(number);
      }
    }
    return this.tables.size <= this.most;
  }
}
