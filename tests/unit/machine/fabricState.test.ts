import { describe, expect, it } from "vitest";
import type { AdapterConfig, NetworkConfig } from "../../../core/contract/network";
import type { MachineState } from "../../../core/contract/model";
import { fabricState, forwardsOverlap, isIdle, isMoved, privateSubnet, type FabricMachine } from "../../../core/machine/fabricState";
import type { HostNetwork } from "../../../core/machine/networkPlan";
import { FabricState } from "../../../core/net/control";
import { formatSubnet, parseSubnet } from "../../../core/net/wire/addresses";
import { makeConfig } from "../../support/machineConfig";

const lab: NetworkConfig = { name: "lab", mode: "nat-network", subnet: "10.9.0.0/24", dhcp: { enabled: true, reservations: [{ mac: "52:54:00:00:00:09", address: "10.9.0.9" }] }, domain: "lab.test", mtu: 9000 };
const wire: NetworkConfig = { name: "wire", mode: "internal", dhcp: { enabled: false, reservations: [] } };
const desk: NetworkConfig = { name: "desk", mode: "host-only", subnet: "192.168.56.0/24", dhcp: { enabled: true, reservations: [] } };
const networks = [lab, wire, desk];
const nothing = { host: [] as HostNetwork[], kept: new Map<string, string>() };
const ssh = { protocol: "tcp" as const, hostAddress: "127.0.0.1", hostPort: 2222, guestPort: 22 };

function machine(name: string, adapters: Partial<AdapterConfig>[], state: MachineState = "running"): FabricMachine {
  const config = makeConfig({ name, adapters: adapters.map((adapter, slot) => ({ mac: `52:54:00:00:00:0${slot}`, attachment: { mode: "nat" }, plugged: true, ...adapter })) });
  return { id: config.id, name, config, state, sockets: ["/run/net0.sock", "/run/net1.sock", "/run/net2.sock", "/run/net3.sock"] };
}

/** What the fabric is told, checked by its own schema. */
function stateOf(machines: FabricMachine[], around = nothing): FabricState {
  const state = fabricState(machines, networks, around);
  return FabricState.parse(state) && state;
}

