import { readdir, readFile, readlink } from "node:fs/promises";
import type { Ipv4Address } from "../wire/addresses";

export type PortProtocol = "tcp" | "udp";

export interface PortHolder {
  readonly pid: number;
  readonly name: string;
}

/**
 * The process that holds a port of the host, as /proc tells (proc(5)): the socket's inode from the table of sockets, then
 * the process with a descriptor on it. Undefined where there is no /proc, and for processes of others, whose descriptors
 * are not shown.
 */
export async function portHolder(protocol: PortProtocol, address: Ipv4Address, port: number): Promise<PortHolder | undefined> {
  const inodes = new Set([...(await socketInodes(`/proc/net/${protocol}`, protocol, address, port)), ...(await socketInodes(`/proc/net/${protocol}6`, protocol, address, port))]);
  if (inodes.size === 0) return undefined;
  for (const pid of await listing("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    for (const descriptor of await listing(`/proc/${pid}/fd`)) {
      const target = await orUndefined(readlink(`/proc/${pid}/fd/${descriptor}`));
      const inode = target === undefined ? undefined : /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      const name = await orUndefined(readFile(`/proc/${pid}/comm`, "utf8"));
      if (name !== undefined) return { pid: Number(pid), name: name.trim() };
    }
  }
  return undefined;
}

const listening = "0A";

async function socketInodes(table: string, protocol: PortProtocol, address: Ipv4Address, port: number): Promise<string[]> {
  const text = (await orUndefined(readFile(table, "utf8"))) ?? "";
  const inodes: string[] = [];
  for (const line of text.split("\n").slice(1)) {
    // "0: 0100007F:1F90 00000000:0000 0A ... inode": address, port and state in hexadecimal, fields by spaces.
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
    const [host = "", localPort = ""] = local.split(":");
    if (parseInt(localPort, 16) !== port || inode === undefined || (protocol === "tcp" && state !== listening)) continue;
    // A socket on every address is in the way of one on a single address, and the other way round; IPv6's too.
    const theirs = ipv4Of(host);
    if (theirs !== undefined && (address === 0 || theirs === 0 || theirs === address)) inodes.push(inode);
  }
  return inodes;
}

/** The IPv4 address that a socket of either family covers: of IPv6's only "any" and the mapped ones (RFC 4291, 2.5.5.2). */
function ipv4Of(hex: string): Ipv4Address | undefined {
  if (hex.length === 8) return networkOrder(hex);
  if (/^0{32}$/.test(hex)) return 0;
  const mapped = hex.length === 32 && /^0{16}$/.test(hex.slice(0, 16)) && networkOrder(hex.slice(16, 24)) === 0xffff;
  return mapped ? networkOrder(hex.slice(24)) : undefined;
}

/** The tables print an address as the numbers that each four of its bytes make on this processor. */
function networkOrder(hex: string): number {
  return new DataView(Uint32Array.of(parseInt(hex, 16)).buffer).getUint32(0);
}

async function listing(folder: string): Promise<string[]> {
  return (await orUndefined(readdir(folder))) ?? [];
}

/** Processes come and go while one looks, and not everything may be looked at: what cannot be read tells nothing. */
async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  return reading.catch(() => undefined);
}
