import { read16, read32, readMac, subnetMask, write16, write32, writeMac, type Ipv4Address, type MacNumber, type Subnet } from "./addresses";

/** DHCP (RFC 2131) and its options (RFC 2132, RFC 3396 for long ones, RFC 3442 for routes). */
export const DhcpPort = { server: 67, client: 68 } as const;

/** Which way a message goes. */
export const DhcpOperation = { request: 1, reply: 2 } as const;

/** RFC 2132, 9.6. */
export const DhcpType = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;

export const DhcpOption = {
  pad: 0,
  subnetMask: 1,
  routers: 3,
  dnsServers: 6,
  hostname: 12,
  domain: 15,
  mtu: 26,
  requestedAddress: 50,
  leaseSeconds: 51,
  overload: 52,
  type: 53,
  server: 54,
  wanted: 55,
  text: 56,
  maxMessage: 57,
  renewalSeconds: 58,
  rebindingSeconds: 59,
  clientIdentifier: 61,
  routes: 121,
  end: 255,
} as const;

/** The options we know, each as what it means. Unknown ones, and those of a wrong length, are left out. */
export interface DhcpOptions {
  readonly subnetMask?: number | undefined;
  readonly routers?: readonly Ipv4Address[] | undefined;
  readonly dnsServers?: readonly Ipv4Address[] | undefined;
  /** Any bytes, as Latin-1: nothing is said about what is in it. */
  readonly hostname?: string | undefined;
  readonly domain?: string | undefined;
  readonly mtu?: number | undefined;
  readonly requestedAddress?: Ipv4Address | undefined;
  readonly leaseSeconds?: number | undefined;
  /** The address of the server that is meant, or answers. */
  readonly server?: Ipv4Address | undefined;
  /** The codes of the options that the client asks for. */
  readonly wanted?: readonly number[] | undefined;
  /** Why a request was refused, for people. */
  readonly text?: string | undefined;
  /** The longest message the client takes, bytes with IP and UDP header. */
  readonly maxMessage?: number | undefined;
  readonly renewalSeconds?: number | undefined;
  readonly rebindingSeconds?: number | undefined;
  /** Hexadecimal: it means nothing but itself. */
  readonly clientIdentifier?: string | undefined;
  readonly routes?: readonly DhcpRoute[] | undefined;
}

export interface DhcpRoute {
  readonly to: Subnet;
  readonly router: Ipv4Address;
}

export interface DhcpMessage {
  readonly operation: number;
  /** RFC 2132, 9.6: `DhcpType`. */
  readonly type: number;
  readonly transaction: number;
  /** How long the client has been trying. */
  readonly seconds: number;
  /** The client cannot take a packet to its address yet. */
  readonly broadcast: boolean;
  /** The address the client has and answers ARP for (ciaddr). */
  readonly clientAddress: Ipv4Address;
  /** The address it is given (yiaddr). */
  readonly yourAddress: Ipv4Address;
  /** Of a server to boot from (siaddr). */
  readonly nextServer: Ipv4Address;
  /** giaddr. */
  readonly relay: Ipv4Address;
  readonly clientMac: MacNumber;
  readonly options: DhcpOptions;
}

const headerBytes = 236;
const cookie = 0x6382_5363;
const optionsAt = headerBytes + 4;
const sname = { at: 44, end: 108 };
const file = { at: 108, end: 236 };
const broadcastFlag = 0x8000;

/** The shortest message that every client takes: BOOTP's (RFC 951, 3; RFC 1542, 2.1). */
export const minDhcpBytes = 300;

/**
 * The message in [at, end); undefined when it is too short, about other hardware than Ethernet, or has no type (BOOTP).
 * An option that is cut off ends its field.
 */
