import { read16, read32, write16, write32, type Ipv4Address } from "./addresses";
import { checksum } from "./checksum";

/** IPv4 (RFC 791, 3.1). */
export const ipv4HeaderBytes = 20;
export const IpProtocol = { icmp: 1, tcp: 6, udp: 17 } as const;

const dontFragmentFlag = 0x4000;
const moreFragmentsFlag = 0x2000;

export interface Ipv4Packet {
  readonly source: Ipv4Address;
  readonly destination: Ipv4Address;
  readonly protocol: number;
  readonly ttl: number;
  /** DSCP and ECN (RFC 2474, RFC 3168). */
  readonly service: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** Where this fragment's payload belongs in the whole one, bytes. */
  readonly fragmentOffset: number;
  /** Where the payload begins and ends in the bytes it was read from; padding of the frame is left out. */
  readonly payload: number;
  readonly end: number;
}

/** Why bytes are no IPv4 packet; the switch and the gateway count by it. */
export type Ipv4Fault = "short" | "version" | "length" | "checksum";

/** The packet in [at, end). Lengths are checked, and the header's checksum, which costs little. */
export function readIpv4(bytes: Uint8Array, at: number, end: number): Ipv4Packet | Ipv4Fault {
  if (end - at < ipv4HeaderBytes) return "short";
  const first = bytes[at] ?? 0;
  if (first >>> 4 !== 4) return "version";
  const headerBytes = (first & 15) * 4;
  const total = read16(bytes, at + 2);
  if (headerBytes < ipv4HeaderBytes || total < headerBytes || total > end - at) return "length";
  if (checksum(bytes, at, at + headerBytes) !== 0) return "checksum";
  const fragment = read16(bytes, at + 6);
  return {
    source: read32(bytes, at + 12),
    destination: read32(bytes, at + 16),
    protocol: bytes[at + 9] ?? 0,
    ttl: bytes[at + 8] ?? 0,
    service: bytes[at + 1] ?? 0,
    identification: read16(bytes, at + 4),
    dontFragment: (fragment & dontFragmentFlag) !== 0,
    moreFragments: (fragment & moreFragmentsFlag) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    payload: at + headerBytes,
    end: at + total,
  };
}

/** What a header is written from. `length` is the payload's, in bytes. */
export interface Ipv4Fields {
  readonly source: Ipv4Address;
  readonly destination: Ipv4Address;
  readonly protocol: number;
  readonly length: number;
  readonly ttl: number;
  readonly service?: number;
  readonly identification?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  readonly fragmentOffset?: number;
}

/** Writes a header without options, with its checksum. */
export function writeIpv4(bytes: Uint8Array, at: number, fields: Ipv4Fields): void {
  bytes[at] = 0x45;
  bytes[at + 1] = fields.service ?? 0;
  write16(bytes, at + 2, ipv4HeaderBytes + fields.length);
  write16(bytes, at + 4, fields.identification ?? 0);
  write16(bytes, at + 6, (fields.dontFragment ? dontFragmentFlag : 0) | (fields.moreFragments ? moreFragmentsFlag : 0) | ((fields.fragmentOffset ?? 0) >>> 3));
  bytes[at + 8] = fields.ttl;
  bytes[at + 9] = fields.protocol;
  write16(bytes, at + 10, 0);
  write32(bytes, at + 12, fields.source);
  write32(bytes, at + 16, fields.destination);
  write16(bytes, at + 10, checksum(bytes, at, at + ipv4HeaderBytes));
}
