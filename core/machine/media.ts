import { constants } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { basename, isAbsolute } from "node:path";
import { formatSize } from "../base/bytes";
import type { ErrorData } from "../contract/errors";
import type { FileInspection } from "../contract/model";
import { shellWords } from "../contract/shellWords";
import { errno, isMissing } from "../storage/fileErrors";
import { readImageHeader } from "../storage/formats/imageHeader";
import { qcow2Length } from "../storage/qcow2";
import { headBytes, recognise } from "./fileFormats";
import { IsoImage, type ReadAt } from "./isoImage";
import { partitionHints } from "./partitionHints";
import { systemOfDisk, systemOfIso, wellKnownFiles } from "./systems";

/** A file on the host and what it is, in words. */
export interface Inspection extends FileInspection {
  /** "a QCOW2 disk image"; for messages. */
  readonly noun: string;
  /** A kernel that needs a 64-bit processor. */
  readonly needs64Bit?: boolean;
}

/**
 * What a file on the host is, by its content. Never throws: what is wrong with the file is in `problem`. Only regular files
 * are opened (opening a pipe would wait, opening a device may do anything).
 */
export async function inspectFile(path: string): Promise<Inspection> {
  if (!isAbsolute(path) || path.includes("\0")) return unusable(path, `"${path}" is not the full path of a file.`, "Give the whole path, from the root on.");
  try {
    const entry = await stat(path);
    if (entry.isDirectory()) return unusable(path, `${path} is a folder.`, "Choose a file.");
    if (!entry.isFile()) return unusable(path, `${path} is a device or a pipe, not a file.`, "Choose a file.");
    if (entry.size === 0) return unusable(path, `${path} is empty.`, "Choose another file; if it was downloaded, download it again.");
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      return { path, sizeBytes: entry.size, ...(await look(path, (offset, length) => readAt(file, offset, length), entry.size)) };
    } finally {
      await file.close();
    }
  } catch (failure) {
    return explain(path, failure);
  }
}

async function look(path: string, read: ReadAt, size: number): Promise<Omit<Inspection, "path" | "sizeBytes">> {
  const head = await read(0, Math.min(size, headBytes));
  const tail = await read(Math.max(0, size - 512), Math.min(size, 512));
  const found = recognise({ head, tail });
  switch (found.kind) {
    case "iso":
      return { ...found, ...(await lookIntoIso(basename(path), found.label, read)) };
    case "disk":
      return { ...found, ...(await lookIntoDisk(path, found, head, read, size)) };
    case "kernel":
      // A kernel that needs no 64-bit processor runs on either.
      return found.needs64Bit ? { ...found, arch: "x86_64" } : found;
    default:
      return found;
  }
}

/** Files with a line or two about the disc; more of them is not read. */
const mostTextBytes = 16 * 1024;

async function lookIntoIso(fileName: string, label: string | undefined, read: ReadAt): Promise<Partial<Inspection>> {
  const iso = await IsoImage.open(read);
  const files = new Set<string>();
  const text = async (path: string): Promise<string | undefined> => {
    const bytes = await iso?.readFile(path, mostTextBytes);
    return bytes && new TextDecoder().decode(bytes);
  };
  for (const path of wellKnownFiles) if (await iso?.find(path)) files.add(path);
  const system = systemOfIso({ label, fileName, files, info: await text("/.disk/info"), treeInfo: await text("/.treeinfo") });
  return { ...(iso ? { firmwares: [...iso.firmwares], bootable: iso.firmwares.length > 0 } : {}), ...(system ? { system: system.id, arch: system.arch } : {}) };
}

async function lookIntoDisk(path: string, { format, noun }: { format: string; noun: string }, head: Uint8Array, read: ReadAt, size: number): Promise<Partial<Inspection>> {
  const { virtualBytes, leadsTo } = await readImageHeader(format, read, size);
  const partitions = format === "raw" ? partitionHints(head) : undefined;
  const system = systemOfDisk(basename(path), partitions);
  const problem = leadsTo === undefined ? await cutOff(path, { format, noun }, read, size) : leadingAway(path, noun, leadsTo);
  return {
    ...(virtualBytes === undefined ? {} : { virtualBytes }),
    ...(partitions && partitions.firmwares.length > 0 ? { firmwares: [...partitions.firmwares] } : {}),
    ...(system ? { system: system.id, arch: system.arch } : {}),
    ...(problem ? { problem } : {}),
  };
}

function leadingAway(path: string, noun: string, leadsTo: string): ErrorData {
  return {
    code: "image-unusable",
    message: `${path} is ${noun} that ${leadsTo}. Terrarium opens no file that an image names, because such an image can be made to read any file of this computer.`,
    remedy: `If you trust it, make it whole first: qemu-img convert -O qcow2 "${path}" whole.qcow2`,
  };
}

