import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commandLines, commandText } from "../../../../renderer/features/machines/commandText";

describe("a command line as text", () => {
  it("has one option a line, with its value", () => {
    expect(commandLines(["/usr/bin/node", "emulator.cjs", "-name", "a b", "-S", "-disk", '{"id":"disk0"}'])).toEqual(["/usr/bin/node emulator.cjs", "-name 'a b'", "-S", `-disk '{"id":"disk0"}'`]);
    expect(commandLines([])).toEqual([]);
  });

  it("is the same words to a shell", () => {
    const word = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), (words) => {
        const heard = execFileSync("/bin/sh", ["-c", `printf '%s\\0' ${commandText(words)}`], { encoding: "utf8" });
        expect(heard.split("\0").slice(0, -1)).toEqual(words);
        expect(commandLines(words).join(" ")).toBe(commandText(words));
      }),
      { numRuns: 60 },
    );
  });
});
