import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatSize } from "../base/bytes";
import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import { TerrariumError } from "../contract/errors";
import type { JobInfo, MachineConfig, PauseReason, TrashEntry } from "../contract/model";
import type { ProcedureParsed } from "../contract/procedures";
import type { SnapshotId, SnapshotInfo, SnapshotPlan, SnapshotTree } from "../contract/snapshot";
import { fileError, isMissing } from "../storage/fileErrors";
import type { Steps } from "../storage/steps";
import { readHomeLayers } from "./homeLayers";
import { diskSpace } from "./hostFacts";
import type { JobControl, Jobs } from "./jobs";
import { machineOf, removeDoomed, removeUnwrittenOrphans } from "./layerTidying";
import type { Machine } from "./machine";
import { bytesOnDisk, isThere } from "./machineFolders";
import type { Registry } from "./registry";
import { savedDifference, savedFacts } from "./saved";
import { parts, readSnapshot, readSnapshots, snapshotFolder, snapshotsFolder, usable, writeSnapshot, type Snapshot, type SnapshotRecord } from "./snapshotFile";
import { planDelete, planRestore, planTake } from "./snapshotPlan";
import { holdsChanges, restoredConfig } from "./snapshotConfig";
import { recoverSnapshots } from "./snapshotRecovery";
import { recoverRestoring, restoreOff } from "./snapshotRestore";
import { takeLive } from "./snapshotLive";
import { compressState, stateBytes } from "./snapshotState";
import { takeOff } from "./snapshotTake";
import { ancestorsOfNow, describe, describeTree, type Grown } from "./snapshotTree";
import { withoutFolder } from "./trash";

/** What snapshots need of the host service around them. */
export interface SnapshotSurroundings {
  readonly registry: Registry;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly steps: Steps;
  /** @throws TerrariumError `not-found` */
  machine(id: string): Machine;
  /** The engines of the host are known. */
  enginesKnown(config: MachineConfig): Promise<void>;
  /** Snapshots came, went or changed, or the machine is elsewhere among them. */
  changed(id: string, tree: SnapshotTree): void;
}

/**
 * The snapshots of the home's machines. Whatever changes layers holds the machine as a job, or happens in its turn; what is
 * in the folder of a machine is the truth, and nothing of it is kept here.
 */
export class Snapshots {
  constructor(private readonly around: SnapshotSurroundings) {}

  async tree(id: string): Promise<SnapshotTree> {
    return describeTree(await this.grown(id));
  }

  async plan(input: ProcedureParsed<"snapshot.plan">): Promise<SnapshotPlan> {
    const machine = this.around.machine(input.id);
    const grown = await this.grown(input.id);
    const [layers, { diskFreeBytes }] = await Promise.all([readHomeLayers(this.around.registry), diskSpace(grown.folder)]);
    const looked = { grown, layers, freeBytes: diskFreeBytes, machine };
    const plan = input.operation === "take" ? await planTake(looked) : input.operation === "restore" ? await planRestore(looked, find(grown, input.snapshot), input.keep) : await planDelete(looked, find(grown, input.snapshot));
    const refused = await refusalOf(() => {
      machine.require(input.operation === "take" ? "takeSnapshot" : input.operation === "restore" ? "restoreSnapshot" : "editSnapshots");
      if (input.operation !== "delete") this.requireAble(machine, grown.config, input.operation === "take" || input.keep);
      if (input.operation === "restore") return this.requireRestorable(machine, grown, usable(find(grown, input.snapshot)));
    });
    return { ...plan, ...(refused ? { refusal: refused } : {}) };
  }

  async take({ id, name, description }: ProcedureParsed<"snapshot.take">): Promise<{ snapshot: SnapshotId; job: JobInfo }> {
    const machine = this.around.machine(id);
    return machine.inTurn("takeSnapshot", async () => {
      await this.around.registry.refresh(id);
      const { config } = this.configured(id);
      await this.around.enginesKnown(config);
      this.requireAble(machine, config, true);
      const snapshot = newId();
      const job = this.around.jobs.run({ kind: "take-snapshot", title: `Take the snapshot “${name}” of ${machine.name}`, machineId: id, cancellable: true }, async (control) => {
        await this.takeNow(machine, { id: snapshot, name, ...(description === undefined ? {} : { description }) }, control);
        await this.tidy(machine);
      });
      return { snapshot, job };
    });
  }

