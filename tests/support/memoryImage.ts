import type { ImageFile } from "../../core/storage/blockDevice";

interface Written {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** A drive keeps sectors whole: of a write that the power cut hits, some sectors arrive and others do not. */
const sectorBytes = 512;

/** An image file in memory, which tells what would be left of it if the power failed. */
export class MemoryImage implements ImageFile {
  /** Writes since the last flush. */
  private pending: Written[] = [];
  private durable: Uint8Array;
  private bytes: Uint8Array;
  private durableEnd: number;
  private end: number;
  isClosed = false;
  /** Called after each write, before it settles. */
  afterWrite: (() => void | Promise<void>) | undefined;
  /** Asked before each operation: the error with which it fails, if it does. Of a write that fails some may have happened. */
  fault: ((operation: "read" | "write" | "flush") => Error | undefined) | undefined;
  /** Awaited by every operation before it begins and before it settles, so that operations overtake each other. */
  pause: ((operation: "read" | "write" | "flush") => Promise<void>) | undefined;

  constructor(
    content: Uint8Array = new Uint8Array(),
    readonly readOnly = false,
  ) {
    this.bytes = content.slice();
    this.durable = content.slice();
    this.end = this.durableEnd = content.length;
  }

  get length(): number {
    return this.end;
  }

  /** What is in it now, as a program that opened it would read it. */
  content(): Uint8Array {
    return this.bytes.slice(0, this.end);
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.pause?.("read");
    this.failIfAsked("read");
    target.fill(0);
    target.set(this.bytes.subarray(Math.min(offset, this.end), Math.min(offset + target.length, this.end)));
    await this.pause?.("read");
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    if (this.readOnly) throw new Error("written to although it was opened for reading");
    await this.pause?.("write");
    const failure = this.fault?.("write");
    const kept = data.slice(0, failure ? Math.floor(data.length / 2 / sectorBytes) * sectorBytes : data.length);
    this.pending.push({ offset, data: kept });
    [this.bytes, this.end] = apply(this.bytes, this.end, offset, kept);
    if (failure) throw failure;
    await this.afterWrite?.();
    await this.pause?.("write");
  }

  async flush(): Promise<void> {
    this.failIfAsked("flush");
    const before = new Set(this.pending);
    await this.pause?.("flush");
    for (const written of this.pending) if (before.has(written)) [this.durable, this.durableEnd] = apply(this.durable, this.durableEnd, written.offset, written.data);
    this.pending = this.pending.filter((written) => !before.has(written));
  }

  truncate(length: number): Promise<void> {
    this.bytes.fill(0, Math.min(length, this.end), this.end);
    this.end = length;
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }

  private failIfAsked(operation: "read" | "flush"): void {
    const failure = this.fault?.(operation);
    if (failure) throw failure;
  }

  get unflushed(): number {
    return this.pending.length;
  }

  /** What a power cut leaves: everything flushed, and of the other writes those that `arrives` says, by sector. */
  afterPowerCut(arrives: (write: number, sector: number) => boolean): Uint8Array {
    let bytes: Uint8Array = this.durable.slice();
    let end = this.durableEnd;
    this.pending.forEach(({ offset, data }, write) => {
      for (let at = 0, sector = 0; at < data.length; sector++) {
        const next = Math.min(data.length, at + sectorBytes - ((offset + at) % sectorBytes));
        if (arrives(write, sector)) [bytes, end] = apply(bytes, end, offset + at, data.subarray(at, next));
        at = next;
      }
    });
    return bytes.slice(0, end);
  }
}

function apply(bytes: Uint8Array, end: number, offset: number, data: Uint8Array): [Uint8Array, number] {
  const needed = offset + data.length;
  let into: Uint8Array = bytes;
  if (needed > bytes.length) {
    into = new Uint8Array(Math.max(needed, bytes.length * 2));
    into.set(bytes);
  }
  into.set(data, offset);
  return [into, Math.max(end, needed)];
}
