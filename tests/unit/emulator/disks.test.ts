import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { V86 } from "v86";
import { Disk, maxBytesInFlight, maxRequestBytes, queueSize } from "../../../core/emulator/disks";
import { GuestMemory } from "../../../core/emulator/guestMemory";
import type { DiskFailure } from "../../../core/emulator/messages";
import type { V86Cpu, V86Emulator, V86VirtioClass } from "../../../core/emulator/v86Internals";
import type { BlockDevice } from "../../../core/storage/blockDevice";

const memoryBytes = 64 * 1024 * 1024;
const sector = 512;
/** Where the guest, which is only memory here, has its rings, its requests' headers and its data. */
const places = { table: 0x10_0000, avail: 0x11_0000, used: 0x12_0000, headers: 0x13_0000, status: 0x14_0000, data: 0x20_0000 };
const port = 0xe400;
const [next, write] = [1, 2];
const [typeRead, typeWrite, typeFlush] = [0, 1, 4];

async function loadCpu(): Promise<{ cpu: V86Cpu; Virtio: V86VirtioClass }> {
  const wasm = readFileSync(join(dirname(createRequire(import.meta.url).resolve("v86")), "v86.wasm"));
  const emulator = new V86({
    wasm_fn: async (imports: WebAssembly.Imports) => (await WebAssembly.instantiate(wasm, imports)).instance.exports,
    memory_size: memoryBytes,
    net_device: { type: "virtio" },
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  } as never) as unknown as V86Emulator;
  await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
  const { cpu } = emulator.v86;
  return { cpu, Virtio: cpu.devices.virtio_net?.virtio.constructor as V86VirtioClass };
}

/** Storage whose operations settle when the test says so. */
class SlowStorage implements BlockDevice {
  readonly size = 64 * 1024 * 1024;
  readonly readOnly = false;
  readonly pending: { kind: "read" | "write" | "flush"; offset: number; buffer: ArrayBufferLike; data: Uint8Array; settle(error?: Error): void }[] = [];
  /** All memory the disk has ever shown us. */
  readonly buffers = new Set<ArrayBufferLike>();

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.wait("read", offset, target);
  }

  write(offset: number, data: Uint8Array): Promise<void> {
    return this.wait("write", offset, data);
  }

  flush(): Promise<void> {
    return this.wait("flush", 0, new Uint8Array(0));
  }

  discard(): Promise<void> {
    throw new Error("nobody discards");
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Bytes allocated for what is in flight. */
  get bytesHeld(): number {
    return this.pending.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
  }

  async settle(error?: Error): Promise<void> {
    this.pending.shift()?.settle(error);
    await turn();
  }

  async settleAll(): Promise<number> {
    let count = 0;
    for (; this.pending.length > 0; count++) await this.settle();
    return count;
  }

  private wait(kind: "read" | "write" | "flush", offset: number, data: Uint8Array): Promise<void> {
    if (kind !== "flush") this.buffers.add(data.buffer);
    return new Promise((resolve, reject) => {
      this.pending.push({ kind, offset, data, buffer: data.buffer, settle: (error) => (error ? reject(error) : resolve()) });
    });
  }
}

