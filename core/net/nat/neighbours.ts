import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import type { Ipv4Address, MacNumber } from "../wire/addresses";

/**
 * Which station has which address on a segment (RFC 826), learned from what the guests send, and the packets that wait
 * until that is known.
 *
 * Guests lie. An address that our DHCP server gave to a station is that one's alone; any other that a station used lately
 * cannot be taken by another until it was silent for `freshMs`. Tables and queues are bounded, and the oldest go first.
 */
export class Neighbours implements Disposable {
  private readonly entries = new Map<Ipv4Address, Neighbour>();
  private readonly byMac = new Map<MacNumber, Neighbour>();
  private readonly awaited = new Map<Ipv4Address, Awaited>();
  private latest: Neighbour | undefined;

  /**
   * `ask` sends a request for an address. `deliver` sends a packet (an Ethernet frame without its destination) that
   * waited, `lost` counts those that waited in vain. `holderOf` says who leased an address. `moved` hears of every address
   * that is a station's from now on.
   */
  constructor(
    private readonly clock: Clock,
    private readonly around: {
      ask(address: Ipv4Address): void;
      deliver(frame: Uint8Array, mac: MacNumber): void;
      lost(packets: number): void;
      holderOf(address: Ipv4Address): MacNumber | undefined;
      moved(address: Ipv4Address, mac: MacNumber): void;
    },
  ) {}

  get size(): number {
    return this.entries.size;
  }

  get awaitedCount(): number {
    return this.awaited.size;
  }

  /** A station spoke with this address. False when the address is another's: what it says must not be believed. */
  learn(address: Ipv4Address, mac: MacNumber): boolean {
    const now = this.clock.monotonic();
    const latest = this.latest;
    if (latest?.address === address && latest.mac === mac) {
      latest.seenAt = now;
      return true;
    }
    const known = this.entries.get(address);
    if (known?.mac === mac) {
      known.seenAt = now;
      this.byMac.set(mac, known);
      this.latest = known;
      return true;
    }
    const holder = this.around.holderOf(address);
    if (holder === undefined ? known !== undefined && now - known.seenAt <= freshMs : holder !== mac) return false;
    if (known !== undefined) this.remove(known);
    const entry: Neighbour = { address, mac, seenAt: now };
    this.entries.set(address, entry);
    this.byMac.set(mac, entry);
    this.latest = entry;
    if (this.entries.size > maxNeighbours) this.removeOldest();
    this.around.moved(address, mac);
    this.flush(address, mac);
    return true;
  }

  lookUp(address: Ipv4Address): MacNumber | undefined {
    return this.entries.get(address)?.mac;
  }

  /** The address that the station used last. */
  addressOf(mac: MacNumber): Ipv4Address | undefined {
    return this.byMac.get(mac)?.address;
  }

  /** A station was unplugged: its addresses are free at once. Answers which they were. */
  forget(mac: MacNumber): Ipv4Address[] {
    const entries = [...this.entries.values()].filter((entry) => entry.mac === mac);
    for (const entry of entries) this.remove(entry);
    return entries.map((entry) => entry.address);
  }

  /** Keeps a copy of the frame until the address is known, for a moment, and asks for it. */
  wait(address: Ipv4Address, frame: Uint8Array): void {
    let awaited = this.awaited.get(address);
    if (awaited === undefined) {
      if (this.awaited.size >= maxAwaited) return this.around.lost(1);
      awaited = { frames: [], asked: 0, timer: undefined };
      this.awaited.set(address, awaited);
      this.ask(address, awaited);
    }
    if (awaited.frames.length >= maxWaitingFrames) {
      awaited.frames.shift();
      this.around.lost(1);
    }
    awaited.frames.push(frame.slice());
  }

  dispose(): void {
    for (const awaited of this.awaited.values()) awaited.timer?.dispose();
    this.awaited.clear();
    this.entries.clear();
    this.byMac.clear();
    this.latest = undefined;
  }

  private ask(address: Ipv4Address, awaited: Awaited): void {
    if (awaited.asked === maxAsked) {
      this.awaited.delete(address);
      return this.around.lost(awaited.frames.length);
    }
    awaited.asked++;
    awaited.timer = this.clock.schedule(askAgainMs, () => this.ask(address, awaited));
    this.around.ask(address);
  }

  private flush(address: Ipv4Address, mac: MacNumber): void {
    const awaited = this.awaited.get(address);
    if (awaited === undefined) return;
    this.awaited.delete(address);
    awaited.timer?.dispose();
    for (const frame of awaited.frames) this.around.deliver(frame, mac);
  }

  private remove(entry: Neighbour): void {
    this.entries.delete(entry.address);
    if (this.byMac.get(entry.mac) === entry) this.byMac.delete(entry.mac);
    if (this.latest === entry) this.latest = undefined;
  }

  /** Among the first learned, the one that was silent longest: a look at all of them for each lie would be too dear. */
  private removeOldest(): void {
    let oldest: Neighbour | undefined;
    let looked = 0;
    for (const entry of this.entries.values()) {
      if (oldest === undefined || entry.seenAt < oldest.seenAt) oldest = entry;
      if (++looked === 16) break;
    }
    if (oldest !== undefined) this.remove(oldest);
  }
}

/** How long a silent station's address is kept from others, ms. */
export const freshMs = 60_000;

export const maxNeighbours = 4096;

/** Requests for one address, and the time between them (RFC 1122, 2.3.2.1: at most one a second). */
const maxAsked = 3;
const askAgainMs = 1000;

/** Addresses that are asked for at once, and packets that wait for one (RFC 1122, 2.3.2.2). */
export const maxAwaited = 128;
const maxWaitingFrames = 8;

interface Neighbour {
  readonly address: Ipv4Address;
  readonly mac: MacNumber;
  seenAt: number;
}

interface Awaited {
  readonly frames: Uint8Array[];
  asked: number;
  timer: Disposable | undefined;
}
