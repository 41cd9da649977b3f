import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { formatIpv4, formatMac } from "../../../core/net/wire/addresses";
import { readArp } from "../../../core/net/wire/arp";
import { DhcpPort, readDhcp } from "../../../core/net/wire/dhcp";
import { dnsPort, dnsRecordValue, readDns, readDnsName } from "../../../core/net/wire/dns";
import { EtherType, readEthernet } from "../../../core/net/wire/ethernet";
import { echoIdentifier, echoSequence, IcmpType, readIcmp, Unreachable } from "../../../core/net/wire/icmp";
import { IpProtocol, readIpv4, type Ipv4Packet } from "../../../core/net/wire/ipv4";
import { readTcp, tcpChecksumHolds } from "../../../core/net/wire/tcp";
import { readUdp, udpChecksumHolds } from "../../../core/net/wire/udp";

/** What a frame says, by the names of tshark's fields; several values of one field in the order in which they come. */
export type Dissection = Partial<Record<(typeof fields)[number], string[]>>;

const fields = [
  "eth.dst", "eth.src", "eth.type",
  "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.hw_mac", "arp.dst.proto_ipv4",
  "ip.src", "ip.dst", "ip.proto", "ip.ttl", "ip.dsfield", "ip.id", "ip.flags.df", "ip.flags.mf", "ip.frag_offset", "ip.checksum.status",
  "icmp.type", "icmp.code", "icmp.ident", "icmp.seq", "icmp.mtu", "icmp.checksum.status",
  "udp.srcport", "udp.dstport", "udp.checksum.status",
  "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value", "tcp.len", "tcp.checksum.status",
  "tcp.options.mss_val", "tcp.options.wscale.shift", "tcp.options.sack_perm", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr", "tcp.options.sack_le", "tcp.options.sack_re",
  "dhcp.type", "dhcp.id", "dhcp.secs", "dhcp.flags.bc", "dhcp.ip.client", "dhcp.ip.your", "dhcp.ip.server", "dhcp.ip.relay", "dhcp.hw.mac_addr",
  "dhcp.option.dhcp", "dhcp.option.subnet_mask", "dhcp.option.router", "dhcp.option.domain_name_server", "dhcp.option.hostname", "dhcp.option.domain_name",
  "dhcp.option.interface_mtu", "dhcp.option.requested_ip_address", "dhcp.option.ip_address_lease_time", "dhcp.option.dhcp_server_id", "dhcp.option.request_list_item",
  "dhcp.option.message", "dhcp.option.dhcp_max_message_size", "dhcp.option.renewal_time_value", "dhcp.option.rebinding_time_value", "dhcp.option.classless_static_route",
  "dns.id", "dns.flags.response", "dns.flags.authoritative", "dns.flags.truncated", "dns.flags.recdesired", "dns.flags.recavail", "dns.flags.opcode", "dns.flags.rcode",
  "dns.qry.name", "dns.qry.type", "dns.qry.class", "dns.resp.name", "dns.resp.type", "dns.resp.ttl", "dns.a", "dns.aaaa", "dns.cname", "dns.ptr.domain_name", "dns.rr.udp_payload_size",
] as const;

/** tshark looks into the packet that an ICMP error quotes, and into first fragments; we leave both alone. */
function beyondOurs(field: string, read: Dissection): boolean {
  return field.startsWith("udp.") && (read["ip.proto"]?.[0] === String(IpProtocol.icmp) || read["ip.flags.mf"]?.[0] === "1");
}

