import { isNoSpace, type BlockDevice } from "../storage/blockDevice";
import type { GuestMemory } from "./guestMemory";
import type { DiskFailure, DiskStatistics } from "./messages";
import {
  createVirtioDevice, field, gather, hasDriver, readChain, restoreVirtio, saveVirtio, scatter, takeRequests, type DescriptorChain,
} from "./virtio";
import type { V86Cpu, V86Virtio, V86VirtioClass } from "./v86Internals";

/**
 * A disk as a virtio block device (VIRTIO 1.1, 5.2) on a `BlockDevice`.
 *
 * Theory of operation. The guest's notification hands over all waiting requests; each runs on its own and is answered
 * when its block operation settles, in any order. A failed read is reported to the guest. A failed write or flush is
 * not: it is kept in `stalled`, the machine stops, and the request runs again when the machine does, so that a full
 * disk loses nothing (QEMU's `werror=stop`). A reset by the driver forgets every request: `generation` tells the
 * answers of a forgotten request apart.
 */
const sectorBytes = 512;
const headerBytes = 16;
/** Larger requests are refused: no driver makes them, and our memory is not the guest's to ask for. */
const maxRequestBytes = 16 * 1024 * 1024;

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

const queueSize = 1024;
const maxSegments = 126;

export class Disk {
  readonly device: V86Virtio;
  readonly statistics = {
    ...{ readBytes: 0, writtenBytes: 0, reads: 0, writes: 0, flushes: 0 },
    ...{ failedReads: 0, failedWrites: 0, failedFlushes: 0 },
  };
  private inFlight = 0;
  private stalled: DescriptorChain[] = [];
  private idle: (() => void)[] = [];
  private generation = 0;
  private readonly header = new Uint8Array(headerBytes);
  private readonly headerView = new DataView(this.header.buffer);
  private readonly status = new Uint8Array(1);
  /** Bounce buffers by size: wasm memory may move while the system reads into it. */
  private readonly pool = new Map<number, Uint8Array[]>();

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
      notify: () => this.serve(),
    });
    const reset = this.device.reset.bind(this.device);
    this.device.reset = () => {
      this.generation++;
      this.stalled = [];
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

  /** Settles when no block operation is running; stalled requests stay. */
  drain(): Promise<void> {
    return this.inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.idle.push(resolve));
  }

  /** Makes what the guest has written durable. */
  flush(): Promise<void> {
    return this.storage.readOnly ? Promise.resolve() : this.storage.flush();
  }

  /** Runs the requests again that failed; call it when the machine runs again. */
  retry(): void {
    for (const chain of this.stalled.splice(0)) this.begin(chain);
    this.device.queues[0]?.flush_replies();
  }

  async close(): Promise<void> {
    await this.drain();
    await this.storage.close();
  }

  save(): unknown {
    return { virtio: saveVirtio(this.device), stalled: this.stalled.map((chain) => chain.head), size: this.storage.size };
  }

  restore(state: unknown): void {
    const { virtio, stalled } = state as { virtio: unknown[]; stalled: number[] };
    restoreVirtio(this.device, virtio);
    const queue = this.device.queues[0];
    if (!queue) return;
    this.stalled = stalled.flatMap((head) => readChain(this.memory, queue, head) ?? []);
  }

  private serve(): void {
    const queue = this.device.queues[0];
    if (!queue) return;
    takeRequests(this.memory, this.device, queue, (chain) => {
      this.begin(chain);
      return true;
    });
    queue.flush_replies();
  }

  /** Starts a request, or answers it at once when it needs no storage. */
  private begin(chain: DescriptorChain): void {
    if (chain.readableBytes < headerBytes || chain.writableBytes < 1) {
      this.device.needs_reset();
      return;
    }
    gather(this.memory, chain, 0, this.header);
    const type = this.headerView.getUint32(0, true);
    const offset = (this.headerView.getUint32(8, true) + this.headerView.getUint32(12, true) * 2 ** 32) * sectorBytes;
    switch (type) {
      case requestRead:
        return this.read(chain, offset, chain.writableBytes - 1);
      case requestWrite:
        return this.write(chain, offset, chain.readableBytes - headerBytes);
      case requestFlush:
        this.statistics.flushes++;
        return this.run(chain, "flush", this.flush());
      case requestIdentity:
        return this.identify(chain);
      default:
        return this.answer(chain, statusUnsupported, 0);
    }
  }

  private read(chain: DescriptorChain, offset: number, length: number): void {
    if (!this.isInside(offset, length)) return this.answer(chain, statusIoError, 0);
    const buffer = this.takeBuffer(length);
    const data = buffer.subarray(0, length);
    this.statistics.reads++;
    this.statistics.readBytes += length;
    this.run(chain, "read", this.storage.read(offset, data), length, data, buffer);
  }

  private write(chain: DescriptorChain, offset: number, length: number): void {
    if (!this.isInside(offset, length) || this.storage.readOnly) return this.answer(chain, statusIoError, 0);
    const buffer = this.takeBuffer(length);
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
      if (buffer) this.pool.get(buffer.length)?.push(buffer);
      this.inFlight--;
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

  private isInside(offset: number, length: number): boolean {
    return length > 0 && length % sectorBytes === 0 && length <= maxRequestBytes && offset + length <= this.storage.size;
  }

  private takeBuffer(length: number): Uint8Array {
    let size = 4096;
    while (size < length) size *= 2;
    let free = this.pool.get(size);
    if (!free) this.pool.set(size, (free = []));
    return free.pop() ?? new Uint8Array(size);
  }
}
