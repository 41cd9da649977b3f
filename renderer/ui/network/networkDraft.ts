import type * as z from "zod";
import { NetworkName, SubnetText, type NamedNetworkMode, type NetworkConfig, type NetworkPatch, type NetworkSpec } from "../../../core/contract/network";

/* A named network as it stands in a form. Pure. */

export interface NetworkDraft {
  readonly name: string;
  readonly mode: NamedNetworkMode;
  /** Empty: none, of an internal network; else one is chosen. */
  readonly subnet: string;
  readonly dhcp: boolean;
  /** Both empty: as Terrarium gives them out. */
  readonly first: string;
  readonly last: string;
  readonly domain: string;
  readonly mtu: string;
  readonly hostLoopback: boolean;
  readonly hostNetworks: boolean;
}

const blank = { subnet: "", dhcp: true, first: "", last: "", domain: "", mtu: "", hostLoopback: false, hostNetworks: true };

/** The first free one of `lab`, `lab-2`, ... */
export function newNetworkDraft(mode: NamedNetworkMode, taken: readonly string[]): NetworkDraft {
  const base = { "nat-network": "shared", internal: "lab", "host-only": "host" }[mode];
  const names = new Set(taken.map((name) => name.toLocaleLowerCase()));
  let name = base;
  for (let n = 2; names.has(name); n++) name = `${base}-${n}`;
  return { ...blank, name, mode };
}

export function networkDraftOf({ name, mode, subnet = "", dhcp, domain = "", mtu, nat }: NetworkConfig): NetworkDraft {
  return { name, mode, subnet, dhcp: dhcp.enabled, first: dhcp.range?.first ?? "", last: dhcp.range?.last ?? "", domain, mtu: mtu === undefined ? "" : String(mtu), hostLoopback: nat?.hostLoopback ?? false, hostNetworks: nat?.hostNetworks ?? true };
}

export type NetworkField = "name" | "subnet" | "range" | "mtu";

/** What could not even be asked for, by field. The host checks the rest. */
export function networkFaults(draft: NetworkDraft): Partial<Record<NetworkField, string>> {
  const faults: Partial<Record<NetworkField, string>> = {};
  if (!NetworkName.safeParse(draft.name.trim()).success) faults.name = draft.name.trim() === "" ? "Give the network a name." : "A name has 1 to 32 letters, digits, spaces, dots, - and _.";
  const subnet = draft.subnet.trim();
  if (subnet !== "" && !SubnetText.safeParse(subnet).success) faults.subnet = "A subnet is an address and a prefix of 8 to 30 bits, like 10.9.0.0/24.";
  if (subnet === "" && draft.mode === "internal" && draft.dhcp) faults.subnet = "DHCP needs a subnet to give addresses from.";
  if ((draft.first.trim() === "") !== (draft.last.trim() === "")) faults.range = "Give both ends of the range, or none.";
  if (draft.mtu.trim() !== "" && !(/^\d+$/.test(draft.mtu.trim()) && Number(draft.mtu) >= 576 && Number(draft.mtu) <= 65_520)) faults.mtu = "The longest packet has 576 to 65520 bytes.";
  return faults;
}

/** What `network.create` takes. */
export function specOf(draft: NetworkDraft): z.input<typeof NetworkSpec> {
  const { subnet, domain, mtu, nat } = settingsOf(draft);
  return {
    name: draft.name.trim(),
    mode: draft.mode,
    ...(subnet === undefined ? {} : { subnet }),
    dhcp: { enabled: draft.dhcp, ...rangeOf(draft) },
    ...(domain === undefined ? {} : { domain }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(nat === undefined || isDefault(nat) ? {} : { nat }),
  };
}

/** What differs from the network as it is: exactly that is sent. */
export function networkPatchOf(config: NetworkConfig, draft: NetworkDraft): z.input<typeof NetworkPatch> {
  const before = networkDraftOf(config);
  const changed = (...keys: (keyof NetworkDraft)[]): boolean => keys.some((key) => before[key] !== draft[key]);
  const { subnet, domain, mtu, nat } = settingsOf(draft);
  return {
    ...(changed("subnet") ? { subnet: subnet ?? null } : {}),
    ...(changed("dhcp", "first", "last") ? { dhcp: { enabled: draft.dhcp, ...rangeOf(draft), reservations: config.dhcp.reservations } } : {}),
    ...(changed("domain") ? { domain: domain ?? null } : {}),
    ...(changed("mtu") ? { mtu: mtu ?? null } : {}),
    ...(nat && changed("hostLoopback", "hostNetworks") ? { nat } : {}),
  };
}

/** An address that stays with a card, or is free again (`address` undefined). */
export function withReservation({ dhcp }: NetworkConfig, mac: string, address: string | undefined): z.input<typeof NetworkPatch> {
  const others = dhcp.reservations.filter((one) => one.mac !== mac && one.address !== address);
  return { dhcp: { ...dhcp, reservations: address === undefined ? others : [...others, { mac, address }] } };
}

function settingsOf(draft: NetworkDraft) {
  const text = (value: string): string | undefined => (value.trim() === "" ? undefined : value.trim());
  return {
    subnet: text(draft.subnet),
    domain: text(draft.domain),
    mtu: text(draft.mtu) === undefined ? undefined : Number(draft.mtu),
    nat: draft.mode === "nat-network" ? { hostLoopback: draft.hostLoopback, hostNetworks: draft.hostNetworks } : undefined,
  };
}

function rangeOf({ first, last }: NetworkDraft): { range?: { first: string; last: string } } {
  return first.trim() === "" || last.trim() === "" ? {} : { range: { first: first.trim(), last: last.trim() } };
}

function isDefault(nat: { hostLoopback: boolean; hostNetworks: boolean }): boolean {
  return !nat.hostLoopback && nat.hostNetworks;
}
