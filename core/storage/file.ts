import { constants, close, fdatasync, fstat, open, read, write } from "node:fs";
import { err, ok, type Result } from "../base/result";
import { errorCode, type BlockDevice } from "./blockDevice";

export interface FileDeviceOptions {
  readonly readOnly: boolean;
  /** The size in bytes must be a multiple of this; 512 for disks, 2048 for CD images. Longer files are cut down to it. */
  readonly sectorSize?: number;
}

/** Discarding writes zeroes in pieces of this many bytes: Node offers no way to punch a hole. */
const zeroes = new Uint8Array(256 * 1024);

/**
 * Opens a raw image. Sparse files stay sparse: only what is written takes space. This is the only block I/O on files.
 * The caller holds the image's lock (`imageLock.ts`) before it opens one for writing.
 */
export async function openFile(path: string, options: FileDeviceOptions): Promise<Result<BlockDevice>> {
  const sectorSize = options.sectorSize ?? 512;
  const flags = options.readOnly ? constants.O_RDONLY : constants.O_RDWR;
  let fd: number;
  try {
    fd = await new Promise<number>((resolve, reject) => open(path, flags, (error, handle) => (error ? reject(error) : resolve(handle))));
  } catch (error) {
    return err(describeOpenFailure(path, error));
  }
  const stats = await new Promise<{ size: number; isFile: boolean }>((resolve, reject) =>
    fstat(fd, (error, value) => (error ? reject(error) : resolve({ size: value.size, isFile: value.isFile() }))),
  );
  const size = Math.floor(stats.size / sectorSize) * sectorSize;
  if (!stats.isFile || size === 0) {
    await closeDescriptor(fd);
    return err(stats.isFile ? `The image ${path} is empty` : `${path} is not a regular file`);
  }
  return ok(new FileDevice(fd, size, options.readOnly));
}

class FileDevice implements BlockDevice {
  constructor(
    private readonly fd: number,
    readonly size: number,
    readonly readOnly: boolean,
  ) {}

  async read(offset: number, target: Uint8Array): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const count = await this.readSome(target, done, offset + done);
      if (count === 0) {
        // The file was shortened behind our back; what is gone reads as a hole does.
        target.fill(0, done);
        return;
      }
      done += count;
    }
  }

  private readSome(target: Uint8Array, at: number, position: number): Promise<number> {
    return new Promise((resolve, reject) =>
      read(this.fd, target, at, target.length - at, position, (error, count) => (error ? reject(error) : resolve(count))),
    );
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    let done = 0;
    // The system may take a part only, just before it says that the disk is full.
    while (done < data.length) {
      done += await new Promise<number>((resolve, reject) =>
        write(this.fd, data, done, data.length - done, offset + done, (error, count) => (error ? reject(error) : resolve(count))),
      );
    }
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => fdatasync(this.fd, (error) => (error ? reject(error) : resolve())));
  }

  async discard(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const count = Math.min(zeroes.length, length - done);
      await this.write(offset + done, zeroes.subarray(0, count));
      done += count;
    }
  }

  close(): Promise<void> {
    return closeDescriptor(this.fd);
  }
}

function closeDescriptor(fd: number): Promise<void> {
  return new Promise((resolve, reject) => close(fd, (error) => (error ? reject(error) : resolve())));
}

function describeOpenFailure(path: string, error: unknown): string {
  switch (errorCode(error)) {
    case "ENOENT":
      return `The image ${path} does not exist`;
    case "EACCES":
    case "EPERM":
      return `The image ${path} may not be opened: permission denied`;
    case "EROFS":
      return `The image ${path} lies on a read-only file system`;
    case "EISDIR":
      return `${path} is a directory, not an image`;
    default:
      return `The image ${path} cannot be opened: ${(error as Error).message}`;
  }
}
