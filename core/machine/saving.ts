import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import { TerrariumError } from "../contract/errors";
import type { Blueprint } from "./blueprint";
import type { JobControl } from "./jobs";
import { saveState } from "./migration";
import type { Run } from "./run";
import type { RunRecord } from "./runRecord";
import { SavedState, savedFacts } from "./saved";

/*
 * A machine's saved state through its runs: written at the end of one, used up by the next.
 */

/**
 * Refuses to save a guest that could not be started again from there, before anything of it is stopped: the host has
 * changed since, or an older version allowed what this one refuses.
 */
export function requireRestorable(blueprint: Blueprint): void {
  const { config, engine } = blueprint.usable();
  try {
    blueprint.plan(config, engine);
  } catch (error) {
    if (!(error instanceof TerrariumError)) throw error;
    throw new TerrariumError(error.code, `${blueprint.name} cannot be saved, because it could not be started again from there. ${error.message}`, ["Shut it down instead.", ...(error.remedy === undefined ? [] : [`For the next start: ${error.remedy}`])].join(" "), { cause: error });
  }
}

/** Makes memory and devices of a guest that stands still the machine's saved state. When it fails, nothing of it is left. */
export async function saveRun(run: Run, blueprint: Blueprint, around: { readonly clock: Clock; readonly log: Log }, job: JobControl): Promise<void> {
  const { config, engine } = blueprint.usable();
  const { facts } = blueprint.plan(config, engine);
  const saved = new SavedState(blueprint.folder);
  try {
    await saved.begin();
    await saveState(run.session.qmp, saved.unfinished, { transport: engine.info.capabilities.stateTransport, runDir: blueprint.runDir }, job.signal);
    job.signal.throwIfAborted();
    await saved.commit(savedFacts(config, { id: engine.id, facts }, { savedAt: around.clock.now(), identified: run.identified }));
  } catch (error) {
    // Why the saving failed counts more than that its remains could not be removed.
    await saved.discard().catch((fault: unknown) => around.log.warn(`what was saved of ${blueprint.name} could not be removed: ${String(fault)}`));
    throw error;
  }
}

/** Throws away the state that a run came from: its guest has begun to run, and the memory would not fit its disks any more. A state saved since stays. Answers whether there was one. */
export async function discardUsed(folder: string, record: RunRecord): Promise<boolean> {
  if (record.savedAt === undefined || !record.ran) return false;
  const saved = new SavedState(folder);
  if (!(await saved.exists()) || (await saved.facts())?.savedAt !== record.savedAt) return false;
  await saved.discard();
  return true;
}
