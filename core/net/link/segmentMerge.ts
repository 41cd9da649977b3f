import { read16, read32, write16 } from "../wire/addresses";
import { checksum, finish, pseudoHeaderSum } from "../wire/checksum";
import { EtherType, ethernetHeaderBytes } from "../wire/ethernet";
import { IpProtocol, ipv4HeaderBytes } from "../wire/ipv4";
import { tcpHeaderBytes, TcpFlag } from "../wire/tcp";
import { offloadHeaderBytes, writeOffloadHeader } from "./offload";

/*
 * The opposite of what offload.ts does: consecutive segments of one TCP stream become one packet that the kernel takes as
 * if it had come from a card that merges them, in one call instead of forty, and its stack handles once. Whoever passes
 * it on cuts it into the segments it was made of: only what that gives back is merged.
 *
 * So all of them have the same headers but for lengths, sequence numbers, identifications (which mean nothing where a
 * packet must not be fragmented: RFC 6864, 4.1) and a last PSH; all but the last have the same length; and their
 * checksums hold, as the kernel is told to make new ones.
 */

/** Where a frame begins behind its virtio header: on a good alignment. */
export const mergedFrameAt = 16;
const headerAt = mergedFrameAt - offloadHeaderBytes;

const ipAt = mergedFrameAt + ethernetHeaderBytes;
const tcpAt = ipAt + ipv4HeaderBytes;
const headersBytes = ethernetHeaderBytes + ipv4HeaderBytes + tcpHeaderBytes;
const mostPacketBytes = 65_535;
/** Small ones are not worth it, and would let many thousands be made of one. */
const leastSegmentBytes = 256;
const versionAndLength = 0x45;
const dontFragment = 0x4000;
const pushFlags = TcpFlag.ack | TcpFlag.psh;

/** One write to the kernel: [at, at + bytes) of the memory, virtio header first. */
export interface MergedWrite {
  readonly at: number;
  readonly bytes: number;
  /** How many frames it was made of, and their bytes. */
  readonly frames: number;
  readonly frameBytes: number;
}

/** Puts frames together for a descriptor that takes virtio headers. */
export class SegmentMerge {
  private frames = 0;
  private frameBytes = 0;
  /** Of the packet that they have become. */
  private used = 0;
  /** Whether another segment may follow. */
  private open = false;
  /** Of each segment but the last. */
  private segmentBytes = 0;
  /** Up to the payload. */
  private headBytes = 0;
  private nextSequence = 0;

