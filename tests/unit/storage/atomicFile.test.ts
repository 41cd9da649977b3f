import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isLeftover, removeFile, renameDurably, writeFileAtomically, type Step } from "../../../core/storage/atomicFile";
import { failingAfter, systemError } from "../../support/faults";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();

describe("writeFileAtomically", () => {
  it("replaces the file and leaves nothing beside it", async () => {
    const path = join(folder.path, "a.json");
    await writeFileAtomically(path, "old");
    await writeFileAtomically(path, "new");
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder.path)).toEqual(["a.json"]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it("goes through its steps in the order that survives a power cut", async () => {
    const steps: Step[] = [];
    await writeFileAtomically(join(folder.path, "a"), "x", { faults: (step) => void steps.push(step) });
    expect(steps).toEqual(["create", "write", "sync", "rename", "sync-folder"]);
  });

  it.each([0, 1, 2, 3])("keeps the old file whole and leaves no rubbish when step %i fails", async (step) => {
    const path = join(folder.path, "a.json");
    await writeFileAtomically(path, "old");
    await expect(writeFileAtomically(path, "new", { faults: failingAfter(step).hook })).rejects.toMatchObject({ code: "ENOSPC" });
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder.path)).toEqual(["a.json"]);
  });

  it("has a whole new file when only the folder's sync fails", async () => {
    const path = join(folder.path, "a.json");
    await writeFileAtomically(path, "old");
    await expect(writeFileAtomically(path, "new", { faults: failingAfter(4, "EIO").hook })).rejects.toMatchObject({ code: "EIO" });
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder.path)).toEqual(["a.json"]);
  });

  it("names its temporary files so that they are recognised later", async () => {
    let seen = "";
    await writeFileAtomically(join(folder.path, "machine.json"), "x", { faults: (step, path) => void (step === "create" && (seen = path)) });
    expect(isLeftover(seen.slice(folder.path.length + 1))).toBe(true);
    expect(isLeftover("machine.json")).toBe(false);
    expect(isLeftover(".hidden.tmp")).toBe(false);
  });
});

describe("renameDurably", () => {
  it("moves nothing when it fails before the rename", async () => {
    await mkdir(join(folder.path, "a"));
    await expect(renameDurably(join(folder.path, "a"), join(folder.path, "b"), failingAfter(0).hook)).rejects.toThrow();
    expect(await readdir(folder.path)).toEqual(["a"]);
  });
});

describe("removeFile", () => {
  it("tells whether there was a file", async () => {
    await writeFile(join(folder.path, "a"), "");
    expect(await removeFile(join(folder.path, "a"))).toBe(true);
    expect(await removeFile(join(folder.path, "a"))).toBe(false);
  });

  it("reports every other failure", async () => {
    await expect(removeFile(join(folder.path, "a"), () => { throw systemError("EIO"); })).rejects.toMatchObject({ code: "EIO" });
  });
});
