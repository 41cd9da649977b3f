import { TerrariumError, toErrorData } from "../contract/errors";
import type { Blueprint } from "./blueprint";
import type { JobControl } from "./jobs";
import type { MachineLog } from "./machineLog";
import type { Run, RunSurroundings } from "./run";
import { SavedState, savedDifference, savedFacts } from "./saved";
import { comeUp, StateUnusable, type Origin } from "./startUp";
import type { Surroundings } from "./surroundings";

const discardRemedy = "Discard the saved state; the machine then boots as after a power cut.";

/** What bringing a machine up needs of it. */
export interface Startable {
  readonly blueprint: Blueprint;
  readonly around: Surroundings;
  readonly log: MachineLog;
  runSurroundings(): RunSurroundings;
  /** There is a machine process now. */
  take(run: Run): void;
  /** The run that was taken. @throws TerrariumError when it has ended. */
  live(): Run;
  /** Ends a run that did not come up. */
  abandon(): Promise<void>;
}

/**
 * Starts a machine from the best there is: where it was saved, from its pre-booted state, or from power on. Whoever
 * called ends the run that did not come up.
 */
export async function bringUp(machine: Startable, job: JobControl): Promise<void> {
  const { blueprint, around } = machine;
  await around.enginesKnown(blueprint.usable().config);
  const { config, engine } = blueprint.usable();
  const { available, problem, label } = engine.info;
  if (!available) throw new TerrariumError("unavailable", problem?.message ?? `${label} is not available.`, problem?.remedy);
  await around.checkStart(blueprint.registered, config);
  const saved = new SavedState(blueprint.folder);
  if (await saved.exists()) return startSaved(machine, job, saved);
  const states = engine.info.capabilities.preBooted ? around.states() : undefined;
  const key = states?.keyFor(config);
  const file = key === undefined ? undefined : await states?.find(key);
  if (states && key !== undefined && file !== undefined) {
    try {
      job.progress(undefined, "Restoring the pre-booted state");
      await startFrom(machine, job, { from: "pre-booted", file });
      return;
    } catch (error) {
      if (!(error instanceof StateUnusable)) throw error;
      await machine.abandon();
      await states.failed(key, error.damaged);
      around.notify({ level: "warning", message: `${blueprint.name} could not use its pre-booted state and boots from the beginning instead. ${error.reason.message}`, machineId: blueprint.id });
      machine.log.event(`the pre-booted state could not be used: ${error.reason.message}`);
    }
  }
  job.progress(undefined, key === undefined ? "Starting" : "Booting from the beginning; the next start will be instant");
  await startFrom(machine, job, { from: "cold" });
}

async function startSaved(machine: Startable, job: JobControl, saved: SavedState): Promise<void> {
  const { blueprint, around } = machine;
  const { name, id } = blueprint;
  const { config, engine } = blueprint.usable();
  const facts = await saved.facts();
  if (!facts) throw new TerrariumError("broken", `The saved state of ${name} cannot be used: it does not say what it was saved on.`, discardRemedy);
  const difference = savedDifference(facts, savedFacts(config, { id: engine.id, facts: blueprint.plan(config, engine).facts }, facts));
  if (difference !== undefined) {
    throw new TerrariumError("illegal-state", `The saved state of ${name} does not fit the machine any more: ${difference}.`, "Put the setting back, or discard the saved state; the machine then boots as after a power cut.");
  }
  job.progress(undefined, "Restoring memory and devices");
  try {
    await startFrom(machine, job, { from: "saved", file: saved.stateFile, identified: facts.identified, savedAt: facts.savedAt });
  } catch (error) {
    if (error instanceof StateUnusable) throw new TerrariumError("engine-failed", error.reason.message, discardRemedy, { cause: error });
    throw error;
  }
  // The guest goes on and changes its disks: the state must never be used again. Its memory is here alone now, and what fails from here on must not end it.
  const run = machine.live();
  // When this fails, the record still says that the state is used up, and it goes when the run ends.
  await saved.discard().catch((error: unknown) => around.log.error(`the used state of ${name} could not be removed`, error));
  if (!facts.identified) return;
  await run.applyLinks().catch((error: unknown) => {
    around.log.error(`the cables of ${name} could not be plugged`, error);
    around.notify({ level: "warning", message: `${name} goes on where it was saved, but its cables could not be plugged: ${toErrorData(error).message}`, remedy: "Pull the cables in its settings and plug them again.", machineId: id });
  });
  run.guest.setTime().catch((error: unknown) => around.log.info(`the clock of ${name} was not set: ${toErrorData(error).message}`));
}

async function startFrom(machine: Startable, job: JobControl, origin: Origin): Promise<void> {
  const { blueprint, around } = machine;
  const { config, engine } = blueprint.usable();
  await comeUp({
    config,
    engine,
    origin,
    sockets: blueprint.sockets,
    runDir: blueprint.runDir,
    guest: around.guestFiles(),
    imageTool: around.imageTool(),
    around: machine.runSurroundings(),
    signal: job.signal,
    clock: around.clock,
    onRun: (run) => machine.take(run),
    onGuestUp: () => around.prepareForNextTime(config),
  });
}
