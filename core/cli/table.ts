import { shellWord } from "../contract/shellWords";

/** Rows under headings, each column as wide as its widest cell. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ""))));
  return all.map((row) => row.map((cell, column) => cell + " ".repeat(widths[column]! - width(cell))).join("  ").trimEnd()).join("\n");
}

/** `name: value` lines; what has no value is left out. */
export function facts(entries: readonly (readonly [name: string, value: string | undefined])[]): string {
  const present = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined && entry[1] !== "");
  const widest = Math.max(...present.map(([name]) => name.length));
  return present.map(([name, value]) => `${`${name}:`.padEnd(widest + 1)}  ${value.replaceAll("\n", `\n${" ".repeat(widest + 3)}`)}`).join("\n");
}

/** A moment, milliseconds since the epoch, in the person's own time: `2026-01-31 18:05:00`. */
export function time(at: number): string {
  return new Date(at).toLocaleString("sv-SE");
}

/** As a shell and the command line take it: what begins with a dash would be an option. */
export function operand(text: string): string {
  return `${text.startsWith("-") ? "-- " : ""}${shellWord(text)}`;
}

/** Columns a text takes on a terminal: East Asian wide characters and emoji take two, combining marks none. */
function width(text: string): number {
  let columns = 0;
  for (const character of text) {
    if (/\p{Mark}|\u200d|\ufe0f/u.test(character)) continue;
    columns += /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u.test(character) ? 2 : 1;
  }
  return columns;
}
