import { createHash, randomBytes } from "node:crypto";
import { link, open, readFile, readdir, rename } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { bootId, isRunning, ownIdentity } from "../base/processes";
import { TerrariumError } from "../contract/errors";
import { removeFile, syncFolder } from "../storage/atomicFile";
import { errno, fileError } from "../storage/fileErrors";

/*
 * Theory of operation. The file `lock` in the home says who serves it. It appears whole, by a hard link from a
 * temporary file, so two starters cannot both make it. A lock is stale when its process (pid and start time) no longer
 * runs or the computer was booted since.
 *
 * Removing a stale lock needs care: of two starters that both saw it stale, the slower one could remove the lock the faster
 * one has just made. So a starter first claims the stale lock, by an exclusive link whose name is the hash of that very
 * lock; then looks whether the lock is still the one it claimed; then renames its own over it. A claim whose owner died is
 * itself claimed in the same way. Claims are removed after the lock has changed, when they can no longer win anything.
 */

const LockRecord = z.object({
  pid: z.number().int(),
  /** As `processStart` says it. */
  processStart: z.string().optional(),
  bootId: z.string().optional(),
  hostname: z.string(),
  runDir: z.string(),
  servedBy: z.enum(["app", "headless"]),
  /** It was started for somebody, ends by itself and gives way to one that stays. */
  endsWhenIdle: z.boolean().optional(),
  /** Tells two locks of the same process apart. */
  nonce: z.string(),
});
/** Who holds a home. */
export type LockRecord = z.infer<typeof LockRecord>;

const fileName = "lock";
const claimName = /^lock\.[0-9a-f]{16}\.claim$/;
const ownTemporary = /^lock\.[0-9a-f]{16}\.new$/;

/** The home is served by another process. */
export class HomeLockedError extends TerrariumError {
  constructor(
    readonly holder: LockRecord,
    message: string,
    remedy: string,
  ) {
    super("locked", message, remedy);
  }
}

export interface HomeLock {
  readonly record: LockRecord;
  /** Gives the home free. Does nothing when the lock is no longer ours. */
  release(): Promise<void>;
}

interface Found {
  readonly text: string;
  /** Absent when the text is not a lock of ours: half written by a power cut, or by hand. Then it is stale. */
  readonly record?: LockRecord;
}

async function readRecord(path: string): Promise<Found | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (failure) {
    if (errno(failure) === "ENOENT") return undefined;
    throw fileError(failure, "The lock of the home could not be read", path, "read");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { text }; // Not JSON: nobody holds it.
  }
  const parsed = LockRecord.safeParse(value);
  return parsed.success ? { text, record: parsed.data } : { text };
}

type Standing = "live" | "stale" | "elsewhere";

async function standing(record: LockRecord): Promise<Standing> {
  const boot = await bootId();
  if (record.bootId !== boot && record.bootId !== undefined && boot !== undefined) {
    // Another boot of this computer is over. Another computer (a home on a network drive) cannot be asked.
    return record.hostname === hostname() ? "stale" : "elsewhere";
  }
  return (await isRunning({ pid: record.pid, start: record.processStart })) ? "live" : "stale";
}

function refuse(home: string, record: LockRecord, how: "live" | "elsewhere"): HomeLockedError {
  if (how === "elsewhere") {
    return new HomeLockedError(record, `The home ${home} is in use on the computer "${record.hostname}" (process ${record.pid}).`, `Quit Terrarium there. If it does not run there any more, delete the file ${join(home, fileName)}.`);
  }
  const who = record.servedBy === "app" ? "the Terrarium app" : "a headless host service (terrarium serve)";
  const remedy = record.servedBy === "app" ? "Use the window that is open, or quit it first." : "Use it through the app or the terrarium command, or end it with: terrarium serve --stop";
  return new HomeLockedError(record, `The home ${home} is already in use by ${who}, process ${record.pid}.`, remedy);
}

