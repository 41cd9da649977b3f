import { readFile, readdir, readlink, stat } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { basename, join } from "node:path";
import type { Clock } from "../../base/clock";
import { toDisposable, type Disposable } from "../../base/disposable";
import type { ErrorData } from "../../contract/errors";
import type { HostCard } from "../../contract/network";
import { formatSubnet, parseIpv4, parseMac, read32, subnetMask, type Ipv4Address, type MacNumber, type Subnet } from "../wire/addresses";
import { tapNamePattern } from "./linkRequests";

/*
 * The host's cards, and the networks the host is on. Read from sysfs (sysfs-class-net) and /proc/net, which tell of the
 * network namespace this process runs in, and from the runtime for addresses.
 */

/** Where to look; tests point elsewhere. */
export interface HostView {
  readonly platform: NodeJS.Platform;
  /** /sys/class/net */
  readonly classNet: string;
  /** /proc/net */
  readonly procNet: string;
  interfaces(): ReturnType<typeof networkInterfaces>;
}

export const thisHost: HostView = { platform: process.platform, classNet: "/sys/class/net", procNet: "/proc/net", interfaces: () => networkInterfaces() };

const ethernetHardware = "1";
const loopbackHardware = "772";

/** Every card of the host but those we made, with the reason where it cannot be bridged. */
export async function hostCards(host: HostView = thisHost): Promise<HostCard[]> {
  const addresses = host.interfaces();
  if (host.platform !== "linux") {
    const problem = bridgingUnsupported(host.platform);
    return Object.entries(addresses).map(([name, list = []]) => ({ name, kind: list.every((entry) => entry.internal) ? "Loopback" : "Network card", up: true, addresses: list.map((entry) => entry.address), problem }));
  }
  const names = (await listing(host.classNet)).filter((name) => !tapNamePattern.test(name)).sort();
  const cards = await Promise.all(names.map((name) => readCard(host, name, (addresses[name] ?? []).map((entry) => entry.address))));
  return cards.filter((card) => card !== undefined);
}

/** Why there are no bridged networks on this platform. */
export function bridgingUnsupported(platform: NodeJS.Platform): ErrorData {
  return { code: "unsupported", message: `Bridged networks work on Linux; on ${platform === "darwin" ? "macOS" : platform === "win32" ? "Windows" : platform} they do not.`, remedy: "Use NAT, and forward ports from this computer's address in the LAN to the guest." };
}

async function readCard(host: HostView, name: string, addresses: string[]): Promise<HostCard | undefined> {
  const folder = join(host.classNet, name);
  const hardware = await text(join(folder, "type"));
  // It went while we looked; or it is no card at all, as `bonding_masters`.
  if (hardware === undefined) return undefined;
  const up = (parseInt((await text(join(folder, "flags"))) ?? "0", 16) & 1) === 1;
  const card = { name, up, addresses };
  if (hardware === loopbackHardware) return { ...card, kind: "Loopback", problem: noEthernet(name, "is the computer's way to itself") };
  if (hardware !== ethernetHardware) return { ...card, kind: "Tunnel", problem: noEthernet(name, "connects two points and carries no Ethernet") };
  if ((await exists(join(folder, "wireless"))) || (await exists(join(folder, "phy80211")))) {
    return {
      ...card,
      kind: "Wi-Fi",
      problem: { code: "unsupported", message: `${name} is Wi-Fi: an access point takes frames from this computer's own address only, and drops those of guests.`, remedy: natToLan(addresses) },
    };
  }
  const master = await readlink(join(folder, "master")).then(basename, () => undefined);
  if (master !== undefined) {
    return { ...card, kind: "Ethernet", problem: { code: "unsupported", message: `${name} belongs to ${master}, which takes its frames.`, remedy: `Choose ${master}.` } };
  }
  if (await exists(join(folder, "bridge"))) return { ...card, kind: "Linux bridge" };
  return { ...card, kind: (await exists(join(folder, "device"))) ? "Ethernet" : "Virtual" };
}

const usualMtu = 1500;

/** The card's own MAC address, 0 when it cannot be told, and the longest packet its wire takes, bytes. */
export async function cardWire(name: string, host: HostView = thisHost): Promise<{ readonly mac: MacNumber; readonly mtu: number }> {
  const [mac, mtu] = await Promise.all(["address", "mtu"].map((file) => text(join(host.classNet, name, file))));
  return { mac: parseMac(mac ?? "") ?? 0, mtu: Number(mtu) || usualMtu };
}

function noEthernet(name: string, because: string): ErrorData {
  return { code: "unsupported", message: `${name} ${because}, so guests cannot be on it.`, remedy: "Choose a wired card, or use NAT with port forwards." };
}

