import { createQcow2, openQcow2, type CreateOptions, type Qcow2Image } from "../../core/storage/qcow2";
import type { BlockDevice } from "../../core/storage/blockDevice";
import { MemoryImage } from "./memoryImage";

/** Numbers from a seed, the same on every computer. */
export class Seeded {
  private state: number;

  constructor(seed: number) {
    this.state = (seed ^ 0x9e37_79b9) >>> 0;
  }

  /** A whole number from 0 to `below` - 1. */
  next(below: number): number {
    // Mulberry32.
    this.state = (this.state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }
}

/** Bytes that tell where and by which write they were put. */
export function pattern(offset: number, length: number, mark: number): Uint8Array {
  const data = new Uint8Array(length);
  for (let index = 0; index < length; index++) data[index] = (mark * 31 + Math.floor((offset + index) / 512) * 7 + index) | 1;
  return data;
}

/** A place on a disk in sectors: short ones, and some over several clusters. */
export function place(random: Seeded, size: number, cluster: number): { offset: number; length: number } {
  const sectors = size / 512;
  const first = random.next(sectors);
  const most = random.next(3) === 0 ? Math.min(cluster * 4, cluster + 128 * 1024) / 512 : 12;
  return { offset: first * 512, length: Math.min(sectors - first, 1 + random.next(most)) * 512 };
}

/** A new image in memory. */
export async function newImage(options: CreateOptions & { readonly cacheBytes?: number }, backing: BlockDevice | null = null): Promise<{ file: MemoryImage; image: Qcow2Image }> {
  const file = new MemoryImage();
  const { cacheBytes, ...rest } = options;
  await createQcow2(file, rest);
  return { file, image: await openQcow2(file, { name: "test.qcow2", backing, ...(cacheBytes === undefined ? {} : { cacheBytes }) }) };
}

/** Does something to the image and the same to the plain bytes beside it. */
export async function changeBoth(image: BlockDevice, model: Uint8Array, random: Seeded, cluster: number, mark: number): Promise<void> {
  const { offset, length } = place(random, model.length, cluster);
  if (random.next(4) === 0) {
    await image.discard(offset, length);
    model.fill(0, offset, offset + length);
  } else {
    const data = pattern(offset, length, mark);
    await image.write(offset, data);
    model.set(data, offset);
  }
}

/** All of a disk. */
export async function readAll(device: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.size);
  await device.read(0, bytes);
  return bytes;
}

/** Whether two disks are the same, and where they first differ. */
export function firstDifference(one: Uint8Array, other: Uint8Array): number | undefined {
  if (Buffer.compare(one, other) === 0) return undefined;
  for (let index = 0; index < Math.max(one.length, other.length); index++) if (one[index] !== other[index]) return index;
  return undefined;
}
