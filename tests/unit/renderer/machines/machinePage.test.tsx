// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import type { MachineConfig, MachineInfo } from "../../../../core/contract/model";
import type { ProcedureName } from "../../../../core/contract/procedures";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import { MachinePage, type MachineTab } from "../../../../renderer/features/machines/MachinePage";
import { ConfirmHost } from "../../../../renderer/ui/confirm";
import { toasts } from "../../../../renderer/ui/toasts";
import { builtInEngine, FakeDesktop, fakeHost, fakeMachine, qemuEngine } from "../../../support/fakeDesktop";

let root: Root | undefined;
let stop: (() => void) | undefined;

const slowQemu = { ...qemuEngine, accelerator: { label: "TCG (software)", fast: false, reason: "KVM does not work here.", remedy: "Switch nested virtualization on." } };

function qemuMachine(part: Partial<Omit<MachineInfo, "config">> & { config?: Partial<MachineConfig> } = {}): MachineInfo {
  return fakeMachine("web", { engine: slowQemu, ...part, config: { engine: "qemu", memoryMiB: 1024, ...part.config } });
}

async function show(machine: MachineInfo, tab: MachineTab): Promise<FakeDesktop> {
  const desktop = new FakeDesktop({ machines: [machine], host: { ...fakeHost, engines: [builtInEngine, slowQemu] } });
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  const place = document.body.appendChild(document.createElement("div"));
  root = createRoot(place);
  root.render(
    <StoreContext.Provider value={store}>
      <ThemeRoot>
        <MachinePage id={machine.id} tab={tab} onTab={() => undefined} windowButtons={null} />
        <ConfirmHost />
      </ThemeRoot>
    </StoreContext.Provider>,
  );
  await until(() => expect(page()).toContain("web"));
  return desktop;
}

const until = <T,>(condition: () => T): Promise<T> => vi.waitFor(condition, 10_000);
const page = (): string => document.body.textContent ?? "";
/** What stands beside a term among the facts. */
const fact = (term: string): string | null | undefined => [...document.querySelectorAll("dt")].find((element) => element.textContent === term)?.nextElementSibling?.textContent;
const called = (desktop: FakeDesktop, name: string) => desktop.calls.filter((entry) => entry.name === name).map(({ input }) => input);

function button(name: string): HTMLElement {
  const found = [...document.querySelectorAll<HTMLElement>("button")].find((element) => (element.getAttribute("aria-label") ?? element.textContent) === name);
  if (!found) throw new Error(`there is no button ${name} in: ${page()}`);
  return found;
}

/** The control that a label names. */
function field(label: string): HTMLInputElement {
  const found = [...document.querySelectorAll<HTMLLabelElement>("label")].find((element) => element.textContent === label);
  if (!found) throw new Error(`there is no field ${label} in: ${page()}`);
  return document.getElementById(found.htmlFor) as HTMLInputElement;
}

