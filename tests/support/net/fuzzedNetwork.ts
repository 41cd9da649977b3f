import { silentLog } from "../../../core/base/log";
import type { HostListener, HostPing, HostPingHandler, HostSocketFailure, HostSockets, HostTcp, HostTcpAccept, HostTcpHandler, HostUdp, HostUdpHandler } from "../../../core/net/nat/hostSockets";
import { Network } from "../../../core/net/network";
import { newCounters, type FramePort, type FrameSink } from "../../../core/net/port";
import { ManualReactor } from "../../../core/net/reactor";
import { broadcastMac, parseSubnet, read16, read32, write16, write32, type Ipv4Address } from "../../../core/net/wire/addresses";
import { checksum } from "../../../core/net/wire/checksum";
import { DhcpOperation, DhcpType, writeDhcp } from "../../../core/net/wire/dhcp";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { TcpFlag, tcpHeaderLength, writeTcp, type TcpOptions } from "../../../core/net/wire/tcp";
import { arpFrame, arpRequest, echoFrame, icmpPayload, ip, ipv4Frame, udpFrame, udpPayload, type Station } from "./frames";
import { runOf } from "./plug";
import { gateway, gatewayMac, nameServer, natSpec } from "./testNetwork";

/** Numbers that repeat for a seed (xorshift, 32 bits). */
export class Chance {
  private state: number;
  private readonly pool: Uint8Array;

  constructor(seed: number) {
    this.state = seed | 1;
    this.pool = Uint8Array.from({ length: 16_384 }, () => this.below(256));
  }

  below(limit: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return (x >>> 0) % limit;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(length: number): Uint8Array {
    const at = this.below(this.pool.length - length);
    return this.pool.slice(at, at + length);
  }
}

/** What a fuzzed guest heard of TCP last: where a conversation goes on. */
interface Heard {
  readonly from: Ipv4Address;
  readonly fromPort: number;
  readonly toPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly length: number;
}

class FuzzPort implements FramePort, Station {
  readonly counters = newCounters();
  readonly writable = true;
  heard: Heard | undefined;
  /** Of the gateway itself. */
  echoReplies = 0;
  sink: FrameSink | undefined;

  constructor(
    readonly mac: number,
    readonly address: Ipv4Address,
  ) {}

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    for (let position = at; position < end; ) {
      const length = read32(bytes, position);
      const frame = position + 4;
      position = frame + length;
      if (bytes[frame + 23] === IpProtocol.icmp && bytes[frame + 34] === 0 && read32(bytes, frame + 26) === gateway.address && read16(bytes, frame) * 2 ** 32 + read32(bytes, frame + 2) === this.mac) this.echoReplies++;
      if (length < 54 || read16(bytes, frame + 12) !== 0x0800 || bytes[frame + 23] !== IpProtocol.tcp) continue;
      const flags = bytes[frame + 47] ?? 0;
      const data = read16(bytes, frame + 16) - 20 - ((bytes[frame + 46] ?? 0) >>> 4) * 4;
      this.heard = {
        from: read32(bytes, frame + 26),
        fromPort: read16(bytes, frame + 34),
        toPort: read16(bytes, frame + 36),
        sequence: read32(bytes, frame + 38),
        acknowledgment: read32(bytes, frame + 42),
        length: data + ((flags & (TcpFlag.syn | TcpFlag.fin)) !== 0 ? 1 : 0),
      };
    }
  }

  dispose(): void {
    this.sink = undefined;
  }
}

/** A host that answers at random, and holds nothing but what is open. */
class FuzzHost implements HostSockets {
  readonly tcp = new Set<{ readonly socket: HostTcp; readonly handler: HostTcpHandler; connected: boolean; reading: boolean }>();
  readonly udp = new Set<{ readonly handler: HostUdpHandler; address: Ipv4Address; port: number }>();
  readonly pings = new Set<{ readonly handler: HostPingHandler; address: Ipv4Address; sequence: number }>();
  private nextPort = 1;

  constructor(private readonly chance: Chance) {}

  connectTcp(_address: Ipv4Address, _port: number, handler: HostTcpHandler): HostTcp {
    const release = (): void => void this.tcp.delete(entry);
    const socket: HostTcp = {
      read: (target, at, end) => {
        const count = this.chance.below(8) === 0 ? -1 : this.chance.below(Math.min(end - at, 3000));
        if (count > 0) target.fill(count & 255, at, at + count);
        return count;
      },
      setReading: (on) => void (entry.reading = on),
      write: (_bytes, at, end) => (this.chance.below(4) === 0 ? this.chance.below(end - at + 1) : end - at),
      shutdown: () => undefined,
      close: release,
      reset: release,
    };
    const entry = { socket, handler, connected: false, reading: false };
    this.tcp.add(entry);
    return socket;
  }

