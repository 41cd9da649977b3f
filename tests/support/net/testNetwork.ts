import type { Disposable } from "../../../core/base/disposable";
import { silentLog } from "../../../core/base/log";
import type { SegmentSpec } from "../../../core/net/control";
import { Network, type NetworkAround } from "../../../core/net/network";
import { ManualReactor } from "../../../core/net/reactor";
import type { SavedLease } from "../../../core/net/services/dhcp";
import { formatMac, parseSubnet, type Ipv4Address, type MacNumber, type Subnet } from "../../../core/net/wire/addresses";
import { FakeHost } from "./fakeHost";
import { arpRequest, ip, readFrame, type ReadFrame, type Station } from "./frames";
import { Plug } from "./plug";

export const natSpec: SegmentSpec = {
  id: "network:lab",
  label: "the network lab",
  mode: "nat-network",
  subnet: "10.9.0.0/24",
  gateway: "10.9.0.2",
  dns: "10.9.0.3",
  dhcp: { first: "10.9.0.100", last: "10.9.0.200", reservations: [], leaseSeconds: 3600 },
  domain: "lab",
  mtu: 1500,
  nat: { hostLoopback: false, hostNetworks: true },
};

export const gatewayMac: MacNumber = 0x5255_0a09_0002;
export const gateway: Station = { mac: gatewayMac, address: ip("10.9.0.2") };
export const nameServer: Station = { mac: gatewayMac, address: ip("10.9.0.3") };

/** Somewhere outside, as guests see it: behind the gateway. */
export function outside(address: string): Station {
  return { mac: gatewayMac, address: ip(address) };
}

/** A guest on a cable: what it says goes out at once, and the turn ends. */
export class TestGuest implements Station {
  private cable: Disposable | undefined;

  constructor(
    private readonly reactor: ManualReactor,
    private readonly network: Network,
    readonly plug: Plug,
    readonly mac: MacNumber,
    readonly address: Ipv4Address,
    private readonly hostname: string | undefined,
  ) {
    this.plugIn();
  }

  plugIn(): void {
    this.cable = this.network.attach(this.plug, { id: formatMac(this.mac), mac: this.mac, hostname: this.hostname });
  }

  unplug(): void {
    this.cable?.dispose();
  }

  say(...frames: readonly Uint8Array[]): void {
    this.plug.say(...frames);
    this.reactor.endTurn();
  }

  /** Answers to what was said, taken apart; requests of ARP left out. */
  hear(): ReadFrame[] {
    this.reactor.endTurn();
    return this.plug.take().map(readFrame).filter((frame) => frame.arp?.operation !== 1);
  }

  /** So that the gateway knows where it is. */
  greet(): void {
    this.say(arpRequest(this, gateway.address));
    this.hear();
  }
}

/** A network on a fake host in virtual time, with guests. */
export class TestNetwork {
  readonly reactor = new ManualReactor();
  readonly host = new FakeHost();
  readonly refusals: string[] = [];
  readonly saved = new Map<string, readonly SavedLease[]>();
  changes = 0;
  hostNetworks: Subnet[] = [];
  otherSegments: Subnet[] = [];
  readonly network: Network;

  constructor(spec: SegmentSpec = natSpec, saved: readonly SavedLease[] = [], around: Partial<NetworkAround> = {}) {
    this.saved.set(spec.id, saved);
    this.network = new Network(spec, {
      reactor: this.reactor,
      sockets: this.host,
      log: silentLog,
      leases: { load: (segment) => this.saved.get(segment) ?? [], save: (segment, leases) => void this.saved.set(segment, leases) },
      resolver: { servers: () => [{ address: ip("192.0.2.53"), port: 53 }] },
      hostNetworks: () => this.hostNetworks,
      otherSegments: () => this.otherSegments,
      refused: (forward, reason) => this.refusals.push(`${forward} ${reason}`),
      changed: () => this.changes++,
      ...around,
    });
  }

  /** A guest that is plugged in and has this address, without asking for it. */
  guest(number: number, hostname?: string): TestGuest {
    return new TestGuest(this.reactor, this.network, new Plug(), 0x5254_0000_0000 + number, ip("10.9.0.0") + number, hostname);
  }

  /** Lets promises of the host be kept. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    this.reactor.endTurn();
  }
}

export function subnet(text: string): Subnet {
  const parsed = parseSubnet(text);
  if (parsed === undefined) throw new Error(`${text} is no subnet`);
  return parsed;
}
