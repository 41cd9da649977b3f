import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { BlockDevice } from "../../core/storage/blockDevice";
import type { CreateOptions } from "../../core/storage/qcow2";
import { changeBoth, newImage, pattern, readAll, Seeded } from "../support/diskModel";
import { cutPower, judge } from "../support/powerCuts";
import { qemuCheck } from "../support/qemuTools";
import { useTemporaryFolder } from "../support/temporaryFolder";

/* The power cuts of the short run, of many more workloads and layouts, with QEMU asked about one in a hundred. */

const folder = useTemporaryFolder();
const seeds = 6;

const layouts: readonly (readonly [string, Omit<CreateOptions, "size">, number])[] = [
  ["512 bytes", { cluster: 512 }, 256 * 1024],
  ["512 bytes, counts of 64 bits", { cluster: 512, refcountBits: 64 }, 64 * 1024],
  ["4 KiB, counts of one bit", { cluster: 4096, refcountBits: 1 }, 256 * 1024],
  ["4 KiB, version 2", { cluster: 4096, version: 2 }, 256 * 1024],
  ["64 KiB", { cluster: 65536 }, 512 * 1024],
];

describe("a power cut after every write of many workloads", () => {
  it.each(layouts)("costs leaked clusters at most: clusters of %s", async (_name, options, size) => {
    for (let seed = 0; seed < seeds; seed++) {
      let backing: BlockDevice | null = null;
      if (seed % 2 === 1) {
        const below = await newImage({ size: size - 8192, cluster: 1024 });
        await below.image.write(0, pattern(0, size - 8192, seed));
        await below.image.flush();
        await writeFile(join(folder.path, "below"), below.file.content());
        backing = below.image;
      }
      const { file, image } = await newImage({ size, ...options, ...(backing ? { backing: { file: "below", format: "qcow2" } } : {}) }, backing);
      const model = await readAll(image);
      for (let mark = 0; mark < 12; mark++) await changeBoth(image, model, new Seeded(seed * 100 + mark), options.cluster ?? 65536, mark);
      await image.close();
      const asked = new Seeded(seed);
      await cutPower({ seed, start: file.content(), model, backing, operations: 40, subsets: 20 }, async (cut) => {
        const { leaks } = await judge(cut, backing);
        if (asked.next(100) > 0) return;
        await writeFile(join(folder.path, "cut"), cut.content);
        const { code, output } = qemuCheck(join(folder.path, "cut"));
        expect(code, `${cut.where}: ${output}`).toBe(leaks > 0 ? 3 : 0);
      });
    }
  });
});
