import * as z from "zod";
import type { Clock } from "../../base/clock";
import { Emitter } from "../../base/emitter";
import { Ipv4Text, MacAddress } from "../../contract/network";
import {
  anyIpv4,
  broadcastIpv4,
  broadcastMac,
  formatIpv4,
  formatMac,
  inSubnet,
  isGroupMac,
  parseIpv4,
  parseMac,
  subnetBroadcast,
  subnetMask,
  type Ipv4Address,
  type MacNumber,
  type Subnet,
} from "../wire/addresses";
import { DhcpOperation, DhcpOption, DhcpType, minDhcpBytes, readDhcp, writeDhcp, type DhcpMessage, type DhcpOptions, type DhcpRoute } from "../wire/dhcp";

/*
 * Gives addresses to the guests of a segment (RFC 2131). It is the only server there, so it answers with authority: a
 * request that it cannot grant is refused, not left to others.
 *
 * An address is a lease: offered for a short time, then bound, then expired. An expired lease stays, so that whoever had
 * the address gets it again; it is given to others only when there is no address that nobody had, the one that expired
 * first before others. A client is known by its MAC address before its client identifier, other than RFC 2131 4.2 has it:
 * a guest's boot loader, initial file system and system each name themselves in another way, and clones name themselves
 * alike.
 *
 * Guests are hostile. One that asks under thousands of MAC addresses gets what is free, but never the last addresses:
 * as many as adapters of ours have none yet are kept for these, and what one of ours had is not given to a stranger.
 */

export interface DhcpSettings {
  /** Our own address, which no client gets. */
  readonly server: Ipv4Address;
  readonly subnet: Subnet;
  /** The addresses that are given out. */
  readonly first: Ipv4Address;
  readonly last: Ipv4Address;
  /** Addresses of the subnet that only this MAC gets; they may lie outside of the range. */
  readonly reservations: readonly { readonly mac: MacNumber; readonly address: Ipv4Address }[];
  readonly leaseSeconds: number;
  readonly router?: Ipv4Address | undefined;
  readonly dns?: readonly Ipv4Address[] | undefined;
  readonly domain?: string | undefined;
  readonly mtu?: number | undefined;
  /** Beside the way through the router. */
  readonly routes?: readonly DhcpRoute[] | undefined;
}

/** A lease as it is kept over a restart. */
export const SavedLease = z.object({
  mac: MacAddress,
  address: Ipv4Text,
  /** The client's identifier, hexadecimal. */
  client: z.string().regex(/^([0-9a-f]{2}){2,64}$/).optional(),
  hostname: z.string().max(63).optional(),
  /** Milliseconds since the Unix epoch. */
  expiresAt: z.number(),
});
export type SavedLease = z.infer<typeof SavedLease>;

export interface DhcpLease {
  readonly mac: MacNumber;
  readonly address: Ipv4Address;
  readonly hostname: string | undefined;
  readonly expiresAt: number;
  readonly reserved: boolean;
}

interface Lease {
  readonly address: Ipv4Address;
  mac: MacNumber;
  client: string | undefined;
  hostname: string | undefined;
  /** Not taken yet. */
  offered: boolean;
  /** The client had it before, so it is worth keeping whatever becomes of the offer. */
  hadBefore: boolean;
  expiresAt: number;
}

/** What to send: a UDP datagram's payload, from our port 67 to port 68. The bytes are valid until the next message. */
export interface DhcpReply {
  readonly bytes: Uint8Array;
  readonly end: number;
  readonly address: Ipv4Address;
  /** The client may have no address that it answers ARP for, so it is said where the frame goes. */
  readonly mac: MacNumber;
}

const offerMs = 30_000;
/** How long an address that somebody else uses is not given out. */
const declinedMs = 600_000;
/** Leases that are kept, expired ones with them. */
const maxLeases = 4096;
/** How many of these strangers may take. */
const maxStrangers = 3072;
const maxIdentifierDigits = 128;
/** A message that fits into the smallest packet every host takes: 576 bytes with IP and UDP header (RFC 2131, 2). */
const plainMessageBytes = 548;
const headersBytes = 28;
const maxMessageBytes = 1472;

