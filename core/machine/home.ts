import { mkdir, readdir, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { TerrariumError } from "../contract/errors";
import { errno, fileError } from "../storage/fileErrors";
import { takeLock, type LockRecord } from "./lock";
import { openRunDir } from "./runDir";

/** The home directory: where everything Terrarium keeps lies. */
export function resolveHome(env: NodeJS.ProcessEnv = process.env): string {
  const chosen = env["TERRARIUM_HOME"];
  if (chosen) return resolve(chosen);
  if (process.platform === "darwin") return join(homedir(), "Library", "Application Support", "Terrarium");
  if (process.platform === "win32") return join(env["APPDATA"] ?? join(homedir(), "AppData", "Roaming"), "Terrarium");
  const data = env["XDG_DATA_HOME"];
  // XDG base directory specification: relative paths are invalid and ignored.
  return join(data && isAbsolute(data) ? data : join(homedir(), ".local", "share"), "terrarium");
}

/** A home that this process alone may change, until it is released. */
export interface Home {
  /** Its real path. */
  readonly path: string;
  /** The private folder of sockets and pid files. */
  readonly runDir: string;
  readonly lock: LockRecord;
  readonly machinesDir: string;
  readonly trashDir: string;
  /** Disks that were kept when their machine was deleted. */
  readonly keptDisksDir: string;
  /** Pre-booted states. */
  readonly statesDir: string;
  readonly logsDir: string;
  /** Gives the lock back. */
  release(): Promise<void>;
}

const folders = ["machines", "trash", "kept-disks", "states", "logs"] as const;

/**
 * Opens a home: makes its folders, makes sure that it can be written, and takes its lock.
 * @throws TerrariumError `read-only`, `disk-full`, `locked` (a HomeLockedError), `unavailable` (the run directory).
 */
export async function openHome(home: string, options: Pick<LockRecord, "servedBy" | "endsWhenIdle"> & { env?: NodeJS.ProcessEnv }): Promise<Home> {
  const path = await makeHome(home);
  const { env, ...holder } = options;
  const runDir = await openRunDir(path, env);
  const lock = await takeLock(path, { runDir, ...holder });
  try {
    for (const folder of folders) await makeInside(join(path, folder));
  } catch (failure) {
    await lock.release();
    throw failure;
  }
  return {
    path,
    runDir,
    lock: lock.record,
    machinesDir: join(path, "machines"),
    trashDir: join(path, "trash"),
    keptDisksDir: join(path, "kept-disks"),
    statesDir: join(path, "states"),
    logsDir: join(path, "logs"),
    release: () => lock.release(),
  };
}

/**
 * Like `mkdir -p`, but it always ends, and with the true reason when it fails: Node's own says ENOENT for a read-only file
 * system, and never ends where nothing can be made below a folder that is there, as in /proc.
 */
async function makeFolders(path: string): Promise<void> {
  try {
    await makeFolder(path);
  } catch (failure) {
    if (errno(failure) !== "ENOENT" || dirname(path) === path) throw failure;
    await makeFolders(dirname(path));
    await makeFolder(path);
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (failure) {
    if (errno(failure) !== "EEXIST" && !(await isFolder(path))) throw failure;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (failure) {
    if (errno(failure) === undefined) throw failure;
    return false;
  }
}

/**
 * Makes the home when it is missing.
 * @returns its real path
 * @throws TerrariumError `read-only`, `disk-full`, `unavailable` (no home can be there)
 */
export async function makeHome(home: string): Promise<string> {
  try {
    await makeFolders(home);
    const path = await realpath(home);
    if (!(await stat(path)).isDirectory()) throw new TerrariumError("unavailable", `The home ${home} is a file, not a folder.`, "Move the file, or set TERRARIUM_HOME to a folder.");
    return path;
  } catch (failure) {
    // Whatever was missing has been made, so this is a file system that has no room for files of ours.
    if (errno(failure) === "ENOENT") throw new TerrariumError("unavailable", `The home ${home} could not be made: the system does not let anything be made in ${dirname(home)}.`, "Set TERRARIUM_HOME to a folder in which you can make files.", { cause: failure });
    throw fileError(failure, "The home could not be made", home);
  }
}

/**
 * The home's folder of logs, made when it is missing; for who writes there before the home is open.
 * @throws TerrariumError as `makeHome`
 */
export async function makeLogsFolder(home: string): Promise<string> {
  const path = join(await makeHome(home), "logs");
  await makeInside(path);
  return path;
}

async function makeInside(path: string): Promise<void> {
  try {
    await makeFolders(path);
    await readdir(path);
  } catch (failure) {
    throw fileError(failure, "A folder of the home could not be made", path);
  }
}