  listenTcp(address: Ipv4Address, port: number, _accept: HostTcpAccept): Promise<HostListener> {
    return Promise.resolve({ address, port, dispose: () => undefined });
  }

  bindUdp(_local: unknown, handler: HostUdpHandler): Promise<HostUdp> {
    const entry = { handler, address: 0, port: 0 };
    this.udp.add(entry);
    return Promise.resolve({
      address: 0,
      port: (this.nextPort = (this.nextPort % 65_535) + 1),
      send: (_bytes, _at, _end, address, port) => {
        Object.assign(entry, { address, port });
        return true;
      },
      dispose: () => void this.udp.delete(entry),
    });
  }

  openPing(handler: HostPingHandler): HostPing {
    const entry = { handler, address: 0, sequence: 0 };
    this.pings.add(entry);
    return {
      send: (_bytes, _at, _end, address, sequence) => {
        Object.assign(entry, { address, sequence });
        return true;
      },
      dispose: () => void this.pings.delete(entry),
    };
  }

  get open(): number {
    return this.tcp.size + this.udp.size + this.pings.size;
  }

  /** Something happens to one socket of each kind. */
  stir(): void {
    const { chance } = this;
    const failures: readonly HostSocketFailure[] = ["refused", "unreachable-host", "unreachable-network", "timed-out", "reset", "prohibited", "out-of-sockets"];
    const bytes = chance.bytes(chance.below(40));
    const tcp = this.one(this.tcp);
    if (tcp !== undefined) {
      if (!tcp.connected && chance.below(4) > 0) {
        tcp.connected = true;
        tcp.handler.connected();
      } else if (chance.below(8) === 0) {
        this.tcp.delete(tcp);
        tcp.handler.failed(chance.of(failures));
      } else if (tcp.connected && tcp.reading) tcp.handler.readable();
      else if (tcp.connected) tcp.handler.writable();
    }
    const udp = this.one(this.udp);
    if (udp !== undefined) {
      if (chance.below(3) === 0) udp.handler.failed(chance.of(failures), udp.address, udp.port);
      else udp.handler.datagram(bytes, 0, bytes.length, udp.address, udp.port);
    }
    const ping = this.one(this.pings);
    if (ping !== undefined) {
      if (chance.below(3) === 0) ping.handler.failed(chance.below(2 ** 31), chance.of([3, 11, 12]), chance.below(16), ping.address, ping.sequence);
      else ping.handler.reply(bytes, 0, bytes.length, ping.address, ping.sequence);
    }
  }

  /** One of the first few: to walk through all of them costs more than the network does. */
  private one<T>(set: Set<T>): T | undefined {
    let skip = this.chance.below(Math.min(set.size, 16) || 1);
    for (const entry of set) if (skip-- === 0) return entry;
    return undefined;
  }
}

/**
 * A whole NAT network, with guests that send frames of every kind, right ones and damaged ones, and a host that answers
 * at random. Repeats exactly for a seed, but for what the gateway draws itself.
 */
export class FuzzedNetwork {
  readonly reactor = new ManualReactor();
  readonly chance: Chance;
  readonly host: FuzzHost;
  readonly network: Network;
  readonly ports: readonly FuzzPort[];
  sent = 0;

  constructor(seed: number) {
    this.chance = new Chance(seed);
    this.host = new FuzzHost(this.chance);
    this.network = new Network(natSpec, {
      reactor: this.reactor,
      sockets: this.host,
      log: silentLog,
      leases: { load: () => [], save: () => undefined },
      resolver: { servers: () => [{ address: ip("192.0.2.53"), port: 53 }] },
      hostNetworks: () => [],
      otherSegments: () => [parseSubnet("192.168.56.0/24")!],
      refused: () => undefined,
      changed: () => undefined,
    });
    this.ports = [15, 16, 17].map((number) => new FuzzPort(0x5254_0000_0000 + number, ip("10.9.0.0") + number));
    for (const port of this.ports) this.network.attach(port, { id: String(port.mac), mac: port.mac, hostname: `guest${port.mac % 100}` });
  }

