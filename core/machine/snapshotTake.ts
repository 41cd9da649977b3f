import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { TerrariumError } from "../contract/errors";
import type { MachineConfig } from "../contract/model";
import type { SnapshotId } from "../contract/snapshot";
import { fileError } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { growDisks, type Growth } from "./growth";
import { isThere } from "./machineFolders";
import { SavedState, type SavedFacts } from "./saved";
import { parts, snapshotFolder, snapshotsFolder, writeSnapshot, type SnapshotRecord } from "./snapshotFile";
import { Undoing } from "./undoing";

/*
 * Taking a snapshot of a machine that does not run. In this order, so that it exists as a whole or not at all:
 *
 *   new layers ─▶ snapshots/<id>/ (variables, picture, state) ─▶ machine.json with the new layers ─▶ saved.json ─▶ snapshot.json
 *
 * The new layers are empty: with them the machine is what it was without. So a crash in between leaves one layer more at worst.
 */

export interface Taking {
  readonly folder: string;
  /** The machine as it is. */
  readonly config: MachineConfig;
  /** What of the record does not follow from the rest. */
  readonly about: Omit<SnapshotRecord, "config" | "state">;
  /** Writes machine.json. */
  save(config: MachineConfig): Promise<void>;
  readonly steps: Steps;
  readonly signal: AbortSignal;
}

/** Takes a snapshot of a machine that is off or saved. When it fails, or is cancelled, the machine is as it was. */
export async function takeOff({ folder, config, about, save, steps, signal }: Taking): Promise<void> {
  const saved = new SavedState(folder);
  const state = (await saved.exists()) ? await saved.facts() : null;
  if (state === undefined) throw new TerrariumError("broken", `The saved state of ${config.name} cannot be used: it does not say what it was saved on.`, "Discard the saved state first.");
  const growth = await growDisks(folder, config.disks, steps);
  const undoing = new Undoing();
  undoing.add(() => growth.undo());
  try {
    undoing.add(() => steps.removeTree(snapshotFolder(folder, about.id)));
    const place = await makeSnapshotFolder(folder, about.id, steps);
    await copyVariables(folder, place, steps);
    if (await isThere(join(folder, "screenshot.png"))) await steps.copy(join(folder, "screenshot.png"), join(place, parts.screenshot));
    if (state) await steps.linkOrCopy(saved.stateFile, join(place, parts.state));
    await steps.syncFolder(place);
    signal.throwIfAborted();
    const record: SnapshotRecord = { ...about, config, state };
    undoing.add(() => save(config));
    await save({ ...config, disks: growth.disks, snapshot: about.id });
    if (state) {
      undoing.add(() => writeFacts(saved, state, steps));
      await writeFacts(saved, factsOn(state, growth.disks), steps);
    }
    await writeSnapshot(place, record, steps);
  } catch (failure) {
    throw await undoing.because(failure === signal.reason ? failure : fileError(failure, "The snapshot could not be taken", folder));
  }
}

/** The facts of a state whose disks have got other layers on top, that hold the same. */
export function factsOn(facts: SavedFacts, disks: Growth["disks"]): SavedFacts {
  return { ...facts, disks: facts.disks.map((disk) => ({ ...disk, file: disks.find(({ id }) => id === disk.id)?.layers.slice(-1)[0]?.file ?? disk.file })) };
}

export async function writeFacts(saved: SavedState, facts: SavedFacts, steps: Steps): Promise<void> {
  await steps.write(saved.factsFile, `${JSON.stringify(facts, null, 2)}\n`);
}

export async function makeSnapshotFolder(machineFolder: string, id: SnapshotId, steps: Steps): Promise<string> {
  if (!(await isThere(snapshotsFolder(machineFolder)))) await steps.makeFolder(snapshotsFolder(machineFolder));
  const place = snapshotFolder(machineFolder, id);
  await steps.makeFolder(place);
  return place;
}

/** Copies the firmware's variables of a machine to `place`, or back, if there are any. */
export async function copyVariables(from: string, to: string, steps: Steps): Promise<void> {
  const source = join(from, parts.nvram);
  if (!(await isThere(source))) return;
  const target = join(to, parts.nvram);
  await steps.makeFolder(target);
  for (const name of (await readdir(source)).sort()) if (!name.endsWith(".tmp")) await steps.copy(join(source, name), join(target, name));
  await steps.syncFolder(target);
}
