import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildHash, builtManifest, describeFile, hashSources } from "../../../build/starter/manifest.mjs";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "guest-manifest-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the starter guest's manifest", () => {
  it("gives another hash when a source changes, moves or appears, and the same elsewhere", () => {
    const write = (at: string, files: Record<string, string>): string => {
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(join(folder, at, name, ".."), { recursive: true });
        writeFileSync(join(folder, at, name), text);
      }
      return hashSources({ assets: join(folder, at) });
    };
    const first = write("one", { init: "a", "etc/name": "b" });
    expect(write("two", { init: "a", "etc/name": "b" })).toBe(first);
    expect(write("three", { init: "a", "etc/name": "c" })).not.toBe(first);
    expect(write("four", { init: "a", "etc/nameb": "" })).not.toBe(first);
    expect(write("two", { extra: "" })).not.toBe(first);
  });

  it("names the build by its sources and by the packages' versions, in any order", () => {
    const hash = buildHash("sources", { kernel: "6.1", perl: "5.36" });
    expect(buildHash("sources", { perl: "5.36", kernel: "6.1" })).toBe(hash);
    expect(buildHash("sources", { perl: "5.36", kernel: "6.2" })).not.toBe(hash);
    expect(buildHash("others", { perl: "5.36", kernel: "6.1" })).not.toBe(hash);
  });

  it("counts as built only with the same sources and every file whole", () => {
    const bytes = Buffer.from("kernel");
    writeFileSync(join(folder, "vmlinuz"), bytes);
    writeFileSync(join(folder, "guest.json"), JSON.stringify({ sources: "s1", files: { vmlinuz: describeFile(bytes) } }));
    expect(builtManifest(folder, "s1")).toMatchObject({ sources: "s1" });
    expect(builtManifest(folder, "s2")).toBeUndefined();
    truncateSync(join(folder, "vmlinuz"), 3);
    expect(builtManifest(folder, "s1")).toBeUndefined();
    rmSync(join(folder, "vmlinuz"));
    expect(builtManifest(folder, "s1")).toBeUndefined();
    writeFileSync(join(folder, "guest.json"), "{ torn");
    expect(builtManifest(folder, "s1")).toBeUndefined();
  });
});