export function readDhcp(bytes: Uint8Array, at: number, end: number): DhcpMessage | undefined {
  if (end - at < optionsAt || bytes[at + 1] !== 1 || bytes[at + 2] !== 6 || read32(bytes, at + headerBytes) !== cookie) return undefined;
  const found = new Map<number, number[]>();
  collect(bytes, at + optionsAt, end, found);
  // RFC 2131, 4.1: the options go on in `file`, then in `sname`, when the overload option says so.
  const overload = found.get(DhcpOption.overload)?.[0] ?? 0;
  if ((overload & 1) !== 0) collect(bytes, at + file.at, at + file.end, found);
  if ((overload & 2) !== 0) collect(bytes, at + sname.at, at + sname.end, found);
  const type = single(found, DhcpOption.type, 1);
  if (type === undefined) return undefined;
  return {
    operation: bytes[at] ?? 0,
    type,
    transaction: read32(bytes, at + 4),
    seconds: read16(bytes, at + 8),
    broadcast: (read16(bytes, at + 10) & broadcastFlag) !== 0,
    clientAddress: read32(bytes, at + 12),
    yourAddress: read32(bytes, at + 16),
    nextServer: read32(bytes, at + 20),
    relay: read32(bytes, at + 24),
    clientMac: readMac(bytes, at + 28),
    options: meaning(found),
  };
}

/** Options by their code; the parts of one that comes several times belong together (RFC 3396, 7). */
function collect(bytes: Uint8Array, from: number, end: number, found: Map<number, number[]>): void {
  for (let at = from; at < end; ) {
    const code = bytes[at] ?? 0;
    if (code === DhcpOption.end) return;
    if (code === DhcpOption.pad) {
      at++;
      continue;
    }
    if (at + 2 > end) return;
    const next = at + 2 + (bytes[at + 1] ?? 0);
    if (next > end) return;
    if (knownCodes.has(code)) {
      const data = found.get(code) ?? [];
      for (let index = at + 2; index < next; index++) data.push(bytes[index] ?? 0);
      found.set(code, data);
    }
    at = next;
  }
}

const knownCodes: ReadonlySet<number> = new Set(Object.values(DhcpOption));

function meaning(found: ReadonlyMap<number, number[]>): DhcpOptions {
  return {
    subnetMask: single(found, DhcpOption.subnetMask, 4),
    routers: addresses(found, DhcpOption.routers),
    dnsServers: addresses(found, DhcpOption.dnsServers),
    hostname: text(found, DhcpOption.hostname),
    domain: text(found, DhcpOption.domain),
    mtu: single(found, DhcpOption.mtu, 2),
    requestedAddress: single(found, DhcpOption.requestedAddress, 4),
    leaseSeconds: single(found, DhcpOption.leaseSeconds, 4),
    server: single(found, DhcpOption.server, 4),
    wanted: found.get(DhcpOption.wanted),
    text: text(found, DhcpOption.text),
    maxMessage: single(found, DhcpOption.maxMessage, 2),
    renewalSeconds: single(found, DhcpOption.renewalSeconds, 4),
    rebindingSeconds: single(found, DhcpOption.rebindingSeconds, 4),
    clientIdentifier: identifier(found),
    routes: routes(found),
  };
}

function single(found: ReadonlyMap<number, number[]>, code: number, length: number): number | undefined {
  const data = found.get(code);
  return data?.length === length ? data.reduce((value, byte) => value * 256 + byte, 0) : undefined;
}

function addresses(found: ReadonlyMap<number, number[]>, code: number): Ipv4Address[] | undefined {
  const data = found.get(code);
  if (data === undefined || data.length === 0 || data.length % 4 !== 0) return undefined;
  return Array.from({ length: data.length / 4 }, (_, index) => read32(Uint8Array.from(data.slice(index * 4, index * 4 + 4)), 0));
}

/** Some clients end texts with a zero (RFC 2132, 2). */
function text(found: ReadonlyMap<number, number[]>, code: number): string | undefined {
  const data = found.get(code);
  if (data === undefined) return undefined;
  const characters = data.map((byte) => String.fromCharCode(byte)).join("").replace(/\0+$/, "");
  return characters === "" ? undefined : characters;
}

