import type { AdapterConfig, BootConfig, DiskSpec, EngineChoice, MachineConfig, MachinePatch } from "../../../../core/contract/model";
import { diskDraftOf, diskPatchOf, malformedDisk, type DiskDraft } from "./diskDraft";
import { hardwareDraftOf, hardwareOf, malformedHardware, type HardwareDraft } from "./hardwareDraft";

/** Settings as they stand in the form. Numbers are text while they are typed. */
export interface Draft {
  readonly name: string;
  readonly group: string;
  readonly engine: EngineChoice;
  readonly memoryMiB: string;
  readonly cpus: string;
  readonly boot: BootConfig;
  readonly hardware: HardwareDraft;
  readonly adapters: readonly AdapterConfig[];
  /** Disks that are there, by id. */
  readonly disks: Readonly<Record<string, DiskDraft>>;
  readonly addDisks: readonly DiskSpec[];
  readonly removeDisks: readonly string[];
}

export function draftOf(config: MachineConfig): Draft {
  return {
    name: config.name,
    group: config.group ?? "",
    engine: config.engine,
    memoryMiB: String(config.memoryMiB),
    cpus: String(config.cpus),
    boot: config.boot,
    hardware: hardwareDraftOf(config.hardware),
    adapters: config.adapters,
    disks: Object.fromEntries(config.disks.map((disk) => [disk.id, diskDraftOf(disk)])),
    addDisks: [],
    removeDisks: [],
  };
}

/** Which fields hold something that could not even be asked for, in the shape of findings. */
export function malformed(draft: Draft): { field: string; level: "error"; message: string }[] {
  const wrong: { field: string; level: "error"; message: string }[] = [];
  if (!isWhole(draft.memoryMiB)) wrong.push({ field: "memoryMiB", level: "error", message: "Give the memory in whole megabytes." });
  if (!isWhole(draft.cpus)) wrong.push({ field: "cpus", level: "error", message: "Give a whole number of processors." });
  const kept = Object.entries(draft.disks).filter(([id]) => !draft.removeDisks.includes(id));
  return [...wrong, ...malformedHardware(draft.hardware), ...kept.flatMap(([id, disk]) => malformedDisk(id, disk))];
}

/** What differs from the configuration: exactly that is sent. */
export function patchOf(config: MachineConfig, draft: Draft): MachinePatch {
  const patch: MachinePatch = {};
  if (draft.name !== config.name) patch.name = draft.name;
  const group = draft.group.trim();
  if (group !== (config.group ?? "")) patch.group = group === "" ? null : group;
  if (draft.engine !== config.engine) patch.engine = draft.engine;
  if (isWhole(draft.memoryMiB) && Number(draft.memoryMiB) !== config.memoryMiB) patch.memoryMiB = Number(draft.memoryMiB);
  if (isWhole(draft.cpus) && Number(draft.cpus) !== config.cpus) patch.cpus = Number(draft.cpus);
  if (!same(draft.boot, config.boot)) patch.boot = draft.boot;
  const hardware = hardwareOf(draft.hardware);
  if (hardware !== undefined && !same(hardware, hardwareOf(hardwareDraftOf(config.hardware)))) patch.hardware = hardware;
  if (!same(draft.adapters.map(explicit), config.adapters.map(explicit))) patch.adapters = [...draft.adapters];
  const disks = config.disks.filter(({ id }) => !draft.removeDisks.includes(id)).flatMap((disk) => diskPatchOf(disk, draft.disks[disk.id] ?? diskDraftOf(disk)) ?? []);
  if (disks.length > 0) patch.disks = disks;
  if (draft.addDisks.length > 0) patch.addDisks = [...draft.addDisks];
  if (draft.removeDisks.length > 0) patch.removeDisks = [...draft.removeDisks];
  return patch;
}

/**
 * The draft after someone else has changed the machine from `base`, which the draft was made of, to `config`: what was not
 * touched in it follows, what was touched stays.
 */
export function rebased(draft: Draft, base: MachineConfig, config: MachineConfig): Draft {
  const before = draftOf(base);
  const now = draftOf(config);
  const follow = <K extends keyof Draft>(key: K): Draft[K] => (same(draft[key], before[key]) ? now[key] : draft[key]);
  return {
    name: follow("name"),
    group: follow("group"),
    engine: follow("engine"),
    memoryMiB: follow("memoryMiB"),
    cpus: follow("cpus"),
    boot: follow("boot"),
    hardware: followed(draft.hardware, before.hardware, now.hardware),
    adapters: rebasedAdapters(draft.adapters, base.adapters, config.adapters),
    disks: Object.fromEntries(config.disks.map(({ id }) => [id, rebasedDisk(draft.disks[id], before.disks[id], now.disks[id]!)])),
    addDisks: draft.addDisks,
    removeDisks: draft.removeDisks.filter((id) => config.disks.some((disk) => disk.id === id)),
  };
}

/** Each field of `draft` that is as it was `before` becomes what it is `now`. */
function followed<T extends object>(draft: T, before: T, now: T): T {
  return Object.fromEntries(Object.entries(draft).map(([key, value]) => [key, value === before[key as keyof T] ? now[key as keyof T] : value])) as T;
}

/** A disk that came anew is taken as it is. */
function rebasedDisk(draft: DiskDraft | undefined, before: DiskDraft | undefined, now: DiskDraft): DiskDraft {
  return draft && before ? followed(draft, before, now) : now;
}

/** The same for the adapters, each by itself; an adapter is known by its address. */
function rebasedAdapters(draft: readonly AdapterConfig[], base: readonly AdapterConfig[], config: readonly AdapterConfig[]): readonly AdapterConfig[] {
  const of = (adapters: readonly AdapterConfig[], mac: string): AdapterConfig | undefined => adapters.find((adapter) => adapter.mac === mac);
  // One that is as it was follows the configuration, also out of it.
  const kept = draft.flatMap((adapter) => (same(adapter, of(base, adapter.mac)) ? (of(config, adapter.mac) ?? []) : adapter));
  const added = config.filter(({ mac }) => !of(base, mac) && !of(draft, mac));
  return [...kept, ...added];
}

/** A fresh address in the block that virtual machines use. */
export function freshMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(3));
  return ["52", "54", "00", ...[...bytes].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

function isWhole(text: string): boolean {
  return /^\d{1,7}$/.test(text.trim()) && Number(text) > 0;
}

/** An adapter with what its absence stands for. */
function explicit(adapter: AdapterConfig): AdapterConfig {
  return { ...adapter, model: adapter.model ?? "virtio" };
}

function same(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

/** JSON that does not depend on the order in which members were set. */
function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1))) : part,
  );
}
