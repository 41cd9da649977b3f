import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createLog } from "../../../core/base/log";
import { cacheKey, readCache, writeCache } from "../../../core/engine/qemuCache";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("what is kept about QEMU", () => {
  const folder = useTemporaryFolder();
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line));
  const found = { version: { major: 7 }, reason: "ä" };

  it("is read again under its key only, and leaves nothing else behind", async () => {
    const file = join(folder.path, "later", "qemu.json");
    expect(await readCache(file, "k", log)).toBeUndefined();
    await writeCache(file, "k", found, log);
    expect(await readCache(file, "k", log)).toEqual(found);
    expect(await readCache(file, "other", log)).toBeUndefined();
    expect(await readdir(join(folder.path, "later"))).toEqual(["qemu.json"]);
    expect(lines).toEqual([]);
  });

  it("is not used when any byte of it has changed or is missing, and that is said", async () => {
    const file = join(folder.path, "qemu.json");
    await writeCache(file, "k", found, log);
    const text = await readFile(file, "utf8");
    for (const damaged of ["", text.slice(0, -1), text.slice(0, 40), text.replace("7", "8"), text.replace('"k"', '"m"'), "null", "[]", '{"key":1}', "\0".repeat(64)]) {
      lines.length = 0;
      await writeFile(file, damaged);
      expect(await readCache(file, "k", log), damaged).toBeUndefined();
      expect(lines, damaged).toEqual([expect.stringContaining("damaged")]);
    }
  });

  it("is done without when it cannot be written, and that is said", async () => {
    await writeFile(join(folder.path, "file"), "");
    lines.length = 0;
    await writeCache(join(folder.path, "file", "qemu.json"), "k", found, log);
    expect(lines).toEqual([expect.stringContaining("could not be kept")]);
    await mkdir(join(folder.path, "taken"));
    await writeCache(join(folder.path, "taken"), "k", found, log);
    expect((await readdir(folder.path)).sort()).toEqual(["file", "taken"]);
  });

  it("is about one program, at one time, under the same circumstances", async () => {
    const binary = join(folder.path, "qemu");
    await writeFile(binary, "one");
    const key = await cacheKey(binary, ["opens"]);
    expect(await cacheKey(binary, ["opens"])).toBe(key);
    expect(await cacheKey(binary, ["EACCES"])).not.toBe(key);
    await utimes(binary, 1, 1);
    expect(await cacheKey(binary, ["opens"])).not.toBe(key);
    expect(key).toContain((await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim());
  });
});
