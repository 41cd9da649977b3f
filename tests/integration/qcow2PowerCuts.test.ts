import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TerrariumError } from "../../core/contract/errors";
import { checkQcow2, repairQcow2 } from "../../core/storage/qcow2";
import { changeBoth, newImage, Seeded } from "../support/diskModel";
import { MemoryImage } from "../support/memoryImage";
import { cutPower, judge } from "../support/powerCuts";
import { qemuCheck, qemuImg, qemuIo } from "../support/qemuTools";
import { useTemporaryFolder } from "../support/temporaryFolder";

/* Our check beside QEMU's: of what power cuts leave, and of images that are damaged in any way. */

const folder = useTemporaryFolder();
const place = (name: string): string => join(folder.path, name);

/** What our check says of it, as exit code of `qemu-img check`; 1 when the image cannot be opened. */
async function ourCode(content: Uint8Array): Promise<number> {
  try {
    const { corruptions, leaks } = await checkQcow2(new MemoryImage(content, true), { name: "checked" });
    return corruptions > 0 ? 2 : leaks > 0 ? 3 : 0;
  } catch (failure) {
    if (failure instanceof TerrariumError) return 1;
    throw failure;
  }
}

describe("a power cut", () => {
  it("leaves an image with snapshots and compressed clusters whole, for QEMU too", async () => {
    const model = new Uint8Array(48 * 1024);
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=1k", place("start"), String(model.length));
    qemuIo(place("start"), "write -c -P 5 0 1k", "write -c -P 6 1k 1k", "write -P 7 4k 8k", "write -c -P 8 30k 1k");
    model.fill(5, 0, 1024).fill(6, 1024, 2048).fill(7, 4096, 12288).fill(8, 30720, 31744);
    qemuImg("snapshot", "-c", "kept", place("start"));
    const kept = model.slice();
    const random = new Seeded(9);
    let [asked, leaking] = [0, 0];
    await cutPower({ seed: 21, start: await readFile(place("start")), model, backing: null, operations: 24, subsets: 20 }, async (cut) => {
      await judge(cut, null);
      if (random.next(60) > 0) return;
      asked++;
      await writeFile(place("cut"), cut.content);
      const { code, output } = qemuCheck(place("cut"));
      expect([0, 3], `${cut.where}: ${output}`).toContain(code);
      expect(await ourCode(cut.content), cut.where).toBe(code);
      if (code === 3) leaking++;
      const mended = new MemoryImage(cut.content);
      await repairQcow2(mended, { name: cut.where });
      await writeFile(place("cut"), mended.content());
      expect(qemuCheck(place("cut")), cut.where).toMatchObject({ code: 0 });
      // What the snapshot holds was durable before.
      qemuImg("convert", "-l", "kept", "-f", "qcow2", "-O", "raw", place("cut"), place("then"));
      expect(Buffer.compare(await readFile(place("then")), kept), cut.where).toBe(0);
    });
    expect(asked).toBeGreaterThan(10);
    expect(leaking).toBeGreaterThan(0);
  });
});

describe("our check", () => {
  it("finds of damaged images what QEMU finds, and a repair makes them sound for both wherever one can", async () => {
    const { file, image } = await newImage({ size: 64 * 1024, cluster: 1024, refcountBits: 16 });
    const model = new Uint8Array(64 * 1024);
    for (let mark = 0; mark < 16; mark++) await changeBoth(image, model, new Seeded(mark + 50), 1024, mark);
    await image.close();
    const view = new DataView(file.content().buffer);
    const counts = Number(view.getBigUint64(48));
    const l1 = Number(view.getBigUint64(40));
    const block = Number(view.getBigUint64(counts));
    const l2 = Number(view.getBigUint64(l1) & 0x00ff_ffff_ffff_fe00n);
    const random = new Seeded(4);
    const seen = new Map<number, number>();
    for (let round = 0; round < 48; round++) {
      const content = file.content();
      const damage = new DataView(content.buffer);
      for (let index = 0; index <= random.next(3); index++) {
        const cluster = BigInt(random.next(90) * 1024);
        // Some have counts alone that are too high.
        if (round % 4 === 0) {
          damage.setUint16(block + random.next(24) * 2, 2 + random.next(5));
          continue;
        }
        const kind = random.next(9);
        if (kind < 3) damage.setUint16(block + random.next(80) * 2, random.next(3));
        else if (kind < 5) damage.setBigUint64(l2 + random.next(64) * 8, cluster | (BigInt(random.next(2)) << 63n));
        else if (kind === 5) damage.setBigUint64(l2 + random.next(64) * 8, cluster | 0x4000_0000_0000_0000n | BigInt(random.next(1024)));
        else if (kind === 6) damage.setBigUint64(l2 + random.next(64) * 8, cluster | BigInt(random.next(512)) | (BigInt(random.next(256)) << 56n));
        else if (kind === 7) damage.setBigUint64(l1 + random.next(2) * 8, cluster | (1n << 63n));
        else damage.setBigUint64(counts + random.next(3) * 8, cluster);
      }
      await writeFile(place("damaged"), content);
      const { code, output } = qemuCheck(place("damaged"));
      const ours = await ourCode(content);
      expect(ours, `round ${round}: ${output}`).toBe(code);
      seen.set(code, (seen.get(code) ?? 0) + 1);
      const mended = new MemoryImage(content);
      const { after } = await repairQcow2(mended, { name: "damaged" });
      await writeFile(place("mended"), mended.content());
      const judged = qemuCheck(place("mended"));
      expect(judged.code, `round ${round}: ${judged.output}`).toBe(after.corruptions > 0 ? 2 : after.leaks > 0 ? 3 : 0);
      if (after.corruptions === 0) expect(after.leaks).toBe(0);
    }
    for (const code of [2, 3]) expect(seen.get(code) ?? 0, `exit code ${code}`).toBeGreaterThan(2);
  });
});
