import { constants, close, fdatasync, fstat, ftruncate, open, read, readSync, write } from "node:fs";
import { systemClock, type Clock } from "../base/clock";
import { err, ok, type Result } from "../base/result";
import { errorCode, type BlockDevice, type ImageFile } from "./blockDevice";

export interface FileDeviceOptions {
  readonly readOnly: boolean;
  /** The size in bytes must be a multiple of this; 512 for disks, 2048 for CD images. Longer files are cut down to it. */
  readonly sectorSize?: number;
}

/** Discarding writes zeroes in pieces of this many bytes: Node offers no way to punch a hole. */
const zeroes = new Uint8Array(256 * 1024);
const settled = Promise.resolve();

/**
 * Opens a raw image. Sparse files stay sparse: only what is written takes space. This is the only block I/O on files.
 * The caller holds the image's lock (`imageLock.ts`) before it opens one for writing.
 */
export async function openFile(path: string, options: FileDeviceOptions): Promise<Result<BlockDevice>> {
  const sectorSize = options.sectorSize ?? 512;
  const opened = await openDescriptor(path, options.readOnly ? constants.O_RDONLY : constants.O_RDWR);
  if (!opened.ok) return opened;
  const { fd, stats } = opened.value;
  const size = Math.floor(stats.size / sectorSize) * sectorSize;
  if (!stats.isFile || size === 0) {
    await closeDescriptor(fd);
    return err(stats.isFile ? `The image ${path} is empty` : `${path} is not a regular file`);
  }
  return ok(new FileDevice(fd, size, options.readOnly));
}

export interface ImageFileOptions {
  readonly readOnly: boolean;
  /** It must not be there yet. */
  readonly create?: boolean;
  /** A symbolic link at the end of the path is refused. */
  readonly noFollow?: boolean;
  /** The system's unless given. */
  readonly clock?: Pick<Clock, "monotonic">;
}

/** Opens the file of an image that grows (`ImageFile`), which may be empty. */
export async function openImageFile(path: string, options: ImageFileOptions): Promise<Result<ImageFile>> {
  // Opening a pipe must not wait for somebody at its other end; on files it changes nothing.
  const access = (options.readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK;
  const opened = await openDescriptor(path, access | (options.create ? constants.O_CREAT | constants.O_EXCL : 0) | (options.noFollow ? constants.O_NOFOLLOW : 0));
  if (!opened.ok) return opened;
  const { fd, stats } = opened.value;
  if (stats.isFile) return ok(new GrowingFile(fd, stats.size, options.readOnly, new Patience(options.clock ?? systemClock())));
  await closeDescriptor(fd);
  return err(`${path} is not a regular file`);
}

interface Opened {
  readonly fd: number;
  readonly stats: { readonly size: number; readonly isFile: boolean };
}

async function openDescriptor(path: string, flags: number): Promise<Result<Opened>> {
  try {
    const fd = await new Promise<number>((resolve, reject) => open(path, flags, 0o600, (error, handle) => (error ? reject(error) : resolve(handle))));
    const stats = await new Promise<Opened["stats"]>((resolve, reject) =>
      fstat(fd, (error, value) => (error ? reject(error) : resolve({ size: value.size, isFile: value.isFile() }))),
    );
    return ok({ fd, stats });
  } catch (error) {
    return err(describeOpenFailure(path, error));
  }
}

/** What both kinds of files do alike. */
class Descriptor {
  constructor(
    protected readonly fd: number,
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

  close(): Promise<void> {
    return closeDescriptor(this.fd);
  }
}

class FileDevice extends Descriptor implements BlockDevice {
  constructor(
    fd: number,
    readonly size: number,
    readOnly: boolean,
  ) {
    super(fd, readOnly);
  }

  async discard(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const count = Math.min(zeroes.length, length - done);
      await this.write(offset + done, zeroes.subarray(0, count));
      done += count;
    }
  }
}

/** Longer reads are worth the way to another thread and back. */
const mostAtOnceBytes = 16 * 1024;
/** What the system had in memory comes faster than this, milliseconds. */
const quickMs = 0.5;
const mostPatience = 4096;
/** So many reads in a row are done here; then one lets others have their turn. */
const mostInARow = 256;

/**
 * Whether to wait for short reads in this thread. What is in the system's cache is there in a few microseconds, where the
 * way to another thread takes tens; what is not would hold up everything. So after each slow read many are sent to other
 * threads, twice as many every time, before one is tried here again.
 */
class Patience {
  private elsewhere = 0;
  private next = 16;
  private inARow = 0;

  constructor(private readonly clock: Pick<Clock, "monotonic">) {}

  /** Runs the read here if that is likely to be quick; says whether it did. */
  tryHere(work: () => void): boolean {
    if (this.elsewhere > 0 || this.inARow === mostInARow) {
      if (this.elsewhere > 0) this.elsewhere--;
      this.inARow = 0;
      return false;
    }
    this.inARow++;
    const began = this.clock.monotonic();
    work();
    if (this.clock.monotonic() - began > quickMs) {
      this.elsewhere = this.next;
      this.next = Math.min(mostPatience, this.next * 2);
    } else if (this.next > 16) this.next--;
    return true;
  }
}

class GrowingFile extends Descriptor implements ImageFile {
  constructor(
    fd: number,
    private end: number,
    readOnly: boolean,
    private readonly patience: Patience,
  ) {
    super(fd, readOnly);
  }

  override read(offset: number, target: Uint8Array): Promise<void> {
    if (target.length > mostAtOnceBytes) return super.read(offset, target);
    try {
      return this.patience.tryHere(() => this.readHere(offset, target)) ? settled : super.read(offset, target);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  private readHere(offset: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const count = readSync(this.fd, target, done, target.length - done, offset + done);
      if (count === 0) return void target.fill(0, done);
      done += count;
    }
  }

  get length(): number {
    return this.end;
  }

  override async write(offset: number, data: Uint8Array): Promise<void> {
    await super.write(offset, data);
    this.end = Math.max(this.end, offset + data.length);
  }

  async truncate(length: number): Promise<void> {
    await new Promise<void>((resolve, reject) => ftruncate(this.fd, length, (error) => (error ? reject(error) : resolve())));
    this.end = length;
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
    case "EEXIST":
      return `There is a file ${path} already`;
    case "ELOOP":
      return `${path} is a symbolic link, not an image`;
    default:
      return `The image ${path} cannot be opened: ${(error as Error).message}`;
  }
}
