import { open } from "node:fs/promises";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Disposable } from "../base/disposable";

/** How much of a serial port's past is kept and shown to a new viewer, bytes. */
export const serialHistoryBytes = 64 * 1024;

/**
 * The only client of a machine's serial socket, and the source of any number of viewers.
 *
 * What the guest writes goes into a ring of the last 64 KB. Each viewer has its own place in that stream and takes bytes
 * as fast as it can; one that falls further behind than the ring is long skips what it missed and is told so. So a viewer
 * that stalls costs no memory and holds up neither the guest nor the other viewers. What viewers write goes to the guest
 * in the order it arrives, with the socket's back-pressure.
 */
export class SerialHub implements Disposable {
  private readonly ring = Buffer.alloc(serialHistoryBytes);
  /** Bytes ever written to the ring; the ring holds the last of them. */
  private written = 0;
  private socket: Socket | undefined;
  private readonly viewers = new Set<Viewer>();
  private ended = false;

  /** Puts the end of a serial log into the ring, after a re-attach. */
  async readLog(path: string): Promise<void> {
    let file;
    try {
      file = await open(path, "r");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
      throw error;
    }
    try {
      const { size } = await file.stat();
      const length = Math.min(size, serialHistoryBytes);
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
      this.push(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  }

  /** Takes over the connected serial socket. */
  attach(socket: Socket): void {
    this.socket = socket;
    socket.on("data", (data: Buffer) => this.push(data));
    // Its end is the machine process's end, which the monitor reports with a reason.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      if (this.socket === socket) this.socket = undefined;
    });
  }

  /** The last bytes the guest wrote. */
  history(): Buffer {
    return this.since(Math.max(0, this.written - serialHistoryBytes)).bytes;
  }

  /** A new viewer: first the history, then what follows. Ends when the machine stops. */
  openViewer(): Duplex {
    const viewer = new Viewer(this);
    if (this.ended) viewer.finish();
    else this.viewers.add(viewer);
    return viewer;
  }

  dispose(): void {
    if (this.ended) return;
    this.ended = true;
    this.socket?.destroy();
    for (const viewer of this.viewers) viewer.finish();
    this.viewers.clear();
  }

  /** @internal The bytes from `position` on that are still there, and how many are not. */
  since(position: number): { bytes: Buffer; missed: number } {
    const oldest = Math.max(0, this.written - serialHistoryBytes);
    const from = Math.max(position, oldest);
    const length = this.written - from;
    const bytes = Buffer.alloc(length);
    const start = from % serialHistoryBytes;
    const first = Math.min(length, serialHistoryBytes - start);
    this.ring.copy(bytes, 0, start, start + first);
    this.ring.copy(bytes, first, 0, length - first);
    return { bytes, missed: from - position };
  }

  /** @internal */
  get end(): number {
    return this.written;
  }

  /** @internal */
  send(data: Buffer, done: (error?: Error | null) => void): void {
    if (!this.socket || this.socket.destroyed) done(null); // The guest is gone; so is its keyboard.
    else this.socket.write(data, done);
  }

  /** @internal */
  forget(viewer: Viewer): void {
    this.viewers.delete(viewer);
  }

  private push(data: Buffer): void {
    const tail = data.length > serialHistoryBytes ? data.subarray(data.length - serialHistoryBytes) : data;
    this.written += data.length - tail.length;
    const start = this.written % serialHistoryBytes;
    const first = Math.min(tail.length, serialHistoryBytes - start);
    tail.copy(this.ring, start, 0, first);
    tail.copy(this.ring, 0, first);
    this.written += tail.length;
    for (const viewer of this.viewers) viewer.advance();
  }
}

class Viewer extends Duplex {
  private position: number;
  private wants = false;
  private finished = false;

  constructor(private readonly hub: SerialHub) {
    super({ allowHalfOpen: false });
    this.position = Math.max(0, hub.end - serialHistoryBytes);
  }

  override _read(): void {
    this.wants = true;
    this.advance();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.hub.send(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.hub.forget(this);
    done(error);
  }

  advance(): void {
    if (!this.wants || this.position >= this.hub.end) {
      if (this.finished && this.wants) this.push(null);
      return;
    }
    this.wants = false;
    const { bytes, missed } = this.hub.since(this.position);
    this.position = this.hub.end;
    // Read again only when the consumer asks: `push` returning true makes the stream call `_read`.
    this.push(missed > 0 ? Buffer.concat([Buffer.from(`\r\n[${missed} bytes left out: this viewer was too slow]\r\n`), bytes]) : bytes);
  }

  finish(): void {
    this.finished = true;
    this.advance();
  }
}
