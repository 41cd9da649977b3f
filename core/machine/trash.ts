import { randomBytes } from "node:crypto";
import { lstat, readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import * as z from "zod";
import type { Log } from "../base/log";
import { TerrariumError } from "../contract/errors";
import { MachineId, type TrashEntry } from "../contract/model";
import { SnapshotId } from "../contract/snapshot";
import { makeFolder, removeTree, renameDurably, writeFileAtomically, type FaultHook } from "../storage/atomicFile";
import { fileError, isMissing } from "../storage/fileErrors";
import { readConfig } from "./configFile";
import { uniqueFolderName } from "./folderName";
import { bytesOnDisk, deletingPrefix, isThere, type RegisteredMachine } from "./machineFolders";
import { readSnapshot } from "./snapshotFile";

/*
 * Theory of operation. An entry is `trash/<id>/` with `entry.json` and the machine's folder as `machine`, or a snapshot's
 * folder as `snapshot`. It is deleted the moment its folder is renamed there and back the moment it is renamed out; before
 * the first and after the second the entry is an empty shell, which the next start removes. Kept disks are moved out of the
 * entry after the machine is in it; `entry.json` says where to beforehand, and an interrupted move is completed by the next
 * start, so that emptying the trash can never take disks that were to be kept.
 *
 * The layers of a deleted snapshot stay with the machine's disks. They are deleted before the entry is (`layerTidying`), and
 * so a doomed entry that still says which they were is left to whoever knows what else needs them.
 */

const EntryFile = z.object({
  version: z.literal(1),
  machineId: MachineId,
  name: z.string(),
  folderName: z.string(),
  deletedAt: z.number(),
  bytes: z.number(),
  /** The folder the disks were moved to. */
  keptDisks: z.string().optional(),
  /** It is a snapshot of that machine; `folderName` is its id. */
  snapshot: SnapshotId.optional(),
});
type EntryFile = z.infer<typeof EntryFile>;

/** A deleted machine, or a deleted snapshot of one. */
export interface TrashedMachine extends TrashEntry {
  /** The machine's or the snapshot's folder, in the trash. */
  readonly folder: string;
  /** What the folder was called. */
  readonly folderName: string;
  /** Where its disks are, when they were kept. */
  readonly keptDisks?: string;
}

export interface TrashPlaces {
  readonly trashDir: string;
  readonly keptDisksDir: string;
}

export class Trash {
  constructor(
    private readonly places: TrashPlaces,
    private readonly log: Log,
    private readonly now: () => number,
    private readonly faults: FaultHook | undefined,
  ) {}

  /** Completes and removes what a crash left. */
  async open(): Promise<void> {
    for (const name of await readdir(this.places.trashDir)) {
      const path = join(this.places.trashDir, name);
      try {
        if (name.startsWith(deletingPrefix) ? !(await isThere(join(path, "snapshot"))) : (await contentOf(path)) === undefined) {
          if (await isRemovable(path)) await removeTree(path, this.faults);
          continue;
        }
        if (name.startsWith(deletingPrefix)) continue;
        const entry = await this.read(name);
        if (entry?.keptDisks !== undefined) await this.moveKeptDisks(entry, entry.keptDisks);
      } catch (failure) {
        this.log.warn(`the trash entry ${path} could not be put in order: ${failure instanceof Error ? failure.message : String(failure)}`);
      }
    }
  }

  /** What can be restored, newest first. */
  async list(): Promise<TrashedMachine[]> {
    const entries: TrashedMachine[] = [];
    for (const name of await readdir(this.places.trashDir)) {
      if (name.startsWith(".")) continue;
      const entry = await this.read(name);
      if (entry) entries.push(entry);
    }
    return entries.sort((a, b) => b.deletedAt - a.deletedAt || (a.id < b.id ? -1 : 1));
  }

  async get(id: string): Promise<TrashedMachine> {
    const entry = /^[0-9a-f]+$/.test(id) ? await this.read(id) : undefined;
    if (!entry) throw new TerrariumError("not-found", `There is no entry ${id} in the trash.`, "Look at the trash again; it may have been emptied.");
    return entry;
  }

  /** Moves a machine's folder here. */
  async put(machine: RegisteredMachine, keepDisks: boolean): Promise<TrashedMachine> {
    const id = randomBytes(6).toString("hex");
    const path = join(this.places.trashDir, id);
    try {
      const keptDisks = keepDisks && (await isThere(join(machine.folder, "disks"))) ? await this.keptDisksFolder(machine) : undefined;
      const file: EntryFile = { version: 1, machineId: machine.id, name: machine.name, folderName: machine.folderName, deletedAt: this.now(), bytes: await bytesOnDisk(machine.folder), keptDisks };
      try {
        await makeFolder(path, this.faults);
        await writeFileAtomically(join(path, "entry.json"), `${JSON.stringify(file, null, 2)}\n`, { faults: this.faults });
        await renameDurably(machine.folder, join(path, "machine"), this.faults);
      } catch (failure) {
        if (await isThere(join(path, "machine"))) await this.undoPut(machine, path);
        await removeTree(path);
        throw failure;
      }
      const entry = { id, name: file.name, machineId: file.machineId, deletedAt: file.deletedAt, bytes: file.bytes, folder: join(path, "machine"), folderName: file.folderName, keptDisks };
      if (keptDisks === undefined) return entry;
      await this.moveKeptDisks(entry, keptDisks);
      const remaining = await bytesOnDisk(entry.folder);
      await writeFileAtomically(join(path, "entry.json"), `${JSON.stringify({ ...file, bytes: remaining }, null, 2)}\n`, { faults: this.faults });
      return { ...entry, bytes: remaining };
    } catch (failure) {
      throw fileError(failure, `"${machine.name}" could not be moved to the trash`, machine.folder);
    }
  }

  /** Moves a snapshot's folder here. `bytes`: what it takes that nothing else needs. */
  async putSnapshot(snapshot: { readonly id: SnapshotId; readonly folder: string; readonly machineId: string; readonly name: string; readonly bytes: number }): Promise<TrashedMachine> {
    const id = randomBytes(6).toString("hex");
    const path = join(this.places.trashDir, id);
    const { machineId, name, bytes, folder } = snapshot;
    const file: EntryFile = { version: 1, machineId, name, folderName: snapshot.id, snapshot: snapshot.id, deletedAt: this.now(), bytes };
    try {
      await makeFolder(path, this.faults);
      await writeFileAtomically(join(path, "entry.json"), `${JSON.stringify(file, null, 2)}\n`, { faults: this.faults });
      await renameDurably(folder, join(path, "snapshot"), this.faults);
      return { id, ...withoutVersion(file), folder: join(path, "snapshot") };
    } catch (failure) {
      if (await isThere(join(path, "snapshot"))) await renameDurably(join(path, "snapshot"), folder);
      await removeTree(path);
      throw fileError(failure, `"${name}" could not be moved to the trash`, folder);
    }
  }

  /** Takes an entry off the list, for good; what was in it is in the folder that is answered until that is removed. */
  async doom(id: string): Promise<string> {
    const doomed = join(this.places.trashDir, `${deletingPrefix}${id}`);
    await renameDurably(join(this.places.trashDir, id), doomed, this.faults);
    return doomed;
  }

  /** The folders of entries that are being deleted for good. */
  async doomed(): Promise<string[]> {
    return (await readdir(this.places.trashDir)).filter((name) => name.startsWith(deletingPrefix)).map((name) => join(this.places.trashDir, name));
  }

  /** The rename happened and could not be made durable: the machine goes back to where it was. */
  private async undoPut(machine: RegisteredMachine, path: string): Promise<void> {
    await renameDurably(join(path, "machine"), machine.folder);
  }

  private async keptDisksFolder(machine: RegisteredMachine): Promise<string> {
    return join(this.places.keptDisksDir, uniqueFolderName(machine.folderName, await readdir(this.places.keptDisksDir)));
  }

  private async moveKeptDisks(entry: TrashedMachine, to: string): Promise<void> {
    const from = join(entry.folder, "disks");
    if (!(await isThere(from)) || (await isThere(to))) return;
    await renameDurably(from, to, this.faults);
  }

  /** Brings kept disks back beside the rest of the machine in the trash. */
  async reuniteDisks(entry: TrashedMachine): Promise<void> {
    if (entry.keptDisks === undefined) return;
    const inside = join(entry.folder, "disks");
    if ((await isThere(inside)) || !(await isThere(entry.keptDisks))) return;
    await renameDurably(entry.keptDisks, inside, this.faults);
  }

  /** Removes the shell of an entry whose content has left it. */
  async removeShell(id: string): Promise<void> {
    const path = join(this.places.trashDir, id);
    if ((await contentOf(path)) !== undefined) throw new Error(`the trash entry ${id} still holds what was deleted`);
    await removeTree(path, this.faults);
  }

  /** Deletes an entry for good. From the moment it is no longer listed it is deleted to the end, if need be at the next start. */
  async destroy(id: string, signal: AbortSignal): Promise<void> {
    const entry = await this.get(id);
    signal.throwIfAborted();
    const path = join(this.places.trashDir, id);
    const doomed = join(this.places.trashDir, `${deletingPrefix}${id}`);
    try {
      if (entry.keptDisks !== undefined) await this.moveKeptDisks(entry, entry.keptDisks);
      await renameDurably(path, doomed, this.faults);
      await removeTree(doomed, this.faults);
    } catch (failure) {
      throw fileError(failure, `"${entry.name}" could not be deleted`, path);
    }
  }

  private async read(id: string): Promise<TrashedMachine | undefined> {
    const path = join(this.places.trashDir, id);
    const content = await contentOf(path);
    if (content === undefined) return undefined;
    const folder = join(path, content);
    try {
      const parsed = EntryFile.safeParse(JSON.parse(await readFile(join(path, "entry.json"), "utf8")));
      if (parsed.success) return { id, ...withoutVersion(parsed.data), folder };
    } catch (failure) {
      if (!isMissing(failure) && !(failure instanceof SyntaxError)) throw fileError(failure, "The trash could not be read", path, "read");
    }
    return content === "machine" ? this.rebuild(id, folder) : this.rebuildSnapshot(id, folder);
  }

  private async rebuildSnapshot(id: string, folder: string): Promise<TrashedMachine | undefined> {
    const snapshot = await readSnapshot(folder);
    if (!snapshot?.record) {
      this.log.warn(`the trash entry ${folder} does not say which machine's snapshot it is; it is left alone`);
      return undefined;
    }
    const { record } = snapshot;
    return { id, name: record.name, machineId: record.config.id, snapshot: record.id, folderName: record.id, deletedAt: (await lstat(folder)).ctimeMs, bytes: await bytesOnDisk(folder), folder };
  }

  /** An entry whose own file is unusable, told from the machine in it. */
  private async rebuild(id: string, folder: string): Promise<TrashedMachine | undefined> {
    const read = await readConfig(folder);
    const name = read.ok ? read.value.config.name : (read.error.name ?? id);
    const machineId = read.ok ? read.value.config.id : read.error.id;
    if (machineId === undefined) {
      this.log.warn(`the trash entry ${folder} says neither what it is nor when it was deleted; it is left alone`);
      return undefined;
    }
    return { id, name, machineId, deletedAt: (await lstat(folder)).ctimeMs, bytes: await bytesOnDisk(folder), folder, folderName: name };
  }
}

/** What an entry holds; nothing in a shell. */
async function contentOf(path: string): Promise<"machine" | "snapshot" | undefined> {
  if (await isThere(join(path, "machine"))) return "machine";
  return (await isThere(join(path, "snapshot"))) ? "snapshot" : undefined;
}

/** What the contract says of an entry. */
export function withoutFolder({ folder, folderName, ...entry }: TrashedMachine): TrashEntry {
  void [folder, folderName];
  return entry;
}

function withoutVersion({ machineId, name, folderName, deletedAt, bytes, keptDisks, snapshot }: EntryFile): Omit<TrashedMachine, "id" | "folder"> {
  return { machineId, name, folderName, deletedAt, bytes, ...(keptDisks === undefined ? {} : { keptDisks }), ...(snapshot === undefined ? {} : { snapshot }) };
}

/** In the trash only what is surely ours is removed unasked: a shell, or what was being deleted. */
async function isRemovable(path: string): Promise<boolean> {
  const name = basename(path);
  if (name.startsWith(deletingPrefix)) return true;
  if (!/^[0-9a-f]{12}$/.test(name)) return false;
  return (await readdir(path)).every((inner) => inner === "entry.json" || inner.endsWith(".tmp"));
}
