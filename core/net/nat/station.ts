import { newCounters, countDrop, type FramePort, type FrameSink } from "../port";
import type { Reactor } from "../reactor";
import { broadcastMac, inSubnet, isGroupMac, read16, read32, readMac, subnetBroadcast, type Ipv4Address, type MacNumber, type Subnet } from "../wire/addresses";
import { arpBytes, ArpOperation, readArp, writeArp } from "../wire/arp";
import { ethernetHeaderBytes, EtherType } from "../wire/ethernet";
import { IpProtocol, readIpv4, type Ipv4Packet } from "../wire/ipv4";
import { readUdp } from "../wire/udp";
import { BatchOutput } from "./batchOutput";
import { Neighbours } from "./neighbours";

/** Who a station is. */
export interface StationIdentity {
  readonly mac: MacNumber;
  readonly subnet: Subnet;
  /** Its own. */
  readonly addresses: readonly Ipv4Address[];
  readonly mtu: number;
}

/** What becomes of packets that a guest sent properly; the IPv4 header begins at `at`. */
export interface StationHandler {
  /** To one of the station's addresses, whole or in fragments. */
  local(bytes: Uint8Array, at: number, packet: Ipv4Packet): void;
  /** To somewhere else, whole or in fragments. */
  transit(bytes: Uint8Array, at: number, packet: Ipv4Packet): void;
  /** A DHCP message, to us or to everybody; the datagram's payload, and the Ethernet address it came from. */
  dhcp(bytes: Uint8Array, at: number, end: number, sender: MacNumber): void;
  /** Who leased an address: nobody else may use it. */
  holderOf(address: Ipv4Address): MacNumber | undefined;
  /** A guest has this address from now on. */
  moved(address: Ipv4Address, mac: MacNumber): void;
}

/** Why packets that reached a station went no further. */
export interface StationFaults {
  /** No packet of IPv4 or ARP, though it said so. */
  malformed: number;
  /** From an address that no guest of this segment can have. */
  martian: number;
  /** From an address that is another station's. */
  spoofed: number;
  /** For a guest whose station nobody answered for, or that could not be cut. */
  unsent: number;
}

/**
 * A station of ours on a segment: it answers for its addresses (RFC 826), learns the guests', and sends and takes IPv4
 * packets. Towards the switch it is a port like any other.
 */
export class Station implements FramePort {
  readonly counters = newCounters();
  readonly writable = true;
  readonly faults: StationFaults = { malformed: 0, martian: 0, spoofed: 0, unsent: 0 };
  readonly output: BatchOutput;
  readonly neighbours: Neighbours;
  handler: StationHandler | undefined;
  /** Whether the segment takes frames for a station as fast as they come. Whoever plugs it in knows. */
  isWritable: ((mac: MacNumber) => boolean) | undefined;

  private sink: FrameSink | undefined;
  private defendedAt = -Infinity;
  private readonly macLow: number;
  private readonly macHigh: number;
  private readonly broadcast: Ipv4Address;

