import { FrameBatch, forEachFrame, headerBytes, minFrameBytes } from "../net/link/stream";
import { maxFrameBytes } from "../net/port";
import type { GuestMemory } from "./guestMemory";
import type { AdapterStatistics } from "./messages";
import type { AdapterState } from "./stateShape";
import { createVirtioDevice, field, gather, hasDriver, restoreVirtio, saveVirtio, scatter, takeRequests, type DescriptorChain } from "./virtio";
import type { V86Cpu, V86Virtio, V86VirtioClass } from "./v86Internals";

/** Where an adapter's frames go; they are collected and sent once per slice of the guest's running. */
export interface AdapterLine {
  send(batch: Uint8Array): void;
  /** `bytes` of the frames that were given to `receive` are done with. */
  taken(bytes: number): void;
}

/**
 * A network adapter as a virtio network device (VIRTIO 1.1, 5.1). All four of a machine are this one, the first too:
 * v86's own has no link state worth the name and trusts the lengths the guest gives.
 *
 * Back-pressure, both ways without loss: frames to the guest wait in `waiting` until it offers buffers, and frames from
 * it stay in its own queue while more than `maxOutstanding` bytes have not left the process. Without a peer on the
 * socket, with the link down, or without a driver, a frame is dropped at once, as on an unplugged cable.
 */
const featureMtu = 3;
const featureMac = 5;
const featureStatus = 16;
const featureControl = 17;
const featureControlMac = 23;

const receiveQueue = 0;
const sendQueue = 1;
const controlQueue = 2;

/** struct virtio_net_hdr of VIRTIO 1.1, 5.1.6: all zero but for the number of buffers, which is one. */
const netHeaderBytes = 12;
const maxOutstanding = 1024 * 1024;
const mtu = 1500;

export class Adapter {
  readonly device: V86Virtio;
  private readonly mac: Uint8Array;
  /** The address that the guest's driver uses: the one it found, that it has set, or that came with a saved state. */
  private driverMac: Uint8Array;
  private readonly counters = { sentFrames: 0, sentBytes: 0, receivedFrames: 0, receivedBytes: 0, droppedFrames: 0 };
  private readonly batch = new FrameBatch();
  private outstanding = 0;
  private hasPeer = false;
  private waiting: { batch: Uint8Array; at: number }[] = [];
  private readonly netHeader = new Uint8Array(netHeaderBytes);

  constructor(
    readonly id: string,
    slot: number,
    port: number,
    mac: string,
    private link: boolean,
    cpu: V86Cpu,
    virtio: V86VirtioClass,
    private readonly memory: GuestMemory,
    private readonly line: AdapterLine,
    private readonly isRunning: () => boolean,
  ) {
    this.mac = Uint8Array.from(mac.split(":"), (part) => parseInt(part, 16));
    this.driverMac = this.mac.slice();
    this.netHeader[10] = 1;
    this.device = createVirtioDevice(cpu, virtio, {
      name: `virtio-net ${id}`,
      slot,
      kind: 1,
      port,
      features: [featureMtu, featureMac, featureStatus, featureControl, featureControlMac],
      queueSizes: [1024, 1024, 16],
      config: [
        ...[0, 1, 2, 3, 4, 5].map((index) => field(1, `mac_${index}`, () => this.mac[index] ?? 0)),
        field(2, "status", () => (this.link ? 1 : 0)),
        field(2, "max_pairs", () => 1),
        field(2, "mtu", () => mtu),
      ],
      notify: (queue) => this.notified(queue),
    });
  }

  get isUp(): boolean {
    return this.link;
  }

  report(): AdapterStatistics {
    return { id: this.id, mac: Array.from(this.driverMac, (byte) => byte.toString(16).padStart(2, "0")).join(":"), link: this.link, driver: hasDriver(this.device), ...this.counters };
  }

  /** Plugs the cable in or out; the guest's driver is told. */
  setLink(up: boolean): void {
    if (this.link === up) return;
    this.link = up;
    this.tellGuest();
    if (!up) this.pumpIn();
  }

  setPeer(present: boolean): void {
    this.hasPeer = present;
    this.outstanding = 0;
    this.pumpOut();
  }

  /** Frames for the guest, each behind its length. */
  receive(batch: Uint8Array): void {
    this.waiting.push({ batch, at: 0 });
    this.pumpIn();
  }

  /** `bytes` have left the process. */
  drained(bytes: number): void {
    this.outstanding = Math.max(0, this.outstanding - bytes);
    this.pumpOut();
  }

  /** Sends what has been collected, and takes on what waited for the guest to run. */
  flush(): void {
    if (this.batch.bytes > 0) {
      const frames = this.batch.drain();
      this.outstanding += frames.length;
      this.line.send(frames);
    }
  }