function type(label: string, text: string): void {
  const input = field(label);
  const kind = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value")!.set!.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

afterEach(() => {
  root?.unmount();
  stop?.();
  for (const toast of toasts.get()) toasts.close(toast.id);
  document.body.replaceChildren();
});

describe("the overview", () => {
  it("tells what runs a machine, why that is slow and what would make it fast", async () => {
    await show(qemuMachine(), "overview");
    await until(() => expect(page()).toContain("QEMU 7.2.18"));
    for (const words of ["TCG (software)", "slow", "KVM does not work here.", "Switch nested virtualization on."]) expect(page()).toContain(words);
  });

  it("tells the system and the first login of a machine that was made from a cloud image", async () => {
    await show(qemuMachine({ config: { boot: { kind: "firmware", order: "disk" }, system: "debian-12-amd64", seed: "seed/seed.iso", login: { user: "ada" } } }), "overview");
    await until(() => expect(fact("System")).toBe("Debian 12"));
    expect(fact("First login")).toBe("ada, with the password or key given for it");
    root?.unmount();
    document.body.replaceChildren();
    await show(qemuMachine(), "overview");
    await until(() => expect(fact("First login")).toBe("root, without a password; by SSH with Terrarium’s own key"));
    expect(fact("System")).toBeUndefined();
  });

  it("says nothing of slowness where the accelerator works or there is none", async () => {
    await show(qemuMachine({ engine: qemuEngine }), "overview");
    await until(() => expect(page()).toContain("KVM"));
    expect(document.querySelector(".slow")).toBeNull();
  });

  it("says of a full disk that nothing is lost, and resumes", async () => {
    const machine = qemuMachine({ state: "paused", pauseReason: "disk-full" });
    const desktop = await show(machine, "overview");
    await until(() => expect(document.querySelector(".problem")?.textContent).toContain("nothing is lost"));
    expect(document.querySelector(".problem")?.textContent).toContain("Free some space");
    [...document.querySelectorAll<HTMLElement>(".problem button")].find((element) => element.textContent === "Resume")!.click();
    await until(() => expect(called(desktop, "machine.resume")).toEqual([{ id: machine.id }]));
    await until(() => expect(document.querySelector(".problem")).toBeNull());
  });

  it("offers a panicked guest a reset and no resuming", async () => {
    await show(qemuMachine({ state: "paused", pauseReason: "guest-panic" }), "overview");
    await until(() => expect(document.querySelector(".problem")?.textContent).toContain("has crashed"));
    const offered = [...document.querySelectorAll(".problem button")].map((element) => element.textContent);
    expect(offered).toContain("Reset");
    expect(offered).not.toContain("Resume");
  });

  it("takes memory from a running guest, and says how much is taken", async () => {
    const machine = qemuMachine({ state: "running" });
    const desktop = await show(machine, "overview");
    const slider = await until(() => {
      const found = document.querySelector<HTMLInputElement>('input[type=range][aria-label="Memory for the guest"]');
      if (!found) throw new Error("there is no slider");
      return found;
    });
    expect(slider.getAttribute("aria-valuetext")).toBe("1 GB of 1 GB");
    slider.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true, cancelable: true }));
    await until(() => expect(called(desktop, "machine.setBalloon")).toEqual([{ id: machine.id, memoryMiB: 1008 }]));
    await until(() => expect(page()).toContain("16 MB of its 1 GB are taken from it."));
    button("Give all back").click();
    await until(() => expect(called(desktop, "machine.setBalloon").at(-1)).toEqual({ id: machine.id, memoryMiB: 1024 }));
  });

  it("shows no memory control where the engine has none or the machine is off, and why it waits while paused", async () => {
    await show(qemuMachine({ state: "running", engine: builtInEngine }), "overview");
    expect(page()).not.toContain("Memory for the guest");
    root?.unmount();
    await show(qemuMachine(), "overview");
    expect(page()).not.toContain("Memory for the guest");
    root?.unmount();
    await show(qemuMachine({ state: "paused" }), "overview");
    await until(() => expect(page()).toContain("The machine is paused. Resume it first."));
  });
});

describe("a message about a machine", () => {
  const failing: [procedure: ProcedureName, machine: Parameters<typeof qemuMachine>[0], tab: MachineTab, press: () => unknown][] = [
    ["machine.setLink", { state: "running", config: { adapters: [{ mac: "52:54:00:00:00:07", attachment: { mode: "nat" }, plugged: true }] } }, "overview", () => document.querySelector<HTMLElement>('[aria-label="Cable of adapter net0"]')!.click()],
    ["machine.setBalloon", { state: "running", balloonMiB: 512 }, "overview", () => button("Give all back").click()],
    ["machine.changeMedium", { config: { drives: [{ id: "cd0", medium: "/a.iso" }] } }, "settings", () => button("Eject").click()],
    ["machine.start", {}, "overview", () => button("Start web").click()],
    ["machine.check", {}, "settings", () => type("Memory in MB", "512")],
  ];
  it.each(failing)("names it when %s fails", async (procedure, part, tab, press) => {
    const desktop = await show(qemuMachine(part), tab);
    desktop.failures.set(procedure, { code: "engine-failed", message: "It did not work." });
    await until(press);
    await until(() => expect(toasts.get()).toMatchObject([{ about: "web", message: "It did not work." }]));
  });

  it("names it when its settings were not changed, when something was copied, and when a name was refused", async () => {
    const desktop = await show(qemuMachine(), "overview");
    (await until(() => button("Copy the folder's path"))).click();
    await until(() => expect(toasts.get().at(-1)).toMatchObject({ level: "info", about: "web" }));
    desktop.failures.set("machine.set", { code: "disk-full", message: "It could not be saved." });
    button("Write").click();
    const area = await until(() => {
      const found = document.querySelector<HTMLTextAreaElement>("textarea");
      if (!found) throw new Error("there is nowhere to write");
      return found;
    });
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")!.set!.call(area, "for week 6");
    area.dispatchEvent(new Event("input", { bubbles: true }));
    button("Save notes").click();
    await until(() => expect(toasts.get().at(-1)).toMatchObject({ level: "error", about: "web" }));
  });
});