/** What tshark reads in the frames, and what it finds wrong with them. Names are not looked up, fragments stay apart. */
export async function tsharkReads(folder: string, frames: readonly Uint8Array[]): Promise<{ dissections: Dissection[]; malformed: string[] }> {
  const path = join(folder, "frames.pcap");
  await writeFile(path, pcap(frames));
  const options = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE", "ip.defragment:FALSE", "tcp.relative_sequence_numbers:FALSE"];
  const args = ["-n", "-r", path, "-T", "json", ...options.flatMap((option) => ["-o", option]), ...[...fields, "_ws.malformed"].flatMap((field) => ["-e", field])];
  // A folder of its own, so that nobody's preferences decide.
  const { stdout } = await promisify(execFile)("tshark", args, { env: { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder }, maxBuffer: 64 * 1024 * 1024 });
  const packets = JSON.parse(stdout) as { _source: { layers: Record<string, string[]> } }[];
  const malformed = packets.flatMap((packet, index) => (packet._source.layers["_ws.malformed"] ? [`frame ${index}`] : []));
  const dissections = packets.map(({ _source: { layers } }) => {
    const read: Dissection = {};
    for (const field of fields) {
      const values = layers[field];
      if (values && !beyondOurs(field, read)) read[field] = (field.startsWith("ip.") ? values.slice(0, 1) : values).map(asNumber);
    }
    // Identifier and sequence are said in both byte orders by the same name.
    for (const field of ["icmp.ident", "icmp.seq"] as const) if (read[field]) read[field] = read[field].slice(0, 1);
    return read;
  });
  return { dissections, malformed };
}

/** Flags are numbers in one version of tshark, and words in others. */
function asNumber(value: string): string {
  return value === "True" ? "1" : value === "False" ? "0" : value;
}

