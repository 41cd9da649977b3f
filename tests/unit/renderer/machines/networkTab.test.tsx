// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import type { MachineInfo } from "../../../../core/contract/model";
import type { AdapterConfig } from "../../../../core/contract/network";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import { MachinePage, type MachineTab } from "../../../../renderer/features/machines/MachinePage";
import { toasts } from "../../../../renderer/ui/toasts";
import { FakeDesktop, fakeMachine, networkedHost, qemuEngine } from "../../../support/fakeDesktop";

let root: Root | undefined;
let stop: (() => void) | undefined;

afterEach(() => {
  root?.unmount();
  stop?.();
  document.body.replaceChildren();
  for (const { id } of toasts.get()) toasts.close(id);
});

const mac = "52:54:00:00:00:07";
const nat: AdapterConfig = { mac, attachment: { mode: "nat" }, plugged: true };
const http = { protocol: "tcp" as const, hostAddress: "0.0.0.0", hostPort: 8080, guestPort: 80 };

function machineWith(adapter: Partial<AdapterConfig> = {}, part: Partial<Omit<MachineInfo, "config">> = {}): MachineInfo {
  return fakeMachine("web", { state: "running", engine: qemuEngine, ...part, config: { adapters: [{ ...nat, ...adapter }] } });
}

async function show(machine: MachineInfo, prepare: (desktop: FakeDesktop) => void = () => undefined, tab: MachineTab = "network"): Promise<FakeDesktop> {
  const desktop = new FakeDesktop({ machines: [machine], host: networkedHost });
  prepare(desktop);
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <MachinePage id={machine.id} tab={tab} onTab={() => undefined} windowButtons={null} />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
  await until(() => expect(page()).toContain("net0"));
  return desktop;
}

const until = <T,>(condition: () => T): Promise<T> => vi.waitFor(condition, 10_000);
const page = (): string => document.body.textContent ?? "";
const called = (desktop: FakeDesktop, name: string) => desktop.calls.filter((entry) => entry.name === name).map(({ input }) => input);
const control = (label: string): HTMLInputElement => document.querySelector<HTMLInputElement>(`[aria-label="${label}"]`)!;

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

