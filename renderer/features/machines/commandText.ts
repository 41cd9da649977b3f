import { shellWord } from "../../../core/contract/shellWords";

/** The command line one option a line, quoted as a shell wants it. */
export function commandLines(command: readonly string[]): string[] {
  const lines: string[] = [];
  for (const argument of command) {
    const last = lines.length - 1;
    if (last < 0 || argument.startsWith("-")) lines.push(shellWord(argument));
    else lines[last] += ` ${shellWord(argument)}`;
  }
  return lines;
}
