import { execFileSync } from "node:child_process";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createOverlay, emptyLayerBytes, isUnwritten } from "../../core/machine/overlay";
import { Steps } from "../../core/storage/steps";
import { useTemporaryFolder } from "../support/temporaryFolder";

const folder = useTemporaryFolder();
const qemuImg = (...args: string[]): string => execFileSync("qemu-img", args, { encoding: "utf8" });

describe("a new layer", () => {
  it.each([512, 64 * 1024 * 1024, 3 * 1024 ** 4])("is an image that qemu-img finds whole, of a disk of %i bytes, and shows what lies under it", async (sizeBytes) => {
    const base = join(folder.path, "0.raw");
    const path = join(folder.path, "01234567.qcow2");
    await writeFile(base, Buffer.alloc(512, "under"));
    execFileSync("truncate", ["-s", String(sizeBytes), base]);
    await createOverlay(path, sizeBytes, { file: "0.raw", format: "raw" }, new Steps());
    expect(qemuImg("check", path)).toContain("No errors");
    expect(JSON.parse(qemuImg("info", "--output=json", path))).toMatchObject({ "virtual-size": sizeBytes, "backing-filename": "0.raw", "backing-filename-format": "raw", format: "qcow2" });
    if (sizeBytes < 1e9) expect(qemuImg("compare", "-f", "raw", "-F", "qcow2", base, path)).toContain("identical");
    expect((await stat(path)).blocks * 512).toBeLessThanOrEqual(emptyLayerBytes);
  });

  it("is known to be unwritten until something is written to it", async () => {
    const path = join(folder.path, "01234567.qcow2");
    await writeFile(join(folder.path, "0.raw"), Buffer.alloc(1024 * 1024));
    await createOverlay(path, 1024 * 1024, { file: "0.raw", format: "raw" }, new Steps());
    expect(await isUnwritten(path)).toBe(true);
    execFileSync("qemu-io", ["-c", "write 512k 512", path]);
    expect(await isUnwritten(path)).toBe(false);
    expect(qemuImg("check", path)).toContain("No errors");
  });
});
