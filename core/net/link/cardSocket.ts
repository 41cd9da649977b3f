import { toDisposable, type Disposable } from "../../base/disposable";
import { countDrop, maxFrameBytes, type FrameSink, type PortCounters } from "../port";
import { read32, write32 } from "../wire/addresses";
import type { WatchedDescriptor } from "./descriptorWatcher";
import { Errno, writePointer, type NativeMemory } from "./kernelCalls";
import { runBytes, type LinkIo } from "./linkIo";
import { finishFrame, offloadHeaderBytes, vlanTagBytes, type FrameRoom, type VlanTag } from "./offload";
import { headerBytes, minFrameBytes } from "./stream";

/*
 * Frames are received and sent many at a time (recvmmsg(2), sendmmsg(2)). struct mmsghdr: a msghdr of 56 bytes (name, its
 * length, parts, their number, control data, its length, flags) and how long the message was: 64 bytes with padding.
 */

const batch = 32;
const mmsgBytes = 64;
const partBytes = 16;
const Message = { name: 0, nameLength: 8, parts: 16, partCount: 24, control: 32, controlLength: 40, length: 56 } as const;

/** struct sockaddr_ll: the kind of a frame is at 10. */
const nameBytes = 20;
const kindAt = 10;
const outgoing = 4;
/** struct cmsghdr of 16 bytes, then struct tpacket_auxdata: status 4, lengths 8, offsets 4, tag control 2, tag type 2. */
const controlBytes = 40;
const packetLevel = 263;
const auxData = 8;
const Status = { tagValid: 0x10, tagTypeValid: 0x40 } as const;
const customerTag = 0x8100;
const dontWait = 0x40;

const slotBytes = 65_600;
/** Where things are in the memory of the receiving side: heads, parts, names, control data, frames. */
const Receiving = {
  heads: 0,
  parts: batch * mmsgBytes,
  names: batch * (mmsgBytes + partBytes),
  controls: batch * (mmsgBytes + partBytes + 24),
  slots: batch * (mmsgBytes + partBytes + 24 + controlBytes),
} as const;
const receivingBytes = Receiving.slots + batch * slotBytes;
/** And of the sending side: heads, two parts each, an empty virtio header that all share. */
const Sending = { heads: 0, parts: batch * mmsgBytes, header: batch * (mmsgBytes + 2 * partBytes) } as const;
const sendingBytes = Sending.header + 16;

/** How many batches are read in one turn: others want their turn too. */
const batchesATurn = 8;

/** An AF_PACKET socket on a card: the frames of its wire, finished, as runs. */
export class CardSocket implements FrameSink, Disposable, FrameRoom {
  readonly bytes: Uint8Array;
  private readonly receiving: NativeMemory;
  private readonly heads: NativeMemory;
  private readonly watch: WatchedDescriptor;
  private readonly released: Disposable;
  private isWritable = true;
  private isOpen = true;
  private filled = 0;

