import { systemClock, type Clock } from "../../core/base/clock";
import { toDisposable, type Disposable } from "../../core/base/disposable";

/** The real clock, with time that can be skipped. */
export class SkippingClock implements Clock {
  private readonly real = systemClock();
  private readonly pending = new Set<{ at: number; run: () => void }>();
  private skipped = 0;

  now(): number {
    return this.real.now() + this.skipped;
  }

  monotonic(): number {
    return this.real.monotonic() + this.skipped;
  }

  schedule(delayMs: number, callback: () => void): Disposable {
    const held = toDisposable(() => {
      this.pending.delete(entry);
      timer.dispose();
    });
    const run = (): void => {
      held.dispose();
      callback();
    };
    const entry = { at: this.monotonic() + delayMs, run };
    const timer = this.real.schedule(delayMs, run);
    this.pending.add(entry);
    return held;
  }

  /** Skips `ms` in small steps, with what happens in between. */
  async skip(ms: number): Promise<void> {
    for (let step = 0; step < 100; step++) {
      this.skipped += ms / 100;
      for (const entry of [...this.pending]) if (entry.at <= this.monotonic()) entry.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
