import * as z from "zod";
import { ErrorShape } from "./errorShape";

/*
 * Adapters and networks as data. Addresses are texts as people write them; rates are bits a second; times milliseconds
 * since the Unix epoch.
 */

export const MachineId = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, "a machine id is a UUID");
export type MachineId = z.infer<typeof MachineId>;

export const NetworkMode = z.enum(["none", "nat", "nat-network", "internal", "host-only", "bridged"]);
export type NetworkMode = z.infer<typeof NetworkMode>;

/** The modes whose networks have a name and are shared. */
export const NamedNetworkMode = z.enum(["nat-network", "internal", "host-only"]);
export type NamedNetworkMode = z.infer<typeof NamedNetworkMode>;

/** Where an adapter's cable goes. `network` names the segment (`nat-network`, `internal`, `host-only`) or the host's card (`bridged`). */
export const Attachment = z.object({ mode: NetworkMode, network: z.string().min(1).max(64).optional() });
export type Attachment = z.infer<typeof Attachment>;

/** A locally administered or vendor MAC of a single station, lower case with colons. */
export const MacAddress = z.string().regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, "a MAC address is six hexadecimal pairs, of a single station");

export const Ipv4Text = z.string().regex(/^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/, "an IPv4 address is four numbers of 0 to 255 with dots");
export const SubnetText = z.string().regex(/^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}\/([89]|[12]\d|30)$/, "a subnet is an address and a prefix of 8 to 30 bits, like 10.9.0.0/24");

/** What kind of network card the guest sees. */
export const AdapterModel = z.enum(["virtio", "e1000"]);
export type AdapterModel = z.infer<typeof AdapterModel>;

const port = z.number().int().min(1, "a port is 1 to 65535").max(65_535, "a port is 1 to 65535");

export const maxForwardedPorts = 1024;

/** A port of the host that leads to a port of the guest. With `count` it is a range: as many ports in a row on both sides. */
export const PortForward = z.object({
  protocol: z.enum(["tcp", "udp"]),
  /** 127.0.0.1: from this computer only. 0.0.0.0: from everywhere. */
  hostAddress: Ipv4Text,
  hostPort: port,
  guestPort: port,
  count: z.number().int().min(1).max(maxForwardedPorts).optional(),
});
export type PortForward = z.infer<typeof PortForward>;

/** What guests behind NAT may reach beside the outside. Where nobody says: not the loopback, but the networks. */
export const NatSettings = z.object({
  /** The host's own loopback (127.0.0.1), at the gateway's address. */
  hostLoopback: z.boolean(),
  /** Networks that the host is connected to, such as its LAN. */
  hostNetworks: z.boolean(),
});
export type NatSettings = z.infer<typeof NatSettings>;

/** What an adapter may carry at most, bits a second. Absent: as fast as it goes. */
export const RateLimit = z.object({ toGuest: z.number().int().min(8000).optional(), fromGuest: z.number().int().min(8000).optional() });
export type RateLimit = z.infer<typeof RateLimit>;

export const maxForwards = 64;

export const AdapterConfig = z.object({
  mac: MacAddress,
  /** Absent: virtio. */
  model: AdapterModel.optional(),
  attachment: Attachment,
  /** False when the cable is pulled although the attachment is kept. */
  plugged: z.boolean(),
  /** Of a guest behind NAT. */
  forwards: z.array(PortForward).max(maxForwards).optional(),
  /** Of the private network of a `nat` adapter. Absent: the defaults. */
  nat: NatSettings.optional(),
  rate: RateLimit.optional(),
  /** `own`: frames with a source address that is not the adapter's are dropped. Absent: any, as bridges and nested machines need. */
  macPolicy: z.enum(["any", "own"]).optional(),
});
export type AdapterConfig = z.infer<typeof AdapterConfig>;

/** Network names are typed on command lines: no slashes, colons or blanks at the ends. */
export const NetworkName = z.string().regex(/^[\p{L}\p{N}]([\p{L}\p{N} _.-]{0,30}[\p{L}\p{N}])?$/u, "a network's name has 1 to 32 letters, digits, spaces, dots, - and _");

export const Reservation = z.object({ mac: MacAddress, address: Ipv4Text });
export type Reservation = z.infer<typeof Reservation>;

export const DhcpConfig = z.object({
  enabled: z.boolean(),
  /** The addresses given out. Absent: from the hundredth of the subnet on, or what there is. */
  range: z.object({ first: Ipv4Text, last: Ipv4Text }).optional(),
  reservations: z.array(Reservation).max(256).default([]),
});
export type DhcpConfig = z.infer<typeof DhcpConfig>;