/** The live holder of a home, whose `runDir` says where its socket is; undefined when nobody serves it. */
export async function readLock(home: string): Promise<LockRecord | undefined> {
  const found = await readRecord(join(home, fileName));
  if (found?.record === undefined) return undefined;
  return (await standing(found.record)) === "live" ? found.record : undefined;
}

/**
 * Takes the lock of a home.
 * @throws HomeLockedError when someone alive holds it; TerrariumError `read-only` or `disk-full` when it cannot be written.
 */
export async function takeLock(home: string, details: Pick<LockRecord, "runDir" | "servedBy" | "endsWhenIdle">): Promise<HomeLock> {
  const path = join(home, fileName);
  const self = await ownIdentity();
  const record: LockRecord = { pid: self.pid, processStart: self.start, bootId: await bootId(), hostname: hostname(), ...details, nonce: randomBytes(8).toString("hex") };
  const temporary = join(home, `lock.${record.nonce}.new`);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      try {
        await file.writeFile(`${JSON.stringify(record)}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await acquire(home, path, temporary);
      await syncFolder(home);
    } finally {
      await removeFile(temporary);
    }
  } catch (failure) {
    throw fileError(failure, "The home could not be locked", home);
  }
  await removeLeftovers(home);
  return {
    record,
    async release() {
      const found = await readRecord(path);
      if (found?.record?.nonce === record.nonce) await removeFile(path);
    },
  };
}

async function acquire(home: string, path: string, temporary: string): Promise<void> {
  for (;;) {
    if (await linkExclusively(temporary, path)) return;
    const found = await readRecord(path);
    if (found === undefined) continue;
    await refuseIfHeld(home, found);
    if (await takeOver(home, path, found, temporary)) return;
  }
}

async function refuseIfHeld(home: string, found: Found): Promise<void> {
  if (found.record === undefined) return;
  const how = await standing(found.record);
  if (how !== "stale") throw refuse(home, found.record, how);
}

/** Replaces the stale lock. Answers false when the world has changed meanwhile and everything is to be looked at again. */
async function takeOver(home: string, path: string, stale: Found, temporary: string): Promise<boolean> {
  const claims: string[] = [];
  for (let target = stale; ; ) {
    const claim = join(home, `lock.${createHash("sha256").update(target.text).digest("hex").slice(0, 16)}.claim`);
    claims.push(claim);
    if (await linkExclusively(temporary, claim)) break;
    const other = await readRecord(claim);
    if (other === undefined) return false;
    await refuseIfHeld(home, other);
    target = other;
  }
  const now = await readRecord(path);
  const mine = claims[claims.length - 1];
  if (now?.text !== stale.text) {
    if (mine !== undefined) await removeFile(mine);
    return false;
  }
  // A second name of our record, because rename consumes the first and a rename between two links of one file does nothing.
  const own = `${temporary}.own`;
  const file = await open(own, "wx", 0o600);
  try {
    await file.writeFile(await readFile(temporary));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(own, path);
  for (const claim of claims) await removeFile(claim);
  return true;
}

/** False when `path` exists already. */
async function linkExclusively(from: string, path: string): Promise<boolean> {
  try {
    await link(from, path);
    return true;
  } catch (failure) {
    if (errno(failure) === "EEXIST") return false;
    if (errno(failure) !== "EPERM" && errno(failure) !== "ENOTSUP" && errno(failure) !== "EOPNOTSUPP") throw failure;
  }
  // A file system without hard links (exFAT, some network drives): exclusive creation, whole after the next line.
  try {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(await readFile(from));
      await file.sync();
    } finally {
      await file.close();
    }
    return true;
  } catch (failure) {
    if (errno(failure) === "EEXIST") return false;
    throw failure;
  }
}

/** What starters that died half-way left. Only the holder of the lock does this. */
async function removeLeftovers(home: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (!claimName.test(name) && !ownTemporary.test(name.replace(/\.own$/, ""))) continue;
    const found = await readRecord(join(home, name));
    if (found?.record !== undefined && (await standing(found.record)) !== "stale") continue;
    await removeFile(join(home, name));
  }
}
