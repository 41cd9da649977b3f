import type { Disposable } from "../../base/disposable";
import type { ErrorData } from "../../contract/errors";
import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";
import type { DhcpReply } from "../services/dhcp";
import type { DnsForwarder } from "../services/dns";
import { write16, write32, type Ipv4Address, type MacNumber } from "../wire/addresses";
import { IcmpType, Unreachable, icmpHeaderBytes, quotedBytes, readIcmp, writeIcmp } from "../wire/icmp";
import { IpProtocol, type Ipv4Packet } from "../wire/ipv4";
import { tcpHeaderBytes } from "../wire/tcp";
import { readUdp, udpChecksumHolds, udpHeaderBytes, writeUdp } from "../wire/udp";
import { DnsStreamSockets } from "./dnsStream";
import type { HostSockets } from "./hostSockets";
import { IcmpNat } from "./icmp";
import { IcmpErrors, readRefusal } from "./icmpErrors";
import type { FlowInfo, NatPolicy } from "./ipOutput";
import { Reassembler } from "./reassembly";
import { Accounts, type Account } from "./shares";
import { Station, type StationIdentity } from "./station";
import { TcpNat, type ChunkPool, type LostSyn } from "./tcp";
import { UdpNat } from "./udp";

/** Answers a DHCP message, if it is to be answered, and knows who leased what. */
export interface DhcpService {
  answer(bytes: Uint8Array, at: number, end: number, sender: MacNumber): DhcpReply | undefined;
  holderOf(address: Ipv4Address): MacNumber | undefined;
}

/** What passes through to the host's side. */
export interface GatewayNat {
  readonly sockets: HostSockets;
  readonly policy: NatPolicy;
  readonly log: Log;
  /** Memory for TCP, shared by all gateways. */
  readonly pool?: ChunkPool | undefined;
  /** What stands for the cable that a station is on. */
  cableOf(mac: MacNumber): Account | undefined;
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
  readonly tcp: TcpNat | undefined;
  readonly udp: UdpNat | undefined;
  private readonly icmp: IcmpNat | undefined;
  private readonly errors: IcmpErrors;
  private readonly fragments: Reassembler;
  /** Addresses of guests that were unplugged lately, whose flows are not over yet. */
  private readonly departed = new Map<Ipv4Address, { readonly mac: MacNumber; readonly timer: Disposable }>();
  private flowNumber = 0;

  constructor(
    private readonly identity: StationIdentity & { readonly gateway: Ipv4Address; readonly dnsAddress?: Ipv4Address | undefined },
    private readonly reactor: Reactor,
    private readonly services: {
      readonly dhcp?: DhcpService | undefined;
      readonly dns?: DnsForwarder | undefined;
      readonly nat?: GatewayNat | undefined;
    },
  ) {
    this.station = new Station(identity, reactor);
    const { output } = this.station;
    this.errors = new IcmpErrors(reactor, output, identity.gateway);
    this.fragments = new Reassembler(reactor);
    const { nat, dns } = services;
    if (nat !== undefined) {
      // Flows of UDP and ICMP have odd numbers, those of TCP the even ones.
      const nextId = (): number => (this.flowNumber += 2) - 1;
      const accounts = new Accounts((guest) => this.cableOf(guest));
      const around = { clock: reactor, sockets: nat.sockets, output, policy: nat.policy, errors: this.errors, accounts, log: nat.log, nextId };
      this.udp = new UdpNat(around);
      this.icmp = new IcmpNat({ ...around, problemChanged: () => nat.problemChanged() });
      const withDns = dns !== undefined && identity.dnsAddress !== undefined ? new DnsStreamSockets(nat.sockets, nat.policy, identity.dnsAddress, dns, reactor) : undefined;
      this.tcp = new TcpNat({
        reactor,
        sockets: withDns ?? nat.sockets,
        output,
        policy: withDns ?? nat.policy,
        mtu: identity.mtu,
        log: nat.log,
        unreachable: (lost, code) => this.synLost(lost, code),
        accounts,
        ...(nat.pool === undefined ? {} : { pool: nat.pool }),
      });
    }
    this.station.handler = {
      local: (bytes, at, packet) => this.local(bytes, at, packet),
      transit: (bytes, at, packet) => this.transit(bytes, at, packet),
      dhcp: (bytes, at, end, sender) => this.dhcp(bytes, at, end, sender),
      holderOf: (address) => services.dhcp?.holderOf(address),
      moved: (address, mac) => this.moved(address, mac),
    };
  }

