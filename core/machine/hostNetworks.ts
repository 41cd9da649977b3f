import { readFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { formatSubnet, parseIpv4, subnetMask, type Subnet } from "../net/wire/addresses";
import { isMissing } from "../storage/fileErrors";

/** A network that the host itself reaches without a router, or has a route of its own for. */
export interface HostNetwork {
  readonly subnet: Subnet;
  /** The host's card that leads there. */
  readonly card: string;
}

/** More routes than that are a router's table: the first ones must do. */
const maxRoutes = 1000;

/**
 * The networks that the host uses now: those of its cards' addresses, and those it has routes for, but for the loopback
 * and the default route.
 * @param isOurs tells the cards that Terrarium itself has put there
 */
export async function readHostNetworks(isOurs: (card: string) => boolean = () => false): Promise<HostNetwork[]> {
  const found = [...cardNetworks(networkInterfaces()), ...parseRoutes(await routeTable())].filter(({ card }) => !isOurs(card));
  const distinct = new Map(found.map((network) => [`${formatSubnet(network.subnet)} ${network.card}`, network]));
  return [...distinct.values()];
}

/** What the addresses of the host's cards say. */
export function cardNetworks(cards: ReturnType<typeof networkInterfaces>): HostNetwork[] {
  return Object.entries(cards).flatMap(([card, addresses = []]) =>
    addresses.flatMap(({ family, internal, cidr }) => {
      const [address = "", prefix = ""] = (cidr ?? "").split("/");
      const host = parseIpv4(address);
      if (family !== "IPv4" || internal || host === undefined) return [];
      const bits = Number(prefix);
      return [{ card, subnet: { base: (host & subnetMask(bits)) >>> 0, prefix: bits } }];
    }),
  );
}

/** The destinations in /proc/net/route (proc(5)): hexadecimal, in the byte order of the host, which is little-endian where Terrarium runs. */
export function parseRoutes(table: string): HostNetwork[] {
  return table
    .split("\n", maxRoutes)
    .slice(1)
    .flatMap((line) => {
      const [card, destination = "", , , , , , mask = ""] = line.split("\t");
      const base = littleEndian(destination);
      const bits = littleEndian(mask.trim());
      if (card === undefined || card === "lo" || base === undefined || bits === undefined || bits === 0) return [];
      const prefix = 32 - Math.log2(2 ** 32 - bits);
      return Number.isInteger(prefix) ? [{ card, subnet: { base: (base & bits) >>> 0, prefix } }] : [];
    });
}

function littleEndian(text: string): number | undefined {
  if (!/^[0-9A-Fa-f]{8}$/.test(text)) return undefined;
  return parseInt(text.match(/../g)!.reverse().join(""), 16);
}

/** Empty where the system has no such table: its cards say enough. */
async function routeTable(): Promise<string> {
  if (process.platform !== "linux") return "";
  try {
    return await readFile("/proc/net/route", "utf8");
  } catch (error) {
    if (isMissing(error)) return "";
    throw error;
  }
}
