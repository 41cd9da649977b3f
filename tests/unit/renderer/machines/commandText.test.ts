import { describe, expect, it } from "vitest";
import { shellWords } from "../../../../core/contract/shellWords";
import { commandLines } from "../../../../renderer/features/machines/commandText";

describe("a command line as text", () => {
  it("has one option a line, with its value", () => {
    expect(commandLines(["/usr/bin/node", "emulator.cjs", "-name", "a b", "-S", "-disk", '{"id":"disk0"}'])).toEqual(["/usr/bin/node emulator.cjs", "-name 'a b'", "-S", `-disk '{"id":"disk0"}'`]);
    expect(commandLines([])).toEqual([]);
  });

  it("is line by line what a shell takes as a whole", () => {
    const words = ["qemu", "-name", "it's", "", "-append", "root=/dev/vda quiet"];
    expect(commandLines(words).join(" ")).toBe(shellWords(words));
  });
});
