import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { MachineConfig } from "../contract/model";
import type { SnapshotId, SnapshotInfo, SnapshotTree } from "../contract/snapshot";
import { layerFile } from "../engine/engine";
import { isMissing } from "../storage/fileErrors";
import { isThere } from "./machineFolders";
import { SavedState } from "./saved";
import { nearest, parts, type Snapshot, type SnapshotRecord } from "./snapshotFile";

/*
 * A machine's snapshots as a tree. Each says which snapshots it grew from, the nearest first; those that are gone are passed
 * over, so that a tree needs no mending when one goes or comes back.
 */

/** A machine with its snapshots, and those of them that are in the trash. */
export interface Grown {
  readonly folder: string;
  readonly config: MachineConfig;
  readonly snapshots: readonly Snapshot[];
  readonly trashed: readonly Snapshot[];
}

/** The snapshots that the machine as it is now grew from, the nearest first, those in the trash included. */
export function ancestorsOfNow({ config, snapshots, trashed }: Pick<Grown, "config" | "snapshots" | "trashed">): SnapshotId[] {
  const records = [...snapshots, ...trashed].flatMap(({ record }) => record ?? []);
  const origin = records.find(({ id }) => id === config.snapshot) ?? deepestBelow(config, records);
  return origin ? [origin.id, ...origin.ancestors] : [];
}

/** The snapshot with the most layers among those that lie under the machine as it is now; of equals the latest. */
function deepestBelow(config: MachineConfig, records: readonly SnapshotRecord[]): SnapshotRecord | undefined {
  const layers = layersOf(config);
  const under = records.filter((record) => {
    const own = layersOf(record.config);
    return own.length > 0 && own.every((file) => layers.includes(file));
  });
  return under.sort((a, b) => layersOf(b.config).length - layersOf(a.config).length || b.takenAt - a.takenAt)[0];
}

export async function describeTree(grown: Grown): Promise<SnapshotTree> {
  const { folder, config, snapshots } = grown;
  const described: SnapshotInfo[] = [];
  for (const snapshot of snapshots) described.push(await describe(snapshot, grown));
  const parent = nearest(ancestorsOfNow(grown), snapshots);
  const saved = new SavedState(folder);
  return { snapshots: described, current: { parent, ownBytes: (await addedBytes(config, parent, grown)) + (await bytesOf(saved.stateFile)) } };
}

export async function describe(snapshot: Snapshot, grown: Grown): Promise<SnapshotInfo> {
  const { id, record, folder, problem } = snapshot;
  const hasScreenshot = await isThere(join(folder, parts.screenshot));
  if (!record) return { id, name: id, parent: null, takenAt: 0, was: "off", hasMemory: false, hasScreenshot, ownBytes: 0, ...(problem ? { problem } : {}) };
  const parent = nearest(record.ancestors, grown.snapshots);
  const missing = await firstMissing(record.config, grown.folder);
  return {
    id,
    name: record.name,
    ...(record.description === undefined ? {} : { description: record.description }),
    parent,
    takenAt: record.takenAt,
    was: record.was,
    hasMemory: record.state !== null,
    hasScreenshot,
    ownBytes: (await addedBytes(record.config, parent, grown)) + (await bytesOf(join(folder, parts.state))) + (await bytesOf(join(folder, parts.packed))),
    ...(missing === undefined ? {} : { problem: { code: "image-unusable" as const, message: `${missing} is missing, which the snapshot “${record.name}” needs.`, remedy: "Put the file back, or connect the drive it is on. The other snapshots are not concerned." } }),
  };
}

/** A file that a configuration needs and that is not there. */
async function firstMissing(config: MachineConfig, folder: string): Promise<string | undefined> {
  for (const layer of config.disks.flatMap(({ layers }) => layers)) if (!(await isThere(layerFile(layer, folder)))) return layerFile(layer, folder);
  return undefined;
}

/** What the layers take that a configuration has and its parent has not. */
async function addedBytes(config: MachineConfig, parent: SnapshotId | null, { folder, snapshots }: Grown): Promise<number> {
  const below = snapshots.find(({ id }) => id === parent)?.record?.config;
  const known = new Set(below ? layersOf(below) : []);
  let bytes = 0;
  for (const file of layersOf(config)) if (!known.has(file)) bytes += await bytesOf(layerFile({ file, format: "raw" }, folder));
  return bytes;
}

function layersOf({ disks }: MachineConfig): string[] {
  return disks.flatMap(({ layers }) => layers.map(({ file }) => file));
}

/** What a file really takes on the host; nothing when it is not there. */
export async function bytesOf(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (failure) {
    if (isMissing(failure)) return 0;
    throw failure;
  }
}
