import type { EngineNeeds } from "../../../core/contract/engineChoice";
import type { EngineInfo, FileInspection, GuestSystem, HardwareConfig, MachineSpecInput } from "../../../core/contract/model";
import { hasSeed, sourcePath, startsFromFirmware, type Answers, type Around, type Draft, type Source } from "./answers";
import { authorizedKeys } from "./login";
import { archOf, suggestions } from "./suggestions";

/*
 * The draft of a machine, step by step; pure, so that going back and forth loses nothing. Every answer is suggested from
 * the source, the file and its system until the person gives it: what they have given (`own`) is never suggested again.
 */

export type { Draft, Source };

const blank: Draft = {
  source: "starter",
  own: {},
  engine: "auto",
  iso: "",
  image: "",
  imageMode: "copy",
  kernel: "",
  initrd: "",
  cmdline: "console=tty0 console=ttyS0",
  inspection: undefined,
  password: "",
  keys: "",
  name: "",
  system: undefined,
  memoryMiB: 256,
  cpus: 1,
  firmware: "bios",
  clock: "utc",
  diskBytes: null,
  growTo: null,
  diskBus: "virtio",
  adapterModel: "virtio",
  login: "own",
  user: "",
  hostname: "",
  attachment: { mode: "none" },
};

export function newDraft(source: Source, around: Around): Draft {
  return withSuggestions({ ...blank, source }, around);
}

/** Every answer that the person has not given, suggested anew. */
export function withSuggestions(draft: Draft, around: Around): Draft {
  // The name is what other suggestions are made from, so it comes first.
  const name = draft.own.name ?? suggestions(draft, around).name;
  return { ...draft, ...suggestions({ ...draft, ...draft.own, name }, around), ...draft.own };
}

/** An answer of the person's own. */
export function answered(draft: Draft, answers: Partial<Answers>): Draft {
  return { ...draft, ...answers, own: { ...draft.own, ...answers } };
}

/** Another source. What was said about the file, and about disks beside it, was said about another machine. */
export function withSource(draft: Draft, source: Source): Draft {
  return aboutItsFile({ ...withoutAnswers(draft, [...aboutFile, "diskBytes", "diskBus", "adapterModel"]), source });
}

/** The file the source is about was chosen. */
export function withPath(draft: Draft, path: string): Draft {
  if (path === sourcePath(draft)) return draft;
  const field = draft.source === "iso" ? "iso" : draft.source === "disk" ? "image" : "kernel";
  return aboutItsFile({ ...withoutAnswers(draft, aboutFile), [field]: path });
}

const aboutFile: readonly (keyof Answers)[] = ["system", "growTo", "login"];

function withoutAnswers(draft: Draft, forgotten: readonly string[]): Draft {
  return { ...draft, own: Object.fromEntries(Object.entries(draft.own).filter(([answer]) => !forgotten.includes(answer))) };
}

/** What was found out about a file stays as long as the draft is about that file. */
function aboutItsFile(draft: Draft): Draft {
  return draft.inspection === undefined || draft.inspection.path === sourcePath(draft) ? draft : { ...draft, inspection: undefined };
}

/** The file was looked at. What comes late, about a file that is not wanted any more, is left. */
export function withInspection(draft: Draft, inspection: FileInspection): Draft {
  return inspection.path === sourcePath(draft) ? { ...draft, inspection } : draft;
}

const given = ["engine", "iso", "image", "imageMode", "kernel", "initrd", "cmdline", "password", "keys"] as const satisfies readonly (keyof Draft)[];

/** Whether the person has said anything that leaving would lose. Which card was chosen is a click, and no loss. */
export function isFilledIn(draft: Draft): boolean {
  return Object.keys(draft.own).length > 0 || given.some((key) => draft[key] !== blank[key]);
}

/** Whether the system is what the file was recognised as, what the person says, or a guess for lack of both. */
export function systemIs(draft: Draft): "recognised" | "chosen" | "guessed" {
  return draft.own.system !== undefined ? "chosen" : draft.inspection?.system !== undefined && draft.inspection.system === draft.system ? "recognised" : "guessed";
}

