import { randomBytes } from "node:crypto";
import { toDisposable, type Disposable } from "../base/disposable";
import type { Log } from "../base/log";
import type { ErrorData } from "../contract/errors";
import type { ForwardSpec, SegmentSpec } from "./control";
import { Forwards, type RefusalReason } from "./nat/forwards";
import { Gateway } from "./nat/gateway";
import type { HostSockets } from "./nat/hostSockets";
import type { FlowInfo } from "./nat/ipOutput";
import { GuestReach } from "./nat/policy";
import type { ChunkPool } from "./nat/tcp";
import type { FramePort } from "./port";
import type { Reactor } from "./reactor";
import { DhcpServer, sanitizeHostname, type DhcpLease, type DhcpSettings, type SavedLease } from "./services/dhcp";
import { DnsForwarder, type MachineNames } from "./services/dns";
import type { HostResolver } from "./services/hostResolver";
import { Switch } from "./switch";
import { formatIpv4, inSubnet, isLoopbackIpv4, parseIpv4, parseMac, parseSubnet, read16, subnetBroadcast, type Ipv4Address, type MacNumber, type Subnet } from "./wire/addresses";

/** An adapter of a machine, as its network knows it. */
export interface NetworkAdapter {
  readonly id: string;
  readonly mac: MacNumber;
  /** The name DNS answers for it. */
  readonly hostname?: string | undefined;
}

/** What a network stands on. */
export interface NetworkAround {
  readonly reactor: Reactor;
  readonly sockets: HostSockets;
  readonly log: Log;
  /** Memory for TCP, shared by all networks; without this, a network has its own. */
  readonly pool?: ChunkPool | undefined;
  /** Leases, kept over restarts by the segment's id. */
  readonly leases: { load(segment: string): readonly SavedLease[]; save(segment: string, leases: readonly SavedLease[]): void };
  /** Whom the host asks for names. */
  readonly resolver: HostResolver;
  /** Networks the host is connected to. Asked each time: hosts move. */
  hostNetworks(): readonly Subnet[];
  /** Subnets of the other segments, which this one's guests must not reach through the host. */
  otherSegments(): readonly Subnet[];
  /** Somebody knocked in vain at a port forward. */
  refused(forward: string, reason: RefusalReason): void;
  /** A problem of the network or of one of its forwards began or ended. */
  changed(): void;
}

/**
 * One L2 segment with the services its mode asks for: the wiring of everything in this folder.
 *
 *   nat, nat-network   switch, gateway with DHCP, DNS and NAT, port forwards
 *   internal           switch; with DHCP a station that does only that
 *   host-only          the same, and the port of the host's TAP, which is given from outside
 *   bridged            switch, and the port of the host's card, which is given from outside
 */
export class Network implements Disposable {
  readonly forwards: Forwards | undefined;
  private readonly lan: Switch;
  private readonly gateway: Gateway | undefined;
  private readonly gatewayPlug: Disposable | undefined;
  private readonly reach: GuestReach | undefined;
  private readonly adapters = new Set<NetworkAdapter>();
  private dhcp: DhcpServer | undefined;
  private dhcpWatch: Disposable | undefined;
  private strangersAsked = 0;
  private leasesSavedAt = -Infinity;
  private savingLeases: Disposable | undefined;

  constructor(
    private spec: SegmentSpec,
    private readonly around: NetworkAround,
  ) {
    const { reactor, sockets, pool } = around;
    this.lan = new Switch(reactor);
    const identity = identityOf(spec);
    if (identity === undefined) return;
    const { subnet, gateway, dnsAddress } = identity;
    this.serveDhcp(identity);
    const log = around.log.child(spec.label);
    const reach = hasNat(spec) ? new GuestReach({ subnet, gateway }, natOf(spec), { networksOfHost: () => around.hostNetworks(), otherSegments: () => around.otherSegments() }) : undefined;
    this.reach = reach;
    this.gateway = new Gateway(identity, reactor, {
      dhcp: { answer: (bytes, at, end, sender) => (this.mayAsk(sender) ? this.dhcp?.answer(bytes, at, end, sender) : undefined), holderOf: (address) => this.dhcp?.holderOf(address) },
      dns: dnsAddress === undefined ? undefined : new DnsForwarder({ clock: reactor, sockets, resolver: around.resolver, names: this.namesOn(subnet), random16: () => read16(randomBytes(2), 0) }),
      nat: reach && { sockets, policy: reach, log, pool, cableOf: (mac) => this.lan.portOf(mac), problemChanged: () => around.changed() },
    });
    this.gateway.station.isWritable = (mac) => this.lan.isWritable(mac);
    this.gatewayPlug = this.lan.attach(this.gateway.station, { mac: identity.mac, fixed: true });
    const { tcp, udp } = this.gateway;
    if (tcp === undefined || udp === undefined) return;
    this.forwards = new Forwards({
      clock: reactor,
      sockets,
      tcp,
      udp,
      log,
      // A guest sees who it really is, as far as its answer comes back here; peers on the host are at the gateway.
      seenFrom: (peer) => (isLoopbackIpv4(peer) || inSubnet(subnet, peer) ? gateway : peer),
      addressOf: (mac) => this.addressOf(mac),
      refused: (forward, reason) => around.refused(forward, reason),
      changed: () => around.changed(),
    });
  }

