import { writeMac, write32, type Ipv4Address, type MacNumber } from "../wire/addresses";

/*
 * Requests to the kernel about interfaces, addresses and routes (rtnetlink(7)). Numbers are in the processor's order, the
 * low byte first, but for addresses, which are as on the wire.
 */

export const netlinkFamily = 16;
export const routeProtocol = 0;

const Request = { request: 0x1, acknowledge: 0x4, replace: 0x100, exclusive: 0x200, create: 0x400 } as const;
const MessageType = { error: 2, newLink: 16, newAddress: 20, newRoute: 24, deleteRoute: 25 } as const;
const LinkAttribute = { address: 1, mtu: 4, master: 10, families: 26 } as const;
const AddressAttribute = { address: 1, local: 2, broadcast: 4 } as const;
const RouteAttribute = { destination: 1, outInterface: 4, preferredSource: 7 } as const;
const inet = 2;
const inet6 = 10;
const inet6AddressMode = 8;
const noAddressMode = 1;
const inetSettings = 1;
const inetForwarding = 1;
const interfaceUp = 1;
const mainTable = 254;
const byHand = 4;
const linkScope = 253;
const unicast = 1;

const headerBytes = 16;

/** Collects one message. 256 bytes hold any of them. */
class Message {
  readonly bytes = new Uint8Array(256);
  private readonly view = new DataView(this.bytes.buffer);
  private at = headerBytes;

  u8(value: number): this {
    this.view.setUint8(this.at++, value);
    return this;
  }

  u16(value: number): this {
    this.view.setUint16(this.at, value, true);
    this.at += 2;
    return this;
  }

  u32(value: number): this {
    this.view.setUint32(this.at, value, true);
    this.at += 4;
    return this;
  }

  /** An attribute: its length, its type, and what `content` puts in; then up to a multiple of four. */
  attribute(type: number, content: (message: this) => void): this {
    const start = this.at;
    this.u16(0).u16(type);
    content(this);
    this.view.setUint16(start, this.at - start, true);
    this.at = (this.at + 3) & ~3;
    return this;
  }

  ipv4(type: number, address: Ipv4Address): this {
    return this.attribute(type, () => {
      write32(this.bytes, this.at, address);
      this.at += 4;
    });
  }

  mac(type: number, mac: MacNumber): this {
    return this.attribute(type, () => {
      writeMac(this.bytes, this.at, mac);
      this.at += 6;
    });
  }

  finish(type: number, flags: number): Uint8Array {
    this.view.setUint32(0, this.at, true);
    this.view.setUint16(4, type, true);
    this.view.setUint16(6, Request.request | Request.acknowledge | flags, true);
    return this.bytes.subarray(0, this.at);
  }
}

export interface LinkSettings {
  readonly mac?: MacNumber;
  readonly mtu?: number;
  /** The index of the bridge that it becomes a port of. */
  readonly bridge?: number;
  /** Without IPv6 addresses that it makes up by itself. */
  readonly withoutIpv6?: boolean;
  /** What comes in by it is for the host alone, also where the host forwards packets between its other networks. */
  readonly withoutForwarding?: boolean;
  readonly up?: boolean;
}

/** Changes an interface. */
export function setLink(index: number, settings: LinkSettings): Uint8Array {
  const message = new Message();
  const up = settings.up === true ? interfaceUp : 0;
  // struct ifinfomsg: family, padding, type, index, flags, which flags change
  message.u8(0).u8(0).u16(0).u32(index).u32(up).u32(up);
  const { mac, mtu, bridge } = settings;
  if (mac !== undefined) message.mac(LinkAttribute.address, mac);
  if (mtu !== undefined) message.attribute(LinkAttribute.mtu, (it) => it.u32(mtu));
  if (bridge !== undefined) message.attribute(LinkAttribute.master, (it) => it.u32(bridge));
  if (settings.withoutIpv6 === true) message.attribute(LinkAttribute.families, (it) => it.attribute(inet6, (family) => family.attribute(inet6AddressMode, (mode) => mode.u8(noAddressMode))));
  // IFLA_INET_CONF (if_link.h): each attribute is a setting of IPv4 on the interface, as in /proc/sys/net/ipv4/conf.
  if (settings.withoutForwarding === true) message.attribute(LinkAttribute.families, (it) => it.attribute(inet, (family) => family.attribute(inetSettings, (all) => all.attribute(inetForwarding, (value) => value.u32(0)))));
  return message.finish(MessageType.newLink, 0);
}

/** Gives an interface an address. */
export function addAddress(index: number, address: Ipv4Address, prefix: number, broadcast: Ipv4Address): Uint8Array {
  const message = new Message();
  // struct ifaddrmsg: family, prefix, flags, scope (everywhere), index
  message.u8(inet).u8(prefix).u8(0).u8(0).u32(index);
  return message.ipv4(AddressAttribute.local, address).ipv4(AddressAttribute.address, address).ipv4(AddressAttribute.broadcast, broadcast).finish(MessageType.newAddress, Request.create | Request.exclusive);
}

/** A route to a single address that is right on the interface, for packets from `source` where they may choose. */
export function hostRoute(index: number, address: Ipv4Address, source: Ipv4Address, there: boolean): Uint8Array {
  const message = new Message();
  // struct rtmsg: family, destination and source prefix, service, table, protocol, scope, type, flags
  message.u8(inet).u8(32).u8(0).u8(0).u8(mainTable).u8(byHand).u8(linkScope).u8(unicast).u32(0);
  message.ipv4(RouteAttribute.destination, address).attribute(RouteAttribute.outInterface, (it) => it.u32(index));
  // Only a route that is made may name a source; one that goes is meant whatever its source was.
  if (there) message.ipv4(RouteAttribute.preferredSource, source);
  return there ? message.finish(MessageType.newRoute, Request.create | Request.exclusive) : message.finish(MessageType.deleteRoute, 0);
}

/** What the kernel says to a request: 0 when it was done, else the negative number of the failure. */
export function acknowledgement(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < headerBytes + 4 || view.getUint16(4, true) !== MessageType.error) return undefined;
  return view.getInt32(headerBytes, true);
}
