import { isNoSpace, type BlockDevice } from "../storage/blockDevice";
import { BounceBuffers } from "./bounceBuffers";
import type { GuestMemory } from "./guestMemory";
import type { DiskFailure, DiskStatistics } from "./messages";
import type { DiskState } from "./stateShape";
import {
  createVirtioDevice, field, gather, hasDriver, readChain, restoreVirtio, saveVirtio, scatter, takeRequests, type DescriptorChain,
} from "./virtio";
import type { V86Cpu, V86Virtio, V86VirtioClass } from "./v86Internals";

/**
 * A disk as a virtio block device (VIRTIO 1.1, 5.2) on a `BlockDevice`.
 *
 * Theory of operation. The guest's notification hands over the waiting requests; each runs on its own and is answered
 * when its block operation settles, in any order. What a guest asks for costs our memory, and many entries of its queue
 * may point at the same memory of its own: requests beyond `maxBytesInFlight` or the queue's size stay in the queue, and
 * every end of a request looks there again. A failed read is reported to the guest. A failed write or flush is
 * not: it is kept in `stalled`, the machine stops, and the request runs again when the machine does, so that a full
 * disk loses nothing (QEMU's `werror=stop`); nothing more is taken on until then. A reset by the driver forgets every
 * request: `generation` tells the answers of a forgotten request apart, which counts until its operation has settled.
 */
const sectorBytes = 512;
const headerBytes = 16;
/** Larger requests are refused: no driver makes them, and our memory is not the guest's to ask for. */
export const maxRequestBytes = 16 * 1024 * 1024;
/** Far more than keeps a disk busy: Linux reads ahead and writes back in requests of half a megabyte. */
export const maxBytesInFlight = 32 * 1024 * 1024;
/** Buffers kept for the next requests, in bytes. */
const maxBytesKept = 8 * 1024 * 1024;

const requestRead = 0;
const requestWrite = 1;
const requestFlush = 4;
const requestIdentity = 8;
const statusOk = 0;
const statusIoError = 1;
const statusUnsupported = 2;

const featureSegments = 2;
const featureReadOnly = 5;
const featureBlockSize = 6;
const featureFlush = 9;

/** Also the most requests in flight: a driver that keeps to its queue has no more. */
export const queueSize = 1024;
const maxSegments = 126;

interface Request {
  readonly chain: DescriptorChain;
  readonly type: number;
  readonly offset: number;
  /** Bytes to read or write; 0 for a request without data, and for one that is refused. */
  readonly length: number;
}

export class Disk {
  readonly device: V86Virtio;
  readonly statistics = {
    ...{ readBytes: 0, writtenBytes: 0, reads: 0, writes: 0, flushes: 0 },
    ...{ failedReads: 0, failedWrites: 0, failedFlushes: 0 },
  };
  private inFlight = 0;
  private stalled: DescriptorChain[] = [];
  /** Of the stalled those that run again and have not found room yet. */
  private retrying: DescriptorChain[] = [];
  private idle: (() => void)[] = [];
  private generation = 0;
  private readonly header = new Uint8Array(headerBytes);
  private readonly headerView = new DataView(this.header.buffer);
  private readonly status = new Uint8Array(1);
  /** Bounce buffers by size: wasm memory may move while the system reads into it. */
  private readonly buffers = new BounceBuffers(maxBytesInFlight, maxBytesKept);

  constructor(
    readonly id: string,
    slot: number,
    port: number,
    cpu: V86Cpu,
    virtio: V86VirtioClass,
    private readonly memory: GuestMemory,
    private readonly storage: BlockDevice,
    private readonly onDidFail: (failure: DiskFailure) => void,
  ) {
    const sectors = storage.size / sectorBytes;
    const config: [1 | 2 | 4, string, number][] = [
      [4, "capacity_low", sectors % 2 ** 32],
      [4, "capacity_high", Math.floor(sectors / 2 ** 32)],
      [4, "size_max", 0],
      [4, "seg_max", maxSegments],
      [2, "cylinders", 0],
      [1, "heads", 0],
      [1, "sectors", 0],
      [4, "blk_size", sectorBytes],
    ];
    this.device = createVirtioDevice(cpu, virtio, {
      name: `virtio-blk ${id}`,
      slot,
      kind: 2,
      port,
      features: [featureSegments, featureBlockSize, featureFlush, ...(storage.readOnly ? [featureReadOnly] : [])],
      queueSizes: [queueSize],
      config: config.map(([bytes, name, value]) => field(bytes, name, () => value)),
      notify: () => this.takeOn(),
    });
    const reset = this.device.reset.bind(this.device);
    this.device.reset = () => {
      this.generation++;
      this.stalled = [];
      this.retrying = [];
      reset();
    };
  }

  get size(): number {
    return this.storage.size;
  }

  get inUse(): boolean {
    return hasDriver(this.device);
  }

  report(): DiskStatistics {
    return { id: this.id, ...this.statistics };
  }