  /** @param bytes holds the longest frame behind `mergedFrameAt` */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly write: (write: MergedWrite) => void,
  ) {}

  /** Takes a frame; those before it are written if it does not belong to them. */
  put(bytes: Uint8Array, at: number, end: number): void {
    if (this.open && this.append(bytes, at, end)) return;
    this.flush();
    this.bytes.set(bytes.subarray(at, end), mergedFrameAt);
    this.frames = 1;
    this.used = this.frameBytes = end - at;
    this.open = this.begins();
  }

  /** Writes what is there. */
  flush(): void {
    const { frames, frameBytes, used } = this;
    if (frames === 0) return;
    this.frames = 0;
    this.open = false;
    this.bytes.fill(0, headerAt, mergedFrameAt);
    if (frames > 1) this.describe();
    this.write({ at: headerAt, bytes: offloadHeaderBytes + used, frames, frameBytes });
  }

  /** Whether what is there is a segment that others may follow. Its checksums are looked at when one does. */
  private begins(): boolean {
    const { bytes, used } = this;
    if (used < headersBytes + leastSegmentBytes || read16(bytes, mergedFrameAt + 12) !== EtherType.ipv4) return false;
    if (bytes[ipAt] !== versionAndLength || bytes[ipAt + 9] !== IpProtocol.tcp || read16(bytes, ipAt + 6) !== dontFragment) return false;
    this.headBytes = tcpAt - mergedFrameAt + (bytes[tcpAt + 12]! >>> 4) * 4;
    this.segmentBytes = used - this.headBytes;
    this.nextSequence = (read32(bytes, tcpAt + 4) + this.segmentBytes) >>> 0;
    return this.headBytes >= headersBytes && this.segmentBytes >= leastSegmentBytes && bytes[tcpAt + 13] === TcpFlag.ack && read16(bytes, tcpAt + 18) === 0;
  }

  private append(bytes: Uint8Array, at: number, end: number): boolean {
    const { headBytes, segmentBytes, used } = this;
    const payload = end - at - headBytes;
    if (payload <= 0 || payload > segmentBytes || used - ethernetHeaderBytes + payload > mostPacketBytes) return false;
    const ip = at + ethernetHeaderBytes;
    const tcp = ip + ipv4HeaderBytes;
    const pushed = bytes[tcp + 13] === pushFlags;
    if (read32(bytes, tcp + 4) !== this.nextSequence || (!pushed && bytes[tcp + 13] !== TcpFlag.ack)) return false;
    if (!this.hasSameHeaders(bytes, at) || !checksumsHold(bytes, ip, end)) return false;
    if (this.frames === 1 && !checksumsHold(this.bytes, ipAt, mergedFrameAt + used)) return false;
    this.bytes.set(bytes.subarray(at + headBytes, end), mergedFrameAt + used);
    this.used += payload;
    this.frames++;
    this.frameBytes += end - at;
    this.nextSequence = (this.nextSequence + payload) >>> 0;
    if (pushed) this.bytes[tcpAt + 13] = pushFlags;
    this.open = !pushed && payload === segmentBytes;
    return true;
  }

  /** Everything in front of the payload but lengths, identification, checksums, sequence number and flags. */
  private hasSameHeaders(bytes: Uint8Array, at: number): boolean {
    const shift = at - mergedFrameAt;
    return (
      this.isSame(bytes, shift, mergedFrameAt, ipAt + 2) &&
      this.isSame(bytes, shift, ipAt + 6, ipAt + 10) &&
      this.isSame(bytes, shift, ipAt + 12, tcpAt + 4) &&
      this.isSame(bytes, shift, tcpAt + 8, tcpAt + 13) &&
      this.isSame(bytes, shift, tcpAt + 14, tcpAt + 16) &&
      this.isSame(bytes, shift, tcpAt + 18, mergedFrameAt + this.headBytes)
    );
  }

  private isSame(bytes: Uint8Array, shift: number, from: number, to: number): boolean {
    for (let position = from; position < to; position++) if (bytes[position + shift] !== this.bytes[position]) return false;
    return true;
  }

  /** Makes the headers those of one packet, and says in front how it is to be cut. */
  private describe(): void {
    const { bytes } = this;
    const length = this.used - ethernetHeaderBytes;
    write16(bytes, ipAt + 2, length);
    write16(bytes, ipAt + 10, 0);
    write16(bytes, ipAt + 10, checksum(bytes, ipAt, tcpAt));
    // The sum over the pseudo-header, not inverted: the rest is added by who cuts it, or nobody looks.
    const pseudo = pseudoHeaderSum(read32(bytes, ipAt + 12), read32(bytes, ipAt + 16), IpProtocol.tcp, length - ipv4HeaderBytes);
    write16(bytes, tcpAt + 16, ~finish(pseudo) & 0xffff);
    writeOffloadHeader(bytes, headerAt, { headBytes: this.headBytes, segmentBytes: this.segmentBytes, checksumFrom: tcpAt - mergedFrameAt, checksumAt: 16 });
  }
}

/** The packet fills [ip, end), and its checksums hold. */
function checksumsHold(bytes: Uint8Array, ip: number, end: number): boolean {
  const tcp = ip + ipv4HeaderBytes;
  if (read16(bytes, ip + 2) !== end - ip || checksum(bytes, ip, tcp) !== 0) return false;
  const pseudo = pseudoHeaderSum(read32(bytes, ip + 12), read32(bytes, ip + 16), IpProtocol.tcp, end - tcp);
  return checksum(bytes, tcp, end, pseudo) === 0;
}
