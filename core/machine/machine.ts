import type { Clock } from "../base/clock";
import { DisposableStore } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import { TerrariumError, toErrorData, type ErrorData } from "../contract/errors";
import type { EngineId, JobInfo, MachineConfig, MachineInfo, MachineState, PauseReason, UsageReport } from "../contract/model";
import type { MachineCommand } from "../contract/states";
import type { Engine, LaunchPlan } from "../engine/engine";
import { Blueprint } from "./blueprint";
import { bringUp, type Startable } from "./bringUp";
import { describeCrash } from "./crash";
import { bytesOnDisk, type RegisteredMachine } from "./machineFolders";
import { liveCards, spareMacs } from "./liveCards";
import { MachineLog } from "./machineLog";
import { endOrphan } from "./orphan";
import { recoverRun } from "./recovery";
import type { JobControl } from "./jobs";
import { within, type Motion, type Run, type RunSurroundings } from "./run";
import { readRunRecord, writeRunRecord, type RunRecord } from "./runRecord";
import { SavedState } from "./saved";
import { discardUsed, requireRestorable, saveRun } from "./saving";
import { Screen, type Shot } from "./screen";
import type { SessionEnd } from "./session";
import { Standing } from "./standing";
import type { Surroundings } from "./surroundings";

/** How long pulling the plug takes at most when the machine process does not answer, and what of that a job and a last picture may take. */
const powerOffMs = 10_000;
const powerOffJobMs = 4000;
const powerOffPictureMs = 2000;

/**
 * One machine through its life (the table of states is `contract/states`). At most one run (`Run`) exists at a time, and
 * `didEnd` alone decides what the machine is when it is over. Commands that take a moment are done in turn; long ones are
 * jobs, which hold the machine. Both ask the table first.
 */
export class Machine {
  private hostBytes: number | undefined;
  private run: Run | undefined;
  /** Stopping and going on are steps of something larger now. */
  private quiet = false;
  /** The end of the last run has been dealt with. */
  private settled: Promise<void> = Promise.resolve();
  private readonly store = new DisposableStore();
  private readonly standing: Standing;
  private readonly blueprint: Blueprint;
  private readonly screen: Screen;
  /** What it has to say for itself. */
  readonly log: MachineLog;
  private readonly changeEmitter = new Emitter<void>();
  /** `info` would answer something else now. */
  readonly onDidChange: Event<void> = this.changeEmitter.event;

  constructor(
    registered: RegisteredMachine,
    private readonly around: Surroundings,
  ) {
    this.standing = this.store.add(new Standing(around.clock, () => around.jobs.holder(registered.id)?.id));
    this.blueprint = new Blueprint(registered, around, () => this.isLive);
    this.screen = new Screen(this.blueprint, around.clock, around.log);
    this.log = new MachineLog(() => this.folder, () => this.name, around.clock, around.log);
    this.store.add(this.changeEmitter);
    if (registered.config === undefined) this.enter("broken");
    this.store.add(this.standing.onDidChange(() => this.changeEmitter.fire()));
  }

  get id(): string {
    return this.blueprint.id;
  }

  get name(): string {
    return this.blueprint.name;
  }

  get folder(): string {
    return this.blueprint.folder;
  }

  get config(): MachineConfig | undefined {
    return this.blueprint.config;
  }

  get state(): MachineState {
    return this.standing.state;
  }

  get isLive(): boolean {
    return this.standing.isLive;
  }

  get clock(): Clock {
    return this.around.clock;
  }

  /** Of its adapters, while its process is there. */
  get sockets(): readonly string[] | undefined {
    return this.run && this.blueprint.sockets.nets;
  }

  get displaySocket(): string {
    return this.blueprint.sockets.display;
  }

  info(): MachineInfo {
    const { config, problem: unusable } = this.blueprint.registered;
    const problem = this.state === "broken" ? unusable : this.standing.problem;
    const network = this.around.network(this);
    return {
      id: this.id,
      folder: this.folder,
      name: this.name,
      ...this.standing.info,
      unresponsive: this.run?.unresponsive ?? false,
      ...(problem ? { problem } : {}),
      ...(config ? { config, engine: this.engineOf(config).info } : {}),
      guest: this.run?.guest.info ?? { agent: "none", addresses: [] },
      ...(this.run ? { startedFrom: this.run.startedFrom, startedAt: this.run.startedAt } : {}),
      ...(this.run?.balloonMiB === undefined ? {} : { balloonMiB: this.run.balloonMiB }),
      ...(network ? { network } : {}),
      ...(this.hostBytes === undefined ? {} : { hostBytes: this.hostBytes }),
    };
  }

