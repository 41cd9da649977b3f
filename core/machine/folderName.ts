/** The longest folder name in code points and bytes: short enough for any file system with a suffix added. */
const maxCodePoints = 40;
const maxBytes = 120;

/** Names that Windows keeps for devices, whatever follows a dot. */
const reserved = /^(con|prn|aux|nul|com[0-9]|lpt[0-9]|lost\+found)$/;

/**
 * A folder's name for a machine's name: letters and digits of any script, the rest as hyphens. Safe on every file
 * system and in every shell: no separators, dots, blanks, quotes, control or direction characters.
 */
export function folderNameFor(name: string): string {
  const hyphenated = name
    .normalize("NFKC")
    .toLowerCase()
    .normalize("NFC")
    // A mark stays only on a letter; stacks of marks are decoration.
    .replace(/(\p{M}{2})\p{M}+/gu, "$1")
    .replace(/[^\p{L}\p{M}\p{N}]+/gu, "-")
    .replace(/^[-\p{M}]+|-+$/gu, "");
  let short = "";
  let count = 0;
  for (const character of hyphenated) {
    if (count === maxCodePoints || Buffer.byteLength(short + character) > maxBytes) break;
    short += character;
    count++;
  }
  short = short.replace(/-+$/, "");
  if (short === "") return "machine";
  return reserved.test(short) ? `${short}-machine` : short;
}

/** `wanted`, or `wanted-2`, `wanted-3`, ... : the first that is not taken, on file systems that ignore case as well. */
export function uniqueFolderName(wanted: string, taken: Iterable<string>): string {
  const used = new Set([...taken].map(comparable));
  for (let count = 1; ; count++) {
    const candidate = count === 1 ? wanted : `${wanted}-${count}`;
    if (!used.has(comparable(candidate))) return candidate;
  }
}

/** Two names of machines are the same when this is: whoever reads them could not tell them apart. */
export function comparable(name: string): string {
  return name.normalize("NFKC").toLowerCase().normalize("NFC");
}

/** `name`, or `name (2)`, `name (3)`, ...: the first that no other machine has. */
export function uniqueMachineName(name: string, taken: Iterable<string>, maxLength: number): string {
  const used = new Set([...taken].map(comparable));
  for (let count = 1; ; count++) {
    const suffix = count === 1 ? "" : ` (${count})`;
    const candidate = [...name].slice(0, maxLength - suffix.length).join("").trim() + suffix;
    if (!used.has(comparable(candidate))) return candidate;
  }
}
