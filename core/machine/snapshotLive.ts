import { join } from "node:path";
import { TerrariumError, toErrorData } from "../contract/errors";
import type { MachineConfig } from "../contract/model";
import { topNode, type LiveLayers, type MonitorCommand } from "../engine/engine";
import { fileError } from "../storage/fileErrors";
import { growDisks } from "./growth";
import type { Machine } from "./machine";
import { saveState, type StateRoute } from "./migration";
import type { Run } from "./run";
import { savedFacts, type SavedFacts } from "./saved";
import { parts, snapshotFolder, writeSnapshot } from "./snapshotFile";
import { copyVariables, makeSnapshotFolder, type Taking } from "./snapshotTake";
import { Undoing } from "./undoing";

/*
 * Taking a snapshot of a machine that runs. The guest stands still only while its layers are switched and its memory is written:
 *
 *   new layers, open ─▶ snapshots/<id>/ ─▶ machine.json with the new layers ─▶ stop
 *     ─▶ all disks to their new layers at once ─▶ variables, memory ─▶ the guest goes on ─▶ snapshot.json
 *
 * machine.json names the new layers before they are written to: they are empty until then, and with them it reads the same. So
 * whatever is written to afterwards is named. From the switch on the new layers stay, also when there will be no snapshot.
 * A host service that dies while the guest stands still has noted that it does, and the next one lets it go on.
 */

export interface LiveTaking extends Taking {
  readonly machine: Machine;
  readonly layers: LiveLayers;
  readonly route: StateRoute;
  /** What a state depends on that the configuration does not say. */
  readonly facts: Readonly<Record<string, string>>;
  progress(detail: string): void;
}

export async function takeLive({ folder, config, about, save, steps, signal, machine, layers, route, facts, progress }: LiveTaking): Promise<void> {
  const run = machine.live();
  const tell = async (command: MonitorCommand): Promise<void> => {
    await steps.at("monitor", command.execute);
    await run.tell([command]);
  };
  const undoing = new Undoing();
  let isSwitched = false;
  try {
    const tops = await writtenNodes(run, config, layers);
    const growth = await growDisks(folder, config.disks, steps);
    undoing.add(() => growth.undo());
    for (const disk of growth.disks) {
      await tell(layers.open(disk, folder));
      // A machine process that is gone has closed it.
      undoing.add(async () => void (run.session.qmp.isClosed || (await tell(layers.close(topNode(disk))))));
    }
    undoing.add(() => steps.removeTree(snapshotFolder(folder, about.id)));
    const place = await makeSnapshotFolder(folder, about.id, steps);
    await steps.write(join(place, parts.screenshot), await machine.picture());
    signal.throwIfAborted();
    undoing.add(() => save(config));
    await save({ ...config, disks: growth.disks, snapshot: about.id });
    let state: SavedFacts | undefined;
    await machine.whileStopped((command) => steps.at("monitor", command), async () => {
      if (growth.disks.length > 0) await tell(layers.switchTo(growth.disks.map((disk) => ({ node: tops.get(disk.id) ?? "", overlay: topNode(disk) }))));
      isSwitched = true;
      await copyVariables(folder, place, steps);
      progress("Writing memory and devices");
      await steps.at("monitor", "migrate");
      state = savedFacts(config, { id: about.engine, facts }, { savedAt: about.takenAt, identified: run.identified });
      await saveState(run.session.qmp, join(place, parts.state), route, signal);
    });
    signal.throwIfAborted();
    progress("Making it safe");
    await steps.sync(join(place, parts.state));
    await steps.syncFolder(place);
    await writeSnapshot(place, { ...about, ...(run.facts.command ? { command: run.facts.command } : {}), config, state: state ?? null }, steps);
  } catch (failure) {
    const why = failure === signal.reason ? failure : fileError(failure, "The snapshot could not be taken", folder);
    if (!isSwitched) throw await undoing.because(why);
    // The guest writes to the new layers by now: they stay.
    await steps.removeTree(snapshotFolder(folder, about.id)).catch((second: unknown) => machine.log.event(`what there was of a snapshot could not be removed: ${toErrorData(second).message}`));
    throw why;
  }
}

/** The block nodes that the disks are written to by. @throws TerrariumError when the machine process has other disks than the configuration */
async function writtenNodes(run: Run, config: MachineConfig, { tops }: LiveLayers): Promise<ReadonlyMap<string, string>> {
  const nodes = tops.nodes(await run.session.qmp.execute(tops.ask.execute, tops.ask.arguments));
  const missing = config.disks.find((disk) => !nodes.has(disk.id));
  if (missing) throw new TerrariumError("illegal-state", `The running machine has no disk ${missing.id}.`, "Shut the machine down first.");
  return nodes;
}
