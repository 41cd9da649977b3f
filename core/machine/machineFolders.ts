import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log";
import { isLeftover, removeFile, removeTree, type FaultHook } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";
import { derivedId, readConfig, type LoadedConfig } from "./configFile";
import type { ErrorData } from "../contract/errors";
import type { MachineConfig } from "../contract/model";

/** A folder of the home that is a machine. */
export interface RegisteredMachine {
  readonly id: string;
  /** Absolute. */
  readonly folder: string;
  readonly folderName: string;
  /** The configured name; of a machine whose configuration is unreadable, the folder's. */
  readonly name: string;
  readonly config?: MachineConfig;
  /** Why the configuration cannot be used. Set when `config` is not. */
  readonly problem?: ErrorData;
}

/** A registered machine with what its file said. */
export interface FolderEntry extends RegisteredMachine {
  readonly loaded?: LoadedConfig;
  /** When the folder was made, milliseconds; tells a copy from its original. */
  readonly born: number;
}

/** Folders of machines that are being made, and, beside a machine's disks, of disks that are; what a crash leaves of them is removed at the next start. */
export const stagingPrefix = ".staging-";
/** Trash that is being deleted for good; a crash leaves the rest to the next start. */
export const deletingPrefix = ".deleting-";

/** Reads one folder; undefined when it is no machine (a file, a hidden or an empty folder). */
export async function readMachineFolder(machinesDir: string, folderName: string): Promise<FolderEntry | undefined> {
  if (folderName.startsWith(".") || folderName === "lost+found") return undefined;
  const folder = join(machinesDir, folderName);
  let born: number;
  try {
    const entry = await stat(folder);
    if (!entry.isDirectory()) return undefined;
    born = entry.birthtimeMs;
  } catch (failure) {
    if (isMissing(failure) && !(await isThere(folder))) return undefined;
    born = 0; // A link that leads nowhere, or a folder that may not be entered: a machine with a problem.
  }
  const read = await readConfig(folder);
  if (read.ok) {
    const { config } = read.value;
    return { id: config.id, folder, folderName, name: config.name, config, loaded: read.value, born };
  }
  const { problem, id, name } = read.error;
  if (read.error.text === undefined && (await isEmptyFolder(folder))) return undefined;
  return { id: id ?? derivedId(folderName), folder, folderName, name: name ?? folderName, problem, born };
}

/** Whether something of this name exists, a dangling link included. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (failure) {
    if (isMissing(failure)) return false;
    throw failure;
  }
}

async function isEmptyFolder(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).length === 0;
  } catch {
    return false; // It cannot be looked into: its own reading has said why.
  }
}

/** Removes what a crash left half-made among the machines: staged folders and temporary files. Failures are logged; they harm nobody. */
export async function removeMachineLeftovers(machinesDir: string, log: Log, faults?: FaultHook): Promise<void> {
  for (const entry of await readdir(machinesDir, { withFileTypes: true })) {
    const path = join(machinesDir, entry.name);
    try {
      if (entry.isDirectory() && entry.name.startsWith(stagingPrefix)) {
        await removeTree(path, faults);
        log.info(`removed what an interrupted creation left: ${path}`);
      } else if (entry.isDirectory()) {
        for (const name of await readdir(path)) if (isLeftover(name)) await removeFile(join(path, name), faults);
        await removeStagedDisks(join(path, "disks"), log, faults);
      }
    } catch (failure) {
      log.warn(`could not clean up ${path}: ${failure instanceof Error ? failure.message : String(failure)}`);
    }
  }
}

async function removeStagedDisks(disks: string, log: Log, faults?: FaultHook): Promise<void> {
  if (!(await isThere(disks))) return;
  for (const name of await readdir(disks)) {
    if (!name.startsWith(stagingPrefix)) continue;
    await removeTree(join(disks, name), faults);
    log.info(`removed what an interrupted making of disks left: ${join(disks, name)}`);
  }
}

/** Bytes that a folder really takes on the host (holes take nothing). What vanishes meanwhile counts nothing. */
export async function bytesOnDisk(path: string): Promise<number> {
  let bytes = 0;
  try {
    const entry = await lstat(path);
    bytes += entry.blocks * 512;
    if (entry.isDirectory()) for (const name of await readdir(path)) bytes += await bytesOnDisk(join(path, name));
  } catch (failure) {
    if (!isMissing(failure) && !(failure instanceof Error && "code" in failure && failure.code === "EACCES")) throw failure;
  }
  return bytes;
}
