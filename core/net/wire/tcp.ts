import { read16, read32, write16, write32, type Ipv4Address } from "./addresses";
import { checksum, pseudoHeaderSum } from "./checksum";
import { IpProtocol } from "./ipv4";

/** TCP segments (RFC 9293, 3.1), with the options of RFC 7323 (window scale, timestamps) and RFC 2018 (SACK). */
export const tcpHeaderBytes = 20;

export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

const Option = { end: 0, none: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5, timestamps: 8 } as const;

export interface TcpOptions {
  readonly mss?: number | undefined;
  /** A shift of 0 to 14 (RFC 7323, 2.3). */
  readonly windowScale?: number | undefined;
  readonly sackPermitted?: boolean | undefined;
  /** Pairs of left and right edges. */
  readonly sack?: readonly (readonly [left: number, right: number])[] | undefined;
  readonly timestamps?: { readonly value: number; readonly echo: number } | undefined;
}

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  /** As in the header, not scaled. */
  readonly window: number;
  readonly options: TcpOptions;
  readonly payload: number;
  readonly end: number;
}

/** The segment in [at, end); undefined when its lengths are wrong. Its checksum is not verified: see `tcpChecksumHolds`. */
export function readTcp(bytes: Uint8Array, at: number, end: number): TcpSegment | undefined {
  if (end - at < tcpHeaderBytes) return undefined;
  const headerBytes = ((bytes[at + 12] ?? 0) >>> 4) * 4;
  if (headerBytes < tcpHeaderBytes || headerBytes > end - at) return undefined;
  return {
    sourcePort: read16(bytes, at),
    destinationPort: read16(bytes, at + 2),
    sequence: read32(bytes, at + 4),
    acknowledgment: read32(bytes, at + 8),
    flags: bytes[at + 13] ?? 0,
    window: read16(bytes, at + 14),
    options: headerBytes === tcpHeaderBytes ? noOptions : readOptions(bytes, at + tcpHeaderBytes, at + headerBytes),
    payload: at + headerBytes,
    end,
  };
}

const noOptions: TcpOptions = {};

/** Options that are cut off or have a wrong length end the list, as senders in the field expect; unknown ones are skipped. */
function readOptions(bytes: Uint8Array, from: number, end: number): TcpOptions {
  const options: { -readonly [K in keyof TcpOptions]: TcpOptions[K] } = {};
  for (let at = from; at < end; ) {
    const kind = bytes[at] ?? 0;
    if (kind === Option.end) break;
    if (kind === Option.none) {
      at++;
      continue;
    }
    const length = at + 1 < end ? (bytes[at + 1] ?? 0) : 0;
    if (length < 2 || at + length > end) break;
    if (kind === Option.mss && length === 4) options.mss = read16(bytes, at + 2);
    else if (kind === Option.windowScale && length === 3) options.windowScale = Math.min(bytes[at + 2] ?? 0, maxWindowScale);
    else if (kind === Option.sackPermitted && length === 2) options.sackPermitted = true;
    else if (kind === Option.sack && length > 2 && (length - 2) % 8 === 0) options.sack = readSack(bytes, at + 2, at + length);
    else if (kind === Option.timestamps && length === 10) options.timestamps = { value: read32(bytes, at + 2), echo: read32(bytes, at + 6) };
    at += length;
  }
  return options;
}

export const maxWindowScale = 14;

function readSack(bytes: Uint8Array, from: number, end: number): [number, number][] {
  const blocks: [number, number][] = [];
  for (let at = from; at + 8 <= end; at += 8) blocks.push([read32(bytes, at), read32(bytes, at + 4)]);
  return blocks;
}

/** The longest header there can be: its length counts words, in four bits. */
const maxTcpHeaderBytes = 60;

/** How many bytes the header takes with these options, a multiple of four. SACK blocks that do not fit beside the others are left out: three fit beside timestamps. */
export function tcpHeaderLength(options: TcpOptions): number {
  const blocks = sackBlocksThatFit(options);
  return otherOptionsEnd(options) + (blocks > 0 ? 4 + 8 * blocks : 0);
}