export class DhcpServer {
  private readonly byAddress = new Map<Ipv4Address, Lease>();
  private readonly byMac = new Map<MacNumber, Lease>();
  /** Addresses that were found in use by somebody else, until when. */
  private readonly declined = new Map<Ipv4Address, number>();
  private readonly changed = new Emitter<void>();
  private readonly reply = new Uint8Array(maxMessageBytes);
  private reservedFor = new Map<Ipv4Address, MacNumber>();
  private reservationOf = new Map<MacNumber, Ipv4Address>();

  /** A lease was bound, given back or dropped: `save` says something else. */
  readonly onDidChange = this.changed.event;

  /** @param around.ours the MACs of adapters of ours on this segment */
  constructor(
    private settings: DhcpSettings,
    private readonly around: { readonly clock: Clock; readonly ours: () => ReadonlySet<MacNumber> },
    saved: readonly SavedLease[] = [],
  ) {
    this.index();
    for (const lease of saved) this.restore(lease);
  }

  /** Changes the settings; leases that do not agree with them any more are dropped, so renewing them is refused. */
  update(settings: DhcpSettings): void {
    this.settings = settings;
    this.index();
    for (const lease of [...this.byAddress.values()]) if (!this.mayHave(lease.mac, lease.address)) this.drop(lease);
    this.changed.fire();
  }

  /** Everything that is to be known after a restart; what adapters of ours have comes last, for whoever keeps the last ones only. */
  save(): SavedLease[] {
    const ours = this.around.ours();
    const worthKeeping = [...this.byAddress.values()].filter((lease) => !lease.offered || lease.hadBefore);
    return [...worthKeeping.filter(({ mac }) => !ours.has(mac)), ...worthKeeping.filter(({ mac }) => ours.has(mac))]
      .map(({ mac, address, client, hostname, expiresAt }) => ({
        mac: formatMac(mac),
        address: formatIpv4(address),
        ...(client === undefined ? {} : { client }),
        ...(hostname === undefined ? {} : { hostname }),
        expiresAt,
      }));
  }

  /** The leases that hold now. */
  leases(): DhcpLease[] {
    return [...this.byAddress.values()]
      .filter((lease) => !lease.offered && this.isLive(lease))
      .map(({ mac, address, hostname, expiresAt }) => ({ mac, address, hostname, expiresAt, reserved: this.reservedFor.get(address) === mac }));
  }

  /** The address that this MAC has, or was given last. */
  addressOf(mac: MacNumber): Ipv4Address | undefined {
    const lease = this.byMac.get(mac);
    return lease === undefined || (lease.offered && !lease.hadBefore) ? undefined : lease.address;
  }

  /** Who has the address by a lease that holds now. */
  holderOf(address: Ipv4Address): MacNumber | undefined {
    const lease = this.byAddress.get(address);
    return lease !== undefined && !lease.offered && this.isLive(lease) ? lease.mac : undefined;
  }

  /**
   * Answers a message that came to port 67; undefined when there is nothing to say.
   * @param sender the Ethernet address it came from: nobody speaks for another client
   */
  answer(bytes: Uint8Array, at: number, end: number, sender: MacNumber): DhcpReply | undefined {
    const message = readDhcp(bytes, at, end);
    // There are no relays on our segments; one that says so would have answers sent to where it likes.
    if (message === undefined || message.operation !== DhcpOperation.request || message.relay !== anyIpv4) return undefined;
    if (message.clientMac === 0 || isGroupMac(message.clientMac) || message.clientMac !== sender) return undefined;
    switch (message.type) {
      case DhcpType.discover:
        return this.discover(message);
      case DhcpType.request:
        return this.request(message);
      case DhcpType.decline:
        return this.decline(message);
      case DhcpType.release:
        return this.release(message);
      case DhcpType.inform:
        return this.say(DhcpType.ack, message, anyIpv4, this.settingsFor(message));
      default:
        return undefined;
    }
  }

