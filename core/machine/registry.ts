import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError } from "../contract/errors";
import { maxNameLength, type MachineConfig } from "../contract/model";
import { removeTree, renameDurably, type FaultHook } from "../storage/atomicFile";
import { fileError } from "../storage/fileErrors";
import { derivedId, readConfig, writeConfig } from "./configFile";
import { comparable, folderNameFor, uniqueFolderName, uniqueMachineName } from "./folderName";
import { newMac } from "./macAddress";
import { isThere, readMachineFolder, removeMachineLeftovers, stagingPrefix, type FolderEntry, type RegisteredMachine } from "./machineFolders";
import { Trash, type TrashedMachine, type TrashPlaces } from "./trash";

export type { RegisteredMachine } from "./machineFolders";
export type { TrashedMachine } from "./trash";

/*
 * Theory of operation. The folders under `machines/` are the registry; there is no other list that could disagree with
 * them. A machine is made in a hidden staging folder and exists the moment that is renamed to its own name. A
 * configuration changes by one atomic rename. A machine is deleted by a rename into the trash and comes back by a rename
 * out of it. So a crash at any point leaves each machine whole, either as before or as after.
 *
 * Two folders with one id are an original and a copy someone made of it by hand. The folder that was made first stays what
 * it is; the copy becomes a machine of its own: new id, new addresses of its adapters (unless it has a saved state, which
 * remembers them), and a name that is not taken.
 */

export interface RegistryOptions extends TrashPlaces {
  readonly machinesDir: string;
  readonly log: Log;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly faults?: FaultHook;
}

export type RegistryChange =
  /** It is new, or its configuration or problem has changed. */
  { readonly type: "machine"; readonly machine: RegisteredMachine } | { readonly type: "removed"; readonly id: string } | { readonly type: "trash" };

/** Fills the folder of a machine that is being made: disks and whatever else it needs. */
export type Fill = (stagingFolder: string, signal: AbortSignal) => Promise<void>;

const neverAborted = new AbortController().signal;

export class Registry {
  private readonly entries = new Map<string, FolderEntry>();
  /** Configurations of machines that are being made: their names, ids and addresses are taken already. */
  private readonly pending = new Set<MachineConfig>();
  private readonly trash: Trash;
  private readonly changed = new Emitter<RegistryChange>();
  readonly onDidChange: Event<RegistryChange> = this.changed.event;
  /** The end of the queue of changes; they happen one after another. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: RegistryOptions) {
    this.trash = new Trash(options, options.log, options.now, options.faults);
  }

  /** Cleans up after a crash and reads every machine. One that cannot be used is listed with its problem. */
  async open(): Promise<void> {
    const { machinesDir, log, faults } = this.options;
    try {
      await removeMachineLeftovers(machinesDir, log, faults);
      await this.trash.open();
      await this.read();
    } catch (failure) {
      throw fileError(failure, "The machines could not be read", machinesDir, "read");
    }
  }

  /** In the order they are shown: by name, as people sort. */
  list(): RegisteredMachine[] {
    const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
    return [...this.entries.values()].sort((a, b) => collator.compare(a.name, b.name) || (a.id < b.id ? -1 : 1)).map(withoutFile);
  }

  /** @throws TerrariumError `not-found`. */
  get(id: string): RegisteredMachine {
    return withoutFile(this.entry(id));
  }

  has(id: string): boolean {
    return this.entries.has(id);
  }

  /** An id for a new machine: no other has it, nor its first eight digits, which name its run directory. */
  newId(): string {
    for (;;) {
      const id = randomUUID();
      if (!this.ids().some((other) => other.slice(0, 8) === id.slice(0, 8))) return id;
    }
  }

  /** MAC addresses in use, those of machines that are being made included. */
  macs(): string[] {
    return this.configs().flatMap((config) => config.adapters.map((adapter) => adapter.mac));
  }

  /** The machine that has this name (or one that looks the same), leaving out `exceptId`; of a machine being made, its configuration's. */
  nameHolder(name: string, exceptId?: string): { id: string; name: string } | undefined {
    const wanted = comparable(name);
    return [...this.entries.values(), ...this.pending].find((other) => other.id !== exceptId && comparable(other.name) === wanted);
  }

