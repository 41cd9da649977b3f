import { constants } from "node:fs";
import { copyFile, link, lstat, open, readdir, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder, removeFile, renameDurably, syncFolder, writeFileAtomically, type FaultHook, type Step } from "./atomicFile";
import { errno, isMissing } from "./fileErrors";

/*
 * What changes disks and snapshots, as numbered steps. Every change of a file and every command that changes what a machine
 * process does to its disks is one: the hook is called just before it happens, and tests stop the world there, or let it fail.
 * Products pass no hook, and then a step costs nothing.
 */

export type StepKind = Step | "monitor";

export interface NumberedStep {
  /** From 0, in the order in which they happen. */
  readonly number: number;
  readonly kind: StepKind;
  /** The path, or the command to the machine process. */
  readonly what: string;
}

/** Called before each step; throws in its place. */
export type StepHook = (step: NumberedStep) => void | Promise<void>;

export class Steps {
  private count = 0;
  /** For what takes a hook of its own: creating, writing and renaming there are steps here. */
  readonly faults: FaultHook | undefined;

  constructor(private readonly hook?: StepHook) {
    this.faults = hook && ((kind, path) => this.at(kind, path));
  }

  /** Something is about to happen. */
  async at(kind: StepKind, what: string): Promise<void> {
    await this.hook?.({ number: this.count++, kind, what });
  }

  /** Replaces a file with `content`, see `writeFileAtomically`. */
  write(path: string, content: string | Uint8Array): Promise<void> {
    return writeFileAtomically(path, content, { faults: this.faults });
  }

  makeFolder(path: string): Promise<void> {
    return makeFolder(path, this.faults);
  }

  rename(from: string, to: string): Promise<void> {
    return renameDurably(from, to, this.faults);
  }

  /** Answers whether it was there. */
  removeFile(path: string): Promise<boolean> {
    return removeFile(path, this.faults);
  }

  syncFolder(path: string): Promise<void> {
    return syncFolder(path, this.faults);
  }

  /** Gives a file that never changes any more a second name, or makes a copy where the file system has no such thing. */
  async linkOrCopy(from: string, to: string): Promise<void> {
    await this.at("link", to);
    try {
      await link(from, to);
    } catch (failure) {
      if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "EXDEV", "EMLINK"].includes(errno(failure) ?? "")) throw failure;
      await this.copy(from, to);
    }
  }

  /** A copy that is on the disk when this resolves; it shares blocks with the original where the file system can. */
  async copy(from: string, to: string): Promise<void> {
    await this.at("create", to);
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    await this.sync(to);
  }

  /** What was written to a file is on the disk when this resolves. */
  async sync(path: string): Promise<void> {
    await this.at("sync", path);
    const file = await open(path, "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Removes a file or a folder with all that is in it, one after the other; what is missing is fine. A link is not followed. */
  async removeTree(path: string): Promise<void> {
    try {
      if ((await lstat(path)).isDirectory()) {
        for (const name of (await readdir(path)).sort()) await this.removeTree(join(path, name));
        await this.at("remove", path);
        await rmdir(path);
      } else await this.removeFile(path);
    } catch (failure) {
      if (!isMissing(failure)) throw failure;
      return;
    }
    await this.syncFolder(dirname(path));
  }
}
