/**
 * Addresses as numbers: an IPv4 address is an unsigned 32-bit number, a MAC address a whole number below 2^48. Numbers
 * compare and hash without making objects. All functions of `wire` take bytes with a position: `at` is where something
 * begins, `end` is behind its last byte.
 */
export type Ipv4Address = number;
export type MacNumber = number;

export const broadcastMac: MacNumber = 0xffff_ffff_ffff;
export const macBytes = 6;
export const anyIpv4: Ipv4Address = 0;
export const broadcastIpv4: Ipv4Address = 0xffff_ffff;

export function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function read32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

const twoTo32 = 2 ** 32;

export function readMac(bytes: Uint8Array, at: number): MacNumber {
  return read16(bytes, at) * twoTo32 + read32(bytes, at + 2);
}

export function writeMac(bytes: Uint8Array, at: number, mac: MacNumber): void {
  write16(bytes, at, Math.floor(mac / twoTo32));
  write32(bytes, at + 2, mac % twoTo32);
}

/** Broadcast and multicast addresses: the group bit of the first byte (IEEE 802, 8.2.2). */
export function isGroupMac(mac: MacNumber): boolean {
  return (Math.floor(mac / 2 ** 40) & 1) === 1;
}

/** Six hexadecimal pairs with colons; undefined for anything else. */
export function parseMac(text: string): MacNumber | undefined {
  return /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text) ? parseInt(text.replaceAll(":", ""), 16) : undefined;
}

export function formatMac(mac: MacNumber): string {
  return mac.toString(16).padStart(12, "0").replace(/(..)(?=.)/g, "$1:");
}

/** Four decimal numbers with dots, without leading zeros; undefined for anything else. */
export function parseIpv4(text: string): Ipv4Address | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

export function formatIpv4(address: Ipv4Address): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** 224.0.0.0/4 (RFC 5771). */
export function isMulticastIpv4(address: Ipv4Address): boolean {
  return address >>> 28 === 14;
}

/** 127.0.0.0/8 (RFC 1122, 3.2.1.3). */
export function isLoopbackIpv4(address: Ipv4Address): boolean {
  return address >>> 24 === 127;
}

/** A range of addresses: `base` has zeros behind its first `prefix` bits. */
export interface Subnet {
  readonly base: Ipv4Address;
  readonly prefix: number;
}

/** "10.9.0.0/24"; undefined when it is none or has bits set behind the prefix. */
export function parseSubnet(text: string): Subnet | undefined {
  const [address = "", bits = "", ...rest] = text.split("/");
  const base = parseIpv4(address);
  if (base === undefined || rest.length > 0 || !/^(0|[1-9]\d?)$/.test(bits) || Number(bits) > 32) return undefined;
  const prefix = Number(bits);
  return (base & subnetMask(prefix)) >>> 0 === base ? { base, prefix } : undefined;
}

export function formatSubnet({ base, prefix }: Subnet): string {
  return `${formatIpv4(base)}/${prefix}`;
}

export function subnetMask(prefix: number): number {
  return prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
}

export function inSubnet({ base, prefix }: Subnet, address: Ipv4Address): boolean {
  return (address & subnetMask(prefix)) >>> 0 === base;
}

export function subnetBroadcast({ base, prefix }: Subnet): Ipv4Address {
  return (base | ~subnetMask(prefix)) >>> 0;
}

export function subnetsOverlap(one: Subnet, other: Subnet): boolean {
  return one.prefix <= other.prefix ? inSubnet(one, other.base) : inSubnet(other, one.base);
}
