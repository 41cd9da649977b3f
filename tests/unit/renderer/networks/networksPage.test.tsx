// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import type { MachineInfo } from "../../../../core/contract/model";
import type { NetworkInfo } from "../../../../core/contract/network";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import NetworksPage from "../../../../renderer/features/networks/NetworksPage";
import { ConfirmHost } from "../../../../renderer/ui/confirm";
import { FakeDesktop, fakeMachine, networkedHost } from "../../../support/fakeDesktop";

let root: Root;
let stop: () => void;
const shown: string[] = [];

afterEach(() => {
  root.unmount();
  stop();
  shown.length = 0;
  document.body.replaceChildren();
});

const campus: NetworkInfo = { config: { name: "campus", mode: "nat-network", subnet: "10.20.0.0/24", dhcp: { enabled: true, reservations: [] } }, gateway: "10.20.0.1", adapters: [] };
const mac = "52:54:00:00:00:07";
const web = (network: string): MachineInfo => fakeMachine("web", { state: "running", config: { adapters: [{ mac, attachment: { mode: "nat-network", network }, plugged: true }] } });

async function show(networks: NetworkInfo[], machines: MachineInfo[] = [], prepare: (desktop: FakeDesktop) => void = () => undefined): Promise<FakeDesktop> {
  const desktop = new FakeDesktop({ machines, host: networkedHost });
  desktop.networks.networks = networks;
  prepare(desktop);
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  await until(() => expect(store.machines.get()).toBeDefined());
  await until(() => expect(store.networks.get()).toHaveLength(networks.length));
  root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <NetworksPage windowButtons={null} onMachine={(id) => shown.push(id)} />
        <ConfirmHost />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
  await until(() => expect(page()).toContain("Networks"));
  return desktop;
}

const until = <T,>(condition: () => T): Promise<T> => vi.waitFor(condition, 10_000);
const page = (): string => document.body.textContent ?? "";
const called = (desktop: FakeDesktop, name: string) => desktop.calls.filter((entry) => entry.name === name).map(({ input }) => input);

function button(name: string): HTMLElement {
  const found = [...document.querySelectorAll<HTMLElement>("button")].find((element) => (element.getAttribute("aria-label") ?? element.textContent) === name);
  if (!found) throw new Error(`there is no button ${name} in: ${page()}`);
  return found;
}

