import { mkdir, readFile, readdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MachineId } from "../../../core/contract/model";
import { derivedId, formatConfig, parseConfig, readConfig, writeConfig, type Migration } from "../../../core/machine/configFile";
import { failingAfter } from "../../support/faults";
import { makeConfig, oneDisk } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const path = "/home/x/machines/web/machine.json";

function problemOf(text: string): { message: string; remedy?: string | undefined } {
  const read = parseConfig(text, path);
  if (read.ok) throw new Error("it was accepted");
  expect(read.error.problem).toMatchObject({ code: "broken", message: expect.stringContaining(path) as string, remedy: expect.any(String) as string });
  return read.error.problem;
}

describe("parseConfig", () => {
  it("reads what was written", () => {
    const config = makeConfig({ disks: oneDisk });
    expect(parseConfig(formatConfig(config), path)).toMatchObject({ ok: true, value: { config, version: 1, extra: {} } });
  });

  it.each([
    ["", "empty"],
    ["  \n", "empty"],
    ["{", "not valid JSON"],
    ["[]", "not a JSON object"],
    ["null", "not a JSON object"],
    ["{}", "does not say its version"],
    ['{"version":"1"}', "does not say its version"],
    [JSON.stringify({ ...makeConfig(), memoryMiB: -5 }), '"memoryMiB"'],
    [JSON.stringify({ ...makeConfig(), name: "" }), '"name"'],
    [JSON.stringify({ ...makeConfig(), disks: [oneDisk[0], oneDisk[0]] }), "two disks"],
    [JSON.stringify({ ...makeConfig(), disks: [{ ...oneDisk[0], layers: [{ file: "../other/disks/0.raw", format: "raw" }] }] }), "leads out"],
    [formatConfig(makeConfig({ adapters: [0, 1].map(() => ({ mac: "52:54:00:00:00:01", attachment: { mode: "none" as const }, plugged: true })) })), "52:54:00:00:00:01"],
  ])("refuses %s with the reason: %s", (text, reason) => {
    expect(problemOf(text).message).toContain(reason);
  });

  it("refuses a newer format, says so, and still knows which machine it is", () => {
    const config = makeConfig();
    const read = parseConfig(JSON.stringify({ version: 9, id: config.id, name: "from the future", memory: "lots" }), path);
    expect(read).toMatchObject({ ok: false, error: { id: config.id, name: "from the future", problem: { message: expect.stringContaining("newer version") as string, remedy: expect.stringContaining("Update Terrarium") as string } } });
  });

  it("never throws, whatever the file holds", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.object().map((value) => JSON.stringify({ ...value, version: 1 }))), (text) => {
        const read = parseConfig(text, path);
        if (!read.ok) expect(read.error.problem.remedy).toBeTruthy();
      }),
      { numRuns: 300 },
    );
  });

  const config = makeConfig();
  const table: ReadonlyMap<number, Migration> = new Map([[0, ({ ram, ...rest }) => ({ ...rest, memoryMiB: ram })]]);

  it("brings an old format up to date, one step at a time", () => {
    const { memoryMiB, ...old } = config;
    const read = parseConfig(JSON.stringify({ ...old, version: 0, ram: memoryMiB }), path, table);
    expect(read).toMatchObject({ ok: true, value: { config, version: 0 } });
  });

  it("refuses an old format that it cannot bring up to date", () => {
    expect(parseConfig(JSON.stringify({ ...config, version: 0 }), path, new Map())).toMatchObject({ ok: false, error: { id: config.id } });
    const failing: Migration = () => {
      throw new Error("no ram");
    };
    expect(parseConfig(JSON.stringify({ ...config, version: 0 }), path, new Map([[0, failing]]))).toMatchObject({ ok: false, error: { problem: { message: expect.stringContaining("no ram") as string } } });
  });
});

describe("readConfig", () => {
  it("tells a missing file, a folder in its place and an absurdly long one apart", async () => {
    const message = async (): Promise<string> => {
      const read = await readConfig(folder.path);
      return read.ok ? "" : read.error.problem.message;
    };
    expect(await message()).toContain("missing");
    await mkdir(join(folder.path, "machine.json"));
    expect(await message()).toContain("not a file");
    await rmdir(join(folder.path, "machine.json"));
    await writeFile(join(folder.path, "machine.json"), Buffer.alloc(2 * 1024 * 1024, 32));
    expect(await message()).toContain("far too long");
  });
});

describe("writeConfig", () => {
  it("keeps fields that it does not know", async () => {
    const config = makeConfig();
    await writeFile(join(folder.path, "machine.json"), JSON.stringify({ ...config, colour: "green" }));
    const read = await readConfig(folder.path);
    if (!read.ok) throw new Error(read.error.problem.message);
    await writeConfig(folder.path, { ...config, name: "renamed" }, read.value);
    expect(JSON.parse(await readFile(join(folder.path, "machine.json"), "utf8"))).toMatchObject({ name: "renamed", colour: "green" });
  });

  it("keeps the file of an older format beside the new one", async () => {
    const config = makeConfig();
    await writeConfig(folder.path, config, { config, text: "the old text", version: 0, extra: {} });
    expect((await readdir(folder.path)).sort()).toEqual(["machine.json", "machine.v0.json"]);
    expect(await readFile(join(folder.path, "machine.v0.json"), "utf8")).toBe("the old text");
  });

  it.each([
    [0, "ENOSPC", "disk-full"],
    [1, "ENOSPC", "disk-full"],
    [2, "EIO", "io"],
    [3, "EROFS", "read-only"],
  ])("says what failed at step %i (%s), and the old file is whole", async (step, code, expected) => {
    const config = makeConfig();
    await writeConfig(folder.path, config);
    await expect(writeConfig(folder.path, { ...config, name: "new" }, undefined, failingAfter(step, code).hook)).rejects.toMatchObject({ code: expected, remedy: expect.any(String) as string });
    expect(await readFile(join(folder.path, "machine.json"), "utf8")).toBe(formatConfig(config));
    expect(await readdir(folder.path)).toEqual(["machine.json"]);
  });
});

describe("derivedId", () => {
  it("is a machine id, the same for the same folder", () => {
    expect(MachineId.safeParse(derivedId("日本語")).success).toBe(true);
    expect(derivedId("a")).toBe(derivedId("a"));
    expect(derivedId("a")).not.toBe(derivedId("b"));
  });
});