  /** RFC 2131, 4.3.1. */
  private discover(message: DhcpMessage): DhcpReply | undefined {
    const address = this.choose(message, message.options.requestedAddress);
    if (address === undefined) return undefined;
    const lease = this.byAddress.get(address);
    // Who discovers again while its lease holds is offered that; the lease stays as it is.
    if (lease?.mac !== message.clientMac || lease.offered || !this.isLive(lease)) this.take(message, address, true, this.around.clock.now() + offerMs);
    return this.say(DhcpType.offer, message, address, this.leaseOptions(message));
  }

  /** RFC 2131, 4.3.2. */
  private request(message: DhcpMessage): DhcpReply | undefined {
    const { server, requestedAddress } = message.options;
    if (server !== undefined && server !== this.settings.server) {
      const lease = this.byMac.get(message.clientMac);
      if (lease?.offered) this.drop(lease);
      return undefined;
    }
    const wanted = requestedAddress ?? message.clientAddress;
    if (wanted === anyIpv4) return undefined;
    if (this.choose(message, wanted) !== wanted) {
      return this.say(DhcpType.nak, message, anyIpv4, { text: `${formatIpv4(wanted)} is not yours on this network` });
    }
    this.take(message, wanted, false, this.around.clock.now() + this.settings.leaseSeconds * 1000);
    this.changed.fire();
    return this.say(DhcpType.ack, message, wanted, this.leaseOptions(message));
  }

  /** RFC 2131, 4.3.3: somebody else uses the address. */
  private decline(message: DhcpMessage): undefined {
    const lease = this.byMac.get(message.clientMac);
    if (lease === undefined || lease.address !== message.options.requestedAddress) return;
    this.drop(lease);
    this.declined.delete(lease.address);
    // A guest that declines everything must not empty the range: only a quarter is ever believed.
    const most = Math.min(256, Math.max(1, Math.floor((this.settings.last - this.settings.first + 1) / 4)));
    while (this.declined.size >= most) this.declined.delete(this.declined.keys().next().value ?? anyIpv4);
    this.declined.set(lease.address, this.around.clock.now() + declinedMs);
    this.changed.fire();
  }

  /** RFC 2131, 4.3.4: the address is free, but stays this client's as long as no other needs it. */
  private release(message: DhcpMessage): undefined {
    const lease = this.byMac.get(message.clientMac);
    if (lease === undefined || lease.address !== message.clientAddress) return;
    lease.expiresAt = Math.min(lease.expiresAt, this.around.clock.now());
    this.changed.fire();
  }

  /** The address for this client: its own, the one it wants, one that nobody had, one that expired; or none. */
  private choose({ clientMac: mac, options }: DhcpMessage, wanted: Ipv4Address | undefined): Ipv4Address | undefined {
    const reserved = this.reservationOf.get(mac);
    if (reserved !== undefined && this.isFreeFor(mac, reserved)) return reserved;
    const own = this.byMac.get(mac);
    if (own && this.isFreeFor(mac, own.address)) return own.address;
    const ours = this.around.ours();
    if (!ours.has(mac) && !this.hasRoomForStrangers(ours)) return undefined;
    const named = this.leaseOfClient(options.clientIdentifier);
    if (named && !ours.has(named.mac) && this.isFreeFor(mac, named.address)) return named.address;
    const mayAdd = this.byAddress.size < (ours.has(mac) ? maxLeases : maxStrangers);
    const holder = wanted === undefined ? undefined : this.byAddress.get(wanted);
    // What another adapter of ours had is not taken from it because somebody asks, only when nothing else is left.
    const isAnothers = holder !== undefined && holder.mac !== mac && ours.has(holder.mac);
    if (wanted !== undefined && !isAnothers && (holder || mayAdd) && this.isFreeFor(mac, wanted)) return wanted;
    return (mayAdd ? this.unused(mac) : undefined) ?? this.oldestExpired(mac, ours);
  }

  private leaseOfClient(client: string | undefined): Lease | undefined {
    if (client === undefined) return undefined;
    for (const lease of this.byAddress.values()) if (lease.client === client) return lease;
    return undefined;
  }

