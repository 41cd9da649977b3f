import type { Clock } from "../../base/clock";
import { read16, read32, write16, isLoopbackIpv4, isMulticastIpv4, type Ipv4Address } from "../wire/addresses";
import { IcmpType, Unreachable, icmpHeaderBytes, quotedBytes, quotedPorts, readIcmp, writeIcmp, type IcmpMessage } from "../wire/icmp";
import { IpProtocol, ipv4HeaderBytes, writeIpv4, type Ipv4Packet } from "../wire/ipv4";
import { writeUdp, udpHeaderBytes } from "../wire/udp";
import type { IpOutput } from "./ipOutput";
import type { TcpEnds } from "./tcpSegment";

/** What a guest says of a packet that came to it. */
export interface RefusedPacket {
  readonly protocol: number;
  readonly ends: TcpEnds;
}

/**
 * Reads a guest's word that it does not take what was sent to one of its ports; undefined for all else. A guest is believed
 * about itself only, in an answer to whom the packet came from: the quoted packet must have gone from this error's
 * destination to its source (RFC 5927, 4). Whose the source address is, was looked at before.
 */
export function readRefusal(bytes: Uint8Array, packet: Ipv4Packet): RefusedPacket | undefined {
  if (packet.protocol !== IpProtocol.icmp || bytes[packet.payload] !== IcmpType.unreachable || !refusals.has(bytes[packet.payload + 1] ?? 0)) return undefined;
  const message = readIcmp(bytes, packet.payload, packet.end);
  return message && readQuoted(bytes, message, packet);
}

/** Nobody listens there, or a firewall says so (RFC 1812, 5.2.7.1: 9, 10 and 13); others may pass by themselves (RFC 1122, 4.2.3.9). */
const refusals: ReadonlySet<number> = new Set([Unreachable.port, Unreachable.protocol, 9, 10, Unreachable.prohibited]);

/** The quoted packet's header has a length as it was sent, of which only the beginning is here. */
function readQuoted(bytes: Uint8Array, { payload: at, end }: IcmpMessage, packet: Ipv4Packet): RefusedPacket | undefined {
  if (end - at < ipv4HeaderBytes) return undefined;
  const first = bytes[at] ?? 0;
  const ports = at + (first & 15) * 4;
  if (first >>> 4 !== 4 || ports < at + ipv4HeaderBytes || ports + quotedBytes > end || (read16(bytes, at + 6) & 0x1fff) !== 0) return undefined;
  if (read32(bytes, at + 12) !== packet.destination || read32(bytes, at + 16) !== packet.source) return undefined;
  const { source, destination } = quotedPorts(bytes, ports);
  return { protocol: bytes[at + 9] ?? 0, ends: { guestAddress: packet.source, guestPort: destination, remoteAddress: packet.destination, remotePort: source } };
}

/** How much of a packet is quoted: the error stays within 576 bytes (RFC 1812, 4.3.2.3). */
const maxQuotedBytes = 576 - ipv4HeaderBytes - icmpHeaderBytes;

/** Errors one guest gets: this many at once, then this many a second (RFC 1812, 4.3.2.8). */
const burst = 50;
const errorsPerMs = 0.1;
const maxGuests = 1024;

/** ICMP errors of a gateway to its guests, by the rules of RFC 1812, 4.3.2, so many a second for each guest. */
export class IcmpErrors {
  private readonly allowances = new Map<Ipv4Address, { tokens: number; at: number }>();

  constructor(
    private readonly clock: Clock,
    private readonly output: IpOutput,
    private readonly gateway: Ipv4Address,
  ) {}

  /** An error about a guest's packet, whose header begins at `at`. */
  about(bytes: Uint8Array, at: number, packet: Ipv4Packet, type: number, code: number, rest = 0): void {
    if (!mayAnswer(bytes, packet)) return;
    const quoted = Math.min(packet.end - at, maxQuotedBytes);
    this.send(this.gateway, packet.source, type, code, rest, quoted, (target, to) => target.set(bytes.subarray(at, at + quoted), to));
  }