function natToLan(addresses: string[]): string {
  const lan = addresses.find((address) => parseIpv4(address) !== undefined);
  return `Use NAT, and forward ports from ${lan ?? "this computer's address in the LAN"} to the guest.`;
}

/** Where this computer's packets go: the networks it is on or has routes to, the addresses it has, and the gateways. */
export interface HostNetworks {
  readonly networks: readonly { readonly subnet: Subnet; readonly card: string }[];
  readonly addresses: readonly { readonly address: Ipv4Address; readonly prefix: number; readonly card: string }[];
  readonly gateways: readonly Ipv4Address[];
}

/**
 * The shortest prefix of a network. A wider route is a default route or a piece of one, as VPNs make two or more of to take
 * everything (0.0.0.0/1 and 128.0.0.0/1): it leads to the world at large and collides with nothing.
 */
const widestNetwork = 8;

/** @param ours leaves out what leads to interfaces of our own when false, so that a network does not collide with itself */
export async function hostNetworks(host: HostView = thisHost, ours = false): Promise<HostNetworks> {
  const counts = (card: string): boolean => ours || !tapNamePattern.test(card);
  const addresses: { address: Ipv4Address; prefix: number; card: string }[] = [];
  for (const [card, list = []] of Object.entries(host.interfaces())) {
    for (const entry of list) {
      const address = entry.family === "IPv4" ? parseIpv4(entry.address) : undefined;
      const prefix = Number(entry.cidr?.split("/")[1] ?? 32);
      if (address !== undefined && counts(card)) addresses.push({ address, prefix, card });
    }
  }
  const networks = addresses.map(({ address, prefix, card }) => ({ subnet: { base: (address & subnetMask(prefix)) >>> 0, prefix }, card }));
  const gateways: Ipv4Address[] = [];
  for (const route of await routes(host)) {
    if (!counts(route.card)) continue;
    if (route.gateway !== 0) gateways.push(route.gateway);
    const known = networks.some((network) => network.card === route.card && formatSubnet(network.subnet) === formatSubnet(route.subnet));
    if (route.subnet.prefix >= widestNetwork && !known) networks.push({ subnet: route.subnet, card: route.card });
  }
  return { networks, addresses, gateways };
}

/** How often the host's networks are looked at, milliseconds. */
export const lookAgainMs = 2000;

/**
 * Calls `changed` with the host's networks now, and whenever they are others than before. A look takes descriptors, and
 * there may be none left: `failed` hears of that once, until a look succeeds, and the networks are as they were.
 */
export function followHostNetworks(clock: Clock, changed: (networks: HostNetworks) => void, failed: (error: unknown) => void, host: HostView = thisHost): Disposable {
  let known = "";
  let failing = false;
  let ended = false;
  let timer: Disposable | undefined;
  const look = async (): Promise<void> => {
    let networks: HostNetworks | undefined;
    try {
      networks = await hostNetworks(host);
    } catch (error) {
      if (!ended && !failing) failed(error);
    }
    if (ended) return;
    failing = networks === undefined;
    timer = clock.schedule(lookAgainMs, () => void look());
    const text = JSON.stringify(networks);
    if (networks === undefined || text === known) return;
    known = text;
    changed(networks);
  };
  void look();
  return toDisposable(() => {
    ended = true;
    timer?.dispose();
  });
}

const routeIsUp = 1;

/** /proc/net/route (proc(5)): name, destination, gateway, flags, ..., mask at the eighth; addresses as the number their bytes make here. */
async function routes(host: HostView): Promise<{ card: string; subnet: Subnet; gateway: Ipv4Address }[]> {
  // A table that is there but cannot be read must not look like one that is empty.
  const table = await readFile(join(host.procNet, "route"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  return table.split("\n").slice(1).flatMap((line) => {
    const [card, destination, gateway, flags, , , , mask] = line.trim().split(/\s+/);
    if (card === undefined || destination === undefined || gateway === undefined || flags === undefined || mask === undefined || (parseInt(flags, 16) & routeIsUp) === 0) return [];
    return [{ card, subnet: { base: networkOrder(destination), prefix: Math.clz32(~networkOrder(mask)) }, gateway: networkOrder(gateway) }];
  });
}

function networkOrder(hex: string): Ipv4Address {
  const bytes = new Uint8Array(Uint32Array.of(parseInt(hex, 16)).buffer);
  return read32(bytes, 0);
}

/** Files of /sys and /proc come and go with the interfaces: one that cannot be read is not there. */
async function text(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").then((content) => content.trim(), () => undefined);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

async function listing(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