  /** The registry has read or written the configuration. */
  update(registered: RegisteredMachine): void {
    this.blueprint.update(registered);
    if (registered.config === undefined && !this.isLive) this.enter("broken");
    else if (registered.config !== undefined && this.state === "broken") void this.rest();
    this.changeEmitter.fire();
  }

  /** @throws TerrariumError `illegal-state` or `busy` with the reason people read. */
  require(command: MachineCommand): void {
    this.standing.require(command);
  }

  /** See `Standing.inTurn`. */
  inTurn<T>(command: MachineCommand | undefined, work: () => Promise<T> | T): Promise<T> {
    return this.standing.inTurn(command, work);
  }

  /**
   * Finds out what became of the machine while no host service was there: its process lives on and is taken over, or it
   * has ended, and its record tells whether somebody had asked for that.
   */
  async recover(): Promise<void> {
    if (this.state === "broken") return;
    const record = await readRunRecord(this.folder);
    if (record === undefined || record.end !== undefined) this.standing.problem = record?.end?.problem;
    else if (await this.takeOver(record)) return;
    await endOrphan(this.blueprint.sockets, this.blueprint.serialLog, this.around);
    await this.rest();
    // It has been like this since its run ended, not since somebody looked.
    this.standing.since = record?.end?.at ?? this.standing.since;
    this.changeEmitter.fire();
  }

  /** Starts the machine as a job. */
  start(): Promise<JobInfo> {
    return this.inTurn("start", () => this.around.jobs.run({ kind: "start", title: `Start ${this.name}`, machineId: this.id, cancellable: true }, (job) => this.startIn(job)));
  }

  /** Starts the machine in a job that holds it. */
  async startIn(job: JobControl): Promise<void> {
    const problemBefore = this.standing.problem;
    this.enter("starting");
    try {
      await bringUp(this.startable(), job);
    } catch (error) {
      await this.abandon();
      this.standing.problem = problemBefore;
      await this.rest();
      this.log.event(`could not start: ${toErrorData(error).message}`);
      throw error;
    }
    this.standing.problem = undefined;
    this.enter("running");
  }

  pause(): Promise<void> {
    return this.inTurn("pause", () => this.live().stop("user"));
  }

  resume(): Promise<void> {
    return this.inTurn("resume", () => this.live().cont());
  }

  reset(): Promise<void> {
    return this.inTurn("reset", async () => {
      const run = this.live();
      await run.session.qmp.execute("system_reset");
      if (this.state === "paused") await run.cont();
    });
  }

  /** Asks the guest to shut down, as a job that ends when it has. */
  shutdown(): Promise<JobInfo> {
    return this.inTurn("shutdown", () =>
      this.around.jobs.run({ kind: "shutdown", title: `Shut down ${this.name}`, machineId: this.id, cancellable: true }, async (job) => {
        const run = this.live();
        this.enter("stopping");
        try {
          await this.screen.keep(run.session.qmp);
          const how = await run.askToShutDown();
          this.log.event(how === "agent" ? "asked the guest to shut down" : "pressed the power button");
          job.progress(undefined, how === "agent" ? "The guest is shutting down" : "The power button was pressed; waiting for the guest");
          await run.waitForShutdown(job.signal);
          await this.didEnd(run, await run.ended);
        } catch (error) {
          if (this.run === run) this.enter("running");
          throw error;
        }
      }),
    );
  }

  /** Pulls the plug. A job that works on the machine is cancelled first. */
  async powerOff(): Promise<void> {
    this.require("powerOff");
    const { clock, jobs } = this.around;
    const deadline = clock.monotonic() + powerOffMs;
    const job = jobs.holder(this.id);
    // A job of a machine process that does not answer ends with the process.
    const jobEnd = job?.cancellable ? jobs.cancel(job.id) : undefined;
    if (jobEnd) await within(powerOffJobMs, clock, jobEnd);
    const { run } = this;
    if (run) {
      this.log.event("powered off");
      if (!run.unresponsive) await this.screen.keep(run.session.qmp, powerOffPictureMs);
      await run.session.quit(clock, deadline - clock.monotonic());
      await this.didEnd(run, { kind: "asked" });
    } else await this.settled;
    await jobEnd;
  }

