import type { GuestMemory } from "./guestMemory";
import type { V86Pci, V86Cpu, V86Virtio, V86VirtQueue, V86VirtioClass, V86VirtioField } from "./v86Internals";

/** One buffer of the guest: a checked range of its memory. */
export interface GuestBuffer {
  readonly address: number;
  readonly length: number;
}

/** A request as the guest's driver laid it out: what we may read, then what we may write. */
export interface DescriptorChain {
  readonly head: number;
  readonly readable: readonly GuestBuffer[];
  readonly writable: readonly GuestBuffer[];
  readonly readableBytes: number;
  readonly writableBytes: number;
}

const descriptorBytes = 16;
const descriptorNext = 1;
const descriptorWrite = 2;
const descriptorIndirect = 4;

/**
 * Reads the chain that begins at descriptor `head` (VIRTIO 1.1, 2.6.5). Everything in it is the guest's word:
 * undefined for a chain that leaves memory, runs in a circle, or is laid out in a way that was not negotiated.
 */
export function readChain(memory: GuestMemory, queue: V86VirtQueue, head: number): DescriptorChain | undefined {
  const table = queue.desc_addr >>> 0;
  if (!memory.contains(table, queue.size * descriptorBytes)) return undefined;
  const view = memory.view;
  const readable: GuestBuffer[] = [];
  const writable: GuestBuffer[] = [];
  let readableBytes = 0;
  let writableBytes = 0;
  let index = head;
  for (let count = 0; count < queue.size; count++) {
    if (index >= queue.size) return undefined;
    const at = table + index * descriptorBytes;
    const address = view.getUint32(at, true);
    const length = view.getUint32(at + 8, true);
    const flags = view.getUint16(at + 12, true);
    if (view.getUint32(at + 4, true) !== 0 || !memory.contains(address, length) || (flags & descriptorIndirect) !== 0) return undefined;
    if ((flags & descriptorWrite) !== 0) {
      writable.push({ address, length });
      writableBytes += length;
    } else {
      if (writable.length > 0) return undefined;
      readable.push({ address, length });
      readableBytes += length;
    }
    if ((flags & descriptorNext) === 0) return { head, readable, writable, readableBytes, writableBytes };
    index = view.getUint16(at + 14, true);
  }
  return undefined;
}

/**
 * Takes the requests the guest has put into the queue, `limit` at most, and hands them on; `handle` returns false to
 * leave one in the queue and stop. A guest that claims more requests than the
 * queue has room for, or lays one out wrongly, has broken its device (VIRTIO 1.1, 2.1.2): the driver must reset it.
 */
export function takeRequests(
  memory: GuestMemory,
  device: V86Virtio,
  queue: V86VirtQueue,
  handle: (chain: DescriptorChain) => boolean,
  limit = Infinity,
): void {
  if (!queue.enabled) return;
  for (let count = 0; count < limit; count++) {
    const waiting = queue.count_requests();
    if (waiting === 0) return;
    const chain = waiting <= queue.size ? readChain(memory, queue, queue.avail_get_entry(queue.avail_last_idx)) : undefined;
    if (!chain) {
      device.needs_reset();
      return;
    }
    if (!handle(chain)) return;
    queue.avail_last_idx = (queue.avail_last_idx + 1) & 0xffff;
  }
}

/** Copies the chain's readable bytes from `skip` on into `target`, which they fill at most. */
export function gather(memory: GuestMemory, chain: DescriptorChain, skip: number, target: Uint8Array): void {
  let at = 0;
  for (const buffer of chain.readable) {
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const length = Math.min(buffer.length - skip, target.length - at);
    memory.read(buffer.address + skip, target, at, length);
    skip = 0;
    at += length;
    if (at === target.length) return;
  }
}

/** Copies `source` into the chain's writable bytes from `skip` on; returns how many had room. */
export function scatter(memory: GuestMemory, chain: DescriptorChain, skip: number, source: Uint8Array): number {
  let at = 0;
  for (const buffer of chain.writable) {
    if (at === source.length) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const length = Math.min(buffer.length - skip, source.length - at);
    memory.write(buffer.address + skip, source, at, length);
    skip = 0;
    at += length;
  }
  return at;
}

