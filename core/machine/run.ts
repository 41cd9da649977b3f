import { join } from "node:path";
import { MiB } from "../base/bytes";
import type { Clock } from "../base/clock";
import { DisposableStore, type Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError, toErrorData } from "../contract/errors";
import type { AdapterConfig, MachineConfig, Notice, PauseReason } from "../contract/model";
import { adapterSlots, type MonitorCommand } from "../engine/engine";
import { isRecord, QmpError, type QmpEvent } from "../engine/qmp";
import { Guest } from "./guest";
import { guestIdentity, type GuestIdentity } from "./identity";
import { capLog } from "./logCap";
import { abandonSave } from "./migration";
import { readProcessUsage } from "./processUsage";
import { writeRunRecord, type RunRecord } from "./runRecord";
import type { Session, SessionEnd } from "./session";
import { UsageMeter } from "./usage";

const bootLimitMs = 10 * 60_000;
/** How long a restored guest may take to answer for the first time. Generous: a busy host is no reason to boot from the beginning. */
const restoredLimitMs = 60_000;
/** A guest that answers is alive, and may have a large disk to format on a slow host. */
const identityLimitMs = 180_000;
const shutdownLimitMs = 90_000;
/** Between two looks at the monitor of a machine that says nothing by itself, and how long it may take to answer. */
const heartbeatMs = 10_000;
const heartbeatLimitMs = 5000;

/** What a run needs of the machine and of the host service around it. */
export interface RunSurroundings {
  readonly clock: Clock;
  readonly log: Log;
  readonly folder: string;
  /** The machine's name and configuration as they are now. */
  readonly config: () => MachineConfig;
  authorizedKeys(): Promise<readonly string[]>;
  /** Addresses of the cards that wait in slots without an adapter, where the engine has such. */
  spareMacs(): readonly string[];
  notify(notice: Pick<Notice, "level" | "message" | "remedy">): void;
  logEvent(what: string): void;
}

/** What became of the first disk, see `IdentityOutcome`. */
const diskInWords: Readonly<Record<string, string>> = {
  none: "it has no disk",
  mounted: "its disk is at /data",
  formatted: "its disk was empty, has a file system now and is at /data",
  foreign: "its disk holds something else and is not at /data",
  failed: "its disk is not at /data",
};

/** What the guest's processor does. */
export type Motion = { readonly runs: true } | { readonly runs: false; readonly reason: PauseReason };

/**
 * One run of a machine, from its machine process to the end of that: it follows the process's events, keeps the record
 * that the next host service finds the run by, tells a starter guest who it is, and keeps an eye on both.
 *
 * A starter guest that comes from a shared state, or boots, is nobody. The order is fixed: identity (which also takes the
 * disk), then links. Until then every link is down.
 */
export class Run implements Disposable {
  private readonly store = new DisposableStore();
  /** Ends the work that waits on the current boot of the guest. */
  private boot = new AbortController();
  private recording: Promise<void> = Promise.resolve();
  private capping: Promise<void> = Promise.resolve();
  private heart: Disposable | undefined;
  private stopReason: PauseReason | undefined;
  private isUnresponsive = false;
  private hasBegun: boolean;
  private currentMotion: Motion = { runs: false, reason: "user" };
  private balloon: number | undefined;
  private meter: UsageMeter | undefined;
  private readonly changeEmitter = new Emitter<void>();
  private readonly motionEmitter = new Emitter<Motion>();
  readonly guest: Guest;
  /** The guest's facts or the machine process's answering have changed. */
  readonly onDidChange: Event<void> = this.changeEmitter.event;
  /** The guest began to run or stopped, whoever wanted it. */
  readonly onDidMove: Event<Motion> = this.motionEmitter.event;

