import type { V86Cpu } from "./v86Internals";

/**
 * The guest's physical memory for devices. Addresses come from the guest and are checked against its size; the views
 * are made again when WebAssembly has moved the memory.
 */
export class GuestMemory {
  /** Bytes. */
  readonly size: number;
  private readonly base: number;
  private buffer: ArrayBufferLike;
  private all: Uint8Array;
  private data: DataView;

  constructor(private readonly cpu: V86Cpu) {
    this.size = cpu.memory_size[0] ?? 0;
    this.base = cpu.mem8.byteOffset;
    this.buffer = cpu.wasm_memory.buffer;
    this.all = new Uint8Array(this.buffer, this.base, this.size);
    this.data = new DataView(this.buffer, this.base, this.size);
  }

  private renew(): void {
    if (this.cpu.wasm_memory.buffer === this.buffer) return;
    this.buffer = this.cpu.wasm_memory.buffer;
    this.all = new Uint8Array(this.buffer, this.base, this.size);
    this.data = new DataView(this.buffer, this.base, this.size);
  }

  /** All of it, valid until the emulator runs again. */
  get bytes(): Uint8Array {
    this.renew();
    return this.all;
  }

  get view(): DataView {
    this.renew();
    return this.data;
  }

  contains(address: number, length: number): boolean {
    return address >= 0 && length >= 0 && address + length <= this.size;
  }

  /** Copies from a checked range of the guest. */
  read(address: number, target: Uint8Array, at: number, length: number): void {
    target.set(this.bytes.subarray(address, address + length), at);
  }

  /** Copies into a checked range of the guest and drops code compiled from it. */
  write(address: number, source: Uint8Array, at: number, length: number): void {
    if (length === 0) return;
    this.cpu.jit_dirty_cache(address, address + length);
    this.bytes.set(source.subarray(at, at + length), address);
  }
}
