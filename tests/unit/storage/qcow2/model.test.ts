import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BlockDevice } from "../../../../core/storage/blockDevice";
import { checkQcow2, openQcow2, type CreateOptions, type Qcow2Image } from "../../../../core/storage/qcow2";
import { changeBoth, firstDifference, newImage, pattern, place, readAll, Seeded } from "../../../support/diskModel";
import { MemoryImage } from "../../../support/memoryImage";

/* Whatever is done to an image, it reads like plain bytes to which the same is done, and its tables stay right. */

interface Real {
  file: MemoryImage;
  image: Qcow2Image;
  readonly backing: BlockDevice | null;
  readonly random: Seeded;
  /** In half of the runs hardly any tables stay in memory. */
  readonly cacheBytes: number;
}

interface Model {
  readonly bytes: Uint8Array;
  readonly cluster: number;
  mark: number;
}

type Command = fc.AsyncCommand<Model, Real>;

const sectors = fc.nat();

function at(model: Model, first: number, count: number): { offset: number; length: number } {
  const all = model.bytes.length / 512;
  return { offset: (first % all) * 512, length: Math.min(all - (first % all), 1 + (count % ((model.cluster / 512) * 5))) * 512 };
}

abstract class Always implements Command {
  check(): boolean {
    return true;
  }

  abstract run(model: Model, real: Real): Promise<void>;

  toString(): string {
    return `${this.constructor.name} ${JSON.stringify(this)}`;
  }
}

class Write extends Always {
  constructor(readonly first: number, readonly count: number) {
    super();
  }

  async run(model: Model, { image }: Real): Promise<void> {
    const { offset, length } = at(model, this.first, this.count);
    const data = pattern(offset, length, model.mark++);
    await image.write(offset, data);
    model.bytes.set(data, offset);
  }
}

class Discard extends Always {
  constructor(readonly first: number, readonly count: number) {
    super();
  }

  async run(model: Model, { image }: Real): Promise<void> {
    const { offset, length } = at(model, this.first, this.count);
    await image.discard(offset, length);
    model.bytes.fill(0, offset, offset + length);
  }
}

class Read extends Always {
  constructor(readonly first: number, readonly count: number) {
    super();
  }

  async run(model: Model, { image }: Real): Promise<void> {
    const { offset, length } = at(model, this.first, this.count);
    const found = new Uint8Array(length).fill(99);
    await image.read(offset, found);
    expect(firstDifference(found, model.bytes.slice(offset, offset + length))).toBeUndefined();
  }
}

/** Many at once, of which no two touch the same sector, though they may touch the same cluster; reads see each sector whole. */
class Together extends Always {
  constructor(readonly seed: number) {
    super();
  }

  async run(model: Model, { image, random: pauses, file }: Real): Promise<void> {
    const random = new Seeded(this.seed);
    const before = model.bytes.slice();
    const taken = new Set<number>();
    const work: (() => Promise<void>)[] = [];
    const reads: { offset: number; found: Uint8Array }[] = [];
    for (let index = 0; index < 16; index++) {
      const { offset, length } = place(random, model.bytes.length, model.cluster);
      const kind = random.next(6);
      if (kind === 0) work.push(() => image.flush());
      else if (kind === 1) {
        const found = new Uint8Array(length);
        reads.push({ offset, found });
        work.push(() => image.read(offset, found));
      } else {
        const own = Array.from({ length: length / 512 }, (_, sector) => offset / 512 + sector);
        if (own.some((sector) => taken.has(sector))) continue;
        own.forEach((sector) => taken.add(sector));
        const data = kind === 2 ? new Uint8Array(length) : pattern(offset, length, model.mark++);
        model.bytes.set(data, offset);
        work.push(() => (kind === 2 ? image.discard(offset, length) : image.write(offset, data)));
      }
    }
    file.pause = async () => {
      for (let ticks = pauses.next(6); ticks > 0; ticks--) await Promise.resolve();
    };
    await Promise.all(work.map((each) => each()));
    file.pause = undefined;
    for (const { offset, found } of reads) {
      for (let index = 0; index < found.length; index += 512) {
        const sector = found.slice(index, index + 512);
        const isOld = firstDifference(sector, before.slice(offset + index, offset + index + 512)) === undefined;
        const isNew = firstDifference(sector, model.bytes.slice(offset + index, offset + index + 512)) === undefined;
        expect(isOld || isNew).toBe(true);
      }
    }
  }
}

class Flush extends Always {
  async run(_model: Model, { image, file }: Real): Promise<void> {
    await image.flush();
    expect(file.unflushed).toBe(0);
    // What was let go of is counted down later: until then it is leaked, and nothing else is wrong.
    expect((await checkQcow2(new MemoryImage(file.content(), true), { name: "test.qcow2" })).messages).toEqual([]);
  }
}

