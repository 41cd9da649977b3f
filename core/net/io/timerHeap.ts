import type { Disposable } from "../../base/disposable";

/** Timers in the order they fall due, those of one moment in the order they were set. Setting and cancelling take log n. */
export class TimerHeap {
  private readonly heap: Timer[] = [];
  private sequence = 0;

  get size(): number {
    return this.heap.length;
  }

  /** When the first falls due; infinity when there is none. */
  get next(): number {
    return this.heap[0]?.at ?? Infinity;
  }

  add(at: number, callback: () => void): Disposable {
    const timer = new Timer(this, at, this.sequence++, callback);
    this.heap.push(timer);
    this.up(timer, this.heap.length - 1);
    return timer;
  }

  /** Takes the first out that is due at `now` and was set before `before` timers were. */
  takeDue(now: number, before: number): (() => void) | undefined {
    const first = this.heap[0];
    if (first === undefined || first.at > now || first.sequence >= before) return undefined;
    this.remove(first);
    return first.callback;
  }

  /** How many timers were ever set. */
  get count(): number {
    return this.sequence;
  }

  remove(timer: Timer): void {
    const index = timer.index;
    if (index < 0) return;
    timer.index = -1;
    const last = this.heap.pop();
    if (last === undefined || last === timer) return;
    this.up(last, index);
    this.down(last, last.index);
  }

  private up(timer: Timer, from: number): void {
    let index = from;
    while (index > 0) {
      const parent = this.heap[(index - 1) >> 1]!;
      if (!before(timer, parent)) break;
      this.place(parent, index);
      index = (index - 1) >> 1;
    }
    this.place(timer, index);
  }

  private down(timer: Timer, from: number): void {
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= this.heap.length) break;
      if (child + 1 < this.heap.length && before(this.heap[child + 1]!, this.heap[child]!)) child++;
      if (!before(this.heap[child]!, timer)) break;
      this.place(this.heap[child]!, index);
      index = child;
    }
    this.place(timer, index);
  }

  private place(timer: Timer, index: number): void {
    this.heap[index] = timer;
    timer.index = index;
  }
}

class Timer implements Disposable {
  index = -1;

  constructor(
    private readonly heap: TimerHeap,
    readonly at: number,
    readonly sequence: number,
    readonly callback: () => void,
  ) {}

  dispose(): void {
    this.heap.remove(this);
  }
}

function before(one: Timer, other: Timer): boolean {
  return one.at < other.at || (one.at === other.at && one.sequence < other.sequence);
}
