import { describe, expect, it } from "vitest";
import { isNoSpace } from "../../../../core/storage/blockDevice";
import { checkQcow2, openQcow2, type CreateOptions } from "../../../../core/storage/qcow2";
import { firstDifference, newImage, pattern, place, readAll, Seeded } from "../../../support/diskModel";
import { systemError } from "../../../support/faults";
import { MemoryImage } from "../../../support/memoryImage";

/* A full disk, or one that fails now and then: what failed is told, and works when it is done again. */

const name = "failing.qcow2";
const size = 60 * 1024;

describe("an image on a disk that fails", () => {
  it.each<[string, Omit<CreateOptions, "size">]>([
    ["small clusters", { cluster: 512, refcountBits: 64 }],
    ["larger ones", { cluster: 4096 }],
  ])("loses nothing that is tried again, and stays right: %s", async (_name, options) => {
    let failures = 0;
    for (let seed = 0; seed < 12; seed++) {
      const random = new Seeded(seed);
      const { image: backing } = await newImage({ size: 40 * 1024, cluster: 1024 });
      await backing.write(0, pattern(0, 40 * 1024, 200));
      const { file, image } = await newImage({ size, ...options, backing: { file: "below", format: "qcow2" } }, backing);
      const model = await readAll(image);
      const untilDone = async (work: () => Promise<void>): Promise<void> => {
        for (let tries = 0; tries < 200; tries++) {
          try {
            return await work();
          } catch (failure) {
            failures++;
            expect(isNoSpace(failure) || (failure as NodeJS.ErrnoException).code === "EIO").toBe(true);
          }
        }
        throw new Error("it never works");
      };
      file.fault = (operation) => (random.next(8) > 0 ? undefined : systemError(operation === "write" ? "ENOSPC" : "EIO"));
      for (let mark = 0; mark < 60; mark++) {
        const { offset, length } = place(random, size, options.cluster ?? 65536);
        const data = random.next(4) === 0 ? undefined : pattern(offset, length, mark);
        await untilDone(() => (data ? image.write(offset, data) : image.discard(offset, length)));
        model.set(data ?? new Uint8Array(length), offset);
        if (random.next(5) === 0) await untilDone(() => image.flush());
      }
      file.fault = undefined;
      expect(firstDifference(await readAll(image), model)).toBeUndefined();
      await image.close();
      expect(await checkQcow2(new MemoryImage(file.content(), true), { name })).toMatchObject({ corruptions: 0, leaks: 0 });
      const again = await openQcow2(new MemoryImage(file.content(), true), { name, backing });
      expect(firstDifference(await readAll(again), model)).toBeUndefined();
    }
    expect(failures).toBeGreaterThan(200);
  });

  it("closes its file also when the last flush fails", async () => {
    const { file, image } = await newImage({ size });
    await image.write(0, pattern(0, 512, 1));
    file.fault = (operation) => (operation === "flush" ? systemError("EIO") : undefined);
    await expect(image.close()).rejects.toMatchObject({ code: "EIO" });
    expect(file.isClosed).toBe(true);
  });
});
