import { read16, readMac, write16, writeMac, type MacNumber } from "./addresses";

/** Ethernet II (IEEE 802.3, 3.2.6): two addresses and a type. No frame check sequence, no preamble. */
export const ethernetHeaderBytes = 14;

export const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;

export interface EthernetHeader {
  readonly destination: MacNumber;
  readonly source: MacNumber;
  /** Below 0x0600 it is a length (IEEE 802.3, 3.2.6). */
  readonly type: number;
}

/** The header of the frame in [at, end); undefined when it is too short for one. */
export function readEthernet(bytes: Uint8Array, at: number, end: number): EthernetHeader | undefined {
  if (end - at < ethernetHeaderBytes) return undefined;
  return { destination: readMac(bytes, at), source: readMac(bytes, at + 6), type: read16(bytes, at + 12) };
}

export function writeEthernet(bytes: Uint8Array, at: number, header: EthernetHeader): void {
  writeMac(bytes, at, header.destination);
  writeMac(bytes, at + 6, header.source);
  write16(bytes, at + 12, header.type);
}
