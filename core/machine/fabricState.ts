import type { MachineConfig, MachineState } from "../contract/model";
import type { AdapterConfig, Attachment, NatSettings, NetworkConfig, PortForward } from "../contract/network";
import { isLive } from "../contract/states";
import type { FabricState, ForwardSpec, PortSpec, SegmentSpec } from "../net/control";
import { formatIpv4, formatSubnet, parseSubnet, type Subnet } from "../net/wire/addresses";
import { comparable } from "./folderName";
import { hostnameFor } from "./identity";
import { collision, defaultRange, gatewayOf, usedByHost, type HostNetwork } from "./networkPlan";

/*
 * What the fabric is to do, from what machines and networks are: pure, so that the same word can be said again at any
 * time. Segments are those that a machine which lives is attached to, or that a forward needs; a forward of a machine
 * that is off is listened on as well, so that whoever knocks hears of it, unless a machine that lives has that port.
 */

/** A machine as the fabric sees it. */
export interface FabricMachine {
  readonly id: string;
  readonly name: string;
  readonly config: MachineConfig | undefined;
  readonly state: MachineState;
  /** The sockets of its adapters, by slot, while its process is there to be connected to. */
  readonly sockets: readonly string[] | undefined;
}

/** What the host has, and what must stay as it is. */
export interface FabricSurroundings {
  readonly host: readonly HostNetwork[];
  /** Subnets of private networks whose guests live, by segment: a guest is not given another one while it runs. */
  readonly kept: ReadonlyMap<string, string>;
}

const leaseSeconds = 3600;
const defaultNat: NatSettings = { hostLoopback: false, hostNetworks: true };
const defaultMtu = 1500;
/** Places in a private network: 10.0.2.2, .3 and .15, as people know them from elsewhere. */
const privateGateway = 2;
const privateDns = 3;
const privateGuest = 15;
const privateLast = 31;

export function fabricState(machines: readonly FabricMachine[], networks: readonly NetworkConfig[], around: FabricSurroundings): FabricState {
  const forwards = forwardsOf(machines, networks);
  const segments = new Map<string, SegmentSpec>();
  const ports: PortSpec[] = [];
  for (const machine of machines) {
    for (const [adapter, config] of (machine.config?.adapters ?? []).entries()) {
      const segment = segmentOf(machine.id, adapter, config, networks);
      if (segment === undefined) continue;
      if (isLive(machine.state) || forwards.some((forward) => forward.segment === segment)) segments.set(segment, segments.get(segment) ?? segmentSpec(segment, machine, adapter, config, networks, around));
      const socket = isLive(machine.state) ? machine.sockets?.[adapter] : undefined;
      if (socket !== undefined) ports.push(portSpec(machine, adapter, config, segment, socket));
    }
  }
  return { segments: [...segments.values()], ports, forwards };
}

/** Nothing runs that the fabric would carry frames for. */
export function isIdle(state: FabricState): boolean {
  return state.ports.length === 0 && state.segments.length === 0 && state.forwards.length === 0;
}

/** The segment an adapter's cable leads to; undefined when it leads nowhere. */
export function segmentOf(machineId: string, adapter: number, { attachment }: Pick<AdapterConfig, "attachment">, networks: readonly NetworkConfig[]): string | undefined {
  const { mode, network = "" } = attachment;
  if (mode === "none") return undefined;
  if (mode === "nat") return privateSegment(machineId, adapter);
  if (mode === "bridged") return cardSegment(network);
  const found = networkNamed(networks, attachment);
  return found && networkSegment(found.name);
}

function networkNamed(networks: readonly NetworkConfig[], { mode, network = "" }: Attachment): NetworkConfig | undefined {
  return networks.find((each) => each.mode === mode && comparable(each.name) === comparable(network));
}

function segmentSpec(id: string, { name }: FabricMachine, adapter: number, { attachment, nat = defaultNat, mac }: AdapterConfig, networks: readonly NetworkConfig[], around: FabricSurroundings): SegmentSpec {
  if (attachment.mode === "bridged") return { id, label: `the bridge to ${attachment.network}`, mode: "bridged", mtu: defaultMtu, ...(attachment.network === undefined ? {} : { card: attachment.network }) };
  const network = networkNamed(networks, attachment);
  if (network) return namedSegment(id, network);
  const text = around.kept.get(id) ?? formatSubnet(privateSubnet(adapter, around.host));
  const base = parseSubnet(text)?.base ?? 0;
  const guest = formatIpv4(base + privateGuest);
  return {
    id,
    label: `the private network of adapter ${adapter} of ${name}`,
    mode: "nat",
    subnet: text,
    gateway: formatIpv4(base + privateGateway),
    dns: formatIpv4(base + privateDns),
    dhcp: { first: guest, last: formatIpv4(base + privateLast), reservations: [{ mac, address: guest }], leaseSeconds },
    mtu: defaultMtu,
    nat,
  };
}