export interface VirtioLayout {
  readonly name: string;
  /** Slot on the PCI bus, 0 to 31. */
  readonly slot: number;
  /** Device number of VIRTIO 1.1, 5: 1 network, 2 block. */
  readonly kind: 1 | 2;
  /** First of 256 I/O ports, where the firmware finds the device. */
  readonly port: number;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly config: V86VirtioField[];
  notify(queue: number): void;
}

/** Bit number of VIRTIO_F_VERSION_1: the only layout v86's virtio speaks. */
export const featureVersion1 = 32;

/** Puts a device on the bus. v86's class does the transport; requests and configuration are ours. */
export function createVirtioDevice(cpu: V86Cpu, Virtio: V86VirtioClass, layout: VirtioLayout): V86Virtio {
  return new Virtio(cpu, {
    name: layout.name,
    pci_id: layout.slot << 3,
    device_id: 0x1040 + layout.kind,
    subsystem_device_id: layout.kind,
    common: {
      initial_port: layout.port,
      queues: layout.queueSizes.map((size, index) => ({ size_supported: size, notify_offset: index })),
      features: [...layout.features, featureVersion1],
      on_driver_ok: () => undefined,
    },
    device_specific: { initial_port: layout.port + 0x40, struct: layout.config },
    isr_status: { initial_port: layout.port + 0x80 },
    notification: {
      initial_port: layout.port + 0xa0,
      single_handler: false,
      handlers: layout.queueSizes.map(() => (queue: number) => layout.notify(queue)),
    },
  });
}

/** A field of a device's configuration that the guest can read only. */
export function field(bytes: 1 | 2 | 4, name: string, read: () => number): V86VirtioField {
  return { bytes, name, read, write: () => undefined };
}

/** Whether the guest's driver has the device in use (DRIVER_OK of VIRTIO 1.1, 2.1). */
export function hasDriver(device: V86Virtio): boolean {
  return (device.device_status & 4) !== 0;
}

/** The device's state as plain JSON. */
export function saveVirtio(device: V86Virtio): unknown[] {
  return device.get_state().map((value) => {
    if (value instanceof Uint32Array) return Array.from(value);
    return typeof value === "object" && value !== null ? (value as V86VirtQueue).get_state() : value;
  });
}

export function restoreVirtio(device: V86Virtio, state: readonly unknown[]): void {
  // Places 2 and 3 of v86's list are the offered and the accepted features.
  device.set_state(state.map((value, index) => (index === 2 || index === 3 ? Uint32Array.from(value as number[]) : value)));
}

/**
 * PCI interrupt lines are shared and level-triggered: a line falls when the last of its devices has let go. v86 lets
 * it fall with the first one, which loses the other's interrupt, so its two methods are replaced.
 */
export class SharedInterrupts {
  private readonly asserted = new Set<number>();

  constructor(
    cpu: V86Cpu,
    private readonly pci: V86Pci,
  ) {
    pci.raise_irq = (pciId) => {
      this.asserted.add(pciId);
      cpu.device_raise_irq(this.lineOf(pciId));
    };
    pci.lower_irq = (pciId) => {
      this.asserted.delete(pciId);
      const line = this.lineOf(pciId);
      for (const other of this.asserted) if (this.lineOf(other) === line) return;
      cpu.device_lower_irq(line);
    };
  }

  /** After a restore: what the devices assert follows from their own state; the controller's state is restored already. */
  reset(assertedNow: Iterable<number>): void {
    this.asserted.clear();
    for (const pciId of assertedNow) this.asserted.add(pciId);
  }

  /** PIIX3: pin and slot choose one of four lines, which the firmware routes to interrupts (offsets 0x60 to 0x63). */
  private lineOf(pciId: number): number {
    const space = this.pci.device_spaces[pciId];
    const pin = ((space?.[15] ?? 0) >> 8) & 0xff;
    return this.pci.isa_bridge_space8[0x60 + ((pin - 1 + ((pciId >> 3) - 1)) & 3)] ?? 0;
  }
}