  /** Frames that passed the switch, each once, and their bytes. */
  get counters(): { readonly frames: number; readonly bytes: number } {
    return this.lan.counters;
  }

  /** How much of what is bounded there is. */
  get sizes(): Readonly<Record<"addresses" | "neighbours" | "awaited" | "udpFlows" | "tcpConnections" | "pings" | "fragmentBytes", number>> {
    const { lan, gateway } = this;
    return { addresses: lan.addressCount, ...(gateway?.sizes ?? { neighbours: 0, awaited: 0, udpFlows: 0, tcpConnections: 0, pings: 0, fragmentBytes: 0 }) };
  }

  /** Why it does not work entirely. */
  get problem(): ErrorData | undefined {
    return this.gateway?.problem;
  }

  /** Plugs a cable in until the result is disposed. Without an adapter it leads to the host: a TAP, or a card. */
  attach(port: FramePort, adapter?: NetworkAdapter): Disposable {
    if (adapter !== undefined) this.adapters.add(adapter);
    const plug = this.lan.attach(port, { mac: adapter?.mac });
    if (adapter !== undefined) this.gateway?.plugged(adapter.mac);
    return toDisposable(() => {
      plug.dispose();
      if (adapter === undefined) return;
      this.adapters.delete(adapter);
      this.gateway?.unplugged(adapter.mac, this.dhcp?.addressOf(adapter.mac));
    });
  }

  /** Makes it as `spec` says while it runs; false when that is another network, which must be made anew. */
  update(spec: SegmentSpec): boolean {
    if (JSON.stringify(skeletonOf(spec)) !== JSON.stringify(skeletonOf(this.spec))) return false;
    const before = this.spec;
    this.spec = spec;
    const identity = identityOf(spec);
    if (identity !== undefined && JSON.stringify([before.dhcp, before.domain]) !== JSON.stringify([spec.dhcp, spec.domain])) this.serveDhcp(identity);
    if (this.reach !== undefined) {
      this.reach.settings = natOf(spec);
      this.cutRefused(this.reach);
    }
    return true;
  }

  /** Where an adapter is: what it says itself, else its lease. */
  addressOf(mac: MacNumber): Ipv4Address | undefined {
    return this.gateway?.station.neighbours.addressOf(mac) ?? this.dhcp?.addressOf(mac);
  }

  leases(): DhcpLease[] {
    return this.dhcp?.leases() ?? [];
  }

  flows(): FlowInfo[] {
    return this.gateway?.flows() ?? [];
  }

  cutFlow(id: number): boolean {
    return this.gateway?.cutFlow(id) ?? false;
  }

  applyForwards(forwards: readonly ForwardSpec[]): void {
    this.forwards?.apply(forwards);
  }

  /** Why a forward does not listen. */
  forwardProblem(id: string): ErrorData | undefined {
    if (this.forwards !== undefined) return this.forwards.problemOf(id);
    return { code: "unsupported", message: `Port forwards lead nowhere on ${this.spec.label}.`, remedy: "Guests are forwarded to behind NAT only. Attach the adapter to a NAT network." };
  }

  dispose(): void {
    this.dhcpWatch?.dispose();
    if (this.savingLeases !== undefined) this.saveLeases();
    this.forwards?.dispose();
    this.gateway?.dispose();
    this.gatewayPlug?.dispose();
  }

  private serveDhcp(identity: GatewayIdentity): void {
    const { spec, around } = this;
    const settings = dhcpSettings(spec, identity);
    if (settings !== undefined && this.dhcp !== undefined) return this.dhcp.update(settings);
    this.dhcpWatch?.dispose();
    this.dhcp = undefined;
    if (settings === undefined) return;
    const dhcp = new DhcpServer(settings, { clock: around.reactor, ours: () => new Set([...this.adapters].map((adapter) => adapter.mac)) }, around.leases.load(spec.id));
    this.dhcp = dhcp;
    this.dhcpWatch = dhcp.onDidChange(() => this.leasesChanged());
  }

  /** To find an address for a stranger takes a look at all leases: so many of them are heard in a turn, and no more. */
  private mayAsk(sender: MacNumber): boolean {
    for (const { mac } of this.adapters) if (mac === sender) return true;
    if (this.strangersAsked === 0) this.around.reactor.atTurnEnd(() => (this.strangersAsked = 0));
    return ++this.strangersAsked <= maxStrangersATurn;
  }

  /** All leases are saved at a time, and guests ask as often as they like: changes that come close together are one. */
  private leasesChanged(): void {
    if (this.savingLeases !== undefined) return;
    const wait = this.leasesSavedAt + saveLeasesMs - this.around.reactor.monotonic();
    if (wait <= 0) this.saveLeases();
    else this.savingLeases = this.around.reactor.schedule(wait, () => this.saveLeases());
  }

