import { read16, read32, write16, write32, type Ipv4Address } from "../wire/addresses";
import { checksum, pseudoHeaderSum } from "../wire/checksum";
import { IpProtocol } from "../wire/ipv4";
import { readTcp, tcpHeaderBytes, tcpHeaderLength, TcpFlag, writeTcp, type TcpFields, type TcpOptions } from "../wire/tcp";
import type { IpOutput } from "./ipOutput";

/** Who speaks with whom. The remote end is the one the guest believes in; the gateway stands in for it. */
export interface TcpEnds {
  readonly guestAddress: Ipv4Address;
  readonly guestPort: number;
  readonly remoteAddress: Ipv4Address;
  readonly remotePort: number;
}

/** Two "none" and the timestamps option's kind and length, as (nearly) everyone sends them (RFC 7323, appendix A). */
const timestampsWord = 0x0101_080a;
export const timestampsBytes = 12;

const nothing = new Uint8Array(0);
const noOptions: TcpOptions = {};

/**
 * A segment that came, in one object that is filled anew by every `read`, so that nothing is allocated for one with no
 * options but timestamps. Where it lies is checked; what it says is not.
 */
export class ArrivedSegment {
  bytes: Uint8Array = nothing;
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  /** As in the header, not scaled. */
  window = 0;
  payload = 0;
  end = 0;
  stamped = false;
  stamp = 0;
  stampEcho = 0;
  options: TcpOptions = noOptions;

  /** Reads [at, end); false when it is no segment. */
  read(bytes: Uint8Array, at: number, end: number): boolean {
    if (end - at < tcpHeaderBytes) return false;
    const headerBytes = (bytes[at + 12]! >>> 4) * 4;
    if (headerBytes < tcpHeaderBytes || headerBytes > end - at) return false;
    this.bytes = bytes;
    this.sourcePort = read16(bytes, at);
    this.destinationPort = read16(bytes, at + 2);
    this.sequence = read32(bytes, at + 4);
    this.acknowledgment = read32(bytes, at + 8);
    this.flags = bytes[at + 13]!;
    this.window = read16(bytes, at + 14);
    this.payload = at + headerBytes;
    this.end = end;
    this.options = noOptions;
    this.stamped = false;
    if (headerBytes === tcpHeaderBytes) return true;
    if (headerBytes === tcpHeaderBytes + timestampsBytes && read32(bytes, at + tcpHeaderBytes) === timestampsWord) {
      this.setStamps(read32(bytes, at + tcpHeaderBytes + 4), read32(bytes, at + tcpHeaderBytes + 8));
      return true;
    }
    this.options = readTcp(bytes, at, end)?.options ?? noOptions;
    if (this.options.timestamps) this.setStamps(this.options.timestamps.value, this.options.timestamps.echo);
    return true;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** What it takes of the sequence space (RFC 9293, 3.4). */
  get length(): number {
    return this.end - this.payload + (this.has(TcpFlag.syn) ? 1 : 0) + (this.has(TcpFlag.fin) ? 1 : 0);
  }

  private setStamps(value: number, echo: number): void {
    this.stamped = true;
    this.stamp = value;
    this.stampEcho = echo;
  }
}

/** The path's MTU is the link's, so a fragment would be a fault of ours. */
const whole = { dontFragment: true };

/** Writes a segment without payload whose header is made from an object: SYNs and resets, which are rare. */
export function sendBare(output: IpOutput, ends: TcpEnds, fields: Omit<TcpFields, "sourcePort" | "destinationPort">): void {
  const length = tcpHeaderLength(fields.options ?? noOptions);
  const at = output.begin(ends.remoteAddress, ends.guestAddress, IpProtocol.tcp, length, whole);
  const ports = { sourcePort: ends.remotePort, destinationPort: ends.guestPort };
  writeTcp(output.buffer, at, at + length, ends.remoteAddress, ends.guestAddress, { ...fields, ...ports });
  output.end();
}

/** Room for a segment whose header takes `headerBytes`; `sealSegment` with the place this returns ends it. */
export function openSegment(output: IpOutput, ends: TcpEnds, length: number): number {
  return output.begin(ends.remoteAddress, ends.guestAddress, IpProtocol.tcp, length, whole);
}

/** Writes the fixed part of the header and the checksum over everything, and lets the segment go. */
export function sealSegment(output: IpOutput, ends: TcpEnds, at: number, headerBytes: number, length: number, sequence: number, acknowledgment: number, flags: number, window: number): void {
  const bytes = output.buffer;
  write16(bytes, at, ends.remotePort);
  write16(bytes, at + 2, ends.guestPort);
  write32(bytes, at + 4, sequence);
  write32(bytes, at + 8, acknowledgment);
  bytes[at + 12] = (headerBytes / 4) << 4;
  bytes[at + 13] = flags;
  write16(bytes, at + 14, window);
  write32(bytes, at + 16, 0);
  write16(bytes, at + 16, checksum(bytes, at, at + length, pseudoHeaderSum(ends.remoteAddress, ends.guestAddress, IpProtocol.tcp, length)));
  output.end();
}

/** Writes the timestamps option; returns where the next one belongs. */
export function putTimestamps(bytes: Uint8Array, at: number, value: number, echo: number): number {
  write32(bytes, at, timestampsWord);
  write32(bytes, at + 4, value);
  write32(bytes, at + 8, echo);
  return at + timestampsBytes;
}

/** Two "none" and a SACK option with `count` blocks, which are written behind what this returns (RFC 2018, 3). */
export function putSackHeader(bytes: Uint8Array, at: number, count: number): number {
  write16(bytes, at, 0x0101);
  bytes[at + 2] = 5;
  bytes[at + 3] = 2 + 8 * count;
  return at + 4;
}

/**
 * Answers a segment that belongs to no connection with a reset, so that its sender stops (RFC 9293, 3.10.7.1). A reset is
 * never answered.
 */
export function sendResetFor(output: IpOutput, ends: TcpEnds, segment: ArrivedSegment): void {
  if (segment.has(TcpFlag.rst)) return;
  if (segment.has(TcpFlag.ack)) {
    sendBare(output, ends, { sequence: segment.acknowledgment, acknowledgment: 0, flags: TcpFlag.rst, window: 0 });
  } else {
    sendBare(output, ends, { sequence: 0, acknowledgment: (segment.sequence + segment.length) >>> 0, flags: TcpFlag.rst | TcpFlag.ack, window: 0 });
  }
}
