import { afterEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import type { FabricState, PortSpec, SegmentSpec } from "../../../core/net/control";
import { DataPlane } from "../../../core/net/dataPlane";
import type { MachinePort } from "../../../core/net/io";
import { ManualReactor } from "../../../core/net/reactor";
import { FakeHost } from "../../support/net/fakeHost";
import { Plug } from "../../support/net/plug";

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