  /** A guest's adapter was plugged in: if it was here a moment ago, its flows go on. */
  plugged(mac: MacNumber): void {
    for (const [address, gone] of [...this.departed]) if (gone.mac === mac) this.stay(address);
  }

  /**
   * A guest's adapter was unplugged. Its flows go on when it comes back within half a minute, as they do with any cable; and
   * end at once when another takes its address. `leased`: where it would be, whether it has spoken or not.
   */
  unplugged(mac: MacNumber, leased: Ipv4Address | undefined): void {
    const addresses = new Set(this.station.neighbours.forget(mac));
    if (leased !== undefined && this.station.neighbours.lookUp(leased) === undefined) addresses.add(leased);
    for (const address of addresses) {
      this.stay(address);
      this.departed.set(address, { mac, timer: this.reactor.schedule(departedMs, () => this.forget(address)) });
    }
  }

  get problem(): ErrorData | undefined {
    return this.icmp?.problem;
  }

  get unansweredEchoes(): number {
    return this.icmp?.unansweredEchoes ?? 0;
  }

  get sizes(): { neighbours: number; awaited: number; udpFlows: number; tcpConnections: number; pings: number; fragmentBytes: number } {
    const { neighbours } = this.station;
    return {
      neighbours: neighbours.size,
      awaited: neighbours.awaitedCount,
      udpFlows: this.udp?.flowCount ?? 0,
      tcpConnections: this.tcp?.connections() ?? 0,
      pings: this.icmp?.pingCount ?? 0,
      fragmentBytes: this.fragments.pending.bytes,
    };
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
    this.fragments.dispose();
    for (const { timer } of this.departed.values()) timer.dispose();
    this.departed.clear();
    // What was said last, resets above all, still leaves.
    this.station.output.flush();
    this.station.dispose();
  }

  /** What a guest has not said of its address yet, its lease does. */
  private cableOf(guest: Ipv4Address): Account | undefined {
    const mac = this.station.neighbours.lookUp(guest) ?? this.services.dhcp?.holderOf(guest);
    return mac === undefined ? undefined : this.services.nat?.cableOf(mac);
  }

  private moved(address: Ipv4Address, mac: MacNumber): void {
    const gone = this.departed.get(address);
    if (gone !== undefined && gone.mac !== mac) this.forget(address);
  }

  private stay(address: Ipv4Address): void {
    this.departed.get(address)?.timer.dispose();
    this.departed.delete(address);
  }

  private forget(address: Ipv4Address): void {
    this.stay(address);
    this.tcp?.forget(address);
    this.udp?.forget(address);
    this.icmp?.forget(address);
  }

  private local(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    if (isFragment(packet)) return this.reassemble(bytes, at, packet, (whole, wholePacket) => this.localWhole(whole, 0, wholePacket));
    this.localWhole(bytes, at, packet);
  }

