import { read16, read32, write16, write32 } from "../wire/addresses";
import { addBytes, checksum, finish, pseudoHeaderSum } from "../wire/checksum";
import { EtherType, ethernetHeaderBytes } from "../wire/ethernet";
import { IpProtocol, ipv4HeaderBytes } from "../wire/ipv4";

/*
 * What a card was to do and did not, because the frame was taken before it got there, or after the card had put several
 * frames into one: checksums that are not finished, segments that are still one, VLAN tags beside the frame. The kernel
 * tells in a virtio header (virtio 1.2, 5.1.6) in front of each frame. What comes out is what would be on the wire.
 */

/** Little-endian: flags 1, kind 1, header length 2, segment length 2, where the checksum begins 2, where it belongs 2. */
export const offloadHeaderBytes = 10;

const needsChecksum = 1;
const Kind = { none: 0, tcp4: 1, udp: 3, tcp6: 4, udpSegments: 5, explicitCongestion: 0x80 } as const;
const tcpFlagsAt = 13;
const TcpFlag = { fin: 0x01, push: 0x08, reduced: 0x80 } as const;
const ipv6HeaderBytes = 40;
const macsBytes = 12;
export const vlanTagBytes = 4;

/** Says in front of a TCP packet over IPv4 that it is to be cut, and that its checksum is not finished. */
export function writeOffloadHeader(bytes: Uint8Array, at: number, cut: { readonly headBytes: number; readonly segmentBytes: number; readonly checksumFrom: number; readonly checksumAt: number }): void {
  bytes[at] = needsChecksum;
  bytes[at + 1] = Kind.tcp4;
  writeLittle(bytes, at + 2, cut.headBytes);
  writeLittle(bytes, at + 4, cut.segmentBytes);
  writeLittle(bytes, at + 6, cut.checksumFrom);
  writeLittle(bytes, at + 8, cut.checksumAt);
}

/** Whether the frame behind this header is several in one. */
export function isToBeCut(bytes: Uint8Array, header: number): boolean {
  return bytes[header + 1] !== Kind.none;
}

/** A VLAN tag as it stands in a frame: its type (IEEE 802.1Q, 9.4) and its control information. */
export interface VlanTag {
  readonly type: number;
  readonly control: number;
}

/** Gives room for a frame of `length` bytes in `bytes` and returns where it begins. */
export interface FrameRoom {
  readonly bytes: Uint8Array;
  take(length: number): number;
}

/**
 * Puts what would be on the wire for one received frame into `room`: one frame or several. `header` is where the virtio
 * header begins, the frame is [at, end). Returns false, with nothing put anywhere, when what it is told makes no sense.
 */
export function finishFrame(bytes: Uint8Array, header: number, at: number, end: number, tag: VlanTag | undefined, room: FrameRoom): boolean {
  const kind = (bytes[header + 1] ?? 0) & ~Kind.explicitCongestion;
  if (kind === Kind.none) {
    if (((bytes[header] ?? 0) & needsChecksum) !== 0 && !finishChecksum(bytes, header, at, end)) return false;
    const tagBytes = tag ? vlanTagBytes : 0;
    copy(bytes, at, end, room, room.take(end - at + tagBytes), tag);
    return true;
  }
  return segment(bytes, header, at, end, kind, tag, room);
}

/** The field holds the sum over the pseudo-header; what follows is added, in place. */
function finishChecksum(bytes: Uint8Array, header: number, at: number, end: number): boolean {
  const begin = at + readLittle(bytes, header + 6);
  const field = begin + readLittle(bytes, header + 8);
  if (field + 2 > end) return false;
  const sum = checksum(bytes, begin, end);
  // A UDP checksum of zero means that there is none (RFC 768); to TCP both forms are the same.
  write16(bytes, field, sum === 0 ? 0xffff : sum);
  return true;
}

function copy(bytes: Uint8Array, at: number, end: number, room: FrameRoom, to: number, tag: VlanTag | undefined): void {
  if (!tag) {
    if (room.bytes === bytes && to === at) return;
    room.bytes.set(bytes.subarray(at, end), to);
    return;
  }
  room.bytes.set(bytes.subarray(at, at + macsBytes), to);
  write16(room.bytes, to + macsBytes, tag.type);
  write16(room.bytes, to + macsBytes + 2, tag.control);
  room.bytes.set(bytes.subarray(at + macsBytes, end), to + macsBytes + vlanTagBytes);
}

/** Where the headers of a packet that is to be cut are. */
interface Headers {
  readonly isIpv4: boolean;
  readonly ip: number;
  readonly transport: number;
  readonly payload: number;
}

