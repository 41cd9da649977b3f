import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { TerrariumError } from "../../../../core/contract/errors";
import { checkQcow2, createQcow2, openQcow2, repairQcow2 } from "../../../../core/storage/qcow2";
import { changeBoth, newImage, pattern, readAll, Seeded } from "../../../support/diskModel";
import { MemoryImage } from "../../../support/memoryImage";

/* Images from anywhere: whatever their tables say, there is an answer, and nothing of theirs is written over unseen. */

const size = 96 * 1024;
let sound: Uint8Array;
beforeAll(async () => {
  const { file, image } = await newImage({ size, cluster: 1024, refcountBits: 8 });
  const model = new Uint8Array(size);
  for (let mark = 0; mark < 40; mark++) await changeBoth(image, model, new Seeded(mark), 1024, mark);
  await image.close();
  sound = file.content();
});

/** Everything that is done with images; what it may throw is an explained refusal. */
async function useIt(content: Uint8Array): Promise<void> {
  const explained = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (failure) {
      expect(failure).toBeInstanceOf(TerrariumError);
    }
  };
  await explained(() => checkQcow2(new MemoryImage(content, true), { name: "hostile" }));
  await explained(async () => {
    const image = await openQcow2(new MemoryImage(content, true), { name: "hostile", backing: null });
    for (let at = 0; at + 512 <= Math.min(image.size, 2 * size); at += 8192) await explained(() => image.read(at, new Uint8Array(512)));
    await image.close();
  });
  await explained(async () => {
    const image = await openQcow2(new MemoryImage(content), { name: "hostile", backing: null });
    const random = new Seeded(1);
    const room = Math.min(image.size, size);
    for (let index = 0; index < 20 && room > 4096; index++) {
      const at = random.next((room - 4096) / 512) * 512;
      await explained(() => (random.next(3) === 0 ? image.discard(at, 4096) : image.write(at, pattern(at, 2048, index))));
      if (index % 7 === 0) await explained(() => image.flush());
    }
    await explained(() => image.close());
  });
  await explained(() => repairQcow2(new MemoryImage(content), { name: "hostile" }));
}

const interesting = fc.constantFrom(0n, 1n, 512n, 1024n, 0x8000_0000_0000_0000n, 0x8000_0000_0000_0400n, 0x8000_0000_0000_0c00n, 0x7fff_ffff_ffff_fe00n, 0x4000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn, 0x0000_0000_ffff_fe00n);

describe("a hostile image", () => {
  it("is answered with a reason or with bytes, whichever of its bytes are others", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 30 }), async (changes) => {
        const content = sound.slice();
        for (const [at, value] of changes) content[at % content.length] = value;
        await useIt(content);
      }),
      { numRuns: 100 },
    );
  });

  it("is answered so, whatever its entries lead to", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(), fc.oneof(interesting, fc.nat({ max: 200 }).map((cluster) => (1n << 63n) | BigInt(cluster * 1024)))), { minLength: 1, maxLength: 12 }), async (changes) => {
        const content = sound.slice();
        const view = new DataView(content.buffer);
        // Tables and header alike, at each place where an entry can be.
        for (const [at, value] of changes) view.setBigUint64((at % (content.length / 8)) * 8, value);
        await useIt(content);
      }),
      { numRuns: 150 },
    );
  });

  it("is answered so where it is cut off", async () => {
    await fc.assert(fc.asyncProperty(fc.nat(), (length) => useIt(sound.slice(0, length % sound.length))), { numRuns: 60 });
  });

  it("that leads to its own tables as data is not written over, and is marked as damaged", async () => {
    const { file, image } = await newImage({ size, cluster: 1024 });
    await image.write(0, pattern(0, 1024, 1));
    await image.close();
    const content = file.content();
    const view = new DataView(content.buffer);
    const l1 = Number(view.getBigUint64(40));
    const l2 = Number(view.getBigUint64(l1) & 0x00ff_ffff_ffff_fe00n);
    for (const target of [0, l1, l2, Number(view.getBigUint64(48))]) {
      view.setBigUint64(l2, (1n << 63n) | BigInt(target));
      const damaged = new MemoryImage(content);
      const opened = await openQcow2(damaged, { name: "hostile", backing: null });
      // Offset 0 is no place: nothing is there yet.
      if (target === 0) continue;
      await expect(opened.write(0, pattern(0, 512, 2))).rejects.toMatchObject({ code: "image-unusable", message: expect.stringMatching(/where one of its tables is/) as string });
      await expect(opened.write(8192, pattern(0, 512, 2))).rejects.toThrow(/damaged/);
      await opened.close();
      await expect(openQcow2(new MemoryImage(damaged.content()), { name: "hostile", backing: null })).rejects.toThrow(/marked as damaged/);
    }
  });

  it("whose tables are counted as free is not written over either", async () => {
    const { file, image } = await newImage({ size, cluster: 1024 });
    await image.write(0, pattern(0, 1024, 1));
    await image.close();
    const content = file.content();
    const view = new DataView(content.buffer);
    const block = Number(view.getBigUint64(Number(view.getBigUint64(48))));
    content.fill(0, block, block + 1024);
    const opened = await openQcow2(new MemoryImage(content), { name: "hostile", backing: null });
    await expect(opened.write(8192, pattern(0, 512, 2))).rejects.toThrow(/counted as free/);
    await opened.close();
  });

  it("with more tables than memory should hold is read in little memory", async () => {
    const file = new MemoryImage();
    await createQcow2(file, { size: 8 * 2 ** 30, cluster: 512 });
    const content = file.content();
    const view = new DataView(content.buffer);
    const l1 = Number(view.getBigUint64(40));
    // All of its 262144 entries lead to one table after the other.
    for (let index = 0; index < view.getUint32(36); index++) view.setBigUint64(l1 + index * 8, (1n << 63n) | BigInt((index % 1000) * 512));
    const image = await openQcow2(new MemoryImage(content, true), { name: "hostile", backing: null });
    const before = process.memoryUsage();
    for (let at = 0; at < 2 ** 30; at += 32768) await image.read(at, new Uint8Array(512)).catch((failure: unknown) => expect(failure).toBeInstanceOf(TerrariumError));
    const after = process.memoryUsage();
    expect(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(100 * 2 ** 20);
    await image.close();
  });

  it("is read no further than the sectors of its disk", async () => {
    const image = await openQcow2(new MemoryImage(sound, true), { name: "sound", backing: null });
    expect((await readAll(image)).length).toBe(size);
    await expect(image.read(size - 512, new Uint8Array(1024))).rejects.toThrow(RangeError);
    await expect(image.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: "read-only" });
  });
});
