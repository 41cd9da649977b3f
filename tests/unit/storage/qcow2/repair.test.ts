import { describe, expect, it } from "vitest";
import { checkQcow2, openQcow2, repairQcow2 } from "../../../../core/storage/qcow2";
import { changeBoth, newImage, pattern, readAll, Seeded } from "../../../support/diskModel";
import { MemoryImage } from "../../../support/memoryImage";

const name = "mended.qcow2";
const cluster = 1024;
const size = 48 * 1024;

interface Damaged {
  readonly content: Uint8Array;
  readonly view: DataView;
  /** Where its tables are, bytes. */
  readonly l2: number;
  readonly block: number;
}

/** An image with pattern 1 on all of its disk, to be damaged. */
async function sound(): Promise<Damaged> {
  const { file, image } = await newImage({ size, cluster });
  await image.write(0, pattern(0, size, 1));
  await image.close();
  const content = file.content();
  const view = new DataView(content.buffer);
  return { content, view, l2: Number(view.getBigUint64(Number(view.getBigUint64(40))) & 0x00ff_ffff_ffff_fe00n), block: Number(view.getBigUint64(Number(view.getBigUint64(48)))) };
}

async function bytesOf(content: Uint8Array): Promise<Uint8Array> {
  return readAll(await openQcow2(new MemoryImage(content, true), { name, backing: null }));
}

/** Repairs it, and looks at what a power cut would leave after every write of that: the same disk, to be repaired as well. */
async function repairUnderCuts(content: Uint8Array): Promise<MemoryImage> {
  const expected = await bytesOf(content);
  const file = new MemoryImage(content);
  const left: Uint8Array[] = [];
  const random = new Seeded(1);
  file.afterWrite = () => {
    left.push(file.afterPowerCut(() => false), file.afterPowerCut(() => true));
    for (let subset = 0; subset < 4; subset++) left.push(file.afterPowerCut(() => random.next(2) === 0));
  };
  const { after } = await repairQcow2(file, { name });
  file.afterWrite = undefined;
  expect(after).toMatchObject({ corruptions: 0, leaks: 0 });
  for (const each of left) {
    expect(Buffer.compare(await bytesOf(each), expected)).toBe(0);
    expect((await repairQcow2(new MemoryImage(each), { name })).after).toMatchObject({ corruptions: 0, leaks: 0 });
  }
  expect(left.length).toBeGreaterThan(0);
  expect(file.unflushed).toBe(0);
  return file;
}

/** Writes on, which an image with wrong counts does not survive. */
async function writeOn(file: MemoryImage): Promise<void> {
  const image = await openQcow2(file, { name, backing: null });
  const model = await readAll(image);
  for (let mark = 0; mark < 20; mark++) await changeBoth(image, model, new Seeded(mark), cluster, mark);
  expect(Buffer.compare(await readAll(image), model)).toBe(0);
  await image.close();
  expect(await checkQcow2(file, { name })).toMatchObject({ corruptions: 0, leaks: 0 });
}

describe("a repair", () => {
  it("does nothing to a sound image", async () => {
    const { content } = await sound();
    const file = new MemoryImage(content);
    expect(await repairQcow2(file, { name })).toMatchObject({ before: { corruptions: 0, leaks: 0 }, after: { corruptions: 0, leaks: 0 } });
    expect(Buffer.compare(file.content(), content)).toBe(0);
  });

  it("makes leaked clusters free where they are counted", async () => {
    const { content, view, block, l2 } = await sound();
    for (const entry of [1, 7, 30]) view.setBigUint64(l2 + entry * 8, 0n);
    expect(await checkQcow2(new MemoryImage(content, true), { name })).toMatchObject({ corruptions: 0, leaks: 3 });
    // Of a cluster in use a count too high is more than a leak: its mark is wrong then.
    view.setUint16(block + 20 * 2, 5);
    expect(await checkQcow2(new MemoryImage(content, true), { name })).toMatchObject({ corruptions: 1, leaks: 4 });
    const file = await repairUnderCuts(content);
    expect(file.length).toBe(content.length);
    await writeOn(file);
  });

  it("counts anew when clusters in use are counted as free", async () => {
    const { content, block } = await sound();
    content.fill(0, block, block + 200);
    await writeOn(await repairUnderCuts(content));
  });

  it("counts anew when the blocks of the counts are gone", async () => {
    const { content, view } = await sound();
    view.setBigUint64(Number(view.getBigUint64(48)), 0n);
    await writeOn(await repairUnderCuts(content));
  });

  it("marks clusters that are nobody else's as such", async () => {
    const { content, view, l2 } = await sound();
    view.setUint8(l2, 0);
    view.setUint8(Number(view.getBigUint64(40)), 0);
    expect(await checkQcow2(new MemoryImage(content, true), { name })).toMatchObject({ corruptions: 2, leaks: 0 });
    const file = await repairUnderCuts(content);
    expect(file.length).toBe(content.length);
    await writeOn(file);
  });

  it("parts what two places of the disk have in common", async () => {
    const { content, view, l2 } = await sound();
    view.setBigUint64(l2 + 8, view.getBigUint64(l2));
    const file = await repairUnderCuts(content);
    const image = await openQcow2(file, { name, backing: null });
    const before = await readAll(image);
    await image.write(0, pattern(0, cluster, 9));
    before.set(pattern(0, cluster, 9));
    expect(Buffer.compare(await readAll(image), before)).toBe(0);
    await image.close();
    await writeOn(file);
  });

  it("makes an image writable again that was marked as damaged or as not closed", async () => {
    for (const mark of [1n, 2n, 3n]) {
      const { content, view } = await sound();
      view.setBigUint64(72, mark);
      await expect(openQcow2(new MemoryImage(content), { name, backing: null })).rejects.toMatchObject({ code: "image-unusable" });
      const file = await repairUnderCuts(content);
      expect(new DataView(file.content().buffer).getBigUint64(72)).toBe(0n);
      await writeOn(file);
    }
  });

  it("leaves the mark of a damaged image where an entry leads nowhere, and says so", async () => {
    const { content, view, l2 } = await sound();
    view.setBigUint64(72, 2n);
    view.setBigUint64(l2, (1n << 63n) | 0x1_0000_0000n);
    const file = new MemoryImage(content);
    const { after } = await repairQcow2(file, { name });
    expect(after.corruptions).toBeGreaterThan(0);
    expect(after.messages.join()).toContain("behind the end of the file");
    expect(new DataView(file.content().buffer).getBigUint64(72)).toBe(2n);
  });

  it("can be called off", async () => {
    const { content, block } = await sound();
    content.fill(0, block, block + 200);
    const file = new MemoryImage(content);
    await expect(repairQcow2(file, { name, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(Buffer.compare(file.content(), content)).toBe(0);
  });
});
