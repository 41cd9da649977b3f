import type { DiskConfig, MachineConfig, MachinePatch } from "../contract/model";

/** What a change of settings needs of the machine's state. */
export interface ChangeKind {
  /** Hardware changes, which only a machine that is off allows. */
  readonly hardware: boolean;
  /** The medium in the drive changes. */
  readonly medium: boolean;
  /** Cables are plugged, pulled or led elsewhere. */
  readonly links: boolean;
}

/** What `patch` really changes; a setting that stays what it is counts nothing. */
export function kindOfChange(config: MachineConfig, patch: MachinePatch): ChangeKind {
  const differs = <K extends "engine" | "memoryMiB" | "cpus" | "boot">(key: K): boolean => patch[key] !== undefined && JSON.stringify(patch[key]) !== JSON.stringify(config[key]);
  const { adapters } = patch;
  const sameCards = adapters === undefined || (adapters.length === config.adapters.length && adapters.every((adapter, index) => adapter.mac === config.adapters[index]?.mac));
  return {
    hardware: differs("engine") || differs("memoryMiB") || differs("cpus") || differs("boot") || (patch.addDisks ?? []).length > 0 || (patch.removeDisks ?? []).length > 0 || !sameCards,
    medium: patch.medium !== undefined && patch.medium !== (config.drives[0]?.medium ?? null),
    links: adapters !== undefined && JSON.stringify(adapters) !== JSON.stringify(config.adapters),
  };
}

/** The configuration with the patch applied; `disks` are what adding and removing them led to. */
export function patched(config: MachineConfig, patch: MachinePatch, disks: readonly DiskConfig[]): MachineConfig {
  const { name, group, notes, engine, memoryMiB, cpus, boot, medium, adapters } = patch;
  const next: MachineConfig = {
    ...config,
    ...(name === undefined ? {} : { name }),
    ...(notes === undefined ? {} : { notes }),
    ...(engine === undefined ? {} : { engine }),
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(boot === undefined ? {} : { boot }),
    ...(medium === undefined ? {} : { drives: [{ id: "cd0" as const, medium }] }),
    ...(adapters === undefined ? {} : { adapters }),
    disks: [...disks],
  };
  if (group === null || group === "") delete next.group;
  else if (group !== undefined) next.group = group;
  return next;
}
