import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shellWords } from "../../../core/contract/shellWords";

describe("a command line for a shell", () => {
  it("is the same words to the shell", () => {
    const word = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), (words) => {
        const heard = execFileSync("/bin/sh", ["-c", `printf '%s\\0' ${shellWords(words)}`], { encoding: "utf8" });
        expect(heard.split("\0").slice(0, -1)).toEqual(words);
      }),
      { numRuns: 60, examples: [[["", "it's", "~", "$HOME", "a\nb"]]] },
    );
  });

  it("leaves words alone that mean nothing else to a shell", () => {
    expect(shellWords(["/usr/bin/qemu-system-x86_64", "-m", "256", "if=none,id=disk0", "a b"])).toBe("/usr/bin/qemu-system-x86_64 -m 256 if=none,id=disk0 'a b'");
  });

  it("is quoted in one place of the program only", () => {
    const quoting = ["core", "renderer", "electron"].flatMap((part) =>
      readdirSync(part, { recursive: true, encoding: "utf8" })
        .filter((name) => /\.tsx?$/.test(name))
        .map((name) => join(part, name))
        .filter((file) => readFileSync(file, "utf8").includes("'\\\\''")),
    );
    expect(quoting).toEqual([join("core", "contract", "shellWords.ts")]);
  });
});
