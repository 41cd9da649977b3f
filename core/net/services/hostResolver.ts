import { readFileSync, statSync, type Stats } from "node:fs";
import type { Clock } from "../../base/clock";
import { parseIpv4, type Ipv4Address } from "../wire/addresses";
import { dnsPort } from "../wire/dns";

export interface NameServer {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** Whom the host asks for names, in the order in which it asks; asked again for each query, so that it may change. */
export interface HostResolver {
  servers(): readonly NameServer[];
}

/** As many as the host's own library asks (resolv.conf(5), MAXNS). */
const maxServers = 3;
const maxFileBytes = 64 * 1024;
const checkEveryMs = 1000;
const loopback = 0x7f00_0001;

/**
 * Follows a resolver configuration file (resolv.conf(5)) as the host's own library does: whether it changed is looked
 * at when somebody asks, once a second at most. That works however it is changed, also where it is a link to a file that
 * is replaced, and needs nothing running. Servers with IPv6 addresses are left out.
 */
export class ResolverFile implements HostResolver {
  private known: readonly NameServer[] = [];
  private version = "";
  private checkedAt = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly path = "/etc/resolv.conf",
  ) {}

  /** Empty while the file is missing or names none. */
  servers(): readonly NameServer[] {
    const now = this.clock.monotonic();
    if (now - this.checkedAt < checkEveryMs) return this.known;
    this.checkedAt = now;
    const stat = this.look();
    const version = stat === undefined ? "" : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
    if (version === this.version) return this.known;
    this.version = version;
    this.known = stat?.isFile() ? this.read() : [];
    return this.known;
  }

  /** What is at the path now; undefined when nothing is there that could be looked at: a link that leads to itself, a folder that is closed to us. */
  private look(): Stats | undefined {
    try {
      return statSync(this.path, { throwIfNoEntry: false });
    } catch {
      return undefined; // The host's own library has no resolver either, and a guest's query must not fail here.
    }
  }

  private read(): readonly NameServer[] {
    try {
      return parseNameServers(readFileSync(this.path, "latin1").slice(0, maxFileBytes));
    } catch {
      // It went away, or may not be read (any more): the host has no resolver then. Looked at again when it changes.
      this.version = "";
      return [];
    }
  }
}

export function parseNameServers(text: string): NameServer[] {
  const servers: NameServer[] = [];
  for (const line of text.split("\n")) {
    const word = /^nameserver[ \t]+([^\s#;]+)/.exec(line)?.[1];
    const address = word === undefined ? undefined : parseIpv4(word);
    if (address === undefined || servers.length === maxServers) continue;
    // The library takes 0.0.0.0 for the host itself.
    servers.push({ address: address === 0 ? loopback : address, port: dnsPort });
  }
  return servers;
}
