/**
 * The one interface between a disk and what keeps its bytes. Offsets and lengths are bytes; callers keep them inside
 * `size`. Failures reject with the system's error (`code` such as `ENOSPC` or `EIO`), so that a full disk can be told from a broken one.
 */
export interface BlockDevice {
  /** Bytes. Constant while the device is open. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Fills `target` from `offset`. Holes read as zeroes. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** Writes all of `data` at `offset`. `data` must not change until the promise settles. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Settles when every write that had completed before the call is on stable storage. */
  flush(): Promise<void>;
  /** Makes the range read as zeroes, giving space back where the storage can. */
  discard(offset: number, length: number): Promise<void>;
  /** Releases the storage. Nothing may be in flight. */
  close(): Promise<void>;
}

/**
 * The file of an image that grows as it is written. Offsets and lengths are bytes. Failures reject with the system's error.
 * Writes that have not been flushed may reach the storage in any order, or not at all, when the power fails.
 */
export interface ImageFile {
  /** Bytes now: the end of what was written furthest out. */
  readonly length: number;
  readonly readOnly: boolean;
  /** Fills `target` from `offset`. What lies behind the end reads as zeroes. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** Writes all of `data` at `offset`, making the file longer where needed. `data` must not change until the promise settles. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Settles when every write that had completed before the call is on stable storage. */
  flush(): Promise<void>;
  /** Makes the file end at `length`. Nothing may be in flight. */
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

export type BlockOperation = "read" | "write" | "flush" | "discard";

/** Decides, before an operation runs, whether it fails: returns the error to fail with, or undefined to let it run. */
export type Fault = (operation: BlockOperation, offset: number, length: number) => Error | undefined;

/** A device whose operations fail when `fault` says so; everything else reaches `inner` untouched. */
export function withFaults(inner: BlockDevice, fault: Fault): BlockDevice {
  const guard = async <T>(operation: BlockOperation, offset: number, length: number, run: () => Promise<T>): Promise<T> => {
    const error = fault(operation, offset, length);
    if (error) throw error;
    return run();
  };
  return {
    size: inner.size,
    readOnly: inner.readOnly,
    read: (offset, target) => guard("read", offset, target.length, () => inner.read(offset, target)),
    write: (offset, data) => guard("write", offset, data.length, () => inner.write(offset, data)),
    flush: () => guard("flush", 0, 0, () => inner.flush()),
    discard: (offset, length) => guard("discard", offset, length, () => inner.discard(offset, length)),
    close: () => inner.close(),
  };
}

/** The system's error code of a failed operation, or undefined when it carries none. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Whether a failure means that the storage is full, which a person can cure without losing anything. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
}