  private unused(mac: MacNumber): Ipv4Address | undefined {
    // Every step but the last meets a lease, a reservation or a declined address, and of these there are few thousand.
    for (let address = this.settings.first; address <= this.settings.last; address++) {
      if (!this.byAddress.has(address) && this.isFreeFor(mac, address)) return address;
    }
    return undefined;
  }

  private oldestExpired(mac: MacNumber, ours: ReadonlySet<MacNumber>): Ipv4Address | undefined {
    let oldest: Lease | undefined;
    for (const lease of this.byAddress.values()) {
      if (oldest && oldest.expiresAt <= lease.expiresAt) continue;
      if (this.isFreeFor(mac, lease.address) && this.mayTakeFrom(mac, lease, ours)) oldest = lease;
    }
    return oldest?.address;
  }

  /** Whether this client may be given an address that another had. */
  private mayTakeFrom(mac: MacNumber, lease: Lease | undefined, ours: ReadonlySet<MacNumber>): boolean {
    return lease === undefined || lease.mac === mac || ours.has(mac) || !ours.has(lease.mac);
  }

  /** Whether an address stays for each adapter of ours that has none, when a stranger takes one. One stranger always may. */
  private hasRoomForStrangers(ours: ReadonlySet<MacNumber>): boolean {
    const { first, last, server, router, dns } = this.settings;
    const size = last - first + 1;
    let kept = 0;
    for (const mac of ours) if (!this.reservationOf.has(mac) && !this.inRange(this.byMac.get(mac)?.address)) kept++;
    let taken = 0;
    for (const lease of this.byAddress.values()) if (this.inRange(lease.address) && (this.isLive(lease) || ours.has(lease.mac))) taken++;
    for (const address of new Set([...this.reservedFor.keys(), ...this.declined.keys(), server, router, ...(dns ?? [])])) if (address !== undefined && this.inRange(address) && !this.byAddress.has(address)) taken++;
    return size - taken > Math.min(kept, size - 1);
  }

  private inRange(address: Ipv4Address | undefined): boolean {
    return address !== undefined && address >= this.settings.first && address <= this.settings.last;
  }

  /** Whether nobody else has the address now, and this client may. */
  private isFreeFor(mac: MacNumber, address: Ipv4Address): boolean {
    const lease = this.byAddress.get(address);
    if (lease && lease.mac !== mac && this.isLive(lease)) return false;
    const declinedUntil = this.declined.get(address);
    if (declinedUntil !== undefined) {
      if (declinedUntil > this.around.clock.now()) return false;
      this.declined.delete(address);
    }
    return this.mayHave(mac, address);
  }

  private mayHave(mac: MacNumber, address: Ipv4Address): boolean {
    const { subnet, server, router, dns } = this.settings;
    const owner = this.reservedFor.get(address);
    if (owner !== undefined ? owner !== mac : !this.inRange(address)) return false;
    return inSubnet(subnet, address) && address !== subnet.base && address !== subnetBroadcast(subnet) && address !== server && address !== router && !(dns ?? []).includes(address);
  }

  private isLive(lease: Lease): boolean {
    return lease.expiresAt > this.around.clock.now();
  }

  private take({ clientMac: mac, options }: DhcpMessage, address: Ipv4Address, offered: boolean, expiresAt: number): void {
    const client = options.clientIdentifier !== undefined && options.clientIdentifier.length <= maxIdentifierDigits ? options.clientIdentifier : undefined;
    const before = this.byAddress.get(address);
    const hadBefore = before?.mac === mac && (!before.offered || before.hadBefore);
    this.put({ address, mac, client, hostname: sanitizeHostname(options.hostname), offered, hadBefore, expiresAt });
  }

  private put(lease: Lease): void {
    const before = this.byAddress.get(lease.address);
    if (before) this.drop(before);
    const other = this.byMac.get(lease.mac);
    if (other) this.drop(other);
    this.byAddress.set(lease.address, lease);
    this.byMac.set(lease.mac, lease);
  }

  private drop(lease: Lease): void {
    this.byAddress.delete(lease.address);
    this.byMac.delete(lease.mac);
  }

