import type { Disposable } from "../../base/disposable";
import type { ErrorData } from "../../contract/errors";
import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";
import { broadcastIpv4, type Ipv4Address, type MacNumber } from "../wire/addresses";
import { IcmpType, Unreachable, icmpHeaderBytes, readIcmp, writeIcmp } from "../wire/icmp";
import { IpProtocol, type Ipv4Packet } from "../wire/ipv4";
import { readUdp, udpChecksumHolds, udpHeaderBytes, writeUdp } from "../wire/udp";
import { DnsStreamSockets } from "./dnsStream";
import type { HostSockets, HostTcp, HostTcpHandler } from "./hostSockets";
import { IcmpNat } from "./icmp";
import { IcmpErrors } from "./icmpErrors";
import type { FlowInfo, IpOutput, NatPolicy } from "./ipOutput";
import { Station, type StationIdentity } from "./station";
import { UdpNat, type Endpoint } from "./udp";

/** TCP of the guests, ended here and carried on by the host's. */
export interface TcpService extends Disposable {
  /** A guest's segment in [at, end). */
  input(bytes: Uint8Array, at: number, end: number, packet: Ipv4Packet): void;
  /** A connection that came in through a port forward: connects to the guest, which sees it come from `seenFrom`. */
  accept(socket: HostTcp, peer: Endpoint, guest: Endpoint, seenFrom: Endpoint): HostTcpHandler;
  flows(): FlowInfo[];
  cut(id: number): boolean;
}

export interface DhcpService {
  /** Answers a message in [at, end), if it is to be answered. */
  answer(bytes: Uint8Array, at: number, end: number): DhcpReply | undefined;
}

export interface DhcpReply {
  readonly bytes: Uint8Array;
  /** Where to; absent: to everybody. */
  readonly to?: Endpoint | undefined;
  readonly port: number;
  /** The client, and the address that it has or is offered. */
  readonly client?: { readonly mac: MacNumber; readonly address: Ipv4Address } | undefined;
}

export interface DnsService extends Disposable {
  /** Answers a query in [at, end), now or later, or never. */
  query(bytes: Uint8Array, at: number, end: number, transport: "udp" | "tcp", answer: (bytes: Uint8Array) => void): void;
}

/** Puts fragments together (RFC 791, 3.2). */
export interface FragmentService extends Disposable {
  /** Takes a fragment; returns the whole packet when it was the last one that was missing. */
  add(bytes: Uint8Array, packet: Ipv4Packet): { readonly bytes: Uint8Array; readonly packet: Ipv4Packet } | undefined;
}

/** What passes through to the host's side. */
export interface GatewayNat {
  readonly sockets: HostSockets;
  readonly policy: NatPolicy;
  readonly log: Log;
  tcp(around: { readonly sockets: HostSockets; readonly output: IpOutput; readonly policy: NatPolicy }): TcpService;
  /** Its problem begins or ends. */
  problemChanged(): void;
}

/**
 * The gateway of a segment: a station that answers pings, gives out addresses, answers names, and, with `nat`, carries
 * what guests send to the outside over the host's sockets. Without it nothing goes further: the guests of an internal
 * network reach each other, and nobody else.
 */
export class Gateway implements Disposable {
  readonly station: Station;
  readonly tcp: TcpService | undefined;
  readonly udp: UdpNat | undefined;
  private readonly icmp: IcmpNat | undefined;
  private readonly errors: IcmpErrors;
  private flowNumber = 0;

  constructor(
    private readonly identity: StationIdentity & { readonly gateway: Ipv4Address; readonly dnsAddress?: Ipv4Address | undefined },
    reactor: Reactor,
    private readonly services: {
      readonly dhcp?: DhcpService | undefined;
      readonly dns?: DnsService | undefined;
      readonly fragments: FragmentService;
      readonly nat?: GatewayNat | undefined;
    },
  ) {
    this.station = new Station(identity, reactor);
    const { output } = this.station;
    this.errors = new IcmpErrors(reactor, output, identity.gateway);
    const { nat, dns } = services;
    if (nat !== undefined) {
      // Flows of UDP and ICMP have odd numbers, those of TCP the even ones.
      const nextId = (): number => (this.flowNumber += 2) - 1;
      const around = { clock: reactor, sockets: nat.sockets, output, policy: nat.policy, errors: this.errors, log: nat.log, nextId };
      this.udp = new UdpNat(around);
      this.icmp = new IcmpNat({ ...around, problemChanged: () => nat.problemChanged() });
      const withDns = dns !== undefined && identity.dnsAddress !== undefined ? new DnsStreamSockets(nat.sockets, nat.policy, identity.dnsAddress, dns, reactor) : undefined;
      this.tcp = nat.tcp({ sockets: withDns ?? nat.sockets, output, policy: withDns ?? nat.policy });
    }
    this.station.handler = {
      local: (bytes, at, packet) => this.local(bytes, at, packet),
      transit: (bytes, at, packet) => this.transit(bytes, at, packet),
      dhcp: (bytes, at, end) => this.dhcp(bytes, at, end),
    };
  }

  get problem(): ErrorData | undefined {
    return this.icmp?.problem;
  }

