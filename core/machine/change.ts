import { TerrariumError, toErrorData } from "../contract/errors";
import type { DiskConfig, MachineConfig, MachinePatch } from "../contract/model";
import type { Engine } from "../engine/engine";
import { changeDisks, type DiskChange, type FillControl, type ImageTools } from "./creation";
import { letGo, liveCards } from "./liveCards";
import type { Machine } from "./machine";
import { kindOfChange, patched, type ChangeKind } from "./settings";

export interface ChangeTools {
  readonly engine: Engine;
  /** Writes the configuration. */
  save(config: MachineConfig): Promise<void>;
  /** Leads cables where the configuration says by now. */
  rewire(): Promise<void>;
}

/** Refuses a change that the machine's state or its engine does not allow now. @throws TerrariumError with the reason. */
export function requireChange(machine: Machine, config: MachineConfig, patch: MachinePatch, engine: Engine): ChangeKind {
  const kind = kindOfChange(config, patch);
  const { hotPlugDisks, hotPlugAdapters, diskLimits } = engine.info.capabilities;
  // Names and notes may change at any time; the table decides about the rest.
  if (kind.hardware || (kind.disks && !hotPlugDisks)) machine.require("configure");
  else if (kind.disks) machine.require("plugDisk");
  if (kind.adapters && !hotPlugAdapters) machine.require("configure");
  else if (kind.adapters) machine.require(kind.adapters === "more" ? "plugAdapter" : "unplugAdapter");
  if (kind.disks && machine.isLive) requirePluggable(config, patch);
  if (kind.adapters === "more" && machine.isLive) requireModels(config, patch, engine);
  if (kind.medium) machine.require("changeMedium");
  if (kind.links) machine.require("setLink");
  if (kind.limits) machine.require("setLimits");
  if (kind.limits && !diskLimits && (patch.disks ?? []).some((disk) => disk.limits)) {
    throw new TerrariumError("unsupported", `${engine.info.label} cannot hold a disk back.`, "Leave the limits empty, or choose another engine.");
  }
  return kind;
}

function requirePluggable(config: MachineConfig, patch: MachinePatch): void {
  const leaving = config.disks.filter((disk) => (patch.removeDisks ?? []).includes(disk.id));
  const fixed = [...leaving, ...(patch.addDisks ?? [])].find((disk) => (disk.bus ?? "virtio") !== "virtio");
  if (fixed) throw new TerrariumError("unsupported", `A disk on ${fixed.bus === "sata" ? "SATA" : "SCSI"} cannot be plugged in or taken out while the machine runs.`, "Shut the machine down first, or use a virtio disk.");
}

/** An engine that is chosen by what the machine has stays the one that runs it. */
function requireModels(config: MachineConfig, { adapters = [] }: MachinePatch, { info }: Engine): void {
  const unknown = adapters.slice(config.adapters.length).find(({ model = "virtio" }) => !info.capabilities.adapterModels.includes(model));
  if (unknown) throw new TerrariumError("unsupported", `${info.label} has no adapter of the model ${unknown.model}.`, "Leave the model out, or shut the machine down first.");
}

/** Whether making the disks of a change takes long: then it is work for a job. */
export function copiesImages({ addDisks = [] }: MachinePatch): boolean {
  return addDisks.some((disk) => "image" in disk && disk.mode === "copy");
}

/**
 * Makes the files of the disks that come, and leaves everything else for `changeMachine`. Nothing remains when it fails or is cancelled.
 * @param isNeeded something else needs a file of a disk that goes, such as a snapshot
 */
export async function makeAddedDisks(machine: Machine, config: MachineConfig, patch: MachinePatch, kind: ChangeKind, images: ImageTools, control: FillControl, isNeeded: (path: string) => Promise<boolean>): Promise<DiskChange | undefined> {
  return kind.disks ? changeDisks(machine.folder, config, { add: patch.addDisks ?? [], remove: patch.removeDisks ?? [] }, images, control, isNeeded) : undefined;
}

/**
 * Changes settings that were allowed: in the running machine, where it runs, and in its file. Nothing is left half done.
 * @param change what `makeAddedDisks` has made for it
 */
