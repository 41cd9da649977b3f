import { join } from "node:path";
import type { Clock } from "../base/clock";
import { DisposableStore } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import { TerrariumError, toErrorData, type ErrorData } from "../contract/errors";
import type { EngineId, JobInfo, MachineConfig, MachineInfo, MachineState, PauseReason, UsageReport } from "../contract/model";
import { isLive, refusal, type MachineCommand } from "../contract/states";
import { machineSockets, type Engine, type LaunchPlan, type MachineSockets } from "../engine/engine";
import { describeCrash } from "./crash";
import type { JobControl } from "./jobs";
import { bytesOnDisk, type RegisteredMachine } from "./machineFolders";
import { MachineLog } from "./machineLog";
import { saveState } from "./migration";
import { endOrphan } from "./orphan";
import { recoverRun } from "./recovery";
import { linksOf, Run, within, type Motion, type RunSurroundings } from "./run";
import { readRunRecord, writeRunRecord, type RunRecord } from "./runRecord";
import { SavedState, savedDifference, savedFacts } from "./saved";
import { Screen } from "./screen";
import type { SessionEnd } from "./session";
import { comeUp, StateUnusable, type Origin } from "./startUp";
import type { Surroundings } from "./surroundings";

/** How long pulling the plug takes at most when the machine process does not answer, and what of that a job and a last picture may take. */
const powerOffMs = 10_000;
const powerOffJobMs = 4000;
const powerOffPictureMs = 2000;
const discardRemedy = "Discard the saved state; the machine then boots as after a power cut.";

/**
 * One machine through its life (the table of states is `contract/states`). At most one run (`Run`) exists at a time, and
 * `didEnd` alone decides what the machine is when it is over. Commands that take a moment are done in turn; long ones are
 * jobs, which hold the machine. Both ask the table first.
 */
export class Machine {
  private state: MachineState = "off";
  private since: number;
  private pauseReason: PauseReason | undefined;
  private problem: ErrorData | undefined;
  private hostBytes: number | undefined;
  private run: Run | undefined;
  /** The engine that the guest's memory is in, running or saved: it stays there whatever `auto` would choose now. */
  private heldBy: EngineId | undefined;
  /** Stopping and going on are steps of something larger now. */
  private quiet = false;
  private turn: Promise<unknown> = Promise.resolve();
  /** The end of the last run has been dealt with. */
  private settled: Promise<void> = Promise.resolve();
  private readonly store = new DisposableStore();
  private readonly screen: Screen;
  /** What it has to say for itself. */
  readonly log: MachineLog;
  private readonly sockets: MachineSockets;
  private readonly changeEmitter = new Emitter<void>();
  /** `info` would answer something else now. */
  readonly onDidChange: Event<void> = this.changeEmitter.event;

  constructor(
    private registered: RegisteredMachine,
    private readonly around: Surroundings,
  ) {
    this.since = around.clock.now();
    const runDir = around.runDir(registered.id);
    this.sockets = machineSockets(runDir);
    this.screen = new Screen(() => join(this.registered.folder, "screenshot.png"), runDir, around.clock);
    this.log = new MachineLog(() => this.folder, () => this.name, around.clock, around.log);
    if (registered.config === undefined) this.state = "broken";
    this.store.add(this.changeEmitter);
  }

  get id(): string {
    return this.registered.id;
  }

  get name(): string {
    return this.registered.name;
  }

  get folder(): string {
    return this.registered.folder;
  }

  get config(): MachineConfig | undefined {
    return this.registered.config;
  }

  get isLive(): boolean {
    return isLive(this.state);
  }

  private get serialLog(): string {
    return join(this.folder, "logs", "serial0.log");
  }

  get clock(): Clock {
    return this.around.clock;
  }

  get displaySocket(): string {
    return this.sockets.display;
  }

  info(): MachineInfo {
    const { config, problem: unusable } = this.registered;
    const problem = this.state === "broken" ? unusable : this.problem;
    const jobId = this.around.jobs.holder(this.id)?.id;
    return {
      id: this.id,
      folder: this.folder,
      name: this.name,
      state: this.state,
      since: this.since,
      ...(this.state === "paused" ? { pauseReason: this.pauseReason ?? "user" } : {}),
      unresponsive: this.run?.unresponsive ?? false,
      ...(problem ? { problem } : {}),
      ...(config ? { config, engine: this.engineOf(config).info } : {}),
      guest: this.run?.guest.info ?? { agent: "none", addresses: [] },
      ...(jobId === undefined ? {} : { jobId }),
      ...(this.run ? { startedFrom: this.run.startedFrom, startedAt: this.run.startedAt } : {}),
      ...(this.run?.balloonMiB === undefined ? {} : { balloonMiB: this.run.balloonMiB }),
      ...(this.hostBytes === undefined ? {} : { hostBytes: this.hostBytes }),
    };
  }

