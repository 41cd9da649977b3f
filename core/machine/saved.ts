import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { formatSize, MiB } from "../base/bytes";
import { EngineId, type MachineConfig } from "../contract/model";
import { syncFolder, writeFileAtomically } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";

/**
 * A machine's saved state, in `saved/`: `state` (memory and devices) and `saved.json` (what it was saved on). It exists when `state` does: that file gets its name last, and loses it first.
 */
export const SavedFacts = z.object({
  savedAt: z.number(),
  engine: EngineId,
  memoryMiB: z.number(),
  boot: z.string(),
  disks: z.array(z.object({ id: z.string(), sizeBytes: z.number(), file: z.string() })),
  medium: z.string().nullable(),
  /** Absent in states of machines that had one for certain. */
  drives: z.array(z.string()).optional(),
  macs: z.array(z.string()),
  /** Absent in states of machines that could have one only. */
  cpus: z.number().optional(),
  /** What else the engine makes a state depend on, by names for people. */
  engineFacts: z.record(z.string(), z.string()).default({}),
  /** Whether the guest had been told who it is. */
  identified: z.boolean(),
});
export type SavedFacts = z.infer<typeof SavedFacts>;

/** What must be the same for the state to be of use. */
export function savedFacts(config: MachineConfig, engine: { readonly id: EngineId; readonly facts: Readonly<Record<string, string>> }, moment: { savedAt: number; identified: boolean }): SavedFacts {
  return {
    savedAt: moment.savedAt,
    identified: moment.identified,
    engine: engine.id,
    engineFacts: engine.facts,
    cpus: config.cpus,
    memoryMiB: config.memoryMiB,
    boot: config.boot.kind,
    disks: config.disks.map((disk) => ({ id: disk.id, sizeBytes: disk.sizeBytes, file: disk.layers[disk.layers.length - 1]?.file ?? "" })),
    medium: config.drives[0]?.medium ?? null,
    drives: config.drives.map((drive) => drive.id),
    macs: config.adapters.map((adapter) => adapter.mac),
  };
}

/** The first thing in which the machine is not what it was saved on, for people; undefined when nothing stands in the way. */
export function savedDifference(saved: SavedFacts, now: SavedFacts): string | undefined {
  if (saved.engine !== now.engine) return `it was saved on the engine ${saved.engine} and would run on ${now.engine}`;
  if (saved.memoryMiB !== now.memoryMiB) return `it had ${formatSize(saved.memoryMiB * MiB)} of memory and has ${formatSize(now.memoryMiB * MiB)} now`;
  if (saved.cpus !== undefined && saved.cpus !== now.cpus) return `it had ${saved.cpus} processors and has ${now.cpus} now`;
  if (saved.boot !== now.boot) return `it had booted ${saved.boot} and is set to ${now.boot} now`;
  if (saved.disks.length !== now.disks.length) return `it had ${saved.disks.length} disks and has ${now.disks.length} now`;
  for (const [index, disk] of saved.disks.entries()) {
    const other = now.disks[index];
    if (other === undefined || disk.id !== other.id) return `its disk ${disk.id} is gone`;
    if (disk.sizeBytes !== other.sizeBytes) return `its disk ${disk.id} had ${formatSize(disk.sizeBytes)} and has ${formatSize(other.sizeBytes)} now`;
    if (disk.file !== other.file) return `its disk ${disk.id} was ${disk.file} and is ${other.file} now`;
  }
  const drives = (saved.drives ?? ["cd0"]).length;
  if (now.drives !== undefined && drives !== now.drives.length) return `it had ${drives === 0 ? "no CD drive" : "a CD drive"} and has ${now.drives.length === 0 ? "none" : "one"} now`;
  if (saved.medium !== now.medium) return `its CD drive held ${saved.medium ?? "nothing"} and holds ${now.medium ?? "nothing"} now`;
  for (const [index, mac] of saved.macs.entries()) {
    if (now.macs[index] !== undefined && now.macs[index] !== mac) return `its adapter ${index} had the address ${mac} and has ${now.macs[index]} now`;
  }
  if (now.macs.length !== saved.macs.length) return `it had ${counted(saved.macs.length)} and has ${now.macs.length} now`;
  for (const [name, value] of Object.entries(saved.engineFacts)) {
    if (now.engineFacts[name] !== value) return `its ${name} was ${value || "none"} and is ${now.engineFacts[name] || "none"} now`;
  }
  return undefined;
}

function counted(adapters: number): string {
  return adapters === 1 ? "1 adapter" : `${adapters} adapters`;
}

export class SavedState {
  readonly folder: string;
  readonly stateFile: string;
  readonly factsFile: string;
  /** Where a state is written before it counts. */
  readonly unfinished: string;

  constructor(machineFolder: string) {
    this.folder = join(machineFolder, "saved");
    this.stateFile = join(this.folder, "state");
    this.factsFile = join(this.folder, "saved.json");
    this.unfinished = join(this.folder, "state.tmp");
  }

  async exists(): Promise<boolean> {
    try {
      return (await stat(this.stateFile)).isFile();
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /** What the state was saved on; undefined when that is not known any more. */
  async facts(): Promise<SavedFacts | undefined> {
    try {
      return SavedFacts.parse(JSON.parse(await readFile(this.factsFile, "utf8")));
    } catch (error) {
      if (isMissing(error) || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
      throw error;
    }
  }

  /** Makes room for a new state. */
  async begin(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    // A state that still lies here is older than the guest that is being saved.
    await rm(this.stateFile, { force: true });
    await rm(this.unfinished, { force: true });
  }

  /** Makes the written state the machine's saved state. From here on it survives a power cut. */
  async commit(facts: SavedFacts): Promise<void> {
    await writeFileAtomically(this.factsFile, `${JSON.stringify(facts, null, 2)}\n`);
    const file = await open(this.unfinished, "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(this.unfinished, this.stateFile);
    await syncFolder(this.folder);
  }

  /** Throws the state away, the file that counts first. */
  async discard(): Promise<void> {
    await rm(this.stateFile, { force: true });
    await rm(this.folder, { recursive: true, force: true });
  }
}
