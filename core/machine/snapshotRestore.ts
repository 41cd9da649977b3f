import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { MachineConfig } from "../contract/model";
import { fileError, isMissing } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { growDisks } from "./growth";
import { isThere } from "./machineFolders";
import { recordPath } from "./runRecord";
import { SavedState } from "./saved";
import { parts, type SnapshotRecord } from "./snapshotFile";
import { layOutState } from "./snapshotState";
import { copyVariables, factsOn, writeFacts } from "./snapshotTake";
import { Undoing } from "./undoing";

/*
 * Restoring makes three things of a machine what they were: its disks and settings (machine.json), its firmware's variables
 * and its memory. They change as one: what the latter two become is laid ready in `restoring/`, with a note of the disks it
 * belongs to, and machine.json decides.
 *
 *   new layers ─▶ restoring/{nvram,saved} ─▶ restoring/restore.json ─▶ machine.json ─▶ nvram, saved take their places ─▶ restoring/ goes
 *
 * Whoever finds `restoring/` finishes it when machine.json has those disks, and throws it away otherwise.
 */

const Note = z.object({
  /** The files that the disks are written to. */
  tops: z.array(z.string()),
  /** What there is to put in its place; of what is not among them the machine has none afterwards. */
  parts: z.array(z.enum(["nvram", "saved"])),
});
type Note = z.infer<typeof Note>;

export interface Restoring {
  readonly folder: string;
  /** Where the snapshot lies. */
  readonly from: string;
  readonly record: SnapshotRecord;
  /** The machine as it is. */
  readonly before: MachineConfig;
  /** The machine as it will be, on the frozen layers. */
  readonly config: MachineConfig;
  /** Milliseconds since the Unix epoch: tells this use of the state from others. */
  readonly now: number;
  save(config: MachineConfig): Promise<void>;
  readonly steps: Steps;
  readonly signal: AbortSignal;
}

/** Makes a machine that does not run what it was. What it is now must be kept elsewhere already. When it fails, or is cancelled, the machine is as it was. */
export async function restoreOff({ folder, from, record, before, config, now, save, steps, signal }: Restoring): Promise<void> {
  const place = placeOf(folder);
  const undoing = new Undoing();
  const growth = await growDisks(folder, config.disks, steps);
  undoing.add(() => growth.undo());
  const next: MachineConfig = { ...config, disks: growth.disks, snapshot: record.id };
  let note: Note;
  try {
    await steps.removeTree(place);
    undoing.add(() => steps.removeTree(place));
    await steps.makeFolder(place);
    await copyVariables(from, place, steps);
    if (record.state) {
      const saved = new SavedState(place);
      await steps.makeFolder(saved.folder);
      await writeFacts(saved, factsOn({ ...record.state, savedAt: now }, growth.disks), steps);
      await layOutState(from, saved.stateFile, steps, signal);
      await steps.syncFolder(saved.folder);
    }
    if (await isThere(join(from, parts.screenshot))) await steps.copy(join(from, parts.screenshot), join(place, parts.screenshot));
    note = { tops: topsOf(next), parts: [] };
    for (const part of Note.shape.parts.element.options) if (await isThere(join(place, part))) note.parts.push(part);
    await steps.write(join(place, "restore.json"), `${JSON.stringify(note)}\n`);
    signal.throwIfAborted();
    undoing.add(() => save(before));
    await save(next);
  } catch (failure) {
    throw await undoing.because(failure === signal.reason ? failure : fileError(failure, "The snapshot could not be restored", folder));
  }
  await finish(folder, note, steps);
}

/** Finishes or takes back a restoring that a crash has interrupted. Answers whether there was one to finish. */
export async function recoverRestoring(folder: string, config: MachineConfig, steps: Steps): Promise<boolean> {
  const place = placeOf(folder);
  if (!(await isThere(place))) return false;
  const note = await readNote(place);
  if (note !== undefined && JSON.stringify(note.tops) === JSON.stringify(topsOf(config))) {
    await finish(folder, note, steps);
    return true;
  }
  await steps.removeTree(place);
  return false;
}

/** Everything here can be repeated: what is not laid ready any more is in its place. */
async function finish(folder: string, note: Note, steps: Steps): Promise<void> {
  const place = placeOf(folder);
  for (const part of Note.shape.parts.element.options) {
    const ready = await isThere(join(place, part));
    if (ready || !note.parts.includes(part)) await steps.removeTree(join(folder, part));
    if (ready) await steps.rename(join(place, part), join(folder, part));
  }
  if (await isThere(join(place, parts.screenshot))) await steps.rename(join(place, parts.screenshot), join(folder, parts.screenshot));
  // How the last run ended says nothing of the machine that it is now.
  await steps.removeFile(recordPath(folder));
  await steps.removeTree(place);
}

function placeOf(folder: string): string {
  return join(folder, "restoring");
}

function topsOf({ disks }: MachineConfig): string[] {
  return disks.map(({ layers }) => layers[layers.length - 1]?.file ?? "");
}

async function readNote(place: string): Promise<Note | undefined> {
  try {
    return Note.parse(JSON.parse(await readFile(join(place, "restore.json"), "utf8")));
  } catch (failure) {
    // It is written last before machine.json: without it nothing was decided.
    if (isMissing(failure) || failure instanceof SyntaxError || failure instanceof z.ZodError) return undefined;
    throw failure;
  }
}