  /** The registry has read or written the configuration. */
  update(registered: RegisteredMachine): void {
    this.registered = registered;
    if (registered.config === undefined && !this.isLive) this.enter("broken");
    else if (registered.config !== undefined && this.state === "broken") void this.rest();
    this.changeEmitter.fire();
  }

  /** @throws TerrariumError `illegal-state` or `busy` with the reason people read. */
  require(command: MachineCommand): void {
    const jobId = this.around.jobs.holder(this.id)?.id;
    const pauseReason = this.state === "paused" ? this.pauseReason : undefined;
    const because = refusal(command, { state: this.state, jobId, pauseReason });
    if (because !== undefined) throw new TerrariumError(refusal(command, { state: this.state, pauseReason }) === undefined ? "busy" : "illegal-state", because);
  }

  /** Does `work` when what was asked before it is done, if the machine still allows `command` then; undefined is always allowed. */
  inTurn<T>(command: MachineCommand | undefined, work: () => Promise<T> | T): Promise<T> {
    const mine = this.turn.then(() => {
      if (command !== undefined) this.require(command);
      return work();
    });
    this.turn = mine.then(
      () => undefined,
      () => undefined,
    );
    return mine;
  }

  /**
   * Finds out what became of the machine while no host service was there: its process lives on and is taken over, or it
   * has ended, and its record tells whether somebody had asked for that.
   */
  async recover(): Promise<void> {
    if (this.state === "broken") return;
    const record = await readRunRecord(this.folder);
    if (record === undefined || record.end !== undefined) this.problem = record?.end?.problem;
    else if (await this.takeOver(record)) return;
    await endOrphan(this.sockets, this.serialLog, this.around);
    await this.rest();
    // It has been like this since its run ended, not since somebody looked.
    this.since = record?.end?.at ?? this.since;
    this.changeEmitter.fire();
  }

