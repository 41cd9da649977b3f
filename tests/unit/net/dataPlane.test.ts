import { afterEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import type { FabricState, FabricStatus, PortSpec, SegmentSpec } from "../../../core/net/control";
import { DataPlane, type HostPort } from "../../../core/net/dataPlane";
import type { MachinePort } from "../../../core/net/io";
import { chunkBytes } from "../../../core/net/nat/tcp";
import { ManualReactor } from "../../../core/net/reactor";
import { formatIpv4, parseMac } from "../../../core/net/wire/addresses";
import { FakeHost } from "../../support/net/fakeHost";
import { ip } from "../../support/net/frames";
import { GuestTcp } from "../../support/net/guestTcp";
import { Plug } from "../../support/net/plug";
import { natSpec, outside } from "../../support/net/testNetwork";

const cable: SegmentSpec = { id: "network:cable", label: "the network cable", mode: "host-only", subnet: "192.168.60.0/24", gateway: "192.168.60.1", mtu: 1500 };
const lab: SegmentSpec = { id: "network:lab", label: "the network lab", mode: "internal", mtu: 1500 };
const bridge: SegmentSpec = { id: "card:eth0", label: "the bridge to eth0", mode: "bridged", mtu: 1500, card: "eth0" };
const adapter: PortSpec = { id: "m1:0", socket: "/run/m1/net0.sock", segment: cable.id, mac: "52:54:00:00:00:01", plugged: true, macPolicy: "any" };

/** A machine that never says anything. */
function silentMachine(): MachinePort {
  const nothing = { dispose: () => undefined };
  return Object.assign(new Plug(), { connected: false, onDidConnect: () => nothing, onDidClose: () => nothing, ...nothing }) as unknown as MachinePort;
}

describe("the right to an interface of the host", () => {
  const planes: DataPlane[] = [];
  afterEach(() => planes.splice(0).forEach((plane) => plane.dispose()));

  /** A person who says no to every dialog, which the helper remembers until it may ask again. */
  function declined() {
    const reactor = new ManualReactor();
    let dialogs = 0;
    let refused = false;
    const refuse = (): Promise<never> => {
      if (!refused) dialogs++;
      refused = true;
      return Promise.reject(new TerrariumError("unavailable", "The right was not given."));
    };
    const hostPorts = { hostOnly: refuse, bridged: refuse, askAgain: () => (refused = false), dispose: () => undefined };
    const plane = new DataPlane({
      ...{ log: silentLog, leases: { load: () => [], save: () => undefined }, resolver: { servers: () => [] } as never },
      ...{ io: { reactor, sockets: new FakeHost() as never, connectMachine: silentMachine }, hostPorts, hostNetworks: () => [], tell: () => undefined },
    });
    planes.push(plane);
    return async (state: Partial<FabricState>): Promise<number> => {
      const applied = plane.apply({ segments: [], ports: [], forwards: [], ...state });
      for (let turn = 0; turn < 20; turn++) {
        await Promise.resolve();
        reactor.advance(0);
      }
      await applied;
      return dialogs;
    };
  }

  it("is not asked for again when it was declined and something else changes", async () => {
    const apply = declined();
    expect(await apply({ segments: [cable] })).toBe(1);
    // The machine's process has come up, another network is made, and a forward too.
    expect(await apply({ segments: [cable], ports: [adapter] })).toBe(1);
    expect(await apply({ segments: [cable, lab], ports: [adapter] })).toBe(1);
    expect(await apply({ segments: [cable, lab], ports: [{ ...adapter, plugged: false }] })).toBe(1);
  });

  it("is asked for again when the cable is plugged in again, or comes from elsewhere", async () => {
    const apply = declined();
    await apply({ segments: [cable, lab], ports: [adapter] });
    await apply({ segments: [cable, lab], ports: [{ ...adapter, plugged: false }] });
    expect(await apply({ segments: [cable, lab], ports: [adapter] })).toBe(2);
    expect(await apply({ segments: [cable, lab], ports: [{ ...adapter, segment: lab.id }] })).toBe(2);
    expect(await apply({ segments: [cable, lab], ports: [adapter] })).toBe(3);
  });

  it("is asked for again when the network is changed, or another one needs it", async () => {
    const apply = declined();
    await apply({ segments: [cable] });
    expect(await apply({ segments: [{ ...cable, subnet: "192.168.61.0/24", gateway: "192.168.61.1" }] })).toBe(2);
    expect(await apply({ segments: [cable] })).toBe(3);
    expect(await apply({ segments: [cable, bridge] })).toBe(4);
    expect(await apply({ segments: [cable, bridge] })).toBe(4);
  });
});

describe("the networks of a host", () => {
  it("have one memory for TCP together", async () => {
    const reactor = new ManualReactor();
    const host = new FakeHost();
    const plugs = new Map<string, Plug>();
    const plane = new DataPlane({
      ...{ log: silentLog, leases: { load: () => [], save: () => undefined }, resolver: { servers: () => [] } as never },
      ...{ hostPorts: {} as never, hostNetworks: () => [], tell: () => undefined },
      io: {
        reactor,
        sockets: host as never,
        connectMachine: (socket) => {
          const machine = silentMachine();
          plugs.set(socket, machine as unknown as Plug);
          return machine;
        },
      },
    });
    const networks = [1, 2].map((number) => ({ ...natSpec, id: `network:n${number}`, subnet: `10.${number}.0.0/24`, gateway: `10.${number}.0.2`, dns: `10.${number}.0.3`, dhcp: undefined }));
    const ports = networks.map(({ id }, index): PortSpec => ({ ...adapter, id: `m${index}:0`, socket: `/run/${id}`, segment: id, mac: `52:54:00:00:00:1${index}` }));
    const applied = plane.apply({ segments: networks, ports, forwards: [] });
    for (let turn = 0; turn < 20; turn++) {
      await Promise.resolve();
      reactor.advance(0);
    }
    await applied;
    let allocated = 0;
    const allocate = reactor.allocate.bind(reactor);
    reactor.allocate = (bytes) => {
      if (bytes === chunkBytes) allocated++;
      return allocate(bytes);
    };
    for (const [index, port] of ports.entries()) {
      const plug = plugs.get(port.socket)!;
      const gateway = ip(`10.${index + 1}.0.2`);
      const tcp = new GuestTcp({ reactor, host, plug }, { mac: parseMac(port.mac)!, address: gateway + 13 }, 4000, { ...outside("198.51.100.7"), mac: 0x5255_0000_0000 + gateway });
      const socket = tcp.connect();
      tcp.send(Uint8Array.of(1, 2, 3));
      expect(socket?.written.length, formatIpv4(gateway)).toBe(1);
    }
    // What the first gave back, the second took.
    expect(allocated).toBe(1);
    plane.dispose();
  });
});

describe("the host's end of a network, while a person is asked for the right to it", () => {
  const planes: DataPlane[] = [];
  afterEach(() => planes.splice(0).forEach((plane) => plane.dispose()));

  /** Dialogs stay open until they are answered, oldest first. */
  function asking() {
    const reactor = new ManualReactor();
    const dialogs: { give(port: HostPort): void; decline(): void }[] = [];
    const connected: string[] = [];
    const told: FabricStatus[] = [];
    const hostOnly = (): Promise<HostPort> =>
      new Promise((give, reject) => dialogs.push({ give, decline: () => reject(new TerrariumError("unavailable", "The right was not given.")) }));
    const plane = new DataPlane({
      ...{ log: silentLog, leases: { load: () => [], save: () => undefined }, resolver: { servers: () => [] } as never },
      ...{ io: { reactor, sockets: new FakeHost() as never, connectMachine: (socket: string) => (connected.push(socket), silentMachine()) }, hostNetworks: () => [] },
      ...{ hostPorts: { hostOnly, bridged: hostOnly, askAgain: () => undefined, dispose: () => undefined }, tell: (event) => event.event === "status" && told.push(event.status) },
    });
    planes.push(plane);
    const turns = async (): Promise<void> => {
      for (let turn = 0; turn < 20; turn++) {
        await Promise.resolve();
        reactor.advance(0);
      }
    };
    const apply = async (state: Partial<FabricState>): Promise<FabricStatus | undefined> => {
      let status: FabricStatus | undefined;
      void plane.apply({ segments: [], ports: [], forwards: [], ...state }).then((answer) => (status = answer));
      await turns();
      return status;
    };
    return { apply, turns, dialogs, connected, told };
  }

  it("keeps no other machine from its network, nor guests of that network from each other", async () => {
    const { apply, connected } = asking();
    expect(await apply({ segments: [cable], ports: [adapter] })).toMatchObject({ segments: [{ id: cable.id }] });
    const other = { ...adapter, id: "m2:0", socket: "/run/m2/net0.sock", segment: lab.id };
    expect(await apply({ segments: [cable, lab], ports: [adapter, other] })).toMatchObject({ segments: [{ id: cable.id }, { id: lab.id }] });
    expect(connected).toEqual([adapter.socket, other.socket]);
  });

  it("is told of when they have answered, either way", async () => {
    const { apply, turns, dialogs, told } = asking();
    await apply({ segments: [cable] });
    dialogs[0]!.decline();
    await turns();
    expect(told.at(-1)?.segments).toMatchObject([{ id: cable.id, problem: { code: "unavailable" } }]);
    // Tried again with another change; what is wrong stays wrong until that has worked.
    expect((await apply({ segments: [cable, lab] }))?.segments).toMatchObject([{ id: cable.id, problem: { code: "unavailable" } }, { id: lab.id }]);
    dialogs[1]!.give(Object.assign(new Plug(), { interfaceName: "tt-cable-0001" }));
    await turns();
    expect(told.at(-1)?.segments).toEqual([{ id: cable.id, hostInterface: "tt-cable-0001" }, { id: lab.id }]);
    await apply({ segments: [cable] });
    expect(dialogs).toHaveLength(2);
  });

  it("is closed when nobody wants it any more by then, before the next of its name is opened", async () => {
    const { apply, turns, dialogs } = asking();
    await apply({ segments: [cable] });
    await apply({ segments: [] });
    await apply({ segments: [cable] });
    expect(dialogs).toHaveLength(1);
    const late = new Plug();
    dialogs[0]!.give(late);
    await turns();
    expect(late.disposed).toBe(true);
    expect(dialogs).toHaveLength(2);
  });
});