  constructor(
    private readonly identity: StationIdentity,
    private readonly reactor: Reactor,
  ) {
    this.macLow = identity.mac % 2 ** 32;
    this.macHigh = (identity.mac - this.macLow) / 2 ** 32;
    this.broadcast = subnetBroadcast(identity.subnet);
    this.neighbours = new Neighbours(reactor, {
      ask: (address) => this.ask(address),
      deliver: (frame, mac) => this.output.deliver(frame, mac),
      lost: (packets) => (this.faults.unsent += packets),
      holderOf: (address) => this.handler?.holderOf(address),
      moved: (address, mac) => this.handler?.moved(address, mac),
    });
    this.output = new BatchOutput(reactor, identity.mtu, {
      mac: identity.mac,
      resolve: (to) => this.neighbours.lookUp(to),
      writable: (mac) => this.isWritable?.(mac) ?? true,
      wait: (to, frame) => (this.isGuest(to) ? this.neighbours.wait(to, frame) : this.faults.unsent++),
      send: (bytes, at, end) => this.send(bytes, at, end),
      dropped: () => this.faults.unsent++,
    });
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  /** An address of this segment that a guest can have. */
  isGuest(address: Ipv4Address): boolean {
    const { subnet, addresses } = this.identity;
    return inSubnet(subnet, address) && address !== subnet.base && address !== this.broadcast && !addresses.includes(address);
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    for (let position = at; position < end; ) {
      const frame = position + 4;
      const length = read32(bytes, position);
      this.counters.sentFrames++;
      this.counters.sentBytes += length;
      position = frame + length;
      this.take(bytes, frame, position);
    }
  }

  dispose(): void {
    this.neighbours.dispose();
    this.output.dispose();
    this.sink = undefined;
    this.handler = undefined;
  }

  private take(bytes: Uint8Array, at: number, end: number): void {
    const toUs = read32(bytes, at + 2) === this.macLow && read16(bytes, at) === this.macHigh;
    if (!toUs && ((bytes[at] ?? 0) & 1) === 0) return;
    const type = read16(bytes, at + 12);
    if (type === EtherType.ipv4) this.takeIpv4(bytes, at, end, toUs);
    else if (type === EtherType.arp) this.takeArp(bytes, at, end);
  }

  private takeIpv4(bytes: Uint8Array, frame: number, end: number, toUs: boolean): void {
    const at = frame + ethernetHeaderBytes;
    const packet = readIpv4(bytes, at, end);
    if (typeof packet === "string") {
      this.faults.malformed++;
      return countDrop(this.counters, "malformed");
    }
    const { destination, source } = packet;
    const ours = this.identity.addresses.includes(destination);
    const toAll = destination === 0xffff_ffff || destination === this.broadcast;
    if ((ours || toAll) && this.isDhcp(bytes, packet)) {
      const datagram = readUdp(bytes, packet.payload, packet.end);
      if (datagram !== undefined) this.handler?.dhcp(bytes, datagram.payload, datagram.end, readMac(bytes, frame + 6));
      return;
    }
    // Not for a router: broadcasts, and packets that came as a broadcast of the Ethernet (RFC 1812, 5.3.4).
    if (toAll || !toUs) return;
    if (!this.isGuest(source)) {
      this.faults.martian++;
      return;
    }
    if (!this.neighbours.learn(source, readMac(bytes, frame + 6))) {
      this.faults.spoofed++;
      return;
    }
    if (ours) this.handler?.local(bytes, at, packet);
    else this.handler?.transit(bytes, at, packet);
  }

  private isDhcp(bytes: Uint8Array, packet: Ipv4Packet): boolean {
    return packet.protocol === IpProtocol.udp && !packet.moreFragments && packet.fragmentOffset === 0 && packet.end - packet.payload >= 8 && read16(bytes, packet.payload + 2) === dhcpServerPort;
  }

  private takeArp(bytes: Uint8Array, frame: number, end: number): void {
    const packet = readArp(bytes, frame + ethernetHeaderBytes, end);
    const sender = readMac(bytes, frame + 6);
    // Who says another's name in the packet than on it means no good.
    if (packet === undefined || packet.senderMac !== sender || isGroupMac(sender)) {
      this.faults.malformed++;
      return countDrop(this.counters, "malformed");
    }
    const { addresses } = this.identity;
    if (addresses.includes(packet.senderAddress)) {
      this.faults.spoofed++;
      return this.defend(packet.senderAddress);
    }
    if (this.isGuest(packet.senderAddress) && !this.neighbours.learn(packet.senderAddress, sender)) this.faults.spoofed++;
    if (packet.operation !== ArpOperation.request || !addresses.includes(packet.targetAddress)) return;
    this.sendArp(sender, ArpOperation.reply, packet.targetAddress, sender, packet.senderAddress);
  }

  /** Somebody says that our address is theirs: all others hear that it is not (RFC 5227, 2.4), so often and no more. */
  private defend(address: Ipv4Address): void {
    const now = this.reactor.monotonic();
    if (now - this.defendedAt < defendMs) return;
    this.defendedAt = now;
    this.sendArp(broadcastMac, ArpOperation.request, address, 0, address);
  }

  private ask(address: Ipv4Address): void {
    const from = this.identity.addresses[0];
    if (from !== undefined) this.sendArp(broadcastMac, ArpOperation.request, from, 0, address);
  }

  private sendArp(to: MacNumber, operation: number, senderAddress: Ipv4Address, targetMac: MacNumber, targetAddress: Ipv4Address): void {
    this.output.frame(to, EtherType.arp, arpBytes, (bytes, at) => writeArp(bytes, at, { operation, senderMac: this.identity.mac, senderAddress, targetMac, targetAddress }));
  }

  private send(bytes: Uint8Array, at: number, end: number): void {
    for (let position = at; position < end; ) {
      const length = read32(bytes, position);
      this.counters.receivedFrames++;
      this.counters.receivedBytes += length;
      position += 4 + length;
    }
    this.sink?.frames(bytes, at, end);
  }
}

const dhcpServerPort = 67;

/** RFC 5227, DEFEND_INTERVAL. */
const defendMs = 10_000;
