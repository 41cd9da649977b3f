import type { Finding, MachineInfo, MachineSpecInput, NetworkMode } from "../../../core/contract/model";

/** What the wizard is told step by step; pure, so that going back and forth loses nothing. */
export type Source = "starter" | "iso" | "disk" | "kernel";

export interface Draft {
  readonly source: Source;
  readonly name: string;
  /** False while the name is one we suggested: it then follows the source. */
  readonly nameIsOwn: boolean;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly iso: string;
  readonly image: string;
  readonly imageMode: "copy" | "link";
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  /** An empty disk of this many bytes, or none. */
  readonly diskBytes: number | null;
  readonly networkMode: NetworkMode;
}

export const stepNames = ["source", "system", "disk", "network", "review"] as const;
export type StepName = (typeof stepNames)[number];

const GiB = 1024 ** 3;

interface SourceDefaults {
  readonly baseName: string;
  readonly memoryMiB: number;
  readonly diskBytes: number | null;
}

/** Sensible first answers for each source. */
export const sourceDefaults: Readonly<Record<Source, SourceDefaults>> = {
  starter: { baseName: "linux", memoryMiB: 256, diskBytes: 2 * GiB },
  iso: { baseName: "machine", memoryMiB: 512, diskBytes: 8 * GiB },
  disk: { baseName: "machine", memoryMiB: 512, diskBytes: null },
  kernel: { baseName: "kernel", memoryMiB: 256, diskBytes: null },
};

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

export function newDraft(source: Source, machines: readonly Pick<MachineInfo, "name">[]): Draft {
  const defaults = sourceDefaults[source];
  return {
    source,
    name: freeName(defaults.baseName, machines),
    nameIsOwn: false,
    memoryMiB: defaults.memoryMiB,
    cpus: 1,
    iso: "",
    image: "",
    imageMode: "copy",
    kernel: "",
    initrd: "",
    cmdline: "console=tty0 console=ttyS0",
    diskBytes: defaults.diskBytes,
    networkMode: "none",
  };
}

/** Another source: its defaults, but what the person has written stays. */
export function withSource(draft: Draft, source: Source, machines: readonly Pick<MachineInfo, "name">[]): Draft {
  const fresh = newDraft(source, machines);
  const path = sourcePath({ ...draft, source });
  const suggested = path ? freeName(nameFromPath(path), machines) : fresh.name;
  return { ...draft, source, memoryMiB: fresh.memoryMiB, diskBytes: fresh.diskBytes, name: draft.nameIsOwn ? draft.name : suggested };
}

/** The file the source is about was chosen: the machine is named after it unless the person has named it. */
export function withPath(draft: Draft, path: string, machines: readonly Pick<MachineInfo, "name">[]): Draft {
  const field = draft.source === "iso" ? "iso" : draft.source === "disk" ? "image" : "kernel";
  const name = draft.nameIsOwn || !path ? draft.name : freeName(nameFromPath(path), machines);
  return { ...draft, [field]: path, name };
}

/** Whether the person has said anything that leaving would lose. Which card was chosen is a click, and no loss. */
export function isFilledIn(draft: Draft): boolean {
  const { name: _, ...fresh } = newDraft(draft.source, []);
  return Object.entries(fresh).some(([answer, suggested]) => draft[answer as keyof Draft] !== suggested);
}

/** The file the source is about, empty when none is chosen or needed. */
export function sourcePath(draft: Draft): string {
  return draft.source === "iso" ? draft.iso : draft.source === "disk" ? draft.image : draft.source === "kernel" ? draft.kernel : "";
}

/** The specification that `machine.create` takes. */
export function toSpec(draft: Draft): MachineSpecInput {
  const disks: MachineSpecInput["disks"] = [];
  if (draft.source === "disk" && draft.image) disks.push({ image: draft.image, mode: draft.imageMode });
  if (draft.diskBytes !== null) disks.push({ sizeBytes: draft.diskBytes });
  const boot: MachineSpecInput["boot"] =
    draft.source === "starter"
      ? { kind: "starter" }
      : draft.source === "kernel"
        ? { kind: "kernel", kernel: draft.kernel, ...(draft.initrd ? { initrd: draft.initrd } : {}), cmdline: draft.cmdline }
        : { kind: "firmware", order: draft.source === "iso" ? "cd" : "disk" };
  return {
    name: draft.name,
    memoryMiB: draft.memoryMiB,
    cpus: draft.cpus,
    boot,
    disks,
    ...(draft.source === "iso" && draft.iso ? { medium: draft.iso } : {}),
    adapters: [{ attachment: { mode: draft.networkMode }, plugged: draft.networkMode !== "none" }],
  };
}

/** The step a finding belongs to. */
export function stepOf(field: string): StepName {
  if (field === "boot" || field.startsWith("boot.") || field === "medium") return "source";
  if (field === "disks" || field.startsWith("disks.")) return "disk";
  if (field === "adapters" || field.startsWith("adapters.")) return "network";
  return "system";
}

/** The findings shown at a step: its own; for a disk image the source step shows those of the first disk, where it was chosen. */
export function findingsOf(step: StepName, findings: readonly Finding[], draft: Draft): Finding[] {
  if (step === "review") return [...findings];
  return findings.filter((finding) => {
    if (draft.source === "disk" && finding.field === "disks.0") return step === "source";
    return stepOf(finding.field) === step;
  });
}

/** Why the person cannot go on from this step, before anything is asked of the host. */
export function missing(step: StepName, draft: Draft): string | undefined {
  if (step === "source" && draft.source !== "starter" && !sourcePath(draft)) {
    return draft.source === "iso" ? "Choose an ISO image first." : draft.source === "disk" ? "Choose a disk image first." : "Choose a kernel first.";
  }
  if (step === "system" && !draft.name.trim()) return "Give the machine a name first.";
  return undefined;
}
