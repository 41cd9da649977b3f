import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, realpath, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { isAbsolute, join, resolve, sep } from "node:path";
import { formatSize } from "../base/bytes";
import { TerrariumError } from "../contract/errors";
import { machineConfigVersion, type DiskConfig, type DiskSpec, type MachineConfig, type MachineSpec } from "../contract/model";
import { syncFolder, type FaultHook } from "../storage/atomicFile";
import { fileError } from "../storage/fileErrors";
import { convertImage, imageInfo, resizeImage } from "../storage/formats/qemuImg";
import { allocatedBytes, copySparse, makeSparseFile } from "../storage/sparseCopy";
import { diskSpace } from "./hostFacts";
import { newMac } from "./macAddress";
import { isThere, stagingPrefix } from "./machineFolders";
import { hostnameFor } from "./identity";
import { growRemedy, inspectFile, judgeImage, tooShort } from "./media";
import { hashPassword, seedImage } from "./seed";

/** What a machine is made of, decided before anything is made. */
export interface PlannedMachine {
  readonly config: MachineConfig;
  /** Makes the disks in the machine's (staged) folder. Cancelling leaves removing the folder to the caller. */
  fill(folder: string, control: FillControl): Promise<void>;
}

export interface FillControl {
  readonly signal: AbortSignal;
  progress(fraction?: number, detail?: string): void;
  readonly faults?: FaultHook | undefined;
}

export interface PlanContext {
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  /** MAC addresses that are taken. */
  readonly macs: readonly string[];
  readonly images: ImageTools;
}

/** What images can become here. */
export interface ImageTools {
  /** Formats of disk images that the machine's engine reads. */
  readonly formats: readonly string[];
  /** The path of qemu-img, which reads the others; absent where it is not installed. */
  readonly qemuImg: string | undefined;
}

const sectorBytes = 512;

/** A disk that is to be made or linked. */
interface PlannedDisk {
  readonly config: DiskConfig;
  /** The image to copy, and the format it is in; absent for an empty or a linked disk. */
  readonly copyFrom?: { readonly file: string; readonly format: string };
  readonly qemuImg?: string | undefined;
  /** Bytes the making takes on the host. */
  readonly hostBytes: number;
  /** What is to be made inside the machine's folder; absent for a linked disk. */
  readonly folder?: string;
}

/**
 * Decides what a specification becomes: ids, MAC addresses, disks.
 * @throws TerrariumError `image-unusable` for an image that cannot be used.
 */
export async function planMachine(spec: MachineSpec, context: PlanContext): Promise<PlannedMachine> {
  const disks: PlannedDisk[] = [];
  for (const [index, disk] of spec.disks.entries()) disks.push(await planDisk(`disk${index}`, `disks/disk${index}`, disk, context.images));
  const macs = [...context.macs, ...spec.adapters.flatMap((adapter) => adapter.mac ?? [])];
  const adapters = spec.adapters.map(({ attachment, plugged, mac, model }) => {
    const address = mac ?? newMac(macs);
    macs.push(address);
    return { mac: address, ...(model === undefined ? {} : { model }), attachment, plugged };
  });
  const arch = spec.arch ?? (await archOf(spec));
  const config: MachineConfig = {
    version: machineConfigVersion,
    id: context.id,
    name: spec.name,
    ...(spec.group ? { group: spec.group } : {}),
    ...(spec.notes ? { notes: spec.notes } : {}),
    createdAt: context.now,
    engine: spec.engine,
    memoryMiB: spec.memoryMiB,
    cpus: spec.cpus,
    boot: spec.boot,
    ...(spec.system === undefined ? {} : { system: spec.system }),
    ...(arch === undefined ? {} : { arch }),
    ...(spec.hardware === undefined ? {} : { hardware: spec.hardware }),
    disks: disks.map((disk) => disk.config),
    // Every machine has a drive, so that a disc can be put in later and machines have the same hardware.
    drives: [{ id: "cd0", medium: spec.medium ?? null }],
    ...(spec.seed === undefined ? {} : { seed: seedFile, login: { user: spec.seed.user } }),
    adapters,
  };
  return {
    config,
    async fill(folder, control) {
      await makeDisks(folder, disks, control);
      if (spec.seed) await makeSeed(folder, spec, context.id);
    },
  };
}

const seedFile = "seed/seed.iso";

/** What kind of processor the guest needs, as far as its kernel or its medium says. */
async function archOf({ boot, medium, disks }: MachineSpec): Promise<MachineConfig["arch"]> {
  if (boot.kind === "starter") return "i386";
  const image = disks.find((disk) => "image" in disk);
  const file = boot.kind === "kernel" ? boot.kernel : (medium ?? (image && "image" in image ? image.image : undefined));
  return file === undefined ? undefined : (await inspectFile(file)).arch;
}