  private saveLeases(): void {
    this.savingLeases?.dispose();
    this.savingLeases = undefined;
    this.leasesSavedAt = this.around.reactor.monotonic();
    if (this.dhcp !== undefined) this.around.leases.save(this.spec.id, this.dhcp.save());
  }

  /** What was reached before and must not be reached any more. */
  private cutRefused(reach: GuestReach): void {
    for (const flow of this.flows()) if (flow.direction === "out" && flow.remoteAddress !== parseIpv4(this.spec.dns ?? "") && "refused" in reach.route(flow.remoteAddress)) this.cutFlow(flow.id);
  }

  private namesOn(subnet: Subnet): MachineNames {
    const spec = (): SegmentSpec => this.spec;
    const named = (name: string): NetworkAdapter[] => [...this.adapters].filter((adapter) => sanitizeHostname(adapter.hostname) === name);
    return {
      get domain() {
        return spec().domain;
      },
      subnet,
      addresses: (name) => {
        const adapters = named(name);
        return adapters.length === 0 ? undefined : adapters.map((adapter) => this.addressOf(adapter.mac)).filter((address) => address !== undefined);
      },
      nameOf: (address) => sanitizeHostname([...this.adapters].find((adapter) => this.addressOf(adapter.mac) === address)?.hostname),
    };
  }
}

const maxStrangersATurn = 32;

/** Between two times that leases are saved, at least. */
const saveLeasesMs = 1000;

/** A gateway's address on the Ethernet: locally administered, and told apart by its own IPv4 address. */
const gatewayMacPrefix = 0x5255 * 2 ** 32;

function hasNat(spec: SegmentSpec): boolean {
  return spec.mode === "nat" || spec.mode === "nat-network";
}

function natOf(spec: SegmentSpec): { readonly hostLoopback: boolean; readonly hostNetworks: boolean } {
  return spec.nat ?? { hostLoopback: false, hostNetworks: true };
}

/** What cannot change under the guests' feet. */
function skeletonOf(spec: SegmentSpec): unknown {
  const { id, mode, subnet, gateway, dns, mtu, card } = spec;
  return [id, mode, subnet, gateway, dns, mtu, card, identityOf(spec)?.gateway];
}

type GatewayIdentity = ConstructorParameters<typeof Gateway>[0];

/** Who our station on the segment is; undefined where there is none. */
function identityOf(spec: SegmentSpec): GatewayIdentity | undefined {
  const subnet = spec.subnet === undefined ? undefined : parseSubnet(spec.subnet);
  if (subnet === undefined || spec.mode === "bridged") return undefined;
  if (hasNat(spec)) {
    const gateway = parseIpv4(spec.gateway ?? "");
    if (gateway === undefined) return undefined;
    const dnsAddress = parseIpv4(spec.dns ?? "");
    const addresses = dnsAddress === undefined || dnsAddress === gateway ? [gateway] : [gateway, dnsAddress];
    return { mac: gatewayMacPrefix + gateway, subnet, addresses, mtu: spec.mtu, gateway, dnsAddress };
  }
  const server = serverAddress(spec, subnet);
  return server === undefined ? undefined : { mac: gatewayMacPrefix + server, subnet, addresses: [server], mtu: spec.mtu, gateway: server };
}

/**
 * Of the DHCP server on a network without a gateway: the highest address of the subnet that nobody else has to have. The
 * server does not give its own away.
 */
function serverAddress(spec: SegmentSpec, subnet: Subnet): Ipv4Address | undefined {
  const taken = new Set([spec.gateway, ...(spec.dhcp?.reservations ?? []).map((reservation) => reservation.address)]);
  for (let address = subnetBroadcast(subnet) - 1; address > subnet.base; address--) if (!taken.has(formatIpv4(address))) return address;
  return undefined;
}

function dhcpSettings(spec: SegmentSpec, { subnet, gateway, dnsAddress }: GatewayIdentity): DhcpSettings | undefined {
  const { dhcp } = spec;
  const first = parseIpv4(dhcp?.first ?? "");
  const last = parseIpv4(dhcp?.last ?? "");
  if (dhcp === undefined || first === undefined || last === undefined) return undefined;
  const reservations = dhcp.reservations.flatMap((reservation) => {
    const mac = parseMac(reservation.mac);
    const address = parseIpv4(reservation.address);
    return mac === undefined || address === undefined ? [] : [{ mac, address }];
  });
  return {
    server: gateway,
    subnet,
    first,
    last,
    reservations,
    leaseSeconds: dhcp.leaseSeconds,
    // Where nothing goes further, a guest with another network beside this one must not send everything here.
    router: hasNat(spec) ? gateway : undefined,
    dns: dnsAddress === undefined ? undefined : [dnsAddress],
    domain: spec.domain,
    mtu: spec.mtu,
  };
}
