import type { BlockDevice } from "../storage/blockDevice";
import { openFile } from "../storage/file";
import { ok, type Result } from "../base/result";
import type { DiskFailure } from "./messages";
import type { V86Devices } from "./v86Internals";

/** Bytes of a block on a CD. */
const cdBlockBytes = 2048;

/** The CD drive: v86's, on media of ours that come and go while the guest runs. */
export class CdDrive {
  private medium: BlockDevice | undefined;
  private path: string | null = null;
  private inFlight = 0;
  private idle: (() => void)[] = [];

  constructor(
    readonly id: string,
    private readonly onDidFail: (failure: DiskFailure) => void,
  ) {}

  get file(): string | null {
    return this.path;
  }

  /** Opens the medium the machine starts with; the result is what v86 wants as its `cdrom` option. */
  async open(path: string | null): Promise<Result<object | undefined>> {
    if (path === null) return ok(undefined);
    const opened = await openFile(path, { readOnly: true, sectorSize: cdBlockBytes });
    if (!opened.ok) return opened;
    this.medium = opened.value;
    this.path = path;
    return ok(this.image(opened.value));
  }

  /** Takes the medium out and puts another one in (or none). The guest's driver notices a changed medium. */
  async change(path: string | null, drive: V86Devices["cdrom"]): Promise<Result<null>> {
    const opened = path === null ? undefined : await openFile(path, { readOnly: true, sectorSize: cdBlockBytes });
    if (opened && !opened.ok) return opened;
    const old = this.medium;
    this.medium = opened?.value;
    this.path = path;
    if (drive.buffer) drive.eject();
    if (this.medium) drive.set_cdrom(this.image(this.medium));
    await this.drain();
    await old?.close();
    return ok(null);
  }

  drain(): Promise<void> {
    return this.inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.idle.push(resolve));
  }

  async close(): Promise<void> {
    await this.drain();
    await this.medium?.close();
    this.medium = undefined;
  }

  /** The interface v86 reads images by. What it cannot read is never answered: the guest's driver gives up in its own time. */
  private image(medium: BlockDevice): object {
    const image = {
      byteLength: medium.size,
      onload: undefined as ((event: object) => void) | undefined,
      load: () => image.onload?.({}),
      get: (offset: number, length: number, done: (data: Uint8Array) => void) => this.read(medium, offset, length, done),
      get_and_cache: (offset: number, length: number, done: (data: Uint8Array) => void) => this.read(medium, offset, length, done),
      get_from_cache: () => undefined,
      set: (_offset: number, _data: Uint8Array, done: () => void) => done(),
      get_buffer: (done: (buffer: undefined) => void) => done(undefined),
      // A marker instead of the blocks: the medium is a file, not a part of the state.
      get_state: () => [1],
      set_state: () => undefined,
    };
    return image;
  }

  private read(medium: BlockDevice, offset: number, length: number, done: (data: Uint8Array) => void): void {
    const data = new Uint8Array(length);
    const inside = data.subarray(0, Math.max(0, Math.min(length, medium.size - offset)));
    this.inFlight++;
    const finish = (error?: unknown): void => {
      if (error === undefined) done(data);
      else this.onDidFail({ disk: this.id, operation: "read", action: "report", noSpace: false, reason: String(error) });
      this.inFlight--;
      if (this.inFlight === 0) for (const resolve of this.idle.splice(0)) resolve();
    };
    medium.read(offset, inside).then(() => finish(), finish);
  }
}