  /** Sends so many frames, in runs, with what happens in between. */
  async run(frames: number): Promise<void> {
    const { chance } = this;
    for (const until = this.sent + frames; this.sent < until; ) {
      const port = chance.of(this.ports);
      const burst: Uint8Array[] = [];
      for (let count = 1 + chance.below(32); count > 0; count--) burst.push(this.damaged(this.frame(port)));
      const run = runOf(burst);
      this.sent += burst.length;
      port.sink?.frames(run, 0, run.length);
      this.host.stir();
      this.reactor.endTurn();
      if (chance.below(16) === 0) this.reactor.advance(chance.below(400));
      if (chance.below(2000) === 0) this.reactor.advance(chance.below(200_000));
      // Promises of the host.
      if (chance.below(8) === 0) await Promise.resolve();
    }
  }

  private frame(from: FuzzPort): Uint8Array {
    const { chance } = this;
    const guest = chance.below(8) > 0 ? from : { mac: chance.below(8) === 0 ? chance.below(2 ** 31) * 2 ** 17 : from.mac, address: natBase + chance.below(256) };
    const to: Station = { mac: chance.below(8) > 0 ? gatewayMac : chance.of([broadcastMac, ...this.ports.map((port) => port.mac)]), address: this.destination() };
    const payload = chance.bytes(chance.below(60));
    switch (chance.below(14)) {
      case 0:
        return arpRequest(guest, chance.of([gateway.address, nameServer.address, this.destination()]));
      case 1:
        return arpFrame(guest.mac, to.mac, { operation: chance.below(3), senderMac: guest.mac, senderAddress: chance.of([guest.address, gateway.address]), targetMac: to.mac, targetAddress: to.address });
      case 2:
        return udpFrame(guest, 1 + chance.below(1000), to, chance.of([1 + chance.below(65_535), 7, 67]), payload, chance.below(4));
      case 3:
        return udpFrame(guest, 1 + chance.below(5000), to, chance.of([7, 53, 123]), payload);
      case 4:
        return udpFrame(guest, 1 + chance.below(5000), nameServer, 53, this.query());
      case 5:
        return this.dhcp(guest);
      case 6:
        return echoFrame(guest, to, chance.below(200), chance.below(65_536), payload, chance.below(64));
      case 7:
        return ipv4Frame(guest.mac, to.mac, { source: guest.address, destination: to.address, protocol: IpProtocol.icmp }, icmpPayload(chance.below(20), chance.below(16), 0, udpFrame(to, 7, guest, 9, payload).slice(14)));
      case 8:
        return this.fragment(guest, to);
      case 9:
        return this.tcp(guest, { ...to, port: chance.of([80, 53, 1 + chance.below(65_535)]) }, 1 + chance.below(3000), TcpFlag.syn, chance.below(2 ** 31), 0, payload.subarray(0, chance.below(2)));
      case 10:
      case 11:
        return this.tcpOn(from);
      case 12:
        return ipv4Frame(guest.mac, to.mac, { source: guest.address, destination: to.address, protocol: chance.below(256), service: chance.below(256) }, payload);
      default:
        return chance.bytes(14 + chance.below(100));
    }
  }

  private destination(): Ipv4Address {
    const { chance } = this;
    return chance.below(10) === 0 ? chance.below(2 ** 31) * 2 : chance.of(destinations);
  }

  private query(): Uint8Array {
    const { chance } = this;
    const label = chance.of(["guest15", "guest16", "example", "x"]);
    const name = [label.length, ...[...label].map((letter) => letter.charCodeAt(0)), ...chance.of([[], [3, 108, 97, 98]]), 0];
    return Uint8Array.from([chance.below(256), chance.below(256), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, chance.of([1, 12, 28, 255]), 0, 1]);
  }

  private dhcp(guest: Station): Uint8Array {
    const { chance } = this;
    const bytes = new Uint8Array(600);
    const clientMac = chance.below(4) > 0 ? guest.mac : chance.below(2 ** 24) * 2 ** 17;
    const type = chance.of([DhcpType.discover, DhcpType.request, DhcpType.decline, DhcpType.release, DhcpType.inform]);
    const requestedAddress = chance.of([undefined, natBase + 100 + chance.below(100), chance.below(2 ** 31)]);
    const options = { requestedAddress, server: chance.of([undefined, gateway.address, 7]), hostname: chance.of([undefined, "guest", "\0"]) };
    const fields = { operation: DhcpOperation.request, type, transaction: chance.below(2 ** 31), seconds: 0, broadcast: chance.below(2) === 0, clientAddress: chance.of([0, guest.address]), yourAddress: 0, nextServer: 0, relay: 0, clientMac, options };
    const end = writeDhcp(bytes, 0, bytes.length, fields);
    return ipv4Frame(guest.mac, broadcastMac, { source: 0, destination: broadcastIp, protocol: IpProtocol.udp }, udpPayload(0, broadcastIp, 68, 67, bytes.subarray(0, end)));
  }

