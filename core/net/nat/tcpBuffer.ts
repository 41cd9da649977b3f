import type { Reactor } from "../reactor";
import type { Account } from "./shares";

/**
 * Memory for bytes on their way, in pieces of one size that are taken when there is something to keep and given back when
 * there is not: a thousand connections that are silent hold none.
 */
export const chunkBytes = 32_768;

/**
 * An account may hold this part of what nobody holds. So one alone has a third of everything, and however many hold on to
 * all that they get, something is left for the next one.
 */
const shareOfFree = 0.5;

/** Beyond this part of what it may hold an account's connections make do with little. */
const pressedPart = 0.5;

export class ChunkPool {
  /** Pieces of the loop's own memory, which are kept: of all there are, and of those nobody has. */
  private readonly kept = new Set<Uint8Array>();
  private readonly free: Uint8Array[] = [];
  private readonly shares = new WeakMap<Account, ChunkShare>();
  private used = 0;

  /**
   * @param memory where pieces come from that are kept when nobody needs them
   * @param limitBytes what all connections together may hold
   * @param keepBytes how much of it is kept; what a rare burst needs beyond it is the garbage collector's afterwards
   */
  constructor(
    private readonly memory: Pick<Reactor, "allocate" | "release">,
    private readonly limitBytes = 256 * 1024 * 1024,
    private readonly keepBytes = 16 * 1024 * 1024,
  ) {}

  /** How much is held by connections, bytes. */
  get usedBytes(): number {
    return this.used * chunkBytes;
  }

  /** How many pieces an account may hold now. */
  get mostOfOne(): number {
    return (Math.floor(this.limitBytes / chunkBytes) - this.used) * shareOfFree;
  }

  shareOf(account: Account): ChunkShare {
    let share = this.shares.get(account);
    if (share === undefined) this.shares.set(account, (share = new ChunkShare(this)));
    return share;
  }

  take(): Uint8Array {
    this.used++;
    return this.free.pop() ?? this.make();
  }

  give(chunk: Uint8Array): void {
    this.used--;
    if (this.kept.has(chunk)) this.free.push(chunk);
  }

  /** Gives everything back, once no connection has anything. */
  dispose(): void {
    for (const chunk of this.kept) this.memory.release(chunk);
    this.kept.clear();
    this.free.length = 0;
  }

  private make(): Uint8Array {
    if ((this.kept.size + 1) * chunkBytes > this.keepBytes) return new Uint8Array(chunkBytes);
    const chunk = this.memory.allocate(chunkBytes);
    this.kept.add(chunk);
    return chunk;
  }
}

/** What the connections of one account hold of a pool. */
export class ChunkShare {
  private used = 0;

  constructor(private readonly pool: ChunkPool) {}

  get pressed(): boolean {
    return this.used > this.pool.mostOfOne * pressedPart;
  }

  /** A piece of `chunkBytes`; undefined when the account holds as many as it may. */
  take(): Uint8Array | undefined {
    if (this.used + 1 > this.pool.mostOfOne) return undefined;
    this.used++;
    return this.pool.take();
  }

  give(chunk: Uint8Array): void {
    this.used--;
    this.pool.give(chunk);
  }
}

/**
 * A part of a stream in pieces from a pool, addressed by the position in the stream. It need not be without gaps: what
 * comes out of order is put where it belongs. Which bytes are valid is its owner's knowledge.
 */
export class StreamBuffer {
  private readonly chunks: (Uint8Array | undefined)[] = [];
  /** The number of the first chunk, counted from the stream's begin. */
  private firstChunk = 0;
  /** Behind the last byte that was put. */
  private end = 0;

  constructor(private readonly memory: ChunkShare) {}

  /** The chunk that holds `position`, to write into directly (then say so by `wrote`); undefined when there is no memory. */
  chunkAt(position: number): Uint8Array | undefined {
    const number = Math.floor(position / chunkBytes);
    if (this.chunks.length === 0) this.firstChunk = number;
    for (; number < this.firstChunk; this.firstChunk--) this.chunks.unshift(undefined);
    const index = number - this.firstChunk;
    while (this.chunks.length <= index) this.chunks.push(undefined);
    return (this.chunks[index] ??= this.memory.take());
  }

  wrote(end: number): void {
    if (end > this.end) this.end = end;
  }

  /** Copies [at, end) to `position`. False when there is no memory: then what was copied counts for nothing. */
  put(position: number, bytes: Uint8Array, at: number, end: number): boolean {
    let to = position;
    for (let from = at; from < end; ) {
      const chunk = this.chunkAt(to);
      if (!chunk) return false;
      const offset = to % chunkBytes;
      const count = Math.min(chunkBytes - offset, end - from);
      chunk.set(bytes.subarray(from, from + count), offset);
      from += count;
      to += count;
    }
    this.wrote(to);
    return true;
  }

  copy(position: number, count: number, target: Uint8Array, at: number): void {
    for (let from = position, to = at, left = count; left > 0; ) {
      const chunk = this.chunks[Math.floor(from / chunkBytes) - this.firstChunk];
      if (!chunk) throw new Error("bytes were asked for that the buffer does not hold");
      const offset = from % chunkBytes;
      const piece = Math.min(chunkBytes - offset, left);
      target.set(offset === 0 && piece === chunkBytes ? chunk : chunk.subarray(offset, offset + piece), to);
      from += piece;
      to += piece;
      left -= piece;
    }
  }

  /** The bytes from `position` on that lie in one piece, at most up to `until`. */
  pieceAt(position: number, until: number): { readonly bytes: Uint8Array; readonly at: number; readonly end: number } {
    const chunk = this.chunks[Math.floor(position / chunkBytes) - this.firstChunk];
    if (!chunk) throw new Error("bytes were asked for that the buffer does not hold");
    const at = position % chunkBytes;
    return { bytes: chunk, at, end: Math.min(chunkBytes, at + (until - position)) };
  }

  /** Bytes before `position` are not needed any more; when nothing is behind it either, all goes back to the pool. */
  dropTo(position: number): void {
    if (position >= this.end) {
      this.clear();
      return;
    }
    for (const first = Math.floor(position / chunkBytes); this.firstChunk < first && this.chunks.length > 0; this.firstChunk++) {
      const chunk = this.chunks.shift();
      if (chunk) this.memory.give(chunk);
    }
  }

  clear(): void {
    for (const chunk of this.chunks) if (chunk) this.memory.give(chunk);
    this.chunks.length = 0;
  }
}