  constructor(
    readonly session: Session,
    private record: RunRecord,
    private readonly around: RunSurroundings,
  ) {
    const config = around.config();
    this.hasBegun = record.ran;
    this.guest = this.store.add(new Guest(session.agent, this.isStarter(config), config.adapters, around.clock, around.log));
    this.store.add(this.guest.onDidChange(() => this.changeEmitter.fire()));
    this.store.add(
      session.qmp.onDidEvent((event) => {
        try {
          this.takeEvent(event);
        } catch (error) {
          // A bug in how one machine is followed: it must not end the host service of all of them.
          around.log.error(`${around.config().name}: its event ${event.event} was not followed`, error);
        }
      }),
    );
    this.store.add({ dispose: () => this.boot.abort() });
    this.store.add({ dispose: () => this.heart?.dispose() });
    this.store.add(this.changeEmitter);
    this.store.add(this.motionEmitter);
    this.beat();
  }

  get ended(): Promise<SessionEnd> {
    return this.session.ended;
  }

  get startedFrom(): RunRecord["startedFrom"] {
    return this.record.startedFrom;
  }

  get startedAt(): number {
    return this.record.startedAt;
  }

  get identified(): boolean {
    return this.record.identified;
  }

  /** What the record of this run says. */
  get facts(): RunRecord {
    return this.record;
  }

  /** The guest was told to run, or had been when the machine was taken over. */
  get begun(): boolean {
    return this.hasBegun;
  }

  /** What the guest's processor does, as far as it was heard. */
  get motion(): Motion {
    return this.currentMotion;
  }

  /** Resolves when everything that was noted has been written, and no log is being begun anew. */
  get recorded(): Promise<void> {
    return this.capping.then(() => this.recording);
  }

  get unresponsive(): boolean {
    return this.isUnresponsive;
  }

  /** What the guest was left with when memory was taken from it, MiB. */
  get balloonMiB(): number | undefined {
    return this.balloon;
  }

  /** What it uses. `balloon`: the engine can ask the guest for its memory. */
  usage(balloon: boolean): UsageMeter {
    const { qmp, agent, process } = this.session;
    const { clock, log, config } = this.around;
    return (this.meter ??= this.store.add(
      new UsageMeter({
        ...{ clock, log, qmp, agent, balloon, memoryBytes: config().memoryMiB * MiB },
        process: () => readProcessUsage(process.identity),
        agentAnswers: () => this.currentMotion.runs && this.guest.info.agent === "answering",
        macs: () => config().adapters.map(({ mac }) => mac),
      }),
    ));
  }

  /** Does what a change of the running hardware consists of, one command after another. */
  async tell(commands: readonly MonitorCommand[]): Promise<void> {
    for (const { execute, arguments: args } of commands) await this.session.qmp.execute(execute, args);
  }

  /** Stops the guest's time, for `reason`. */
  async stop(reason: PauseReason): Promise<void> {
    this.stopReason = reason;
    await this.session.qmp.execute("stop");
    this.didStop();
  }

  /**
   * Lets the guest run for the first time. That it does is on the disk before it happens: whatever becomes of this host
   * service meanwhile, the state the guest comes from is never used again.
   */
  async begin(signal: AbortSignal): Promise<void> {
    await this.note({ ran: true });
    if (signal.aborted || this.store.isDisposed) {
      void this.note({ ran: false });
      throw new TerrariumError("cancelled", "Cancelled.");
    }
    this.hasBegun = true;
    await this.session.begin();
    this.didRun();
  }

  /** Lets the guest run. */
  async cont(): Promise<void> {
    await this.session.qmp.execute("cont");
    this.didRun();
    if (!this.record.ran) void this.note({ ran: true });
  }

  /** Notes that the guest is about to be stopped for its state to be saved, or that this is over: the next host service goes by it. */
  async noteSaving(saving: boolean): Promise<void> {
    await this.note({ saving });
  }

  /** Undoes a saving that the host service which wanted it did not live to see the end of: the guest goes on. */
  async undoSave(): Promise<void> {
    await abandonSave(this.session.qmp, this.around.clock);
    await this.cont();
    await this.noteSaving(false);
  }

