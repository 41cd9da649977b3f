import { toDisposable, type Disposable } from "../base/disposable";
import type { Log } from "../base/log";
import type { ErrorData } from "../contract/errors";
import type { ForwardSpec, SegmentSpec } from "./control";
import { Forwards, type RefusalReason } from "./nat/forwards";
import { Gateway, type DhcpService, type DnsService, type FragmentService, type TcpService } from "./nat/gateway";
import type { HostSockets } from "./nat/hostSockets";
import type { FlowInfo, IpOutput, NatPolicy } from "./nat/ipOutput";
import { GuestReach } from "./nat/policy";
import type { FramePort } from "./port";
import type { Reactor } from "./reactor";
import { Switch } from "./switch";
import { inSubnet, isLoopbackIpv4, parseIpv4, parseSubnet, subnetBroadcast, type Ipv4Address, type MacNumber, type Subnet } from "./wire/addresses";

/** An adapter of a machine, as its network knows it. */
export interface NetworkAdapter {
  readonly id: string;
  readonly mac: MacNumber;
  /** The name DNS answers for it. */
  readonly hostname?: string | undefined;
}

export interface Lease {
  readonly mac: MacNumber;
  readonly address: Ipv4Address;
  readonly hostname?: string | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly reserved: boolean;
}

/** What a network stands on. */
export interface NetworkAround {
  readonly reactor: Reactor;
  readonly sockets: HostSockets;
  readonly log: Log;
  readonly parts: NetworkParts;
  /** Networks the host is connected to. Asked each time: hosts move. */
  hostNetworks(): readonly Subnet[];
  /** Subnets of the other segments, which this one's guests must not reach through the host. */
  otherSegments(): readonly Subnet[];
  /** Somebody knocked in vain at a port forward. */
  refused(forward: string, reason: RefusalReason): void;
  /** A problem of the network or of one of its forwards began or ended. */
  changed(): void;
}

/** Makes the services of a gateway. */
export interface NetworkParts {
  tcp(around: { readonly sockets: HostSockets; readonly output: IpOutput; readonly policy: NatPolicy; readonly mtu: number }): TcpService;
  dhcp(spec: SegmentSpec, server: Ipv4Address): DhcpService & { leases(): Lease[] };
  dns(spec: SegmentSpec, names: (name: string) => readonly Ipv4Address[]): DnsService;
  fragments(): FragmentService;
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
  private dhcp: ReturnType<NetworkParts["dhcp"]> | undefined;