/** Lets the promises that are settled run on. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

class Guest {
  readonly storage = new SlowStorage();
  readonly failures: DiskFailure[] = [];
  readonly memory: GuestMemory;
  readonly disk: Disk;
  private descriptors = 0;

  constructor(
    private readonly cpu: V86Cpu,
    Virtio: V86VirtioClass,
  ) {
    this.memory = new GuestMemory(cpu);
    this.disk = new Disk("disk0", 20, port, cpu, Virtio, this.memory, this.storage, (failure) => this.failures.push(failure));
    this.drive();
  }

  /** What a driver does: queue addresses, queue on, DRIVER_OK. */
  drive(): void {
    this.memory.bytes.fill(0, places.table, places.data);
    this.descriptors = 0;
    const queue = this.disk.device.queues[0];
    Object.assign(queue as object, { desc_addr: places.table, avail_addr: places.avail, used_addr: places.used, enabled: true });
    (this.disk.device as { device_status: number }).device_status = 4;
  }

  reset(): void {
    this.disk.device.reset();
    this.drive();
  }

  /** Lays out a request and returns its head. */
  lay(type: number, at: number, length: number): number {
    const head = this.descriptors;
    const { view } = this.memory;
    const header = places.headers + head * 16;
    view.setUint32(header, type, true);
    view.setUint32(header + 8, at / sector, true);
    const describe = (address: number, bytes: number, flags: number): void => {
      const index = this.descriptors++;
      const entry = places.table + index * 16;
      view.setUint32(entry, address, true);
      view.setUint32(entry + 4, 0, true);
      view.setUint32(entry + 8, bytes, true);
      view.setUint16(entry + 12, flags, true);
      view.setUint16(entry + 14, index + 1, true);
    };
    describe(header, 16, next);
    if (length > 0) describe(places.data, length, next | (type === typeRead ? write : 0));
    describe(places.status + head, 1, write);
    view.setUint8(places.status + head, 0xff);
    return head;
  }

  offer(heads: readonly number[]): void {
    const { view } = this.memory;
    let index = view.getUint16(places.avail + 2, true);
    for (const head of heads) {
      view.setUint16(places.avail + 4 + (index % queueSize) * 2, head, true);
      index = (index + 1) & 0xffff;
    }
    view.setUint16(places.avail + 2, index, true);
    (this.cpu.io.ports[port + 0xa0] as { write16(value: number): void }).write16.call(this.disk.device, 0);
  }

  get answered(): number {
    return this.memory.view.getUint16(places.used + 2, true);
  }

  get waiting(): number {
    return this.disk.device.queues[0]?.count_requests() ?? NaN;
  }

  statusOf(head: number): number {
    return this.memory.view.getUint8(places.status + head);
  }
}

const { cpu, Virtio } = await loadCpu();
let guest: Guest;
let storage: SlowStorage;
beforeEach(() => {
  guest = new Guest(cpu, Virtio);
  storage = guest.storage;
});

