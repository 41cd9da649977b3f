import { link, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { readFileSync, unlinkSync } from "node:fs";
import { toDisposable, type Disposable } from "../base/disposable";
import { bootId, isRunning, ownIdentity } from "../base/processes";
import { err, ok, type Result } from "../base/result";
import { errno } from "./fileErrors";

/**
 * One writer per image. The lock is a file beside the image that names the process that holds it by pid and start
 * time, so that the lock of a process that died, or whose pid belongs to another one today, is recognised as stale.
 *
 * A lock appears by `link`, which fails when the name exists: of two processes one wins. A stale lock is taken away by
 * renaming it to a name of our own first; whoever finds that it renamed a living lock puts it back. Where the file system
 * knows no links, the file is made exclusively instead.
 */
interface Holder {
  readonly pid: number;
  /** As `processStart` says it; null where the system does not tell. */
  readonly started: string | null;
  readonly boot: string | null;
}

let attempts = 0;

/** Takes the lock of the image at `path` for this process. The error names the process that holds it. */
export async function lockImage(path: string): Promise<Result<Disposable>> {
  const lock = `${path}.lock`;
  const own = `${lock}.${process.pid}.${attempts++}`;
  const content = JSON.stringify(await ownHolder());
  try {
    await writeFile(own, content, { mode: 0o600 });
  } catch (error) {
    return err(`The image ${path} cannot be locked: ${(error as Error).message}`);
  }
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        await appear(own, lock, content);
        return ok(toDisposable(() => releaseIfOwn(lock, content)));
      } catch (error) {
        if (errno(error) !== "EEXIST") return err(`The image ${path} cannot be locked: ${(error as Error).message}`);
      }
      const found = await readIfPresent(lock);
      if (found === undefined) continue;
      const holder = parseHolder(found);
      if (holder && (await isAlive(holder))) return err(`The image ${path} is in use by process ${holder.pid}`);
      await takeAwayStale(lock, `${own}.stale`, found);
    }
    return err(`The image ${path} cannot be locked: other processes keep taking its lock`);
  } finally {
    await unlink(own);
  }
}

/** Who holds an image that this process has locked. */
export async function ownHolder(): Promise<Holder> {
  const { pid, start } = await ownIdentity();
  return { pid, started: start ?? null, boot: (await bootId()) ?? null };
}

async function appear(own: string, lock: string, content: string): Promise<void> {
  try {
    await link(own, lock);
  } catch (error) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP"].includes(errno(error) ?? "")) throw error;
    await writeFile(lock, content, { flag: "wx", mode: 0o600 });
  }
}

async function takeAwayStale(lock: string, aside: string, expected: string): Promise<void> {
  try {
    await rename(lock, aside);
  } catch (error) {
    if (errno(error) === "ENOENT") return;
    throw error;
  }
  const taken = await readFile(aside, "utf8");
  if (taken !== expected) {
    try {
      await appear(aside, lock, taken);
    } catch (error) {
      if (errno(error) !== "EEXIST") throw error;
    }
  }
  await unlink(aside);
}

/** At the end of the process, so at once. */
function releaseIfOwn(lock: string, content: string): void {
  try {
    if (readFileSync(lock, "utf8") === content) unlinkSync(lock);
  } catch (error) {
    if (errno(error) !== "ENOENT") throw error;
  }
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errno(error) === "ENOENT") return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value = JSON.parse(text) as Partial<Holder> | null;
    if (typeof value?.pid !== "number" || !Number.isInteger(value.pid) || value.pid <= 0) return undefined;
    return { pid: value.pid, started: value.started ?? null, boot: value.boot ?? null };
  } catch {
    // A lock that is no JSON was cut short by a crash while it was written: nobody holds it.
    return undefined;
  }
}

async function isAlive({ pid, started, boot }: Holder): Promise<boolean> {
  const today = await bootId();
  if (boot !== null && today !== undefined && boot !== today) return false;
  return isRunning({ pid, start: started ?? undefined });
}
