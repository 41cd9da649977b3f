import { open, stat } from "node:fs/promises";
import { KiB } from "../base/bytes";

/** The most that is read of a file that someone else has written, bytes. */
const cap = 64 * KiB;

/**
 * The beginning of a file, at most `cap` of it; undefined when there is no such file or it cannot be read. Only files
 * are opened: a pipe would keep its reader waiting.
 */
export async function readBeginning(path: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isFile()) return undefined;
    const file = await open(path, "r");
    try {
      const buffer = Buffer.alloc(cap);
      let length = 0;
      for (let read = -1; read !== 0 && length < cap; length += read) read = (await file.read(buffer, length, cap - length, length)).bytesRead;
      return buffer.toString("utf8", 0, length);
    } finally {
      await file.close();
    }
  } catch (failure) {
    if (isSystemError(failure)) return undefined;
    throw failure;
  }
}

/** Whether there is a file of this name. */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (failure) {
    if (isSystemError(failure)) return false;
    throw failure;
  }
}

export function isSystemError(failure: unknown): failure is NodeJS.ErrnoException {
  return failure instanceof Error && "code" in failure && typeof failure.code === "string";
}
