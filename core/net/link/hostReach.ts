import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import { ArpOperation, arpBytes, readArp, writeArp, type ArpPacket } from "../wire/arp";
import { anyIpv4, broadcastIpv4, inSubnet, isLoopbackIpv4, isMulticastIpv4, read16, read32, readMac, subnetBroadcast, subnetMask, type Ipv4Address, type MacNumber } from "../wire/addresses";
import { EtherType, ethernetHeaderBytes, writeEthernet } from "../wire/ethernet";

/*
 * How the host and the guests on its own card reach each other. A frame that is put on a card goes out on the wire and
 * never reaches the host's own stack, so beside the card there is a TAP, to which a route leads for every address of a
 * guest. The guests are told, by ARP, that the host's addresses are at the TAP.
 *
 * Which addresses the guests have is learned from what they say, and they may say anything. So a route is made only for an
 * address of the card's own subnets that is neither the host's, nor one its routes go through, nor one that somebody on the
 * wire uses; and there are only so many. Addresses nobody answers for any more are forgotten.
 *
 * A route takes a moment. Until it is there the host would answer by its card, where no guest hears it: so what the guest
 * asked is held back that long, both who the host is and what it sends to the host.
 */

/** An address of the host on the card. */
export interface HostAddress {
  readonly address: Ipv4Address;
  readonly prefix: number;
}

/** Makes and takes away the route to a guest's address, from an address of the host. It may fail, and tells nobody: the guest claims again. */
export interface GuestRoutes {
  add(address: Ipv4Address, source: Ipv4Address): Promise<boolean>;
  remove(address: Ipv4Address, source: Ipv4Address): void;
}

/** Where frames go that were held back, or are made here. */
export interface ReachOutlets {
  /** Sends one frame to the guests. It may be called from within the call that a frame of a guest came in with. */
  toGuests(frame: Uint8Array): void;
  /** Sends one frame of a guest to the host. */
  toHost(frame: Uint8Array): void;
  /** A frame was not held back, as too many are. */
  full(): void;
}

export const maxRoutes = 256;
export const maxRoutesOfOneGuest = 16;
/** What is held back of one address, frames: first words, not a transfer. */
export const maxHeldFrames = 32;
/** What is held back of all of them together, bytes. */
const maxHeldBytes = 1 << 20;
const maxWireAddresses = 4096;
/** For how long an address that was seen on the wire is not a guest's, milliseconds. */
export const wireClaimMs = 300_000;
/** How often guests that were not heard are asked whether they are there, and how often in vain. */
export const askMs = 30_000;
const asksInVain = 3;

interface Held {
  readonly frame: Uint8Array;
  readonly to: "host" | "guests";
}

interface Guest {
  mac: MacNumber;
  /** What is held back; undefined when the route is there. */
  held: Held[] | undefined;
  readonly source: Ipv4Address;
  /** When it was heard last, on the clock. */
  heardAt: number;
  asked: number;
}

/** A frame that holds an ARP packet and nothing else, with the padding an Ethernet wants. */
const arpFrameBytes = 60;

export class HostReach implements Disposable {
  private readonly guests = new Map<Ipv4Address, Guest>();
  private readonly onWire = new Map<Ipv4Address, { readonly mac: MacNumber; readonly seenAt: number }>();
  private addresses: readonly HostAddress[] = [];
  private refused: ReadonlySet<Ipv4Address> = new Set();
  /** The source of the frame before: most frames are of the same guest. */
  private lastMac: MacNumber = 0;
  private lastAddress: Ipv4Address = 0;
  private heldBytes = 0;
  private timer: Disposable | undefined;
  private disposed = false;

  /** @param mac of the TAP */
  constructor(
    private readonly mac: MacNumber,
    private readonly routes: GuestRoutes,
    private readonly outlets: ReachOutlets,
    private readonly clock: Clock,
  ) {}

