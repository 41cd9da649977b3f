import { describe, expect, it } from "vitest";
import { NetworkPatch, NetworkSpec, type NetworkConfig } from "../../../../../core/contract/network";
import { networkDraftOf, networkFaults, networkPatchOf, newNetworkDraft, specOf, withReservation } from "../../../../../renderer/ui/network/networkDraft";

const campus: NetworkConfig = { name: "campus", mode: "nat-network", subnet: "10.20.0.0/24", dhcp: { enabled: true, reservations: [{ mac: "52:54:00:00:00:01", address: "10.20.0.9" }] } };

describe("the draft of a network", () => {
  it("takes a name that is free, whatever its case", () => {
    expect(newNetworkDraft("internal", ["LAB", "lab-2"]).name).toBe("lab-3");
    expect(newNetworkDraft("nat-network", []).name).toBe("shared");
  });

  it("asks for nothing that was not said", () => {
    const spec = specOf({ ...newNetworkDraft("nat-network", []), name: " campus " });
    expect(spec).toEqual({ name: "campus", mode: "nat-network", dhcp: { enabled: true } });
    expect(NetworkSpec.safeParse(spec).success).toBe(true);
    expect(specOf({ ...newNetworkDraft("nat-network", []), hostLoopback: true, subnet: "10.9.0.0/24" })).toMatchObject({ subnet: "10.9.0.0/24", nat: { hostLoopback: true, hostNetworks: true } });
    // Settings of NAT make no sense elsewhere.
    expect(specOf({ ...newNetworkDraft("internal", []), hostLoopback: true })).not.toHaveProperty("nat");
  });

  it("finds what could not even be asked for", () => {
    const draft = newNetworkDraft("internal", []);
    expect(networkFaults(draft)).toEqual({ subnet: expect.stringContaining("DHCP needs a subnet") as string });
    expect(networkFaults({ ...draft, dhcp: false })).toEqual({});
    expect(Object.keys(networkFaults({ ...draft, dhcp: false, name: "a/b", subnet: "10.9.0.0", first: "10.9.0.5", mtu: "100" }))).toEqual(["name", "subnet", "range", "mtu"]);
    expect(networkFaults({ ...newNetworkDraft("nat-network", []) })).toEqual({});
  });

  it("sends exactly what differs, keeps reservations, and takes away what was emptied", () => {
    const draft = networkDraftOf(campus);
    expect(networkPatchOf(campus, draft)).toEqual({});
    expect(networkPatchOf(campus, { ...draft, dhcp: false })).toEqual({ dhcp: { enabled: false, reservations: campus.dhcp.reservations } });
    const patch = networkPatchOf({ ...campus, domain: "lan", mtu: 1400 }, { ...networkDraftOf({ ...campus, domain: "lan", mtu: 1400 }), domain: "", mtu: "", hostNetworks: false });
    expect(patch).toEqual({ domain: null, mtu: null, nat: { hostLoopback: false, hostNetworks: false } });
    expect(NetworkPatch.safeParse(patch).success).toBe(true);
  });

  it("reserves an address for one card alone, and lets it go", () => {
    const moved = withReservation(campus, "52:54:00:00:00:02", "10.20.0.9");
    expect(moved.dhcp?.reservations).toEqual([{ mac: "52:54:00:00:00:02", address: "10.20.0.9" }]);
    expect(withReservation(campus, "52:54:00:00:00:01", undefined).dhcp).toEqual({ enabled: true, reservations: [] });
  });
});