  private restore(saved: SavedLease): void {
    const mac = parseMac(saved.mac);
    const address = parseIpv4(saved.address);
    if (mac === undefined || address === undefined || !this.mayHave(mac, address) || this.byAddress.size >= maxLeases) return;
    this.put({ mac, address, client: saved.client, hostname: saved.hostname, offered: false, hadBefore: true, expiresAt: saved.expiresAt });
  }

  private index(): void {
    const usable = this.settings.reservations.filter(({ address }) => inSubnet(this.settings.subnet, address));
    this.reservedFor = new Map(usable.map(({ mac, address }) => [address, mac]));
    this.reservationOf = new Map(usable.map(({ mac, address }) => [mac, address]));
  }

  private leaseOptions(message: DhcpMessage): DhcpOptions {
    const { leaseSeconds } = this.settings;
    // RFC 2131, 4.4.5: half and seven eighths of the time.
    return { ...this.settingsFor(message), leaseSeconds, renewalSeconds: Math.floor(leaseSeconds / 2), rebindingSeconds: Math.floor((leaseSeconds * 7) / 8) };
  }

  /** What the client asks for of what we have; the mask, the router and DNS servers are told unasked. */
  private settingsFor({ options: { wanted } }: DhcpMessage): DhcpOptions {
    const { subnet, router, dns, domain, mtu, routes } = this.settings;
    const asked = (code: number): boolean => wanted === undefined || wanted.includes(code);
    // RFC 3442: who understands routes does not look at the router, so the way through it is among them.
    const all = [...(routes ?? []), ...(router === undefined ? [] : [{ to: { base: anyIpv4, prefix: 0 }, router }])];
    return {
      subnetMask: subnetMask(subnet.prefix),
      routers: router === undefined ? undefined : [router],
      dnsServers: dns,
      domain: asked(DhcpOption.domain) ? domain : undefined,
      mtu: asked(DhcpOption.mtu) ? mtu : undefined,
      routes: routes !== undefined && routes.length > 0 && asked(DhcpOption.routes) ? all : undefined,
    };
  }

  private say(type: number, message: DhcpMessage, yourAddress: Ipv4Address, options: DhcpOptions): DhcpReply {
    const nak = type === DhcpType.nak;
    const room = Math.min(Math.max(plainMessageBytes, (message.options.maxMessage ?? 0) - headersBytes), maxMessageBytes);
    const end = writeDhcp(this.reply, 0, Math.max(room, minDhcpBytes), {
      operation: DhcpOperation.reply,
      type,
      transaction: message.transaction,
      seconds: 0,
      broadcast: message.broadcast,
      clientAddress: nak || type === DhcpType.offer ? anyIpv4 : message.clientAddress,
      yourAddress,
      nextServer: anyIpv4,
      relay: anyIpv4,
      clientMac: message.clientMac,
      // RFC 6842, 3: the client finds its identifier in the answer.
      options: { ...options, server: this.settings.server, clientIdentifier: message.options.clientIdentifier },
    });
    return { bytes: this.reply, end, ...this.whereTo(nak, message, yourAddress) };
  }

  /** RFC 2131, 4.1. An address outside of the subnet is none that we would reach. */
  private whereTo(nak: boolean, message: DhcpMessage, yourAddress: Ipv4Address): { address: Ipv4Address; mac: MacNumber } {
    if (!nak && message.clientAddress !== anyIpv4 && inSubnet(this.settings.subnet, message.clientAddress)) return { address: message.clientAddress, mac: message.clientMac };
    if (nak || message.broadcast || yourAddress === anyIpv4) return { address: broadcastIpv4, mac: broadcastMac };
    return { address: yourAddress, mac: message.clientMac };
  }
}

/** A name that a guest gives itself, as a label that DNS can answer for (RFC 1123, 2.1); undefined when nothing of it is left. */
export function sanitizeHostname(name: string | undefined): string | undefined {
  const label = (name ?? "").split(".", 1)[0]?.toLowerCase().replace(/[\s_]+/g, "-").replace(/[^a-z0-9-]/g, "").replace(/-{2,}/g, "-").slice(0, 63).replace(/^-+|-+$/g, "");
  return label === "" ? undefined : label;
}