/** Only the hash of a password is ever written. */
async function makeSeed(folder: string, { seed, name }: MachineSpec, id: string): Promise<void> {
  if (!seed) return;
  const path = join(folder, seedFile);
  const { user, password, authorizedKeys, packages, hostname = hostnameFor(name, id) } = seed;
  const settings = { instanceId: id, hostname, user, authorizedKeys, packages, ...(password === undefined ? {} : { passwordHash: hashPassword(password) }) };
  await mkdir(join(folder, "seed"), { mode: 0o700 });
  await writeFile(path, seedImage(settings), { mode: 0o600, flush: true });
  await syncFolder(join(folder, "seed"));
}

async function planDisk(id: string, folder: string, spec: DiskSpec, { formats, qemuImg }: ImageTools): Promise<PlannedDisk> {
  const bus = spec.bus === undefined ? {} : { bus: spec.bus };
  if ("sizeBytes" in spec) {
    const sizeBytes = wholeSectors(spec.sizeBytes);
    return { config: { id, sizeBytes, layers: [{ file: `${folder}/0.raw`, format: "raw" }], ...bus }, hostBytes: 0, folder };
  }
  const inspection = await inspectFile(spec.image);
  const finding = judgeImage(inspection, "disk", { formats, canConvert: qemuImg !== undefined && spec.mode === "copy" });
  if (finding?.level === "error") throw new TerrariumError("image-unusable", finding.message, finding.remedy);
  const format = inspection.format === "unknown" ? "raw" : inspection.format;
  const imageBytes = await virtualBytes(inspection.path, format, inspection.sizeBytes, qemuImg);
  if (spec.mode === "link") {
    const sizeBytes = Math.floor(imageBytes / sectorBytes) * sectorBytes;
    if (sizeBytes === 0) throw new TerrariumError("image-unusable", `${spec.image} is too short to be a disk.`, "Choose another file.");
    return { config: { id, sizeBytes, layers: [{ file: await realpath(spec.image), format: format === "qcow2" ? "qcow2" : "raw" }], ...bus }, hostBytes: 0 };
  }
  if (spec.growTo !== undefined && spec.growTo < imageBytes) throw new TerrariumError("invalid-input", tooShort(spec.image, imageBytes, spec.growTo), growRemedy);
  const sizeBytes = wholeSectors(spec.growTo ?? imageBytes);
  const target = format !== "raw" && formats.includes("qcow2") ? "qcow2" : "raw";
  return {
    config: { id, sizeBytes, layers: [{ file: `${folder}/0.${target}`, format: target }], ...bus },
    copyFrom: { file: spec.image, format },
    qemuImg,
    hostBytes: await allocatedBytes(spec.image),
    folder,
  };
}

function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / sectorBytes) * sectorBytes;
}

/** How long the disk in an image is. @throws TerrariumError when the image names other files that belong to it. */
async function virtualBytes(file: string, format: string, fileBytes: number, qemuImg: string | undefined): Promise<number> {
  if (format === "raw") return fileBytes;
  if (qemuImg === undefined) throw new TerrariumError("unavailable", `${file} is in the format ${format}, which needs qemu-img.`, "Install qemu-img (Debian, Ubuntu: qemu-utils).");
  return (await imageInfo(qemuImg, file, format)).virtualBytes;
}

/** @param place a folder that is to hold what the machine's folder will, where that is another one */
async function makeDisks(machineFolder: string, disks: readonly PlannedDisk[], control: FillControl, place = machineFolder): Promise<void> {
  const total = disks.reduce((sum, disk) => sum + disk.hostBytes, 0);
  try {
    await requireSpace(machineFolder, total);
    let done = 0;
    for (const disk of disks) {
      control.signal.throwIfAborted();
      await makeDisk(place, disk, control, (fraction) => control.progress(total === 0 ? undefined : (done + fraction * disk.hostBytes) / total));
      done += disk.hostBytes;
    }
  } catch (failure) {
    if (failure === control.signal.reason) throw failure;
    throw fileError(failure, "A disk could not be made", machineFolder);
  }
}

/**
 * Makes disks for a machine that is there: in a folder that is known for what it is when a crash leaves it, and beside their
 * places, because people put `disks` on another drive. Nothing is written over. Nothing is left when it fails.
 */
async function addDisks(machineFolder: string, disks: readonly PlannedDisk[], control: FillControl): Promise<void> {
  const staged = join(machineFolder, "disks", `${stagingPrefix}${randomBytes(4).toString("hex")}`);
  const inPlace: string[] = [];
  try {
    await makeDisks(machineFolder, disks, control, staged);
    for (const { folder } of disks) {
      if (folder === undefined) continue;
      const place = join(machineFolder, folder);
      await rename(join(staged, folder), place);
      inPlace.push(place);
    }
    await rm(staged, { recursive: true, force: true });
    if (inPlace.length > 0) await syncFolder(join(machineFolder, "disks"));
  } catch (failure) {
    for (const path of [...inPlace, staged]) await rm(path, { recursive: true, force: true });
    throw failure === control.signal.reason ? failure : fileError(failure, "A disk could not be made", machineFolder);
  }
}

async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { diskFreeBytes } = await diskSpace(folder);
  if (bytes > diskFreeBytes) {
    throw new TerrariumError("disk-full", `Copying the disk images takes ${formatSize(bytes)}, and ${formatSize(diskFreeBytes)} are free.`, "Free some space, or use the images in place instead of copying them.");
  }
}