  /**
   * Makes a machine. `fill` works in the staging folder; when it, or anything after it, fails or is cancelled, nothing remains.
   * @throws TerrariumError `name-taken`, `cancelled`, `disk-full`, `read-only`, and whatever `fill` throws.
   */
  async create(config: MachineConfig, fill: Fill, signal: AbortSignal = neverAborted): Promise<RegisteredMachine> {
    this.requireFreeName(config.name);
    if (this.ids().includes(config.id)) throw new TerrariumError("internal", `The id ${config.id} is in use.`);
    const { machinesDir, faults } = this.options;
    const staging = join(machinesDir, `${stagingPrefix}${randomBytes(6).toString("hex")}`);
    this.pending.add(config);
    try {
      await mkdir(staging, { mode: 0o700 });
      let target: string | undefined;
      try {
        await fill(staging, signal);
        signal.throwIfAborted();
        await writeConfig(staging, config, undefined, faults);
        return await this.inTurn(async () => {
          signal.throwIfAborted();
          const folderName = uniqueFolderName(folderNameFor(config.name), await readdir(machinesDir));
          target = join(machinesDir, folderName);
          await renameDurably(staging, target, faults);
          return this.put(await this.readFolder(folderName));
        });
      } catch (failure) {
        // Renamed but not made durable: the machine may not stay, because its maker is told that it does not exist.
        if (target !== undefined && !(await isThere(staging))) await removeTree(target);
        await removeTree(staging);
        throw failure;
      }
    } catch (failure) {
      if (failure === signal.reason) throw failure;
      throw fileError(failure, `"${config.name}" could not be created`, machinesDir);
    } finally {
      this.pending.delete(config);
    }
  }

  /**
   * Saves a machine's configuration.
   * @throws TerrariumError `name-taken`; `illegal-state` when the file was changed by someone else since it was read (the
   * change is then taken in); `broken` when the machine has no usable configuration.
   */
  async update(id: string, config: MachineConfig): Promise<RegisteredMachine> {
    return this.inTurn(async () => {
      const entry = this.entry(id);
      if (config.id !== id) throw new TerrariumError("internal", "A machine's id cannot change.");
      // A machine that shares its name with one that cannot be read may still be changed otherwise.
      if (config.name !== entry.name) this.requireFreeName(config.name, id);
      const fresh = await this.reread(entry);
      if (fresh === undefined) throw new TerrariumError("not-found", `The folder of "${entry.name}" is gone.`, `Put ${entry.folder} back.`);
      if (fresh.loaded === undefined) throw new TerrariumError("broken", fresh.problem?.message ?? `"${entry.name}" has no usable configuration.`, fresh.problem?.remedy);
      if (fresh.loaded.text !== entry.loaded?.text) throw new TerrariumError("illegal-state", `The configuration of "${entry.name}" was changed in its file meanwhile.`, "Look at the settings as they are now, and repeat your change.");
      try {
        const loaded = await writeConfig(entry.folder, config, fresh.loaded, this.options.faults);
        return this.put({ ...fresh, name: config.name, config, loaded });
      } catch (failure) {
        await this.reread(entry);
        throw failure;
      }
    });
  }

  /** Reads a machine's folder again: after someone mended it, or before it starts. Undefined when the folder is gone, which removes the machine. */
  async refresh(id: string): Promise<RegisteredMachine | undefined> {
    return this.inTurn(async () => {
      const fresh = await this.reread(this.entry(id));
      return fresh && withoutFile(fresh);
    });
  }

  /** Looks for folders that came, went or changed since. */
  async rescan(): Promise<void> {
    await this.inTurn(() => this.read());
  }

  /** Deletes a machine so that it can be restored. The caller has made sure that it does not run. */
  async moveToTrash(id: string, options: { keepDisks: boolean }): Promise<TrashedMachine> {
    return this.inTurn(async () => {
      const trashed = await this.trash.put(this.entry(id), options.keepDisks).finally(() => this.reread(this.entry(id)));
      this.changed.fire({ type: "trash" });
      return trashed;
    });
  }

  listTrash(): Promise<TrashedMachine[]> {
    return this.trash.list();
  }

  /**
   * Brings a deleted machine back. Where its name or id has been given to another machine meanwhile, it gets a new one.
   * @throws TerrariumError `not-found`; `locked` when another machine uses one of its kept disks by now.
   */
  async restore(entryId: string): Promise<RegisteredMachine> {
    return this.inTurn(async () => {
      const { machinesDir, faults } = this.options;
      const trashed = await this.trash.get(entryId);
      this.requireUnusedDisks(trashed);
      try {
        await this.trash.reuniteDisks(trashed);
        await this.makeDistinct(trashed.folder);
        const folderName = uniqueFolderName(folderNameFor(trashed.folderName), await readdir(machinesDir));
        await renameDurably(trashed.folder, join(machinesDir, folderName), faults);
        const machine = this.put(await this.readFolder(folderName));
        await this.trash.removeShell(entryId);
        return machine;
      } catch (failure) {
        throw fileError(failure, `"${trashed.name}" could not be restored`, trashed.folder);
      } finally {
        this.changed.fire({ type: "trash" });
      }
    });
  }

