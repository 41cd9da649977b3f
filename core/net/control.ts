import * as z from "zod";
import { HostCard, Ipv4Text, MacAddress, NetworkMode, PortForward, RateLimit, SubnetText } from "../contract/network";
import { ErrorShape } from "../contract/errorShape";

/*
 * What the host service says to the fabric, and hears from it, as JSON lines on the fabric's control socket. The host
 * service says how everything is to be (`FabricState`), whole, each time something changes; the fabric makes it so by
 * changing only what differs. So a fabric that was started anew, and a host service that came back, need nothing but the
 * same word again.
 */

/** One L2 segment with its services. */
export const SegmentSpec = z.object({
  /** Unique: "network:lab", or "adapter:<machine id>:<number>" for the private network of a `nat` adapter. */
  id: z.string().min(1).max(200),
  /** For messages: "the network lab". */
  label: z.string(),
  mode: NetworkMode.exclude(["none"]),
  /** Absent: no addresses of its own. */
  subnet: SubnetText.optional(),
  /** The address of the gateway (NAT), or of the host (host-only). */
  gateway: Ipv4Text.optional(),
  /** The address of the DNS forwarder; it may be the gateway's. */
  dns: Ipv4Text.optional(),
  dhcp: z
    .object({
      first: Ipv4Text,
      last: Ipv4Text,
      reservations: z.array(z.object({ mac: MacAddress, address: Ipv4Text })),
      leaseSeconds: z.number().int().positive(),
    })
    .optional(),
  domain: z.string().optional(),
  mtu: z.number().int(),
  nat: z.object({ hostLoopback: z.boolean(), hostNetworks: z.boolean() }).optional(),
  /** The host's card of a bridged segment. */
  card: z.string().optional(),
});
export type SegmentSpec = z.infer<typeof SegmentSpec>;

/** One adapter of a machine whose process runs. */
export const PortSpec = z.object({
  /** "<machine id>:<number>" */
  id: z.string(),
  /** The machine's socket for this adapter. */
  socket: z.string(),
  segment: z.string().nullable(),
  mac: MacAddress,
  plugged: z.boolean(),
  /** The name DNS answers for it. */
  hostname: z.string().optional(),
  rate: RateLimit.optional(),
  macPolicy: z.enum(["any", "own"]),
});
export type PortSpec = z.infer<typeof PortSpec>;

/** A forward of a machine, running or not: one that is off is answered with a reset, and told of. */
export const ForwardSpec = z.object({
  id: z.string(),
  segment: z.string(),
  /** Of the adapter it leads to; where that is, is known from its lease or its own words. */
  mac: MacAddress,
  /** The machine's name, for messages. */
  machine: z.string(),
  forward: PortForward,
  target: z.enum(["running", "paused", "off"]),
});
export type ForwardSpec = z.infer<typeof ForwardSpec>;

export const FabricState = z.object({ segments: z.array(SegmentSpec), ports: z.array(PortSpec), forwards: z.array(ForwardSpec) });
export type FabricState = z.infer<typeof FabricState>;

const counters = z.object({ receivedFrames: z.number(), receivedBytes: z.number(), sentFrames: z.number(), sentBytes: z.number(), dropped: z.record(z.string(), z.number()) });

/** How everything is, as far as it concerns people; sent after each change, whole. */
export const FabricStatus = z.object({
  segments: z.array(z.object({ id: z.string(), hostInterface: z.string().optional(), problem: ErrorShape.optional() })),
  ports: z.array(z.object({ id: z.string(), connected: z.boolean(), address: Ipv4Text.optional(), problem: ErrorShape.optional() })),
  forwards: z.array(z.object({ id: z.string(), problem: ErrorShape.optional() })),
});
export type FabricStatus = z.infer<typeof FabricStatus>;

const lease = z.object({ mac: MacAddress, address: Ipv4Text, hostname: z.string().optional(), expiresAt: z.number(), reserved: z.boolean() });
const flow = z.object({
  id: z.number(),
  protocol: z.enum(["tcp", "udp", "icmp"]),
  direction: z.enum(["out", "in"]),
  guest: z.object({ address: Ipv4Text, port: z.number() }),
  remote: z.object({ address: Ipv4Text, port: z.number() }),
  state: z.string(),
  sentBytes: z.number(),
  receivedBytes: z.number(),
  startedAt: z.number(),
  lastAt: z.number(),
});

/** What the fabric is; its first answer. */
export const FabricHello = z.object({
  /** Of the program that it was started from: another build is another fabric. */
  build: z.string(),
  pid: z.number().int(),
  /** It carries frames by the loop of its own. */
  fast: z.boolean(),
  /** How everything is to be, as far as it was told. */
  state: FabricState,
});
export type FabricHello = z.infer<typeof FabricHello>;

/** The calls, each with what it is given and what it answers. */
export const fabricCalls = {
  hello: { input: z.object({}), output: FabricHello },
  apply: { input: FabricState, output: FabricStatus },
  leases: { input: z.object({ segment: z.string() }), output: z.array(lease) },
  flows: { input: z.object({ segment: z.string() }), output: z.array(flow) },
  cutFlow: { input: z.object({ segment: z.string(), flow: z.number() }), output: z.object({}) },
  counters: { input: z.object({}), output: z.object({ ports: z.record(z.string(), counters), segments: z.record(z.string(), z.object({ frames: z.number(), bytes: z.number() })) }) },
  cards: { input: z.object({}), output: z.array(HostCard) },
  /** Ends the fabric: ports are closed, flows reset. */
  stop: { input: z.object({}), output: z.object({}) },
} as const;
export type FabricCalls = typeof fabricCalls;
export type FabricCallName = keyof FabricCalls;
export type FabricInput<N extends FabricCallName> = z.output<FabricCalls[N]["input"]>;
export type FabricOutput<N extends FabricCallName> = z.output<FabricCalls[N]["output"]>;

export function isFabricCall(name: string): name is FabricCallName {
  return Object.hasOwn(fabricCalls, name);
}

/** The longest line, in bytes: a state of 200 networks, and of machines with all their forwards. */
export const maxControlLine = 4 * 1024 * 1024;

/** What the fabric says unasked. */
export const FabricEvent = z.discriminatedUnion("event", [
  z.object({ event: z.literal("status"), status: FabricStatus }),
  /** Somebody knocked at a forward whose machine is off, or stayed paused. */
  z.object({ event: z.literal("refused"), forward: z.string(), reason: z.enum(["off", "paused", "no-address"]) }),
]);
export type FabricEvent = z.infer<typeof FabricEvent>;

/** One line from the host service, and one to it. */
export const FabricRequest = z.object({ id: z.number().int(), call: z.string(), input: z.unknown() });
export const FabricAnswer = z.union([z.object({ id: z.number().int(), error: ErrorShape }), z.object({ id: z.number().int(), output: z.unknown() })]);
export type FabricAnswer = z.infer<typeof FabricAnswer>;
