import { join } from "node:path";
import { MiB } from "../base/bytes";
import type { SnapshotPlan } from "../contract/snapshot";
import { layerFile } from "../engine/engine";
import type { Layers } from "./layers";
import type { Machine } from "./machine";
import { bytesOnDisk } from "./machineFolders";
import { SavedState } from "./saved";
import { emptyLayerBytes } from "./overlay";
import { holdsChanges } from "./snapshotConfig";
import { parts, type LayerOwner, type Snapshot } from "./snapshotFile";
import { stateBytes } from "./snapshotState";
import { bytesOf, type Grown } from "./snapshotTree";

/** What was looked at before an operation on snapshots. */
export interface Looked {
  readonly grown: Grown;
  /** Undefined when some list of layers cannot be read: then nothing is freed. */
  readonly layers: Layers<LayerOwner> | undefined;
  readonly freeBytes: number;
  readonly machine: Machine;
}

const nothing = { least: 0, most: 0 };

/** A snapshot of a guest that runs holds its memory: at most all of it. A saved state is shared with the snapshot. */
export async function planTake({ grown, freeBytes, machine }: Looked): Promise<SnapshotPlan> {
  return { costBytes: (await fixedBytes(grown)) + (machine.isLive ? grown.config.memoryMiB * MiB : 0), freesBytes: nothing, freeBytes };
}

export async function planRestore(looked: Looked, snapshot: Snapshot, keep: boolean): Promise<SnapshotPlan> {
  const { grown, freeBytes, machine } = looked;
  const kept = keep && machine.isLive ? grown.config.memoryMiB * MiB : 0;
  const costBytes = 2 * (await fixedBytes(grown)) + kept + (await stateBytes(snapshot.folder, snapshot.record?.config ?? grown.config)).unpacked;
  const changes = machine.isLive || (await holdsChanges(grown));
  if (keep || !changes) return { costBytes, freesBytes: nothing, freeBytes };
  let bytes = await bytesOf(new SavedState(grown.folder).stateFile);
  for (const layer of looked.layers?.neededOnlyBy((owner) => owner.machineId === machine.id && owner.snapshot === undefined) ?? []) bytes += await bytesOf(layer);
  const loses = machine.isLive ? "What runs in the guest now ends, as when the plug is pulled. Its disks and settings as they are go to the trash." : "The machine as it is now goes to the trash.";
  return { costBytes, freesBytes: { least: bytes, most: bytes }, freeBytes, loses };
}

export async function planDelete({ layers, freeBytes, machine }: Omit<Looked, "grown">, snapshot: Snapshot): Promise<SnapshotPlan> {
  let bytes = await bytesOnDisk(snapshot.folder);
  for (const layer of layers?.neededOnlyBy((owner) => owner.machineId === machine.id && owner.snapshot === snapshot.id) ?? []) bytes += await bytesOf(layer);
  return { costBytes: 0, freesBytes: { least: bytes, most: bytes }, freeBytes, loses: `The snapshot “${snapshot.record?.name ?? snapshot.id}” goes to the trash; those that grew from it stay.` };
}

/** New layers, and copies of the firmware's variables and of the picture. */
async function fixedBytes({ config, folder }: Grown): Promise<number> {
  return config.disks.length * emptyLayerBytes + (await bytesOnDisk(join(folder, parts.nvram))) + (await bytesOf(layerFile({ file: parts.screenshot, format: "raw" }, folder)));
}
