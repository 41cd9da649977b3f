import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chordsForText, keyName } from "../../../core/machine/keyboard";

describe("typing on a US keyboard", () => {
  it("presses shift where the character is above another", () => {
    expect(chordsForText('aZ5%_ "\\|\t')).toEqual([["a"], ["shift", "z"], ["5"], ["shift", "5"], ["shift", "minus"], ["spc"], ["shift", "apostrophe"], ["backslash"], ["shift", "backslash"], ["tab"]]);
  });

  it("presses return once for every kind of line end", () => {
    expect(chordsForText("a\r\nb\rc\n")).toEqual([["a"], ["ret"], ["b"], ["ret"], ["c"], ["ret"]]);
  });

  it("has a chord of its own for every printable ASCII character", () => {
    const all = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index));
    expect(new Set(chordsForText(all.join("")).map((chord) => chord.join("+"))).size).toBe(95);
  });

  it("names the character it does not have, and types nothing of the text", () => {
    expect(() => chordsForText("abc😀")).toThrow("“😀” (U+1F600)");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const typable = [...text].every((character) => "\t\n\r\b\u001b".includes(character) || (character >= " " && character <= "~"));
        let typed = true;
        try {
          chordsForText(text);
        } catch {
          typed = false;
        }
        expect(typed).toBe(typable);
      }),
    );
  });
});

describe("names of keys", () => {
  it("are QEMU's, or what people call them", () => {
    expect(["ctrl", "Control", "DEL", "Enter", "f12", "Win"].map(keyName)).toEqual(["ctrl", "ctrl", "delete", "ret", "f12", "meta_l"]);
  });
});
