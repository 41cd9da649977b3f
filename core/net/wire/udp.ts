import { read16, write16, type Ipv4Address } from "./addresses";
import { checksum, pseudoHeaderSum } from "./checksum";
import { IpProtocol } from "./ipv4";

/** UDP (RFC 768). */
export const udpHeaderBytes = 8;

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Whether the sender gave a checksum. */
  readonly hasChecksum: boolean;
  readonly payload: number;
  readonly end: number;
}

/** The datagram in [at, end); undefined when its lengths are wrong. Its checksum is not verified: see `udpChecksumHolds`. */
export function readUdp(bytes: Uint8Array, at: number, end: number): UdpDatagram | undefined {
  if (end - at < udpHeaderBytes) return undefined;
  const length = read16(bytes, at + 4);
  if (length < udpHeaderBytes || length > end - at) return undefined;
  return {
    sourcePort: read16(bytes, at),
    destinationPort: read16(bytes, at + 2),
    hasChecksum: read16(bytes, at + 6) !== 0,
    payload: at + udpHeaderBytes,
    end: at + length,
  };
}

/** Writes the header in front of a payload that is in its place already: the datagram is [at, end). */
export function writeUdp(bytes: Uint8Array, at: number, end: number, source: Ipv4Address, destination: Ipv4Address, sourcePort: number, destinationPort: number): void {
  write16(bytes, at, sourcePort);
  write16(bytes, at + 2, destinationPort);
  write16(bytes, at + 4, end - at);
  write16(bytes, at + 6, 0);
  const sum = checksum(bytes, at, end, pseudoHeaderSum(source, destination, IpProtocol.udp, end - at));
  // Zero means that there is none, so a sum of zero is sent as its other form.
  write16(bytes, at + 6, sum === 0 ? 0xffff : sum);
}

/** Of the datagram in [at, end), which is as long as its header says. One without a checksum counts as right. */
export function udpChecksumHolds(bytes: Uint8Array, at: number, end: number, source: Ipv4Address, destination: Ipv4Address): boolean {
  return read16(bytes, at + 6) === 0 || checksum(bytes, at, end, pseudoHeaderSum(source, destination, IpProtocol.udp, end - at)) === 0;
}
