import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { broadcastIpv4, broadcastMac, parseIpv4, type Ipv4Address } from "../../../core/net/wire/addresses";
import { ArpOperation, arpBytes, writeArp } from "../../../core/net/wire/arp";
import { DhcpOperation, DhcpType, writeDhcp, type DhcpMessage } from "../../../core/net/wire/dhcp";
import { DnsType, writeDns, type DnsFields } from "../../../core/net/wire/dns";
import { ethernetHeaderBytes, EtherType, writeEthernet } from "../../../core/net/wire/ethernet";
import { icmpHeaderBytes, IcmpType, Unreachable, writeIcmp } from "../../../core/net/wire/icmp";
import { IpProtocol, ipv4HeaderBytes, writeIpv4, type Ipv4Fields } from "../../../core/net/wire/ipv4";
import { TcpFlag, tcpHeaderLength, writeTcp, type TcpOptions } from "../../../core/net/wire/tcp";
import { udpHeaderBytes, writeUdp } from "../../../core/net/wire/udp";
import { useTemporaryFolder } from "../../support/temporaryFolder";
import { oursReads, tsharkReads } from "./dissection";

const guestMac = 0x525400123456;
const gatewayMac = 0x52550a000202;
const guest = ip("10.0.2.15");
const gateway = ip("10.0.2.2");
const outside = ip("203.0.113.9");

function ip(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(text);
  return address;
}

/** A frame around an IPv4 payload that `write` makes at its place. */
function frame(length: number, fields: Partial<Ipv4Fields>, write: (bytes: Uint8Array, at: number, end: number, from: Ipv4Address, to: Ipv4Address) => void): Uint8Array {
  const at = ethernetHeaderBytes + ipv4HeaderBytes;
  const bytes = new Uint8Array(at + length);
  const whole = { source: guest, destination: outside, protocol: IpProtocol.udp, ttl: 64, ...fields };
  writeEthernet(bytes, 0, { destination: gatewayMac, source: guestMac, type: EtherType.ipv4 });
  write(bytes, at, at + length, whole.source, whole.destination);
  writeIpv4(bytes, ethernetHeaderBytes, { ...whole, length });
  return bytes;
}

function datagram(payload: Uint8Array, sourcePort: number, destinationPort: number, fields: Partial<Ipv4Fields> = {}): Uint8Array {
  return frame(udpHeaderBytes + payload.length, fields, (bytes, at, end, from, to) => {
    bytes.set(payload, at + udpHeaderBytes);
    writeUdp(bytes, at, end, from, to, sourcePort, destinationPort);
  });
}

function segment(flags: number, options: TcpOptions, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const header = tcpHeaderLength(options);
  return frame(header + payload.length, { protocol: IpProtocol.tcp, service: 0x02 }, (bytes, at, end, from, to) => {
    bytes.set(payload, at + header);
    writeTcp(bytes, at, end, from, to, { sourcePort: 40_112, destinationPort: 443, sequence: 0xffff_fff0, acknowledgment: 0x8000_0001, flags, window: 65_535, options });
  });
}

function echo(type: number, code: number, rest: number, payload: Uint8Array): Uint8Array {
  return frame(icmpHeaderBytes + payload.length, { protocol: IpProtocol.icmp, identification: 0xfedc, dontFragment: true }, (bytes, at, end) => {
    bytes.set(payload, at + icmpHeaderBytes);
    writeIcmp(bytes, at, end, type, code, rest);
  });
}

function dhcp(message: Partial<DhcpMessage> & Pick<DhcpMessage, "type">): Uint8Array {
  const bytes = new Uint8Array(1400);
  const whole = { operation: DhcpOperation.request, transaction: 0x80fe0102, seconds: 3, broadcast: true, clientAddress: 0, yourAddress: 0, nextServer: 0, relay: 0, clientMac: guestMac, options: {}, ...message };
  const end = writeDhcp(bytes, 0, bytes.length, whole);
  const [from, to] = whole.operation === DhcpOperation.request ? [68, 67] : [67, 68];
  return datagram(bytes.subarray(0, end), from, to, { source: 0, destination: broadcastIpv4 });
}

function dns(fields: DnsFields): Uint8Array {
  const bytes = new Uint8Array(1400);
  return datagram(bytes.subarray(0, writeDns(bytes, 0, bytes.length, fields)), fields.response ? 53 : 45_678, fields.response ? 45_678 : 53);
}

function arp(operation: number): Uint8Array {
  const bytes = new Uint8Array(ethernetHeaderBytes + arpBytes);
  writeEthernet(bytes, 0, { destination: broadcastMac, source: guestMac, type: EtherType.arp });
  writeArp(bytes, ethernetHeaderBytes, { operation, senderMac: guestMac, senderAddress: guest, targetMac: operation === ArpOperation.request ? 0 : gatewayMac, targetAddress: gateway });
  return bytes;
}

const noise = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index * 73 + 5);