  /** What the guest's processor does, as the machine process says. */
  async queryMotion(): Promise<{ status: string; motion: Motion }> {
    const answer = await this.session.qmp.execute("query-status");
    const status = isRecord(answer) && typeof answer["status"] === "string" ? answer["status"] : "unknown";
    const runs = isRecord(answer) && answer["running"] === true;
    this.currentMotion = runs ? { runs } : { runs, reason: status === "io-error" ? await this.diskTrouble() : status === "guest-panicked" ? "guest-panic" : "user" };
    return { status, motion: this.currentMotion };
  }

  /** Finds out how much memory the guest is left with, after others had to do with it. An engine without a balloon has no such command. */
  async queryBalloon(): Promise<void> {
    try {
      const answer = await this.session.qmp.execute("query-balloon");
      this.didChangeBalloon(isRecord(answer) ? answer["actual"] : undefined);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
    }
  }

  /** Why the disks stopped the guest: whoever asks was not there when it happened. */
  private async diskTrouble(): Promise<PauseReason> {
    const answer = await this.session.qmp.execute("query-block");
    const isFull = Array.isArray(answer) && answer.some((device) => isRecord(device) && device["io-status"] === "nospace");
    return isFull ? "disk-full" : "io-error";
  }

  /** Makes a starter guest this machine's, and only then plugs its cables. */
  async identify(identity: GuestIdentity): Promise<void> {
    const outcome = await this.guest.applyIdentity(identity, identityLimitMs);
    const { name, adapters } = this.around.config();
    this.around.logEvent(`the guest is ${outcome.hostname}; ${diskInWords[outcome.data] ?? outcome.data}`);
    this.around.log.info(`${name}: steps of its identity, milliseconds in the guest: ${outcome.spent}`);
    for (const step of outcome.failed) this.around.log.warn(`${name}: a step of its identity failed: ${step}`);
    if (outcome.data === "failed" || outcome.data === "foreign") {
      this.around.notify({ level: "warning", message: `The first disk of ${name} is not at /data: ${outcome.reason ?? outcome.data}.`, remedy: "What it holds is untouched. Look at it from a shell in the guest." });
    }
    await this.setLinks(linksOf(adapters));
    void this.note({ identified: true });
    this.guest.isUp(outcome.hostname);
  }

  /** Waits for the guest of a restored state to answer. */
  untilAwake(signal: AbortSignal): Promise<void> {
    return this.guest.waitUntilAnswering(signal, restoredLimitMs);
  }

  /**
   * After a boot from the beginning: waits for the agent, however long the boot takes, and identifies the guest.
   * @param then what follows when the guest is up.
   */
  identifyWhenUp(then: () => void = () => undefined): void {
    const { signal } = this.boot;
    const work = async (): Promise<void> => {
      await this.guest.waitUntilAnswering(signal, bootLimitMs);
      await this.identify(await guestIdentity(this.around.config(), this.around.folder, await this.around.authorizedKeys(), this.around.spareMacs()));
      this.around.logEvent("the guest is up");
      then();
    };
    work().catch((error: unknown) => {
      if (signal.aborted || this.store.isDisposed) return;
      const { name } = this.around.config();
      this.around.log.error(`${name}: its guest could not be told who it is`, error);
      this.around.notify({
        level: "warning",
        message: `The guest of ${name} has not been set up: ${toErrorData(error).message}`,
        remedy: "Its network stays unplugged and its disk unmounted. Look at its console, or reset it.",
      });
    });
  }

  /** Makes the links what the configuration says, but for those that are pulled, unless the guest has still to be told who it is. */
  async applyLinks(pulled: readonly number[] = []): Promise<void> {
    const { adapters } = this.around.config();
    this.guest.setAdapters(adapters);
    if (this.record.identified) await this.setLinks(linksOf(adapters).map((up, slot) => up && !pulled.includes(slot)));
  }

