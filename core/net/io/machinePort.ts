import { Emitter } from "../../base/emitter";
import type { Disposable } from "../../base/disposable";
import { countFrames, headerBytes, lastWholeFrame, RunReader } from "../link/stream";
import type { HostSocketFailure, HostTcp, HostTcpHandler } from "../nat/hostSockets";
import { countDrop, newCounters, type FramePort, type FrameSink } from "../port";
import type { Reactor } from "../reactor";

/*
 * Theory of operation. A machine's process listens on a Unix socket per adapter, and frames go both ways on it as
 * link/stream.ts has them. The port connects to it and, as long as it is wanted, connects again when the connection ends:
 * the machine's process may be restarted, or be later than we are.
 *
 * Inwards, one read per turn takes what has come, up to the buffer's size, and the whole frames in it go on as one run.
 * Outwards, runs are gathered in a bounded queue and written once at the turn's end; a long run that finds the queue
 * empty is written at once from where it lies. What the queue has no room for is dropped by whole frames and counted. So
 * a machine that sends half a frame, or never reads, has its own port's memory to fill and nothing else. A length that
 * cannot be ends the connection, because no frame can be told from the next any more.
 */

const readBytes = 256 * 1024;
const queueBytes = 1024 * 1024;
/** Copying less than this costs less than a write of its own. */
const writeAtOnceBytes = 32 * 1024;

/** Waiting before connecting again: doubled each time, from the first to the second, milliseconds. */
const backOffMs = { first: 20, longest: 2000 };
/** A connection that lasted this long was a good one, and the next failure is the first again; milliseconds. */
const steadyMs = 1000;

/** What the port says of the end of a connection, or of the failure to make one. */
export interface PortClosed {
  readonly reason: string;
}

export class MachinePort implements FramePort {
  readonly counters = newCounters();
  private readonly didConnect = new Emitter<void>();
  /** The machine's end took the connection: frames pass from now on. */
  readonly onDidConnect = this.didConnect.event;
  private readonly didClose = new Emitter<PortClosed>();
  /** An established connection ended. */
  readonly onDidClose = this.didClose.event;

  private sink: FrameSink | undefined;
  private stream: HostTcp | undefined;
  private connectedSince: number | undefined;
  private retry: Disposable | undefined;
  private retryMs = backOffMs.first;
  private disposed = false;

  private readonly reader: RunReader;
  private readonly queue: Uint8Array;
  private head = 0;
  private tail = 0;
  private flushing = false;
  /** The kernel took less than it was given, and will say when it takes more. */
  private blocked = false;

  /**
   * @param open begins a connection, each time one is wanted
   * @param lasting whether to connect again after the connection ended; a stream that was handed to us has no second time
   */
  constructor(
    private readonly reactor: Reactor,
    private readonly open: (handler: HostTcpHandler) => HostTcp,
    private readonly lasting = true,
  ) {
    this.reader = new RunReader(reactor.allocate(readBytes));
    this.queue = reactor.allocate(queueBytes);
    this.begin();
  }

  get connected(): boolean {
    return this.connectedSince !== undefined;
  }

  get writable(): boolean {
    return this.connected && this.tail - this.head < queueBytes / 2;
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    if (this.stream === undefined || !this.connected) {
      countDrop(this.counters, "no-peer", countFrames(bytes, at, end));
      return;
    }
    let written = at;
    if (this.head === this.tail && !this.blocked && end - at >= writeAtOnceBytes) written += this.write(bytes, at, end);
    const room = queueBytes - (this.tail - this.head);
    const taken = lastWholeFrame(bytes, at, end, written + room);
    if (taken > written) this.enqueue(bytes, written, taken);
    const frames = countFrames(bytes, at, taken);
    this.counters.sentFrames += frames;
    this.counters.sentBytes += taken - at - frames * headerBytes;
    if (taken < end) countDrop(this.counters, "queue-full", countFrames(bytes, taken, end));
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.retry?.dispose();
    if (this.connected) this.flush();
    this.stream?.close();
    this.connectedSince = undefined;
    this.stream = undefined;
    this.sink = undefined;
    this.didConnect.dispose();
    this.didClose.dispose();
    // Not before this turn's end: it may be a frame of ours that brought this about.
    this.reactor.atTurnEnd(() => {
      this.reactor.release(this.reader.buffer);
      this.reactor.release(this.queue);
    });
  }

  private begin(): void {
    this.stream = this.open({
      connected: () => {
        this.connectedSince = this.reactor.monotonic();
        this.stream?.setReading(true);
        this.didConnect.fire();
      },
      readable: () => this.receive(),
      writable: () => {
        this.blocked = false;
        this.flush();
      },
      failed: (failure) => {
        this.stream = undefined;
        this.lost(sayFailure(failure));
      },
    });
  }

  private receive(): void {
    const { stream, reader } = this;
    if (stream === undefined) return;
    const count = stream.read(reader.buffer, reader.at, reader.buffer.length);
    if (count < 0) {
      this.lost("the machine closed its end");
      return;
    }
    const reason = reader.take(count, (bytes, at, end, frames) => {
      this.counters.receivedFrames += frames;
      this.counters.receivedBytes += end - at - frames * headerBytes;
      this.sink?.frames(bytes, at, end);
    });
    if (reason === undefined || this.disposed) return;
    countDrop(this.counters, "malformed");
    this.lost(reason);
  }

  /** Without room for a whole run behind what waits, what waits is moved to the front. */
  private enqueue(bytes: Uint8Array, at: number, end: number): void {
    if (this.tail + end - at > queueBytes) {
      this.queue.copyWithin(0, this.head, this.tail);
      this.tail -= this.head;
      this.head = 0;
    }
    this.queue.set(bytes.subarray(at, end), this.tail);
    this.tail += end - at;
    if (this.flushing || this.blocked) return;
    this.flushing = true;
    this.reactor.atTurnEnd(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.blocked || this.head === this.tail) return;
    this.head += this.write(this.queue, this.head, this.tail);
    if (this.head === this.tail) this.head = this.tail = 0;
  }

  private write(bytes: Uint8Array, at: number, end: number): number {
    const count = this.stream?.write(bytes, at, end) ?? 0;
    this.blocked = count < end - at;
    return count;
  }

  private lost(reason: string): void {
    const since = this.connectedSince;
    this.connectedSince = undefined;
    this.stream?.close();
    this.stream = undefined;
    this.blocked = false;
    this.head = this.tail = 0;
    this.reader.reset();
    if (since !== undefined && this.reactor.monotonic() - since >= steadyMs) this.retryMs = backOffMs.first;
    if (this.lasting) {
      this.retry = this.reactor.schedule(this.retryMs, () => this.begin());
      this.retryMs = Math.min(this.retryMs * 2, backOffMs.longest);
    }
    if (since !== undefined) this.didClose.fire({ reason });
  }
}

function sayFailure(failure: HostSocketFailure): string {
  return failure === "reset" ? "the machine's process ended" : `the machine's socket failed (${failure})`;
}
