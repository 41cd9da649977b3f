import { ManualClock, type Clock } from "../base/clock";

/**
 * The loop everything in the data plane runs in: a clock, and the end of a turn. A turn is the handling of everything
 * that was ready when the loop woke up. Acknowledgments and writes that several frames of one turn ask for are done
 * once, at its end.
 */
export interface Reactor extends Clock {
  /** Runs `task` at the end of this turn, in order; tasks it adds run in the same end. */
  atTurnEnd(task: () => void): void;
  /**
   * Bytes for buffers that live long (pools, queues, batches), zeroed, where this loop reads and writes them fastest.
   * What is no longer needed is given back whole with `release`.
   */
  allocate(bytes: number): Uint8Array;
  release(buffer: Uint8Array): void;
}

/** A reactor in virtual time, for tests: `endTurn` and `advance` make things happen. */
export class ManualReactor extends ManualClock implements Reactor {
  private readonly tasks: (() => void)[] = [];

  atTurnEnd(task: () => void): void {
    this.tasks.push(task);
  }

  allocate(bytes: number): Uint8Array {
    return new Uint8Array(bytes);
  }

  release(): void {
    // The garbage collector's.
  }

  endTurn(): void {
    for (let task = this.tasks.shift(); task; task = this.tasks.shift()) task();
  }

  /** Every timer that falls due is a turn of its own. */
  override schedule(delayMs: number, callback: () => void): ReturnType<ManualClock["schedule"]> {
    return super.schedule(delayMs, () => {
      callback();
      this.endTurn();
    });
  }
}