async function makeDisk(machineFolder: string, disk: PlannedDisk, control: FillControl, progress: (fraction: number) => void): Promise<void> {
  const layer = disk.config.layers[0];
  if (disk.folder === undefined || layer === undefined) return;
  const folder = join(machineFolder, disk.folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(machineFolder, layer.file);
  const { signal, faults } = control;
  const { copyFrom, qemuImg, config } = disk;
  if (copyFrom === undefined) {
    await makeSparseFile(path, config.sizeBytes, faults);
  } else if (copyFrom.format === "raw") {
    control.progress(undefined, `Copying ${copyFrom.file}`);
    await copySparse(copyFrom.file, path, config.sizeBytes, { signal, progress, faults });
  } else if (qemuImg !== undefined) {
    // Also where the format stays: what is hidden in someone else's image stays behind.
    control.progress(undefined, layer.format === copyFrom.format ? `Copying ${copyFrom.file}` : `Converting ${copyFrom.file}`);
    await convertImage({ qemuImg, from: copyFrom.file, fromFormat: copyFrom.format, to: path, toFormat: layer.format, signal, progress });
    if (layer.format === "raw") await growFile(path, config.sizeBytes);
    else await resizeImage({ qemuImg, file: path, format: layer.format, bytes: config.sizeBytes, signal });
  }
  await syncFolder(folder);
  await syncFolder(join(machineFolder, "disks"));
}

async function growFile(path: string, bytes: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    if ((await file.stat()).size < bytes) await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Disks as they will be; the files of added ones exist already, those of removed ones still. */
export interface DiskChange {
  readonly disks: DiskConfig[];
  /** After the configuration was saved: deletes the removed disks' files that lie in the machine's folder. */
  commit(): Promise<void>;
  /** When it could not be saved: deletes the added disks' files. */
  undo(): Promise<void>;
}

/**
 * Adds and removes disks of an existing machine that is off.
 * @param isNeeded something else needs the file, such as a snapshot
 * @throws TerrariumError; nothing is left of the added disks then.
 */
export async function changeDisks(machineFolder: string, config: MachineConfig, change: { add: readonly DiskSpec[]; remove: readonly string[] }, images: ImageTools, control: FillControl, isNeeded: (path: string) => Promise<boolean>): Promise<DiskChange> {
  const unknown = change.remove.find((id) => !config.disks.some((disk) => disk.id === id));
  if (unknown !== undefined) throw new TerrariumError("not-found", `"${config.name}" has no disk ${unknown}.`, `Its disks are: ${config.disks.map((disk) => disk.id).join(", ") || "none"}.`);
  const removed = config.disks.filter((disk) => change.remove.includes(disk.id));
  const kept = config.disks.filter((disk) => !change.remove.includes(disk.id));
  const added: PlannedDisk[] = [];
  for (const spec of change.add) {
    const used = [...kept, ...added.map((disk) => disk.config)].map((disk) => disk.id);
    const id = ["disk0", "disk1", "disk2", "disk3"].find((candidate) => !used.includes(candidate));
    if (id === undefined) throw new TerrariumError("unsupported", "A machine has at most four disks.", "Take a disk out first.");
    added.push(await planDisk(id, await freeFolder(machineFolder, id), spec, images));
  }
  const undo = async (): Promise<void> => {
    for (const disk of added) if (disk.folder !== undefined) await rm(join(machineFolder, disk.folder), { recursive: true, force: true });
  };
  await addDisks(machineFolder, added, control);
  const disks = [...kept, ...added.map((disk) => disk.config)].sort((a, b) => (a.id < b.id ? -1 : 1));
  return { disks, undo, commit: () => deleteFiles(machineFolder, removed, disks, isNeeded) };
}

/** A folder for a disk that holds nothing yet: files without a configuration may be someone's data. */
async function freeFolder(machineFolder: string, id: string): Promise<string> {
  for (let count = 1; ; count++) {
    const folder = count === 1 ? `disks/${id}` : `disks/${id}-${count}`;
    if (!(await isThere(join(machineFolder, folder)))) return folder;
  }
}

async function deleteFiles(machineFolder: string, removed: readonly DiskConfig[], remaining: readonly DiskConfig[], isNeeded: (path: string) => Promise<boolean>): Promise<void> {
  const needed = new Set(remaining.flatMap((disk) => disk.layers).map((layer) => resolve(machineFolder, layer.file)));
  for (const layer of removed.flatMap((disk) => disk.layers)) {
    const path = resolve(machineFolder, layer.file);
    if (isAbsolute(layer.file) || needed.has(path) || (await isNeeded(path))) continue;
    await rm(path, { force: true });
    await removeFolderIfEmpty(resolve(path, ".."), join(machineFolder, "disks"));
  }
}

async function removeFolderIfEmpty(folder: string, disksFolder: string): Promise<void> {
  if (!folder.startsWith(disksFolder + sep)) return;
  if ((await readdir(folder)).length === 0) await rmdir(folder);
}
