import type { Ipv4Address } from "./addresses";
import { mostSummedBytes, sumIn, type SumOfWords, type WasmMemory } from "./vectorSum";

/** Below this many bytes finding the view of words costs more than adding words saves. */
const shortBytes = 128;

const sums = new WeakMap<ArrayBufferLike, SumOfWords>();

/** Has what lies in this memory added by vector instructions from now on, where there are any. It must never grow. */
export function addByVectorsIn(memory: WasmMemory): void {
  const sum = sumIn(memory);
  if (sum) sums.set(memory.buffer, sum);
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * The Internet checksum (RFC 1071): the one's complement sum of 16-bit words. `addBytes` may be called for parts one
 * after another as long as every part but the last has an even length; `finish` folds and inverts.
 */
export function addBytes(bytes: Uint8Array, at: number, end: number, sum = 0): number {
  if (end - at < shortBytes) return addByBytes(bytes, at, end, sum);
  let total = sum;
  const { sum: add, words } = placeOf(bytes.buffer);
  for (let from = at; from < end; from += mostSummedBytes) {
    const to = Math.min(end, from + mostSummedBytes);
    total += add ? exchanged(add(bytes.byteOffset + from, bytes.byteOffset + to)) : addByWords(bytes, words, from, to);
  }
  return total;
}

function addByBytes(bytes: Uint8Array, at: number, end: number, sum: number): number {
  let total = sum;
  const even = end - ((end - at) & 1);
  for (let position = at; position < even; position += 2) total += (bytes[position]! << 8) | bytes[position + 1]!;
  if (even !== end) total += bytes[even]! << 8;
  return total;
}

/**
 * Adds the machine's own 16-bit words, 32 in one step of the loop, whose own work is what costs: more than twice as
 * fast as bytes. Words begin at even places of the memory. Where [at, end) begins at an odd one, its first byte is added
 * alone, and the words are those of the sum with their bytes exchanged, as are the words of a little-endian machine; two
 * exchanges are none, and one is made good at the end (RFC 1071, 2 (B)).
 */
function addByWords(bytes: Uint8Array, words: Uint16Array, at: number, end: number): number {
  const odd = (bytes.byteOffset + at) & 1;
  const from = at + odd;
  let index = (bytes.byteOffset + from) >>> 1;
  const last = index + ((end - from) >>> 1);
  let total = 0;
  for (const stop = last - 31; index < stop; index += 32) {
    total =
      (total +
        words[index]! + words[index + 1]! + words[index + 2]! + words[index + 3]! +
        words[index + 4]! + words[index + 5]! + words[index + 6]! + words[index + 7]! +
        words[index + 8]! + words[index + 9]! + words[index + 10]! + words[index + 11]! +
        words[index + 12]! + words[index + 13]! + words[index + 14]! + words[index + 15]! +
        words[index + 16]! + words[index + 17]! + words[index + 18]! + words[index + 19]! +
        words[index + 20]! + words[index + 21]! + words[index + 22]! + words[index + 23]! +
        words[index + 24]! + words[index + 25]! + words[index + 26]! + words[index + 27]! +
        words[index + 28]! + words[index + 29]! + words[index + 30]! + words[index + 31]!) | 0;
  }
  for (; index < last; index++) total = (total + words[index]!) | 0;
  total >>>= 0;
  if (littleEndian !== (odd === 1)) total = exchanged(total);
  if (odd === 1) total += bytes[at]! << 8;
  if (((end - from) & 1) === 1) total += odd === 1 ? bytes[end - 1]! : bytes[end - 1]! << 8;
  return total;
}

function exchanged(sum: number): number {
  const folded = fold(sum);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

/** What is known of a buffer: a view of its words, and who adds them by vectors. */
interface Place {
  readonly buffer: ArrayBufferLike;
  readonly words: Uint16Array;
  readonly sum: SumOfWords | undefined;
}

// Frames come from one buffer and go into another, turn after turn; making a view for each would cost more than adding.
let recent: Place | undefined;
let earlier: Place | undefined;

function placeOf(buffer: ArrayBufferLike): Place {
  if (recent?.buffer === buffer) return recent;
  const found = earlier?.buffer === buffer ? earlier : { buffer, words: new Uint16Array(buffer, 0, buffer.byteLength >>> 1), sum: sums.get(buffer) };
  earlier = recent;
  recent = found;
  return found;
}

/** The sum over the pseudo-header of TCP (RFC 9293, 3.1) and UDP (RFC 768): `length` is that of header and data. */
export function pseudoHeaderSum(source: Ipv4Address, destination: Ipv4Address, protocol: number, length: number): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length;
}

/** The 16 bits to put into the header. Over bytes that hold a right checksum already it is zero. */
export function finish(sum: number): number {
  return ~fold(sum) & 0xffff;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return folded;
}

export function checksum(bytes: Uint8Array, at: number, end: number, sum = 0): number {
  return finish(addBytes(bytes, at, end, sum));
}