/** Frames of every kind that we write, of even and odd lengths. */
function ourFrames(): Uint8Array[] {
  const question = { name: "WWW.example.org", type: DnsType.a, class: 1 };
  const quoted = datagram(noise(20), 40_000, 33_434).slice(ethernetHeaderBytes, ethernetHeaderBytes + ipv4HeaderBytes + 8);
  return [
    arp(ArpOperation.request),
    arp(ArpOperation.reply),
    echo(IcmpType.echoRequest, 0, 0x1a2b0003, noise(56)),
    echo(IcmpType.echoReply, 0, 0xffff0001, noise(1201)),
    echo(IcmpType.unreachable, Unreachable.fragmentationNeeded, 1400, quoted),
    echo(IcmpType.timeExceeded, 0, 0, quoted),
    ...[0, 1, 2, 3, 63, 64, 121, 122, 1471, 1472].map((length) => datagram(noise(length), 6000, 6001, { identification: length, service: 0xb8 })),
    frame(1480, { moreFragments: true, identification: 7 }, (bytes, at) => bytes.set(noise(1480), at)),
    frame(33, { fragmentOffset: 1480, identification: 7 }, (bytes, at) => bytes.set(noise(33), at)),
    segment(TcpFlag.syn, { mss: 1460, windowScale: 14, sackPermitted: true, timestamps: { value: 0xffff_ffff, echo: 0 } }),
    segment(TcpFlag.syn | TcpFlag.ack | TcpFlag.ece, { mss: 65_480 }),
    segment(TcpFlag.ack, { timestamps: { value: 1, echo: 2 }, sack: [[0xffff_ff00, 0x10], [3, 4], [5, 6]] }),
    segment(TcpFlag.ack, { sack: [[1, 2]] }),
    segment(TcpFlag.ack | TcpFlag.psh | TcpFlag.fin, {}, noise(1447)),
    segment(TcpFlag.rst, {}),
    dhcp({ type: DhcpType.discover, options: { wanted: [1, 3, 6, 12, 15, 26, 121], clientIdentifier: "01525400123456", maxMessage: 1472, hostname: "guest" } }),
    dhcp({ type: DhcpType.request, options: { requestedAddress: guest, server: gateway } }),
    dhcp({
      type: DhcpType.ack,
      operation: DhcpOperation.reply,
      broadcast: false,
      yourAddress: guest,
      options: {
        server: gateway,
        subnetMask: 0xffffff00,
        routers: [gateway],
        dnsServers: [ip("10.0.2.3"), ip("9.9.9.9")],
        domain: "lab.example.org",
        mtu: 65_520,
        leaseSeconds: 86_400,
        renewalSeconds: 43_200,
        rebindingSeconds: 75_600,
        routes: [{ to: { base: ip("172.16.16.0"), prefix: 20 }, router: ip("10.0.2.9") }, { to: { base: ip("192.0.2.1"), prefix: 32 }, router: gateway }, { to: { base: 0, prefix: 0 }, router: gateway }],
      },
    }),
    dhcp({ type: DhcpType.nak, operation: DhcpOperation.reply, options: { server: gateway, text: "10.9.0.4 is not yours on this network" } }),
    dns({ id: 0xa1b2, recursionDesired: true, questions: [question], udpBytes: 1232 }),
    dns({
      id: 0xa1b2,
      response: true,
      recursionDesired: true,
      recursionAvailable: true,
      questions: [question],
      answers: [
        { name: "www.example.org", ttl: 3600, value: { type: DnsType.cname, name: "edge.example.org" } },
        { name: "edge.example.org", ttl: 60, value: { type: DnsType.a, address: outside } },
        { name: "edge.example.org", ttl: 60, value: { type: DnsType.aaaa, address: Uint8Array.of(0x20, 1, 0x0d, 0xb8, ...noise(12)) } },
      ],
      udpBytes: 4096,
    }),
    dns({ id: 7, response: true, authoritative: true, questions: [{ name: "15.2.0.10.in-addr.arpa", type: DnsType.ptr, class: 1 }], answers: [{ name: "15.2.0.10.in-addr.arpa", ttl: 10, value: { type: DnsType.ptr, name: "guest.lab" } }] }),
    dns({ id: 8, response: true, truncated: true, code: 3, questions: [{ name: "nobody.lab", type: DnsType.a, class: 1 }] }),
  ];
}

/** The committed listing: after its first paragraph, in each a title and a frame. */
function foreignFrames(): { title: string; bytes: Uint8Array }[] {
  const [, ...paragraphs] = readFileSync(new URL("frames.txt", import.meta.url), "utf8").trim().split("\n\n");
  return paragraphs.map((paragraph) => {
    const [title = "", ...lines] = paragraph.split("\n");
    return { title, bytes: Uint8Array.from(Buffer.from(lines.join(""), "hex")) };
  });
}

describe("packets", () => {
  const temporary = useTemporaryFolder();

  it("that we write are read by tshark as we read them, every checksum right", async () => {
    const frames = ourFrames();
    const { dissections, malformed } = await tsharkReads(temporary.path, frames);
    expect(malformed).toEqual([]);
    expect(dissections).toHaveLength(frames.length);
    expect(frames.map(oursReads)).toEqual(dissections);
    const sums = dissections.flatMap((read) => Object.entries(read).filter(([field]) => field.endsWith("checksum.status")).flatMap(([, values]) => values));
    expect(sums.length).toBeGreaterThan(frames.length);
    expect(new Set(sums)).toEqual(new Set(["1"]));
  });

  it("of other systems are read by us as tshark reads them", async () => {
    const frames = foreignFrames();
    expect(frames.length).toBeGreaterThan(15);
    const { dissections, malformed } = await tsharkReads(temporary.path, frames.map((one) => one.bytes));
    expect(malformed).toEqual([]);
    expect(frames.map(({ title, bytes }) => [title, oursReads(bytes)])).toEqual(frames.map(({ title }, index) => [title, dissections[index]]));
  });

  it("with a wrong checksum are wrong for both", async () => {
    const frames = [segment(TcpFlag.ack, {}, noise(100)), datagram(noise(100), 1, 2), echo(IcmpType.echoRequest, 0, 5, noise(100))];
    for (const bytes of frames) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const { dissections } = await tsharkReads(temporary.path, frames);
    for (const [index, field] of (["tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status"] as const).entries()) {
      expect(dissections[index]?.[field]).toEqual(["0"]);
      expect(oursReads(frames[index] as Uint8Array)[field]).toEqual(["0"]);
    }
  });
});