describe("what the fabric is told", () => {
  it("is nothing while nothing runs", () => {
    expect(isIdle(stateOf([machine("web", [{}], "off"), machine("db", [{ attachment: { mode: "internal", network: "wire" } }], "saved")]))).toBe(true);
  });

  it("is a private network for each adapter behind NAT, with the places people know", () => {
    const web = machine("Web Server", [{}, {}]);
    const { segments, ports } = stateOf([web]);
    expect(segments.map(({ subnet, gateway, dns }) => [subnet, gateway, dns])).toEqual([
      ["10.0.2.0/24", "10.0.2.2", "10.0.2.3"],
      ["10.0.3.0/24", "10.0.3.2", "10.0.3.3"],
    ]);
    expect(segments[0]).toMatchObject({ mode: "nat", nat: { hostLoopback: false, hostNetworks: true }, dhcp: { first: "10.0.2.15", reservations: [{ mac: "52:54:00:00:00:00", address: "10.0.2.15" }] } });
    expect(ports).toEqual([
      { id: `${web.id}:0`, socket: "/run/net0.sock", segment: segments[0]?.id, mac: "52:54:00:00:00:00", plugged: true, hostname: "web-server", macPolicy: "any" },
      { id: `${web.id}:1`, socket: "/run/net1.sock", segment: segments[1]?.id, mac: "52:54:00:00:00:01", plugged: true, hostname: "web-server", macPolicy: "any" },
    ]);
  });

  it("is one segment for all that are attached to a named network, whatever the capitals", () => {
    const { segments, ports } = stateOf([machine("a", [{ attachment: { mode: "nat-network", network: "LAB" } }]), machine("b", [{ attachment: { mode: "nat-network", network: "lab" } }])]);
    expect(segments).toEqual([
      {
        id: "network:lab",
        label: "the network lab",
        mode: "nat-network",
        subnet: "10.9.0.0/24",
        gateway: "10.9.0.1",
        dns: "10.9.0.1",
        dhcp: { first: "10.9.0.100", last: "10.9.0.254", reservations: lab.dhcp.reservations, leaseSeconds: 3600 },
        domain: "lab.test",
        mtu: 9000,
        nat: { hostLoopback: false, hostNetworks: true },
      },
    ]);
    expect(ports.map(({ segment }) => segment)).toEqual(["network:lab", "network:lab"]);
  });

  it("says what host-only, internal and bridged segments have", () => {
    const { segments } = stateOf([machine("a", [{ attachment: { mode: "host-only", network: "desk" } }, { attachment: { mode: "internal", network: "wire" } }, { attachment: { mode: "bridged", network: "eth0" } }])]);
    expect(segments.map(({ id, gateway, dns, dhcp, nat, card }) => ({ id, gateway, dns, dhcp: dhcp?.first, nat, card }))).toEqual([
      { id: "network:desk", gateway: "192.168.56.1", dns: undefined, dhcp: "192.168.56.100", nat: undefined, card: undefined },
      { id: "network:wire", gateway: undefined, dns: undefined, dhcp: undefined, nat: undefined, card: undefined },
      { id: "card:eth0", gateway: undefined, dns: undefined, dhcp: undefined, nat: undefined, card: "eth0" },
    ]);
  });

  it("has no place for a cable that leads nowhere, nor for a network that is gone", () => {
    expect(isIdle(stateOf([machine("a", [{ attachment: { mode: "none" } }, { attachment: { mode: "internal", network: "gone" } }])]))).toBe(true);
  });

  it("knows the segment before the machine's process can be connected to", () => {
    const { segments, ports } = stateOf([{ ...machine("a", [{}], "starting"), sockets: undefined }]);
    expect(segments).toHaveLength(1);
    expect(ports).toEqual([]);
  });

  it("leads forwards to machines that run, wait for paused ones, and tells of those that are off", () => {
    const targets = (["running", "starting", "stopping", "paused", "off", "saved", "crashed"] as const).map((state) => stateOf([machine("a", [{ forwards: [ssh] }], state)]).forwards[0]?.target);
    expect(targets).toEqual(["running", "running", "running", "paused", "off", "off", "off"]);
    expect(stateOf([machine("a", [{ forwards: [ssh], attachment: { mode: "internal", network: "wire" } }])]).forwards).toEqual([]);
  });

  it("gives a port to the machine that lives, not to one that is off", () => {
    const off = machine("off", [{ forwards: [ssh] }], "off");
    const live = machine("live", [{ forwards: [{ ...ssh, hostAddress: "0.0.0.0" }] }]);
    expect(stateOf([off, live]).forwards.map(({ machine: name }) => name)).toEqual(["live"]);
    expect(stateOf([off]).forwards.map(({ machine: name }) => name)).toEqual(["off"]);
  });

  it("takes another private network where the host's own is in the way, and keeps it while the guest lives", () => {
    const host = [{ card: "eth0", subnet: parseSubnet("10.0.0.0/16")! }];
    const web = machine("web", [{}]);
    const moved = stateOf([web], { host, kept: new Map() }).segments[0];
    expect(moved).toMatchObject({ subnet: "10.1.2.0/24", gateway: "10.1.2.2", dhcp: { first: "10.1.2.15" } });
    expect(stateOf([web], { host: [], kept: new Map([[moved!.id, "10.1.2.0/24"]]) }).segments[0]?.subnet).toBe("10.1.2.0/24");
    expect([isMoved(0, "10.1.2.0/24"), isMoved(0, "10.0.2.0/24"), isMoved(1, "10.0.3.0/24")]).toEqual([true, false, false]);
    expect(formatSubnet(privateSubnet(1, [{ card: "tun0", subnet: parseSubnet("10.0.0.0/8")! }]))).toBe("172.16.3.0/24");
  });
});

describe("two forwards", () => {
  it.each([
    [{}, {}, true],
    [{ hostPort: 2223 }, {}, false],
    [{ protocol: "udp" as const }, {}, false],
    [{ hostAddress: "192.168.1.5" }, {}, false],
    [{ hostAddress: "0.0.0.0" }, {}, true],
    [{ hostPort: 2220, count: 3 }, {}, true],
    [{ hostPort: 2220, count: 2 }, {}, false],
  ])("with %j and %j are in each other's way: %s", (one, other, expected) => {
    expect(forwardsOverlap({ ...ssh, ...one }, { ...ssh, ...other })).toBe(expected);
    expect(forwardsOverlap({ ...ssh, ...other }, { ...ssh, ...one })).toBe(expected);
  });
});
