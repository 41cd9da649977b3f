import type { Clock } from "../../base/clock";
import { write16, isLoopbackIpv4, isMulticastIpv4, type Ipv4Address } from "../wire/addresses";
import { IcmpType, icmpHeaderBytes, writeIcmp } from "../wire/icmp";
import { IpProtocol, ipv4HeaderBytes, writeIpv4, type Ipv4Packet } from "../wire/ipv4";
import { writeUdp, udpHeaderBytes } from "../wire/udp";
import type { IpOutput } from "./ipOutput";

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
