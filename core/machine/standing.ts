import type { Clock } from "../base/clock";
import { Emitter, type Event } from "../base/emitter";
import { TerrariumError, type ErrorData } from "../contract/errors";
import type { MachineInfo, MachineState, PauseReason } from "../contract/model";
import { isLive, refusal, type MachineCommand } from "../contract/states";

/** Where a machine stands in its life (the table is `contract/states`), what it may be asked for there, and the commands it is asked for, one after another. */
export class Standing {
  private current: MachineState = "off";
  private reason: PauseReason | undefined;
  private turn: Promise<unknown> = Promise.resolve();
  private readonly changeEmitter = new Emitter<void>();
  readonly onDidChange: Event<void> = this.changeEmitter.event;
  /** When it came to be like this. */
  since: number;
  /** What went wrong with its last run. */
  problem: ErrorData | undefined;

  /** @param jobId of the job that holds the machine. */
  constructor(
    private readonly clock: Clock,
    private readonly jobId: () => string | undefined,
  ) {
    this.since = clock.now();
  }

  get state(): MachineState {
    return this.current;
  }

  get isLive(): boolean {
    return isLive(this.current);
  }

  /** Why it is paused, as far as it is. */
  get pauseReason(): PauseReason | undefined {
    return this.current === "paused" ? (this.reason ?? "user") : undefined;
  }

  /** The part of its description that this is. */
  get info(): Pick<MachineInfo, "state" | "since" | "pauseReason" | "jobId"> {
    const { state, since, pauseReason } = this;
    const jobId = this.jobId();
    return { state, since, ...(pauseReason ? { pauseReason } : {}), ...(jobId === undefined ? {} : { jobId }) };
  }

  enter(state: MachineState, reason?: PauseReason): void {
    if (this.current !== state) this.since = this.clock.now();
    this.current = state;
    this.reason = reason;
    this.changeEmitter.fire();
  }

  /** @throws TerrariumError `illegal-state` or `busy` with the reason people read. */
  require(command: MachineCommand): void {
    const { state, pauseReason, jobId } = this.info;
    const standing = { state, ...(pauseReason ? { pauseReason } : {}) };
    const because = refusal(command, { ...standing, ...(jobId === undefined ? {} : { jobId }) });
    if (because !== undefined) throw new TerrariumError(refusal(command, standing) === undefined ? "busy" : "illegal-state", because);
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

  /** Resolves when what was asked has been done, or has failed: whoever asked hears of that. */
  async settled(): Promise<void> {
    await this.turn;
  }

  dispose(): void {
    this.changeEmitter.dispose();
  }
}