  get unansweredEchoes(): number {
    return this.icmp?.unansweredEchoes ?? 0;
  }

  flows(): FlowInfo[] {
    const tcp = (this.tcp?.flows() ?? []).map((flow) => ({ ...flow, id: flow.id * 2 }));
    return [...tcp, ...(this.udp?.flows() ?? []), ...(this.icmp?.flows() ?? [])];
  }

  cutFlow(id: number): boolean {
    if (id % 2 === 0) return this.tcp?.cut(id / 2) ?? false;
    return (this.udp?.cut(id) ?? false) || (this.icmp?.cut(id) ?? false);
  }

  dispose(): void {
    this.tcp?.dispose();
    this.udp?.dispose();
    this.icmp?.dispose();
    this.services.dns?.dispose();
    this.services.fragments.dispose();
    // What was said last, resets above all, still leaves.
    this.station.output.flush();
    this.station.dispose();
  }

  private local(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    if (isFragment(packet)) return this.reassemble(bytes, packet, (whole, wholePacket) => this.localWhole(whole, 0, wholePacket));
    this.localWhole(bytes, at, packet);
  }

  private localWhole(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    const isDns = packet.destination === this.identity.dnsAddress;
    if (packet.protocol === IpProtocol.icmp) return this.echo(bytes, packet);
    if (packet.protocol === IpProtocol.tcp && this.tcp !== undefined) return this.tcp.input(bytes, packet.payload, packet.end, packet);
    if (packet.protocol !== IpProtocol.udp) return this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.protocol);
    const datagram = readUdp(bytes, packet.payload, packet.end);
    if (datagram === undefined) return;
    const { dns } = this.services;
    if (isDns && dns !== undefined && datagram.destinationPort === dnsPort) {
      if (!udpChecksumHolds(bytes, packet.payload, datagram.end, packet.source, packet.destination)) return;
      const { source, destination } = packet;
      const { sourcePort } = datagram;
      return dns.query(bytes, datagram.payload, datagram.end, "udp", (answer) => this.datagram(answer, destination, dnsPort, source, sourcePort));
    }
    if (this.udp !== undefined && packet.destination === this.identity.gateway) return this.udp.input(bytes, at, packet);
    this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.port);
  }

  private transit(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    if (packet.ttl <= 1) return this.errors.about(bytes, at, packet, IcmpType.timeExceeded, 0);
    if (this.udp === undefined) return this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.prohibited);
    if (isFragment(packet)) return this.reassemble(bytes, packet, (whole, wholePacket) => this.transitWhole(whole, 0, wholePacket));
    this.transitWhole(bytes, at, packet);
  }

  private transitWhole(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    if (packet.protocol === IpProtocol.tcp) this.tcp?.input(bytes, packet.payload, packet.end, packet);
    else if (packet.protocol === IpProtocol.udp) this.udp?.input(bytes, at, packet);
    else if (packet.protocol === IpProtocol.icmp) this.icmp?.input(bytes, at, packet);
    else this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.protocol);
  }

  private reassemble(bytes: Uint8Array, packet: Ipv4Packet, then: (bytes: Uint8Array, packet: Ipv4Packet) => void): void {
    const whole = this.services.fragments.add(bytes, packet);
    if (whole !== undefined) then(whole.bytes, whole.packet);
  }

  /** RFC 1122, 3.2.2.6: every host answers echoes. */
  private echo(bytes: Uint8Array, packet: Ipv4Packet): void {
    const message = readIcmp(bytes, packet.payload, packet.end);
    if (message?.type !== IcmpType.echoRequest || message.code !== 0) return;
    const { output } = this.station;
    const length = icmpHeaderBytes + message.end - message.payload;
    const at = output.begin(packet.destination, packet.source, IpProtocol.icmp, length);
    output.buffer.set(bytes.subarray(message.payload, message.end), at + icmpHeaderBytes);
    writeIcmp(output.buffer, at, at + length, IcmpType.echoReply, 0, message.rest);
    output.end();
  }

  private dhcp(bytes: Uint8Array, at: number, end: number): void {
    const reply = this.services.dhcp?.answer(bytes, at, end);
    if (reply === undefined) return;
    const { client } = reply;
    if (client !== undefined && this.station.isGuest(client.address)) this.station.neighbours.assign(client.address, client.mac);
    this.datagram(reply.bytes, this.identity.gateway, dhcpServerPort, reply.to?.address ?? broadcastIpv4, reply.port);
  }

  private datagram(payload: Uint8Array, from: Ipv4Address, fromPort: number, to: Ipv4Address, toPort: number): void {
    const { output } = this.station;
    const length = udpHeaderBytes + payload.length;
    const at = output.begin(from, to, IpProtocol.udp, length);
    output.buffer.set(payload, at + udpHeaderBytes);
    writeUdp(output.buffer, at, at + length, from, to, fromPort, toPort);
    output.end();
  }
}

const dnsPort = 53;
const dhcpServerPort = 67;

function isFragment(packet: Ipv4Packet): boolean {
  return packet.moreFragments || packet.fragmentOffset !== 0;
}
