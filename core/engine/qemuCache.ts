import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { uptime } from "node:os";
import { basename, dirname, join } from "node:path";
import { KiB } from "../base/bytes";
import type { Log } from "../base/log";
import { bootId } from "../base/processes";
import { isSystemError, readBeginning } from "./smallFile";
import { isRecord, parseJson } from "./qemuVersion";

/*
 * What was found out about QEMU by running it is kept until something it depends on changes: the computer is started
 * anew, QEMU is another, the device is reached or not. A checksum tells a whole entry from a damaged one; a damaged one
 * is made anew.
 */

/** Counts up when what is kept changes its meaning. */
const format = 1;

/** What an answer depends on, as one string. `more` is what the caller knows of. */
export async function cacheKey(binary: string, more: readonly string[]): Promise<string> {
  const { mtimeMs, size, ino } = await stat(binary);
  // A system that does not tell its boots apart: the minute it started in, give or take one.
  const boot = (await bootId()) ?? `started in minute ${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
  return JSON.stringify([format, boot, binary, mtimeMs, size, ino, ...more]);
}

/** What was kept under `key`; undefined when there is nothing, or nothing that can be used. */
export async function readCache(file: string, key: string, log: Log): Promise<unknown> {
  const text = await readBeginning(file);
  if (text === undefined) return undefined;
  const entry = parseJson(text);
  if (!isRecord(entry) || typeof entry.key !== "string" || entry.checksum !== checksum(entry.key, entry.found)) {
    log.warn(`What was kept in ${file} is damaged and is found out anew.`);
    return undefined;
  }
  return entry.key === key ? entry.found : undefined;
}

/** Keeps `found` under `key`. Without a place for it everything works, only slower, so a failure is logged and no more. */
export async function writeCache(file: string, key: string, found: unknown, log: Log): Promise<void> {
  const text = JSON.stringify({ key, checksum: checksum(key, found), found });
  if (Buffer.byteLength(text) > 64 * KiB) return log.warn("What was found out about QEMU is not kept: it is too long.");
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await replace(file, text);
  } catch (failure) {
    if (!isSystemError(failure)) throw failure;
    log.warn(`What was found out about QEMU could not be kept in ${file}: ${failure.message}`);
  }
}

/** Nothing is synced: what a power cut leaves is of an earlier boot anyway. */
async function replace(file: string, text: string): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString("hex")}.tmp`);
  const handle = await open(temporary, "wx", 0o600);
  try {
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (failure) {
    await rm(temporary, { force: true });
    throw failure;
  }
}

function checksum(key: string, found: unknown): string {
  return createHash("sha256").update(`${key}\n${JSON.stringify(found)}`).digest("hex");
}
