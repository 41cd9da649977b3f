import { TerrariumError } from "../contract/errors";
import type { DhcpConfig, NamedNetworkMode, NetworkConfig } from "../contract/network";
import type { HostNetworks } from "../net/link/hostCards";
import { formatIpv4, formatSubnet, inSubnet, isLoopbackIpv4, isMulticastIpv4, parseIpv4, parseSubnet, subnetBroadcast, subnetMask, subnetsOverlap, type Ipv4Address, type Subnet } from "../net/wire/addresses";

/*
 * Which addresses a network uses, and whether a network makes sense. Pure: what is taken elsewhere is given.
 */

/** A network that the host itself uses. */
export type HostNetwork = HostNetworks["networks"][number];

/** For messages: "a NAT network". */
export const modeWords: Readonly<Record<NamedNetworkMode, string>> = { "nat-network": "a NAT network", internal: "an internal network", "host-only": "a host-only network" };

/** Something that uses addresses, and what people call it: "the network lab", "the host's card eth0". */
export interface UsedSubnet {
  readonly subnet: Subnet;
  readonly by: string;
}

export function usedByHost(networks: readonly HostNetwork[]): UsedSubnet[] {
  return networks.map(({ subnet, card }) => ({ subnet, by: `the host's network on ${card}` }));
}

export function usedByNetworks(networks: readonly NetworkConfig[], except?: string): UsedSubnet[] {
  return networks.flatMap(({ name, subnet: text }) => {
    const subnet = text === undefined ? undefined : parseSubnet(text);
    return subnet === undefined || name === except ? [] : [{ subnet, by: `the network ${name}` }];
  });
}

/** The address of a network's gateway (NAT), or of the host on it (host-only): the first one. An internal network has none. */
export function gatewayOf({ mode, subnet }: Pick<NetworkConfig, "mode" | "subnet">): string | undefined {
  const parsed = subnet === undefined || mode === "internal" ? undefined : parseSubnet(subnet);
  return parsed && formatIpv4(parsed.base + 1);
}

/** What DHCP gives out when nothing was said: from the hundredth address on, or all but the first in a small subnet. */
export function defaultRange(subnet: Subnet): { first: string; last: string } {
  const last = subnetBroadcast(subnet) - 1;
  const hundredth = subnet.base + 100;
  return { first: formatIpv4(hundredth < last ? hundredth : subnet.base + 2), last: formatIpv4(last) };
}

/** Subnets that are offered, best first. 10.0.0.0/16 is left to the private networks of `nat` adapters. */
function* offers(mode: NamedNetworkMode): Generator<Subnet> {
  const lan = function* (): Generator<Subnet> {
    for (let third = 56; third < 256; third++) yield { base: (0xc0a80000 | (third << 8)) >>> 0, prefix: 24 };
  };
  if (mode === "host-only") yield* lan();
  for (let second = 10; second < 256; second++) yield { base: ((10 << 24) | (second << 16)) >>> 0, prefix: 24 };
  for (let second = 16; second < 32; second++) yield { base: ((172 << 24) | (second << 16)) >>> 0, prefix: 24 };
  yield* lan();
}

/** A subnet that nothing uses. @throws TerrariumError when private addresses have run out. */
export function freeSubnet(used: readonly UsedSubnet[], mode: NamedNetworkMode = "nat-network"): string {
  const free = offeredSubnet(used, mode);
  if (free === undefined) throw new TerrariumError("unavailable", "Every private subnet is used by the host or by a network.", "Name a subnet of your own.");
  return free;
}

/** A subnet that nothing uses, for a remedy; undefined when private addresses have run out, as with a VPN that routes them all. */
export function offeredSubnet(used: readonly UsedSubnet[], mode: NamedNetworkMode = "nat-network"): string | undefined {
  for (const offer of offers(mode)) if (collision(offer, used) === undefined) return formatSubnet(offer);
  return undefined;
}

export function collision(subnet: Subnet, used: readonly UsedSubnet[]): UsedSubnet | undefined {
  return used.find((other) => subnetsOverlap(other.subnet, subnet));
}

/**
 * Refuses a network that makes no sense in itself.
 * @throws TerrariumError `invalid-input`
 */
export function requireSound(network: NetworkConfig): void {
  const { name, mode, subnet: text, dhcp, nat } = network;
  const refuse = (because: string, remedy: string): never => {
    throw new TerrariumError("invalid-input", `The network ${name} ${because}.`, remedy);
  };
  if (nat !== undefined && mode !== "nat-network") refuse(`is ${modeWords[mode]}, and has settings of NAT`, "Leave them out.");
  if (text === undefined) {
    if (mode !== "internal") refuse(`is ${modeWords[mode]} and has no subnet`, "Give it one, like 10.9.0.0/24.");
    if (dhcp.enabled || dhcp.range !== undefined || dhcp.reservations.length > 0) refuse("has DHCP but no subnet to give addresses from", "Give it a subnet, like 10.9.0.0/24, or turn DHCP off.");
    return;
  }
  const subnet = parseSubnet(text) ?? refuse(`cannot have the subnet ${text}: it has bits set behind its prefix`, `Write ${aligned(text)}.`);
  if (isLoopbackIpv4(subnet.base) || isMulticastIpv4(subnet.base) || subnet.base >>> 28 === 15 || subnet.base >>> 24 === 0 || subnet.base >>> 16 === 0xa9fe) {
    refuse(`cannot have the subnet ${text}: such addresses have another meaning`, "Take a private one, like 10.9.0.0/24.");
  }
  requireSoundDhcp(dhcp, subnet, parseIpv4(gatewayOf(network) ?? ""), refuse);
}

function requireSoundDhcp(dhcp: DhcpConfig, subnet: Subnet, gateway: Ipv4Address | undefined, refuse: (because: string, remedy: string) => never): void {
  const { first, last } = dhcp.range ?? defaultRange(subnet);
  const [from, to] = [address(first), address(last)];
  const inside = `Its addresses go from ${formatIpv4(subnet.base + (gateway === undefined ? 1 : 2))} to ${formatIpv4(subnetBroadcast(subnet) - 1)}.`;
  const usable = (one: Ipv4Address): boolean => inSubnet(subnet, one) && one !== subnet.base && one !== subnetBroadcast(subnet) && one !== gateway;
  if (from > to) refuse(`gives out addresses from ${first} to ${last}, which is backwards`, "Turn them round.");
  if (!usable(from) || !usable(to)) refuse(`cannot give out ${first} to ${last}`, inside);
  const seen = new Set<string>();
  for (const { mac, address: reserved } of dhcp.reservations) {
    if (!usable(address(reserved))) refuse(`cannot reserve ${reserved}`, inside);
    if (seen.has(mac) || seen.has(reserved)) refuse(`has two reservations for ${seen.has(mac) ? mac : reserved}`, "Keep one of them.");
    seen.add(mac).add(reserved);
  }
}

function address(text: string): Ipv4Address {
  // The schema has looked at it already.
  return parseIpv4(text) ?? 0;
}

function aligned(text: string): string {
  const [base = "", bits = "24"] = text.split("/");
  return formatSubnet({ base: (address(base) & subnetMask(Number(bits))) >>> 0, prefix: Number(bits) });
}
