import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { toDisposable, type Disposable } from "../base/disposable";
import { err, ok, type Result } from "../base/result";
import { errorCode } from "./blockDevice";

/**
 * One writer per image. The lock is a file beside the image that names the process that holds it by pid and start
 * time, so that the lock of a process that died, or whose pid belongs to another one today, is recognised as stale.
 *
 * A lock appears by `link`, which fails when the name exists: of two processes one wins. A stale lock is taken away by
 * renaming it to a name of our own first; whoever finds that it renamed a living lock puts it back.
 */
interface Holder {
  readonly pid: number;
  /** Clock ticks since boot at which the process started, from /proc; null where the system has no /proc. */
  readonly started: string | null;
  readonly boot: string | null;
}

let attempts = 0;

/** Takes the lock of the image at `path` for this process. The error names the process that holds it. */
export function lockImage(path: string): Result<Disposable> {
  const lock = `${path}.lock`;
  const own = `${lock}.${process.pid}.${attempts++}`;
  const content = JSON.stringify(holderOf(process.pid));
  try {
    writeFileSync(own, content, { mode: 0o600 });
  } catch (error) {
    return err(`The image ${path} cannot be locked: ${(error as Error).message}`);
  }
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        linkSync(own, lock);
        return ok(toDisposable(() => releaseIfOwn(lock, content)));
      } catch (error) {
        if (errorCode(error) !== "EEXIST") return err(`The image ${path} cannot be locked: ${(error as Error).message}`);
      }
      const found = readIfPresent(lock);
      if (found === undefined) continue;
      const holder = parseHolder(found);
      if (holder && isAlive(holder)) return err(`The image ${path} is in use by process ${holder.pid}`);
      takeAwayStale(lock, `${own}.stale`, found);
    }
    return err(`The image ${path} cannot be locked: other processes keep taking its lock`);
  } finally {
    unlinkSync(own);
  }
}

function takeAwayStale(lock: string, aside: string, expected: string): void {
  try {
    renameSync(lock, aside);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  if (readFileSync(aside, "utf8") !== expected) {
    try {
      linkSync(aside, lock);
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
  }
  unlinkSync(aside);
}

function releaseIfOwn(lock: string, content: string): void {
  if (readIfPresent(lock) === content) unlinkSync(lock);
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text) as Partial<Holder>;
    if (typeof value.pid !== "number" || !Number.isInteger(value.pid) || value.pid <= 0) return undefined;
    return { pid: value.pid, started: value.started ?? null, boot: value.boot ?? null };
  } catch {
    // A lock that is no JSON was cut short by a crash while it was written: nobody holds it.
    return undefined;
  }
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return false;
  }
  const today = holderOf(holder.pid);
  if (holder.boot !== null && today.boot !== null && holder.boot !== today.boot) return false;
  return holder.started === null || today.started === null || holder.started === today.started;
}

/** Who a pid is right now, beyond the number that the system will give to another process one day. */
export function holderOf(pid: number): Holder {
  const stat = readProc(`/proc/${pid}/stat`);
  // The second field is the program's name in brackets and may hold anything; field 22 counts from behind it.
  const started = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  return { pid, started, boot: readProc("/proc/sys/kernel/random/boot_id")?.trim() ?? null };
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES") return undefined;
    throw error;
  }
}
