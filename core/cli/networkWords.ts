import type { AdapterConfig, AdapterStatus, Attachment, DhcpConfig, NatSettings, NetworkConfig, PortForward, RateLimit } from "../contract/network";
import { oneOf } from "./spec";
import { UsageError } from "./verb";

/*
 * How networks, forwards and rates are written on the command line, and read back.
 */

type Door = Pick<PortForward, "protocol" | "hostAddress" | "hostPort">;

const forwardForm = "PROTOCOL:[ADDRESS:]PORT:GUESTPORT, like tcp:127.0.0.1:2222:22 or tcp:8000-8009:8000";

/** `tcp:127.0.0.1:2222:22`; without an address this computer's own programs only. Ports may be ranges of the same length. */
export function forwardFrom(text: string): PortForward {
  const parts = text.split(":");
  const [protocol, hostAddress, host, guest] = parts.length === 3 ? [parts[0], "127.0.0.1", parts[1], parts[2]] : parts;
  if (parts.length < 3 || parts.length > 4 || protocol === undefined || hostAddress === undefined) throw new UsageError(`"${text}" is no port forward. Write it as ${forwardForm}.`);
  const [hostPort, count] = ports(text, host);
  const [guestPort, guestCount] = ports(text, guest);
  if (guestCount !== 1 && guestCount !== count) throw new UsageError(`"${text}" forwards ${count} ports to ${guestCount}. Both ranges have to be of one length.`);
  return { protocol: oneOf("the protocol", ["tcp", "udp"] as const, protocol), hostAddress, hostPort, guestPort, ...(count === 1 ? {} : { count }) };
}

/** The host's side of a forward, which is what tells it from others: `tcp:2222`, or the whole forward. */
export function doorFrom(text: string): Door {
  const parts = text.split(":");
  if (parts.length === 4) return forwardFrom(text);
  const [protocol, hostAddress, host] = parts.length === 2 || (parts.length === 3 && !parts[1]!.includes(".")) ? [parts[0], "127.0.0.1", parts[1]] : parts;
  if (parts.length < 2 || protocol === undefined || hostAddress === undefined) throw new UsageError(`"${text}" is no port of this computer. Write it as PROTOCOL:[ADDRESS:]PORT, like tcp:2222.`);
  return { protocol: oneOf("the protocol", ["tcp", "udp"] as const, protocol), hostAddress, hostPort: ports(text, host)[0] };
}

/** A port, or a range, as its first one and how many. */
function ports(where: string, text: string | undefined): [first: number, count: number] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text ?? "");
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? first);
  if (!match || first < 1 || last > 65_535 || last < first) throw new UsageError(`"${where}": "${text ?? ""}" is no port of 1 to 65535, and no range of them.`);
  return [first, last - first + 1];
}

export function forwardWords({ protocol, hostAddress, hostPort, guestPort, count = 1 }: PortForward): string {
  const range = (first: number): string => (count === 1 ? String(first) : `${first}-${first + count - 1}`);
  return `${protocol}:${hostAddress}:${range(hostPort)}:${range(guestPort)}`;
}

export function attachmentWords({ mode, network }: Attachment): string {
  return network === undefined ? mode : `${mode}:${network}`;
}

const rateUnits: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits a second: `10M`, `500k`. */
function rate(where: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)(?:bit)?(?:\/s)?$/i.exec(text);
  if (!match) throw new UsageError(`${where}: "${text}" is no rate. Write it in bits a second, like 500k or 10M.`);
  return Math.round(Number(match[1]) * (rateUnits[match[2]!.toLowerCase()] ?? 1));
}

/** The limits given, on top of those there are; an empty word lifts one. Null when none is left. */
export function ratesFrom(before: RateLimit | undefined, toGuest: string | undefined, fromGuest: string | undefined): RateLimit | null | undefined {
  if (toGuest === undefined && fromGuest === undefined) return undefined;
  const after: RateLimit = { ...before };
  for (const [key, text] of [["toGuest", toGuest], ["fromGuest", fromGuest]] as const) {
    if (text === "") delete after[key];
    else if (text !== undefined) after[key] = rate(`--rate-${key === "toGuest" ? "to" : "from"}-guest`, text);
  }
  return Object.keys(after).length === 0 ? null : after;
}

