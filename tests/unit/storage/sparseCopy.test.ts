import { open, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocatedBytes, copySparse, makeSparseFile } from "../../../core/storage/sparseCopy";
import { failingAfter } from "../../support/faults";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const quiet = (): { signal: AbortSignal; progress: () => void } => ({ signal: new AbortController().signal, progress: () => undefined });

describe("makeSparseFile", () => {
  it("makes a disk of any size that takes no space", async () => {
    const path = join(folder.path, "disk.raw");
    await makeSparseFile(path, 1 << 30);
    expect((await stat(path)).size).toBe(1 << 30);
    expect(await allocatedBytes(path)).toBeLessThan(65_536);
  });

  it("never touches a file that is there", async () => {
    const path = join(folder.path, "disk.raw");
    await writeFile(path, "precious");
    await expect(makeSparseFile(path, 512)).rejects.toMatchObject({ code: "EEXIST" });
    expect(await readFile(path, "utf8")).toBe("precious");
  });

  it.each([1, 2])("leaves no file when step %i fails", async (step) => {
    await expect(makeSparseFile(join(folder.path, "disk.raw"), 512, failingAfter(step).hook)).rejects.toMatchObject({ code: "ENOSPC" });
    expect(await readdir(folder.path)).toEqual([]);
  });
});

describe("copySparse", () => {
  it("copies data and holes exactly, and holes stay holes", async () => {
    const from = join(folder.path, "from");
    const file = await open(from, "w");
    await file.truncate(64 * 1024 * 1024);
    await file.write("start", 0);
    await file.write("middle", 20_000_003);
    await file.write("end", 64 * 1024 * 1024 - 3);
    await file.close();
    const to = join(folder.path, "to");
    const fractions: number[] = [];
    await copySparse(from, to, 64 * 1024 * 1024, { signal: new AbortController().signal, progress: (fraction) => fractions.push(fraction) });
    expect((await readFile(to)).equals(await readFile(from))).toBe(true);
    expect(await allocatedBytes(to)).toBeLessThan(1024 * 1024);
    expect(fractions.at(-1)).toBe(1);
    expect([...fractions].sort((a, b) => a - b)).toEqual(fractions);
  });

  it("copies whatever bytes there are, of any length, and pads with zeroes", async () => {
    let count = 0;
    const run = fc.record({ zero: fc.boolean(), length: fc.integer({ min: 1, max: 9000 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 6 }), fc.integer({ min: 0, max: 600 }), async (runs, padding) => {
        const content = Buffer.concat(runs.map(({ zero, length }, index) => Buffer.alloc(length, zero ? 0 : index + 1)));
        const from = join(folder.path, `from-${count}`);
        const to = join(folder.path, `to-${count++}`);
        await writeFile(from, content);
        await copySparse(from, to, content.length + padding, quiet());
        expect((await readFile(to)).equals(Buffer.concat([content, Buffer.alloc(padding)]))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("stops in the middle when it is cancelled, and nothing is left", async () => {
    const from = join(folder.path, "from");
    await writeFile(from, Buffer.alloc(8 * 1024 * 1024, 1));
    const abort = new AbortController();
    const reason = new Error("cancelled");
    let last = 0;
    const copying = copySparse(from, join(folder.path, "to"), 8 * 1024 * 1024, {
      signal: abort.signal,
      progress: (fraction) => {
        last = fraction;
        if (fraction > 0.3) abort.abort(reason);
      },
    });
    await expect(copying).rejects.toBe(reason);
    expect(last).toBeLessThan(1);
    expect(await readdir(folder.path)).toEqual(["from"]);
  });

  it.each([0, 1, 2])("leaves no file when step %i fails", async (step) => {
    const from = join(folder.path, "from");
    await writeFile(from, "content");
    await expect(copySparse(from, join(folder.path, "to"), 512, { ...quiet(), faults: failingAfter(step).hook })).rejects.toMatchObject({ code: "ENOSPC" });
    expect(await readdir(folder.path)).toEqual(["from"]);
  });
});