  /** Asks the guest to shut down: by its agent when that answers, else with the power button. Answers which. */
  async askToShutDown(): Promise<"agent" | "power-button"> {
    if (this.guest.info.agent === "answering") {
      try {
        await this.guest.requestShutdown();
        return "agent";
      } catch (error) {
        this.around.log.info(`the guest agent did not take the wish to shut down: ${toErrorData(error).message}`);
      }
    }
    await this.session.qmp.execute("system_powerdown");
    return "power-button";
  }

  /** Resolves when the machine process has ended. @throws TerrariumError `timeout`, or `cancelled` when `signal` aborts. */
  async waitForShutdown(signal: AbortSignal): Promise<void> {
    const held = new DisposableStore();
    try {
      const late = new Promise<never>((_, reject) => {
        held.add(
          this.around.clock.schedule(shutdownLimitMs, () =>
            reject(new TerrariumError("timeout", `${this.around.config().name} did not shut down within ${shutdownLimitMs / 1000} seconds.`, "Look at its console: it may be waiting for something. Power it off if nothing helps; the guest then loses what it has not written.")),
          ),
        );
      });
      await Promise.race([this.ended, late, cancelled(signal, held)]);
    } finally {
      held.dispose();
    }
  }

  /** Notes how the run ended; the last thing its record hears. */
  async noteEnd(end: NonNullable<RunRecord["end"]>): Promise<void> {
    void this.note({ end });
    await this.recording;
  }

  dispose(): void {
    this.store.dispose();
    this.session.dispose();
  }

  private isStarter(config: MachineConfig): boolean {
    return config.boot.kind === "starter";
  }

  /** Changes the record, one write after another. Rejects when it cannot be written, which is logged in any case. */
  private note(patch: Partial<RunRecord>): Promise<void> {
    // Let go of: the record is the next host service's.
    if (this.store.isDisposed) return Promise.resolve();
    this.record = { ...this.record, ...patch };
    const { record } = this;
    const written = this.recording.then(() => writeRunRecord(this.around.folder, record));
    this.recording = written.catch((error: unknown) => this.around.log.error(`${this.around.config().name}: the record of its run could not be written`, error));
    return written;
  }

  private async setLinks(links: readonly boolean[]): Promise<void> {
    // A slot without an adapter is empty, or its link is down anyway.
    const { adapters } = this.around.config();
    await Promise.all(adapters.slice(0, adapterSlots).map((_, slot) => this.session.qmp.execute("set_link", { name: `net${slot}`, up: links[slot] ?? false })));
  }

  private takeEvent(event: QmpEvent): void {
    const { name } = this.around.config();
    switch (event.event) {
      case "STOP":
        // A guest that has powered off stands still until its machine process ends; that is no pause.
        if (!this.session.isEnding) this.didStop();
        break;
      case "RESUME":
        this.didRun();
        break;
      case "BLOCK_IO_ERROR": {
        if (event.data["action"] !== "stop") break;
        const full = event.data["nospace"] === true;
        this.stopReason = full ? "disk-full" : "io-error";
        this.around.notify({
          level: "error",
          message: full ? `${name} was paused: the host's disk is full.` : `${name} was paused: one of its disks could not be read or written.`,
          remedy: full ? "Free some space, then resume the machine; the guest notices nothing." : "Look at the machine's engine log, put the disk right, then resume the machine.",
        });
        break;
      }
      case "GUEST_PANICKED":
        this.stopReason = "guest-panic";
        this.around.logEvent("the guest panicked");
        this.around.notify({ level: "error", message: `The guest of ${name} has panicked.`, remedy: "Its console says why. Reset it to start again." });
        break;
      case "RESET":
        this.didReset();
        break;
      case "BALLOON_CHANGE":
        this.didChangeBalloon(event.data["actual"]);
        break;
      default: // Events nobody here waits for.
    }
  }

  private didChangeBalloon(actual: unknown): void {
    if (typeof actual !== "number" || !Number.isFinite(actual)) return;
    const left = Math.round(actual / MiB);
    const balloon = left < this.around.config().memoryMiB ? left : undefined;
    if (balloon === this.balloon) return;
    this.balloon = balloon;
    this.changeEmitter.fire();
  }

