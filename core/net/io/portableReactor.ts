import { systemClock, type Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";

/**
 * The runtime's own event loop as a reactor. The runtime calls us once per event, so a turn is all the events of one pass
 * of its loop: it ends where the loop runs immediates, behind its timers and its polling.
 */
export class PortableReactor implements Reactor {
  private readonly endTasks: (() => void)[] = [];
  private pending: (() => void)[] = [];
  private armed = false;

  constructor(
    private readonly log: Log,
    private readonly clock: Clock = systemClock(),
    private readonly afterPolling: (task: () => void) => void = setImmediate,
  ) {}

  now(): number {
    return this.clock.now();
  }

  monotonic(): number {
    return this.clock.monotonic();
  }

  schedule(delayMs: number, callback: () => void): Disposable {
    return this.clock.schedule(delayMs, () => this.handle(callback));
  }

  atTurnEnd(task: () => void): void {
    this.endTasks.push(task);
    this.arm();
  }

  allocate(bytes: number): Uint8Array {
    return new Uint8Array(bytes);
  }

  release(): void {
    // The garbage collector's.
  }

  /** Handles an event now, as part of this turn. What it throws ends nothing but itself. */
  handle(event: () => void): void {
    try {
      event();
    } catch (failure) {
      this.log.error("handling an event of the network failed", failure);
    }
  }

  warn(message: string): void {
    this.log.warn(message);
  }

  /** Handles an event in the next turn. */
  soon(event: () => void): void {
    this.pending.push(event);
    this.arm();
  }

  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    this.afterPolling(() => this.endTurn());
  }

  private endTurn(): void {
    this.armed = false;
    // Those that are added meanwhile are of the next turn: somebody who never has enough must not hold the loop.
    const events = this.pending;
    this.pending = [];
    for (const event of events) this.handle(event);
    for (let task = this.endTasks.shift(); task; task = this.endTasks.shift()) this.handle(task);
  }
}
