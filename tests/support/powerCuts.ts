import { createHash } from "node:crypto";
import type { BlockDevice } from "../../core/storage/blockDevice";
import { checkQcow2, openQcow2, repairQcow2, type CheckReport } from "../../core/storage/qcow2";
import { changeBoth, pattern, place, readAll, Seeded } from "./diskModel";
import { MemoryImage } from "./memoryImage";

const sector = 512;

/** What a disk may read as after a power cut: each sector as it was at the last flush, or as anything written to it since. */
export class Expected {
  constructor(private readonly sectors: readonly (readonly Uint8Array[])[]) {}

  static of(bytes: Uint8Array): Expected {
    return new Expected(Array.from({ length: bytes.length / sector }, (_, index) => [bytes.slice(index * sector, (index + 1) * sector)]));
  }

  /** With this as well. Leaves the old one as it is. */
  orWritten(offset: number, data: Uint8Array): Expected {
    const sectors = [...this.sectors];
    for (let at = 0; at < data.length; at += sector) {
      const index = (offset + at) / sector;
      sectors[index] = [...(sectors[index] ?? []), data.slice(at, at + sector)];
    }
    return new Expected(sectors);
  }

  /** The first sector that is neither, if there is one. */
  wrongSector(found: Uint8Array): number | undefined {
    const wrong = this.sectors.findIndex((allowed, index) => !allowed.some((each) => Buffer.compare(each, found.subarray(index * sector, (index + 1) * sector)) === 0));
    return wrong < 0 ? undefined : wrong;
  }
}

/** What a power cut left, and what has to be in it. */
export interface Cut {
  /** For messages: after which write, and what was lost. */
  readonly where: string;
  readonly content: Uint8Array;
  readonly expected: Expected;
}

export interface Workload {
  readonly seed: number;
  /** The image and what it reads as. */
  readonly start: Uint8Array;
  readonly model: Uint8Array;
  readonly backing: BlockDevice | null;
  readonly operations: number;
  /** Before anything else this much is written anew. */
  readonly fill?: { readonly offset: number; readonly length: number };
  /** Subsets of the unflushed writes that are tried after each write, beside all and all but the last. */
  readonly subsets: number;
}

/** Runs random operations, some of them side by side, and hands over what a power cut would leave after every single write. Returns how many writes there were. */
export async function cutPower({ seed, start, model, backing, operations, fill, subsets }: Workload, visit: (cut: Cut) => Promise<void>): Promise<number> {
  const random = new Seeded(seed);
  const losses = new Seeded(seed + 1);
  const file = new MemoryImage(start);
  const image = await openQcow2(file, { name: "cut.qcow2", backing, ...(seed % 2 === 0 ? {} : { cacheBytes: 1 }) });
  let expected = Expected.of(model);
  let writes = 0;
  let visited = Promise.resolve();
  file.afterWrite = async () => {
    writes++;
    // Captured at once: other operations go on while these are looked at.
    const cuts = contents(file, losses, subsets).map(({ lost, content }): Cut => ({ where: `seed ${seed}, write ${writes}, ${lost}`, content, expected }));
    // One after the other, also where writes were side by side.
    const visits = visited.then(async () => {
      for (const cut of cuts) await visit(cut);
    });
    visited = visits;
    await visits;
  };
  const cluster = 2 ** image.header.clusterBits;
  const change = async (mark: number): Promise<void> => {
    const { offset, length } = place(random, model.length, cluster);
    const isDiscard = random.next(4) === 0;
    const data = isDiscard ? new Uint8Array(length) : pattern(offset, length, mark);
    expected = expected.orWritten(offset, data);
    model.set(data, offset);
    await (isDiscard ? image.discard(offset, length) : image.write(offset, data));
  };
  if (fill) {
    const data = pattern(fill.offset, fill.length, seed);
    expected = expected.orWritten(fill.offset, data);
    model.set(data, fill.offset);
    await image.write(fill.offset, data);
    await image.flush();
    expected = Expected.of(model);
  }
  for (let operation = 0; operation < operations; operation++) {
    const kind = random.next(6);
    if (kind === 0) {
      await image.flush();
      expected = Expected.of(model);
    } else if (kind === 1) {
      // Side by side. Where two write the same, either may be last: that sector may read as both until it is written again.
      await Promise.all([change(operation * 4), image.flush(), change(operation * 4 + 1)]);
      const now = await readAll(image);
      expected = expected.orWritten(0, now);
      model.set(now);
    } else await change(operation * 4 + 2);
  }
  await image.close();
  return writes;
}

function contents(file: MemoryImage, losses: Seeded, subsets: number): { lost: string; content: Uint8Array }[] {
  const last = file.unflushed - 1;
  const seen = new Set<string>();
  const found: { lost: string; content: Uint8Array }[] = [];
  const add = (lost: string, arrives: (write: number, part: number) => boolean): void => {
    const content = file.afterPowerCut(arrives);
    const digest = createHash("sha1").update(content).digest("base64");
    if (seen.has(digest)) return;
    seen.add(digest);
    found.push({ lost, content });
  };
  const torn = losses.next(8);
  add("all unflushed lost", () => false);
  add("the last lost", (write) => write < last);
  add("the last torn", (write, part) => write < last || part <= torn);
  add("nothing lost", () => true);
  for (let subset = 0; subset < subsets; subset++) {
    // Every other one loses sectors, not whole writes.
    const lost = new Map<string, boolean>();
    const share = 1 + losses.next(3);
    add(`subset ${subset} lost`, (write, part) => {
      const key = subset % 2 === 0 ? `${write}` : `${write} ${part}`;
      const known = lost.get(key) ?? losses.next(4) < share;
      lost.set(key, known);
      return known;
    });
  }
  return found;
}

/** Whether an image is whole after a power cut: opens, has no corruption, holds what was flushed, can be written on, and is clean after a repair. @throws Error saying what is wrong */
export async function judge({ where, content, expected }: Cut, backing: BlockDevice | null): Promise<CheckReport> {
  const fail = (reason: string): never => {
    throw new Error(`${where}: ${reason}`);
  };
  const found = await checkQcow2(new MemoryImage(content, true), { name: where });
  if (found.corruptions > 0) fail(`${found.corruptions} corruptions: ${found.messages.join("; ")}`);

  const going = new MemoryImage(content);
  const image = await openQcow2(going, { name: where, backing });
  const bytes = await readAll(image);
  const wrong = expected.wrongSector(bytes);
  if (wrong !== undefined) fail(`sector ${wrong} is not what was flushed, nor what was written since`);
  for (let mark = 0; mark < 4; mark++) await changeBoth(image, bytes, new Seeded(content.length + mark), 2 ** image.header.clusterBits, mark);
  if (Buffer.compare(await readAll(image), bytes) !== 0) fail("it does not hold what is written after it");
  await image.close();
  const gone = await checkQcow2(going, { name: where });
  if (gone.corruptions > 0) fail(`${gone.corruptions} corruptions after it was written on: ${gone.messages.join("; ")}`);

  const mended = new MemoryImage(content);
  const { after } = await repairQcow2(mended, { name: where });
  if (after.corruptions + after.leaks > 0) fail(`not clean after a repair: ${after.corruptions} corruptions, ${after.leaks} leaks`);
  const again = await openQcow2(new MemoryImage(mended.content(), true), { name: where, backing });
  if (expected.wrongSector(await readAll(again)) !== undefined) fail("the repair lost data");
  return found;
}