describe("the network of a machine", () => {
  it("adds a forward, opens and copies it, and removes it", async () => {
    const machine = machineWith();
    const desktop = await show(machine);
    expect(page()).toContain("Nothing leads in.");
    button("Add a forward").click();
    await until(() => expect(button("Add").getAttribute("aria-disabled")).toBe("true"));
    type("Port here", "8080");
    type("Port of the guest", "80");
    await until(() => expect(button("Add").getAttribute("aria-disabled")).toBeNull());
    button("Add").click();
    const forward = { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 8080, guestPort: 80 };
    await until(() => expect(called(desktop, "forward.add")).toEqual([{ id: machine.id, adapter: 0, forward }]));
    await until(() => expect(page()).toContain("listens"));
    button("Open 127.0.0.1:8080 in the browser").click();
    await until(() => expect(desktop.browsed).toEqual(["127.0.0.1:8080"]));
    button("Copy 127.0.0.1:8080").click();
    await until(() => expect(desktop.copied).toEqual(["127.0.0.1:8080"]));
    button("Remove the forward of tcp 8080").click();
    await until(() => expect(called(desktop, "forward.remove")).toEqual([{ id: machine.id, adapter: 0, forward: { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 8080 } }]));
    await until(() => expect(page()).toContain("Nothing leads in."));
  });

  it("says beside a forward who has its port, and does not offer it to the browser", async () => {
    await show(machineWith({ forwards: [http] }, { network: [{ adapter: 0, connected: true, forwards: [{ forward: http, problem: { code: "locked", message: "Port 8080 is used by nginx (712).", remedy: "Choose another port." } }] }] }));
    await until(() => expect(document.querySelector(".rows [role=alert]")?.textContent).toBe("Port 8080 is used by nginx (712). Choose another port."));
    expect(button("Open 127.0.0.1:8080 in the browser").getAttribute("aria-disabled")).toBe("true");
  });

  it("keeps what was typed when a forward is refused", async () => {
    const desktop = await show(machineWith({ forwards: [http] }));
    button("Add a forward").click();
    await until(() => button("Add"));
    type("Port here", "8080");
    type("Port of the guest", "8080");
    await until(() => expect(button("Add").getAttribute("aria-disabled")).toBeNull());
    button("Add").click();
    await until(() => expect(toasts.get()).toMatchObject([{ about: "web", message: "Port 8080 (tcp) of this computer is forwarded already." }]));
    expect(called(desktop, "forward.add")).toHaveLength(1);
    expect(button("Add")).toBeDefined();
  });

  it("plugs the cable of a machine that runs in elsewhere, at once", async () => {
    const machine = machineWith();
    const desktop = await show(machine, ({ networks }) => {
      networks.networks = [{ config: { name: "lab", mode: "internal", subnet: "10.9.0.0/24", dhcp: { enabled: true, reservations: [] } }, adapters: [] }];
    });
    button("Plug in elsewhere…").click();
    await until(() => expect(button("Plug in now").getAttribute("aria-disabled")).toBe("true"));
    document.querySelector<HTMLInputElement>('.mode-card input[aria-label="Internal"]')!.click();
    await until(() => expect(button("Plug in now").getAttribute("aria-disabled")).toBeNull());
    button("Plug in now").click();
    await until(() => expect(called(desktop, "adapter.attach")).toEqual([{ id: machine.id, adapter: 0, attachment: { mode: "internal", network: "lab" } }]));
    await until(() => expect(page()).toContain("10.9.0.0/24"));
    // An internal network has no gateway that something could be forwarded by.
    expect(page()).not.toContain("Port forwards");
  });

  it("sets and takes away limits, the MAC policy and what NAT leads to", async () => {
    const machine = machineWith();
    const desktop = await show(machine);
    type("To the guest, Mbit/s", "10");
    (await until(() => button("Set the limit"))).click();
    const base = { id: machine.id, adapter: 0 };
    await until(() => expect(called(desktop, "adapter.set")).toEqual([{ ...base, rate: { toGuest: 10_000_000 } }]));
    await until(() => expect(() => button("Set the limit")).toThrow());
    type("To the guest, Mbit/s", "");
    (await until(() => button("Set the limit"))).click();
    await until(() => expect(called(desktop, "adapter.set").at(-1)).toEqual({ ...base, rate: null }));
    control("Only its own MAC address").click();
    await until(() => expect(called(desktop, "adapter.set").at(-1)).toEqual({ ...base, macPolicy: "own" }));
    control("The guest may reach programs on this computer").click();
    await until(() => expect(called(desktop, "adapter.set").at(-1)).toEqual({ ...base, nat: { hostLoopback: true, hostNetworks: true } }));
  });

  it("shows addresses and conversations of the guest that runs, and cuts one", async () => {
    const now = Date.now();
    const desktop = await show(machineWith(), ({ networks }) => {
      networks.leases = [{ mac, address: "10.0.2.15", hostname: "web", expiresAt: now + 3_600_000, reserved: false }];
      networks.flows = [{ id: 7, protocol: "tcp", direction: "out", guest: { address: "10.0.2.15", port: 5022 }, remote: { address: "151.101.2.132", port: 80 }, state: "established", sentBytes: 1024, receivedBytes: 3 << 20, startedAt: now - 5000, lastAt: now }];
    });
    await until(() => expect(page()).toContain("151.101.2.132:80"));
    expect(page()).toContain("3 MB");
    button("Cut 10.0.2.15:5022 with 151.101.2.132:80").click();
    await until(() => expect(called(desktop, "network.cutFlow")).toEqual([{ of: { id: [...desktop.machines.keys()][0], adapter: 0 }, flow: 7 }]));
    await until(() => expect(page()).toContain("The guest talks to nobody outside now."));
  });

  it("says what is wrong with a cable, and does not call it connected", async () => {
    const problem = { code: "not-found" as const, message: "This computer has no card enp9s0.", remedy: "Choose another card for the adapter." };
    await show(machineWith({ attachment: { mode: "bridged", network: "enp9s0" } }, { network: [{ adapter: 0, connected: true, forwards: [], problem }] }));
    await until(() => expect(page()).toContain("This computer has no card enp9s0."));
    expect(page()).toContain("Choose another card for the adapter.");
    expect(document.querySelector(".adapter-section header")!.textContent).toContain("leads nowhere");
    expect(document.querySelector(".adapter-section header")!.textContent).not.toContain("connected");
  });

  it("tells a guest that is not connected, one that is, and the problem of their network apart", async () => {
    const attachment = { mode: "nat-network" as const, network: "campus" };
    const machine = machineWith({ attachment }, { network: [{ adapter: 0, connected: false, forwards: [] }] });
    const desktop = await show(machine, ({ networks }) => {
      networks.networks = [{ config: { name: "campus", mode: "nat-network", subnet: "10.20.0.0/24", dhcp: { enabled: true, reservations: [] } }, adapters: [], problem: { code: "locked", message: "10.20.0.0/24 is the network of eth0.", remedy: "Give it another subnet." } }];
    });
    const words = () => document.querySelector(".adapter-section header")!.textContent;
    await until(() => expect(words()).toContain("not connected"));
    await until(() => expect(page()).toContain("10.20.0.0/24 is the network of eth0."));
    desktop.announce({ type: "machine", machine: { ...machine, network: [{ adapter: 0, connected: true, forwards: [], address: "10.20.0.100" }] } });
    await until(() => expect(words()).not.toContain("not connected"));
    expect(page()).toContain("10.20.0.100");
  });

  it("shows of a shared network what is this adapter's alone", async () => {
    const machine = machineWith({ attachment: { mode: "nat-network", network: "campus" } });
    const now = Date.now();
    await show(machine, ({ networks }) => {
      networks.networks = [{ config: { name: "campus", mode: "nat-network", subnet: "10.20.0.0/24", dhcp: { enabled: true, reservations: [] } }, adapters: [] }];
      networks.leases = [[machine.id, 0, "10.20.0.100"], [machine.id, 1, "10.20.0.101"], ["00000000-0000-4000-8000-00000000ffff", 0, "10.20.0.102"]].map(([id, adapter, address], index) => ({ mac: `52:54:00:00:00:0${index}`, address: String(address), expiresAt: now + 60_000, reserved: false, machine: { id: String(id), adapter: Number(adapter) } }));
    });
    await until(() => expect(page()).toContain("10.20.0.100"));
    expect(page()).not.toContain("10.20.0.101");
    expect(page()).not.toContain("10.20.0.102");
  });

  it("pulls the cable, and plugs none in that leads nowhere", async () => {
    const machine = machineWith();
    const desktop = await show(machine);
    control("Cable of net0 is plugged in").click();
    await until(() => expect(called(desktop, "adapter.set")).toEqual([{ id: machine.id, adapter: 0, plugged: false }]));
    await until(() => expect(page()).toContain("cable pulled"));
    desktop.announce({ type: "machine", machine: { ...machine, config: { ...machine.config!, adapters: [{ ...nat, attachment: { mode: "none" } }] } } });
    await until(() => expect(page()).toContain("no cable"));
    control("Cable of net0 is plugged in").click();
    expect(called(desktop, "adapter.set")).toHaveLength(1);
  });

  it("offers a UDP forward neither to the browser nor for copying, and what only NAT has nowhere else", async () => {
    const machine = machineWith({ forwards: [{ ...http, protocol: "udp" }] });
    const desktop = await show(machine);
    await until(() => button("Remove the forward of udp 8080"));
    expect([...document.querySelectorAll("button")].filter((element) => element.getAttribute("aria-label")?.includes("127.0.0.1:8080"))).toEqual([]);
    control("The guest may reach the networks of this computer").click();
    await until(() => expect(called(desktop, "adapter.set").at(-1)).toEqual({ id: machine.id, adapter: 0, nat: { hostLoopback: false, hostNetworks: false } }));
    desktop.announce({ type: "machine", machine: { ...machine, config: { ...machine.config!, adapters: [{ ...nat, attachment: { mode: "internal", network: "lab" } }] } } });
    await until(() => expect(page()).not.toContain("Port forwards"));
    expect(page()).not.toContain("The guest may reach");
  });

  it("plugs nothing into a card that was not chosen, nor into a kind that cannot be had any more", async () => {
    const machine = machineWith();
    const desktop = await show(machine);
    button("Plug in elsewhere…").click();
    await until(() => button("Plug in now"));
    document.querySelector<HTMLInputElement>('.mode-card input[aria-label="Bridged"]')!.click();
    await until(() => expect(page()).toContain("This computer has no network card that a machine could share."));
    expect(button("Plug in now").getAttribute("aria-disabled")).toBe("true");
    button("Plug in now").click();
    expect(called(desktop, "adapter.attach")).toEqual([]);
  });

  it("asks for no conversations while the machine is off, and says why ssh waits", async () => {
    const desktop = await show(machineWith({ forwards: [http] }, { state: "off" }));
    await until(() => expect(page()).toContain("waits for the machine"));
    expect(called(desktop, "network.flows")).toEqual([]);
    expect(button("Connect by SSH").getAttribute("aria-disabled")).toBe("true");
  });

  it("opens the console's terminal for ssh with one click", async () => {
    const machine = machineWith();
    const desktop = await show(machine);
    button("Connect by SSH").click();
    await until(() => expect(desktop.opened).toEqual([`${machine.id} ssh`]));
  });
});