  private localWhole(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    const isDns = packet.destination === this.identity.dnsAddress;
    if (packet.protocol === IpProtocol.icmp) {
      if (!this.refusal(bytes, packet)) this.echo(bytes, packet);
      return;
    }
    if (packet.protocol === IpProtocol.tcp && this.tcp !== undefined) return this.tcp.input(bytes, packet.payload, packet.end, packet);
    if (packet.protocol !== IpProtocol.udp) return this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.protocol);
    const datagram = readUdp(bytes, packet.payload, packet.end);
    if (datagram === undefined) return;
    const { dns } = this.services;
    if (isDns && dns !== undefined && datagram.destinationPort === dnsPort) {
      if (!udpChecksumHolds(bytes, packet.payload, datagram.end, packet.source, packet.destination)) return;
      const { source, destination } = packet;
      const { sourcePort } = datagram;
      return dns.answer(bytes, datagram.payload, datagram.end, "udp", source, (answer, from, to) => this.datagram(answer.subarray(from, to), destination, dnsPort, source, sourcePort));
    }
    if (this.udp !== undefined && packet.destination === this.identity.gateway) return this.udp.input(bytes, at, packet);
    this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.port);
  }

  private transit(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    if (packet.ttl <= 1) return this.errors.about(bytes, at, packet, IcmpType.timeExceeded, 0);
    if (this.udp === undefined) return this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.prohibited);
    if (isFragment(packet)) return this.reassemble(bytes, at, packet, (whole, wholePacket) => this.transitWhole(whole, 0, wholePacket));
    this.transitWhole(bytes, at, packet);
  }

  private transitWhole(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    if (packet.protocol === IpProtocol.tcp) this.tcp?.input(bytes, packet.payload, packet.end, packet);
    else if (packet.protocol === IpProtocol.udp) this.udp?.input(bytes, at, packet);
    else if (packet.protocol === IpProtocol.icmp) {
      if (!this.refusal(bytes, packet)) this.icmp?.input(bytes, at, packet);
    } else this.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.protocol);
  }

  private reassemble(bytes: Uint8Array, at: number, packet: Ipv4Packet, then: (bytes: Uint8Array, packet: Ipv4Packet) => void): void {
    const whole = this.fragments.add(bytes, at, packet);
    if (whole !== undefined) then(whole.bytes, whole.packet);
  }

  /** What a SYN's sender looks for in an ICMP error: ports and sequence number (RFC 5927, 4.1). */
  private synLost(lost: LostSyn, code: number): void {
    this.errors.aboutLost(
      { from: lost.guestAddress, to: lost.remoteAddress, protocol: IpProtocol.tcp, payloadBytes: tcpHeaderBytes },
      quotedBytes,
      (bytes, at) => {
        write16(bytes, at, lost.guestPort);
        write16(bytes, at + 2, lost.remotePort);
        write32(bytes, at + 4, lost.sequence);
      },
      { type: IcmpType.unreachable, code },
    );
  }

  /** Takes in a guest's word that it does not take what was sent to it; false when the packet is none. */
  private refusal(bytes: Uint8Array, packet: Ipv4Packet): boolean {
    const refused = readRefusal(bytes, packet);
    if (refused?.protocol === IpProtocol.tcp) this.tcp?.portUnreachable(refused.ends);
    else if (refused?.protocol === IpProtocol.udp) this.udp?.refused(refused.ends);
    return refused !== undefined;
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

  private dhcp(bytes: Uint8Array, at: number, end: number, sender: MacNumber): void {
    const reply = this.services.dhcp?.answer(bytes, at, end, sender);
    if (reply === undefined) return;
    this.datagram(reply.bytes.subarray(0, reply.end), this.identity.gateway, dhcpServerPort, reply.address, dhcpClientPort, reply.mac);
  }

  private datagram(payload: Uint8Array, from: Ipv4Address, fromPort: number, to: Ipv4Address, toPort: number, mac?: MacNumber): void {
    const { output } = this.station;
    const length = udpHeaderBytes + payload.length;
    const at = output.begin(from, to, IpProtocol.udp, length, mac === undefined ? undefined : { mac });
    output.buffer.set(payload, at + udpHeaderBytes);
    writeUdp(output.buffer, at, at + length, from, to, fromPort, toPort);
    output.end();
  }
}

const dnsPort = 53;
const departedMs = 30_000;
const dhcpServerPort = 67;
const dhcpClientPort = 68;

function isFragment(packet: Ipv4Packet): boolean {
  return packet.moreFragments || packet.fragmentOffset !== 0;
}