  /** Pulls the plug in a job that holds the machine. */
  async cutPower(): Promise<void> {
    const { run } = this;
    if (!run) return this.settled;
    this.log.event("powered off");
    if (!run.unresponsive) await this.screen.keep(run.session.qmp, powerOffPictureMs);
    await run.session.quit(this.around.clock, powerOffMs);
    await this.didEnd(run, { kind: "asked" });
  }

  /**
   * Stops the guest while `work` goes on, in a job that holds the machine; nobody hears of a pause. Afterwards it goes on, or
   * stands still as before. When this host service ends in between, the next one lets it go on.
   * @param before is told of each command to the machine process that this takes
   */
  async whileStopped(before: (command: "stop" | "cont") => Promise<void>, work: () => Promise<void>): Promise<void> {
    const run = this.live();
    const wasRunning = this.state === "running";
    this.quiet = true;
    try {
      if (wasRunning) {
        await run.noteSaving(true);
        await before("stop");
        await run.stop("snapshot");
      }
      try {
        await work();
      } finally {
        if (this.run === run && !run.session.qmp.isClosed) {
          await before("cont");
          // A machine process that has sent a state gives the disks back only to a guest that goes on: one that was paused does for a moment.
          await this.goOn(run);
          if (wasRunning) await run.noteSaving(false);
          else await run.stop("user");
        }
      }
    } finally {
      this.quiet = false;
    }
  }

  /** @throws TerrariumError when a state of it could not be started from */
  requireRestorable(): void {
    requireRestorable(this.blueprint);
  }

  /** Where a state goes on its way from the machine process. */
  get runDir(): string {
    return this.blueprint.runDir;
  }

  /** What is on its screen now, as PNG. */
  async picture(): Promise<Buffer> {
    return (await this.screen.live(this.live().session.qmp)).png;
  }

  /** Its files have become others while it did not run: says what it is by them. */
  async reconsider(): Promise<void> {
    this.standing.problem = undefined;
    this.screen.forget();
    await this.rest();
  }

  /** The engine `id` with what a state of the machine would depend on there, were it configured like this. */
  stateFacts(config: MachineConfig, id: EngineId): { engine: Engine; facts: LaunchPlan["facts"] } {
    const engine = this.around.engines.resolve({ ...config, engine: id });
    return { engine, facts: engine.info.available ? this.blueprint.plan(config, engine).facts : {} };
  }

  /** Saves memory and devices, as a job. Cancelling lets the guest go on. */
  save(): Promise<JobInfo> {
    return this.inTurn("save", () =>
      this.around.jobs.run({ kind: "save", title: `Save ${this.name}`, machineId: this.id, cancellable: true }, async (job) => {
        const run = this.live();
        await this.around.enginesKnown(this.blueprint.usable().config);
        requireRestorable(this.blueprint);
        const wasRunning = this.state === "running";
        this.quiet = true;
        try {
          await this.screen.keep(run.session.qmp);
          job.progress(undefined, "Stopping the guest");
          if (wasRunning) {
            await run.noteSaving(true);
            await run.stop("user");
          }
          job.progress(undefined, "Writing memory and devices");
          await saveRun(run, this.blueprint, this.around, job);
        } catch (error) {
          if (wasRunning && this.run === run && !run.session.qmp.isClosed) {
            await this.goOn(run);
            await run.noteSaving(false);
          }
          throw error;
        } finally {
          this.quiet = false;
        }
        // The state is safe: from here on there is no way back.
        await run.session.quit(this.around.clock);
        this.log.event("saved");
        await this.didEnd(run, { kind: "asked" });
      }),
    );
  }

  discardSaved(): Promise<void> {
    return this.inTurn("discardSaved", async () => {
      await new SavedState(this.folder).discard();
      this.standing.problem = undefined;
      this.log.event("saved state discarded");
      await this.rest();
    });
  }

  /** Its screen, without the picture when that is still the one of the revision `unless`. */
  screenshot(unless: string | undefined): Promise<Shot> {
    this.require("screenshot");
    return this.screen.shot(this.run?.session.qmp, unless);
  }

  /** What it uses; nothing while it does not run. */
  usage(since: number | undefined): UsageReport {
    const { run, config } = this;
    if (!run?.begun || !config) return { samples: [], absent: {} };
    return run.usage(this.engineOf(config).info.capabilities.balloon).report(since);
  }