  /** Deletes a trash entry for good. Cancelling works until it has begun. */
  async deleteFromTrash(entryId: string, signal: AbortSignal = neverAborted): Promise<void> {
    await this.inTurn(() => this.trash.destroy(entryId, signal).finally(() => this.changed.fire({ type: "trash" })));
  }

  /** @throws TerrariumError `not-found` */
  trashEntry(entryId: string): Promise<TrashedMachine> {
    return this.trash.get(entryId);
  }

  /** A change of the trash that is not about a whole machine, in turn with the others. */
  async changeTrash<T>(change: (trash: Trash) => Promise<T>): Promise<T> {
    return this.inTurn(() => change(this.trash).finally(() => this.changed.fire({ type: "trash" })));
  }

  private ids(): string[] {
    return [...this.entries.keys(), ...[...this.pending].map((config) => config.id)];
  }

  private configs(): MachineConfig[] {
    return [...[...this.entries.values()].flatMap((entry) => (entry.config ? [entry.config] : [])), ...this.pending];
  }

  private requireFreeName(name: string, exceptId?: string): void {
    const holder = this.nameHolder(name, exceptId);
    if (holder) throw new TerrariumError("name-taken", `There is already a machine called "${holder.name}".`, "Choose another name.");
  }

  private requireUnusedDisks(trashed: TrashedMachine): void {
    const { keptDisks } = trashed;
    if (keptDisks === undefined) return;
    const user = this.configs().find((config) => config.disks.some((disk) => disk.layers.some((layer) => isAbsolute(layer.file) && layer.file.startsWith(keptDisks + sep))));
    if (user) throw new TerrariumError("locked", `"${trashed.name}" cannot be restored: the disks that were kept of it are used by "${user.name}" now.`, `Take them out of "${user.name}" first, or copy the disks you need from ${keptDisks}.`);
  }

  private entry(id: string): FolderEntry {
    const entry = this.entries.get(id);
    if (!entry) throw new TerrariumError("not-found", `There is no machine with the id ${id}.`, "Look at the list of machines again; it may have been deleted.");
    return entry;
  }

  private async readFolder(folderName: string): Promise<FolderEntry> {
    const entry = await readMachineFolder(this.options.machinesDir, folderName);
    if (!entry) throw new TerrariumError("io", `The folder ${join(this.options.machinesDir, folderName)} vanished.`, "Something else works in the home; look what.");
    return entry;
  }

  private put(entry: FolderEntry): RegisteredMachine {
    this.entries.set(entry.id, entry);
    const machine = withoutFile(entry);
    this.changed.fire({ type: "machine", machine });
    return machine;
  }

  private drop(id: string): void {
    this.entries.delete(id);
    this.changed.fire({ type: "removed", id });
  }

  private async read(): Promise<void> {
    const { machinesDir } = this.options;
    const found: FolderEntry[] = [];
    for (const folderName of await readdir(machinesDir)) {
      const entry = await readMachineFolder(machinesDir, folderName);
      if (entry) found.push(entry);
    }
    // The folder that was made first is the original; of two equally old ones the one with the shorter name.
    found.sort((a, b) => a.born - b.born || a.folderName.length - b.folderName.length || (a.folderName < b.folderName ? -1 : 1));
    const distinct = new Map<string, FolderEntry>();
    const copies: FolderEntry[] = [];
    for (const entry of found) {
      if ([...distinct.keys()].some((id) => id.slice(0, 8) === entry.id.slice(0, 8))) copies.push(entry);
      else distinct.set(entry.id, entry);
    }
    for (const entry of distinct.values()) this.putIfChanged(entry);
    for (const copy of copies) {
      const adopted = await this.adoptCopy(copy);
      distinct.set(adopted.id, adopted);
      this.putIfChanged(adopted);
    }
    for (const id of [...this.entries.keys()]) if (!distinct.has(id)) this.drop(id);
  }

