import { readdir, readFile, rmdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import type { Log } from "../base/log";
import { layerFile } from "../engine/engine";
import { errno, isMissing } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { isMadeHere } from "./growth";
import { readHomeLayers } from "./homeLayers";
import { isUnwritten } from "./overlay";
import type { Registry } from "./registry";
import { readSnapshot } from "./snapshotFile";

/*
 * Layers that nobody needs any more. What was ever written to goes with the snapshot that is deleted for good, which says
 * that it was needed: its entry of the trash is taken off the list, then its layers go, and it goes last. So a crash in
 * between leaves what says what is still to be removed. Beside these only layers go that no list names and that hold nothing.
 */

/** Removes layers of a machine that nothing names and nothing was written to: a crash, or a restoring, leaves them. */
export async function removeUnwrittenOrphans(folder: string, registry: Registry, steps: Steps): Promise<void> {
  const disks = join(folder, "disks");
  const candidates: string[] = [];
  for (const place of await namesIn(disks)) for (const name of await namesIn(join(disks, place))) if (isMadeHere(name)) candidates.push(join(disks, place, name));
  if (candidates.length === 0) return;
  const layers = await readHomeLayers(registry);
  for (const path of layers?.orphans(candidates) ?? []) if (await isUnwritten(path)) await steps.removeFile(path);
}

/**
 * Deletes a snapshot for good whose entry in the trash is `doomed` already: the layers that only it needed, then the entry.
 * Where some list of the home cannot be read, it is left for another time.
 */
export async function removeDoomed(doomed: string, machineId: string | undefined, registry: Registry, steps: Steps, log: Log): Promise<void> {
  const snapshot = await readSnapshot(join(doomed, "snapshot"));
  if (snapshot?.record && machineId !== undefined && registry.has(machineId)) {
    const { folder } = registry.get(machineId);
    const layers = await readHomeLayers(registry);
    if (!layers) return log.warn(`what the deleted snapshot ${doomed} alone needed is kept, because the layers of another machine or snapshot cannot be read`);
    const own = snapshot.record.config.disks.flatMap((disk) => disk.layers).filter((layer) => !isAbsolute(layer.file));
    for (const path of own.map((layer) => layerFile(layer, folder)).reverse()) {
      if (layers.isNeeded(path)) continue;
      if (await steps.removeFile(path)) await steps.syncFolder(dirname(path));
      await removeIfEmpty(dirname(path), steps);
    }
  }
  await steps.removeTree(doomed);
}

/** The machine that an entry of the trash is about. */
export async function machineOf(entry: string): Promise<string | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(join(entry, "entry.json"), "utf8"));
    return typeof value === "object" && value !== null && "machineId" in value && typeof value.machineId === "string" ? value.machineId : undefined;
  } catch (failure) {
    if (isMissing(failure) || failure instanceof SyntaxError) return undefined;
    throw failure;
  }
}

async function removeIfEmpty(folder: string, steps: Steps): Promise<void> {
  if ((await namesIn(folder)).length > 0) return;
  await steps.at("remove", folder);
  try {
    await rmdir(folder);
  } catch (failure) {
    if (!isMissing(failure) && errno(failure) !== "ENOTEMPTY") throw failure;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (failure) {
    if (isMissing(failure)) return [];
    throw failure;
  }
}
