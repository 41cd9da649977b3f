import type { AdapterConfig, BootConfig, DiskSpec, EngineChoice, MachineConfig, MachinePatch } from "../../../../core/contract/model";

/** Settings as they stand in the form. Numbers are text while they are typed. */
export interface Draft {
  readonly name: string;
  readonly group: string;
  readonly engine: EngineChoice;
  readonly memoryMiB: string;
  readonly cpus: string;
  readonly boot: BootConfig;
  readonly adapters: readonly AdapterConfig[];
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
    adapters: config.adapters,
    addDisks: [],
    removeDisks: [],
  };
}

/** Which fields hold something that is not even a number, in the shape of findings. */
export function malformed(draft: Draft): { field: string; level: "error"; message: string }[] {
  const wrong: { field: string; level: "error"; message: string }[] = [];
  if (!isWhole(draft.memoryMiB)) wrong.push({ field: "memoryMiB", level: "error", message: "Give the memory in whole megabytes." });
  if (!isWhole(draft.cpus)) wrong.push({ field: "cpus", level: "error", message: "Give a whole number of processors." });
  return wrong;
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
  if (!same(draft.adapters, config.adapters)) patch.adapters = [...draft.adapters];
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
    adapters: rebasedAdapters(draft.adapters, base.adapters, config.adapters),
    addDisks: draft.addDisks,
    removeDisks: draft.removeDisks.filter((id) => config.disks.some((disk) => disk.id === id)),
  };
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

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
