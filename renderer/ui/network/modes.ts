import type { HostInfo, NetworkMode } from "../../../core/contract/model";
import type { Attachment, HostCard, NamedNetworkMode, NetworkInfo } from "../../../core/contract/network";

/* The kinds of networks in words, colours and a table. Pure. */

export const networkNames: Readonly<Record<NetworkMode, string>> = {
  none: "Unplugged",
  nat: "NAT",
  "nat-network": "NAT network",
  internal: "Internal",
  "host-only": "Host-only",
  bridged: "Bridged",
};

export const networkColours: Readonly<Record<NetworkMode, string>> = {
  none: "var(--off)",
  nat: "var(--n-nat)",
  "nat-network": "var(--n-nat)",
  internal: "var(--n-int)",
  "host-only": "var(--n-host)",
  bridged: "var(--n-bri)",
};

/** In the order in which they are offered. */
export const networkModes: readonly NetworkMode[] = ["nat", "nat-network", "bridged", "internal", "host-only", "none"];
export const namedModes: readonly NamedNetworkMode[] = ["nat-network", "internal", "host-only"];

/** What each is, in a line. */
export const modeDetails: Readonly<Record<NetworkMode, string>> = {
  nat: "Its own private way out",
  "nat-network": "A way out, shared with others",
  bridged: "Straight on your real network",
  internal: "Sealed: only other machines",
  "host-only": "This computer and other machines",
  none: "No cable for now",
};

/** Who reaches whom: by itself, by a port forward, or not at all. */
export type Reach = "yes" | "forward" | "no";

export const directions = [
  { id: "toOutside", label: "Machine to outside" },
  { id: "fromHost", label: "This computer to machine" },
  { id: "fromOutside", label: "Outside to machine" },
  { id: "between", label: "Machine to machine" },
] as const;
export type Direction = (typeof directions)[number]["id"];

export const connectivity: Readonly<Record<NetworkMode, Readonly<Record<Direction, Reach>>>> = {
  nat: { toOutside: "yes", fromHost: "forward", fromOutside: "forward", between: "no" },
  "nat-network": { toOutside: "yes", fromHost: "forward", fromOutside: "forward", between: "yes" },
  bridged: { toOutside: "yes", fromHost: "yes", fromOutside: "yes", between: "yes" },
  internal: { toOutside: "no", fromHost: "no", fromOutside: "no", between: "yes" },
  "host-only": { toOutside: "no", fromHost: "yes", fromOutside: "no", between: "yes" },
  none: { toOutside: "no", fromHost: "no", fromOutside: "no", between: "no" },
};

/** The table's row of a kind, as one would say it. */
export const connectivityWords: Readonly<Record<NetworkMode, string>> = {
  nat: "The machine reaches the outside. This computer and the outside reach it through port forwards. Other machines do not.",
  "nat-network": "The machine reaches the outside, and the other machines on the network. This computer and the outside reach it through port forwards.",
  bridged: "The machine is one more computer on your network, with an address from there. Everything on that network reaches it.",
  internal: "The machine reaches the other machines on the network, and nothing else. Nothing else reaches it.",
  "host-only": "The machine, the other machines on the network and this computer reach each other. It does not reach the outside.",
  none: "Nothing reaches the machine, and it reaches nothing.",
};

export function isNamedMode(mode: NetworkMode): mode is NamedNetworkMode {
  return mode === "nat-network" || mode === "internal" || mode === "host-only";
}

/** Guests are behind a gateway, through which ports are forwarded. */
export function isNatMode(mode: NetworkMode): boolean {
  return mode === "nat" || mode === "nat-network";
}

/** What stands for an attachment in a list: the network's name, or the kind where it has none. */
export function attachmentName({ mode, network }: Attachment): string {
  return network ?? networkNames[mode];
}

/** The attachment that choosing a kind leads to: the first network of that kind, or the first card that can. */
export function attachmentOf(mode: NetworkMode, networks: readonly NetworkInfo[], cards: readonly HostCard[] | undefined): Attachment {
  const network = isNamedMode(mode)
    ? networks.find(({ config }) => config.mode === mode)?.config.name
    : mode === "bridged"
      ? cards?.filter(({ problem }) => problem === undefined).sort((one, other) => Number(other.up) - Number(one.up))[0]?.name
      : undefined;
  return network === undefined ? { mode } : { mode, network };
}

/** What of an attachment is still to be chosen. */
export function attachmentLack({ mode, network }: Attachment): string | undefined {
  if (network !== undefined) return undefined;
  if (mode === "bridged") return "Choose a card of this computer first.";
  return isNamedMode(mode) ? "Choose a network, or make one, first." : undefined;
}

/** Why a kind cannot be had on this host; undefined when it can. */
export function modeProblem(mode: NetworkMode, modes: HostInfo["networkModes"]): { reason: string; remedy?: string | undefined } | undefined {
  const entry = modes.find((other) => other.mode === mode);
  if (entry === undefined) return { reason: "This host does not have it." };
  return entry.available ? undefined : { reason: entry.reason ?? "Not available on this computer.", remedy: entry.remedy };
}

/** The reasons for what cannot be had, each once, with the kinds it is about. */
export function modeProblems(modes: HostInfo["networkModes"]): { modes: NetworkMode[]; reason: string; remedy?: string | undefined }[] {
  const found: { modes: NetworkMode[]; reason: string; remedy?: string | undefined }[] = [];
  for (const mode of networkModes) {
    const problem = modeProblem(mode, modes);
    if (!problem) continue;
    const same = found.find(({ reason, remedy }) => reason === problem.reason && remedy === problem.remedy);
    if (same) same.modes.push(mode);
    else found.push({ modes: [mode], ...problem });
  }
  return found;
}
