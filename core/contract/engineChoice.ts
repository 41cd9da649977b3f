import type { DiskConfig, EngineCapabilities, EngineId, EngineInfo, MachineConfig } from "./model";

/*
 * Which engine runs a machine, and what an engine cannot give it. Windows ask it while a machine is being put together,
 * the host service when it starts one; so both say the same.
 */

/** What of a configuration decides which engine runs it. */
export type EngineNeeds = Pick<MachineConfig, "engine" | "memoryMiB" | "cpus"> & Partial<Pick<MachineConfig, "boot" | "arch" | "hardware" | "seed">> & {
  readonly disks?: readonly { readonly bus?: DiskConfig["bus"]; readonly layers?: DiskConfig["layers"] }[];
  readonly adapters?: readonly { readonly model?: MachineConfig["adapters"][number]["model"] }[];
};

/**
 * The engine that runs `machine`. `auto`: the starter, and 32-bit kernels, run on the built-in emulator, which is instant
 * there, as long as it can do what they need; everything else runs on QEMU when there is one.
 */
export function engineFor(machine: EngineNeeds, builtIn: EngineInfo, qemu: EngineInfo): EngineId {
  if (machine.engine !== "auto") return machine.engine;
  const fitting = beyond(builtIn.capabilities, machine).length === 0;
  const small = machine.boot === undefined || machine.boot.kind !== "firmware";
  return fitting && (small || !qemu.available) ? "v86" : "qemu";
}

/** What of a machine an engine with these capabilities cannot give it, in words: "2 processors". */
export function beyond(capabilities: EngineCapabilities, machine: EngineNeeds): string[] {
  return [
    ...(machine.cpus > capabilities.maxCpus ? [`${machine.cpus} processors`] : []),
    ...(machine.memoryMiB < capabilities.minMemoryMiB || machine.memoryMiB > capabilities.maxMemoryMiB ? [`${memoryWords(machine.memoryMiB)} of memory`] : []),
    ...(capabilities.snapshots === "none" && machine.disks?.some(({ layers = [] }) => layers.length > 1) ? ["disks with snapshots"] : []),
    ...(machine.arch === "x86_64" && !capabilities.x86_64 ? ["a 64-bit processor"] : []),
    ...unsupported(machine, capabilities).map(({ what }) => what),
  ];
}

function memoryWords(memoryMiB: number): string {
  return memoryMiB % 1024 === 0 ? `${memoryMiB / 1024} GB` : `${memoryMiB} MB`;
}

/** A setting that an engine has nothing for. */
export interface UnsupportedSetting {
  /** As in a finding: `hardware`, `disks.0`. */
  readonly field: string;
  /** "UEFI firmware". */
  readonly what: string;
}

/** Settings of a machine beside memory and processors that an engine with these capabilities cannot give it. */
export function unsupported(machine: Pick<EngineNeeds, "hardware" | "disks" | "adapters" | "seed">, capabilities: EngineCapabilities): UnsupportedSetting[] {
  const found: UnsupportedSetting[] = [];
  const { chipset, firmware, cpuModel, topology, clock, extraArguments = [] } = machine.hardware ?? {};
  if (firmware !== undefined && !capabilities.firmwares.includes(firmware)) found.push({ field: "hardware.firmware", what: `${firmware.toUpperCase()} firmware` });
  if (chipset !== undefined && !capabilities.chipsets.includes(chipset)) found.push({ field: "hardware.chipset", what: `the chipset ${chipset}` });
  if (!capabilities.expertSettings) {
    if (cpuModel !== undefined) found.push({ field: "hardware.cpuModel", what: "a choice of CPU model" });
    if (topology !== undefined) found.push({ field: "hardware.topology", what: "a CPU topology" });
    if (clock === "local") found.push({ field: "hardware.clock", what: "a clock in local time" });
    if (extraArguments.length > 0) found.push({ field: "hardware.extraArguments", what: "extra arguments" });
  }
  for (const [index, disk] of (machine.disks ?? []).entries()) {
    if (disk.bus !== undefined && !capabilities.diskBuses.includes(disk.bus)) found.push({ field: `disks.${index}`, what: `disks on ${disk.bus === "sata" ? "SATA" : "SCSI"}` });
  }
  for (const [index, adapter] of (machine.adapters ?? []).entries()) {
    if (adapter.model !== undefined && !capabilities.adapterModels.includes(adapter.model)) found.push({ field: `adapters.${index}`, what: `network cards of the model ${adapter.model}` });
  }
  if (machine.seed !== undefined && !capabilities.seed) found.push({ field: "seed", what: "first settings for a cloud image" });
  return found;
}
