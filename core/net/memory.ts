import { addByVectorsIn } from "./wire/checksum";
import type { WasmMemory } from "./wire/vectorSum";

/** The types of the runtime's own are those of browsers. */
interface WasmRuntime {
  readonly Memory: new (descriptor: { readonly initial: number; readonly maximum: number }) => WasmMemory;
}
const runtime = (globalThis as unknown as { WebAssembly: WasmRuntime }).WebAssembly;

const pageBytes = 65_536;
/** Buffers begin on cache lines of their own. */
const alignment = 64;

/**
 * Memory that is never moved nor compacted, zeroed; what is not used of it costs no more than address space. It is a
 * WebAssembly memory that never grows, in which checksums are made fastest.
 */
export function steadyMemory(bytes: number): ArrayBuffer {
  const pages = Math.ceil(bytes / pageBytes);
  const memory = new runtime.Memory({ initial: pages, maximum: pages });
  addByVectorsIn(memory);
  return memory.buffer;
}

/** Buffers in one steady memory, which are lent and given back. */
export class Arena {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private used = 0;
  private readonly free = new Map<number, Uint8Array[]>();
  private readonly lent = new Set<number>();

  constructor(reservedBytes: number) {
    const buffer = steadyMemory(reservedBytes);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** Zeroed bytes. When all is lent the buffer is an ordinary one, which is merely slower to use. */
  allocate(length: number): Uint8Array {
    const size = Math.ceil(length / alignment) * alignment;
    const again = this.free.get(size)?.pop();
    if (again !== undefined) {
      this.lent.add(again.byteOffset);
      return again.fill(0).subarray(0, length);
    }
    if (this.used + size > this.bytes.length) return new Uint8Array(length);
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
}