  /** An error about a packet that is gone: its headers are written anew. `write` puts `length` bytes behind the IPv4 header. */
  aboutLost(
    lost: { readonly from: Ipv4Address; readonly to: Ipv4Address; readonly protocol: number; readonly payloadBytes: number },
    length: number,
    write: (bytes: Uint8Array, at: number) => void,
    error: { readonly type: number; readonly code: number; readonly reporter?: Ipv4Address },
  ): void {
    this.send(reporterOf(error.reporter) ?? this.gateway, lost.from, error.type, error.code, 0, ipv4HeaderBytes + length, (target, to) => {
      writeIpv4(target, to, { source: lost.from, destination: lost.to, protocol: lost.protocol, length: lost.payloadBytes, ttl: 1 });
      write(target, to + ipv4HeaderBytes);
    });
  }

  /** About a datagram of `payloadBytes` that went from a guest to `to`. */
  aboutDatagram(
    lost: { readonly from: Ipv4Address; readonly fromPort: number; readonly to: Ipv4Address; readonly toPort: number; readonly payloadBytes: number },
    error: { readonly type: number; readonly code: number; readonly reporter?: Ipv4Address },
  ): void {
    const total = udpHeaderBytes + lost.payloadBytes;
    this.aboutLost(
      { from: lost.from, to: lost.to, protocol: IpProtocol.udp, payloadBytes: total },
      udpHeaderBytes,
      (bytes, at) => {
        writeUdp(bytes, at, at + udpHeaderBytes, lost.from, lost.to, lost.fromPort, lost.toPort);
        write16(bytes, at + 4, total);
        // Its checksum went with its payload.
        write16(bytes, at + 6, 0);
      },
      error,
    );
  }

  private send(from: Ipv4Address, to: Ipv4Address, type: number, code: number, rest: number, quoted: number, quote: (bytes: Uint8Array, at: number) => void): void {
    if (!this.allows(to)) return;
    const length = icmpHeaderBytes + quoted;
    const at = this.output.begin(from, to, IpProtocol.icmp, length);
    quote(this.output.buffer, at + icmpHeaderBytes);
    writeIcmp(this.output.buffer, at, at + length, type, code, rest);
    this.output.end();
  }

  private allows(guest: Ipv4Address): boolean {
    const now = this.clock.monotonic();
    let allowance = this.allowances.get(guest);
    if (allowance === undefined) {
      for (const oldest of this.allowances.keys()) {
        if (this.allowances.size < maxGuests) break;
        this.allowances.delete(oldest);
      }
      allowance = { tokens: burst, at: now };
      this.allowances.set(guest, allowance);
    }
    allowance.tokens = Math.min(burst, allowance.tokens + (now - allowance.at) * errorsPerMs);
    allowance.at = now;
    if (allowance.tokens < 1) return false;
    allowance.tokens--;
    return true;
  }
}

/** An address that a guest can hear of; the host's own loopback and what nobody has are not. */
function reporterOf(address: Ipv4Address | undefined): Ipv4Address | undefined {
  if (address === undefined || address >>> 24 === 0 || isLoopbackIpv4(address) || address >>> 28 >= 14) return undefined;
  return address;
}

/** RFC 1812, 4.3.2.7: no errors about errors, later fragments, groups or nobody. */
function mayAnswer(bytes: Uint8Array, packet: Ipv4Packet): boolean {
  if (packet.fragmentOffset !== 0) return false;
  if (packet.destination === 0xffff_ffff || isMulticastIpv4(packet.destination)) return false;
  if (packet.source === 0 || isMulticastIpv4(packet.source) || isLoopbackIpv4(packet.source) || packet.source >>> 28 === 15) return false;
  return packet.protocol !== IpProtocol.icmp || bytes[packet.payload] === IcmpType.echoRequest;
}
