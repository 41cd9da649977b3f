import { join } from "node:path";
import { isThere, type RegisteredMachine } from "./machineFolders";
import { Layers, type LayerList } from "./layers";
import { readConfig } from "./configFile";
import { layerLists, readSnapshot, readSnapshots, type LayerOwner } from "./snapshotFile";
import type { Registry } from "./registry";

/** Every list of layers in the home. */
export interface HomeLists {
  readonly lists: readonly LayerList<LayerOwner>[];
  /** Files that could not be read: what they name is not known, so nothing can be called free. */
  readonly unreadable: readonly string[];
}

/**
 * Reads every list of layers of the home: of machines as they are now, of their snapshots, and of both in the trash. What is
 * being deleted for good is left out.
 * @param leaving a folder in the trash that is left out as well
 */
export async function readHomeLists(registry: Registry, leaving?: string): Promise<HomeLists> {
  const lists: LayerList<LayerOwner>[] = [];
  const unreadable: string[] = [];
  const readFolder = async ({ id, folder, config }: Pick<RegisteredMachine, "id" | "folder" | "config">, owner: Pick<LayerOwner, "deleted">): Promise<void> => {
    if (config) lists.push(...layerLists(config, folder, { machineId: id, ...owner }));
    else unreadable.push(folder);
    for (const { id: snapshot, record, folder: where } of await readSnapshots(folder)) {
      if (record) lists.push(...layerLists(record.config, folder, { machineId: id, snapshot, ...owner }));
      else unreadable.push(where);
    }
  };
  for (const machine of registry.list()) await readFolder(machine, {});
  for (const entry of await registry.listTrash()) {
    if (entry.folder === leaving) continue;
    if (entry.snapshot === undefined) {
      const read = await readConfig(entry.folder);
      await readFolder({ id: entry.machineId, folder: entry.folder, ...(read.ok ? { config: read.value.config } : {}) }, { deleted: true });
      continue;
    }
    const machineFolder = registry.has(entry.machineId) ? registry.get(entry.machineId).folder : undefined;
    const snapshot = await readSnapshot(entry.folder);
    if (snapshot?.record && machineFolder !== undefined) lists.push(...layerLists(snapshot.record.config, machineFolder, { machineId: entry.machineId, snapshot: entry.snapshot, deleted: true }));
    else if (snapshot && machineFolder !== undefined) unreadable.push(join(entry.folder));
  }
  return { lists, unreadable };
}

/** The layers of the home; undefined when some list cannot be read, and then nothing may be called free. */
export async function readHomeLayers(registry: Registry, leaving?: string): Promise<Layers<LayerOwner> | undefined> {
  const { lists, unreadable } = await readHomeLists(registry, leaving);
  return unreadable.length > 0 ? undefined : new Layers(lists);
}

/** Whether something in the home needs the file at `path`; true as well when that cannot be told. */
export async function isNeeded(registry: Registry, path: string): Promise<boolean> {
  return (await isThere(path)) && ((await readHomeLayers(registry))?.isNeeded(path) ?? true);
}