export function rateWords({ toGuest, fromGuest }: RateLimit): string {
  return [toGuest === undefined ? undefined : `${rateText(toGuest)} to the guest`, fromGuest === undefined ? undefined : `${rateText(fromGuest)} from it`].filter((part) => part !== undefined).join(", ");
}

function rateText(bits: number): string {
  const [unit, size] = bits >= 1e9 ? ["Gbit/s", 1e9] : bits >= 1e6 ? ["Mbit/s", 1e6] : ["kbit/s", 1e3];
  return `${Number((bits / (size as number)).toFixed(2))} ${unit}`;
}

/** What NAT is to allow; undefined when nothing was said. */
export function natFrom(before: NatSettings | undefined, hostLoopback: string | undefined, hostNetworks: string | undefined): NatSettings | undefined {
  if (hostLoopback === undefined && hostNetworks === undefined) return undefined;
  const { hostLoopback: loopback, hostNetworks: networks } = before ?? { hostLoopback: false, hostNetworks: true };
  return { hostLoopback: yesNo("--host-loopback", hostLoopback) ?? loopback, hostNetworks: yesNo("--host-networks", hostNetworks) ?? networks };
}

function yesNo(where: string, text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : oneOf(where, ["yes", "no"] as const, text) === "yes";
}

export interface DhcpOptions {
  readonly dhcp?: boolean;
  readonly "no-dhcp"?: boolean;
  readonly "dhcp-range"?: string;
  readonly reserve?: readonly string[];
}

/** DHCP as it is to be; undefined when nothing was said. */
export function dhcpFrom(before: DhcpConfig | undefined, options: DhcpOptions): DhcpConfig | undefined {
  const { dhcp, "no-dhcp": noDhcp, "dhcp-range": range, reserve } = options;
  if (dhcp && noDhcp) throw new UsageError("--dhcp and --no-dhcp cannot be had together.");
  if (!dhcp && !noDhcp && range === undefined && reserve === undefined) return undefined;
  const [first, last, ...rest] = range?.split("-") ?? [];
  if (range !== undefined && (!first || !last || rest.length > 0)) throw new UsageError(`--dhcp-range: "${range}" is no range. Write it like 10.9.0.100-10.9.0.200.`);
  const enabled = noDhcp ? false : dhcp || range !== undefined || (reserve ?? []).length > 0 || (before?.enabled ?? false);
  return { reservations: before?.reservations ?? [], ...(before?.range ? { range: before.range } : {}), enabled, ...(first && last ? { range: { first, last } } : {}), ...(reserve ? { reservations: reserved(before?.reservations ?? [], reserve) } : {}) };
}

/** Adapters that are not named keep their addresses; what is said last of one counts. */
function reserved(before: DhcpConfig["reservations"], said: readonly string[]): DhcpConfig["reservations"] {
  const addresses = new Map(before.map(({ mac, address }) => [mac, address]));
  for (const text of said) {
    if (text === "") {
      addresses.clear();
      continue;
    }
    const [mac, address, ...rest] = text.split("=");
    if (!mac || address === undefined || rest.length > 0) throw new UsageError(`--reserve: "${text}" is no reservation. Write it as MAC=ADDRESS.`);
    if (address === "") addresses.delete(mac.toLowerCase());
    else addresses.set(mac.toLowerCase(), address);
  }
  return [...addresses].map(([mac, address]) => ({ mac, address }));
}

export function dhcpWords({ dhcp, subnet }: NetworkConfig): string {
  if (subnet === undefined || !dhcp.enabled) return "off";
  return dhcp.range ? `${dhcp.range.first} to ${dhcp.range.last}` : "on";
}

/** How an adapter is doing, in a word; `status` only of a machine that runs. */
export function stateWord({ plugged, attachment }: AdapterConfig, status: AdapterStatus | undefined): string {
  if (attachment.mode === "none" || !plugged) return "unplugged";
  if (status === undefined) return "plugged";
  return status.problem ? "leads nowhere" : status.connected ? "connected" : "not connected";
}