/** Where options other than SACK end, counted from the begin of the header. */
function otherOptionsEnd(options: TcpOptions): number {
  let length = tcpHeaderBytes;
  if (options.mss !== undefined) length += 4;
  if (options.windowScale !== undefined) length += 4;
  if (options.sackPermitted) length += 4;
  if (options.timestamps !== undefined) length += 12;
  return length;
}

function sackBlocksThatFit(options: TcpOptions): number {
  if (options.sack === undefined) return 0;
  return Math.min(options.sack.length, (maxTcpHeaderBytes - otherOptionsEnd(options) - 4) >>> 3);
}

/** What a header is written from. */
export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly options?: TcpOptions;
}

/** Writes the header in front of a payload that is in its place already (behind `tcpHeaderLength` bytes): the segment is [at, end). */
export function writeTcp(bytes: Uint8Array, at: number, end: number, source: Ipv4Address, destination: Ipv4Address, fields: TcpFields): void {
  const options = fields.options ?? noOptions;
  write16(bytes, at, fields.sourcePort);
  write16(bytes, at + 2, fields.destinationPort);
  write32(bytes, at + 4, fields.sequence);
  write32(bytes, at + 8, fields.acknowledgment);
  bytes[at + 12] = (tcpHeaderLength(options) / 4) << 4;
  bytes[at + 13] = fields.flags;
  write16(bytes, at + 14, fields.window);
  write16(bytes, at + 16, 0);
  write16(bytes, at + 18, 0);
  if (options !== noOptions) writeOptions(bytes, at + tcpHeaderBytes, options);
  write16(bytes, at + 16, checksum(bytes, at, end, pseudoHeaderSum(source, destination, IpProtocol.tcp, end - at)));
}

/** Each padded with "none" in front to whole words, so that the numbers in them are aligned. */
function writeOptions(bytes: Uint8Array, from: number, options: TcpOptions): void {
  let at = from;
  if (options.mss !== undefined) {
    write16(bytes, at, (Option.mss << 8) | 4);
    write16(bytes, at + 2, options.mss);
    at += 4;
  }
  if (options.windowScale !== undefined) {
    write16(bytes, at, (Option.none << 8) | Option.windowScale);
    write16(bytes, at + 2, (3 << 8) | options.windowScale);
    at += 4;
  }
  if (options.sackPermitted) {
    write16(bytes, at, (Option.none << 8) | Option.none);
    write16(bytes, at + 2, (Option.sackPermitted << 8) | 2);
    at += 4;
  }
  if (options.timestamps !== undefined) {
    write16(bytes, at, (Option.none << 8) | Option.none);
    write16(bytes, at + 2, (Option.timestamps << 8) | 10);
    write32(bytes, at + 4, options.timestamps.value);
    write32(bytes, at + 8, options.timestamps.echo);
    at += 12;
  }
  const blocks = sackBlocksThatFit(options);
  if (blocks === 0 || options.sack === undefined) return;
  write16(bytes, at, (Option.none << 8) | Option.none);
  write16(bytes, at + 2, (Option.sack << 8) | (2 + 8 * blocks));
  at += 4;
  for (const [left, right] of options.sack.slice(0, blocks)) {
    write32(bytes, at, left);
    write32(bytes, at + 4, right);
    at += 8;
  }
}

export function tcpChecksumHolds(bytes: Uint8Array, at: number, end: number, source: Ipv4Address, destination: Ipv4Address): boolean {
  return checksum(bytes, at, end, pseudoHeaderSum(source, destination, IpProtocol.tcp, end - at)) === 0;
}

/** Whether `one` comes before `other` in the circle of sequence numbers (RFC 9293, 3.4). */
export function sequenceBefore(one: number, other: number): boolean {
  return ((one - other) | 0) < 0;
}

/** `sequence + count`, in the circle. */
export function sequenceAdd(sequence: number, count: number): number {
  return (sequence + count) >>> 0;
}

/** How many bytes lie from `from` to `to`; negative when `to` comes first. */
export function sequenceDistance(from: number, to: number): number {
  return (to - from) | 0;
}
