import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readJsonIfValid, readTextIfThere, writeFileAtomically } from "../../../build/launcher/files.mjs";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "terrarium-files-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("writeFileAtomically", () => {
  it("makes missing folders and leaves no temporary file", () => {
    writeFileAtomically(join(folder, "a", "b.txt"), "one");
    writeFileAtomically(join(folder, "a", "b.txt"), "two");
    expect(readFileSync(join(folder, "a", "b.txt"), "utf8")).toBe("two");
    expect(readdirSync(join(folder, "a"))).toEqual(["b.txt"]);
  });

  it("leaves neither file nor rubbish when the place cannot be written", () => {
    writeFileSync(join(folder, "file"), "");
    expect(() => writeFileAtomically(join(folder, "file", "x"), "one")).toThrow();
    expect(readdirSync(folder)).toEqual(["file"]);
  });
});

describe("reading what may be missing", () => {
  it("tells a missing file from an empty one", () => {
    writeFileSync(join(folder, "empty"), "");
    expect(readTextIfThere(join(folder, "empty"))).toBe("");
    expect(readTextIfThere(join(folder, "missing"))).toBeUndefined();
  });

  it("takes a torn stamp for no stamp", () => {
    writeFileSync(join(folder, "torn.json"), '{"a": 1');
    expect(readJsonIfValid(join(folder, "torn.json"))).toBeUndefined();
  });
});