  private fragment(guest: Station, to: Station): Uint8Array {
    const { chance } = this;
    const fragmentOffset = 8 * chance.of([0, 1, 2, 3, chance.below(8192)]);
    const fields = { source: guest.address, destination: to.address, protocol: chance.of([1, 6, 17]), identification: chance.below(30), moreFragments: chance.below(2) === 0, fragmentOffset };
    return ipv4Frame(guest.mac, to.mac, fields, chance.bytes(chance.of([8, 16, 24, 5, chance.below(200)])));
  }

  private tcp(from: Station, to: Station & { readonly port: number }, fromPort: number, flags: number, sequence: number, acknowledgment: number, data: Uint8Array): Uint8Array {
    const { chance } = this;
    const syn = (flags & TcpFlag.syn) !== 0;
    const options: TcpOptions = chance.below(3) === 0 ? {} : { mss: syn ? 1460 : undefined, windowScale: syn ? chance.below(15) : undefined, sackPermitted: syn, sack: syn ? undefined : [[acknowledgment, (acknowledgment + chance.below(3000)) >>> 0]] };
    const header = tcpHeaderLength(options);
    const segment = new Uint8Array(header + data.length);
    segment.set(data, header);
    writeTcp(segment, 0, segment.length, from.address, to.address, { sourcePort: fromPort, destinationPort: to.port, sequence, acknowledgment, flags, window: chance.below(65_536), options });
    return ipv4Frame(from.mac, to.mac, { source: from.address, destination: to.address, protocol: IpProtocol.tcp }, segment);
  }

  /** Goes on where the gateway's TCP is, more or less. */
  private tcpOn(from: FuzzPort): Uint8Array {
    const { chance } = this;
    const heard = from.heard ?? { from: ip("198.51.100.7"), fromPort: 80, toPort: 1, sequence: 1, acknowledgment: 1, length: 1 };
    const flags = chance.of([TcpFlag.ack, TcpFlag.ack, TcpFlag.ack | TcpFlag.psh, TcpFlag.ack | TcpFlag.fin, TcpFlag.rst, TcpFlag.ack | TcpFlag.rst, chance.below(256)]);
    const slip = chance.below(3) === 0 ? chance.below(4000) - 2000 : 0;
    const sequence = (heard.acknowledgment + slip) >>> 0;
    return this.tcp(from, { mac: gatewayMac, address: heard.from, port: heard.fromPort }, heard.toPort, flags, sequence, (heard.sequence + heard.length) >>> 0, chance.bytes(chance.of([0, 0, 1, 100, 1400])));
  }

  /** Half of the frames are damaged, and half of these have their IPv4 header's checksum put right, to be believed longer. */
  private damaged(frame: Uint8Array): Uint8Array {
    const { chance } = this;
    if (chance.below(2) === 0) return frame;
    const bytes = chance.below(4) === 0 ? frame.slice(0, 14 + chance.below(frame.length - 13)) : frame;
    for (let count = chance.below(6); count > 0; count--) bytes[chance.below(Math.min(bytes.length, chance.of([60, 2000])))] = chance.of([0, 255, chance.below(256)]);
    if (chance.below(2) === 0 && bytes.length >= 34) {
      const end = Math.min(bytes.length, 14 + ((bytes[14] ?? 0) & 15) * 4);
      write16(bytes, 24, 0);
      write16(bytes, 24, checksum(bytes, 14, end));
    }
    if (chance.below(16) === 0 && bytes.length > 18) write32(bytes, 14 + chance.below(bytes.length - 18), chance.below(2 ** 31));
    return bytes;
  }
}

const broadcastIp = 0xffff_ffff;
const natBase = ip("10.9.0.0");
const destinations = ["10.9.0.2", "10.9.0.3", "198.51.100.7", "127.0.0.1", "10.9.0.255", "255.255.255.255", "224.0.0.251", "192.168.56.1", "10.9.0.16"].map(ip);