  /** Call it when the guest runs again. */
  resume(): void {
    this.pumpIn();
    this.pumpOut();
  }

  save(): AdapterState {
    return { virtio: saveVirtio(this.device), mac: Array.from(this.driverMac), link: this.link };
  }

  /** The address and the cable are this machine's, not the saved one's; the driver is told when they differ. */
  restore({ virtio, mac, link }: AdapterState): void {
    restoreVirtio(this.device, virtio);
    // A driver that is not there yet will find this machine's.
    this.driverMac = hasDriver(this.device) ? Uint8Array.from(mac) : this.mac.slice();
    if (link !== this.link || mac.some((byte, index) => byte !== this.mac[index])) this.tellGuest();
  }

  private tellGuest(): void {
    if (!hasDriver(this.device)) return;
    this.device.notify_config_changes();
    this.device.update_config_generation();
  }

  private notified(queue: number): void {
    if (queue === receiveQueue) this.pumpIn();
    else if (queue === sendQueue) this.pumpOut();
    else this.control();
  }

  private pumpOut(): void {
    const queue = this.device.queues[sendQueue];
    if (!queue || !hasDriver(this.device)) return;
    const carry = this.hasPeer && this.link;
    takeRequests(this.memory, this.device, queue, (chain) => {
      if (carry && this.outstanding + this.batch.bytes > maxOutstanding) return false;
      this.sendOut(chain, carry);
      queue.push_reply({ head_idx: chain.head, length_written: 0 });
      return true;
    });
    queue.flush_replies();
    if (!this.isRunning()) this.flush();
  }

  private sendOut(chain: DescriptorChain, carry: boolean): void {
    const length = chain.readableBytes - netHeaderBytes;
    if (!carry || length < minFrameBytes || length > maxFrameBytes) {
      this.counters.droppedFrames++;
      return;
    }
    gather(this.memory, chain, netHeaderBytes, this.batch.append(length));
    this.counters.sentFrames++;
    this.counters.sentBytes += length;
  }

  private pumpIn(): void {
    const queue = this.device.queues[receiveQueue];
    if (!queue) return;
    const deliver = this.link && hasDriver(this.device) && queue.enabled;
    if (deliver && !this.isRunning()) return;
    while (this.waiting.length > 0) {
      const entry = this.waiting[0];
      if (!entry) break;
      if (deliver && !this.deliver(entry)) break;
      if (!deliver) forEachFrame(entry.batch.subarray(entry.at), () => this.counters.droppedFrames++);
      this.waiting.shift();
      this.line.taken(entry.batch.length);
    }
    queue.flush_replies();
  }

  /** Puts the rest of a batch into the guest's buffers; false when they ran out. */
  private deliver(entry: { batch: Uint8Array; at: number }): boolean {
    const queue = this.device.queues[receiveQueue];
    if (!queue) return true;
    const { batch } = entry;
    while (entry.at < batch.length) {
      const length = new DataView(batch.buffer, batch.byteOffset + entry.at, headerBytes).getUint32(0);
      const frame = batch.subarray(entry.at + headerBytes, entry.at + headerBytes + length);
      let placed = false;
      const place = (chain: DescriptorChain): boolean => {
        placed = true;
        this.place(chain, frame);
        return true;
      };
      takeRequests(this.memory, this.device, queue, place, 1);
      if (!placed) return false;
      entry.at += headerBytes + length;
    }
    return true;
  }

  private place(chain: DescriptorChain, frame: Uint8Array): void {
    const fits = chain.writableBytes >= netHeaderBytes + frame.length;
    if (fits) {
      scatter(this.memory, chain, 0, this.netHeader);
      scatter(this.memory, chain, netHeaderBytes, frame);
      this.counters.receivedFrames++;
      this.counters.receivedBytes += frame.length;
    } else {
      this.counters.droppedFrames++;
    }
    this.device.queues[receiveQueue]?.push_reply({ head_idx: chain.head, length_written: fits ? netHeaderBytes + frame.length : 0 });
  }

  /** VIRTIO 1.1, 5.1.6.5: the driver sets its address, or (which needs no doing) chooses one pair of queues. */
  private control(): void {
    const queue = this.device.queues[controlQueue];
    if (!queue) return;
    takeRequests(this.memory, this.device, queue, (chain) => {
      const command = new Uint8Array(Math.min(chain.readableBytes, 8));
      gather(this.memory, chain, 0, command);
      const accepted = command.length === 8 && command[0] === 1 && command[1] === 1;
      if (accepted) {
        this.mac.set(command.subarray(2, 8));
        this.driverMac = this.mac.slice();
      }
      const written = scatter(this.memory, chain, 0, Uint8Array.of(accepted ? 0 : 1));
      queue.push_reply({ head_idx: chain.head, length_written: written });
      return true;
    });
    queue.flush_replies();
  }
}
