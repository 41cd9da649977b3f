const smallest = 4096;

/**
 * Memory for requests in flight, in sizes that are powers of two. The guest says how much is asked for, so both what is
 * out and what is kept for the next request are bounded; bytes are counted as allocated, not as asked for.
 */
export class BounceBuffers {
  private readonly free = new Map<number, Uint8Array[]>();
  private freeBytes = 0;
  private outBytes = 0;

  /**
   * @param maxOut bytes that may be out at the same time; a single buffer may be larger when nothing else is out
   * @param maxFree bytes kept for later
   */
  constructor(
    private readonly maxOut: number,
    private readonly maxFree: number,
  ) {}

  /** Bytes out. */
  get out(): number {
    return this.outBytes;
  }

  /** Bytes kept. */
  get kept(): number {
    return this.freeBytes;
  }

  /** Whether a buffer of `length` bytes can be had now. */
  hasRoom(length: number): boolean {
    return this.outBytes === 0 || this.outBytes + sizeOf(length) <= this.maxOut;
  }

  /** A buffer of at least `length` bytes, with any content. Ask `hasRoom` before. */
  take(length: number): Uint8Array {
    const size = sizeOf(length);
    this.outBytes += size;
    const buffer = this.free.get(size)?.pop();
    if (!buffer) return new Uint8Array(size);
    this.freeBytes -= size;
    return buffer;
  }

  giveBack(buffer: Uint8Array): void {
    const size = buffer.length;
    this.outBytes -= size;
    if (this.freeBytes + size > this.maxFree) return;
    let list = this.free.get(size);
    if (!list) this.free.set(size, (list = []));
    list.push(buffer);
    this.freeBytes += size;
  }
}

function sizeOf(length: number): number {
  let size = smallest;
  while (size < length) size *= 2;
  return size;
}