describe("the logs", () => {
  it("show the command line one option a line, what it is of, and copy it", async () => {
    const desktop = await show(qemuMachine(), "logs");
    desktop.commandLine = ["qemu-system-x86_64", "-name", "guest=my web", "-S"];
    (await until(() => button("Command line"))).click();
    await until(() => expect(page()).toContain("What a start would run"));
    expect([...document.querySelectorAll(".command > div")].map((line) => line.textContent)).toEqual(["qemu-system-x86_64", "-name 'guest=my web'", "-S"]);
    button("Copy the command line").click();
    await until(() => expect(desktop.copied).toEqual(["qemu-system-x86_64 -name 'guest=my web' -S"]));
    await until(() => expect(toasts.get().map(({ message }) => message)).toEqual(["Copied the command line of web."]));
    desktop.update([...desktop.machines.keys()][0]!, { state: "running" });
    await until(() => expect(page()).toContain("The machine process was started with this."));
  });

  it("show why there is no command line, with the remedy", async () => {
    const desktop = await show(qemuMachine(), "logs");
    desktop.failures.set("machine.commandLine", { code: "unavailable", message: "QEMU is not installed.", remedy: "Install it." });
    (await until(() => button("Command line"))).click();
    await until(() => expect(document.querySelector("[role=alert]")?.textContent).toContain("Install it."));
  });
});