  /** The host's addresses on the card, and addresses that no guest can have: the host's others, and those its routes go through. */
  setHost(addresses: readonly HostAddress[], refused: ReadonlySet<Ipv4Address>): void {
    this.addresses = addresses;
    this.refused = refused;
    this.lastMac = 0;
    for (const [address, guest] of this.guests) {
      if (this.sourceFor(address) !== guest.source) this.forget(address, guest);
    }
  }

  get routed(): readonly Ipv4Address[] {
    return [...this.guests.keys()];
  }

  /**
   * Looks at a frame of a guest, `toHost` when it is addressed to the host. Returns whether it is done with: it asked by ARP
   * where an address of the host is, or is held back.
   */
  fromGuest(bytes: Uint8Array, at: number, end: number, toHost: boolean): boolean {
    if (this.addresses.length === 0) return false;
    const type = read16(bytes, at + 12);
    if (type === EtherType.arp) return this.arpFromGuest(bytes, at, end);
    if (type !== EtherType.ipv4 || end - at < ethernetHeaderBytes + 20) return false;
    const address = read32(bytes, at + ethernetHeaderBytes + 12);
    const mac = readMac(bytes, at + 6);
    if (address !== this.lastAddress || mac !== this.lastMac) {
      this.lastAddress = address;
      this.lastMac = mac;
      this.claim(address, mac);
    }
    const guest = this.guests.get(address);
    if (!guest) return false;
    this.heard(guest);
    if (!guest.held || !toHost) return false;
    // The caller's bytes are reused after the call.
    this.hold(guest.held, Uint8Array.prototype.slice.call(bytes, at, end), "host");
    return true;
  }

  /** Looks at a frame from the wire: an address that is used there is no guest's. */
  fromWire(bytes: Uint8Array, at: number, end: number): void {
    if (this.addresses.length === 0 || read16(bytes, at + 12) !== EtherType.arp) return;
    const arp = readArp(bytes, at + ethernetHeaderBytes, end);
    if (!arp || arp.senderAddress === anyIpv4) return;
    // Newest last, so that the oldest goes first when there are too many.
    this.onWire.delete(arp.senderAddress);
    this.onWire.set(arp.senderAddress, { mac: arp.senderMac, seenAt: this.clock.monotonic() });
    if (this.onWire.size > maxWireAddresses) {
      for (const oldest of this.onWire.keys()) {
        this.onWire.delete(oldest);
        break;
      }
    }
    const guest = this.guests.get(arp.senderAddress);
    // A guest's own frames do not come back from the wire: this is another station.
    if (guest && guest.mac !== arp.senderMac) this.forget(arp.senderAddress, guest);
  }

  dispose(): void {
    this.disposed = true;
    this.timer?.dispose();
    for (const [address, guest] of this.guests) this.forget(address, guest);
  }

  private arpFromGuest(bytes: Uint8Array, at: number, end: number): boolean {
    const arp = readArp(bytes, at + ethernetHeaderBytes, end);
    if (!arp) return false;
    // A probe has no sender yet (RFC 5227, 1.1).
    if (arp.senderAddress !== anyIpv4) this.claim(arp.senderAddress, arp.senderMac);
    if (arp.operation !== ArpOperation.request || !this.isHosts(arp.targetAddress)) return false;
    const answer = arpFrame(arp.senderMac, this.mac, { operation: ArpOperation.reply, senderMac: this.mac, senderAddress: arp.targetAddress, targetMac: arp.senderMac, targetAddress: arp.senderAddress });
    const held = this.guests.get(arp.senderAddress)?.held;
    if (held) this.hold(held, answer, "guests");
    else this.outlets.toGuests(answer);
    return true;
  }

  private hold(held: Held[], frame: Uint8Array, to: Held["to"]): void {
    if (held.length >= maxHeldFrames || this.heldBytes + frame.length > maxHeldBytes) return this.outlets.full();
    this.heldBytes += frame.length;
    held.push({ frame, to });
  }

