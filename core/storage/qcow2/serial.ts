/** Runs one piece of work after the other. */
export class Mutex {
  private last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    // Whoever waits for the work before hears of its failure; it is not the next one's.
    const next = this.last.then(work, work);
    this.last = next;
    return next;
  }
}

interface Held {
  readonly from: number;
  readonly to: number;
  readonly released: Promise<void>;
}

/** Keeps pieces of work apart whose ranges overlap; others run side by side. Few are held at a time. */
export class RangeLocks {
  private readonly held: Held[] = [];

  /** Resolves when nobody else holds a part of [from, to); call the result to let it go. */
  async acquire(from: number, to: number): Promise<() => void> {
    for (;;) {
      const held = this.tryAcquire(from, to);
      if (held) return held;
      await this.held.find((each) => each.from < to && from < each.to)?.released;
    }
  }

  /** The same at once, or undefined when somebody holds a part of it. */
  tryAcquire(from: number, to: number): (() => void) | undefined {
    if (this.held.some((each) => each.from < to && from < each.to)) return undefined;
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const mine = { from, to, released };
    this.held.push(mine);
    return () => {
      this.held.splice(this.held.indexOf(mine), 1);
      release();
    };
  }
}

/** Operations that began between two commits. */
export interface Generation {
  readonly number: number;
  running: number;
}

/**
 * Tells when every operation has ended that may still use a cluster which nothing leads to any more: those that began
 * before the cluster was let go, or in the same generation.
 */
export class Generations {
  private readonly waiting: Generation[] = [];
  private current: Generation = { number: 0, running: 0 };

  begin(): Generation {
    this.current.running++;
    return this.current;
  }

  /** Ends the current generation and returns its number. */
  next(): number {
    const { number, running } = this.current;
    if (running > 0) this.waiting.push(this.current);
    this.current = { number: number + 1, running: 0 };
    return number;
  }

  hasEnded(number: number): boolean {
    while (this.waiting[0]?.running === 0) this.waiting.shift();
    const oldest = this.waiting[0];
    return number < this.current.number && (!oldest || oldest.number > number);
  }
}
