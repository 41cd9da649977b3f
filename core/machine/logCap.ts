import { copyFile, stat, truncate } from "node:fs/promises";
import { MiB } from "../base/bytes";
import { isMissing } from "../storage/fileErrors";

/** A guest decides how much is written to these logs, and its host's disk must not be full of them. */
const mostLogBytes = 32 * MiB;

/**
 * Begins a log anew that has grown too long; what it held is in `<path>.1`. The machine process goes on with the file,
 * which it has open for appending. What is written in this very moment may be lost.
 */
export async function capLog(path: string): Promise<void> {
  try {
    if ((await stat(path)).size <= mostLogBytes) return;
    await copyFile(path, `${path}.1`);
    await truncate(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