  async restore({ id, snapshot, keep, start }: ProcedureParsed<"snapshot.restore">): Promise<{ job: JobInfo }> {
    const machine = this.around.machine(id);
    return machine.inTurn("restoreSnapshot", async () => {
      await this.around.registry.refresh(id);
      const grown = await this.grown(id);
      const record = usable(find(grown, snapshot));
      this.requireAble(machine, grown.config, keep !== undefined);
      await this.around.enginesKnown(record.config);
      await this.requireRestorable(machine, grown, record);
      const job = this.around.jobs.run({ kind: "restore-snapshot", title: `Restore the snapshot “${record.name}” of ${machine.name}`, machineId: id, cancellable: true }, (control) => this.restoreNow(machine, record, keep, start ?? record.was === "running", control));
      return { job };
    });
  }

  async remove({ id, snapshot }: ProcedureParsed<"snapshot.delete">): Promise<TrashEntry> {
    const machine = this.around.machine(id);
    return machine.inTurn("editSnapshots", async () => {
      const entry = await this.moveToTrash(machine, snapshot);
      await this.tell(machine);
      return entry;
    });
  }

  async set({ id, snapshot, name, description }: ProcedureParsed<"snapshot.set">): Promise<SnapshotInfo> {
    const machine = this.around.machine(id);
    return machine.inTurn("editSnapshots", async () => {
      const { folder, record } = requireUsable(find(await this.grown(id), snapshot));
      const next: SnapshotRecord = { ...record, name: name ?? record.name };
      if (description === "") delete next.description;
      else if (description !== undefined) next.description = description;
      await writeSnapshot(folder, next, this.around.steps);
      await this.tell(machine);
      const grown = await this.grown(id);
      return describe(find(grown, snapshot), grown);
    });
  }

  async screenshot({ id, snapshot }: ProcedureParsed<"snapshot.screenshot">): Promise<{ png: string | null }> {
    const { folder } = find(await this.grown(id), snapshot);
    try {
      return { png: (await readFile(join(folder, parts.screenshot))).toString("base64") };
    } catch (failure) {
      if (isMissing(failure)) return { png: null };
      throw fileError(failure, "The picture could not be read", folder, "read");
    }
  }

  /** Brings a deleted snapshot back. @throws TerrariumError `not-found` when its machine is gone or in the trash itself. */
  async undelete(entry: TrashEntry): Promise<void> {
    const { registry, steps } = this.around;
    const { snapshot } = entry;
    if (snapshot === undefined) throw new TerrariumError("internal", "A machine was taken for a snapshot.");
    if (!registry.has(entry.machineId)) throw new TerrariumError("not-found", `The machine of the snapshot “${entry.name}” is not there.`, "Restore the machine from the trash first.");
    const machine = this.around.machine(entry.machineId);
    await machine.inTurn("editSnapshots", async () => {
      const place = snapshotFolder(machine.folder, snapshot);
      if (await isThere(place)) throw new TerrariumError("illegal-state", `The snapshot “${entry.name}” is there already.`, `Look at ${place}.`);
      await registry.changeTrash(async (trash) => {
        const { folder } = await trash.get(entry.id);
        if (!(await isThere(snapshotsFolder(machine.folder)))) await steps.makeFolder(snapshotsFolder(machine.folder));
        await steps.rename(folder, place);
        await trash.removeShell(entry.id);
      });
      await this.tell(machine);
    });
  }

  /** Deletes a snapshot in the trash for good, with the layers that only it needed. Cancelling works until it has begun. */
  async purge(entry: TrashEntry, signal: AbortSignal): Promise<void> {
    const { registry, steps, log } = this.around;
    const work = async (): Promise<void> => {
      signal.throwIfAborted();
      await registry.changeTrash(async (trash) => removeDoomed(await trash.doom(entry.id), entry.machineId, registry, steps, log));
    };
    if (!registry.has(entry.machineId)) return work();
    const machine = this.around.machine(entry.machineId);
    await machine.inTurn(machine.state === "broken" ? undefined : "editSnapshots", work);
    await this.tell(machine);
  }

  /** A machine was deleted for good, and its deleted snapshots with it. */
  async purgeOf(machineId: string, signal: AbortSignal): Promise<void> {
    if (this.around.registry.has(machineId)) return;
    for (const entry of await this.around.registry.listTrash()) if (entry.machineId === machineId && entry.snapshot !== undefined) await this.purge(entry, signal);
  }

  /** Puts in order what a crash has left of a machine's snapshots, before the machine itself is looked at. */
  async recover(machine: Machine): Promise<void> {
    const { registry, steps } = this.around;
    if (!machine.config) return;
    await recoverSnapshots(machine.folder, machine.config, steps);
    await removeUnwrittenOrphans(machine.folder, registry, steps);
  }

