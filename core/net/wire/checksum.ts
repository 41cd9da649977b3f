import type { Ipv4Address } from "./addresses";

/**
 * The Internet checksum (RFC 1071): the one's complement sum of 16-bit words. `addBytes` may be called for parts one
 * after another as long as every part but the last has an even length; `finish` folds and inverts.
 */
export function addBytes(bytes: Uint8Array, at: number, end: number, sum = 0): number {
  let total = sum;
  const even = end - ((end - at) & 1);
  let position = at;
  // Sixteen bytes at a time: the loop's own work is what costs.
  for (const stop = even - 15; position < stop; position += 16) {
    total +=
      ((bytes[position]! + bytes[position + 2]! + bytes[position + 4]! + bytes[position + 6]! + bytes[position + 8]! + bytes[position + 10]! + bytes[position + 12]! + bytes[position + 14]!) << 8) +
      bytes[position + 1]! + bytes[position + 3]! + bytes[position + 5]! + bytes[position + 7]! + bytes[position + 9]! + bytes[position + 11]! + bytes[position + 13]! + bytes[position + 15]!;
  }
  for (; position < even; position += 2) total += (bytes[position]! << 8) | bytes[position + 1]!;
  if (even !== end) total += bytes[even]! << 8;
  return total;
}

/** The sum over the pseudo-header of TCP (RFC 9293, 3.1) and UDP (RFC 768): `length` is that of header and data. */
export function pseudoHeaderSum(source: Ipv4Address, destination: Ipv4Address, protocol: number, length: number): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length;
}

/** The 16 bits to put into the header. Over bytes that hold a right checksum already it is zero. */
export function finish(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

export function checksum(bytes: Uint8Array, at: number, end: number, sum = 0): number {
  return finish(addBytes(bytes, at, end, sum));
}
