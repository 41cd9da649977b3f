/** The grain of a table's writing, bytes: drives write such a sector whole or not at all. */
const sectorBytes = 512;
/** Sectors that did not change are written along when they lie between two that did, if they are at most this many. */
const mostBetween = 8;

/** A piece of a table as it stood when a batch was put together. */
export interface TableWrite {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** What was taken to be written: either all of it was, or it has to be written again. */
export interface Taken {
  done(): void;
  restore(): void;
}

/**
 * A table of an image (L1, L2, reference counts or where those are) as we have it in memory, and what of it is not yet in
 * the file. Its bytes are those of the file, so that writing it back is a copy.
 */
export class Table {
  readonly view: DataView;
  private readonly dirty = new Set<number>();
  /** Pieces of it that were taken and are not in the file yet. */
  private underWay = 0;
  /** Used since the cache last looked for something to drop. */
  used = true;

  constructor(
    /** Where it is in the file. */
    readonly offset: number,
    readonly bytes: Uint8Array,
    /** Whether something in the file leads to it. Until then all of it may be written at any time. */
    public linked: boolean,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!linked) this.touchAll();
  }

  get isDirty(): boolean {
    return this.dirty.size > 0;
  }

  /** Whether the file has all of it, so that it may be forgotten. */
  get isStored(): boolean {
    return this.linked && this.dirty.size === 0 && this.underWay === 0;
  }

  /** Says that the bytes at `at` have changed; entries never cross a sector. */
  touch(at: number): void {
    this.dirty.add(Math.floor(at / sectorBytes));
  }

  touchAll(): void {
    for (let sector = 0; sector * sectorBytes < this.bytes.length; sector++) this.dirty.add(sector);
  }

  /** Copies what has to be written; say afterwards whether it was. */
  take(into: TableWrite[]): Taken {
    const sectors = [...this.dirty].sort((one, other) => one - other);
    this.dirty.clear();
    this.underWay++;
    for (let index = 0; index < sectors.length; ) {
      const first = sectors[index++]!;
      let last = first;
      while (index < sectors.length && sectors[index]! - last <= mostBetween) last = sectors[index++]!;
      into.push({ offset: this.offset + first * sectorBytes, data: this.bytes.slice(first * sectorBytes, (last + 1) * sectorBytes) });
    }
    return {
      done: () => void this.underWay--,
      restore: () => {
        this.underWay--;
        for (const sector of sectors) this.dirty.add(sector);
      },
    };
  }
}
