/** The command line one option a line, quoted as a shell wants it. */
export function commandLines(command: readonly string[]): string[] {
  const lines: string[] = [];
  for (const argument of command) {
    const last = lines.length - 1;
    if (last < 0 || argument.startsWith("-")) lines.push(quoted(argument));
    else lines[last] += ` ${quoted(argument)}`;
  }
  return lines;
}

/** The whole command line, to be pasted into a shell. */
export function commandText(command: readonly string[]): string {
  return command.map(quoted).join(" ");
}

/** POSIX shells take everything between single quotes as it is, but for the single quote. */
function quoted(argument: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
