import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import * as z from "zod";
import { TerrariumError, type ErrorData } from "../contract/errors";
import { EngineId, type MachineConfig } from "../contract/model";
import { SnapshotDescription, SnapshotId, SnapshotName, SnapshotWas } from "../contract/snapshot";
import { fileError, isMissing } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { parseConfig } from "./configFile";
import type { LayerList } from "./layers";
import { SavedFacts } from "./saved";

/*
 * A snapshot is a folder: `snapshots/<id>/` in the machine's, or `snapshot/` in an entry of the trash.
 *   snapshot.json    what it is; the snapshot exists when this does
 *   state            memory and devices, if the guest had any; compressed: state.gz
 *   screenshot.png   the screen, if there was one
 *   nvram/           the firmware's variables, if it keeps any
 * What was on the disks lies with the disks: the lists of layers in its configuration say where.
 */

/** A tree this deep is no work of people; a longer list is not read. */
const mostAncestors = 10_000;
const maxFileBytes = 4 * 1024 * 1024;

const SnapshotFile = z.object({
  version: z.literal(1),
  id: SnapshotId,
  name: SnapshotName,
  description: SnapshotDescription.optional(),
  /** The snapshots it grew from, the nearest first; those that are gone are passed over. */
  ancestors: z.array(SnapshotId).max(mostAncestors),
  takenAt: z.number(),
  was: SnapshotWas,
  /** The machine's, its layers being the frozen ones. Read like machine.json itself. */
  config: z.record(z.string(), z.unknown()),
  engine: EngineId,
  /** The command line of the machine process, as far as there was one. */
  command: z.array(z.string()).optional(),
  /** What the state in it depends on; null without a state. */
  state: SavedFacts.nullable(),
});

export interface SnapshotRecord extends Omit<z.infer<typeof SnapshotFile>, "config" | "version"> {
  readonly config: MachineConfig;
}

/** A snapshot where it lies. */
export interface Snapshot {
  readonly id: SnapshotId;
  readonly folder: string;
  /** Undefined when its file cannot be used; `problem` says why. */
  readonly record?: SnapshotRecord;
  readonly problem?: ErrorData;
}

export function snapshotsFolder(machineFolder: string): string {
  return join(machineFolder, "snapshots");
}

export function snapshotFolder(machineFolder: string, id: SnapshotId): string {
  return join(snapshotsFolder(machineFolder), id);
}

/** The parts of a snapshot's folder. */
export const parts = { record: "snapshot.json", state: "state", packed: "state.gz", screenshot: "screenshot.png", nvram: "nvram" } as const;

export async function writeSnapshot(folder: string, record: SnapshotRecord, steps: Steps): Promise<void> {
  await steps.write(join(folder, parts.record), `${JSON.stringify({ version: 1, ...record }, null, 2)}\n`);
}

/** The snapshot in `folder`, which is called like it unless it lies in the trash; undefined when there is none, which a folder without its file is not. */
export async function readSnapshot(folder: string, named?: SnapshotId): Promise<Snapshot | undefined> {
  const id = named ?? "";
  const path = join(folder, parts.record);
  const unusable = (because: string): Snapshot => ({
    id,
    folder,
    problem: { code: "broken", message: `The snapshot ${path} cannot be used: ${because}.`, remedy: `Mend ${path} in a text editor, or delete the snapshot. The disks are untouched.` },
  });
  let text: string;
  try {
    if ((await stat(path)).size > maxFileBytes) return unusable("it is far too long to be a snapshot's");
    text = await readFile(path, "utf8");
  } catch (failure) {
    if (isMissing(failure)) return undefined;
    return { id, folder, problem: fileError(failure, "A snapshot could not be read", path, "read").toData() };
  }
  let parsed: z.ZodSafeParseResult<z.infer<typeof SnapshotFile>>;
  try {
    parsed = SnapshotFile.safeParse(JSON.parse(text));
  } catch (failure) {
    return unusable(`it is not valid JSON (${failure instanceof Error ? failure.message : String(failure)})`);
  }
  if (!parsed.success) return unusable(parsed.error.issues[0]?.message ?? "it is not what a snapshot's file is");
  if (named !== undefined && parsed.data.id !== named) return unusable(`it says that it is the snapshot ${parsed.data.id}`);
  const read = parseConfig(JSON.stringify(parsed.data.config), path);
  if (!read.ok) return { id, folder, problem: read.error.problem };
  const { version, ...record } = parsed.data;
  void version;
  return { id: record.id, folder, record: { ...record, config: read.value.config } };
}

/** The snapshots in a machine's folder, oldest first. One that cannot be used is among them, with its problem. */
export async function readSnapshots(machineFolder: string): Promise<Snapshot[]> {
  const folder = snapshotsFolder(machineFolder);
  const found: Snapshot[] = [];
  for (const name of await namesIn(folder)) {
    if (!SnapshotId.safeParse(name).success) continue;
    const snapshot = await readSnapshot(join(folder, name), name);
    if (snapshot) found.push(snapshot);
  }
  return found.sort((a, b) => (a.record?.takenAt ?? 0) - (b.record?.takenAt ?? 0) || (a.id < b.id ? -1 : 1));
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (failure) {
    if (isMissing(failure)) return [];
    throw failure;
  }
}

/** Whose disks a list of layers is. */
export interface LayerOwner {
  readonly machineId: string;
  /** Absent: the machine as it is now. */
  readonly snapshot?: SnapshotId;
  /** It lies in the trash. */
  readonly deleted?: boolean;
}

/** What a configuration says of its disks' layers, as absolute paths. */
export function layerLists(config: MachineConfig, machineFolder: string, owner: LayerOwner): LayerList<LayerOwner>[] {
  return config.disks.map((disk) => ({ owner, layers: disk.layers.map((layer) => resolve(machineFolder, layer.file)) }));
}

/** The nearest ancestor that is there. */
export function nearest(ancestors: readonly SnapshotId[], there: readonly { readonly id: SnapshotId }[]): SnapshotId | null {
  return ancestors.find((id) => there.some((snapshot) => snapshot.id === id)) ?? null;
}

/** @throws TerrariumError `broken` when it cannot be used */
export function usable(snapshot: Snapshot): SnapshotRecord {
  const { record, problem } = snapshot;
  if (record) return record;
  throw new TerrariumError(problem?.code ?? "broken", problem?.message ?? "The snapshot cannot be used.", problem?.remedy);
}