describe("a disk's requests", () => {
  it("read and write through the guest's queue", async () => {
    guest.memory.bytes.fill(7, places.data, places.data + 1024);
    const written = guest.lay(typeWrite, 2048, 1024);
    guest.offer([written]);
    expect(storage.pending).toMatchObject([{ kind: "write", offset: 2048 }]);
    expect(storage.pending[0]?.data).toEqual(new Uint8Array(1024).fill(7));
    await storage.settle();
    expect([guest.statusOf(written), guest.answered]).toEqual([0, 1]);
    const read = guest.lay(typeRead, 512, 512);
    guest.offer([read]);
    storage.pending[0]?.data.fill(9);
    await storage.settle();
    expect([guest.statusOf(read), guest.answered]).toEqual([0, 2]);
    expect(guest.memory.bytes.subarray(places.data, places.data + 512).every((byte) => byte === 9)).toBe(true);
  });

  it("are all in flight at once while they are of the usual size", () => {
    const heads = Array.from({ length: 32 }, (_, index) => guest.lay(typeRead, index * sector, 512 * 1024));
    guest.offer(heads);
    expect(storage.pending.length).toBe(32);
  });

  it("are refused one by one when they are larger than any driver makes them, or outside the disk", () => {
    const heads = [guest.lay(typeRead, 0, maxRequestBytes + sector), guest.lay(typeWrite, storage.size, sector), guest.lay(typeRead, 0, 100)];
    guest.offer(heads);
    expect(heads.map((head) => guest.statusOf(head))).toEqual([1, 1, 1]);
    expect(storage.pending).toEqual([]);
  });

  it.each([
    ["reads", typeRead],
    ["writes", typeWrite],
  ])("take no more of our memory than is allowed, and all are served in the end: %s of the largest size", async (_, type) => {
    const head = guest.lay(type, 0, maxRequestBytes);
    guest.offer(Array.from({ length: 16 }, () => head));
    expect(storage.bytesHeld).toBeLessThanOrEqual(maxBytesInFlight);
    let most = 0;
    let count = 0;
    for (; storage.pending.length > 0; count++) {
      most = Math.max(most, storage.bytesHeld);
      await storage.settle();
    }
    expect([count, guest.answered, guest.waiting]).toEqual([16, 16, 0]);
    expect(most).toBeGreaterThan(maxBytesInFlight / 2);
    expect(most).toBeLessThanOrEqual(maxBytesInFlight);
  });

  it("are no more than the queue has room for, however small they are", async () => {
    const head = guest.lay(typeFlush, 0, 0);
    for (let round = 0; round < 3; round++) guest.offer(Array.from({ length: queueSize / 2 }, () => head));
    expect(storage.pending.length).toBe(queueSize);
    expect(guest.waiting).toBe(queueSize / 2);
    expect(await storage.settleAll()).toBe(1.5 * queueSize);
  });

  it("of before a reset by the driver count until they are done, and are not answered", async () => {
    for (let round = 0; round < 8; round++) {
      guest.reset();
      const head = guest.lay(typeRead, 0, maxRequestBytes);
      guest.offer(Array.from({ length: 16 }, () => head));
    }
    expect(storage.bytesHeld).toBeLessThanOrEqual(maxBytesInFlight);
    // Two of the first round, then the sixteen of the last one.
    await storage.settle();
    expect(guest.answered).toBe(0);
    expect(await storage.settleAll()).toBe(17);
    expect(guest.answered).toBe(16);
  });

  it("use the same memory again and again", async () => {
    const heads = Array.from({ length: 4 }, () => guest.lay(typeRead, 0, 512 * 1024));
    for (let round = 0; round < 8; round++) {
      guest.offer(heads);
      await storage.settleAll();
    }
    expect(guest.answered).toBe(32);
    expect(storage.buffers.size).toBe(4);
  });

  it("are all done when the disk has come to rest, those that waited in the queue too", async () => {
    const head = guest.lay(typeWrite, 0, maxRequestBytes);
    guest.offer(Array.from({ length: 5 }, () => head));
    let rested = false;
    const rest = guest.disk.drain().then(() => (rested = true));
    for (let done = 1; done <= 5; done++) {
      expect(rested).toBe(false);
      await storage.settle();
    }
    await rest;
    expect(guest.answered).toBe(5);
  });
});

describe("a write that fails", () => {
  it("is kept and runs again, and nothing more is taken on until then", async () => {
    const head = guest.lay(typeWrite, 0, maxRequestBytes);
    guest.offer(Array.from({ length: 6 }, () => head));
    await storage.settle(new Error("no room"));
    await storage.settle(new Error("no room"));
    expect(storage.pending).toEqual([]);
    expect(guest.failures).toMatchObject([{ operation: "write", action: "stop" }, { operation: "write", action: "stop" }]);
    expect([guest.answered, guest.waiting]).toEqual([0, 4]);
    guest.disk.retry();
    expect(await storage.settleAll()).toBe(6);
    expect([guest.answered, guest.waiting]).toEqual([6, 0]);
  });

  it("holds no more memory when many run again at once, and is saved whether it has run again or not", async () => {
    const head = guest.lay(typeWrite, 0, maxRequestBytes / 4);
    guest.offer(Array.from({ length: 8 }, () => head));
    for (let count = 0; count < 8; count++) await storage.settle(new Error("no room"));
    const large = guest.lay(typeWrite, 0, maxRequestBytes);
    // A hostile driver makes its request larger while it waits.
    guest.memory.bytes.copyWithin(places.table + head * 16, places.table + large * 16, places.table + large * 16 + 48);
    const state = guest.disk.save();
    expect(state.stalled).toEqual(Array.from({ length: 8 }, () => head));
    guest.disk.restore(state);
    guest.disk.retry();
    expect(storage.bytesHeld).toBeLessThanOrEqual(maxBytesInFlight);
    const running = storage.pending.length;
    for (let count = 0; count < running; count++) await storage.settle(new Error("no room"));
    expect(guest.disk.save().stalled.length).toBe(8);
    guest.disk.retry();
    expect(await storage.settleAll()).toBe(8);
    expect(guest.answered).toBe(8);
  });
});
