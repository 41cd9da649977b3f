import type { Libc } from "./libc";

/** Address space for all buffers of a loop; what is not used costs no memory. */
const reservedBytes = 256 * 1024 * 1024;
const pageBytes = 65_536;
/** Buffers begin on cache lines of their own. */
const alignment = 64;

/** The types of the runtime's own are those of browsers. */
interface WasmRuntime {
  readonly Memory: new (descriptor: { readonly initial: number; readonly maximum: number }) => { readonly buffer: ArrayBuffer };
}
const runtime = (globalThis as unknown as { WebAssembly: WasmRuntime }).WebAssembly;

/**
 * The memory that the fast loop's calls read and write. It is a WebAssembly memory that never grows, so that it never
 * moves: its address is asked for once, and a place in it is that address and an offset.
 */
export class LoopMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private readonly base: number;
  private used = 0;
  private readonly free = new Map<number, Uint8Array[]>();
  private readonly lent = new Set<number>();

  constructor(libc: Libc) {
    const pages = reservedBytes / pageBytes;
    const memory = new runtime.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.base = libc.addressOf(this.bytes);
  }

  /** Zeroed bytes. When all is lent the buffer is an ordinary one, which is merely slower to read and write. */
  allocate(length: number): Uint8Array {
    const size = Math.ceil(length / alignment) * alignment;
    const again = this.free.get(size)?.pop();
    if (again !== undefined) {
      this.lent.add(again.byteOffset);
      return again.fill(0).subarray(0, length);
    }
    if (this.used + size > reservedBytes) return new Uint8Array(length);
    const buffer = this.bytes.subarray(this.used, this.used + length);
    this.lent.add(this.used);
    this.used += size;
    return buffer;
  }

  release(buffer: Uint8Array): void {
    if (!this.holds(buffer)) return;
    const at = buffer.byteOffset;
    // The same bytes lent twice would mix two machines' frames.
    if (!this.lent.delete(at)) throw new Error("a buffer was given back that is not lent");
    const size = Math.ceil(buffer.length / alignment) * alignment;
    const list = this.free.get(size);
    const whole = this.bytes.subarray(at, at + size);
    if (list) list.push(whole);
    else this.free.set(size, [whole]);
  }

  holds(buffer: Uint8Array): boolean {
    return buffer.buffer === this.bytes.buffer;
  }

  /** The address of a place in a buffer of this memory. */
  addressOf(buffer: Uint8Array, at = 0): number {
    return this.base + buffer.byteOffset + at;
  }

  /** Writes the address of a place in this memory where a structure has a pointer. */
  putPointer(at: number, target: Uint8Array): void {
    this.view.setBigUint64(at, BigInt(this.addressOf(target)), true);
  }
}