  /** The current run. @throws TerrariumError when the machine does not run. */
  live(): Run {
    if (!this.run) throw new TerrariumError("illegal-state", "The machine does not run.");
    return this.run;
  }

  /** The current run, if there is one. */
  get current(): Run | undefined {
    return this.run;
  }

  /** Lets go of the machine; a machine process lives on. When it resolves, nothing is written to the machine's folder any more. */
  async release(): Promise<void> {
    const { run } = this;
    this.run = undefined;
    this.store.dispose();
    run?.dispose();
    // Whoever asked for these hears of their failures.
    await Promise.allSettled([this.standing.settled(), this.settled]);
    await run?.recorded;
    await this.log.settled();
  }

  // --- coming up

  private startable(): Startable {
    const { blueprint, around, log } = this;
    return { blueprint, around, log, runSurroundings: () => this.runSurroundings(), take: (run) => this.take(run), live: () => this.live(), abandon: () => this.abandon() };
  }

  private runSurroundings(): RunSurroundings {
    const { clock, log } = this.around;
    // A file that cannot be read any more changes nothing for a guest that runs.
    let { config } = this.blueprint.usable();
    return {
      clock,
      log,
      folder: this.folder,
      config: () => (config = this.blueprint.config ?? config),
      authorizedKeys: () => this.around.authorizedKeys(),
      spareMacs: () => spareMacs(this.engineOf(config), config),
      notify: (notice) => this.around.notify({ ...notice, machineId: this.id }),
      logEvent: (what) => this.log.event(what),
    };
  }

  /** The command line of the machine process that runs, or of the one that a start would run. */
  commandLine(): { live: boolean; command: string[] } {
    const running = this.run?.facts.command;
    if (running) return { live: true, command: [...running] };
    return { live: false, command: this.blueprint.command() };
  }

  /** What runs the machine, or would. */
  engineOf(config: MachineConfig): Engine {
    return this.blueprint.engineOf(config);
  }

  // --- a run, and its end

  private take(run: Run): void {
    this.run = run;
    this.blueprint.heldBy = run.facts.engine ?? this.blueprint.heldBy;
    run.onDidChange(() => this.changeEmitter.fire());
    run.onDidMove((motion) => this.didMove(motion));
    run.ended.then((end) => this.didEnd(run, end)).catch((error: unknown) => this.around.log.error(`the end of a run of ${this.name} could not be dealt with`, error));
    this.changeEmitter.fire();
  }

  /** Takes over a machine process that is still there. False when there is none. */
  private async takeOver(record: RunRecord): Promise<boolean> {
    const found = await recoverRun(record, this.blueprint.sockets, this.blueprint.serialLog, this.runSurroundings());
    if (found.kind === "gone") {
      await this.useUp(record);
      this.standing.problem = found.crash === undefined ? undefined : await this.crash(found.crash, record.startedAt);
      await this.writeEnd(record);
      return false;
    }
    await discardUsed(this.folder, record);
    const { run, status, motion } = found;
    const saved = new SavedState(this.folder);
    const begun = record.ran && status !== "prelaunch";
    if (!motion.runs && (!begun || (await saved.exists()))) {
      // Its start or its saving had not come to an end. Nothing of it is lost: the guest had not begun, or is on the disk.
      await run.session.quit(this.around.clock);
      run.dispose();
      await this.writeEnd(record);
      return false;
    }
    // A guest that runs has left its saved state behind.
    await saved.discard();
    this.take(run);
    if (motion.runs) this.enter("running");
    else this.didMove(motion);
    void this.inTurn(undefined, () => this.matchCards(run));
    if (record.saving) await this.undoSave(run);
    if (run.identified) run.guest.watch();
    else run.identifyWhenUp();
    this.log.event("taken over by a new host service");
    return true;
  }

  /** The host service that was saving the guest is gone, and nothing was saved. */
  private async undoSave(run: Run): Promise<void> {
    try {
      if (run.motion.runs) return await run.noteSaving(false);
      await run.undoSave();
      this.log.event("the saving that an earlier host service had begun was undone, and the guest goes on");
      this.around.notify({ level: "warning", message: `${this.name} was being saved when Terrarium ended. It has not been saved, and goes on.`, machineId: this.id });
    } catch (error) {
      this.around.log.error(`the saving of ${this.name} could not be undone`, error);
      this.around.notify({ level: "error", message: `${this.name} was being saved when Terrarium ended. It has not been saved, and stands still: ${toErrorData(error).message}`, remedy: "Resume it.", machineId: this.id });
    }
  }