function headersOf(bytes: Uint8Array, at: number, end: number, kind: number): Headers | undefined {
  let ip = at + ethernetHeaderBytes;
  // Tags that were not taken off stay in each segment.
  while (ip + vlanTagBytes <= end && (read16(bytes, ip - 2) === EtherType.vlan || read16(bytes, ip - 2) === 0x88a8)) ip += vlanTagBytes;
  const type = read16(bytes, ip - 2);
  const isIpv4 = type === EtherType.ipv4;
  if (!isIpv4 && type !== EtherType.ipv6) return undefined;
  const transport = ip + (isIpv4 ? ((bytes[ip] ?? 0) & 15) * 4 : ipv6HeaderBytes);
  const protocol = bytes[ip + (isIpv4 ? 9 : 6)] ?? 0;
  const isTcp = kind === Kind.tcp4 || kind === Kind.tcp6;
  if (protocol !== (isTcp ? IpProtocol.tcp : IpProtocol.udp)) return undefined;
  if (transport < ip + ipv4HeaderBytes || transport + 20 > end) return undefined;
  const payload = transport + (isTcp ? ((bytes[transport + 12] ?? 0) >>> 4) * 4 : 8);
  return payload < transport + 8 || (isTcp && payload < transport + 20) || payload >= end ? undefined : { isIpv4, ip, transport, payload };
}

/** Cuts a TCP packet (RFC 9293, 3.7.1), or a run of equally long datagrams, into those that it was made of. */
function segment(bytes: Uint8Array, header: number, at: number, end: number, kind: number, tag: VlanTag | undefined, room: FrameRoom): boolean {
  const isTcp = kind === Kind.tcp4 || kind === Kind.tcp6;
  if (!isTcp && kind !== Kind.udpSegments) return false;
  const size = readLittle(bytes, header + 4);
  const headers = headersOf(bytes, at, end, kind);
  // Smaller ones than any link has would make thousands of frames of one.
  if (!headers || size < 8) return false;
  const { isIpv4, ip, transport, payload } = headers;
  const tagBytes = tag ? vlanTagBytes : 0;
  const headLength = payload - at;
  const sequence = read32(bytes, transport + 4);
  const identification = read16(bytes, ip + 4);
  const flags = bytes[transport + tcpFlagsAt] ?? 0;
  for (let from = payload, index = 0; from < end; from += size, index++) {
    const to = Math.min(from + size, end);
    const start = room.take(headLength + tagBytes + to - from);
    copy(bytes, at, payload, room, start, tag);
    const out = room.bytes;
    const shift = start + tagBytes - at;
    out.set(bytes.subarray(from, to), payload + shift);
    const last = to === end;
    const segmentEnd = payload + shift + to - from;
    if (isTcp) {
      write32(out, transport + shift + 4, (sequence + from - payload) >>> 0);
      out[transport + shift + tcpFlagsAt] = flags & ~(last ? 0 : TcpFlag.fin | TcpFlag.push) & ~(index === 0 ? 0 : TcpFlag.reduced);
    } else {
      write16(out, transport + shift + 4, segmentEnd - transport - shift);
    }
    if (isIpv4) {
      write16(out, ip + shift + 2, segmentEnd - ip - shift);
      write16(out, ip + shift + 4, identification + index);
      write16(out, ip + shift + 10, 0);
      write16(out, ip + shift + 10, checksum(out, ip + shift, transport + shift));
    } else {
      write16(out, ip + shift + 4, segmentEnd - transport - shift);
    }
    transportChecksum(out, ip + shift, isIpv4, isTcp, transport + shift, segmentEnd);
  }
  return true;
}

function transportChecksum(bytes: Uint8Array, ip: number, isIpv4: boolean, isTcp: boolean, at: number, end: number): void {
  const field = at + (isTcp ? 16 : 6);
  const protocol = isTcp ? IpProtocol.tcp : IpProtocol.udp;
  write16(bytes, field, 0);
  // RFC 8200, 8.1: the pseudo-header of IPv6 has longer addresses, and is summed alike.
  const pseudo = isIpv4 ? pseudoHeaderSum(read32(bytes, ip + 12), read32(bytes, ip + 16), protocol, end - at) : addBytes(bytes, ip + 8, ip + ipv6HeaderBytes, protocol + (end - at));
  const sum = finish(addBytes(bytes, at, end, pseudo));
  write16(bytes, field, sum === 0 && !isTcp ? 0xffff : sum);
}

function readLittle(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

function writeLittle(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}
