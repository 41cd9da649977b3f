import { constants } from "node:fs";
import { copyFile, open, rm, stat, type FileHandle } from "node:fs/promises";
import { errno } from "./fileErrors";
import type { FaultHook } from "./atomicFile";

export interface CopyOptions {
  readonly signal: AbortSignal;
  /** Fraction done, 0 to 1. */
  readonly progress: (fraction: number) => void;
  readonly faults?: FaultHook | undefined;
}

const chunkBytes = 1024 * 1024;
/** The grain of holes: a block of nearly every file system. */
const blockBytes = 4096;
const zeroes = Buffer.alloc(blockBytes);

/** Bytes of a file that really take space; what a sparse copy of it will need at most. */
export async function allocatedBytes(path: string): Promise<number> {
  const { size, blocks } = await stat(path);
  return Math.min(size, blocks * 512);
}

/**
 * Makes an empty raw disk: a file of `sizeBytes` that takes no space until it is written.
 * @throws the system's error; no file is left then.
 */
export async function makeSparseFile(path: string, sizeBytes: number, faults?: FaultHook): Promise<void> {
  await faults?.("create", path);
  const file = await open(path, "wx", 0o600);
  try {
    await faults?.("write", path);
    await file.truncate(sizeBytes);
    await faults?.("sync", path);
    await file.sync();
  } catch (failure) {
    await rm(path, { force: true });
    throw failure;
  } finally {
    await file.close();
  }
}

/**
 * Copies a disk image into a new file of `sizeBytes` (at least the source's size; the rest reads as zeroes), leaving holes
 * where the source is zero. On file systems that can share blocks it takes no time and no space.
 * @throws the system's error, the signal's reason, or Error when the source changed its size; no file is left then.
 */
export async function copySparse(from: string, to: string, sizeBytes: number, options: CopyOptions): Promise<void> {
  const { signal, progress, faults } = options;
  await faults?.("create", to);
  try {
    if (!(await shareBlocks(from, to))) await copyBlocks(from, to, signal, progress);
    const file = await open(to, "r+");
    try {
      signal.throwIfAborted();
      await faults?.("write", to);
      if ((await file.stat()).size !== sizeBytes) await file.truncate(sizeBytes);
      // A copied read-only image becomes a disk that can be written.
      await file.chmod(0o600);
      await faults?.("sync", to);
      await file.sync();
    } finally {
      await file.close();
    }
    progress(1);
  } catch (failure) {
    await rm(to, { force: true });
    throw failure;
  }
}

/** True when the file system made `to` from the blocks of `from`. */
async function shareBlocks(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (failure) {
    const unable = ["ENOTSUP", "EOPNOTSUPP", "EXDEV", "EINVAL", "ENOSYS", "ENOTTY", "EPERM", "ETXTBSY"];
    if (!unable.includes(errno(failure) ?? "")) throw failure;
    await rm(to, { force: true });
    return false;
  }
}

async function copyBlocks(from: string, to: string, signal: AbortSignal, progress: (fraction: number) => void): Promise<void> {
  const source = await open(from, "r");
  try {
    const target = await open(to, "wx", 0o600);
    try {
      const { size } = await source.stat();
      const chunk = Buffer.allocUnsafe(chunkBytes);
      for (let offset = 0; offset < size; ) {
        signal.throwIfAborted();
        const { bytesRead } = await source.read(chunk, 0, Math.min(chunkBytes, size - offset), offset);
        if (bytesRead === 0) throw new Error(`${from} became shorter while it was copied`);
        await writeNonZero(target, chunk.subarray(0, bytesRead), offset);
        offset += bytesRead;
        progress(offset / size);
      }
      await target.truncate(size);
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** Writes the runs of blocks that are not all zero. */
async function writeNonZero(target: FileHandle, chunk: Buffer, offset: number): Promise<void> {
  let runStart = -1;
  for (let at = 0; at <= chunk.length; at += blockBytes) {
    const block = chunk.subarray(at, Math.min(at + blockBytes, chunk.length));
    const isZero = block.length === 0 || block.equals(block.length === blockBytes ? zeroes : zeroes.subarray(0, block.length));
    if (!isZero && runStart < 0) runStart = at;
    if (isZero && runStart >= 0) {
      await writeAll(target, chunk.subarray(runStart, at), offset + runStart);
      runStart = -1;
    }
  }
  if (runStart >= 0) await writeAll(target, chunk.subarray(runStart), offset + runStart);
}

async function writeAll(target: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await target.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
}