/** The specification that `machine.create` takes. What is as an engine has it anyway is left out. */
export function toSpec(draft: Draft, systems: readonly GuestSystem[]): MachineSpecInput {
  const bus = draft.diskBus === "virtio" ? {} : { bus: draft.diskBus };
  const disks: MachineSpecInput["disks"] = [];
  if (draft.source === "disk" && draft.image) {
    const growTo = draft.imageMode === "copy" && draft.growTo !== null ? { growTo: draft.growTo } : {};
    disks.push({ image: draft.image, mode: draft.imageMode, ...growTo, ...bus });
  }
  if (draft.diskBytes !== null) disks.push({ sizeBytes: draft.diskBytes, ...bus });
  const boot: MachineSpecInput["boot"] =
    draft.source === "starter"
      ? { kind: "starter" }
      : draft.source === "kernel"
        ? { kind: "kernel", kernel: draft.kernel, ...(draft.initrd ? { initrd: draft.initrd } : {}), cmdline: draft.cmdline }
        : { kind: "firmware", order: draft.source === "iso" ? "cd" : "disk" };
  const arch = archOf(draft, systems);
  const hardware: HardwareConfig = startsFromFirmware(draft) ? { firmware: draft.firmware, ...(draft.clock === "utc" ? {} : { clock: draft.clock }) } : {};
  return {
    name: draft.name,
    engine: draft.engine,
    memoryMiB: draft.memoryMiB,
    cpus: draft.cpus,
    boot,
    ...(draft.system !== undefined && systemIs(draft) !== "guessed" ? { system: draft.system } : {}),
    ...(arch === undefined ? {} : { arch }),
    ...(Object.keys(hardware).length === 0 ? {} : { hardware }),
    disks,
    ...(draft.source === "iso" && draft.iso ? { medium: draft.iso } : {}),
    ...(hasSeed(draft) ? { seed: seedOf(draft) } : {}),
    adapters: [{ attachment: draft.attachment, plugged: draft.attachment.mode !== "none", ...(draft.adapterModel === "virtio" ? {} : { model: draft.adapterModel }) }],
  };
}

/** What of the draft decides which engine runs it. */
export function needsOf(draft: Draft, systems: readonly GuestSystem[]): EngineNeeds {
  const { boot, arch, hardware, disks = [], adapters = [], seed } = toSpec(draft, systems);
  return { engine: draft.engine, memoryMiB: draft.memoryMiB, cpus: draft.cpus, boot, arch, hardware, disks, adapters, ...(seed === undefined ? {} : { seed: "seed" }) };
}

/** The format that the copy of the image is converted to for the engine; undefined when it is copied as it is, or not at all. */
export function convertedTo(draft: Draft, engine: EngineInfo | undefined): "raw" | "qcow2" | undefined {
  if (draft.source !== "disk" || draft.imageMode !== "copy" || draft.inspection?.kind !== "disk" || engine === undefined) return undefined;
  const { format } = draft.inspection;
  const target = format !== "raw" && engine.capabilities.diskFormats.includes("qcow2") ? "qcow2" : "raw";
  return format === target || draft.inspection.unconvertible ? undefined : target;
}

/** Why the image cannot be used where it is, before the host is asked. */
export function linkRefusal(draft: Draft, engine: EngineInfo | undefined): string | undefined {
  if (draft.inspection?.kind !== "disk" || engine === undefined) return undefined;
  const formats: readonly string[] = engine.capabilities.diskFormats;
  return formats.includes(draft.inspection.format) ? undefined : `${engine.label} uses ${formats.join(" and ")} images in place; this one is ${draft.inspection.format}.`;
}

function seedOf(draft: Draft): NonNullable<MachineSpecInput["seed"]> {
  return {
    user: draft.user,
    ...(draft.password === "" ? {} : { password: draft.password }),
    authorizedKeys: authorizedKeys(draft.keys),
    ...(draft.hostname === "" ? {} : { hostname: draft.hostname }),
  };
}