  /** Settles when no block operation is running and no request waits for room; stalled requests stay. */
  drain(): Promise<void> {
    return this.inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.idle.push(resolve));
  }

  /** Makes what the guest has written durable. */
  flush(): Promise<void> {
    return this.storage.readOnly ? Promise.resolve() : this.storage.flush();
  }

  /** Runs the requests again that failed; call it when the machine runs again. */
  retry(): void {
    this.retrying = [...this.stalled.splice(0), ...this.retrying];
    this.takeOn();
  }

  async close(): Promise<void> {
    await this.drain();
    await this.storage.close();
  }

  save(): DiskState {
    return { virtio: saveVirtio(this.device), stalled: [...this.stalled, ...this.retrying].map((chain) => chain.head), size: this.storage.size };
  }

  restore({ virtio, stalled }: DiskState): void {
    restoreVirtio(this.device, virtio);
    const queue = this.device.queues[0];
    if (!queue) return;
    this.stalled = stalled.flatMap((head) => readChain(this.memory, queue, head) ?? []);
    this.retrying = [];
  }

  /** Begins what there is room for: first what has failed before, then what waits in the queue. */
  private takeOn(): void {
    const queue = this.device.queues[0];
    if (!queue || this.stalled.length > 0) return;
    while (this.retrying[0] && this.begin(this.retrying[0])) this.retrying.shift();
    if (this.retrying.length === 0) takeRequests(this.memory, this.device, queue, (chain) => this.begin(chain));
    queue.flush_replies();
  }

  /** Starts a request, or answers it at once when it needs no storage; false when there is no room for it now. */
  private begin(chain: DescriptorChain): boolean {
    if (chain.readableBytes < headerBytes || chain.writableBytes < 1) {
      this.device.needs_reset();
      return true;
    }
    const request = this.parse(chain);
    if (this.inFlight >= queueSize || (request.length > 0 && !this.buffers.hasRoom(request.length))) return false;
    this.perform(request);
    return true;
  }

  private parse(chain: DescriptorChain): Request {
    gather(this.memory, chain, 0, this.header);
    const type = this.headerView.getUint32(0, true);
    const offset = (this.headerView.getUint32(8, true) + this.headerView.getUint32(12, true) * 2 ** 32) * sectorBytes;
    const wanted = type === requestRead ? chain.writableBytes - 1 : type === requestWrite ? chain.readableBytes - headerBytes : 0;
    const inside = wanted % sectorBytes === 0 && wanted <= maxRequestBytes && offset + wanted <= this.storage.size;
    return { chain, type, offset, length: inside && !(type === requestWrite && this.storage.readOnly) ? wanted : 0 };
  }

  private perform(request: Request): void {
    const { chain, type, length } = request;
    switch (type) {
      case requestRead:
        return length > 0 ? this.read(request) : this.answer(chain, statusIoError, 0);
      case requestWrite:
        return length > 0 ? this.write(request) : this.answer(chain, statusIoError, 0);
      case requestFlush:
        this.statistics.flushes++;
        return this.run(chain, "flush", this.flush());
      case requestIdentity:
        return this.identify(chain);
      default:
        return this.answer(chain, statusUnsupported, 0);
    }
  }

  private read({ chain, offset, length }: Request): void {
    const buffer = this.buffers.take(length);
    const data = buffer.subarray(0, length);
    this.statistics.reads++;
    this.statistics.readBytes += length;
    this.run(chain, "read", this.storage.read(offset, data), length, data, buffer);
  }

  private write({ chain, offset, length }: Request): void {
    const buffer = this.buffers.take(length);
    const data = buffer.subarray(0, length);
    gather(this.memory, chain, headerBytes, data);
    this.statistics.writes++;
    this.statistics.writtenBytes += length;
    this.run(chain, "write", this.storage.write(offset, data), 0, undefined, buffer);
  }

  private identify(chain: DescriptorChain): void {
    const name = new Uint8Array(Math.min(20, chain.writableBytes - 1));
    new TextEncoder().encodeInto(this.id, name);
    scatter(this.memory, chain, 0, name);
    this.answer(chain, statusOk, name.length);
  }

  private run(
    chain: DescriptorChain,
    operation: "read" | "write" | "flush",
    work: Promise<void>,
    written = 0,
    data?: Uint8Array,
    buffer?: Uint8Array,
  ): void {
    const generation = this.generation;
    this.inFlight++;
    const finish = (error?: unknown): void => {
      if (generation === this.generation) {
        if (error === undefined) {
          if (data) scatter(this.memory, chain, 0, data);
          this.answer(chain, statusOk, written);
        } else {
          this.fail(chain, operation, error);
        }
        this.device.queues[0]?.flush_replies();
      }
      if (buffer) this.buffers.giveBack(buffer);
      this.inFlight--;
      this.takeOn();
      if (this.inFlight === 0) for (const resolve of this.idle.splice(0)) resolve();
    };
    work.then(() => finish(), finish);
  }

  private fail(chain: DescriptorChain, operation: "read" | "write" | "flush", error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (operation === "read") {
      this.statistics.failedReads++;
      this.answer(chain, statusIoError, 0);
    } else {
      if (operation === "write") this.statistics.failedWrites++;
      else this.statistics.failedFlushes++;
      this.stalled.push(chain);
    }
    this.onDidFail({
      disk: this.id,
      operation: operation === "read" ? "read" : "write",
      action: operation === "read" ? "report" : "stop",
      noSpace: isNoSpace(error),
      reason,
    });
  }

  /** The status is the last byte the guest lets us write (VIRTIO 1.1, 5.2.6). */
  private answer(chain: DescriptorChain, status: number, written: number): void {
    this.status[0] = status;
    scatter(this.memory, chain, chain.writableBytes - 1, this.status);
    this.device.queues[0]?.push_reply({ head_idx: chain.head, length_written: written + 1 });
  }
}
