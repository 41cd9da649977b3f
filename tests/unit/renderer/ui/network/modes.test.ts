import { describe, expect, it } from "vitest";
import type { HostCard, NetworkInfo } from "../../../../../core/contract/network";
import { attachmentLack, attachmentOf, connectivity, modeProblem, modeProblems, networkModes } from "../../../../../renderer/ui/network/modes";

const network = (name: string, mode: NetworkInfo["config"]["mode"]): NetworkInfo => ({ config: { name, mode, dhcp: { enabled: true, reservations: [] } }, adapters: [] });
const card = (name: string, part: Partial<HostCard> = {}): HostCard => ({ name, kind: "Ethernet", up: true, addresses: [], ...part });

describe("the kinds of networks", () => {
  it("let the outside in by a forward wherever the way out is shared with this computer", () => {
    expect(networkModes.filter((mode) => connectivity[mode].fromOutside === "forward")).toEqual(["nat", "nat-network"]);
    expect(networkModes.filter((mode) => connectivity[mode].toOutside === "yes")).toEqual(["nat", "nat-network", "bridged"]);
    expect(networkModes.filter((mode) => connectivity[mode].between === "yes")).toEqual(["nat-network", "bridged", "internal", "host-only"]);
  });

  it("suggest the first network of a kind, and a card that is connected and can be bridged", () => {
    const networks = [network("lab", "internal"), network("campus", "nat-network"), network("dmz", "internal")];
    expect(attachmentOf("internal", networks, [])).toEqual({ mode: "internal", network: "lab" });
    expect(attachmentOf("host-only", networks, [])).toEqual({ mode: "host-only" });
    const cards = [card("wlan0", { problem: { code: "unsupported", message: "Wi-Fi." } }), card("eth0", { up: false }), card("eth1")];
    expect(attachmentOf("bridged", networks, cards)).toEqual({ mode: "bridged", network: "eth1" });
    expect(attachmentOf("bridged", networks, cards.slice(0, 1))).toEqual({ mode: "bridged" });
    expect(attachmentOf("nat", networks, cards)).toEqual({ mode: "nat" });
  });

  it("say what is still to be chosen", () => {
    expect(attachmentLack({ mode: "nat" })).toBeUndefined();
    expect(attachmentLack({ mode: "internal" })).toContain("network");
    expect(attachmentLack({ mode: "bridged" })).toContain("card");
    expect(attachmentLack({ mode: "bridged", network: "eth0" })).toBeUndefined();
  });

  it("give each reason once, with everything it is about", () => {
    const modes = [
      { mode: "nat" as const, available: true },
      { mode: "nat-network" as const, available: true },
      { mode: "bridged" as const, available: false, reason: "It needs root.", remedy: "Install polkit." },
      { mode: "host-only" as const, available: false, reason: "It needs root.", remedy: "Install polkit." },
      { mode: "none" as const, available: true },
    ];
    expect(modeProblem("nat", modes)).toBeUndefined();
    expect(modeProblems(modes)).toEqual([
      { modes: ["bridged", "host-only"], reason: "It needs root.", remedy: "Install polkit." },
      { modes: ["internal"], reason: "This host does not have it." },
    ]);
  });
});
