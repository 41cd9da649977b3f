import { broadcastMac, parseIpv4, type Ipv4Address, type MacNumber } from "../../../core/net/wire/addresses";
import { arpBytes, readArp, writeArp, type ArpPacket } from "../../../core/net/wire/arp";
import { EtherType, ethernetHeaderBytes, readEthernet, writeEthernet, type EthernetHeader } from "../../../core/net/wire/ethernet";
import { icmpHeaderBytes, readIcmp, writeIcmp } from "../../../core/net/wire/icmp";
import { IpProtocol, ipv4HeaderBytes, readIpv4, writeIpv4, type Ipv4Fields, type Ipv4Packet } from "../../../core/net/wire/ipv4";
import { readUdp, udpHeaderBytes, writeUdp } from "../../../core/net/wire/udp";

/** An address from its text, for tests. */
export function ip(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export interface Station {
  readonly mac: MacNumber;
  readonly address: Ipv4Address;
}

/** Frames as a guest would send them, and what came back, taken apart. */
export function arpFrame(from: MacNumber, to: MacNumber, packet: ArpPacket): Uint8Array {
  const frame = new Uint8Array(ethernetHeaderBytes + arpBytes);
  writeEthernet(frame, 0, { destination: to, source: from, type: EtherType.arp });
  writeArp(frame, ethernetHeaderBytes, packet);
  return frame;
}

export function arpRequest(from: Station, target: Ipv4Address): Uint8Array {
  return arpFrame(from.mac, broadcastMac, { operation: 1, senderMac: from.mac, senderAddress: from.address, targetMac: 0, targetAddress: target });
}

export function ipv4Frame(from: MacNumber, to: MacNumber, fields: Omit<Ipv4Fields, "length" | "ttl"> & { readonly ttl?: number }, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ethernetHeaderBytes + ipv4HeaderBytes + payload.length);
  writeEthernet(frame, 0, { destination: to, source: from, type: EtherType.ipv4 });
  writeIpv4(frame, ethernetHeaderBytes, { ttl: 64, ...fields, length: payload.length });
  frame.set(payload, ethernetHeaderBytes + ipv4HeaderBytes);
  return frame;
}

export function udpPayload(source: Ipv4Address, destination: Ipv4Address, sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(udpHeaderBytes + payload.length);
  datagram.set(payload, udpHeaderBytes);
  writeUdp(datagram, 0, datagram.length, source, destination, sourcePort, destinationPort);
  return datagram;
}

export function udpFrame(from: Station, fromPort: number, to: Station, toPort: number, payload: Uint8Array, ttl = 64): Uint8Array {
  return ipv4Frame(from.mac, to.mac, { source: from.address, destination: to.address, protocol: IpProtocol.udp, ttl }, udpPayload(from.address, to.address, fromPort, toPort, payload));
}

export function icmpPayload(type: number, code: number, rest: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(icmpHeaderBytes + payload.length);
  message.set(payload, icmpHeaderBytes);
  writeIcmp(message, 0, message.length, type, code, rest);
  return message;
}

export function echoFrame(from: Station, to: Station, identifier: number, sequence: number, payload: Uint8Array, ttl = 64): Uint8Array {
  return ipv4Frame(from.mac, to.mac, { source: from.address, destination: to.address, protocol: IpProtocol.icmp, ttl }, icmpPayload(8, 0, identifier * 0x1_0000 + sequence, payload));
}

export interface ReadFrame {
  readonly ethernet: EthernetHeader;
  readonly arp?: ArpPacket;
  readonly ipv4?: Ipv4Packet;
  readonly udp?: { readonly sourcePort: number; readonly destinationPort: number; readonly payload: Uint8Array };
  readonly icmp?: { readonly type: number; readonly code: number; readonly rest: number; readonly payload: Uint8Array };
}

/** @throws Error for a frame that is not right: what we send has to be. */
export function readFrame(frame: Uint8Array): ReadFrame {
  const ethernet = readEthernet(frame, 0, frame.length);
  if (ethernet === undefined) throw new Error("too short for a frame");
  if (ethernet.type === EtherType.arp) {
    const arp = readArp(frame, ethernetHeaderBytes, frame.length);
    if (arp === undefined) throw new Error("a wrong ARP packet");
    return { ethernet, arp };
  }
  if (ethernet.type !== EtherType.ipv4) return { ethernet };
  const ipv4 = readIpv4(frame, ethernetHeaderBytes, frame.length);
  if (typeof ipv4 === "string") throw new Error(`a wrong IPv4 packet: ${ipv4}`);
  if (ipv4.moreFragments || ipv4.fragmentOffset > 0) return { ethernet, ipv4 };
  if (ipv4.protocol === IpProtocol.udp) {
    const datagram = readUdp(frame, ipv4.payload, ipv4.end);
    if (datagram === undefined) throw new Error("a wrong UDP datagram");
    return { ethernet, ipv4, udp: { ...datagram, payload: frame.slice(datagram.payload, datagram.end) } };
  }
  if (ipv4.protocol === IpProtocol.icmp) {
    const message = readIcmp(frame, ipv4.payload, ipv4.end);
    if (message === undefined) throw new Error("a wrong ICMP message");
    return { ethernet, ipv4, icmp: { ...message, payload: frame.slice(message.payload, message.end) } };
  }
  return { ethernet, ipv4 };
}
