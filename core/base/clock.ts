import { toDisposable, type Disposable } from "./disposable";

/** Time as a dependency, so that tests run on virtual time. All times are milliseconds. */
export interface Clock {
  /** Wall-clock time, milliseconds since the Unix epoch. */
  now(): number;
  /** Monotonic time, milliseconds from an arbitrary start. */
  monotonic(): number;
  /** Runs `callback` once after `delayMs`; disposing cancels it. */
  schedule(delayMs: number, callback: () => void): Disposable;
}

/** The real clock. Its timers do not keep a process alive unless `keepAlive` is set. */
export function systemClock(options: { keepAlive?: boolean } = {}): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    schedule(delayMs, callback) {
      const timer = setTimeout(callback, delayMs);
      if (options.keepAlive === false) timer.unref();
      return toDisposable(() => clearTimeout(timer));
    },
  };
}

/** A clock that stands still until `advance` is called; for tests. */
export class ManualClock implements Clock {
  private time = 0;
  private sequence = 0;
  private pending: { at: number; sequence: number; callback: () => void }[] = [];

  constructor(private readonly epoch = 0) {}

  now(): number {
    return this.epoch + this.time;
  }

  monotonic(): number {
    return this.time;
  }

  schedule(delayMs: number, callback: () => void): Disposable {
    const entry = { at: this.time + Math.max(0, delayMs), sequence: this.sequence++, callback };
    this.pending.push(entry);
    return toDisposable(() => {
      this.pending = this.pending.filter((other) => other !== entry);
    });
  }

  /** Moves time forward by `ms` and runs what falls due, in order. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = this.pending.filter((entry) => entry.at <= end).sort((a, b) => a.at - b.at || a.sequence - b.sequence)[0];
      if (!due) break;
      this.pending = this.pending.filter((entry) => entry !== due);
      this.time = due.at;
      due.callback();
    }
    this.time = end;
  }
}