  /** Goes on with the deleting for good that a crash has interrupted. Every machine is known. */
  async recoverTrash(): Promise<void> {
    const { registry, steps, log } = this.around;
    await registry.changeTrash(async (trash) => {
      for (const doomed of await trash.doomed()) await removeDoomed(doomed, await machineOf(doomed), registry, steps, log);
    });
  }

  /** Before a start: a restoring that failed after it was decided is finished, or the machine does not start. */
  async finishRestoring(folder: string, config: MachineConfig): Promise<void> {
    await recoverRestoring(folder, config, this.around.steps);
  }

  /** Tells how the snapshots are by now. */
  async tell(machine: Machine): Promise<void> {
    if (machine.config) this.around.changed(machine.id, await this.tree(machine.id));
  }

  // --- the work

  /** Takes a snapshot of a machine that the caller holds. */
  private async takeNow(machine: Machine, about: Pick<SnapshotRecord, "id" | "name" | "description">, control: JobControl): Promise<void> {
    const grown = await this.grown(machine.id);
    const { config, folder } = grown;
    const { steps, clock, log } = this.around;
    const { signal } = control;
    const engine = machine.engineOf(config);
    const { state } = machine;
    const was = state === "saved" || state === "running" || state === "paused" ? state : "off";
    const taking = {
      ...{ folder, config, steps, signal },
      about: { ...about, ancestors: ancestorsOfNow(grown), takenAt: clock.now(), was, engine: engine.id } as const,
      save: (next: MachineConfig) => this.save(machine.id, next),
    };
    const { layers } = engine.live;
    if (machine.isLive && layers) {
      machine.requireRestorable();
      const { facts } = machine.stateFacts(config, engine.id);
      const route = { transport: engine.info.capabilities.stateTransport, runDir: machine.runDir };
      await takeLive({ ...taking, machine, layers, route, facts, progress: (detail) => control.progress(undefined, detail) });
      control.progress(undefined, "Compressing its memory");
      // The snapshot is there; what is written of its memory only takes more room.
      await compressState(snapshotFolder(folder, about.id), steps, signal).catch((error: unknown) => log.warn(`the memory of a snapshot of ${machine.name} was not compressed: ${String(error)}`));
    } else await takeOff(taking);
    machine.log.event(`snapshot taken: ${about.name}`);
  }

  private async restoreNow(machine: Machine, record: SnapshotRecord, keep: string | undefined, start: boolean, control: JobControl): Promise<void> {
    const { steps, clock, registry } = this.around;
    if (keep !== undefined) await this.takeNow(machine, { id: newId(), name: keep }, control);
    control.signal.throwIfAborted();
    if (machine.isLive) {
      control.progress(undefined, "Powering off");
      await machine.cutPower();
    }
    control.progress(undefined, "Restoring disks and settings");
    const aside = keep === undefined && (await holdsChanges(await this.grown(machine.id))) ? newId() : undefined;
    if (aside !== undefined) await this.takeNow(machine, { id: aside, name: asideName(record) }, control);
    try {
      const { config, folder } = this.configured(machine.id);
      const taken = registry.list().flatMap((other) => (other.id === machine.id ? [] : (other.config?.adapters ?? []).map(({ mac }) => mac)));
      await restoreOff({
        ...{ folder, record, steps, signal: control.signal, before: config },
        from: snapshotFolder(folder, record.id),
        config: restoredConfig(config, record, taken),
        now: clock.now(),
        save: (next) => this.save(machine.id, next),
      });
      machine.log.event(`snapshot restored: ${record.name}`);
    } finally {
      if (aside !== undefined) await this.moveToTrash(machine, aside);
      await machine.reconsider();
      await this.tidy(machine);
    }
    if (start) await machine.startIn(control);
  }

  /** Removes what nothing needs, and tells how the snapshots are by now. */
  private async tidy(machine: Machine): Promise<void> {
    const { registry, steps, log } = this.around;
    await removeUnwrittenOrphans(machine.folder, registry, steps).catch((error: unknown) => log.warn(`the layers of ${machine.name} could not be tidied: ${String(error)}`));
    await this.tell(machine);
  }

  private async moveToTrash(machine: Machine, id: SnapshotId): Promise<TrashEntry> {
    const { registry } = this.around;
    const { folder, record } = find(await this.grown(machine.id), id);
    const layers = await readHomeLayers(registry);
    let bytes = await bytesOnDisk(folder);
    for (const layer of layers?.neededOnlyBy((owner) => owner.machineId === machine.id && owner.snapshot === id) ?? []) bytes += await bytesOnDisk(layer);
    const entry = await registry.changeTrash((trash) => trash.putSnapshot({ id, folder, machineId: machine.id, name: `${record?.name ?? id} (snapshot of ${machine.name})`, bytes }));
    machine.log.event(`snapshot deleted: ${record?.name ?? id}`);
    return withoutFolder(entry);
  }

