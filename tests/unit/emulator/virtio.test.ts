import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GuestMemory } from "../../../core/emulator/guestMemory";
import { gather, readChain, scatter, takeRequests, type DescriptorChain } from "../../../core/emulator/virtio";
import type { V86Virtio, V86VirtQueue } from "../../../core/emulator/v86Internals";

/** A guest that is only memory: whatever it holds must not do more than break its own device. */
const memoryBytes = 64 * 1024;
const queueSize = 16;
const table = 0x1000;

function guest(): { memory: GuestMemory; queue: V86VirtQueue; bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(memoryBytes);
  const view = new DataView(bytes.buffer);
  const memory = {
    size: memoryBytes,
    bytes,
    view,
    contains: (address: number, length: number) => address >= 0 && length >= 0 && address + length <= memoryBytes,
    read: (address: number, target: Uint8Array, at: number, length: number) => target.set(bytes.subarray(address, address + length), at),
    write: (address: number, source: Uint8Array, at: number, length: number) => bytes.set(source.subarray(at, at + length), address),
  } as unknown as GuestMemory;
  const queue = { size: queueSize, desc_addr: table, enabled: true } as unknown as V86VirtQueue;
  return { memory, queue, bytes, view };
}

function describeBuffer(view: DataView, index: number, address: number, length: number, flags: number, next = 0): void {
  const at = table + index * 16;
  view.setUint32(at, address, true);
  view.setUint32(at + 4, 0, true);
  view.setUint32(at + 8, length, true);
  view.setUint16(at + 12, flags, true);
  view.setUint16(at + 14, next, true);
}

describe("a request's chain of descriptors", () => {
  it("is read in order, what we read apart from what we write", () => {
    const { memory, queue, view, bytes } = guest();
    describeBuffer(view, 3, 0x4000, 16, 1, 5);
    describeBuffer(view, 5, 0x5000, 8, 1, 0);
    describeBuffer(view, 0, 0x6000, 32, 2);
    const chain = readChain(memory, queue, 3) as DescriptorChain;
    expect(chain).toMatchObject({ head: 3, readableBytes: 24, writableBytes: 32 });
    bytes.fill(1, 0x4000, 0x4010);
    bytes.fill(2, 0x5000, 0x5008);
    const target = new Uint8Array(12);
    gather(memory, chain, 10, target);
    expect(Array.from(target)).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    expect(scatter(memory, chain, 30, Uint8Array.of(7, 8, 9))).toBe(2);
    expect([bytes[0x601d], bytes[0x601e], bytes[0x601f], bytes[0x6020]]).toEqual([0, 7, 8, 0]);
  });

  it.each([
    ["leaves memory", (view: DataView) => describeBuffer(view, 0, memoryBytes - 4, 8, 0)],
    ["is as long as a number can say", (view: DataView) => describeBuffer(view, 0, 16, 0xffffffff, 0)],
    ["runs in a circle", (view: DataView) => describeBuffer(view, 0, 0, 8, 1, 0)],
    ["goes on outside the table", (view: DataView) => describeBuffer(view, 0, 0, 8, 1, 999)],
    ["uses an indirect table, which was not negotiated", (view: DataView) => describeBuffer(view, 0, 0, 16, 4)],
    ["reads behind what it writes", (view: DataView) => (describeBuffer(view, 0, 0, 8, 3, 1), describeBuffer(view, 1, 0, 8, 0))],
    ["lies above 4 GiB", (view: DataView) => (describeBuffer(view, 0, 0, 8, 0), view.setUint32(table + 4, 1, true))],
  ])("is refused when it %s", (_, lay) => {
    const { memory, queue, view } = guest();
    lay(view);
    expect(readChain(memory, queue, 0)).toBeUndefined();
  });

  it("never leaves memory or throws, whatever the table holds", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: queueSize * 16, maxLength: queueSize * 16 }), fc.integer({ min: 0, max: 0xffff }), (bytes, head) => {
        const { memory, queue, bytes: all } = guest();
        all.set(bytes, table);
        const chain = readChain(memory, queue, head);
        for (const { address, length } of [...(chain?.readable ?? []), ...(chain?.writable ?? [])]) {
          expect(address + length).toBeLessThanOrEqual(memoryBytes);
        }
      }),
    );
  });
});

describe("taking requests", () => {
  function queueOf(waiting: number): { device: V86Virtio; queue: V86VirtQueue; broken: () => boolean } {
    const { queue, view } = guest();
    describeBuffer(view, 0, 0x2000, 16, 0);
    let broken = false;
    const full = Object.assign(queue, {
      avail_last_idx: 65_534,
      count_requests: () => (waiting - (full.avail_last_idx - 65_534)) & 0xffff,
      avail_get_entry: () => 0,
    }) as V86VirtQueue;
    return { device: { needs_reset: () => (broken = true) } as unknown as V86Virtio, queue: full, broken: () => broken };
  }

  it("takes all, or as many as asked, or none from a queue that is not enabled", () => {
    const { memory } = guest();
    for (const [limit, expected] of [
      [Infinity, 5],
      [2, 2],
    ] as const) {
      const { device, queue } = queueOf(5);
      let count = 0;
      takeRequests(memory, device, queue, () => ++count > 0, limit);
      expect(count).toBe(expected);
    }
    const { device, queue } = queueOf(5);
    takeRequests(memory, device, { ...queue, enabled: false }, () => expect.fail("nothing is to be taken"));
  });

  it("leaves a request in the queue that is not handled", () => {
    const { memory } = guest();
    const { device, queue } = queueOf(3);
    takeRequests(memory, device, queue, () => false);
    expect(queue.count_requests()).toBe(3);
  });

  it("breaks the device of a guest that claims more requests than there is room for", () => {
    const { memory } = guest();
    const { device, queue, broken } = queueOf(queueSize + 1);
    takeRequests(memory, device, queue, () => expect.fail("nothing is to be taken"));
    expect(broken()).toBe(true);
  });
});