  /** A guest that boots needs what it booted with before; too little may be why it was reset. */
  private giveMemoryBack(): void {
    if (this.balloon === undefined) return;
    this.balloon = undefined;
    this.tell([{ execute: "balloon", arguments: { value: this.around.config().memoryMiB * MiB } }]).catch((error: unknown) => this.around.log.warn(`the memory taken from the guest could not be given back: ${String(error)}`));
    this.changeEmitter.fire();
  }

  private didStop(): void {
    if (!this.currentMotion.runs) return;
    this.currentMotion = { runs: false, reason: this.stopReason ?? "user" };
    this.stopReason = undefined;
    this.guest.rest();
    this.motionEmitter.fire(this.currentMotion);
  }

  private didRun(): void {
    this.stopReason = undefined;
    if (this.currentMotion.runs) return;
    this.currentMotion = { runs: true };
    if (this.identified) this.guest.watch();
    this.motionEmitter.fire(this.currentMotion);
  }

  /** The guest boots again, and a starter guest is nobody again. */
  private didReset(): void {
    this.around.logEvent("the guest was reset");
    this.giveMemoryBack();
    this.boot.abort();
    this.boot = new AbortController();
    this.guest.restarted();
    if (!this.isStarter(this.around.config())) {
      this.guest.watch();
      return;
    }
    void this.note({ identified: false });
    this.setLinks(Array.from({ length: adapterSlots }, () => false)).catch((error: unknown) => this.around.log.warn(`the links could not be taken down for a reset: ${String(error)}`));
    this.identifyWhenUp();
  }

  /** Nothing is asked of a machine process that speaks by itself. */
  private beat(): void {
    const { clock } = this.around;
    const next = (): void => {
      if (!this.store.isDisposed) this.heart = clock.schedule(heartbeatMs, () => this.beat());
    };
    this.capping = this.capping.then(() => this.capLogs());
    const { qmp } = this.session;
    if (clock.monotonic() - qmp.lastHeard < heartbeatMs / 2) return next();
    qmp.execute("query-status", undefined, heartbeatLimitMs).then(
      () => {
        this.setUnresponsive(false);
        next();
      },
      (error: unknown) => {
        if (error instanceof TerrariumError && error.code === "timeout") this.setUnresponsive(true);
        next();
      },
    );
  }

  /** Never rejects. */
  private async capLogs(): Promise<void> {
    const { folder, log, config } = this.around;
    try {
      for (const name of ["serial0.log", "engine.log"]) await capLog(join(folder, "logs", name));
    } catch (error) {
      log.warn(`${config().name}: a log that has grown too long could not be begun anew: ${toErrorData(error).message}`);
    }
  }

  private setUnresponsive(value: boolean): void {
    if (this.isUnresponsive === value) return;
    this.isUnresponsive = value;
    this.around.logEvent(value ? "the machine process does not answer" : "the machine process answers again");
    this.changeEmitter.fire();
  }
}

/** Which links are up, by slot. */
export function linksOf(adapters: readonly AdapterConfig[]): boolean[] {
  return Array.from({ length: adapterSlots }, (_, slot) => {
    const adapter = adapters[slot];
    return adapter !== undefined && adapter.plugged && adapter.attachment.mode !== "none";
  });
}

/** Rejects when `signal` aborts; `held` takes the subscription. */
export function cancelled(signal: AbortSignal, held: DisposableStore): Promise<never> {
  return new Promise((_, reject) => {
    const cancel = (): void => reject(signal.reason instanceof Error ? signal.reason : new TerrariumError("cancelled", "Cancelled."));
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel);
    held.add({ dispose: () => signal.removeEventListener("abort", cancel) });
  });
}

/** Waits for `work`, but not longer than `ms`. */
export async function within(ms: number, clock: Clock, work: Promise<unknown>): Promise<void> {
  const held = new DisposableStore();
  try {
    await Promise.race([work, new Promise<void>((resolve) => held.add(clock.schedule(ms, resolve)))]);
  } finally {
    held.dispose();
  }
}