/** A capture file as libpcap has it (pcap-savefile(5)): Ethernet, microseconds. */
function pcap(frames: readonly Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.from(new Uint8Array(Uint32Array.of(0xa1b2c3d4, 0x0004_0002, 0, 0, 262_144, 1).buffer))];
  for (const [index, frame] of frames.entries()) parts.push(new Uint8Array(Uint32Array.of(index, 0, frame.length, frame.length).buffer), frame);
  return Buffer.concat(parts);
}

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, "0")}`;
const flag = (value: boolean): string => (value ? "1" : "0");
/** tshark's words for a checksum that is right, wrong, or was not given. */
const Status = { bad: "0", good: "1", absent: "3" } as const;

/** What our readers find in a frame. */
export function oursReads(frame: Uint8Array): Dissection {
  const ethernet = readEthernet(frame, 0, frame.length);
  if (!ethernet) throw new Error("no Ethernet frame");
  const read: Dissection = { "eth.dst": [formatMac(ethernet.destination)], "eth.src": [formatMac(ethernet.source)], "eth.type": [hex(ethernet.type, 4)] };
  if (ethernet.type === EtherType.arp) return { ...read, ...arp(frame) };
  const packet = readIpv4(frame, 14, frame.length);
  if (typeof packet === "string") throw new Error(`no IPv4 packet: ${packet}`);
  Object.assign(read, {
    "ip.src": [formatIpv4(packet.source)],
    "ip.dst": [formatIpv4(packet.destination)],
    "ip.proto": [String(packet.protocol)],
    "ip.ttl": [String(packet.ttl)],
    "ip.dsfield": [hex(packet.service, 2)],
    "ip.id": [hex(packet.identification, 4)],
    "ip.flags.df": [flag(packet.dontFragment)],
    "ip.flags.mf": [flag(packet.moreFragments)],
    // As in the header, in words of eight bytes.
    "ip.frag_offset": [String(packet.fragmentOffset / 8)],
    "ip.checksum.status": [Status.good],
  } satisfies Dissection);
  if (packet.moreFragments || packet.fragmentOffset > 0) return read;
  if (packet.protocol === IpProtocol.icmp) return { ...read, ...icmp(frame, packet) };
  if (packet.protocol === IpProtocol.tcp) return { ...read, ...tcp(frame, packet) };
  return { ...read, ...udp(frame, packet) };
}

function arp(frame: Uint8Array): Dissection {
  const packet = readArp(frame, 14, frame.length);
  if (!packet) return {};
  return {
    "arp.opcode": [String(packet.operation)],
    "arp.src.hw_mac": [formatMac(packet.senderMac)],
    "arp.src.proto_ipv4": [formatIpv4(packet.senderAddress)],
    "arp.dst.hw_mac": [formatMac(packet.targetMac)],
    "arp.dst.proto_ipv4": [formatIpv4(packet.targetAddress)],
  };
}

function icmp(frame: Uint8Array, { payload, end }: Ipv4Packet): Dissection {
  const message = readIcmp(frame, payload, end);
  if (!message) return { "icmp.checksum.status": [Status.bad] };
  return {
    "icmp.type": [String(message.type)],
    "icmp.code": [String(message.code)],
    "icmp.checksum.status": [Status.good],
    ...(message.type === IcmpType.echoRequest || message.type === IcmpType.echoReply ? { "icmp.ident": [String(echoIdentifier(message.rest))], "icmp.seq": [String(echoSequence(message.rest))] } : {}),
    ...(message.type === IcmpType.unreachable && message.code === Unreachable.fragmentationNeeded ? { "icmp.mtu": [String(message.rest & 0xffff)] } : {}),
  };
}

function tcp(frame: Uint8Array, packet: Ipv4Packet): Dissection {
  const segment = readTcp(frame, packet.payload, packet.end);
  if (!segment) return {};
  const { options } = segment;
  return {
    "tcp.srcport": [String(segment.sourcePort)],
    "tcp.dstport": [String(segment.destinationPort)],
    "tcp.seq_raw": [String(segment.sequence)],
    "tcp.ack_raw": [String(segment.acknowledgment)],
    "tcp.flags": [hex(segment.flags, 4)],
    "tcp.window_size_value": [String(segment.window)],
    "tcp.len": [String(segment.end - segment.payload)],
    "tcp.checksum.status": [tcpChecksumHolds(frame, packet.payload, packet.end, packet.source, packet.destination) ? Status.good : Status.bad],
    ...(options.mss === undefined ? {} : { "tcp.options.mss_val": [String(options.mss)] }),
    ...(options.windowScale === undefined ? {} : { "tcp.options.wscale.shift": [String(options.windowScale)] }),
    ...(options.sackPermitted ? { "tcp.options.sack_perm": ["0402"] } : {}),
    ...(options.timestamps ? { "tcp.options.timestamp.tsval": [String(options.timestamps.value)], "tcp.options.timestamp.tsecr": [String(options.timestamps.echo)] } : {}),
    ...(options.sack ? { "tcp.options.sack_le": options.sack.map(([left]) => String(left)), "tcp.options.sack_re": options.sack.map(([, right]) => String(right)) } : {}),
  };
}

function udp(frame: Uint8Array, packet: Ipv4Packet): Dissection {
  const datagram = readUdp(frame, packet.payload, packet.end);
  if (!datagram) return {};
  const { sourcePort, destinationPort, hasChecksum, payload, end } = datagram;
  const good = udpChecksumHolds(frame, packet.payload, end, packet.source, packet.destination) ? Status.good : Status.bad;
  return {
    "udp.srcport": [String(sourcePort)],
    "udp.dstport": [String(destinationPort)],
    "udp.checksum.status": [hasChecksum ? good : Status.absent],
    ...(destinationPort === DhcpPort.server || sourcePort === DhcpPort.server ? dhcp(frame, payload, end) : {}),
    ...(destinationPort === dnsPort || sourcePort === dnsPort ? dns(frame, payload, end) : {}),
  };
}

function dhcp(frame: Uint8Array, at: number, end: number): Dissection {
  const message = readDhcp(frame, at, end);
  if (!message) return {};
  const { options } = message;
  const addresses = (list: readonly number[] | undefined): string[] | undefined => list?.map(formatIpv4);
  const one = (value: number | string | undefined): string[] | undefined => (value === undefined ? undefined : [String(value)]);
  const address = (value: number | undefined): string[] | undefined => (value === undefined ? undefined : [formatIpv4(value)]);
  const hexBytes = (value: number): string => value.toString(16).padStart(8, "0");
  const route = options.routes?.map(({ to, router }) => to.prefix.toString(16).padStart(2, "0") + hexBytes(to.base).slice(0, Math.ceil(to.prefix / 8) * 2) + hexBytes(router));
  const read: Record<string, string[] | undefined> = {
    "dhcp.type": [String(message.operation)],
    "dhcp.id": [hex(message.transaction, 8)],
    "dhcp.secs": [String(message.seconds)],
    "dhcp.flags.bc": [flag(message.broadcast)],
    "dhcp.ip.client": [formatIpv4(message.clientAddress)],
    "dhcp.ip.your": [formatIpv4(message.yourAddress)],
    "dhcp.ip.server": [formatIpv4(message.nextServer)],
    "dhcp.ip.relay": [formatIpv4(message.relay)],
    // tshark says it of the client identifier, too, when that is made of it.
    "dhcp.hw.mac_addr": [formatMac(message.clientMac), ...(options.clientIdentifier?.startsWith("01") && options.clientIdentifier.length === 14 ? [options.clientIdentifier.slice(2).replace(/(..)(?=.)/g, "$1:")] : [])],
    "dhcp.option.dhcp": [String(message.type)],
    "dhcp.option.subnet_mask": address(options.subnetMask),
    "dhcp.option.router": addresses(options.routers),
    "dhcp.option.domain_name_server": addresses(options.dnsServers),
    "dhcp.option.hostname": one(options.hostname),
    "dhcp.option.domain_name": one(options.domain),
    "dhcp.option.interface_mtu": one(options.mtu),
    "dhcp.option.requested_ip_address": address(options.requestedAddress),
    "dhcp.option.ip_address_lease_time": one(options.leaseSeconds),
    "dhcp.option.dhcp_server_id": address(options.server),
    "dhcp.option.request_list_item": options.wanted?.map(String),
    "dhcp.option.message": one(options.text),
    "dhcp.option.dhcp_max_message_size": one(options.maxMessage),
    "dhcp.option.renewal_time_value": one(options.renewalSeconds),
    "dhcp.option.rebinding_time_value": one(options.rebindingSeconds),
    "dhcp.option.classless_static_route": route,
  };
  return Object.fromEntries(Object.entries(read).filter(([, values]) => values !== undefined)) as Dissection;
}

function dns(frame: Uint8Array, at: number, end: number): Dissection {
  const message = readDns(frame, at, end);
  if (!message) return {};
  const records = [...message.answers, ...message.authority, ...message.additional];
  const values = records.map((record) => dnsRecordValue(frame, at, end, record));
  const name = (text: string): string => (text === "" ? "<Root>" : text);
  const texts = (type: string): string[] =>
    values.flatMap((value) => {
      if (value === undefined) return [];
      if ("name" in value) return (value.type === 5 ? "cname" : "ptr") === type ? [value.name] : [];
      if (value.type === 1) return type === "a" ? [formatIpv4(value.address)] : [];
      return type === "aaaa" ? [ipv6Text(value.address)] : [];
    });
  const read: Record<string, string[]> = {
    "dns.id": [hex(message.id, 4)],
    "dns.flags.response": [flag(message.response)],
    "dns.flags.recdesired": [flag(message.recursionDesired)],
    "dns.flags.truncated": [flag(message.truncated)],
    "dns.flags.opcode": [String(message.opcode)],
    ...(message.response ? { "dns.flags.authoritative": [flag(message.authoritative)], "dns.flags.recavail": [flag(message.recursionAvailable)], "dns.flags.rcode": [String(message.code)] } : {}),
    "dns.qry.name": message.questions.map((question) => name(question.name)),
    "dns.qry.type": message.questions.map((question) => String(question.type)),
    "dns.qry.class": message.questions.map((question) => hex(question.class, 4)),
    "dns.resp.name": records.map((record) => name(readDnsName(frame, at, record.nameAt, end)?.name ?? "?")),
    "dns.resp.type": records.map((record) => String(record.type)),
    "dns.resp.ttl": records.filter((record) => record.type !== 41).map((record) => String(record.ttl)),
    "dns.a": texts("a"),
    "dns.aaaa": texts("aaaa"),
    "dns.cname": texts("cname"),
    "dns.ptr.domain_name": texts("ptr"),
    "dns.rr.udp_payload_size": message.udpBytes === undefined ? [] : [String(message.udpBytes)],
  };
  return Object.fromEntries(Object.entries(read).filter(([, list]) => list.length > 0)) as Dissection;
}

/** As RFC 5952 has it, which is how addresses of URLs are written. */
function ipv6Text(address: Uint8Array): string {
  const groups = Buffer.from(address).toString("hex").match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
