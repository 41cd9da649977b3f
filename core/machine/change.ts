import { TerrariumError } from "../contract/errors";
import type { DiskConfig, MachineConfig, MachinePatch } from "../contract/model";
import type { Engine } from "../engine/engine";
import { changeDisks, type DiskChange, type ImageTools } from "./creation";
import type { Machine } from "./machine";
import { kindOfChange, patched, type ChangeKind } from "./settings";

/** How long a guest may take to let go of a disk, milliseconds. */
const unpluggingMs = 30_000;

export interface ChangeTools {
  readonly engine: Engine;
  readonly images: ImageTools;
  /** Writes the configuration. */
  save(config: MachineConfig): Promise<void>;
}

/** Refuses a change that the machine's state or its engine does not allow now. @throws TerrariumError with the reason. */
export function requireChange(machine: Machine, config: MachineConfig, patch: MachinePatch, engine: Engine): ChangeKind {
  const kind = kindOfChange(config, patch);
  const { hotPlugDisks, diskLimits } = engine.info.capabilities;
  // Names and notes may change at any time; the table decides about the rest.
  if (kind.hardware || (kind.disks && !hotPlugDisks)) machine.require("configure");
  else if (kind.disks) machine.require("plugDisk");
  if (kind.disks && machine.isLive) requirePluggable(config, patch);
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

/** Changes settings that were allowed: in the running machine, where it runs, and in its file. Nothing is left half done. */
export async function changeMachine(machine: Machine, config: MachineConfig, patch: MachinePatch, kind: ChangeKind, tools: ChangeTools): Promise<void> {
  const { engine, images, save } = tools;
  if (kind.medium && machine.isLive && patch.medium !== undefined) await changeMedium(machine, patch.medium);
  const change = kind.disks ? await changeDisks(machine.folder, config, { add: patch.addDisks ?? [], remove: patch.removeDisks ?? [] }, images, { signal: new AbortController().signal, progress: () => undefined }) : undefined;
  const next = patched(config, patch, change?.disks ?? config.disks);
  const live = change && machine.isLive ? new LiveDisks(machine, engine, config, next) : undefined;
  try {
    await live?.apply();
    await save(next);
  } catch (error) {
    await undo(live, change);
    throw error;
  }
  await change?.commit();
  if (kind.links) await machine.current?.applyLinks();
  const { limitDisk } = engine.live;
  if (kind.limits && machine.isLive && limitDisk) await machine.live().tell(next.disks.map(limitDisk));
  machine.log.event(`settings changed: ${Object.keys(patch).join(", ")}`);
}

/** Files may only go when the running machine has let go of them. */
async function undo(live: LiveDisks | undefined, change: DiskChange | undefined): Promise<void> {
  await live?.undo();
  await change?.undo();
}

async function changeMedium(machine: Machine, medium: string | null): Promise<void> {
  const { qmp } = machine.live().session;
  if (medium === null) await qmp.execute("eject", { id: "cd0", force: true });
  else await qmp.execute("blockdev-change-medium", { id: "cd0", filename: medium, format: "raw", force: true });
}

/** Disks that come and go in a machine that runs. */
class LiveDisks {
  private readonly plugged: DiskConfig[] = [];
  private readonly unplugged: DiskConfig[] = [];

  constructor(
    private readonly machine: Machine,
    private readonly engine: Engine,
    private readonly before: MachineConfig,
    private readonly after: MachineConfig,
  ) {}

  async apply(): Promise<void> {
    for (const disk of this.before.disks) {
      if (this.after.disks.some(({ id }) => id === disk.id)) continue;
      await this.unplug(disk);
      this.unplugged.push(disk);
    }
    for (const disk of this.after.disks) {
      if (this.before.disks.some(({ id }) => id === disk.id)) continue;
      await this.plug(disk);
      this.plugged.push(disk);
    }
  }

  async undo(): Promise<void> {
    for (const disk of this.plugged.splice(0)) await this.unplug(disk);
    for (const disk of this.unplugged.splice(0)) await this.plug(disk);
  }

  private async plug(disk: DiskConfig): Promise<void> {
    const steps = this.engine.live.plugDisk?.(disk, this.machine.folder, this.after);
    if (!steps) throw new TerrariumError("unsupported", `${this.engine.info.label} cannot plug in a disk while the machine runs.`, "Shut the machine down first.");
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
    const run = this.machine.live();
    const { qmp } = run.session;
    const late = new AbortController();
    const timer = this.machine.clock.schedule(unpluggingMs, () => late.abort());
    const gone = qmp.waitFor((event) => event.event === "DEVICE_DELETED" && event.data["device"] === steps.device, late.signal);
    gone.catch((error: unknown) => void error); // Awaited below.
    try {
      await run.tell([steps.ask]);
      await gone;
    } catch (error) {
      if (!late.signal.aborted) throw error;
      throw new TerrariumError("timeout", `The guest did not let go of ${disk.id} within ${unpluggingMs / 1000} seconds.`, "Unmount the disk in the guest and try again, or shut the machine down first.", { cause: error });
    } finally {
      timer.dispose();
      late.abort();
    }
    await run.tell(steps.then);
  }
}