/** What QEMU would not say: it gives its guest zeros for what is missing of an image. */
async function cutOff(path: string, { format, noun }: { format: string; noun: string }, read: ReadAt, size: number): Promise<ErrorData | undefined> {
  const needed = format === "qcow2" ? await qcow2Length(read, size) : undefined;
  if (needed === undefined || needed <= size) return undefined;
  const isLength = needed <= Number.MAX_SAFE_INTEGER;
  // Somebody who writes to it may have made it longer meanwhile.
  if (isLength && (await read(needed - 1, 1)).length > 0) return undefined;
  // A power cut may have taken what the guest had not asked to be kept: whoever has no other copy can go on with the rest.
  const otherwise = isLength ? ` Where there is no other copy: ${shellWords(["truncate", "-s", String(needed), path])} lets the guest read zeros for what is missing.` : "";
  return { code: "image-unusable", message: `${path} is ${noun} that is cut off: it has ${size} bytes, and what it holds reaches to byte ${needed}.`, remedy: `Put a complete copy of the file back; if it was downloaded, download it again.${otherwise}` };
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

function unusable(path: string, message: string, remedy: string): Inspection {
  const problem: ErrorData = { code: "image-unusable", message, remedy };
  return { path, kind: "unknown", format: "none", sizeBytes: 0, noun: "nothing that can be used", problem };
}

function explain(path: string, failure: unknown): Inspection {
  if (isMissing(failure)) return unusable(path, `${path} does not exist.`, "Check the path; if it is on a removable or network drive, connect it.");
  switch (errno(failure)) {
    case "EACCES":
    case "EPERM":
      return unusable(path, `${path} cannot be read: you have no permission.`, `Give yourself read permission for ${path}, or copy the file to a place of your own.`);
    case "ENAMETOOLONG":
      return unusable(path.slice(0, 200), "The path of the file is longer than the system allows.", "Choose a shorter path.");
    case "ELOOP":
      return unusable(path, `${path} is a symbolic link that leads in a circle.`, "Choose the file itself.");
    case undefined:
      throw failure;
    default:
      return unusable(path, `${path} cannot be read (${errno(failure)}).`, "Check the drive it is on, or choose another file.");
  }
}

/** What a file is wanted as. */
export type Purpose = "disk" | "medium" | "kernel" | "initrd";

export interface ImageFinding {
  readonly level: "error" | "warning";
  readonly message: string;
  readonly remedy: string;
}

const purposes: Record<Purpose, { readonly wanted: string; readonly kind: FileInspection["kind"] }> = {
  disk: { wanted: "a disk image", kind: "disk" },
  medium: { wanted: "a CD image", kind: "iso" },
  kernel: { wanted: "a Linux kernel (bzImage, often called vmlinuz)", kind: "kernel" },
  initrd: { wanted: "an initial RAM disk", kind: "initrd" },
};

const places: Partial<Record<FileInspection["kind"], string>> = {
  iso: "Put it into the CD drive instead.",
  disk: "Add it as a disk instead.",
  kernel: "Give it as the kernel instead.",
  initrd: "Give it as the initial RAM disk instead.",
};

/** A disk can be made longer, never shorter: what lies behind would be lost. */
export function tooShort(image: string, bytes: number, growTo: number): string {
  return `The disk in ${image} has ${formatSize(bytes)}; it cannot be made ${formatSize(growTo)} long, which is less.`;
}

export const growRemedy = "Choose a larger size, or leave the disk as long as it is.";

/** Formats that qemu-img turns into another. */
const convertible: readonly string[] = ["qcow2", "vmdk", "vdi", "vhdx", "vhd"];

/** What is found in a file on a computer without the tool that converts images. `install`: how to get it. */
export function withoutConverter(file: Inspection, install: string): Inspection {
  if (file.kind !== "disk" || !convertible.includes(file.format)) return file;
  return { ...file, unconvertible: { code: "unavailable", message: cannotConvert(file), remedy: install } };
}

function cannotConvert({ path, noun }: Inspection): string {
  return `${path} is ${noun}, and cannot be converted on this computer: there is no qemu-img that Terrarium can use.`;
}

/** What images may become. */
export interface Conversion {
  /** Disk formats the engine reads. */
  readonly formats: readonly string[];
  /** A copy may be made in another format. */
  readonly canConvert: boolean;
  /** How to get the tool that is missing for it. */
  readonly install?: string | undefined;
}

/** Why a file cannot be used as `purpose`, or what to beware of; undefined when all is well. */
export function judgeImage(file: Inspection, purpose: Purpose, { formats, canConvert, install }: Conversion = { formats: ["raw"], canConvert: false }): ImageFinding | undefined {
  if (file.problem) return { level: "error", message: file.problem.message, remedy: file.problem.remedy ?? "Choose another file." };
  const { wanted, kind } = purposes[purpose];
  if (file.kind !== kind) {
    // A raw disk can hold anything, so one that nothing is known about may be one; a file that is something else is not.
    if (purpose === "disk" && file.format === "unknown" && file.sizeBytes % 512 === 0) return { level: "warning", message: `Nothing in ${file.path} says that it is a disk image.`, remedy: "Use it only if you know that it is a raw disk image." };
    return { level: "error", message: `${file.path} is ${file.noun}, not ${wanted}.`, remedy: places[file.kind] ?? `Choose ${wanted}.` };
  }
  if (purpose === "disk" && !formats.includes(file.format) && !(canConvert && convertible.includes(file.format))) {
    if (install !== undefined && convertible.includes(file.format)) return { level: "error", message: cannotConvert(file), remedy: install };
    return { level: "error", message: `${file.path} is ${file.noun}; this engine reads ${formats.join(" and ")} images only.`, remedy: `Convert it first: qemu-img convert -O raw "${file.path}" disk.raw` };
  }
  return undefined;
}
