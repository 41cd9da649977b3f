import { engineFor, type EngineNeeds } from "../../../core/contract/engineChoice";
import type { EngineInfo, FirmwareKind, GuestArch, GuestSystem, MachineInfo } from "../../../core/contract/model";
import { sourcePath, startsFromFirmware, type Answers, type Around, type Draft, type Source } from "./answers";
import { hostNameFrom, isCloudImage, userOf } from "./login";

/* What the wizard suggests: from the system the file holds, within what this computer and its engines can do. Pure. */

export const GiB = 1024 ** 3;

interface SourceDefaults {
  readonly baseName: string;
  readonly memoryMiB: number;
  readonly diskBytes: number | null;
}

/** First answers where no system says better. */
export const sourceDefaults: Readonly<Record<Source, SourceDefaults>> = {
  starter: { baseName: "linux", memoryMiB: 256, diskBytes: 2 * GiB },
  iso: { baseName: "machine", memoryMiB: 512, diskBytes: 8 * GiB },
  disk: { baseName: "machine", memoryMiB: 512, diskBytes: null },
  kernel: { baseName: "kernel", memoryMiB: 512, diskBytes: null },
};

export function suggestions(draft: Draft, around: Around): Answers {
  const { host } = around;
  const system = systemOf(draft, around);
  const defaults = sourceDefaults[draft.source];
  const engines = candidates(draft, around);
  const most = (pick: (engine: EngineInfo) => number): number => (engines.length === 0 ? Infinity : Math.max(...engines.map(pick)));
  const offers = (has: (engine: EngineInfo) => boolean): boolean => engines.length === 0 || engines.some(has);
  const wanted = { memoryMiB: system?.memoryMiB ?? defaults.memoryMiB, cpus: system?.cpus ?? 1 };
  const bus = system?.diskBus ?? "virtio";
  const model = system?.adapterModel ?? "virtio";
  const seed = draft.source === "disk" && isCloudImage(draft.image) && offers((engine) => engine.capabilities.seed);
  const login = draft.own.login ?? (seed ? "cloud-init" : "own");
  return {
    name: freeName(baseName(draft, system), around.machines),
    system: system?.id,
    memoryMiB: Math.min(wanted.memoryMiB, most((engine) => engine.capabilities.maxMemoryMiB), host === undefined ? Infinity : mostOfHost(host.memoryTotalMiB)),
    cpus: Math.min(wanted.cpus, most((engine) => engine.capabilities.maxCpus), host?.cpus ?? Infinity),
    firmware: suggestedFirmware(draft, system, engines),
    clock: system?.clock === "local" && offers((engine) => engine.capabilities.expertSettings) ? "local" : "utc",
    diskBytes: draft.source === "iso" && system ? system.diskBytes || null : defaults.diskBytes,
    growTo: login === "cloud-init" ? suggestedGrowth(draft, system) : null,
    diskBus: offers((engine) => engine.capabilities.diskBuses.includes(bus)) ? bus : "virtio",
    adapterModel: offers((engine) => engine.capabilities.adapterModels.includes(model)) ? model : "virtio",
    login,
    user: userOf(system),
    hostname: hostNameFrom(draft.name),
    attachment: { mode: host?.networkModes.some(({ mode, available }) => mode === "nat" && available) ? "nat" : "none" },
  };
}

/** Three quarters of the host's memory, in steps of 64 MiB: more would leave nothing for the host. */
function mostOfHost(totalMiB: number): number {
  return Math.max(64, Math.floor((totalMiB * 0.75) / 64) * 64);
}

const otherSystems: Readonly<Record<GuestArch, string>> = { x86_64: "other-amd64", i386: "other-i386" };

/** The system whose figures are suggested; undefined for what comes with its own kernel, and while no system is known. */
export function systemOf(draft: Draft, around: Pick<Around, "systems" | "host">): GuestSystem | undefined {
  if (!startsFromFirmware(draft)) return undefined;
  const byId = (id: string | undefined): GuestSystem | undefined => around.systems.find((system) => system.id === id);
  const without64Bit = around.host !== undefined && !around.host.engines.some((engine) => engine.available && engine.capabilities.x86_64);
  const arch = draft.inspection?.arch ?? (without64Bit ? "i386" : "x86_64");
  return byId(draft.own.system) ?? byId(draft.inspection?.system) ?? byId(otherSystems[arch]);
}

