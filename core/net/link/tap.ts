import { toDisposable, type Disposable } from "../../base/disposable";
import { countDrop, maxFrameBytes, newCounters, type FramePort, type FrameSink, type PortCounters } from "../port";
import { read32, write32, writeMac, type MacNumber } from "../wire/addresses";
import type { WatchedDescriptor } from "./descriptorWatcher";
import { Errno, errnoName } from "./kernelCalls";
import { runBytes, type LinkIo } from "./linkIo";
import { headerBytes, minFrameBytes } from "./stream";

/** What is read in one turn at most, frames: others want their turn too. */
const framesATurn = 256;

/**
 * An interface of the host that ends here: what the host sends on it is received, what is sent is received by the host.
 * The kernel finishes checksums and cuts long packets before it hands them over, as nothing else was agreed on.
 */
export class TapPort implements FramePort {
  private readonly watch: WatchedDescriptor;
  private readonly released: Disposable;
  private sink: FrameSink | undefined;
  private isWritable = true;
  private isOpen = true;

  /**
   * @param descriptor of the TAP, which is closed with the port, and the TAP gone
   * @param onVanished hears, once, that the interface is gone, and why
   * @param counters where frames are counted
   */
  constructor(
    private readonly io: LinkIo,
    private readonly descriptor: number,
    private readonly onVanished: (reason: string) => void,
    readonly counters: PortCounters = newCounters(),
  ) {
    this.watch = io.watcher.watch(descriptor, { readable: () => this.receive(), writable: () => this.roomAgain() });
    this.released = toDisposable(() => {
      this.isOpen = false;
      this.watch.dispose();
      io.kernel.close(descriptor);
    });
  }

  get writable(): boolean {
    return this.isOpen && this.isWritable;
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    for (let next = at; next < end; ) {
      const length = read32(bytes, next);
      this.send(bytes, next + headerBytes, next + headerBytes + length);
      next += headerBytes + length;
    }
  }

  /** Sends one frame; to another station than it says, when `destination` is given. */
  send(bytes: Uint8Array, at: number, end: number, destination?: MacNumber): void {
    const { kernel, sending } = this.io;
    if (!this.isOpen) return countDrop(this.counters, "no-peer");
    sending.bytes.set(bytes.subarray(at, end), 0);
    if (destination !== undefined) writeMac(sending.bytes, 0, destination);
    let result: number;
    do result = kernel.write(this.descriptor, sending.address, end - at);
    while (result === -Errno.interrupted);
    if (result >= 0) {
      this.counters.sentFrames++;
      this.counters.sentBytes += end - at;
      return;
    }
    switch (-result) {
      case Errno.again:
      case Errno.noBuffers:
        this.isWritable = false;
        this.watch.setWriting(true);
        return countDrop(this.counters, "queue-full");
      case Errno.io: // The interface is switched off.
        return countDrop(this.counters, "no-peer");
      case Errno.invalid:
        return countDrop(this.counters, "malformed");
      default:
        countDrop(this.counters, "no-peer");
        this.vanish(result);
    }
  }

  dispose(): void {
    this.released.dispose();
  }

  private receive(): void {
    const { kernel, received } = this.io;
    let at = 0;
    let failure = 0;
    for (let count = 0; count < framesATurn; count++) {
      const length = kernel.read(this.descriptor, received.address + at + headerBytes, maxFrameBytes);
      if (length === -Errno.interrupted) continue;
      if (length < 0) {
        failure = length;
        break;
      }
      if (length < minFrameBytes) {
        countDrop(this.counters, "malformed");
        continue;
      }
      write32(received.bytes, at, length);
      at += headerBytes + length;
      this.counters.receivedFrames++;
      this.counters.receivedBytes += length;
      if (at >= runBytes) {
        this.handOn(at);
        at = 0;
        if (!this.isOpen) return;
      }
    }
    if (at > 0) this.handOn(at);
    // Switched off (EIO) is not gone.
    if (failure < 0 && failure !== -Errno.again && failure !== -Errno.io && this.isOpen) this.vanish(failure);
  }

  private handOn(end: number): void {
    if (this.sink) this.sink.frames(this.io.received.bytes, 0, end);
    else countDrop(this.counters, "no-peer");
  }

  private roomAgain(): void {
    this.isWritable = true;
    this.watch.setWriting(false);
  }

  private vanish(result: number): void {
    this.released.dispose();
    this.onVanished(result === -Errno.badState ? "somebody removed it" : errnoName(result));
  }
}