  constructor(
    private spec: SegmentSpec,
    private readonly around: NetworkAround,
  ) {
    const { reactor, sockets, parts } = around;
    this.lan = new Switch(reactor);
    const identity = identityOf(spec);
    if (identity === undefined) return;
    const { subnet, gateway, dnsAddress } = identity;
    if (spec.dhcp !== undefined) this.dhcp = parts.dhcp(spec, gateway);
    const log = around.log.child(spec.label);
    const reach = hasNat(spec) ? new GuestReach({ subnet, gateway }, natOf(spec), { networksOfHost: () => around.hostNetworks(), otherSegments: () => around.otherSegments() }) : undefined;
    this.reach = reach;
    this.gateway = new Gateway(identity, reactor, {
      fragments: parts.fragments(),
      dhcp: { answer: (bytes, at, end) => this.dhcp?.answer(bytes, at, end) },
      dns: dnsAddress === undefined ? undefined : parts.dns(spec, (name) => this.addressesOf(name)),
      nat: reach && { sockets, policy: reach, log, tcp: (inside) => parts.tcp({ ...inside, mtu: spec.mtu }), problemChanged: () => around.changed() },
    });
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

  /** Why it does not work entirely. */
  get problem(): ErrorData | undefined {
    return this.gateway?.problem;
  }

  /** Plugs a cable in until the result is disposed. Without an adapter it leads to the host: a TAP, or a card. */
  attach(port: FramePort, adapter?: NetworkAdapter): Disposable {
    if (adapter !== undefined) this.adapters.add(adapter);
    const plug = this.lan.attach(port, { mac: adapter?.mac });
    return toDisposable(() => {
      plug.dispose();
      if (adapter === undefined) return;
      this.adapters.delete(adapter);
      this.gateway?.station.neighbours.forget(adapter.mac);
    });
  }

  /** Makes it as `spec` says while it runs; false when that is another network, which must be made anew. */
  update(spec: SegmentSpec): boolean {
    if (JSON.stringify(skeletonOf(spec)) !== JSON.stringify(skeletonOf(this.spec))) return false;
    const before = this.spec;
    this.spec = spec;
    const identity = identityOf(spec);
    if (identity !== undefined && JSON.stringify([before.dhcp, before.domain]) !== JSON.stringify([spec.dhcp, spec.domain])) {
      this.dhcp = spec.dhcp === undefined ? undefined : this.around.parts.dhcp(spec, identity.gateway);
    }
    if (this.reach !== undefined) {
      this.reach.settings = natOf(spec);
      this.cutRefused(this.reach);
    }
    return true;
  }

  /** Where an adapter is: what it says itself, else its lease. */
  addressOf(mac: MacNumber): Ipv4Address | undefined {
    return this.gateway?.station.neighbours.addressOf(mac) ?? this.leases().find((lease) => lease.mac === mac)?.address;
  }

  leases(): Lease[] {
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
    this.forwards?.dispose();
    this.gateway?.dispose();
    this.gatewayPlug?.dispose();
  }

  /** What was reached before and must not be reached any more. */
  private cutRefused(reach: GuestReach): void {
    for (const flow of this.flows()) if (flow.direction === "out" && flow.remoteAddress !== parseIpv4(this.spec.dns ?? "") && "refused" in reach.route(flow.remoteAddress)) this.cutFlow(flow.id);
  }

  private addressesOf(name: string): Ipv4Address[] {
    const addresses: Ipv4Address[] = [];
    for (const adapter of this.adapters) {
      const address = adapter.hostname?.toLowerCase() === name.toLowerCase() ? this.addressOf(adapter.mac) : undefined;
      if (address !== undefined) addresses.push(address);
    }
    return addresses;
  }
}

/** A gateway's address on the Ethernet: locally administered, and told apart by its own IPv4 address. */
const gatewayMacPrefix = 0x5255 * 2 ** 32;

function hasNat(spec: SegmentSpec): boolean {
  return spec.mode === "nat" || spec.mode === "nat-network";
}

function natOf(spec: SegmentSpec): { readonly hostLoopback: boolean; readonly hostNetworks: boolean } {
  return spec.nat ?? { hostLoopback: false, hostNetworks: true };
}

/** What cannot change under the guests' feet. */
function skeletonOf({ id, mode, subnet, gateway, dns, mtu, card }: SegmentSpec): unknown {
  return [id, mode, subnet, gateway, dns, mtu, card];
}

/** Who our station on the segment is; undefined where there is none. */
function identityOf(spec: SegmentSpec): ConstructorParameters<typeof Gateway>[0] | undefined {
  const subnet = spec.subnet === undefined ? undefined : parseSubnet(spec.subnet);
  if (subnet === undefined || spec.mode === "bridged") return undefined;
  if (hasNat(spec)) {
    const gateway = parseIpv4(spec.gateway ?? "");
    if (gateway === undefined) return undefined;
    const dnsAddress = parseIpv4(spec.dns ?? "");
    const addresses = dnsAddress === undefined || dnsAddress === gateway ? [gateway] : [gateway, dnsAddress];
    return { mac: gatewayMacPrefix + gateway, subnet, addresses, mtu: spec.mtu, gateway, dnsAddress };
  }
  const server = spec.dhcp === undefined ? undefined : serverAddress(spec, subnet);
  return server === undefined ? undefined : { mac: gatewayMacPrefix + server, subnet, addresses: [server], mtu: spec.mtu, gateway: server };
}

/** Of a DHCP server on a network without a gateway: the first address that nobody else can have. */
function serverAddress(spec: SegmentSpec, subnet: Subnet): Ipv4Address | undefined {
  if (spec.dhcp === undefined) return undefined;
  const first = parseIpv4(spec.dhcp.first) ?? 0;
  const last = parseIpv4(spec.dhcp.last) ?? 0;
  const taken = new Set([spec.gateway, ...spec.dhcp.reservations.map((reservation) => reservation.address)].map((text) => parseIpv4(text ?? "")));
  for (let address = subnet.base + 1; address < subnetBroadcast(subnet); address++) {
    if (!taken.has(address) && (address < first || address > last)) return address;
    if (address === first) address = Math.max(address, last - 1);
  }
  return undefined;
}
