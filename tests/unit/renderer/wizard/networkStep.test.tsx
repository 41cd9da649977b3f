// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import type { HostInfo } from "../../../../core/contract/model";
import type { HostCard } from "../../../../core/contract/network";
import type { ProcedureInput } from "../../../../core/contract/procedures";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import { Wizard } from "../../../../renderer/features/wizard";
import { FakeDesktop, fakeHost, fakeMachine, networkedHost } from "../../../support/fakeDesktop";

let root: Root;
let stop: () => void;

afterEach(() => {
  root.unmount();
  stop();
  document.body.replaceChildren();
});

/** Opens the wizard and goes to its network step. */
async function open(host: HostInfo, prepare: (desktop: FakeDesktop) => void = () => undefined): Promise<FakeDesktop> {
  const desktop = new FakeDesktop({ host, machines: [fakeMachine("web", { config: { adapters: [{ mac: "52:54:00:00:00:07", attachment: { mode: "nat-network", network: "campus" }, plugged: true }] } })] });
  prepare(desktop);
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <Wizard onClose={() => undefined} />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
  for (const step of ["system", "disk", "network"]) {
    await until(() => expect(button(`Continue to ${step}`).getAttribute("aria-disabled")).toBeNull());
    button(`Continue to ${step}`).click();
  }
  await until(() => expect(page()).toContain("Who should this machine talk to?"));
  return desktop;
}

const until = <T,>(condition: () => T): Promise<T> => vi.waitFor(condition, 10_000);
const page = (): string => document.body.textContent ?? "";
const card = (name: string): HTMLInputElement => document.querySelector<HTMLInputElement>(`.mode-card input[aria-label="${name}"]`)!;

function button(name: string): HTMLButtonElement {
  const found = [...document.querySelectorAll("button")].find((element) => element.textContent === name);
  if (!found) throw new Error(`there is no button ${name} in: ${page()}`);
  return found;
}

function type(label: string, text: string): void {
  const { htmlFor } = [...document.querySelectorAll<HTMLLabelElement>(".new-network label")].find((element) => element.textContent === label)!;
  const input = document.getElementById(htmlFor)!;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")!.set!.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

async function create(desktop: FakeDesktop): Promise<ProcedureInput<"machine.create">["spec"]> {
  button("Continue to review").click();
  await until(() => expect(button("Create and start").getAttribute("aria-disabled")).toBeNull());
  button("Create and start").click();
  return until(() => {
    const made = desktop.calls.find(({ name }) => name === "machine.create");
    expect(made).toBeDefined();
    return (made!.input as ProcedureInput<"machine.create">).spec;
  });
}

const eth0: HostCard = { name: "eth0", kind: "Ethernet", up: true, addresses: ["192.168.1.40/24"] };
const wlan0: HostCard = { name: "wlan0", kind: "Wi-Fi", up: true, addresses: [], problem: { code: "unsupported", message: "Wi-Fi carries one address a card.", remedy: "Take NAT." } };

describe("the wizard's network step", () => {
  it("takes NAT by itself where it can be had, and says who reaches whom", async () => {
    const desktop = await open(networkedHost);
    expect(card("NAT").checked).toBe(true);
    expect(document.querySelector(".reach .chosen")?.textContent).toContain("by port forward");
    expect(page()).toContain("This computer and the outside reach it through port forwards.");
    expect((await create(desktop)).adapters).toEqual([{ attachment: { mode: "nat" }, plugged: true }]);
  });

  it("shows what cannot be had, with the reason and the remedy, and does not take it", async () => {
    await open({ ...networkedHost, networkModes: networkedHost.networkModes.map((entry) => (entry.mode === "bridged" ? { ...entry, available: false, reason: "It needs root.", remedy: "Install polkit." } : entry)) });
    expect(card("Bridged").getAttribute("aria-disabled")).toBe("true");
    card("Bridged").click();
    expect(page()).toContain("Bridged: It needs root. Install polkit.");
    await until(() => expect(card("NAT").checked).toBe(true));
  });

  it("is unplugged where there are no networks at all", async () => {
    await open(fakeHost);
    expect(card("Unplugged").checked).toBe(true);
    expect(page()).toContain("Networks come with a later version.");
  });

  it("joins a network that is there, and says who is on it", async () => {
    const desktop = await open(networkedHost, ({ networks }) => {
      networks.networks = [{ config: { name: "campus", mode: "nat-network", subnet: "10.20.0.0/24", dhcp: { enabled: true, reservations: [] } }, adapters: [] }];
    });
    card("NAT network").click();
    await until(() => expect(page()).toContain("web is on it"));
    expect((await create(desktop)).adapters).toEqual([{ attachment: { mode: "nat-network", network: "campus" }, plugged: true }]);
  });

  it("makes a network in place, on a subnet that is free, and stays closed until there is one", async () => {
    const desktop = await open(networkedHost);
    card("Internal").click();
    await until(() => expect(document.querySelector<HTMLInputElement>(".new-network .mono")?.value).toBe("10.10.0.0/24"));
    expect(button("Continue to review").getAttribute("aria-disabled")).toBe("true");
    type("Name", "dmz");
    button("Make the network").click();
    await until(() => expect(button("Continue to review").getAttribute("aria-disabled")).toBeNull());
    expect(desktop.networks.networks.map(({ config }) => config)).toEqual([{ name: "dmz", mode: "internal", subnet: "10.10.0.0/24", dhcp: { enabled: true, reservations: [] } }]);
    expect((await create(desktop)).adapters).toEqual([{ attachment: { mode: "internal", network: "dmz" }, plugged: true }]);
  });

  it("shows why a network was refused beside its form", async () => {
    const desktop = await open(networkedHost);
    desktop.failures.set("network.create", { code: "invalid-input", message: "192.168.1.0/24 is the host's.", remedy: "Take 10.9.0.0/24." });
    card("Host-only").click();
    (await until(() => button("Make the network"))).click();
    await until(() => expect(document.querySelector(".new-network [role=alert]")?.textContent).toBe("192.168.1.0/24 is the host's.Take 10.9.0.0/24."));
  });

  it("bridges with the first card that can, and says why another one cannot", async () => {
    const desktop = await open(networkedHost, ({ networks }) => {
      networks.cards = [wlan0, eth0];
    });
    card("Bridged").click();
    await until(() => expect(page()).toContain("wlan0: Wi-Fi carries one address a card. Take NAT."));
    expect((await create(desktop)).adapters).toEqual([{ attachment: { mode: "bridged", network: "eth0" }, plugged: true }]);
  });
});
