/** One word of a command line as a POSIX shell takes it: between single quotes everything is what it is, but for the single quote. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command line to be pasted into a shell. */
export function shellWords(words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}