  /** Starts the machine as a job. */
  start(): Promise<JobInfo> {
    return this.inTurn("start", () => {
      const problemBefore = this.problem;
      return this.around.jobs.run({ kind: "start", title: `Start ${this.name}`, machineId: this.id, cancellable: true }, async (job) => {
        this.enter("starting");
        try {
          await this.bringUp(job);
        } catch (error) {
          await this.abandon();
          this.problem = problemBefore;
          await this.rest();
          this.log.event(`could not start: ${toErrorData(error).message}`);
          throw error;
        }
        this.problem = undefined;
        this.enter("running");
      });
    });
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
          await this.keepPicture(run);
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
      if (!run.unresponsive) await this.keepPicture(run, powerOffPictureMs);
      await run.session.quit(clock, deadline - clock.monotonic());
      await this.didEnd(run, { kind: "asked" });
    } else await this.settled;
    await jobEnd;
  }

  /** Saves memory and devices, as a job. Cancelling lets the guest go on. */
  save(): Promise<JobInfo> {
    return this.inTurn("save", () =>
      this.around.jobs.run({ kind: "save", title: `Save ${this.name}`, machineId: this.id, cancellable: true }, async (job) => {
        const run = this.live();
        await this.around.enginesKnown(this.usable().config);
        const { config, engine } = this.usable();
        const on = { id: engine.id, facts: this.plan(config, engine).facts };
        const saved = new SavedState(this.folder);
        const wasRunning = this.state === "running";
        this.quiet = true;
        try {
          await this.keepPicture(run);
          job.progress(undefined, "Stopping the guest");
          if (wasRunning) await run.stop("user");
          job.progress(undefined, "Writing memory and devices");
          await saved.begin();
          await saveState(run.session.qmp, saved.unfinished, { transport: engine.info.capabilities.stateTransport, runDir: this.around.runDir(this.id) }, job.signal);
          job.signal.throwIfAborted();
          await saved.commit(savedFacts(config, on, { savedAt: this.around.clock.now(), identified: run.identified }));
        } catch (error) {
          // Why the saving failed counts more than that its remains could not be removed.
          await saved.discard().catch((fault: unknown) => this.around.log.warn(`what was saved of ${this.name} could not be removed: ${String(fault)}`));
          if (wasRunning && this.run === run && !run.session.qmp.isClosed) await this.goOn(run);
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
      this.problem = undefined;
      this.log.event("saved state discarded");
      await this.rest();
    });
  }

  async screenshot(unless: string | undefined): Promise<{ live: boolean; revision: string; png: string | null }> {
    this.require("screenshot");
    const { run } = this;
    const live = run !== undefined && !run.session.qmp.isClosed;
    const picture = live ? await this.screen.live(run.session.qmp) : await this.screen.last();
    if (!picture) return { live: false, revision: "none", png: null };
    return { live, revision: picture.revision, png: picture.revision === unless ? null : picture.png.toString("base64") };
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
    await Promise.allSettled([this.turn, this.settled]);
    await run?.recorded;
    await this.log.settled();
  }

  // --- coming up

  private async bringUp(job: JobControl): Promise<void> {
    await this.around.enginesKnown(this.usable().config);
    const { config, engine } = this.usable();
    const { available, problem, label } = engine.info;
    if (!available) throw new TerrariumError("unavailable", problem?.message ?? `${label} is not available.`, problem?.remedy);
    await this.around.checkStart(this.registered, config);
    const saved = new SavedState(this.folder);
    if (await saved.exists()) return this.startSaved(job, saved);
    const states = engine.info.capabilities.preBooted ? this.around.states() : undefined;
    const key = states?.keyFor(config);
    const file = key === undefined ? undefined : await states?.find(key);
    if (states && key !== undefined && file !== undefined) {
      try {
        job.progress(undefined, "Restoring the pre-booted state");
        await this.comeUp(job, { from: "pre-booted", file });
        return;
      } catch (error) {
        if (!(error instanceof StateUnusable)) throw error;
        await this.abandon();
        await states.failed(key, error.damaged);
        this.around.notify({ level: "warning", message: `${this.name} could not use its pre-booted state and boots from the beginning instead. ${error.reason.message}`, machineId: this.id });
        this.log.event(`the pre-booted state could not be used: ${error.reason.message}`);
      }
    }
    job.progress(undefined, key === undefined ? "Starting" : "Booting from the beginning; the next start will be instant");
    await this.comeUp(job, { from: "cold" });
  }

  private async startSaved(job: JobControl, saved: SavedState): Promise<void> {
    const { config, engine } = this.usable();
    const facts = await saved.facts();
    if (!facts) throw new TerrariumError("broken", `The saved state of ${this.name} cannot be used: it does not say what it was saved on.`, discardRemedy);
    const difference = savedDifference(facts, savedFacts(config, { id: engine.id, facts: this.plan(config, engine).facts }, facts));
    if (difference !== undefined) {
      throw new TerrariumError("illegal-state", `The saved state of ${this.name} does not fit the machine any more: ${difference}.`, "Put the setting back, or discard the saved state; the machine then boots as after a power cut.");
    }
    job.progress(undefined, "Restoring memory and devices");
    try {
      await this.comeUp(job, { from: "saved", file: saved.stateFile, identified: facts.identified, savedAt: facts.savedAt });
    } catch (error) {
      if (error instanceof StateUnusable) throw new TerrariumError("engine-failed", error.reason.message, discardRemedy, { cause: error });
      throw error;
    }
    // The guest goes on and changes its disks: the state must never be used again. Its memory is here alone now, and what fails from here on must not end it.
    const run = this.live();
    // When this fails, the record still says that the state is used up, and it goes when the run ends.
    await saved.discard().catch((error: unknown) => this.around.log.error(`the used state of ${this.name} could not be removed`, error));
    if (!facts.identified) return;
    await run.applyLinks().catch((error: unknown) => {
      this.around.log.error(`the cables of ${this.name} could not be plugged`, error);
      this.around.notify({ level: "warning", message: `${this.name} goes on where it was saved, but its cables could not be plugged: ${toErrorData(error).message}`, remedy: "Pull the cables in its settings and plug them again.", machineId: this.id });
    });
    run.guest.setTime().catch((error: unknown) => this.around.log.info(`the clock of ${this.name} was not set: ${toErrorData(error).message}`));
  }

  private async comeUp(job: JobControl, origin: Origin): Promise<void> {
    const { config, engine } = this.usable();
    await comeUp({
      config,
      engine,
      origin,
      sockets: this.sockets,
      runDir: this.around.runDir(this.id),
      guest: this.around.guestFiles(),
      imageTool: this.around.imageTool(),
      around: this.runSurroundings(),
      signal: job.signal,
      clock: this.around.clock,
      onRun: (run) => this.take(run),
      onGuestUp: () => this.around.prepareForNextTime(config),
    });
  }

  private runSurroundings(): RunSurroundings {
    const { clock, log } = this.around;
    // A file that cannot be read any more changes nothing for a guest that runs.
    let { config } = this.usable();
    return {
      clock,
      log,
      folder: this.folder,
      config: () => (config = this.registered.config ?? config),
      authorizedKeys: () => this.around.authorizedKeys(),
      notify: (notice) => this.around.notify({ ...notice, machineId: this.id }),
      logEvent: (what) => this.log.event(what),
    };
  }

  /** How the machine would be started from power on. */
  private plan(config: MachineConfig, engine: Engine): LaunchPlan {
    const logs = join(this.folder, "logs");
    return engine.plan(config, { folder: this.folder, sockets: this.sockets, serialLog: this.serialLog, dumpDir: logs, guest: this.around.guestFiles(), links: linksOf(config.adapters), incoming: false });
  }

  /** The command line of the machine process that runs, or of the one that a start would run. */
  commandLine(): { live: boolean; command: string[] } {
    const running = this.run?.facts.command;
    if (running) return { live: true, command: [...running] };
    const { config, engine } = this.usable();
    const { command, args } = this.plan(config, engine);
    return { live: false, command: [command, ...args] };
  }

  private usable(): { config: MachineConfig; engine: Engine } {
    const { config, problem } = this.registered;
    if (!config) throw new TerrariumError("broken", problem?.message ?? "The machine's configuration cannot be used.", problem?.remedy);
    return { config, engine: this.engineOf(config) };
  }

  /** What runs the machine, or would. */
  engineOf(config: MachineConfig): Engine {
    const holder = this.isLive || config.engine === "auto" ? this.heldBy : undefined;
    return this.around.engines.resolve({ ...config, engine: holder ?? config.engine });
  }

  // --- a run, and its end

  private take(run: Run): void {
    this.run = run;
    this.heldBy = run.facts.engine ?? this.heldBy;
    run.onDidChange(() => this.changeEmitter.fire());
    run.onDidMove((motion) => this.didMove(motion));
    run.ended.then((end) => this.didEnd(run, end)).catch((error: unknown) => this.around.log.error(`the end of a run of ${this.name} could not be dealt with`, error));
    this.changeEmitter.fire();
  }

  /** Takes over a machine process that is still there. False when there is none. */
  private async takeOver(record: RunRecord): Promise<boolean> {
    const found = await recoverRun(record, this.sockets, this.serialLog, this.runSurroundings());
    await this.discardUsed(record, found.kind === "alive");
    if (found.kind === "gone") {
      this.problem = found.crash === undefined ? undefined : await this.crash(found.crash, record.startedAt);
      await this.writeEnd(record);
      return false;
    }
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
    if (run.identified) run.guest.watch();
    else run.identifyWhenUp();
    this.log.event("taken over by a new host service");
    return true;
  }

  private async writeEnd(record: RunRecord): Promise<void> {
    await writeRunRecord(this.folder, { ...record, end: { at: this.around.clock.now(), ...(this.problem ? { problem: this.problem } : {}) } });
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
      this.pauseReason = motion.reason;
      this.enter("paused");
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
    await this.screen.keep(undefined).catch((error: unknown) => this.around.log.warn(`the last picture of ${this.name} could not be kept: ${String(error)}`));
    try {
      // First this: a record with an end says nothing of a state any more.
      if (run.begun) await this.discardUsed(run.facts);
      await run.noteEnd({ at: this.around.clock.now(), ...(crashed ? { problem: crashed } : {}) });
    } catch (error) {
      this.around.log.error(`the used state of ${this.name} could not be removed`, error);
    }
    run.dispose();
    // While the machine starts, its job decides.
    if (this.state === "starting") return;
    this.problem = crashed;
    this.log.event(crashed ? `crashed: ${crashed.message}` : end.kind === "guest" ? "the guest powered off" : "stopped");
    if (crashed) this.around.notify({ level: "error", message: crashed.message, ...(crashed.remedy === undefined ? {} : { remedy: crashed.remedy }), machineId: this.id });
    await this.rest();
  }

  private crash(reason: string, startedAt: number): Promise<ErrorData> {
    return describeCrash({ name: this.name, logs: join(this.folder, "logs"), reason, startedAt });
  }

  /** Throws away the state that a run came from: its guest has begun to run, and the memory would not fit its disks any more. A state saved since stays. `alive`: the memory lives on in the run. */
  private async discardUsed(record: RunRecord, alive = false): Promise<void> {
    if (record.savedAt === undefined || !record.ran) return;
    const saved = new SavedState(this.folder);
    if (!(await saved.exists()) || (await saved.facts())?.savedAt !== record.savedAt) return;
    await saved.discard();
    if (alive) return;
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
    if (this.registered.config === undefined) return this.enter("broken");
    const state = new SavedState(this.folder);
    const saved = await state.exists();
    this.heldBy = saved ? (await state.facts())?.engine : undefined;
    this.enter(saved ? "saved" : this.problem ? "crashed" : "off");
    void this.measure();
  }

  private enter(state: MachineState): void {
    if (this.state !== state) this.since = this.around.clock.now();
    this.state = state;
    this.changeEmitter.fire();
  }

  private async keepPicture(run: Run, timeoutMs?: number): Promise<void> {
    try {
      await this.screen.keep(run.session.qmp, timeoutMs);
    } catch (error) {
      this.around.log.warn(`the last picture of ${this.name} could not be kept: ${toErrorData(error).message}`);
    }
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
