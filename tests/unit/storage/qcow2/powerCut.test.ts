import { describe, expect, it } from "vitest";
import type { BlockDevice } from "../../../../core/storage/blockDevice";
import type { CreateOptions } from "../../../../core/storage/qcow2";
import { changeBoth, newImage, pattern, readAll, Seeded } from "../../../support/diskModel";
import { cutPower, judge, type Workload } from "../../../support/powerCuts";

/* The power fails after every single write: leaked clusters are all that it may cost. */

const size = 40 * 1024;

async function start(options: Omit<CreateOptions, "size">, below: BlockDevice | null, seed: number, bytes = size): Promise<Pick<Workload, "start" | "model" | "backing">> {
  const { file, image } = await newImage({ size: bytes, ...options, ...(below ? { backing: { file: "below", format: "qcow2" } } : {}) }, below);
  const model = await readAll(image);
  for (let mark = 0; mark < 10; mark++) await changeBoth(image, model, new Seeded(seed + mark), options.cluster ?? 65536, mark);
  await image.close();
  return { start: file.content(), model, backing: below };
}

async function base(): Promise<BlockDevice> {
  const { image } = await newImage({ size: size - 4096, cluster: 1024 });
  await image.write(0, pattern(0, size - 4096, 77));
  return image;
}

describe("a power cut after every write of a random workload", () => {
  it.each<[string, Omit<CreateOptions, "size">, boolean]>([
    ["small clusters", { cluster: 512, refcountBits: 16 }, false],
    ["an overlay", { cluster: 1024, refcountBits: 1 }, true],
    ["version 2", { cluster: 1024, version: 2 }, true],
    ["few clusters to a block of counts", { cluster: 512, refcountBits: 64 }, true],
  ])("leaves an image that is whole: %s", { timeout: 120_000 }, async (_name, options, hasBase) => {
    const backing = hasBase ? await base() : null;
    let cuts = 0;
    const writes = await cutPower({ seed: 11, ...(await start(options, backing, 3)), operations: 20, subsets: 20 }, async (cut) => {
      cuts++;
      await judge(cut, backing);
    });
    expect(writes).toBeGreaterThan(30);
    expect(cuts).toBeGreaterThan(writes * 4);
  });

  it("leaves it whole also where the table of reference counts moves", { timeout: 120_000 }, async () => {
    // A table of one cluster leads to 64 blocks for 64 clusters each; nearly all of those are taken.
    const [bytes, taken] = [2 * 1024 * 1024, 3945 * 512];
    const { file, image } = await newImage({ size: bytes, cluster: 512, refcountBits: 64 });
    await image.write(0, pattern(0, taken, 5));
    const model = await readAll(image);
    await image.close();
    const before = new DataView(file.content().buffer).getBigUint64(48);
    const moved = new Set<bigint>();
    await cutPower({ seed: 2, start: file.content(), model, backing: null, operations: 0, subsets: 1, fill: { offset: taken, length: 16 * 1024 } }, async (cut) => {
      moved.add(new DataView(cut.content.buffer).getBigUint64(48));
      await judge(cut, null);
    });
    expect(moved.size).toBe(2);
    expect(moved).toContain(before);
  });
});
