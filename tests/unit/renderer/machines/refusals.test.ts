import { describe, expect, it } from "vitest";
import type { AdapterConfig, MachineInfo } from "../../../../core/contract/model";
import { offerOf } from "../../../../renderer/features/machines/settings/offer";
import { addAdapterRefusal, patchRefusal, plugRefusal, removeAdapterRefusal } from "../../../../renderer/features/machines/settings/refusals";
import { absentEngine, builtInEngine, fakeMachine, qemuEngine } from "../../../support/fakeDesktop";

const machineIn = (state: MachineInfo["state"], engine = qemuEngine) =>
  fakeMachine("a", { state, engine, config: { engine: engine.id, disks: [{ id: "disk0", sizeBytes: 512, bus: "sata", layers: [{ file: "a", format: "raw" }] }] } });
const refusal = (machine: MachineInfo, patch: Parameters<typeof patchRefusal>[2]) => patchRefusal(machine, machine.config!, patch);

describe("what may change while a machine runs", () => {
  it("are names and, where the engine can, limits and virtio disks", () => {
    const machine = machineIn("running");
    expect(refusal(machine, { name: "b", group: null })).toBeUndefined();
    expect(refusal(machine, { disks: [{ id: "disk0", limits: null }] })).toBeUndefined();
    expect(refusal(machine, { addDisks: [{ sizeBytes: 512 }] })).toBeUndefined();
  });

  it("is no hardware: memory, bus, adapters and what QEMU is started with", () => {
    const machine = machineIn("running");
    for (const patch of [{ memoryMiB: 512 }, { hardware: { firmware: "uefi" as const } }, { disks: [{ id: "disk0", bus: "scsi" as const }] }, { adapters: [] }]) {
      expect(refusal(machine, patch)).toBe("The machine is running. Shut it down first.");
      expect(refusal(machineIn("off"), patch)).toBeUndefined();
    }
  });

  it("are the cables of its adapters, and not the cards, where the engine can", () => {
    const fixed = { ...qemuEngine, capabilities: { ...qemuEngine.capabilities, setLinkLive: false } };
    const changed = (machine: MachineInfo, part: Partial<AdapterConfig>) => refusal(machine, { adapters: machine.config!.adapters.map((adapter) => ({ ...adapter, ...part })) });
    for (const part of [{ plugged: false }, { attachment: { mode: "nat" as const } }, { model: "virtio" as const }]) {
      expect(changed(machineIn("running"), part)).toBeUndefined();
      expect(changed(machineIn("running", fixed), part)).toBe("QEMU cannot plug or pull a cable while the machine runs. Shut it down first.");
      expect(changed(machineIn("off", fixed), part)).toBeUndefined();
      expect(changed(machineIn("saved"), part)).toContain("saved");
    }
    for (const part of [{ mac: "52:54:00:00:00:99" }, { model: "e1000" as const }]) expect(changed(machineIn("running"), part)).toBe("The machine is running. Shut it down first.");
  });

  it("are no disks on other buses, and none at all where the engine has no hot-plug", () => {
    expect(refusal(machineIn("running"), { removeDisks: ["disk0"] })).toContain("SATA");
    expect(refusal(machineIn("running"), { addDisks: [{ sizeBytes: 512, bus: "scsi" }] })).toContain("SCSI");
    expect(plugRefusal(machineIn("running", builtInEngine))).toContain("Built-in emulator cannot plug in");
    expect(plugRefusal(machineIn("off", builtInEngine))).toBeUndefined();
    expect(refusal(machineIn("off"), { removeDisks: ["disk0"] })).toBeUndefined();
  });

  it("are adapters that come, and the last one that goes, where the engine can", () => {
    const fixed = { ...qemuEngine, capabilities: { ...qemuEngine.capabilities, hotPlugAdapters: false } };
    const running = machineIn("running");
    const last = running.config!.adapters.length - 1;
    for (const machine of [running, machineIn("off"), machineIn("running", builtInEngine)]) {
      expect(addAdapterRefusal(machine)).toBeUndefined();
      expect(removeAdapterRefusal(machine, last)).toBeUndefined();
    }
    expect(removeAdapterRefusal(running, last - 1)).toContain("only its last adapter");
    expect(removeAdapterRefusal(machineIn("paused"), last)).toContain("Resume it first");
    expect(addAdapterRefusal(machineIn("paused"))).toBeUndefined();
    expect(addAdapterRefusal(machineIn("running", fixed))).toBe("QEMU cannot add or remove an adapter while the machine runs. Shut it down first.");
    expect(addAdapterRefusal(machineIn("saved"))).toContain("saved");
  });

  it("are the limits of a saved machine, whose disks must stay", () => {
    expect(refusal(machineIn("saved"), { disks: [{ id: "disk0", limits: null }] })).toBeUndefined();
    expect(refusal(machineIn("saved"), { addDisks: [{ sizeBytes: 512 }] })).toContain("saved");
    expect(refusal(machineIn("stopping"), { disks: [{ id: "disk0", limits: null }] })).toContain("shutting down");
  });
});

describe("what the settings can be chosen from", () => {
  const engines = [builtInEngine, qemuEngine];

  it("is what the chosen engine has", () => {
    expect(offerOf(machineIn("off"), { engine: "v86" }, engines, false)).toMatchObject({ maxCpus: 1, firmwares: ["bios"], diskBuses: ["virtio"], expertSettings: false, standardChipset: "pc" });
    expect(offerOf(machineIn("off"), { engine: "qemu" }, engines, false)).toMatchObject({ maxCpus: 64, firmwares: ["bios", "uefi"], adapterModels: ["virtio", "e1000"], diskLimits: true, standardChipset: "q35" });
  });

  it("is what any engine that is there has, when Terrarium chooses", () => {
    const machine = machineIn("off", builtInEngine);
    expect(offerOf(machine, { engine: "auto" }, engines, false)).toMatchObject({ maxCpus: 64, chipsets: ["pc", "q35"], expertSettings: true, standardChipset: undefined });
    expect(offerOf(machine, { engine: "auto" }, [builtInEngine, absentEngine], false)).toMatchObject({ maxCpus: 1, expertSettings: false });
  });

  it("is what its own engine has while the hardware must stay, and before the host was heard of", () => {
    expect(offerOf(machineIn("running", builtInEngine), { engine: "auto" }, engines, true)).toMatchObject({ maxCpus: 1, expertSettings: false });
    expect(offerOf(machineIn("off"), { engine: "qemu" }, [], false)).toMatchObject({ maxCpus: 64 });
  });

  it("tells an engine without UEFI on this host from one that has none", () => {
    const bare = { ...qemuEngine, capabilities: { ...qemuEngine.capabilities, firmwares: ["bios" as const] } };
    expect(offerOf(machineIn("off", bare), { engine: "qemu" }, [builtInEngine, bare], false).lacksFirmware).toBe(true);
    expect(offerOf(machineIn("off", builtInEngine), { engine: "v86" }, engines, false).lacksFirmware).toBe(false);
  });
});
