import type { Socket } from "node:net";
import type { Disposable } from "../../base/disposable";
import type { HostTcp, HostTcpHandler } from "../nat/hostSockets";
import { failureOf } from "./failures";
import type { PortableReactor } from "./portableReactor";
import { lingerMs } from "./streams";

/** What is read ahead of whoever reads, at most, before the runtime is told to stop; bytes. */
const readAheadBytes = 256 * 1024;
/** What is taken for writing while the kernel takes no more, at most; bytes. */
const writeBehindBytes = 256 * 1024;

/**
 * A stream socket of the runtime under the pull-based interface: the runtime pushes, so what it pushed waits in a queue,
 * and it is paused when the queue is full or nobody wants to read.
 */
export class PortableStream implements HostTcp {
  private handler: HostTcpHandler | undefined;
  private readonly queue: Uint8Array[] = [];
  /** Bytes of the first chunk that were read already, and of all chunks that were not. */
  private consumed = 0;
  private queued = 0;
  private connected = false;
  private reading = false;
  private ended = false;
  private endTold = false;
  private wantsRoom = false;
  private sentEnd = false;
  private told = false;
  private linger: Disposable | undefined;

  /** The socket is paused, allows half-open connections and is connecting, or connected when `connected` was called. */
  constructor(
    private readonly reactor: PortableReactor,
    private readonly socket: Socket,
  ) {
    socket.on("connect", () => this.reactor.handle(() => this.onConnected()));
    // Paused first: it is listening for data that sets a stream flowing.
    socket.pause();
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("end", () => this.onEnd());
    socket.on("error", (failure: NodeJS.ErrnoException) => this.fail(failure.code));
    socket.on("close", () => {
      this.linger?.dispose();
      // The runtime lets go of it by itself when both ends were sent; anything else is a loss.
      if (!this.ended || !this.sentEnd) this.fail("ECONNRESET");
    });
  }

  /** Who hears of it. Must be called in the turn the stream was made in. */
  attach(handler: HostTcpHandler): void {
    this.handler = handler;
  }

  /** For a socket that is connected from the beginning. */
  beginConnected(): void {
    this.connected = true;
  }

  onConnected(): void {
    this.connected = true;
    this.handler?.connected();
    if (this.wantsRoom) this.tellRoom();
  }

  read(target: Uint8Array, at: number, end: number): number {
    let position = at;
    while (position < end) {
      const chunk = this.queue[0];
      if (chunk === undefined) break;
      const count = Math.min(chunk.length - this.consumed, end - position);
      target.set(chunk.subarray(this.consumed, this.consumed + count), position);
      position += count;
      this.consumed += count;
      if (this.consumed < chunk.length) break;
      this.queue.shift();
      this.consumed = 0;
    }
    this.queued -= position - at;
    if (position === at && at < end && this.ended) {
      this.endTold = true;
      return -1;
    }
    if (this.reading && this.queued < readAheadBytes / 2) this.socket.resume();
    return position - at;
  }

  setReading(on: boolean): void {
    if (this.reading === on) return;
    this.reading = on;
    if (!on) this.socket.pause();
    else {
      if (this.queued < readAheadBytes) this.socket.resume();
      this.tellReadableSoon();
    }
  }

  write(bytes: Uint8Array, at: number, end: number): number {
    const room = this.connected && !this.sentEnd && this.handler ? Math.max(0, writeBehindBytes - this.socket.writableLength) : 0;
    const count = Math.min(room, end - at);
    if (count < end - at) this.wantsRoom = true;
    // The bytes are the caller's again when this returns, and the runtime may not have written them by then.
    if (count > 0) this.socket.write(bytes.slice(at, at + count), () => this.onWritten());
    return count;
  }

  shutdown(): void {
    if (this.sentEnd) return;
    this.sentEnd = true;
    this.socket.end();
  }

  close(): void {
    if (!this.handler) return;
    this.handler = undefined;
    this.queue.length = 0;
    // One that is gone already says so no more, and would be lingered for in vain.
    if (!this.connected || this.socket.destroyed) {
      this.socket.destroy();
      return;
    }
    // Closed with something unread, a connection is reset and loses what it has not sent: what still comes is read away.
    this.socket.removeAllListeners("data");
    this.socket.end();
    this.socket.resume();
    this.linger = this.reactor.schedule(lingerMs, () => this.socket.destroy());
  }

  reset(): void {
    this.handler = undefined;
    this.queue.length = 0;
    this.linger?.dispose();
    // A stream of another kind than TCP knows no reset.
    if (this.connected && this.socket.remotePort !== undefined) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  private onData(chunk: Buffer): void {
    this.queue.push(chunk);
    this.queued += chunk.length;
    if (!this.reading || this.queued >= readAheadBytes) this.socket.pause();
    this.tellReadable();
  }

  private onEnd(): void {
    this.ended = true;
    this.tellReadable();
  }

  private tellReadable(): void {
    if (!this.reading || !this.handler || this.endTold || (this.queued === 0 && !this.ended)) return;
    this.reactor.handle(() => this.handler?.readable());
    this.tellReadableSoon();
  }

  /** What was left unread is told of again in the next turn. */
  private tellReadableSoon(): void {
    if (this.told || !this.reading || !this.handler || this.endTold || (this.queued === 0 && !this.ended)) return;
    this.told = true;
    this.reactor.soon(() => {
      this.told = false;
      this.tellReadable();
    });
  }

  private onWritten(): void {
    if (this.wantsRoom && this.socket.writableLength <= writeBehindBytes / 2) this.reactor.handle(() => this.tellRoom());
  }

  private tellRoom(): void {
    this.wantsRoom = false;
    if (!this.sentEnd) this.handler?.writable();
  }

  private fail(code: string | undefined): void {
    const handler = this.handler;
    this.handler = undefined;
    this.queue.length = 0;
    if (handler) this.reactor.handle(() => handler.failed(failureOf(code, this.connected)));
  }
}
