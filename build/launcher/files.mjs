// File writing that never leaves half a file behind: two builds of one checkout may run at the same time.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

let temporaryFiles = 0;

/** Writes `content` to `path` so that a reader sees either the old file or the new one. Makes the folder. */
export function writeFileAtomically(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.${temporaryFiles++}.tmp`;
  try {
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** The file's text, or undefined when there is no such file. */
export function readTextIfThere(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** The parsed JSON file; undefined when it is missing or, as only a torn or foreign file can be, not JSON. */
export function readJsonIfValid(path) {
  const text = readTextIfThere(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