  private async save(id: string, config: MachineConfig): Promise<void> {
    const { registry } = this.around;
    if (JSON.stringify(registry.get(id).config) !== JSON.stringify(config)) await registry.update(id, config);
  }

  // --- what there is, and what may be done

  private configured(id: string): { config: MachineConfig; folder: string } {
    const { config, folder, problem } = this.around.registry.get(id);
    if (!config) throw new TerrariumError("broken", problem?.message ?? "The machine's configuration cannot be used.", problem?.remedy);
    return { config, folder };
  }

  private async grown(id: string): Promise<Grown> {
    const { config, folder } = this.configured(id);
    const entries = (await this.around.registry.listTrash()).filter((entry) => entry.machineId === id && entry.snapshot !== undefined);
    const trashed: Snapshot[] = [];
    for (const entry of entries) {
      const snapshot = await readSnapshot(entry.folder);
      if (snapshot) trashed.push(snapshot);
    }
    return { config, folder, snapshots: await readSnapshots(folder), trashed };
  }

  /** @param takes a snapshot of the machine as it is now is to be taken */
  private requireAble(machine: Machine, config: MachineConfig, takes: boolean): void {
    const { label, capabilities } = machine.engineOf(config).info;
    if (capabilities.snapshots === "none") throw new TerrariumError("unsupported", `${label} cannot take or restore snapshots yet.`, "Run the machine on QEMU: its disks can have layers there.");
    const { pauseReason } = machine.info();
    if (takes && pauseReason !== undefined && pauseReason !== "user") throw new TerrariumError("illegal-state", `${machine.name} stands still because ${pauseWords[pauseReason]}; a snapshot of it would hold that.`, "Put that right and resume the machine, or power it off.");
    if (takes && machine.isLive && capabilities.snapshots !== "live") throw new TerrariumError("unsupported", `${label} cannot take a snapshot of a machine that runs yet.`, "Shut the machine down, or save it; its memory is then part of the snapshot.");
  }

  private async requireRestorable(machine: Machine, grown: Grown, record: SnapshotRecord): Promise<void> {
    const { problem } = await describe(find(grown, record.id), grown);
    if (problem) throw new TerrariumError(problem.code, problem.message, problem.remedy);
    if (!record.state) return;
    const { state } = record;
    const { engine, facts } = machine.stateFacts(record.config, state.engine);
    if (!engine.info.available) throw new TerrariumError("unavailable", engine.info.problem?.message ?? `${engine.info.label} is not available.`, engine.info.problem?.remedy);
    const difference = savedDifference(state, savedFacts(record.config, { id: engine.id, facts }, state));
    if (difference !== undefined) throw new TerrariumError("illegal-state", `The snapshot “${record.name}” cannot be restored with its memory on this computer: ${difference}.`, "Use the engine and the settings it was taken with.");
    const { diskFreeBytes } = await diskSpace(grown.folder);
    const bytes = (await stateBytes(snapshotFolder(grown.folder, record.id), record.config)).unpacked;
    if (bytes > diskFreeBytes) throw new TerrariumError("disk-full", `Restoring takes up to ${formatSize(bytes)}, and ${formatSize(diskFreeBytes)} are free.`, "Free some space, for example by emptying the trash.");
  }
}

const pauseWords: Readonly<Record<Exclude<PauseReason, "user">, string>> = {
  snapshot: "a snapshot is being taken",
  "disk-full": "the host's disk is full",
  "io-error": "one of its disks could not be read or written",
  "guest-panic": "its guest has panicked",
};

function newId(): SnapshotId {
  return randomBytes(6).toString("hex");
}

function asideName({ name }: SnapshotRecord): string {
  return [...`Before restoring “${name}”`].slice(0, 120).join("");
}

function find({ snapshots }: Grown, id: SnapshotId): Snapshot {
  const found = snapshots.find((snapshot) => snapshot.id === id);
  if (!found) throw new TerrariumError("not-found", `The machine has no snapshot ${id}.`, "Look at its snapshots again; it may be in the trash.");
  return found;
}

function requireUsable(snapshot: Snapshot): { folder: string; record: SnapshotRecord } {
  return { folder: snapshot.folder, record: usable(snapshot) };
}

async function refusalOf(check: () => Promise<void> | void): Promise<SnapshotPlan["refusal"]> {
  try {
    await check();
    return undefined;
  } catch (error) {
    if (error instanceof TerrariumError) return error.toData();
    throw error;
  }
}
