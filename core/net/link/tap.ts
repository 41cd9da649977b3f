import { toDisposable, type Disposable } from "../../base/disposable";
import { countDrop, maxFrameBytes, newCounters, type FramePort, type FrameSink, type PortCounters } from "../port";
import { read32, write32, writeMac, type MacNumber } from "../wire/addresses";
import type { WatchedDescriptor } from "./descriptorWatcher";
import { Errno, errnoName, writePointer } from "./kernelCalls";
import { asideAt, runBytes, type LinkIo } from "./linkIo";
import { finishFrame, isToBeCut, offloadHeaderBytes, type FrameRoom } from "./offload";
import { mergedFrameAt, SegmentMerge, type MergedWrite } from "./segmentMerge";
import { headerBytes, minFrameBytes } from "./stream";

/** What is read in one turn at most, packets and bytes: others want their turn too. */
const packetsATurn = 256;
const bytesATurn = 1024 * 1024;

/** What is read lies in two parts (struct iovec): the virtio header, always here, and the frame. */
const partsAt = asideAt;
const partBytes = 16;
const offloadAt = asideAt + 2 * partBytes;
const frameAside = asideAt + 64;

/**
 * An interface of the host that ends here: what the host sends on it is received, what is sent is received by the host.
 * The kernel hands TCP packets over that are yet to be cut and checksums that are not finished, which is done here: what
 * leaves the port is what would be on a wire. The other way, segments that follow each other go to it as one packet.
 */
export class TapPort implements FramePort, FrameRoom {
  readonly bytes: Uint8Array;
  private readonly watch: WatchedDescriptor;
  private readonly released: Disposable;
  private readonly merge: SegmentMerge;
  private sink: FrameSink | undefined;
  private isWritable = true;
  private isOpen = true;
  /** How much of the run that is put together is there. */
  private filled = 0;
  /** The latest packet was one to be cut, so the next one is read aside, too. */
  private cuts = false;

  /**
   * @param descriptor of the TAP, with virtio headers; it is closed with the port, and the TAP gone
   * @param onVanished hears, once, that the interface is gone, and why
   * @param counters where frames are counted
   */
  constructor(
    private readonly io: LinkIo,
    private readonly descriptor: number,
    private readonly onVanished: (reason: string) => void,
    readonly counters: PortCounters = newCounters(),
  ) {
    this.bytes = io.received.bytes;
    this.merge = new SegmentMerge(io.sending.bytes, (write) => this.write(write));
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
      const frame = next + headerBytes;
      next = frame + read32(bytes, next);
      this.merge.put(bytes, frame, next);
    }
    this.merge.flush();
  }

  /** Sends one frame; to another station than it says, when `destination` is given. */
  send(bytes: Uint8Array, at: number, end: number, destination?: MacNumber): void {
    this.merge.put(bytes, at, end);
    if (destination !== undefined) writeMac(this.io.sending.bytes, mergedFrameAt, destination);
    this.merge.flush();
  }

  dispose(): void {
    this.released.dispose();
  }

  /** Room in the run that is being put together; see `FrameRoom`. */
  take(length: number): number {
    if (this.filled >= runBytes) this.handOn();
    const at = this.filled;
    write32(this.bytes, at, length);
    this.filled = at + headerBytes + length;
    this.counters.receivedFrames++;
    this.counters.receivedBytes += length;
    return at + headerBytes;
  }

  private write({ at, bytes, frames, frameBytes }: MergedWrite): void {
    if (!this.isOpen) return countDrop(this.counters, "no-peer", frames);
    const { kernel, sending } = this.io;
    let result: number;
    do result = kernel.write(this.descriptor, sending.address + at, bytes);
    while (result === -Errno.interrupted);
    if (result >= 0) {
      this.counters.sentFrames += frames;
      this.counters.sentBytes += frameBytes;
      return;
    }
    switch (-result) {
      case Errno.again:
      case Errno.noBuffers:
        this.isWritable = false;
        this.watch.setWriting(true);
        return countDrop(this.counters, "queue-full", frames);
      case Errno.io: // The interface is switched off.
        return countDrop(this.counters, "no-peer", frames);
      case Errno.invalid:
        return countDrop(this.counters, "malformed", frames);
      default:
        countDrop(this.counters, "no-peer", frames);
        this.vanish(result);
    }
  }

  private receive(): void {
    let failure = 0;
    let left = bytesATurn;
    for (let count = 0; count < packetsATurn && left > 0; count++) {
      if (this.filled >= runBytes) this.handOn();
      if (!this.isOpen) return;
      // Where it stays, or aside to be cut from there: as the latest one was.
      const at = this.cuts ? frameAside : this.filled + headerBytes;
      const read = this.readPacket(at);
      if (read === -Errno.interrupted) continue;
      if (read < 0) {
        failure = read;
        break;
      }
      left -= read;
      this.received(at, at + read - offloadHeaderBytes);
    }
    this.handOn();
    // Switched off (EIO) is not gone.
    if (failure < 0 && failure !== -Errno.again && failure !== -Errno.io && this.isOpen) this.vanish(failure);
  }

  private readPacket(at: number): number {
    const { kernel, received } = this.io;
    writePointer(received, partsAt, received.address + offloadAt);
    writePointer(received, partsAt + 8, offloadHeaderBytes);
    writePointer(received, partsAt + partBytes, received.address + at);
    writePointer(received, partsAt + partBytes + 8, maxFrameBytes);
    return kernel.readv(this.descriptor, received.address + partsAt, 2);
  }

  private received(at: number, end: number): void {
    const { bytes } = this;
    let [from, to] = [at, end];
    this.cuts = isToBeCut(bytes, offloadAt);
    if (this.cuts && at !== frameAside) {
      bytes.copyWithin(frameAside, at, end);
      [from, to] = [frameAside, frameAside + end - at];
    }
    if (to - from < minFrameBytes || !finishFrame(bytes, offloadAt, from, to, undefined, this)) countDrop(this.counters, "malformed");
  }

  private handOn(): void {
    const end = this.filled;
    this.filled = 0;
    if (end === 0) return;
    if (this.sink) this.sink.frames(this.bytes, 0, end);
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