/** The processor the guest needs, as far as the person or the file says. */
export function archOf(draft: Draft, systems: readonly GuestSystem[]): GuestArch | undefined {
  if (draft.source === "starter") return undefined;
  const chosen = draft.source === "kernel" ? undefined : systems.find((system) => system.id === draft.own.system);
  const recognised = systems.find((system) => system.id === draft.inspection?.system);
  return chosen?.arch ?? draft.inspection?.arch ?? recognised?.arch;
}

/** The engines that could run the machine: those that are there, or the one that was chosen. */
export function candidates(draft: Draft, { host, systems }: Pick<Around, "host" | "systems">): readonly EngineInfo[] {
  if (host === undefined) return [];
  if (draft.engine !== "auto") return host.engines.filter((engine) => engine.id === draft.engine);
  const present = host.engines.filter((engine) => engine.available);
  const fitting = archOf(draft, systems) === "x86_64" ? present.filter((engine) => engine.capabilities.x86_64) : present;
  return fitting.length > 0 ? fitting : present;
}

/** The engine that will run the machine. */
export function engineOf(needs: EngineNeeds, engines: readonly EngineInfo[]): EngineInfo | undefined {
  const builtIn = engines.find((engine) => engine.id === "v86");
  const qemu = engines.find((engine) => engine.id === "qemu");
  if (!builtIn || !qemu) return builtIn ?? qemu;
  return engineFor(needs, builtIn, qemu) === "v86" ? builtIn : qemu;
}

function suggestedFirmware(draft: Draft, system: GuestSystem | undefined, engines: readonly EngineInfo[]): FirmwareKind {
  const wanted = system?.firmware ?? "bios";
  const file = draft.inspection?.firmwares ?? [];
  const starting: readonly FirmwareKind[] = file.length > 0 ? file : ["bios", "uefi"];
  const here = starting.filter((firmware) => engines.length === 0 || engines.some((engine) => engine.capabilities.firmwares.includes(firmware)));
  return here.includes(wanted) ? wanted : (here[0] ?? starting[0] ?? wanted);
}

/** Images for clouds are small and meant to be grown. */
function suggestedGrowth(draft: Draft, system: GuestSystem | undefined): number | null {
  if (draft.source !== "disk" || draft.inspection === undefined) return null;
  const target = Math.min(20 * GiB, Math.max(10 * GiB, system?.diskBytes ?? 0));
  return imageBytes(draft) < target ? target : null;
}

/** How long the disk in the chosen image is, as far as it is known. */
export function imageBytes(draft: Draft): number {
  const { inspection } = draft;
  return inspection?.virtualBytes ?? (inspection?.format === "raw" || inspection?.format === "unknown" ? inspection.sizeBytes : 0);
}

function baseName(draft: Draft, system: GuestSystem | undefined): string {
  if (system !== undefined && !system.id.startsWith("other-")) return system.id.replace(/-(?:amd64|i386)$/, "");
  return nameFromPath(sourcePath(draft)) || sourceDefaults[draft.source].baseName;
}

/** `base`, or `base-2`, `base-3`, ... when machines with those names exist. */
export function freeName(base: string, machines: readonly Pick<MachineInfo, "name">[]): string {
  const taken = new Set(machines.map((machine) => machine.name.toLocaleLowerCase()));
  let name = base;
  for (let n = 2; taken.has(name.toLocaleLowerCase()); n++) name = `${base}-${n}`;
  return name;
}

/** A file's name without folder and ending, as a machine's name: `/isos/debian-12.iso` becomes `debian-12`. */
export function nameFromPath(path: string): string {
  const file = path.split(/[\\/]/).pop() ?? "";
  return (file.replace(/\.[A-Za-z0-9]{1,5}$/, "") || file).slice(0, 60);
}