function namedSegment(id: string, network: NetworkConfig): SegmentSpec {
  const { name, mode, subnet, dhcp, domain, mtu = defaultMtu, nat = defaultNat } = network;
  const parsed = subnet === undefined ? undefined : parseSubnet(subnet);
  const gateway = gatewayOf(network);
  return {
    id,
    label: `the network ${name}`,
    mode,
    mtu,
    ...(subnet === undefined ? {} : { subnet }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(mode === "nat-network" ? { nat, ...(gateway === undefined ? {} : { dns: gateway }) } : {}),
    ...(parsed && dhcp.enabled ? { dhcp: { ...(dhcp.range ?? defaultRange(parsed)), reservations: dhcp.reservations, leaseSeconds } } : {}),
    ...(domain === undefined ? {} : { domain }),
  };
}

/** The private network of a slot: 10.0.2.0/24 for the first, and another one where the host's own networks are in the way. */
export function privateSubnet(adapter: number, host: readonly HostNetwork[]): Subnet {
  const used = usedByHost(host);
  const usual = subnetOf(10, 0, 2 + adapter);
  for (let second = 0; second < 256; second++) {
    const offer = subnetOf(10, second, 2 + adapter);
    if (collision(offer, used) === undefined) return offer;
  }
  for (let second = 16; second < 32; second++) {
    const offer = subnetOf(172, second, 2 + adapter);
    if (collision(offer, used) === undefined) return offer;
  }
  // Everything is taken: guests cannot reach that part of the host's networks, but the rest.
  return usual;
}

/** Whether the private network of a slot is not where people know it from. */
export function isMoved(adapter: number, subnet: string): boolean {
  return subnet !== formatSubnet(subnetOf(10, 0, 2 + adapter));
}

function subnetOf(first: number, second: number, third: number): Subnet {
  return { base: ((first << 24) | (second << 16) | (third << 8)) >>> 0, prefix: 24 };
}

function portSpec(machine: FabricMachine, adapter: number, { mac, plugged, rate, macPolicy = "any" }: AdapterConfig, segment: string, socket: string): PortSpec {
  return { id: portId(machine.id, adapter), socket, segment, mac, plugged, hostname: hostnameFor(machine.name, machine.id), macPolicy, ...(rate ? { rate } : {}) };
}

function forwardsOf(machines: readonly FabricMachine[], networks: readonly NetworkConfig[]): ForwardSpec[] {
  const listed: ForwardSpec[] = [];
  // Those that live first: what is off must not take their ports.
  const ordered = [...machines.filter(({ state }) => isLive(state)), ...machines.filter(({ state }) => !isLive(state))];
  for (const { id, name, config, state } of ordered) {
    for (const [adapter, { mac, attachment, forwards = [] }] of (config?.adapters ?? []).entries()) {
      const segment = isNat(attachment) ? segmentOf(id, adapter, { attachment }, networks) : undefined;
      if (segment === undefined) continue;
      for (const forward of forwards) {
        if (!isLive(state) && listed.some((other) => forwardsOverlap(other.forward, forward))) continue;
        listed.push({ id: forwardId(id, adapter, forward), segment, mac, machine: name, forward, target: isLive(state) ? (state === "paused" ? "paused" : "running") : "off" });
      }
    }
  }
  return listed;
}

/** A network by its name, not a card of the host. */
export function isNamed({ mode }: Attachment): boolean {
  return mode === "nat-network" || mode === "internal" || mode === "host-only";
}

/** Guests are behind a gateway, through which ports are forwarded. */
export function isNat({ mode }: Attachment): boolean {
  return mode === "nat" || mode === "nat-network";
}

/** The fabric's name for a named network. */
export function networkSegment(name: string): string {
  return `network:${name}`;
}

/** The fabric's name for the private network of a `nat` adapter. */
export function privateSegment(machineId: string, adapter: number): string {
  return `adapter:${machineId}:${adapter}`;
}

/** The fabric's name for what is bridged with a card of the host. */
function cardSegment(card: string): string {
  return `card:${card}`;
}

export function portId(machineId: string, adapter: number): string {
  return `${machineId}:${adapter}`;
}

export function forwardId(machineId: string, adapter: number, { protocol, hostAddress, hostPort }: PortForward): string {
  return `${portId(machineId, adapter)}:${protocol}:${hostAddress}:${hostPort}`;
}

/** Two forwards cannot be had at the same time: they listen on the same port of the same address. */
export function forwardsOverlap(one: PortForward, other: PortForward): boolean {
  if (one.protocol !== other.protocol) return false;
  if (one.hostAddress !== other.hostAddress && one.hostAddress !== everywhere && other.hostAddress !== everywhere) return false;
  return one.hostPort < other.hostPort + (other.count ?? 1) && other.hostPort < one.hostPort + (one.count ?? 1);
}

const everywhere = "0.0.0.0";
