import type { DiskBus, DiskConfig, DiskLimits, MachinePatch } from "../../../../core/contract/model";

/** A disk's settings as they stand in the form; an empty limit is none. */
export interface DiskDraft {
  readonly bus: DiskBus;
  readonly megabytesPerSecond: string;
  readonly operationsPerSecond: string;
}

type DiskPatch = NonNullable<MachinePatch["disks"]>[number];

/** The megabyte of everything a person reads here: 1024 * 1024 bytes. */
const megabyte = 1024 * 1024;
const mostMegabytes = 1_000_000;

export function diskDraftOf({ bus = "virtio", limits }: DiskConfig): DiskDraft {
  return {
    bus,
    megabytesPerSecond: limits?.bytesPerSecond === undefined ? "" : String(Math.round((limits.bytesPerSecond / megabyte) * 1000) / 1000),
    operationsPerSecond: String(limits?.operationsPerSecond ?? ""),
  };
}

/** What differs from the disk's configuration, or undefined when nothing does or a limit is malformed. */
export function diskPatchOf(disk: DiskConfig, draft: DiskDraft): DiskPatch | undefined {
  const before = diskDraftOf(disk);
  const patch: DiskPatch = { id: disk.id };
  if (draft.bus !== before.bus) patch.bus = draft.bus;
  const touched = draft.megabytesPerSecond !== before.megabytesPerSecond || draft.operationsPerSecond !== before.operationsPerSecond;
  const limits = touched ? limitsOf(disk, draft, before) : undefined;
  if (limits !== undefined && !equal(limits, disk.limits)) patch.limits = limits;
  return patch.bus === undefined && patch.limits === undefined ? undefined : patch;
}

/** Which limits are none, in the shape of findings. */
export function malformedDisk(id: string, draft: DiskDraft): { field: string; level: "error"; message: string }[] {
  const wrong: { field: string; level: "error"; message: string }[] = [];
  if (bytesOf(draft.megabytesPerSecond) === undefined) wrong.push({ field: `limits.${id}.bytesPerSecond`, level: "error", message: "Give megabytes a second, 0.001 or more, or nothing." });
  if (operationsOf(draft.operationsPerSecond) === undefined) wrong.push({ field: `limits.${id}.operationsPerSecond`, level: "error", message: "Give a whole number of operations a second, or nothing." });
  return wrong;
}

/** The limits a draft stands for: null when there are none, undefined when it is malformed. */
function limitsOf(disk: DiskConfig, draft: DiskDraft, before: DiskDraft): DiskLimits | null | undefined {
  // A figure that was left as it is keeps the bytes that its rounded text does not show.
  const bytesPerSecond = draft.megabytesPerSecond === before.megabytesPerSecond ? (disk.limits?.bytesPerSecond ?? null) : bytesOf(draft.megabytesPerSecond);
  const operationsPerSecond = operationsOf(draft.operationsPerSecond);
  if (bytesPerSecond === undefined || operationsPerSecond === undefined) return undefined;
  if (bytesPerSecond === null && operationsPerSecond === null) return null;
  return { ...(bytesPerSecond === null ? {} : { bytesPerSecond }), ...(operationsPerSecond === null ? {} : { operationsPerSecond }) };
}

function equal(a: DiskLimits | null, b: DiskLimits | undefined): boolean {
  return a?.bytesPerSecond === b?.bytesPerSecond && a?.operationsPerSecond === b?.operationsPerSecond;
}

/** null: no limit; undefined: no number of bytes. */
function bytesOf(text: string): number | null | undefined {
  const figure = text.trim().replace(",", ".");
  if (figure === "") return null;
  if (!/^\d{1,7}(\.\d{1,6})?$/.test(figure)) return undefined;
  const bytes = Math.round(Number(figure) * megabyte);
  return bytes >= 1024 && Number(figure) <= mostMegabytes ? bytes : undefined;
}

function operationsOf(text: string): number | null | undefined {
  const figure = text.trim();
  if (figure === "") return null;
  return /^\d{1,9}$/.test(figure) && Number(figure) > 0 ? Number(figure) : undefined;
}