function type(label: string, text: string): void {
  const { htmlFor } = [...document.querySelectorAll<HTMLLabelElement>("label")].find((element) => element.textContent === label)!;
  const input = document.getElementById(htmlFor)!;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")!.set!.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

const open = (name: string): void => [...document.querySelectorAll<HTMLElement>(".networks .name")].find((element) => element.textContent?.startsWith(name))!.click();

describe("the page of networks", () => {
  it("teaches the kinds while there is none, and makes one", async () => {
    const desktop = await show([]);
    expect(document.querySelector(".reach")?.textContent).toContain("by port forward");
    button("New network").click();
    await until(() => button("Make the network"));
    type("Name", "campus");
    button("Make the network").click();
    await until(() => expect(document.querySelector(".networks .name")?.textContent).toContain("campus"));
    expect(called(desktop, "network.create")).toMatchObject([{ spec: { name: "campus", mode: "nat-network" } }]);
    expect(document.querySelector(".reach")).toBeNull();
    // It is opened, so that one sees what to do with it.
    expect(document.querySelector(".networks .name")?.getAttribute("aria-expanded")).toBe("true");
  });

  it("leads to the machines of a network, and does not delete it from under them", async () => {
    const machine = web("campus");
    const desktop = await show([campus], [machine]);
    await until(() => expect(button("Delete campus").getAttribute("aria-disabled")).toBe("true"));
    button("Delete campus").click();
    expect(called(desktop, "network.delete")).toEqual([]);
    open("campus");
    (await until(() => button("web"))).click();
    expect(shown).toEqual([machine.id]);
  });

  it("asks before it deletes one", async () => {
    const desktop = await show([campus]);
    button("Delete campus").click();
    await until(() => expect(page()).toContain("Delete the network campus?"));
    button("Cancel").click();
    await until(() => expect(page()).not.toContain("Delete the network campus?"));
    expect(called(desktop, "network.delete")).toEqual([]);
    button("Delete campus").click();
    await until(() => expect(page()).toContain("Delete the network campus?"));
    button("Delete").click();
    await until(() => expect(called(desktop, "network.delete")).toEqual([{ network: "campus" }]));
    await until(() => expect(document.querySelector(".networks .name")).toBeNull());
  });

  it("changes what was changed alone, and shows why that was refused", async () => {
    const desktop = await show([campus]);
    desktop.failures.set("network.set", { code: "invalid-input", message: "10.30.0.0/24 is the network lab's.", remedy: "Take another one." });
    button("Edit campus").click();
    await until(() => expect(button("Apply").getAttribute("aria-disabled")).toBe("true"));
    type("Subnet", "10.30.0.0/24");
    await until(() => expect(button("Apply").getAttribute("aria-disabled")).toBeNull());
    button("Apply").click();
    await until(() => expect(document.querySelector("[role=alert]")?.textContent).toContain("10.30.0.0/24 is the network lab's."));
    expect(called(desktop, "network.set")).toEqual([{ network: "campus", patch: { subnet: "10.30.0.0/24" } }]);
    desktop.failures.clear();
    button("Apply").click();
    await until(() => expect(document.querySelector("[role=dialog]")).toBeNull());
    expect(page()).toContain("10.30.0.0/24");
  });

  it("says what is wrong with a network, and why its addresses and conversations are not to be seen", async () => {
    const problem = { code: "locked" as const, message: "10.20.0.0/24 is the network of eth0.", remedy: "Give it another subnet." };
    await show([{ ...campus, problem }], [], (desktop) => {
      desktop.failures.set("network.leases", { code: "unavailable", message: "The fabric does not answer.", remedy: "It is started again." });
      desktop.failures.set("network.flows", { code: "unavailable", message: "Nobody knows who talks.", remedy: "Look again." });
    });
    expect(page()).toContain("10.20.0.0/24 is the network of eth0.");
    open("campus");
    await until(() => expect(page()).toContain("The fabric does not answer."));
    await until(() => expect(page()).toContain("Nobody knows who talks."));
  });

  it("asks about the host's own programs and networks where guests can reach them alone", async () => {
    await show([campus, { config: { name: "lab", mode: "internal", dhcp: { enabled: false, reservations: [] } }, adapters: [] }]);
    button("Edit lab").click();
    await until(() => expect(page()).toContain("The network lab"));
    expect(page()).not.toContain("Guests may reach");
    button("Cancel").click();
    await until(() => expect(page()).not.toContain("The network lab"));
    button("Edit campus").click();
    await until(() => expect(page()).toContain("Guests may reach programs on this computer"));
  });

  it("gives a reserved address free again", async () => {
    const kept = { mac, address: "10.20.0.100" };
    const desktop = await show([{ ...campus, config: { ...campus.config, dhcp: { enabled: true, reservations: [kept] } } }], [web("campus")], ({ networks }) => {
      networks.leases = [{ ...kept, expiresAt: 0, reserved: true }];
    });
    open("campus");
    (await until(() => button("Free 10.20.0.100"))).click();
    await until(() => expect(called(desktop, "network.set")).toEqual([{ network: "campus", patch: { dhcp: { enabled: true, reservations: [] } } }]));
  });

  it("keeps an address for its machine", async () => {
    const desktop = await show([campus], [web("campus")], ({ networks }) => {
      networks.leases = [{ mac, address: "10.20.0.100", expiresAt: Date.now() + 60_000, reserved: false }];
    });
    open("campus");
    (await until(() => button("Reserve this address"))).click();
    await until(() => expect(called(desktop, "network.set")).toEqual([{ network: "campus", patch: { dhcp: { enabled: true, reservations: [{ mac, address: "10.20.0.100" }] } } }]));
  });
});