  /**
   * @param descriptor is closed with it
   * @param onFailed hears of failures of the card: that it is switched off, or gone
   */
  constructor(
    private readonly io: LinkIo,
    private readonly descriptor: number,
    private readonly sink: FrameSink,
    private readonly counters: PortCounters,
    private readonly onFailed: () => void,
  ) {
    this.bytes = io.received.bytes;
    this.receiving = io.kernel.memory(receivingBytes);
    this.heads = io.kernel.memory(sendingBytes);
    this.layOut();
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

  frames(bytes: Uint8Array, at: number, end: number): void {
    const { sending } = this.io;
    let count = 0;
    let used = 0;
    for (let next = at; next < end; ) {
      const length = read32(bytes, next);
      const from = next + headerBytes;
      next = from + length;
      sending.bytes.set(bytes.subarray(from, next), used);
      const part = Sending.parts + (count * 2 + 1) * partBytes;
      writePointer(this.heads, part, sending.address + used);
      this.heads.view.setUint32(part + 8, length, true);
      used += length;
      count++;
      if (count === batch || used >= runBytes || next >= end) {
        this.send(count);
        count = 0;
        used = 0;
      }
    }
  }

  private send(count: number): void {
    const { kernel } = this.io;
    for (let sent = 0; sent < count; ) {
      const result = this.isOpen ? kernel.sendmmsg(this.descriptor, this.heads.address + Sending.heads + sent * mmsgBytes, count - sent, dontWait) : -Errno.noDevice;
      if (result > 0) {
        for (let index = sent; index < sent + result; index++) this.counters.sentBytes += this.heads.view.getUint32(Sending.parts + (index * 2 + 1) * partBytes + 8, true);
        this.counters.sentFrames += result;
        sent += result;
        continue;
      }
      switch (-result) {
        case Errno.interrupted:
          break;
        case Errno.again:
        case Errno.noBuffers:
          this.isWritable = false;
          this.watch.setWriting(true);
          return countDrop(this.counters, "queue-full", count - sent);
        case Errno.messageSize: // Longer than the card's wire takes.
        case Errno.invalid:
          countDrop(this.counters, "malformed");
          sent++;
          break;
        default:
          // Off or gone; which of them is heard on the receiving side.
          return countDrop(this.counters, "no-peer", count - sent);
      }
    }
  }

  private receive(): void {
    const { kernel } = this.io;
    for (let round = 0; round < batchesATurn && this.isOpen; round++) {
      this.resetHeads();
      const count = kernel.recvmmsg(this.descriptor, this.receiving.address + Receiving.heads, batch, dontWait);
      if (count === -Errno.again || count === -Errno.interrupted) break;
      // The kernel could not put the frame's state into words; the frame is lost.
      if (count === -Errno.invalid) {
        countDrop(this.counters, "malformed");
        continue;
      }
      if (count < 0) {
        this.handOn();
        if (this.isOpen) this.onFailed();
        return;
      }
      for (let index = 0; index < count; index++) this.received(index);
      if (count < batch) break;
    }
    this.handOn();
  }

  private received(index: number): void {
    const { bytes, view } = this.receiving;
    if (view.getUint8(Receiving.names + index * 24 + kindAt) === outgoing) return;
    const header = Receiving.slots + index * slotBytes;
    const at = header + offloadHeaderBytes;
    const end = header + view.getUint32(Receiving.heads + index * mmsgBytes + Message.length, true);
    const tag = this.tagOf(index);
    if (end - at < minFrameBytes || end - at > maxFrameBytes - vlanTagBytes || !finishFrame(bytes, header, at, end, tag, this)) countDrop(this.counters, "malformed");
  }

  /** The kernel takes the outermost tag off a frame and tells it beside. */
  private tagOf(index: number): VlanTag | undefined {
    const { view } = this.receiving;
    const control = Receiving.controls + index * controlBytes;
    if (view.getUint32(Receiving.heads + index * mmsgBytes + Message.controlLength, true) < 36) return undefined;
    if (view.getInt32(control + 8, true) !== packetLevel || view.getInt32(control + 12, true) !== auxData) return undefined;
    const status = view.getUint32(control + 16, true);
    if ((status & Status.tagValid) === 0) return undefined;
    return { control: view.getUint16(control + 32, true), type: (status & Status.tagTypeValid) === 0 ? customerTag : view.getUint16(control + 34, true) };
  }

  private handOn(): void {
    const end = this.filled;
    this.filled = 0;
    if (end > 0) this.sink.frames(this.bytes, 0, end);
  }

  private roomAgain(): void {
    this.isWritable = true;
    this.watch.setWriting(false);
  }

  private layOut(): void {
    const { receiving, heads } = this;
    for (let index = 0; index < batch; index++) {
      const head = Receiving.heads + index * mmsgBytes;
      const part = Receiving.parts + index * partBytes;
      writePointer(receiving, part, receiving.address + Receiving.slots + index * slotBytes);
      writePointer(receiving, part + 8, offloadHeaderBytes + maxFrameBytes);
      writePointer(receiving, head + Message.name, receiving.address + Receiving.names + index * 24);
      writePointer(receiving, head + Message.parts, receiving.address + part);
      receiving.view.setUint32(head + Message.partCount, 1, true);
      writePointer(receiving, head + Message.control, receiving.address + Receiving.controls + index * controlBytes);

      const out = Sending.parts + index * 2 * partBytes;
      writePointer(heads, out, heads.address + Sending.header);
      writePointer(heads, out + 8, offloadHeaderBytes);
      writePointer(heads, Sending.heads + index * mmsgBytes + Message.parts, heads.address + out);
      heads.view.setUint32(Sending.heads + index * mmsgBytes + Message.partCount, 2, true);
    }
  }

  /** The kernel writes over how long names and control data may be. */
  private resetHeads(): void {
    const { view } = this.receiving;
    for (let index = 0; index < batch; index++) {
      const head = Receiving.heads + index * mmsgBytes;
      view.setUint32(head + Message.nameLength, nameBytes, true);
      view.setUint32(head + Message.controlLength, controlBytes, true);
    }
  }
}