  /** A host service that was killed while an adapter came or went, or its cable was led elsewhere, has left the cards as they were then. */
  private async matchCards(run: Run): Promise<void> {
    const { config } = this.blueprint;
    if (!config || this.run !== run) return;
    try {
      const engine = this.engineOf(config);
      if (engine.info.capabilities.hotPlugAdapters) await liveCards(this, engine).match(config);
      await run.applyLinks();
    } catch (error) {
      this.around.log.warn(`the adapters of ${this.name} are not all as its configuration says: ${toErrorData(error).message}`);
    }
  }

  private async writeEnd(record: RunRecord): Promise<void> {
    await writeRunRecord(this.folder, { ...record, end: { at: this.around.clock.now(), ...(this.standing.problem ? { problem: this.standing.problem } : {}) } });
  }

  /** Lets the guest go on after a step that it was stopped for, and tells what it really does when that fails. */
  private async goOn(run: Run): Promise<void> {
    try {
      await run.cont();
    } catch (error) {
      this.quiet = false;
      this.didMove(run.motion);
      throw error;
    }
  }

  private didMove(motion: Motion): void {
    if (this.quiet) return;
    if (motion.runs && this.state === "paused") this.enter("running");
    else if (!motion.runs && (this.state === "running" || this.state === "stopping" || this.state === "off")) {
      this.enter("paused", motion.reason);
    }
  }

  /** The run is over: says what the machine is now. Whoever hears of it first says how; all wait until it is settled. */
  private didEnd(run: Run, end: SessionEnd): Promise<void> {
    if (this.run === run) {
      this.run = undefined;
      this.settled = this.settle(run, end);
    }
    return this.settled;
  }

  private async settle(run: Run, end: SessionEnd): Promise<void> {
    const crashed = end.kind === "crashed" ? await this.crash(end.reason, run.startedAt) : undefined;
    await this.screen.keep(undefined);
    try {
      // First this: a record with an end says nothing of a state any more.
      if (run.begun) await this.useUp(run.facts);
      await run.noteEnd({ at: this.around.clock.now(), ...(crashed ? { problem: crashed } : {}) });
    } catch (error) {
      this.around.log.error(`the used state of ${this.name} could not be removed`, error);
    }
    run.dispose();
    // While the machine starts, its job decides.
    if (this.state === "starting") return;
    this.standing.problem = crashed;
    this.log.event(crashed ? `crashed: ${crashed.message}` : end.kind === "guest" ? "the guest powered off" : "stopped");
    if (crashed) this.around.notify({ level: "error", message: crashed.message, ...(crashed.remedy === undefined ? {} : { remedy: crashed.remedy }), machineId: this.id });
    await this.rest();
  }

  private crash(reason: string, startedAt: number): Promise<ErrorData> {
    return describeCrash({ name: this.name, logs: this.blueprint.logs, reason, startedAt });
  }

  /** Throws away the state that a run came from. A guest whose memory went with its run has lost it. */
  private async useUp(record: RunRecord): Promise<void> {
    if (!(await discardUsed(this.folder, record))) return;
    const message = `The saved state of ${this.name} is used up: its guest had begun to go on when it was ended.`;
    this.log.event(message);
    this.around.notify({ level: "warning", message, remedy: "Start the machine; it boots as after a power cut.", machineId: this.id });
  }

  /** Ends a run that did not come up. */
  private async abandon(): Promise<void> {
    const { run } = this;
    if (!run) return;
    await run.session.quit(this.around.clock);
    await this.didEnd(run, { kind: "asked" });
  }

  /** The state of a machine that does not run. */
  private async rest(): Promise<void> {
    if (this.blueprint.config === undefined) return this.enter("broken");
    const state = new SavedState(this.folder);
    const saved = await state.exists();
    this.blueprint.heldBy = saved ? (await state.facts())?.engine : undefined;
    this.enter(saved ? "saved" : this.standing.problem ? "crashed" : "off");
    void this.measure();
  }

  private enter(state: MachineState, reason?: PauseReason): void {
    this.standing.enter(state, reason);
  }

  private async measure(): Promise<void> {
    try {
      this.hostBytes = await bytesOnDisk(this.folder);
      this.changeEmitter.fire();
    } catch (error) {
      this.around.log.warn(`the folder of ${this.name} could not be measured: ${String(error)}`);
    }
  }
}