describe("the cables in the settings", () => {
  it("wait for Apply while the machine is off", async () => {
    const machine = machineWith({ attachment: { mode: "none" }, plugged: false }, { state: "off" });
    const desktop = await show(machine, () => undefined, "settings");
    (await until(() => button("Cable of net0: Unplugged. Change it"))).click();
    await until(() => button("Plug in"));
    document.querySelector<HTMLInputElement>('.mode-card input[aria-label="NAT"]')!.click();
    await until(() => expect(button("Plug in").getAttribute("aria-disabled")).toBeNull());
    button("Plug in").click();
    await until(() => button("Cable of net0: NAT. Change it"));
    expect(called(desktop, "adapter.attach")).toEqual([]);
    await until(() => expect(button("Apply").getAttribute("aria-disabled")).toBeNull());
    button("Apply").click();
    await until(() => expect(called(desktop, "machine.set")).toEqual([{ id: machine.id, patch: { adapters: [{ mac, attachment: { mode: "nat" }, plugged: true }] } }]));
  });

  it("change at once while it runs", async () => {
    const machine = machineWith();
    const desktop = await show(machine, () => undefined, "settings");
    (await until(() => button("Cable of net0: NAT. Change it"))).click();
    await until(() => button("Plug in now"));
    document.querySelector<HTMLInputElement>('.mode-card input[aria-label="Unplugged"]')!.click();
    await until(() => expect(button("Plug in now").getAttribute("aria-disabled")).toBeNull());
    button("Plug in now").click();
    await until(() => expect(called(desktop, "adapter.attach")).toEqual([{ id: machine.id, adapter: 0, attachment: { mode: "none" } }]));
    await until(() => button("Cable of net0: Unplugged. Change it"));
    expect(called(desktop, "machine.set")).toEqual([]);
  });
});
