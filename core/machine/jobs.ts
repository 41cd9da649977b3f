import { randomBytes } from "node:crypto";
import type { Clock } from "../base/clock";
import type { Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import { TerrariumError, toErrorData } from "../contract/errors";
import type { JobInfo } from "../contract/model";

/*
 * Long work. A job runs until its work settles, also when it is cancelled: cancelling only raises the signal, the work
 * undoes what it began, and not before that is done is the job `cancelled`. Work that completes although it was asked to
 * stop is `done`; work that fails while it cleans up is `failed`, because things are then not as they were.
 *
 *   running ──work ends──▶ done
 *           ──work throws──▶ failed
 *           ──cancel, then work throws its signal's reason──▶ cancelled
 */

export interface JobSpec {
  readonly kind: JobInfo["kind"];
  /** "Start web-01". */
  readonly title: string;
  /** The machine that the job holds exclusively. */
  readonly machineId?: string | undefined;
  readonly cancellable: boolean;
}

/** What the work is given. */
export interface JobControl {
  readonly id: string;
  /** Raised when the job is cancelled, with a TerrariumError `cancelled` as its reason. */
  readonly signal: AbortSignal;
  /** `fraction` is 0 to 1, or undefined while it cannot be told. */
  progress(fraction?: number, detail?: string): void;
}

export type Work = (job: JobControl) => Promise<void>;

interface Entry {
  info: JobInfo;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/** How many ended jobs are remembered, and for how long, milliseconds. */
const keptEnded = 50;
const keptFor = 60 * 60 * 1000;

export class Jobs implements Disposable {
  private readonly entries = new Map<string, Entry>();
  private readonly changed = new Emitter<JobInfo>();
  readonly onDidChange: Event<JobInfo> = this.changed.event;

  constructor(private readonly clock: Pick<Clock, "now">) {}

  /**
   * Starts `work` as a job and answers at once.
   * @throws TerrariumError `busy` when another job holds the machine.
   */
  run(spec: JobSpec, work: Work): JobInfo {
    const holder = spec.machineId === undefined ? undefined : this.holder(spec.machineId);
    if (holder !== undefined) throw new TerrariumError("busy", `"${holder.title}" is working on this machine.`, "Wait until it is done, or cancel it.");

    const id = randomBytes(6).toString("hex");
    const abort = new AbortController();
    const info: JobInfo = { id, kind: spec.kind, title: spec.title, machineId: spec.machineId, state: "running", cancellable: spec.cancellable, startedAt: this.clock.now() };
    let settle = (): void => undefined;
    const entry: Entry = { info, abort, ended: new Promise((resolve) => (settle = resolve)) };
    this.entries.set(id, entry);
    this.forgetOld();
    this.changed.fire(info);
    const control: JobControl = { id, signal: abort.signal, progress: (fraction, detail) => this.progress(entry, fraction, detail) };
    void Promise.resolve()
      .then(() => work(control))
      .then(
        () => this.end(entry, { state: "done", progress: 1 }),
        (failure: unknown) => this.end(entry, isCancellation(failure, abort.signal) ? { state: "cancelled" } : { state: "failed", error: toErrorData(failure) }),
      )
      .then(settle);
    return entry.info;
  }

  /** Running jobs and the ones that ended lately, newest first. */
  list(): JobInfo[] {
    this.forgetOld();
    return [...this.entries.values()].map((entry) => entry.info).reverse();
  }

  get(id: string): JobInfo {
    return this.entry(id).info;
  }

  /** The job that holds a machine. */
  holder(machineId: string): JobInfo | undefined {
    for (const { info } of this.entries.values()) if (info.state === "running" && info.machineId === machineId) return info;
    return undefined;
  }

  /**
   * Cancels a job; resolves when its work has ended, however it did. An ended job is left as it is.
   * @throws TerrariumError `not-found`, or `illegal-state` when the job cannot be cancelled.
   */
  async cancel(id: string): Promise<JobInfo> {
    const entry = this.entry(id);
    if (entry.info.state !== "running") return entry.info;
    if (!entry.info.cancellable) throw new TerrariumError("illegal-state", `"${entry.info.title}" cannot be cancelled.`, "Wait until it is done.");
    if (!entry.abort.signal.aborted) {
      this.change(entry, { detail: "Cancelling" });
      entry.abort.abort(new TerrariumError("cancelled", `"${entry.info.title}" was cancelled.`));
    }
    await entry.ended;
    return entry.info;
  }

  /** Resolves with the job when it has ended. */
  async wait(id: string): Promise<JobInfo> {
    const entry = this.entry(id);
    await entry.ended;
    return entry.info;
  }

  /** Resolves when the job is done. @throws TerrariumError what it failed with, or `cancelled`. */
  async finish(id: string): Promise<void> {
    const { state, error, title } = await this.wait(id);
    if (state === "cancelled") throw new TerrariumError("cancelled", `"${title}" was cancelled.`);
    if (state === "failed") throw error ? TerrariumError.fromData(error) : new TerrariumError("internal", `"${title}" failed.`);
  }

  /** Cancels what can be cancelled and waits for the rest: after this no work of ours runs. */
  async settle(): Promise<void> {
    const running = [...this.entries.values()].filter((entry) => entry.info.state === "running");
    await Promise.all(running.map((entry) => (entry.info.cancellable ? this.cancel(entry.info.id) : entry.ended)));
  }

  dispose(): void {
    this.changed.dispose();
  }

  private entry(id: string): Entry {
    const entry = this.entries.get(id);
    if (!entry) throw new TerrariumError("not-found", `There is no job ${id}.`, "Ended jobs are forgotten after an hour.");
    return entry;
  }

  private progress(entry: Entry, fraction?: number, detail?: string): void {
    if (entry.info.state !== "running" || entry.abort.signal.aborted) return;
    const progress = fraction === undefined ? undefined : Math.min(1, Math.max(0, fraction));
    const text = detail ?? entry.info.detail;
    // A percent is what people see; a copy reports every megabyte.
    if (text === entry.info.detail && percent(progress) === percent(entry.info.progress)) return;
    this.change(entry, { progress, detail: text });
  }

  private end(entry: Entry, outcome: Partial<JobInfo>): void {
    this.change(entry, { detail: undefined, ...outcome, endedAt: this.clock.now() });
  }

  private change(entry: Entry, patch: Partial<JobInfo>): void {
    entry.info = { ...entry.info, ...patch };
    this.changed.fire(entry.info);
  }

  private forgetOld(): void {
    const ended = [...this.entries.values()].filter((entry) => entry.info.state !== "running");
    const tooMany = ended.length - keptEnded;
    ended.forEach((entry, index) => {
      if (index < tooMany || this.clock.now() - (entry.info.endedAt ?? 0) > keptFor) this.entries.delete(entry.info.id);
    });
  }
}

function percent(fraction: number | undefined): number | undefined {
  return fraction === undefined ? undefined : Math.floor(fraction * 100);
}

function isCancellation(failure: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  if (failure === signal.reason) return true;
  if (failure instanceof TerrariumError) return failure.code === "cancelled";
  return failure instanceof Error && failure.name === "AbortError";
}