  private letOn(guest: Guest): void {
    const held = guest.held ?? [];
    guest.held = undefined;
    for (const { frame, to } of held) {
      this.heldBytes -= frame.length;
      if (this.disposed) continue;
      if (to === "host") this.outlets.toHost(frame);
      else this.outlets.toGuests(frame);
    }
  }

  private isHosts(address: Ipv4Address): boolean {
    return this.addresses.some((host) => host.address === address);
  }

  private claim(address: Ipv4Address, mac: MacNumber): void {
    const guest = this.guests.get(address);
    if (guest) {
      guest.mac = mac;
      return this.heard(guest);
    }
    const source = this.sourceFor(address);
    if (source === undefined || this.disposed || this.isOnWire(address, mac) || this.guests.size >= maxRoutes) return;
    let ofThisGuest = 0;
    for (const other of this.guests.values()) if (other.mac === mac) ofThisGuest++;
    if (ofThisGuest >= maxRoutesOfOneGuest) return;
    const entry: Guest = { mac, held: [], source, heardAt: this.clock.monotonic(), asked: 0 };
    this.guests.set(address, entry);
    const settled = (made: boolean): void => {
      if (!made && this.guests.get(address) === entry) this.drop(address);
      // Without a route too: the host may want what needs no answer.
      this.letOn(entry);
    };
    this.routes.add(address, source).then(settled, () => settled(false));
    this.watchOver();
  }

  private heard(guest: Guest): void {
    guest.heardAt = this.clock.monotonic();
    guest.asked = 0;
  }

  /** The host's address from which it speaks to `address`; undefined when that can be no guest's. */
  private sourceFor(address: Ipv4Address): Ipv4Address | undefined {
    if (address === anyIpv4 || address === broadcastIpv4 || isMulticastIpv4(address) || isLoopbackIpv4(address) || this.refused.has(address) || this.isHosts(address)) return undefined;
    for (const { address: host, prefix } of this.addresses) {
      const subnet = { base: (host & subnetMask(prefix)) >>> 0, prefix };
      if (prefix <= 30 && inSubnet(subnet, address) && address !== subnet.base && address !== subnetBroadcast(subnet)) return host;
    }
    return undefined;
  }

  private isOnWire(address: Ipv4Address, mac: MacNumber): boolean {
    const seen = this.onWire.get(address);
    return seen !== undefined && seen.mac !== mac && this.clock.monotonic() - seen.seenAt < wireClaimMs;
  }

  private forget(address: Ipv4Address, guest: Guest): void {
    this.drop(address);
    this.routes.remove(address, guest.source);
  }

  private drop(address: Ipv4Address): void {
    this.guests.delete(address);
    if (this.lastAddress === address) this.lastMac = 0;
  }

  private watchOver(): void {
    if (this.timer || this.disposed) return;
    this.timer = this.clock.schedule(askMs, () => {
      this.timer = undefined;
      this.askSilent();
      if (this.guests.size > 0) this.watchOver();
    });
  }

  /** A guest that only listens is to stay reachable: it is asked, and only who does not answer is forgotten. */
  private askSilent(): void {
    const now = this.clock.monotonic();
    for (const [address, guest] of this.guests) {
      if (now - guest.heardAt < askMs) continue;
      if (guest.asked >= asksInVain) {
        this.forget(address, guest);
        continue;
      }
      guest.asked++;
      this.outlets.toGuests(arpFrame(guest.mac, this.mac, { operation: ArpOperation.request, senderMac: this.mac, senderAddress: guest.source, targetMac: 0, targetAddress: address }));
    }
  }
}

function arpFrame(destination: MacNumber, source: MacNumber, packet: ArpPacket): Uint8Array {
  const frame = new Uint8Array(Math.max(arpFrameBytes, ethernetHeaderBytes + arpBytes));
  writeEthernet(frame, 0, { destination, source, type: EtherType.arp });
  writeArp(frame, ethernetHeaderBytes, packet);
  return frame;
}
