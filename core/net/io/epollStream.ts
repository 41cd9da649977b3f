import type { Disposable } from "../../base/disposable";
import type { HostTcp, HostTcpHandler } from "../nat/hostSockets";
import type { EpollReactor, Watch } from "./epollReactor";
import { failureOf } from "./failures";
import { errorName, isRetry, Shutdown } from "./libc";
import type { SocketCalls } from "./socketCalls";
import { lingerMs } from "./streams";

/** What is read from one stream in one turn, at most: the others are waiting. */
const readPerTurn = 1024 * 1024;

/** A stream socket on the fast loop. What is written is the kernel's at once, and nothing is held here. */
export class EpollStream implements HostTcp {
  private readonly watch: Watch;
  private state: "connecting" | "open" | "lingering" | "closed";
  /** What may be read yet in the turn of this number. */
  private mayRead = 0;
  private turn = -1;
  private reading = false;
  private ended = false;
  private wantsRoom = false;
  private wantsEnd = false;
  private sentEnd = false;
  private linger: Disposable | undefined;

  constructor(
    private readonly reactor: EpollReactor,
    private readonly calls: SocketCalls,
    private readonly descriptor: number,
    private handler: HostTcpHandler | undefined,
    state: "connecting" | "open",
    private readonly onClosed: (stream: EpollStream) => void,
  ) {
    this.state = state;
    this.watch = reactor.watch(descriptor, {
      readable: () => this.onReadable(),
      writable: () => this.onWritable(),
      failed: () => this.onFailed(),
    });
    this.watch.setReading(false);
    if (state === "connecting") this.watch.setWriting(true);
  }

  attach(handler: HostTcpHandler): void {
    this.handler = handler;
  }

  /** For a stream that is open from the beginning, but is to hear of it. */
  tellConnected(): void {
    this.reactor.soon(() => this.handler?.connected());
  }

  read(target: Uint8Array, at: number, end: number): number {
    if (this.state !== "open" || this.handler === undefined) return 0;
    if (this.turn !== this.reactor.turnNumber) {
      this.turn = this.reactor.turnNumber;
      this.mayRead = readPerTurn;
    }
    const count = Math.min(end - at, this.mayRead);
    // Zero bytes read would look like the end of the stream.
    if (count <= 0) return 0;
    const { libc, memory } = this.calls;
    const read = memory.holds(target) ? libc.read(this.descriptor, memory.addressOf(target, at), count) : libc.readInto(this.descriptor, target.subarray(at, at + count), count);
    if (read > 0) {
      this.mayRead -= read;
      return read;
    }
    if (read === 0) {
      this.ended = true;
      this.watch.setReading(false);
      return -1;
    }
    this.mayRead = 0;
    if (!isRetry(read)) this.reactor.soon(() => this.fail(errorName(-read)));
    return 0;
  }

  setReading(on: boolean): void {
    if (this.reading === on) return;
    this.reading = on;
    if (this.state === "open" && !this.ended) this.watch.setReading(on);
  }

  write(bytes: Uint8Array, at: number, end: number): number {
    if (at >= end || this.handler === undefined || this.sentEnd) return 0;
    if (this.state !== "open") {
      this.wantsRoom = true;
      return 0;
    }
    const { libc, memory } = this.calls;
    const count = end - at;
    const written = memory.holds(bytes) ? libc.write(this.descriptor, memory.addressOf(bytes, at), count) : libc.writeFrom(this.descriptor, bytes.subarray(at, end), count);
    if (written === count) return count;
    if (written < 0 && !isRetry(written)) {
      this.reactor.soon(() => this.fail(errorName(-written)));
      return 0;
    }
    this.wantsRoom = true;
    this.watch.setWriting(true);
    return Math.max(0, written);
  }

  shutdown(): void {
    if (this.sentEnd || this.wantsEnd || this.state === "closed") return;
    if (this.state === "connecting") {
      this.wantsEnd = true;
      return;
    }
    this.sentEnd = true;
    this.calls.libc.shutdown(this.descriptor, Shutdown.write);
  }

  close(): void {
    if (this.handler === undefined) return;
    this.handler = undefined;
    if (this.state !== "open" || this.ended) {
      this.release();
      return;
    }
    // Closed with something unread, a connection is reset and loses what it has not sent: what still comes is read away.
    this.shutdown();
    this.state = "lingering";
    this.watch.setWriting(false);
    this.watch.setReading(true);
    this.linger = this.reactor.schedule(lingerMs, () => this.release());
  }

  reset(): void {
    if (this.state === "closed") return;
    this.handler = undefined;
    this.calls.resetOnClose(this.descriptor);
    this.release();
  }

  /** Closes the descriptor, whatever is under way. */
  release(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.linger?.dispose();
    this.watch.dispose();
    this.calls.libc.close(this.descriptor);
    this.onClosed(this);
  }

  private onReadable(): void {
    if (this.state === "lingering") this.readAway();
    else if (this.state === "open" && this.reading) this.handler?.readable();
  }

  private readAway(): void {
    const { libc, memory } = this.calls;
    const sink = memory.allocate(16_384);
    const read = libc.read(this.descriptor, memory.addressOf(sink), sink.length);
    memory.release(sink);
    if (read <= 0 && !isRetry(read)) this.release();
  }

  private onWritable(): void {
    if (this.state === "connecting") {
      const error = this.calls.takeError(this.descriptor);
      if (error !== undefined) {
        this.fail(error);
        return;
      }
      this.state = "open";
      if (this.wantsEnd) this.shutdown();
      if (this.reading) this.watch.setReading(true);
      this.watch.setWriting(false);
      this.handler?.connected();
    }
    if (this.state !== "open" || !this.wantsRoom) return;
    this.wantsRoom = false;
    this.watch.setWriting(false);
    this.handler?.writable();
  }

  private onFailed(): void {
    // The end of connecting tells by itself. And whoever reads comes to the error behind what arrived before it.
    if (this.state === "connecting" || (this.state === "open" && this.reading && !this.ended)) return;
    const error = this.calls.takeError(this.descriptor);
    if (this.state === "lingering") this.release();
    else if (error !== undefined) this.fail(error);
  }

  private fail(error: string): void {
    if (this.state === "closed") return;
    const connected = this.state !== "connecting";
    const { handler } = this;
    this.handler = undefined;
    this.release();
    handler?.failed(failureOf(error, connected));
  }
}
