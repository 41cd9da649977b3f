/*
 * Entries of a qcow2 image's tables (qcow2 spec, Cluster mapping and Host cluster management). Pure. An entry is read as
 * two halves of 32 bits, because 64-bit integers cost an allocation each.
 */

/** Of L1 and L2 entries, upper half: the cluster has one reference, and may be written in place. */
export const copiedFlag = 0x8000_0000;
/** Of L2 entries, upper half. */
export const compressedFlag = 0x4000_0000;
/** Of L2 entries, lower half: reads as zeroes whatever is there (version 3). */
export const zeroFlag = 1;

/** Bits 9 to 55: where the table or cluster is, bytes; 0 for nowhere. Not checked against anything. */
export function entryOffset(high: number, low: number): number {
  return (high & 0x00ff_ffff) * 2 ** 32 + (low >>> 9) * 512;
}

/** Whether bits that have to be 0 in an L1 entry are. */
export function l1ReservedBits(high: number, low: number): boolean {
  return (high & 0x7f00_0000) !== 0 || (low & 0x1ff) !== 0;
}

/** The same of an L2 entry that is not compressed. */
export function l2ReservedBits(high: number, low: number): boolean {
  return (high & 0x3f00_0000) !== 0 || (low & 0x1fe) !== 0;
}

/** Writes where a table or cluster is, with its flags. */
export function setEntry(view: DataView, at: number, offset: number, highFlags: number, lowFlags = 0): void {
  view.setUint32(at, (Math.floor(offset / 2 ** 32) | highFlags) >>> 0);
  view.setUint32(at + 4, (offset % 2 ** 32 | lowFlags) >>> 0);
}

export interface CompressedRange {
  /** Where the compressed bytes begin; not aligned to anything. */
  readonly offset: number;
  /** How many there are at most: they end at a sector's end. */
  readonly length: number;
}

/** qcow2 spec, Compressed Clusters Descriptor. */
export function compressedRange(high: number, low: number, clusterBits: number): CompressedRange {
  const offsetBits = 62 - (clusterBits - 8);
  const descriptor = (BigInt(high & 0x3fff_ffff) << 32n) | BigInt(low >>> 0);
  const offset = Number(descriptor & ((1n << BigInt(offsetBits)) - 1n));
  const sectors = Number(descriptor >> BigInt(offsetBits)) + 1;
  return { offset, length: sectors * 512 - (offset % 512) };
}

/**
 * A reference count in a block of them, whose entries have 2^order bits. Counts beyond 2^53 are not exact, which no
 * comparison here minds.
 */
export function refcountAt(block: DataView, index: number, order: number): number {
  switch (order) {
    case 3:
      return block.getUint8(index);
    case 4:
      return block.getUint16(index * 2);
    case 5:
      return block.getUint32(index * 4);
    case 6:
      return block.getUint32(index * 8) * 2 ** 32 + block.getUint32(index * 8 + 4);
    default: {
      // The least significant bits of a byte come first.
      const bits = 1 << order;
      const perByte = 8 >> order;
      return (block.getUint8(Math.floor(index / perByte)) >> ((index % perByte) * bits)) & ((1 << bits) - 1);
    }
  }
}

/** `value` has to fit: at most `mostReferences(order)`. */
export function setRefcount(block: DataView, index: number, order: number, value: number): void {
  switch (order) {
    case 3:
      return block.setUint8(index, value);
    case 4:
      return block.setUint16(index * 2, value);
    case 5:
      return block.setUint32(index * 4, value);
    case 6:
      block.setUint32(index * 8, Math.floor(value / 2 ** 32));
      return block.setUint32(index * 8 + 4, value % 2 ** 32);
    default: {
      const bits = 1 << order;
      const perByte = 8 >> order;
      const at = Math.floor(index / perByte);
      const shift = (index % perByte) * bits;
      return block.setUint8(at, (block.getUint8(at) & ~(((1 << bits) - 1) << shift)) | (value << shift));
    }
  }
}

/** Where in its block a count stands, bytes. */
export function refcountPosition(index: number, order: number): number {
  return Math.floor((index * 2 ** order) / 8);
}

export function mostReferences(order: number): number {
  return order >= 6 ? Number.MAX_SAFE_INTEGER : 2 ** 2 ** order - 1;
}
