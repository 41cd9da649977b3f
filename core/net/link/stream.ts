import { maxFrameBytes } from "../port";

/**
 * Frames on a byte stream, as QEMU's `-netdev stream`: each frame follows its length as a 4-byte big-endian number.
 *
 * The bytes come from a peer that is not trusted: a length of zero or beyond `maxFrameBytes` ends the stream, because
 * nothing after it can be told apart any more.
 */
export const headerBytes = 4;

/** Shorter than any Ethernet header (two addresses and a type) is no frame. */
export const minFrameBytes = 14;

/** Takes chunks as they arrive and hands out whole frames as views into them, copying only a frame that spans chunks. */
export class FrameDecoder {
  /** The beginning of a frame whose end has not come yet, header included. Grows to one frame at most. */
  private readonly partial = new Uint8Array(headerBytes + maxFrameBytes);
  private have = 0;

  /**
   * Calls `frame` for each complete frame, in order. Views are valid until `frame` returns.
   * Returns the reason why the stream cannot be read on, or undefined.
   */
  push(chunk: Uint8Array, frame: (frame: Uint8Array) => void): string | undefined {
    let at = 0;
    if (this.have > 0) {
      at = this.take(chunk, 0, headerBytes);
      if (this.have < headerBytes) return undefined;
      const length = lengthAt(this.partial, 0);
      const reason = refuse(length);
      if (reason) return reason;
      at = this.take(chunk, at, headerBytes + length);
      if (this.have < headerBytes + length) return undefined;
      this.have = 0;
      frame(this.partial.subarray(headerBytes, headerBytes + length));
    }
    while (chunk.length - at >= headerBytes) {
      const length = lengthAt(chunk, at);
      const reason = refuse(length);
      if (reason) return reason;
      if (chunk.length - at < headerBytes + length) break;
      frame(chunk.subarray(at + headerBytes, at + headerBytes + length));
      at += headerBytes + length;
    }
    this.take(chunk, at, headerBytes + maxFrameBytes);
    return undefined;
  }

  /** Moves bytes of `chunk` from `at` into the partial frame until it holds `target` bytes; returns the new position. */
  private take(chunk: Uint8Array, at: number, target: number): number {
    const count = Math.max(0, Math.min(target - this.have, chunk.length - at));
    this.partial.set(chunk.subarray(at, at + count), this.have);
    this.have += count;
    return at + count;
  }
}

/**
 * Takes bytes as they are read from a stream and hands whole frames on as runs, where they lie: only a frame that is not
 * complete yet is copied, to the front of the buffer, where the rest of it is read behind it.
 */
export class RunReader {
  private have = 0;

  /** @param buffer holds the longest frame at least; the larger it is, the longer the runs */
  constructor(readonly buffer: Uint8Array) {
    if (buffer.length < headerBytes + maxFrameBytes) throw new RangeError(`a buffer of ${buffer.length} bytes does not hold the longest frame`);
  }

  /** Where in `buffer` the next bytes belong; there is always room for one more. */
  get at(): number {
    return this.have;
  }

  /**
   * `count` bytes were read to `at`. Returns the reason why the stream cannot be read on, or undefined. What `run` throws
   * passes, and the stream goes on behind that run.
   */
  take(count: number, run: (bytes: Uint8Array, at: number, end: number, frames: number) => void): string | undefined {
    const buffer = this.buffer;
    const end = this.have + count;
    let whole = 0;
    let frames = 0;
    let reason: string | undefined;
    while (end - whole >= headerBytes) {
      const length = lengthAt(buffer, whole);
      reason = refuse(length);
      if (reason !== undefined || end - whole < headerBytes + length) break;
      whole += headerBytes + length;
      frames++;
    }
    this.have = end - whole;
    try {
      if (frames > 0) run(buffer, 0, whole, frames);
    } finally {
      if (whole > 0 && whole < end) buffer.copyWithin(0, whole, end);
    }
    return reason;
  }

  /** Forgets the beginning of a frame whose stream has ended. */
  reset(): void {
    this.have = 0;
  }
}

/** How many frames a run holds. */
export function countFrames(run: Uint8Array, at: number, end: number): number {
  let frames = 0;
  for (let position = at; position < end; position += headerBytes + lengthAt(run, position)) frames++;
  return frames;
}

/** The end of the last frame of a run that ends at or before `limit`. */
export function lastWholeFrame(run: Uint8Array, at: number, end: number, limit: number): number {
  let position = at;
  while (position < end) {
    const next = position + headerBytes + lengthAt(run, position);
    if (next > limit) break;
    position = next;
  }
  return position;
}

/** Collects frames, each behind its length, into one buffer, so that a burst becomes one write. */
export class FrameBatch {
  private buffer: Uint8Array;
  private used = 0;

  constructor(private readonly initialBytes = 64 * 1024) {
    this.buffer = new Uint8Array(initialBytes);
  }

  get bytes(): number {
    return this.used;
  }

  /** Reserves room for a frame of `length` bytes, writes its header and returns where its bytes belong. */
  append(length: number): Uint8Array {
    const needed = this.used + headerBytes + length;
    if (needed > this.buffer.length) {
      const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2));
      grown.set(this.buffer.subarray(0, this.used));
      this.buffer = grown;
    }
    const buffer = this.buffer;
    let at = this.used;
    buffer[at++] = length >>> 24;
    buffer[at++] = length >>> 16;
    buffer[at++] = length >>> 8;
    buffer[at++] = length;
    this.used = at + length;
    return buffer.subarray(at, at + length);
  }

  /** Hands the collected bytes over for good and starts afresh. */
  drain(): Uint8Array {
    const whole = this.buffer.subarray(0, this.used);
    this.used = 0;
    // Copying a few frames is cheaper than a new buffer; a full buffer is better given away.
    if (whole.length < this.initialBytes / 4) return whole.slice();
    this.buffer = new Uint8Array(this.initialBytes);
    return whole;
  }
}

/** Walks a batch made by `FrameBatch`, which is trusted to be well formed. */
export function forEachFrame(batch: Uint8Array, frame: (frame: Uint8Array) => void): void {
  for (let at = 0; at + headerBytes <= batch.length; ) {
    const length = lengthAt(batch, at);
    frame(batch.subarray(at + headerBytes, at + headerBytes + length));
    at += headerBytes + length;
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

function refuse(length: number): string | undefined {
  if (length > maxFrameBytes) return `a frame of ${length} bytes is longer than the ${maxFrameBytes} bytes allowed`;
  if (length < minFrameBytes) return `a frame of ${length} bytes is shorter than an Ethernet header`;
  return undefined;
}