/** A named network, as it stands in `networks.json`. */
export const NetworkConfig = z.object({
  name: NetworkName,
  mode: NamedNetworkMode,
  /** Absent: an internal network without addresses of its own. */
  subnet: SubnetText.optional(),
  dhcp: DhcpConfig,
  /** The domain given out by DHCP and answered by DNS. */
  domain: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, "a domain has small letters, digits, dots and -").optional(),
  /** The longest packet that guests are told to send. Absent: 1500. */
  mtu: z.number().int().min(576).max(65_520).optional(),
  nat: NatSettings.optional(),
});
export type NetworkConfig = z.infer<typeof NetworkConfig>;

/** What is asked for to make a network; what is absent is chosen. */
export const NetworkSpec = NetworkConfig.partial({ dhcp: true });
export type NetworkSpec = z.infer<typeof NetworkSpec>;

/** A change of a network. Null takes a setting away. */
export const NetworkPatch = z.object({
  subnet: SubnetText.nullable(),
  dhcp: DhcpConfig,
  domain: z.string().max(63).nullable(),
  mtu: z.number().int().min(576).max(65_520).nullable(),
  nat: NatSettings,
}).partial();
export type NetworkPatch = z.infer<typeof NetworkPatch>;

export const NetworkInfo = z.object({
  config: NetworkConfig,
  /** The gateway's, of a NAT network, or the host's on a host-only network. */
  gateway: Ipv4Text.optional(),
  /** Adapters that are attached to it, of all machines, running or not. */
  adapters: z.array(z.object({ id: MachineId, adapter: z.number().int() })),
  /** The interface of a host-only network on the host, while it is there. */
  hostInterface: z.string().optional(),
  /** Why it does not work, or not entirely. */
  problem: ErrorShape.optional(),
});
export type NetworkInfo = z.infer<typeof NetworkInfo>;

/** Which network is meant: a named one, or the private one of a `nat` adapter. */
export const NetworkRef = z.union([z.object({ network: NetworkName }), z.object({ id: MachineId, adapter: z.number().int().min(0).max(3) })]);
export type NetworkRef = z.infer<typeof NetworkRef>;

export const LeaseInfo = z.object({
  mac: MacAddress,
  address: Ipv4Text,
  hostname: z.string().optional(),
  /** The adapter that has it, when it is one of ours. */
  machine: z.object({ id: MachineId, adapter: z.number().int() }).optional(),
  expiresAt: z.number(),
  reserved: z.boolean(),
});
export type LeaseInfo = z.infer<typeof LeaseInfo>;

/** A conversation that passes a NAT gateway. */
export const FlowRecord = z.object({
  id: z.number().int(),
  protocol: z.enum(["tcp", "udp", "icmp"]),
  /** `out`: the guest began it; `in`: it came through a port forward. */
  direction: z.enum(["out", "in"]),
  machine: z.object({ id: MachineId, adapter: z.number().int() }).optional(),
  guest: z.object({ address: Ipv4Text, port: z.number().int() }),
  remote: z.object({ address: Ipv4Text, port: z.number().int() }),
  /** RFC 9293 3.3.2, in small letters; of UDP and ICMP "open". */
  state: z.string(),
  sentBytes: z.number(),
  receivedBytes: z.number(),
  startedAt: z.number(),
  lastAt: z.number(),
});
export type FlowRecord = z.infer<typeof FlowRecord>;

/** How an adapter of a running machine, and its forwards, are doing. */
export const AdapterStatus = z.object({
  adapter: z.number().int(),
  /** Frames pass. */
  connected: z.boolean(),
  /** The address its network knows it by. */
  address: Ipv4Text.optional(),
  problem: ErrorShape.optional(),
  /** In the order of the configuration; a forward without a problem listens. */
  forwards: z.array(z.object({ forward: PortForward, problem: ErrorShape.optional() })),
});
export type AdapterStatus = z.infer<typeof AdapterStatus>;

/** A network card of the host that an adapter may be bridged with. */
export const HostCard = z.object({
  name: z.string(),
  /** "Ethernet", "Wi-Fi", "Linux bridge". */
  kind: z.string(),
  up: z.boolean(),
  addresses: z.array(z.string()),
  /** Why it cannot be bridged, and what to use instead. */
  problem: ErrorShape.optional(),
});
export type HostCard = z.infer<typeof HostCard>;