export async function changeMachine(machine: Machine, config: MachineConfig, patch: MachinePatch, kind: ChangeKind, change: DiskChange | undefined, tools: ChangeTools): Promise<void> {
  const { engine, save } = tools;
  const next = patched(config, patch, change?.disks ?? config.disks);
  const live = machine.isLive ? new LiveChange(machine, engine, config, next) : undefined;
  try {
    if (kind.medium) await live?.changeMedium();
    if (change) await live?.changeDisks();
    if (kind.adapters) await live?.changeAdapters();
    if (kind.limits) await live?.changeLimits();
    await save(next);
  } catch (error) {
    // Files may only go when the running machine has let go of them.
    await live?.undo().catch((second: unknown) => Promise.reject(bothOf(error, second)));
    await change?.undo().catch((second: unknown) => Promise.reject(bothOf(error, second)));
    throw error;
  }
  await change?.commit();
  if (kind.links) await moveCables(machine, config, next, tools);
  machine.log.event(`settings changed: ${Object.keys(patch).join(", ")}`);
}

/** Why a change failed comes first, and then that it could not be taken back. */
function bothOf(first: unknown, second: unknown): TerrariumError {
  const { code, message, remedy } = toErrorData(first);
  return new TerrariumError(code, `${message} What had been changed could not be taken back: ${toErrorData(second).message}`, ["Shut the machine down, then look at its settings.", remedy].filter((part) => part !== undefined).join(" "), { cause: first });
}

/** How long a cable that leads elsewhere now is pulled, milliseconds: Linux tells of a link that went down within a second. */
const pulledMs = 1200;

async function moveCables(machine: Machine, before: MachineConfig, after: MachineConfig, { rewire }: ChangeTools): Promise<void> {
  const moved = after.adapters.flatMap(({ attachment, plugged }, slot) => (plugged && before.adapters[slot]?.plugged && JSON.stringify(attachment) !== JSON.stringify(before.adapters[slot]?.attachment) ? [slot] : []));
  // A card that was plugged in just now has its link down, and keeps it so until its cable leads somewhere.
  const added = after.adapters.slice(before.adapters.length).map((_, place) => before.adapters.length + place);
  await pullCables(machine, moved, rewire, added);
}

/**
 * A guest asks for an address when its link comes up, so a cable is pulled for a moment while it is led elsewhere, or while
 * the network it leads to gets other addresses. Does nothing when the machine does not run.
 * @param moved slots of the cables
 * @param added slots of cards whose links come up only then
 */
export async function pullCables(machine: Machine, moved: readonly number[], rewire: ChangeTools["rewire"], added: readonly number[] = []): Promise<void> {
  const run = machine.current;
  if (!run) return;
  await run.applyLinks([...moved, ...added]);
  // What cannot be had of the fabric is the adapter's problem, and the cable is led there when it can.
  await rewire().catch((error: unknown) => machine.log.event(`the cables could not be led elsewhere yet: ${toErrorData(error).message}`));
  if (moved.length > 0) await new Promise<void>((resolve) => machine.clock.schedule(pulledMs, resolve));
  if (moved.length + added.length > 0) await machine.current?.applyLinks();
}

/** Changes of a machine that runs, with what takes them back. */
class LiveChange {
  private readonly undoing: (() => Promise<void>)[] = [];

  constructor(
    private readonly machine: Machine,
    private readonly engine: Engine,
    private readonly before: MachineConfig,
    private readonly after: MachineConfig,
  ) {}

  async changeMedium(): Promise<void> {
    await this.insert(this.after.drives[0]?.medium ?? null);
    this.undoing.push(() => this.insert(this.before.drives[0]?.medium ?? null));
  }

  async changeDisks(): Promise<void> {
    for (const disk of this.before.disks) {
      if (this.after.disks.some((other) => isSameDisk(disk, other))) continue;
      await this.unplug(disk);
      this.undoing.push(() => this.plug(disk));
    }
    for (const disk of this.after.disks) {
      if (this.before.disks.some((other) => isSameDisk(disk, other))) continue;
      await this.plug(disk);
      this.undoing.push(() => this.unplug(disk));
    }
  }

