import type { EngineInfo, FileInspection, FirmwareKind, GuestArch, GuestSystem, HostInfo } from "../../../core/contract/model";
import type { Attachment } from "../../../core/contract/network";
import { formatBytes, formatMiB, plural } from "../../ui/format";
import { networkNames } from "../../ui/network/modes";
import { hasSeed, startsFromFirmware, type Draft } from "./answers";
import { convertedTo } from "./draft";
import { authorizedKeys } from "./login";
import { nameFromPath } from "./suggestions";
import { sourcePath } from "./answers";

/* The draft, files and engines in words for people. Pure. */

export const archWords: Readonly<Record<GuestArch, string>> = { i386: "32-bit", x86_64: "64-bit" };
const firmwareWords: Readonly<Record<FirmwareKind, string>> = { bios: "BIOS", uefi: "UEFI" };
export const busWords = { virtio: "virtio", sata: "SATA", scsi: "SCSI" } as const;

/** A system's name without its processor: "Debian 12 (32-bit)" is "Debian 12". */
export function systemName(system: GuestSystem): string {
  return system.label.replace(/ \((?:32|64)-bit\)$/, "");
}

/** "Other system, 64-bit". */
export function fullSystemName(system: GuestSystem): string {
  return `${systemName(system)}, ${archWords[system.arch]}`;
}

/** What a recognised file is: "Debian 12 installation disc, 64-bit, BIOS and UEFI". */
export function describeRecognised(file: FileInspection, system: GuestSystem): string {
  const noun = file.kind === "iso" ? (system.group === "Other" ? "disc" : "installation disc") : "disk image";
  return [`${systemName(system)} ${noun}`, archWords[file.arch ?? system.arch], file.kind === "iso" ? starting(file) : undefined].filter((part) => part !== undefined).join(", ");
}

function starting({ firmwares, bootable }: FileInspection): string | undefined {
  if (firmwares !== undefined && firmwares.length > 0) return firmwares.map((firmware) => firmwareWords[firmware]).join(" and ");
  return bootable === false || firmwares !== undefined ? "not bootable" : undefined;
}

/** What a file is by its content alone: "qcow2, disk of 2 GB, takes 340 MB". */
export function describeFile(file: FileInspection): string {
  const sizes = file.virtualBytes === undefined || file.virtualBytes === file.sizeBytes ? [formatBytes(file.sizeBytes)] : [`a disk of ${formatBytes(file.virtualBytes)}`, `${formatBytes(file.sizeBytes)} as a file`];
  const arch = file.arch === undefined || file.kind !== "kernel" ? undefined : archWords[file.arch];
  return [file.format, file.label === undefined || file.label === "" ? undefined : `labelled ${file.label}`, arch, file.kind === "iso" ? starting(file) : undefined, ...sizes].filter((part) => part !== undefined).join(", ");
}

/** "QEMU 7.2.18 with KVM". */
export function engineName(engine: EngineInfo): string {
  return `${engine.label}${engine.version === undefined ? "" : ` ${engine.version}`}${engine.accelerator === undefined ? "" : ` with ${engine.accelerator.label}`}`;
}

/** "64-bit and 32-bit guests, up to 64 processors and 1 TB". */
export function describeCapabilities({ capabilities }: EngineInfo): string {
  return `${capabilities.x86_64 ? "64-bit and 32-bit guests" : "32-bit guests"}, up to ${plural(capabilities.maxCpus, "processor")} and ${formatMiB(capabilities.maxMemoryMiB)} of memory.`;
}

const sourceNames = { starter: "Terrarium Linux", iso: "ISO image", disk: "Disk image", kernel: "Linux kernel" } as const;

/** The draft in words, for the summary and the review. */
export function facts(draft: Draft, systems: readonly GuestSystem[], engine: EngineInfo | undefined): [string, string][] {
  const path = sourcePath(draft);
  const system = systems.find((candidate) => candidate.id === draft.system);
  return [
    ["Guest", path === "" ? sourceNames[draft.source] : `${sourceNames[draft.source]} ${nameFromPath(path)}`],
    ...(startsFromFirmware(draft) && system ? [["System", fullSystemName(system)] as [string, string]] : []),
    ["Engine", engine === undefined ? "" : engine.available ? engineName(engine) : `${engine.label}, not available`],
    ["Hardware", `${plural(draft.cpus, "processor")}, ${formatMiB(draft.memoryMiB)} memory`],
    ...(startsFromFirmware(draft) ? [["Firmware", firmwareWords[draft.firmware]] as [string, string]] : []),
    ["Disk", diskWords(draft, engine)],
    ...(hasSeed(draft) ? [["First login", loginWords(draft)] as [string, string]] : []),
    ["Network", networkWords(draft.attachment)],
  ];
}

/** What only the review has room for. */
export function furtherFacts(draft: Draft, host: HostInfo | undefined): [string, string][] {
  const path = sourcePath(draft);
  return [
    ...(path === "" ? [] : [["File", path] as [string, string]]),
    ...(draft.source === "kernel" && draft.initrd !== "" ? [["RAM disk", draft.initrd] as [string, string]] : []),
    ...(draft.source === "kernel" && draft.cmdline !== "" ? [["Kernel line", draft.cmdline] as [string, string]] : []),
    ...(hasSeed(draft) && draft.hostname !== "" ? [["Host name", draft.hostname] as [string, string]] : []),
    ...(draft.diskBus === "virtio" ? [] : [["Disks on", busWords[draft.diskBus]] as [string, string]]),
    ...(draft.adapterModel === "virtio" ? [] : [["Network card", draft.adapterModel] as [string, string]]),
    ...(startsFromFirmware(draft) && draft.clock === "local" ? [["Clock", "local time"] as [string, string]] : []),
    ...(host === undefined ? [] : [["Kept in", host.home] as [string, string]]),
  ];
}

/** "NAT network campus", "unplugged". */
export function networkWords({ mode, network }: Attachment): string {
  if (mode === "none") return "unplugged";
  return network === undefined ? networkNames[mode] : `${networkNames[mode]} ${network}`;
}

function diskWords(draft: Draft, engine: EngineInfo | undefined): string {
  const target = convertedTo(draft, engine);
  const grown = draft.growTo !== null ? `, made ${formatBytes(draft.growTo)} long` : "";
  const image = draft.imageMode === "link" ? "the image itself" : `${target === undefined ? "a copy of the image" : `a copy of the image as ${target}`}${grown}`;
  const disks = [...(draft.source === "disk" && draft.image !== "" ? [image] : []), ...(draft.diskBytes === null ? [] : [`${formatBytes(draft.diskBytes)}, grows as needed`])];
  return disks.length === 0 ? "none" : disks.join(" and ");
}

function loginWords(draft: Draft): string {
  const keys = authorizedKeys(draft.keys).length;
  const by = [...(draft.password === "" ? [] : ["a password"]), ...(keys === 0 ? [] : [plural(keys, "SSH key")])];
  return by.length === 0 ? draft.user : `${draft.user}, by ${by.join(" and ")}`;
}
