import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkQcow2, createQcow2, growQcow2, openQcow2, type BackingName, type CreateOptions } from "../../../../core/storage/qcow2";
import { changeBoth, newImage, pattern, readAll, Seeded } from "../../../support/diskModel";
import { MemoryImage } from "../../../support/memoryImage";
import { Expected, judge } from "../../../support/powerCuts";

/* Changes of an image's header: the name of what is below, and the disk's length. */

const name = "changed.qcow2";

/** All that a power cut could leave after each write of the work. */
async function cuts(file: MemoryImage, work: () => Promise<void>): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  const random = new Seeded(file.length);
  file.afterWrite = () => {
    found.push(file.afterPowerCut(() => false), file.afterPowerCut(() => true));
    for (let subset = 0; subset < 6; subset++) found.push(file.afterPowerCut(() => random.next(2) === 0));
  };
  await work();
  file.afterWrite = undefined;
  return found;
}

async function named(content: Uint8Array): Promise<BackingName | undefined> {
  const image = await openQcow2(new MemoryImage(content, true), { name, backing: null });
  const { backing, backingFormat } = image.header;
  return backing === undefined ? undefined : { file: backing, format: backingFormat ?? "" };
}

async function filled(options: CreateOptions): Promise<{ file: MemoryImage; model: Uint8Array }> {
  const { file, image } = await newImage(options);
  const model = new Uint8Array(image.size);
  for (let mark = 0; mark < 12; mark++) await changeBoth(image, model, new Seeded(mark), options.cluster ?? 65536, mark);
  await image.close();
  return { file, model };
}

describe("the name of what is below", () => {
  it("is the old one or the new one after any power cut, and the disk stays what it is", async () => {
    const { file, model } = await filled({ size: 30 * 1024, cluster: 2048, backing: { file: "old.qcow2", format: "qcow2" } });
    const names: (BackingName | undefined)[] = [
      { file: "new.img", format: "raw" },
      { file: `${"long/".repeat(150)}name`, format: "qcow2" },
      { file: "short", format: "qcow2" },
      undefined,
      { file: "again", format: "raw" },
    ];
    let before = await named(file.content());
    expect(before).toEqual({ file: "old.qcow2", format: "qcow2" });
    for (const wanted of names) {
      const image = await openQcow2(file, { name, backing: null });
      for (const content of await cuts(file, () => image.nameBacking(wanted))) {
        expect([before, wanted]).toContainEqual(await named(content));
        await judge({ where: "named", content, expected: Expected.of(model) }, null);
      }
      await image.close();
      expect(await named(file.content())).toEqual(wanted);
      before = wanted;
    }
  });

  it("is given to an image that had none, whichever its header", async () => {
    const names = fc.array(fc.option(fc.record({ file: fc.string({ minLength: 1, maxLength: 60 }).filter((file) => !file.includes("\0")), format: fc.constantFrom("raw", "qcow2") }), { nil: undefined }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(2 as const, 3 as const), fc.constantFrom(512, 1024, 65536), names, async (version, cluster, wanted) => {
        const file = new MemoryImage();
        await createQcow2(file, { size: 4096, version, cluster });
        for (const each of wanted) {
          const image = await openQcow2(file, { name, backing: null });
          await image.nameBacking(each);
          await image.close();
          expect(await named(file.content())).toEqual(each);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("is refused when the header has no room, and nothing is changed", async () => {
    const file = new MemoryImage();
    await createQcow2(file, { size: 4096, cluster: 512 });
    const before = file.content();
    const image = await openQcow2(file, { name, backing: null });
    for (const long of [400, 2000]) await expect(image.nameBacking({ file: "n".repeat(long), format: "raw" })).rejects.toMatchObject({ code: "unsupported" });
    await image.close();
    expect(Buffer.compare(file.content(), before)).toBe(0);
  });
});

describe("a disk that becomes longer", () => {
  it.each<[string, CreateOptions, number]>([
    ["within its first table", { size: 30 * 1024, cluster: 2048 }, 200 * 1024],
    ["with a longer first table", { size: 30 * 1024, cluster: 512 }, 4 * 1024 * 1024],
    ["with more counts", { size: 30 * 1024, cluster: 512, refcountBits: 64 }, 200 * 1024 * 1024],
  ])("has the old length or the new one after any power cut: %s", async (_name, options, size) => {
    const { file, model } = await filled(options);
    const before = model.length;
    const found = await cuts(file, () => growQcow2(file, { name, size }));
    for (const content of found) {
      const image = await openQcow2(new MemoryImage(content), { name, backing: null });
      expect([before, size]).toContain(image.size);
      expect((await checkQcow2(new MemoryImage(content, true), { name })).corruptions).toBe(0);
      const start = new Uint8Array(before);
      await image.read(0, start);
      expect(Buffer.compare(start, model)).toBe(0);
      await image.write(image.size - 512, pattern(image.size - 512, 512, 1));
      await image.close();
    }
    expect(await checkQcow2(file, { name })).toMatchObject({ corruptions: 0, leaks: 0 });
    const image = await openQcow2(file, { name, backing: null });
    expect(image.size).toBe(size);
    await image.write(size - 1024, pattern(size - 1024, 1024, 7));
    const whole = new Uint8Array(size);
    whole.set(model);
    whole.set(pattern(size - 1024, 1024, 7), size - 1024);
    if (size < 2 ** 23) expect(Buffer.compare(await readAll(image), whole)).toBe(0);
    await image.close();
    expect(await checkQcow2(file, { name })).toMatchObject({ corruptions: 0, leaks: 0 });
  });

  it("becomes neither shorter nor longer than an image can be", async () => {
    const { file } = await filled({ size: 30 * 1024, cluster: 512 });
    await expect(growQcow2(file, { name, size: 29 * 1024 })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(growQcow2(file, { name, size: 2 ** 50 })).rejects.toMatchObject({ code: "invalid-input" });
  });
});