  async changeAdapters(): Promise<void> {
    const [before, after] = [this.before.adapters.length, this.after.adapters.length];
    const cards = liveCards(this.machine, this.engine);
    for (let slot = before; slot < after; slot++) {
      await cards.plug(this.after, slot);
      this.undoing.push(() => cards.unplug(slot));
    }
    for (let slot = before - 1; slot >= after; slot--) {
      await cards.unplug(slot);
      this.undoing.push(() => cards.plug(this.before, slot));
    }
  }

  async changeLimits(): Promise<void> {
    const { limitDisk } = this.engine.live;
    if (!limitDisk) return;
    for (const disk of this.after.disks) {
      await this.machine.live().tell([limitDisk(disk)]);
      const former = this.before.disks.find((other) => isSameDisk(disk, other));
      if (former) this.undoing.push(() => this.machine.live().tell([limitDisk(former)]));
    }
  }

  /** Takes back what was done, the latest first, as much as can be. From a machine process that is gone there is nothing to take. @throws what the first step that failed did. */
  async undo(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.undoing.splice(0).reverse()) {
      const run = this.machine.current;
      if (run === undefined || run.session.qmp.isClosed) return;
      await step().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  private async insert(medium: string | null): Promise<void> {
    const { qmp } = this.machine.live().session;
    if (medium === null) await qmp.execute("eject", { id: "cd0", force: true });
    else await qmp.execute("blockdev-change-medium", { id: "cd0", filename: medium, format: "raw", "read-only-mode": "read-only", force: true });
  }

  private async plug(disk: DiskConfig): Promise<void> {
    const steps = this.engine.live.plugDisk?.(disk, this.machine.folder, this.after);
    if (!steps) throw new TerrariumError("unsupported", `${this.engine.info.label} cannot plug in a disk while the machine runs.`, "Shut the machine down first.");
    // A host service that was killed while it plugged a disk has left it there, and nobody knows of it.
    if ((await this.openNodes(disk)).length > 0) await this.unplug(disk);
    const run = this.machine.live();
    const [first, ...rest] = steps.commands;
    if (first) await run.tell([first]);
    try {
      await run.tell(rest);
    } catch (error) {
      await run.tell(steps.undo);
      throw error;
    }
  }

  /** The guest has a say in this: a mounted disk is busy. */
  private async unplug(disk: DiskConfig): Promise<void> {
    const steps = this.engine.live.unplugDisk?.(disk);
    if (!steps) throw new TerrariumError("unsupported", `${this.engine.info.label} cannot take out a disk while the machine runs.`, "Shut the machine down first.");
    await letGo(this.machine, steps, disk.id, "Unmount the disk in the guest and try again, or shut the machine down first.");
    await this.closeNodes(disk);
  }

  /** Closes what is open of a disk that no device uses any more. Layers that were opened with the one above are gone with it; one that another lies on comes after that. */
  private async closeNodes(disk: DiskConfig): Promise<void> {
    const { closeNode } = this.engine.live;
    if (!closeNode) return;
    for (let open = await this.openNodes(disk); open.length > 0; ) {
      let refused: unknown;
      for (const name of open) await this.machine.live().tell([closeNode(name)]).catch((error: unknown) => (refused = error));
      const left = await this.openNodes(disk);
      if (left.length === open.length) throw refused;
      open = left;
    }
  }

  /** The block nodes of the disk's place that the machine process has open. A machine process of an earlier version calls the only one as the disk. */
  private async openNodes(disk: DiskConfig): Promise<string[]> {
    const { openNodes } = this.engine.live;
    if (!openNodes) return [];
    const names = openNodes.names(await this.machine.live().session.qmp.execute(openNodes.ask.execute, openNodes.ask.arguments));
    return names.filter((name) => name === disk.id || name.startsWith(`${disk.id}-`));
  }
}

/** A disk whose place another one takes is not the same. */
function isSameDisk(one: DiskConfig, other: DiskConfig): boolean {
  return one.id === other.id && JSON.stringify(one.layers) === JSON.stringify(other.layers);
}
