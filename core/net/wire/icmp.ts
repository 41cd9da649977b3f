import { read16, read32, write16, write32 } from "./addresses";
import { checksum } from "./checksum";

/** ICMP (RFC 792). */
export const icmpHeaderBytes = 8;

export const IcmpType = { echoReply: 0, unreachable: 3, echoRequest: 8, timeExceeded: 11, parameterProblem: 12 } as const;

/** Codes of `unreachable` (RFC 792, RFC 1812 5.2.7.1). */
export const Unreachable = { network: 0, host: 1, protocol: 2, port: 3, fragmentationNeeded: 4, prohibited: 13 } as const;

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** The second word: identifier and sequence of an echo, the MTU of "fragmentation needed" (RFC 1191). */
  readonly rest: number;
  readonly payload: number;
  readonly end: number;
}

/** The message in [at, end); undefined when it is too short or its checksum is wrong. */
export function readIcmp(bytes: Uint8Array, at: number, end: number): IcmpMessage | undefined {
  if (end - at < icmpHeaderBytes || checksum(bytes, at, end) !== 0) return undefined;
  return { type: bytes[at] ?? 0, code: bytes[at + 1] ?? 0, rest: read32(bytes, at + 4), payload: at + icmpHeaderBytes, end };
}

/** Writes the header in front of a payload that is in its place already: the message is [at, end). */
export function writeIcmp(bytes: Uint8Array, at: number, end: number, type: number, code: number, rest: number): void {
  bytes[at] = type;
  bytes[at + 1] = code;
  write16(bytes, at + 2, 0);
  write32(bytes, at + 4, rest);
  write16(bytes, at + 2, checksum(bytes, at, end));
}

export function echoIdentifier(rest: number): number {
  return rest >>> 16;
}

export function echoSequence(rest: number): number {
  return rest & 0xffff;
}

/** How much of the packet an error speaks of is quoted behind its IP header, bytes (RFC 792). */
export const quotedBytes = 8;

/** The identifier or source port that an error's quoted packet begins with, and the port behind it. */
export function quotedPorts(bytes: Uint8Array, at: number): { source: number; destination: number } {
  return { source: read16(bytes, at), destination: read16(bytes, at + 2) };
}