describe("the settings", () => {
  const inForm = () => until(() => field("Name"));

  it("offer hardware where the engine has a choice, and nothing of it where it has none", async () => {
    await show(qemuMachine(), "settings");
    await inForm();
    for (const label of ["Firmware", "Chipset", "Hardware clock", "Bus", "Limit in MB/s", "Model"]) expect(field(label)).not.toBeNull();
    expect(page()).toContain("Expert");
    root?.unmount();
    document.body.replaceChildren();
    await show(qemuMachine({ engine: builtInEngine, config: { engine: "v86" } }), "settings");
    await inForm();
    for (const words of ["Firmware", "Chipset", "Hardware clock", "Limit in", "Model", "Expert"]) expect(page()).not.toContain(words);
  });

  it("send what was typed among the expert settings, and mark extra arguments as unsupported", async () => {
    const machine = qemuMachine({ config: { cpus: 4 } });
    const desktop = await show(machine, "settings");
    await inForm();
    const fold = [...document.querySelectorAll<HTMLElement>("[aria-expanded]")].find((element) => element.textContent?.startsWith("Expert"))!;
    expect(fold.getAttribute("aria-expanded")).toBe("false");
    fold.click();
    await until(() => expect(page()).toContain("Unsupported"));
    type("Sockets", "2");
    await until(() => expect(page()).toContain("2 processors in all; the machine has 4."));
    type("Cores a socket", "2");
    type("Extra arguments for the engine, one a line", "-device\nedu");
    await until(() => expect(button("Apply").getAttribute("aria-disabled")).toBeNull());
    button("Apply").click();
    await until(() => expect(called(desktop, "machine.set")).toEqual([{ id: machine.id, patch: { hardware: { topology: { sockets: 2, cores: 2, threads: 1 }, extraArguments: ["-device", "edu"] } } }]));
  });

  it("open the expert settings by themselves when one of them is wrong, and apply nothing", async () => {
    const machine = qemuMachine();
    const desktop = await show(machine, "settings");
    desktop.findings = (input) => ("id" in input ? [{ field: "hardware.topology", level: "error", message: "They are not 3 processors." }] : []);
    await inForm();
    type("Processors", "3");
    await until(() => expect(page()).toContain("They are not 3 processors."));
    expect(field("Sockets")).not.toBeNull();
    button("Apply").click();
    expect(called(desktop, "machine.set")).toEqual([]);
  });

  it("change limits of a machine that runs, and lock its hardware with the reason", async () => {
    const machine = qemuMachine({ state: "running" });
    const desktop = await show(machine, "settings");
    await inForm();
    expect(page()).toContain("Name, group, the CD, virtio disks, limits of disks, network cables and adapters can be changed meanwhile.");
    expect(field("Memory in MB").disabled).toBe(true);
    expect(field("Limit in MB/s").disabled).toBe(false);
    type("Limit in MB/s", "20");
    await until(() => button("Apply"));
    button("Apply").click();
    await until(() => expect(called(desktop, "machine.set")).toEqual([{ id: machine.id, patch: { disks: [{ id: "disk0", limits: { bytesPerSecond: 20 * 1024 * 1024 } }] } }]));
  });

  it("say which files go and how much is on them before disks are deleted, with Cancel at hand", async () => {
    const disks = [
      { id: "disk0", sizeBytes: 2 * 1024 ** 3, layers: [{ file: "disks/disk0/0.raw", format: "raw" as const }] },
      { id: "disk1", sizeBytes: 512 * 1024 ** 2, layers: [{ file: "disks/disk1/0.qcow2", format: "qcow2" as const }] },
      { id: "disk2", sizeBytes: 1024 ** 3, layers: [{ file: "/images/shared.raw", format: "raw" as const }] },
    ];
    const machine = qemuMachine({ config: { disks } });
    const desktop = await show(machine, "settings");
    await inForm();
    button("Remove disk1").click();
    await until(() => button("Keep disk1"));
    button("Remove disk2").click();
    await until(() => button("Keep disk2"));
    button("Apply").click();
    const dialog = await until(() => {
      const found = document.querySelector<HTMLElement>("[role=dialog]");
      if (!found) throw new Error("nothing is asked");
      return found;
    });
    expect(dialog.textContent).toContain("Delete disk1 of web?");
    expect(dialog.textContent).toContain("disk1, 512 MB");
    expect(dialog.textContent).toContain(`${machine.folder}/disks/disk1/0.qcow2`);
    expect(dialog.textContent).toContain("disk2 is taken out; its image stays: /images/shared.raw");
    expect(dialog.textContent).not.toContain("disk0");
    await until(() => expect(document.activeElement?.textContent).toBe("Cancel"));
    (document.activeElement as HTMLElement).click();
    await until(() => expect(document.querySelector("[role=dialog]")).toBeNull());
    expect(called(desktop, "machine.set")).toEqual([]);
    button("Apply").click();
    (await until(() => button("Delete and apply"))).click();
    await until(() => expect(called(desktop, "machine.set")).toEqual([{ id: machine.id, patch: { removeDisks: ["disk1", "disk2"] } }]));
  });

  it("pull a cable of a machine that runs, and say what of the network waits until it is off", async () => {
    const adapters = [{ mac: "52:54:00:00:00:07", attachment: { mode: "nat" as const }, plugged: true }];
    const machine = qemuMachine({ state: "running", config: { adapters } });
    const desktop = await show(machine, "settings");
    await inForm();
    expect(page()).toContain("Cables can be plugged, pulled and led elsewhere now");
    expect(page()).toContain("Models and addresses can change only while the machine is off.");
    expect(field("MAC address").disabled).toBe(true);
    const cable = document.querySelector<HTMLInputElement>('[aria-label="Cable of adapter net0 is plugged in"]')!;
    expect(cable.disabled).toBe(false);
    cable.click();
    await until(() => expect(called(desktop, "adapter.set")).toEqual([{ id: machine.id, adapter: 0, plugged: false }]));
    await until(() => expect(cable.checked).toBe(false));
    expect(called(desktop, "machine.set")).toEqual([]);
    expect(page()).not.toContain("not applied yet");
  });

  it("add an adapter to a machine that runs, and take the last one out, at once", async () => {
    const adapters = [{ mac: "52:54:00:00:00:07", attachment: { mode: "nat" as const }, plugged: true }];
    const machine = qemuMachine({ state: "running", config: { adapters } });
    const desktop = await show(machine, "settings");
    await inForm();
    button("Add an adapter").click();
    await until(() => expect(called(desktop, "adapter.add")).toEqual([{ id: machine.id, attachment: { mode: "none" } }]));
    await until(() => expect(page()).toContain("net1"));
    expect(button("Remove adapter net0").getAttribute("aria-disabled")).toBe("true");
    button("Remove adapter net1").click();
    await until(() => expect(called(desktop, "adapter.remove")).toEqual([{ id: machine.id, adapter: 1 }]));
    await until(() => expect(page()).not.toContain("net1"));
    expect(called(desktop, "machine.set")).toEqual([]);
    expect(page()).not.toContain("not applied yet");
  });

  it("say why no adapter can be added where the engine cannot while the machine runs", async () => {
    const fixed = { ...qemuEngine, capabilities: { ...qemuEngine.capabilities, hotPlugAdapters: false } };
    await show(qemuMachine({ state: "running", engine: fixed, config: { adapters: [{ mac: "52:54:00:00:00:07", attachment: { mode: "nat" }, plugged: true }] } }), "settings");
    await inForm();
    expect(page()).toContain("Models and addresses and the number of adapters can change only while the machine is off.");
    for (const name of ["Add an adapter", "Remove adapter net0"]) expect(button(name).getAttribute("aria-disabled")).toBe("true");
  });

  it("refuse to take a disk out of a machine that runs where the engine cannot", async () => {
    await show(qemuMachine({ state: "running", engine: builtInEngine, config: { engine: "v86" } }), "settings");
    await inForm();
    expect(button("Remove disk0").getAttribute("aria-disabled")).toBe("true");
    expect(page()).toContain("Built-in emulator cannot plug in or take out a disk while the machine runs.");
    expect(page()).toContain("Name, group, the CD, network cables and adapters can be changed meanwhile.");
  });
});
