import { mkdir, readdir, realpath, rm, rmdir } from "node:fs/promises";
import { isAbsolute, join, resolve, sep } from "node:path";
import { formatSize } from "../base/bytes";
import { TerrariumError } from "../contract/errors";
import { machineConfigVersion, type DiskConfig, type DiskSpec, type MachineConfig, type MachineSpec } from "../contract/model";
import { syncFolder, type FaultHook } from "../storage/atomicFile";
import { fileError } from "../storage/fileErrors";
import { allocatedBytes, copySparse, makeSparseFile } from "../storage/sparseCopy";
import { diskSpace } from "./hostFacts";
import { newMac } from "./macAddress";
import { isThere } from "./machineFolders";
import { inspectFile, judgeImage } from "./media";

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
  /** Formats of disk images that the machine's engine reads. */
  readonly diskFormats: readonly string[];
}

const sectorBytes = 512;

/** A disk that is to be made or linked. */
interface PlannedDisk {
  readonly config: DiskConfig;
  /** Absolute path of the image to copy; absent for an empty or a linked disk. */
  readonly copyFrom?: string;
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
  for (const [index, disk] of spec.disks.entries()) disks.push(await planDisk(`disk${index}`, `disks/disk${index}`, disk, context.diskFormats));
  const macs = [...context.macs, ...spec.adapters.flatMap((adapter) => adapter.mac ?? [])];
  const adapters = spec.adapters.map(({ attachment, plugged, mac }) => {
    const address = mac ?? newMac(macs);
    macs.push(address);
    return { mac: address, attachment, plugged };
  });
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
    disks: disks.map((disk) => disk.config),
    // Every machine has a drive, so that a disc can be put in later and machines have the same hardware.
    drives: [{ id: "cd0", medium: spec.medium ?? null }],
    adapters,
  };
  return { config, fill: (folder, control) => makeDisks(folder, disks, control) };
}

async function planDisk(id: string, folder: string, spec: DiskSpec, formats: readonly string[]): Promise<PlannedDisk> {
  const file = `${folder}/0.raw`;
  if ("sizeBytes" in spec) {
    const sizeBytes = Math.ceil(spec.sizeBytes / sectorBytes) * sectorBytes;
    return { config: { id, sizeBytes, layers: [{ file, format: "raw" }] }, hostBytes: 0, folder };
  }
  const inspection = await inspectFile(spec.image);
  const finding = judgeImage(inspection, "disk", formats);
  if (finding?.level === "error") throw new TerrariumError("image-unusable", finding.message, finding.remedy);
  if (spec.mode === "link") {
    const sizeBytes = Math.floor(inspection.sizeBytes / sectorBytes) * sectorBytes;
    if (sizeBytes === 0) throw new TerrariumError("image-unusable", `${spec.image} is too short to be a disk.`, "Choose another file.");
    return { config: { id, sizeBytes, layers: [{ file: await realpath(spec.image), format: "raw" }] }, hostBytes: 0 };
  }
  const sizeBytes = Math.ceil(inspection.sizeBytes / sectorBytes) * sectorBytes;
  return { config: { id, sizeBytes, layers: [{ file, format: "raw" }] }, copyFrom: spec.image, hostBytes: await allocatedBytes(spec.image), folder };
}

async function makeDisks(machineFolder: string, disks: readonly PlannedDisk[], control: FillControl): Promise<void> {
  const total = disks.reduce((sum, disk) => sum + disk.hostBytes, 0);
  try {
    await requireSpace(machineFolder, total);
    let done = 0;
    for (const disk of disks) {
      control.signal.throwIfAborted();
      await makeDisk(machineFolder, disk, control, (fraction) => control.progress(total === 0 ? undefined : (done + fraction * disk.hostBytes) / total));
      done += disk.hostBytes;
    }
  } catch (failure) {
    if (failure === control.signal.reason) throw failure;
    throw fileError(failure, "A disk could not be made", machineFolder);
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
  if (disk.copyFrom === undefined) {
    await makeSparseFile(path, disk.config.sizeBytes, control.faults);
  } else {
    control.progress(undefined, `Copying ${disk.copyFrom}`);
    await copySparse(disk.copyFrom, path, disk.config.sizeBytes, { signal: control.signal, progress, faults: control.faults });
  }
  await syncFolder(folder);
  await syncFolder(join(machineFolder, "disks"));
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
 * @throws TerrariumError; nothing is left of the added disks then.
 */
export async function changeDisks(machineFolder: string, config: MachineConfig, change: { add: readonly DiskSpec[]; remove: readonly string[] }, diskFormats: readonly string[], control: FillControl): Promise<DiskChange> {
  const unknown = change.remove.find((id) => !config.disks.some((disk) => disk.id === id));
  if (unknown !== undefined) throw new TerrariumError("not-found", `"${config.name}" has no disk ${unknown}.`, `Its disks are: ${config.disks.map((disk) => disk.id).join(", ") || "none"}.`);
  const removed = config.disks.filter((disk) => change.remove.includes(disk.id));
  const kept = config.disks.filter((disk) => !change.remove.includes(disk.id));
  const added: PlannedDisk[] = [];
  for (const spec of change.add) {
    const used = [...kept, ...added.map((disk) => disk.config)].map((disk) => disk.id);
    const id = ["disk0", "disk1", "disk2", "disk3"].find((candidate) => !used.includes(candidate));
    if (id === undefined) throw new TerrariumError("unsupported", "A machine has at most four disks.", "Take a disk out first.");
    added.push(await planDisk(id, await freeFolder(machineFolder, id), spec, diskFormats));
  }
  const undo = async (): Promise<void> => {
    for (const disk of added) if (disk.folder !== undefined) await rm(join(machineFolder, disk.folder), { recursive: true, force: true });
  };
  try {
    await makeDisks(machineFolder, added, control);
  } catch (failure) {
    await undo();
    throw failure;
  }
  const disks = [...kept, ...added.map((disk) => disk.config)].sort((a, b) => (a.id < b.id ? -1 : 1));
  return { disks, undo, commit: () => deleteFiles(machineFolder, removed, disks) };
}

/** A folder for a disk that holds nothing yet: files without a configuration may be someone's data. */
async function freeFolder(machineFolder: string, id: string): Promise<string> {
  for (let count = 1; ; count++) {
    const folder = count === 1 ? `disks/${id}` : `disks/${id}-${count}`;
    if (!(await isThere(join(machineFolder, folder)))) return folder;
  }
}

async function deleteFiles(machineFolder: string, removed: readonly DiskConfig[], remaining: readonly DiskConfig[]): Promise<void> {
  const needed = new Set(remaining.flatMap((disk) => disk.layers).map((layer) => resolve(machineFolder, layer.file)));
  for (const layer of removed.flatMap((disk) => disk.layers)) {
    const path = resolve(machineFolder, layer.file);
    if (isAbsolute(layer.file) || needed.has(path)) continue;
    await rm(path, { force: true });
    await removeFolderIfEmpty(resolve(path, ".."), join(machineFolder, "disks"));
  }
}

async function removeFolderIfEmpty(folder: string, disksFolder: string): Promise<void> {
  if (!folder.startsWith(disksFolder + sep)) return;
  if ((await readdir(folder)).length === 0) await rmdir(folder);
}