  private putIfChanged(entry: FolderEntry): void {
    const before = this.entries.get(entry.id);
    if (before && before.folder === entry.folder && before.loaded?.text === entry.loaded?.text && before.problem?.message === entry.problem?.message) return;
    this.put(entry);
  }

  private async adoptCopy(copy: FolderEntry): Promise<FolderEntry> {
    try {
      await this.makeDistinct(copy.folder);
      return await this.readFolder(copy.folderName);
    } catch (failure) {
      const { message, remedy } = fileError(failure, "Its configuration could not be changed", copy.folder);
      const problem = { code: "broken", message: `${copy.folder} is a copy of another machine and could not be given an id of its own. ${message}`, remedy } as const;
      return { ...copy, id: derivedId(copy.folderName), config: undefined, loaded: undefined, problem };
    }
  }

  /** Gives the machine in `folder` what other machines must not share with it: id, name and MAC addresses. One that cannot be read is left alone. */
  private async makeDistinct(folder: string): Promise<void> {
    const read = await readConfig(folder);
    if (!read.ok) {
      if (read.error.id !== undefined && this.ids().includes(read.error.id)) throw new TerrariumError("broken", `${folder} has the id of another machine, and its configuration cannot be changed: ${read.error.problem.message}`, read.error.problem.remedy);
      return;
    }
    const { config } = read.value;
    const sameId = this.ids().some((id) => id.slice(0, 8) === config.id.slice(0, 8));
    const names = [...this.entries.values(), ...this.pending].map((other) => other.name);
    const name = uniqueMachineName(config.name, names, maxNameLength);
    const taken = new Set(this.macs());
    const keepMacs = (await savedStateIn(folder)) || !config.adapters.some((adapter) => taken.has(adapter.mac));
    if (!sameId && name === config.name && keepMacs) return;
    const adapters = config.adapters.map((adapter) => {
      if (keepMacs || !taken.has(adapter.mac)) return adapter;
      const mac = newMac([...taken, ...config.adapters.map((other) => other.mac)]);
      taken.add(mac);
      return { ...adapter, mac };
    });
    await writeConfig(folder, { ...config, id: sameId ? this.newId() : config.id, name, adapters }, read.value, this.options.faults);
    this.options.log.info(`the machine in ${folder} was given what it shared with another machine: it is called "${name}"`);
  }

  private async reread(entry: FolderEntry): Promise<FolderEntry | undefined> {
    const fresh = await readMachineFolder(this.options.machinesDir, entry.folderName);
    if (!fresh) {
      this.drop(entry.id);
      return undefined;
    }
    if (fresh.id !== entry.id && fresh.config !== undefined && entry.config === undefined) return this.mended(entry, fresh);
    // An id someone edited is no longer this machine's; it stays what it is known as until the home is opened again.
    const kept = fresh.id === entry.id ? fresh : fresh.config === undefined ? { ...fresh, id: entry.id } : { ...fresh, id: entry.id, config: undefined, loaded: undefined, problem: changedId(entry) };
    this.putIfChanged(kept);
    return kept;
  }

  /** A machine whose configuration could not be read was known by a stand-in for its id; now it has its own. */
  private async mended(standIn: FolderEntry, fresh: FolderEntry): Promise<FolderEntry> {
    this.entries.delete(standIn.id);
    try {
      await this.makeDistinct(fresh.folder);
      const entry = await this.readFolder(fresh.folderName);
      this.changed.fire({ type: "removed", id: standIn.id });
      this.put(entry);
      return entry;
    } catch (failure) {
      this.entries.set(standIn.id, standIn);
      throw failure;
    }
  }

  private inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.queue.then(change);
    this.queue = result.then(
      () => undefined,
      () => undefined, // Its caller hears of it; the next change is not concerned.
    );
    return result;
  }
}

function changedId(entry: FolderEntry): NonNullable<RegisteredMachine["problem"]> {
  return { code: "broken", message: `The id in the configuration of "${entry.name}" was changed.`, remedy: `Write the id ${entry.id} back into machine.json, or start Terrarium again to use the new one.` };
}

async function savedStateIn(folder: string): Promise<boolean> {
  try {
    return (await readdir(join(folder, "saved"))).length > 0;
  } catch {
    return false; // No such folder: no saved state.
  }
}

function withoutFile(entry: FolderEntry): RegisteredMachine {
  const { id, folder, folderName, name, config, problem } = entry;
  return { id, folder, folderName, name, ...(config ? { config } : {}), ...(problem ? { problem } : {}) };
}
