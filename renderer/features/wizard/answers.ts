import type { AdapterModel, DiskBus, EngineChoice, FileInspection, FirmwareKind, GuestSystem, HostInfo, MachineInfo } from "../../../core/contract/model";
import type { Attachment } from "../../../core/contract/network";

/* What the wizard is told. */

export type Source = "starter" | "iso" | "disk" | "kernel";

/** Answers that are suggested until the person gives them. */
export interface Answers {
  readonly name: string;
  /** An id of the table of systems; none for what needs no system, and while the table is not there. */
  readonly system: string | undefined;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly firmware: FirmwareKind;
  readonly clock: "utc" | "local";
  /** An empty disk of this many bytes, or none. */
  readonly diskBytes: number | null;
  /** How many bytes long the copy of an image is made, or as long as it is. */
  readonly growTo: number | null;
  readonly diskBus: DiskBus;
  readonly adapterModel: AdapterModel;
  /** Who makes the first account of a disk image: cloud-init, by what the person says here, or nobody. */
  readonly login: "cloud-init" | "own";
  readonly user: string;
  readonly hostname: string;
  /** Where the cable of the first adapter goes. */
  readonly attachment: Attachment;
}

export interface Draft extends Answers {
  readonly source: Source;
  /** What the person has answered themselves. */
  readonly own: Partial<Answers>;
  readonly engine: EngineChoice;
  readonly iso: string;
  readonly image: string;
  readonly imageMode: "copy" | "link";
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  /** What the file of the source is, once it has been looked at. */
  readonly inspection: FileInspection | undefined;
  readonly password: string;
  /** Public keys, one a line. */
  readonly keys: string;
}

/** What suggestions are made from beside the draft. */
export interface Around {
  readonly machines: readonly Pick<MachineInfo, "name">[];
  readonly systems: readonly GuestSystem[];
  readonly host: HostInfo | undefined;
}

/** The file the source is about, empty when none is chosen or needed. */
export function sourcePath(draft: Pick<Draft, "source" | "iso" | "image" | "kernel">): string {
  return draft.source === "iso" ? draft.iso : draft.source === "disk" ? draft.image : draft.source === "kernel" ? draft.kernel : "";
}

/** Whether the firmware starts it, so that what it holds is a system of any kind. */
export function startsFromFirmware(draft: Pick<Draft, "source">): boolean {
  return draft.source === "iso" || draft.source === "disk";
}

/** Whether cloud-init makes the first account. */
export function hasSeed(draft: Pick<Draft, "source" | "login">): boolean {
  return draft.source === "disk" && draft.login === "cloud-init";
}