class Reopen extends Always {
  async run(model: Model, real: Real): Promise<void> {
    await real.image.close();
    expect(await checkQcow2(new MemoryImage(real.file.content(), true), { name: "test.qcow2" })).toMatchObject({ corruptions: 0, leaks: 0 });
    const reading = await openQcow2(new MemoryImage(real.file.content(), true), { name: "test.qcow2", backing: real.backing });
    expect(firstDifference(await readAll(reading), model.bytes)).toBeUndefined();
    real.file = new MemoryImage(real.file.content());
    real.image = await openQcow2(real.file, { name: "test.qcow2", backing: real.backing, cacheBytes: real.cacheBytes });
  }
}

const commands = fc.commands(
  [
    fc.tuple(sectors, sectors).map(([first, count]) => new Write(first, count)),
    fc.tuple(sectors, sectors).map(([first, count]) => new Write(first, count)),
    fc.tuple(sectors, sectors).map(([first, count]) => new Discard(first, count)),
    fc.tuple(sectors, sectors).map(([first, count]) => new Read(first, count)),
    sectors.map((seed) => new Together(seed)),
    fc.constant(new Flush()),
    fc.constant(new Reopen()),
  ],
  { maxCommands: 60 },
);

/** Disks of a few hundred clusters, so that tables are many where clusters are small. */
const layouts = fc
  .record({ version: fc.constantFrom(2 as const, 3 as const), clusterBits: fc.constantFrom(9, 9, 10, 12, 16), refcountOrder: fc.nat({ max: 6 }), sectors: fc.integer({ min: 1, max: 1200 }), layers: fc.nat({ max: 3 }), seed: fc.nat() })
  .map(({ version, clusterBits, refcountOrder, sectors, layers, seed }) => ({
    options: { size: Math.min(sectors * Math.max(1, 2 ** (clusterBits - 11)), 4096) * 512, version, cluster: 2 ** clusterBits, ...(version === 3 ? { refcountBits: 2 ** refcountOrder } : {}) } satisfies CreateOptions,
    layers,
    seed,
  }));

/** Disks below each other, of any size, and what the top one has to read as. */
async function chain(layers: number, size: number, random: Seeded): Promise<{ backing: BlockDevice | null; bytes: Uint8Array }> {
  let backing: BlockDevice | null = null;
  let bytes = new Uint8Array(size);
  for (let layer = 0; layer < layers; layer++) {
    const own = Math.max(512, random.next((size / 512) * 2) * 512);
    const cluster = 512 << random.next(4);
    const { image } = await newImage({ size: own, cluster, backing: { file: "below", format: "qcow2" } }, backing);
    const visible = new Uint8Array(own);
    visible.set(bytes.subarray(0, own));
    for (let index = 0; index < 20; index++) await changeBoth(image, visible, random, cluster, layer * 100 + index);
    backing = image;
    bytes = visible;
  }
  const top = new Uint8Array(size);
  top.set(bytes.subarray(0, size));
  return { backing, bytes: top };
}

describe("a qcow2 image beside plain bytes", () => {
  it("reads as they do after any operations, and its tables are right", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(layouts, commands, async ({ options, layers, seed }, run) => {
        const random = new Seeded(seed);
        const { backing, bytes } = await chain(layers, options.size, random);
        const cacheBytes = seed % 2 === 0 ? 1 : 2 ** 20;
        const { file, image } = await newImage({ ...options, cacheBytes, ...(backing ? { backing: { file: "below", format: "qcow2" } } : {}) }, backing);
        const real: Real = { file, image, backing, random, cacheBytes };
        const model: Model = { bytes, cluster: options.cluster, mark: 1000 };
        await fc.asyncModelRun(() => ({ model, real }), run);
        await new Reopen().run(model, real);
      }),
      { numRuns: 100 },
    );
  });

  it("forgets no table whose change is still on its way to the file", async () => {
    const span = (512 / 8) * 512;
    const { file, image } = await newImage({ size: 16 * span, cluster: 512, cacheBytes: 1 });
    for (let table = 0; table < 16; table++) await image.write(table * span, pattern(table * span, 512, 1));
    await image.flush();
    await image.write(512, pattern(512, 512, 2));
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    file.pause = (operation) => (operation === "write" ? held : Promise.resolve());
    const flushed = image.flush();
    const found = new Uint8Array(512);
    for (let table = 1; table < 16; table++) await image.read(table * span, found);
    await image.read(512, found);
    expect(firstDifference(found, pattern(512, 512, 2))).toBeUndefined();
    goOn();
    await flushed;
  });

  it("reads through two hundred layers", async () => {
    const bytes = new Uint8Array(64 * 1024);
    let below: BlockDevice | null = null;
    for (let layer = 0; layer < 200; layer++) {
      const { image }: { image: Qcow2Image } = await newImage({ size: bytes.length, cluster: 512 }, below);
      const data = pattern(layer * 256 - ((layer * 256) % 512), 512, layer);
      await image.write((layer * 256) % bytes.length - ((layer * 256) % 512), data);
      bytes.set(data, (layer * 256) % bytes.length - ((layer * 256) % 512));
      below = image;
    }
    expect(firstDifference(await readAll(below!), bytes)).toBeUndefined();
  });
});