/** RFC 2132, 9.14: at least two bytes. */
function identifier(found: ReadonlyMap<number, number[]>): string | undefined {
  const data = found.get(DhcpOption.clientIdentifier);
  return data === undefined || data.length < 2 ? undefined : data.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** RFC 3442: the prefix, as many bytes of the address as it covers, the router. */
function routes(found: ReadonlyMap<number, number[]>): DhcpRoute[] | undefined {
  const data = found.get(DhcpOption.routes);
  if (data === undefined) return undefined;
  const list: DhcpRoute[] = [];
  for (let at = 0; at < data.length; ) {
    const prefix = data[at] ?? 0;
    const covered = Math.ceil(prefix / 8);
    if (prefix > 32 || at + 1 + covered + 4 > data.length) return undefined;
    const base = Uint8Array.of(0, 0, 0, 0);
    base.set(data.slice(at + 1, at + 1 + covered));
    list.push({ to: { base: (read32(base, 0) & subnetMask(prefix)) >>> 0, prefix }, router: read32(Uint8Array.from(data.slice(at + 1 + covered, at + 5 + covered)), 0) });
    at += 5 + covered;
  }
  return list.length > 0 ? list : undefined;
}

/**
 * Writes the message into [at, end) and returns where it ends: at least `minDhcpBytes` long. Options that do not fit any
 * more are left out, those a client can best do without first. There must be room for `minDhcpBytes`.
 */
export function writeDhcp(bytes: Uint8Array, at: number, end: number, message: DhcpMessage): number {
  bytes.fill(0, at, at + minDhcpBytes);
  bytes[at] = message.operation;
  bytes[at + 1] = 1;
  bytes[at + 2] = 6;
  write32(bytes, at + 4, message.transaction);
  write16(bytes, at + 8, message.seconds);
  write16(bytes, at + 10, message.broadcast ? broadcastFlag : 0);
  write32(bytes, at + 12, message.clientAddress);
  write32(bytes, at + 16, message.yourAddress);
  write32(bytes, at + 20, message.nextServer);
  write32(bytes, at + 24, message.relay);
  writeMac(bytes, at + 28, message.clientMac);
  write32(bytes, at + headerBytes, cookie);
  let position = at + optionsAt;
  for (const [code, data] of encoded(message)) {
    // RFC 3396, 5: what is longer than 255 bytes goes into several options of the same code.
    const pieces = Math.max(1, Math.ceil(data.length / 255));
    if (position + data.length + 2 * pieces + 1 > end) continue;
    for (let piece = 0; piece < pieces; piece++) {
      const part = data.slice(piece * 255, piece * 255 + 255);
      bytes[position] = code;
      bytes[position + 1] = part.length;
      bytes.set(part, position + 2);
      position += 2 + part.length;
    }
  }
  bytes[position++] = DhcpOption.end;
  return Math.max(position, at + minDhcpBytes);
}

/** What a client needs most comes first. */
function encoded({ type, options }: DhcpMessage): [code: number, data: number[]][] {
  const list: [number, number[] | undefined][] = [
    [DhcpOption.type, [type]],
    [DhcpOption.server, quad(options.server)],
    [DhcpOption.leaseSeconds, quad(options.leaseSeconds)],
    [DhcpOption.requestedAddress, quad(options.requestedAddress)],
    [DhcpOption.clientIdentifier, options.clientIdentifier?.match(/../g)?.map((pair) => parseInt(pair, 16))],
    [DhcpOption.subnetMask, quad(options.subnetMask)],
    [DhcpOption.routers, options.routers?.flatMap((address) => quad(address) ?? [])],
    [DhcpOption.dnsServers, options.dnsServers?.flatMap((address) => quad(address) ?? [])],
    [DhcpOption.mtu, pair(options.mtu)],
    [DhcpOption.renewalSeconds, quad(options.renewalSeconds)],
    [DhcpOption.rebindingSeconds, quad(options.rebindingSeconds)],
    [DhcpOption.maxMessage, pair(options.maxMessage)],
    [DhcpOption.wanted, options.wanted && [...options.wanted]],
    [DhcpOption.hostname, characters(options.hostname)],
    [DhcpOption.domain, characters(options.domain)],
    [DhcpOption.routes, options.routes?.flatMap(({ to, router }) => [to.prefix, ...(quad(to.base) ?? []).slice(0, Math.ceil(to.prefix / 8)), ...(quad(router) ?? [])])],
    [DhcpOption.text, characters(options.text)],
  ];
  return list.flatMap(([code, data]) => (data === undefined || data.length === 0 ? [] : [[code, data]]));
}

function quad(value: number | undefined): number[] | undefined {
  return value === undefined ? undefined : [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

function pair(value: number | undefined): number[] | undefined {
  return value === undefined ? undefined : [value >>> 8, value & 255];
}

function characters(value: string | undefined): number[] | undefined {
  return value === undefined ? undefined : Array.from(value, (character) => character.charCodeAt(0) & 255);
}
