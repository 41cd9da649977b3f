import { Arena } from "../memory";
import type { Libc } from "./libc";

/** Address space for all buffers of a loop; what is not used costs no memory. */
const reservedBytes = 256 * 1024 * 1024;

/**
 * The memory that the fast loop's calls read and write. As it never moves, its address is asked for once, and a place in
 * it is that address and an offset.
 */
export class LoopMemory extends Arena {
  private readonly base: number;

  constructor(libc: Libc) {
    super(reservedBytes);
    this.base = libc.addressOf(this.bytes);
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
