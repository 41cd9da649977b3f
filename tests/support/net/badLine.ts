import type { Clock } from "../../../core/base/clock";
import type { Disposable } from "../../../core/base/disposable";
import { countDrop, type FramePort, type FrameSink, type PortCounters } from "../../../core/net/port";
import { read32 } from "../../../core/net/wire/addresses";
import { Chance } from "./fuzzedNetwork";

/** How bad a line is, each way. */
export interface LineConditions {
  /** Of all frames, how many are lost: 0.01 is one of a hundred. */
  readonly loss: number;
  /** How many come later than those behind them, and by how much. */
  readonly late: number;
  readonly lateMs: number;
  /** What every frame takes. */
  readonly delayMs: number;
}

/** A port whose line loses, delays and reorders frames, both ways. The same seed makes the same line. */
export class BadLine implements FramePort {
  /** Absent: a line without faults. */
  conditions: LineConditions | undefined;
  private sink: FrameSink | undefined;
  private readonly toGuest: OneWay;
  private readonly fromGuest: OneWay;

  constructor(
    private readonly inner: FramePort,
    clock: Clock,
    seed: number,
  ) {
    const lost = (): void => countDrop(inner.counters, "condition");
    const chance = new Chance(seed);
    this.toGuest = new OneWay(clock, chance, lost, (bytes, at, end) => inner.frames(bytes, at, end));
    this.fromGuest = new OneWay(clock, chance, lost, (bytes, at, end) => this.sink?.frames(bytes, at, end));
    inner.connect({ frames: (bytes, at, end) => this.fromGuest.pass(bytes, at, end, this.conditions) });
  }

  get counters(): PortCounters {
    return this.inner.counters;
  }

  get writable(): boolean {
    return this.inner.writable;
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.toGuest.pass(bytes, at, end, this.conditions);
  }

  dispose(): void {
    this.toGuest.dispose();
    this.fromGuest.dispose();
    this.inner.dispose();
  }
}

const lengthBytes = 4;
/** A line holds so many frames; a sender that puts more on it has lost them. */
const mostWaiting = 8192;

class OneWay implements Disposable {
  /** Frames with their lengths, by when they are due. Those in time and those that are late are each in order. */
  private readonly inTime: Waiting[] = [];
  private readonly late: Waiting[] = [];
  private timer: Disposable | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly chance: Chance,
    private readonly lost: () => void,
    private readonly deliver: (bytes: Uint8Array, at: number, end: number) => void,
  ) {}

  pass(bytes: Uint8Array, at: number, end: number, conditions: LineConditions | undefined): void {
    if (conditions === undefined && this.inTime.length + this.late.length === 0) return this.deliver(bytes, at, end);
    const { loss, late, lateMs, delayMs } = conditions ?? { loss: 0, late: 0, lateMs: 0, delayMs: 0 };
    const now = this.clock.monotonic();
    for (let next = at; next < end; ) {
      const frame = next;
      next += lengthBytes + read32(bytes, frame);
      const isLate = this.chance.below(1_000_000) < late * 1_000_000;
      if (this.chance.below(1_000_000) < loss * 1_000_000 || this.inTime.length + this.late.length >= mostWaiting) this.lost();
      else if (isLate) this.late.push({ dueAt: now + delayMs + lateMs, run: bytes.slice(frame, next) });
      else if (delayMs === 0 && this.inTime.length === 0) this.deliver(bytes, frame, next);
      else this.inTime.push({ dueAt: now + delayMs, run: bytes.slice(frame, next) });
    }
    this.await();
  }

  dispose(): void {
    this.timer?.dispose();
    this.timer = undefined;
    this.inTime.length = this.late.length = 0;
  }

  private await(): void {
    const first = Math.min(this.inTime[0]?.dueAt ?? Infinity, this.late[0]?.dueAt ?? Infinity);
    if (this.timer !== undefined || first === Infinity) return;
    this.timer = this.clock.schedule(Math.max(0, first - this.clock.monotonic()), () => {
      this.timer = undefined;
      this.deliverDue();
      this.await();
    });
  }

  private deliverDue(): void {
    const now = this.clock.monotonic();
    for (const queue of [this.inTime, this.late]) {
      let due = 0;
      while (due < queue.length && queue[due]!.dueAt <= now) due++;
      for (const { run } of queue.splice(0, due)) this.deliver(run, 0, run.length);
    }
  }
}

interface Waiting {
  readonly dueAt: number;
  readonly run: Uint8Array;
}
