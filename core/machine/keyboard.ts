import { TerrariumError } from "../contract/errors";

/** Keys pressed together, by QEMU's qcode names. */
export type Chord = readonly string[];

const plain: Record<string, string> = {
  " ": "spc",
  "\n": "ret",
  "\t": "tab",
  "\b": "backspace",
  "\u001b": "esc",
  "-": "minus",
  "=": "equal",
  "[": "bracket_left",
  "]": "bracket_right",
  "\\": "backslash",
  ";": "semicolon",
  "'": "apostrophe",
  "`": "grave_accent",
  ",": "comma",
  ".": "dot",
  "/": "slash",
};

const shifted: Record<string, string> = {
  "!": "1",
  "@": "2",
  "#": "3",
  $: "4",
  "%": "5",
  "^": "6",
  "&": "7",
  "*": "8",
  "(": "9",
  ")": "0",
  _: "minus",
  "+": "equal",
  "{": "bracket_left",
  "}": "bracket_right",
  "|": "backslash",
  ":": "semicolon",
  '"': "apostrophe",
  "~": "grave_accent",
  "<": "comma",
  ">": "dot",
  "?": "slash",
};

/**
 * The chords that type `text` on a US keyboard.
 * @throws TerrariumError naming the first character the layout does not have.
 */
export function chordsForText(text: string): Chord[] {
  return [...text.replace(/\r\n?/g, "\n")].map((character) => {
    if (/^[a-z0-9]$/.test(character)) return [character];
    if (/^[A-Z]$/.test(character)) return ["shift", character.toLowerCase()];
    const key = plain[character];
    if (key !== undefined) return [key];
    const under = shifted[character];
    if (under !== undefined) return ["shift", under];
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    throw new TerrariumError("invalid-input", `The character “${character}” (U+${code}) is not on a US keyboard, so it cannot be typed.`, "Use the serial terminal, or write the text without it.");
  });
}

/** Names people use for keys, beside QEMU's own. */
const aliases: Record<string, string> = {
  control: "ctrl",
  del: "delete",
  escape: "esc",
  enter: "ret",
  return: "ret",
  space: "spc",
  super: "meta_l",
  win: "meta_l",
  ins: "insert",
  pageup: "pgup",
  pagedown: "pgdn",
  plus: "equal",
};

/** A key's qcode from the name a person gave it. */
export function keyName(name: string): string {
  const lower = name.trim().toLowerCase();
  return aliases[lower] ?? lower;
}
