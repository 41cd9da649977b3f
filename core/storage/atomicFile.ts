import { randomBytes } from "node:crypto";
import { open, mkdir, rename, rm, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errno } from "./fileErrors";

/*
 * Every change of what Terrarium keeps goes through here, so that at any moment a reader, a crash or a power cut finds
 * either the old or the new, whole. The order is the usual one: the new content under a temporary name, fsync, rename
 * over the old, fsync of the folder (without which the rename itself may be lost).
 */

/** A step that changes the disk, named as it is about to happen. */
export type Step =
  | "create" // of the temporary file
  | "write"
  | "sync"
  | "rename"
  | "sync-folder"
  | "make-folder"
  | "link" // a second name for a file that is there
  | "remove";

/** Called before each step; tests throw from it or kill the process in it. Products pass none. */
export type FaultHook = (step: Step, path: string) => void | Promise<void>;

const temporaryName = /^\..+\.[0-9a-f]{12}\.tmp$/;

/** Whether a file of this name is what an interrupted `writeFileAtomically` left. */
export function isLeftover(name: string): boolean {
  return temporaryName.test(name);
}

/**
 * Replaces `path` with `content`. When it rejects, the file is the old or (when only its folder could not be made durable) the new one, whole, and no temporary file is left unless the process died.
 * @throws the system's error.
 */
export async function writeFileAtomically(path: string, content: string | Uint8Array, options: { faults?: FaultHook | undefined; mode?: number } = {}): Promise<void> {
  const { faults, mode = 0o600 } = options;
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  await faults?.("create", temporary);
  const file = await open(temporary, "wx", mode);
  try {
    try {
      await faults?.("write", temporary);
      await file.writeFile(content);
      await faults?.("sync", temporary);
      await file.sync();
    } finally {
      await file.close();
    }
    await faults?.("rename", path);
    await rename(temporary, path);
  } catch (failure) {
    await rm(temporary, { force: true });
    throw failure;
  }
  await syncFolder(dirname(path), faults);
}

/** Makes the names in a folder durable. Systems that cannot sync a folder (Windows) are taken at their word. */
export async function syncFolder(path: string, faults?: FaultHook): Promise<void> {
  await faults?.("sync-folder", path);
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } catch (failure) {
    // Some network and FUSE file systems answer that folders cannot be synced; there is nothing more to be had there.
    if (errno(failure) !== "EINVAL" && errno(failure) !== "ENOTSUP") throw failure;
  } finally {
    await folder.close();
  }
}

/** Renames a file or folder within a file system, durably on both sides. */
export async function renameDurably(from: string, to: string, faults?: FaultHook): Promise<void> {
  await faults?.("rename", to);
  await rename(from, to);
  await syncFolder(dirname(to), faults);
  if (dirname(from) !== dirname(to)) await syncFolder(dirname(from), faults);
}

/** Makes one folder (its parent must exist), durably. */
export async function makeFolder(path: string, faults?: FaultHook): Promise<void> {
  await faults?.("make-folder", path);
  await mkdir(path, { mode: 0o700 });
  await syncFolder(dirname(path), faults);
}

/** Removes a file or a whole folder; what is missing already is fine. */
export async function removeTree(path: string, faults?: FaultHook): Promise<void> {
  await faults?.("remove", path);
  await rm(path, { recursive: true, force: true, maxRetries: 2 });
}

/** Removes one file; answers whether it was there. */
export async function removeFile(path: string, faults?: FaultHook): Promise<boolean> {
  await faults?.("remove", path);
  try {
    await unlink(path);
    return true;
  } catch (failure) {
    if (errno(failure) === "ENOENT") return false;
    throw failure;
  }
}
