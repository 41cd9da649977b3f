import type { DiskConfig, MachineConfig, MachinePatch } from "../contract/model";

/** What a change of settings needs of the machine's state. */
export interface ChangeKind {
  /** Hardware changes, which only a machine that is off allows. */
  readonly hardware: boolean;
  /** Adapters come behind the others, or the last ones go, which some engines can do while the machine runs. */
  readonly adapters: "more" | "fewer" | undefined;
  /** Disks come or go, which some engines can do while the machine runs. */
  readonly disks: boolean;
  /** The medium in the drive changes. */
  readonly medium: boolean;
  /** Cables are plugged, pulled or led elsewhere. */
  readonly links: boolean;
  /** What disks may be used at most changes. */
  readonly limits: boolean;
}

/** What `patch` really changes; a setting that stays what it is counts nothing. */
export function kindOfChange(config: MachineConfig, patch: MachinePatch): ChangeKind {
  const { adapters } = patch;
  const after = patched(config, patch, config.disks);
  const differs = (key: keyof MachineConfig): boolean => JSON.stringify(after[key]) !== JSON.stringify(config[key]);
  const cards = (list: MachineConfig["adapters"]): string[] => list.map(({ mac, model }) => `${mac} ${model ?? "virtio"}`);
  const [cardsBefore, cardsAfter] = [cards(config.adapters), cards(after.adapters)];
  const stay = cardsBefore.every((card, slot) => slot >= cardsAfter.length || card === cardsAfter[slot]);
  const growth = cardsAfter.length - cardsBefore.length;
  const buses = (list: readonly DiskConfig[]): string => JSON.stringify(list.map((disk) => disk.bus ?? "virtio"));
  const limits = (list: readonly DiskConfig[]): string => JSON.stringify(list.map((disk) => disk.limits));
  return {
    hardware: (["engine", "memoryMiB", "cpus", "boot", "hardware"] as const).some(differs) || !stay || buses(after.disks) !== buses(config.disks),
    adapters: !stay || growth === 0 ? undefined : growth > 0 ? "more" : "fewer",
    disks: (patch.addDisks ?? []).length > 0 || (patch.removeDisks ?? []).length > 0,
    medium: patch.medium !== undefined && patch.medium !== (config.drives[0]?.medium ?? null),
    links: adapters !== undefined && JSON.stringify(adapters) !== JSON.stringify(config.adapters),
    limits: limits(after.disks) !== limits(config.disks),
  };
}

/** The configuration with the patch applied; `disks` are what adding and removing them led to. */
export function patched(config: MachineConfig, patch: MachinePatch, disks: readonly DiskConfig[]): MachineConfig {
  const { name, group, notes, engine, memoryMiB, cpus, boot, hardware, system, arch, medium, adapters } = patch;
  const next: MachineConfig = {
    ...config,
    ...(name === undefined ? {} : { name }),
    ...(notes === undefined ? {} : { notes }),
    ...(engine === undefined ? {} : { engine }),
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(boot === undefined ? {} : { boot }),
    ...(hardware === undefined ? {} : { hardware }),
    ...(system === undefined || system === null ? {} : { system }),
    ...(arch === undefined || arch === null ? {} : { arch }),
    ...(medium === undefined ? {} : { drives: [{ id: "cd0" as const, medium }] }),
    ...(adapters === undefined ? {} : { adapters }),
    disks: disks.map((disk) => withSettings(disk, patch.disks?.find(({ id }) => id === disk.id))),
  };
  if (group === null || group === "") delete next.group;
  else if (group !== undefined) next.group = group;
  if (system === null) delete next.system;
  if (arch === null) delete next.arch;
  return next;
}

function withSettings(disk: DiskConfig, settings: NonNullable<MachinePatch["disks"]>[number] | undefined): DiskConfig {
  if (settings === undefined) return disk;
  const { bus, limits } = settings;
  const next: DiskConfig = { ...disk, ...(bus === undefined ? {} : { bus }), ...(limits === undefined || limits === null ? {} : { limits }) };
  if (limits === null) delete next.limits;
  return next;
}
