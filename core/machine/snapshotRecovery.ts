import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { MachineConfig } from "../contract/model";
import { SnapshotId } from "../contract/snapshot";
import { layerFile } from "../engine/engine";
import { isMissing } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { isThere } from "./machineFolders";
import { isUnwritten } from "./overlay";
import { SavedState } from "./saved";
import { parts, snapshotsFolder } from "./snapshotFile";
import { recoverRestoring } from "./snapshotRestore";
import { recoverState } from "./snapshotState";
import { factsOn, writeFacts } from "./snapshotTake";

/** Finishes or takes back what a crash has interrupted of a machine's snapshots. It does not matter whether the machine runs. */
export async function recoverSnapshots(folder: string, config: MachineConfig, steps: Steps): Promise<void> {
  await recoverRestoring(folder, config, steps);
  await removeUnfinished(folder, steps);
  await moveSavedUp(folder, config, steps);
}

/** A snapshot without its file does not exist, and one whose memory was being compressed is as good without that. */
async function removeUnfinished(folder: string, steps: Steps): Promise<void> {
  const place = snapshotsFolder(folder);
  let names: string[];
  try {
    names = await readdir(place);
  } catch (failure) {
    if (isMissing(failure)) return;
    throw failure;
  }
  for (const name of names) {
    if (!SnapshotId.safeParse(name).success) continue;
    if (await isThere(join(place, name, parts.record))) await recoverState(join(place, name), steps);
    else await steps.removeTree(join(place, name));
  }
}

/** The saved state is of a layer that has got empty ones on top of it: it is as good with those. */
async function moveSavedUp(folder: string, config: MachineConfig, steps: Steps): Promise<void> {
  const saved = new SavedState(folder);
  const facts = (await saved.exists()) ? await saved.facts() : undefined;
  if (!facts) return;
  const moved = factsOn(facts, config.disks);
  if (JSON.stringify(moved) === JSON.stringify(facts)) return;
  for (const { id, file } of facts.disks) {
    const layers = config.disks.find((disk) => disk.id === id)?.layers ?? [];
    const place = layers.findIndex((layer) => layer.file === file);
    if (place < 0) return;
    for (const layer of layers.slice(place + 1)) if (!(await isUnwritten(layerFile(layer, folder)))) return;
  }
  await writeFacts(saved, moved, steps);
}
