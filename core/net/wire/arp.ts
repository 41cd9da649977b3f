import { read16, read32, readMac, write16, write32, writeMac, type Ipv4Address, type MacNumber } from "./addresses";
import { EtherType } from "./ethernet";

/** ARP for IPv4 over Ethernet (RFC 826). */
export const arpBytes = 28;
export const ArpOperation = { request: 1, reply: 2 } as const;

const hardwareEthernet = 1;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: MacNumber;
  readonly senderAddress: Ipv4Address;
  readonly targetMac: MacNumber;
  readonly targetAddress: Ipv4Address;
}

/** Undefined for what is too short or not about IPv4 over Ethernet. */
export function readArp(bytes: Uint8Array, at: number, end: number): ArpPacket | undefined {
  if (end - at < arpBytes) return undefined;
  if (read16(bytes, at) !== hardwareEthernet || read16(bytes, at + 2) !== EtherType.ipv4 || bytes[at + 4] !== 6 || bytes[at + 5] !== 4) return undefined;
  return {
    operation: read16(bytes, at + 6),
    senderMac: readMac(bytes, at + 8),
    senderAddress: read32(bytes, at + 14),
    targetMac: readMac(bytes, at + 18),
    targetAddress: read32(bytes, at + 24),
  };
}

export function writeArp(bytes: Uint8Array, at: number, packet: ArpPacket): void {
  write16(bytes, at, hardwareEthernet);
  write16(bytes, at + 2, EtherType.ipv4);
  bytes[at + 4] = 6;
  bytes[at + 5] = 4;
  write16(bytes, at + 6, packet.operation);
  writeMac(bytes, at + 8, packet.senderMac);
  write32(bytes, at + 14, packet.senderAddress);
  writeMac(bytes, at + 18, packet.targetMac);
  write32(bytes, at + 24, packet.targetAddress);
}
