import type { Clock } from "../base/clock";
import type { Disposable } from "../base/disposable";
import { countDrop, type FramePort, type FrameSink, type PortCounters } from "./port";
import { read32 } from "./wire/addresses";

/** Bits a second each way; absent: as fast as it goes. */
export interface Rates {
  readonly toGuest?: number | undefined;
  readonly fromGuest?: number | undefined;
}

/** A port that carries so much each way and no more. What comes faster waits in a bounded queue, then is dropped. */
export class RateLimitedPort implements FramePort {
  private sink: FrameSink | undefined;
  private readonly toGuest: RateLimiter;
  private readonly fromGuest: RateLimiter;

  constructor(
    private readonly inner: FramePort,
    rates: Rates,
    clock: Clock,
  ) {
    const dropped = (frames: number): void => countDrop(inner.counters, "rate-limit", frames);
    this.toGuest = new RateLimiter(clock, (bytes, at, end) => inner.frames(bytes, at, end), dropped);
    this.fromGuest = new RateLimiter(clock, (bytes, at, end) => this.sink?.frames(bytes, at, end), dropped);
    this.setRates(rates);
    inner.connect({ frames: (bytes, at, end) => this.fromGuest.pass(bytes, at, end) });
  }

  get counters(): PortCounters {
    return this.inner.counters;
  }

  get writable(): boolean {
    return this.inner.writable && !this.toGuest.isCrowded;
  }

  /** From now on; what waits goes out at the new rate. */
  setRates(rates: Rates): void {
    this.toGuest.setRate(rates.toGuest);
    this.fromGuest.setRate(rates.fromGuest);
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.toGuest.pass(bytes, at, end);
  }

  dispose(): void {
    this.toGuest.dispose();
    this.fromGuest.dispose();
    this.inner.dispose();
  }
}

const lengthBytes = 4;

/** What may go out at once after a pause: this long at the rate, and never less than a few frames. */
const burstMs = 20;
const minBurstBytes = 4 * 1518;

/** How long frames wait at most, and how much memory they take. */
const queueMs = 250;
const minQueueBytes = 64 * 1024;
const maxQueueBytes = 2 * 1024 * 1024;

/**
 * A token bucket. It may go below zero by one frame, so that a frame longer than the bucket passes too; what is owed is
 * waited for before the next.
 */
class RateLimiter implements Disposable {
  private bytesPerMs = Infinity;
  private burst = Infinity;
  private tokens = Infinity;
  private countedAt: number;
  private timer: Disposable | undefined;
  /** Runs that wait: the bytes of [head, tail). */
  private queue = new Uint8Array(0);
  private head = 0;
  private tail = 0;

  constructor(
    private readonly clock: Clock,
    private readonly forward: (bytes: Uint8Array, at: number, end: number) => void,
    private readonly dropped: (frames: number) => void,
  ) {
    this.countedAt = clock.monotonic();
  }

  get isCrowded(): boolean {
    return this.tail - this.head > this.queue.length / 2;
  }

  setRate(bitsPerSecond: number | undefined): void {
    this.refill();
    const wasFree = this.tokens === Infinity;
    this.bytesPerMs = bitsPerSecond === undefined ? Infinity : bitsPerSecond / 8000;
    this.burst = Math.max(this.bytesPerMs * burstMs, minBurstBytes);
    this.tokens = wasFree ? this.burst : Math.min(this.tokens, this.burst);
    this.timer?.dispose();
    this.timer = undefined;
    this.drain();
  }

  pass(bytes: Uint8Array, at: number, end: number): void {
    if (this.bytesPerMs === Infinity) return this.forward(bytes, at, end);
    let rest = at;
    if (this.head === this.tail) {
      this.refill();
      rest = this.affordable(bytes, at, end);
      if (rest > at) this.forward(bytes, at, rest);
    }
    if (rest < end) this.enqueue(bytes, rest, end);
  }

  dispose(): void {
    this.timer?.dispose();
    this.timer = undefined;
    this.head = this.tail = 0;
    this.queue = new Uint8Array(0);
  }

  private refill(): void {
    const now = this.clock.monotonic();
    if (this.bytesPerMs !== Infinity) this.tokens = Math.min(this.burst, this.tokens + (now - this.countedAt) * this.bytesPerMs);
    else this.tokens = Infinity;
    this.countedAt = now;
  }

  /** How far in [at, end) the tokens reach, in whole frames; they are spent. */
  private affordable(bytes: Uint8Array, at: number, end: number): number {
    let position = at;
    while (position < end && this.tokens > 0) {
      const length = read32(bytes, position);
      this.tokens -= length;
      position += lengthBytes + length;
    }
    return position;
  }

  private enqueue(bytes: Uint8Array, at: number, end: number): void {
    this.makeRoom(end - at);
    let position = at;
    while (position < end) {
      const next = position + lengthBytes + read32(bytes, position);
      if (this.tail + next - at > this.queue.length) break;
      position = next;
    }
    this.queue.set(bytes.subarray(at, position), this.tail);
    this.tail += position - at;
    let lost = 0;
    for (; position < end; position += lengthBytes + read32(bytes, position)) lost++;
    if (lost > 0) this.dropped(lost);
    this.await();
  }

  private makeRoom(length: number): void {
    const capacity = Math.min(maxQueueBytes, Math.max(minQueueBytes, Math.ceil(this.bytesPerMs * queueMs)));
    if (this.queue.length < capacity) {
      const larger = new Uint8Array(capacity);
      larger.set(this.queue.subarray(this.head, this.tail));
      this.queue = larger;
    } else if (this.head > 0 && this.tail + length > this.queue.length) this.queue.copyWithin(0, this.head, this.tail);
    else return;
    this.tail -= this.head;
    this.head = 0;
  }

  private await(): void {
    if (this.timer !== undefined || this.head === this.tail) return;
    const delay = Math.max(1, Math.ceil(-this.tokens / this.bytesPerMs));
    this.timer = this.clock.schedule(delay, () => {
      this.timer = undefined;
      this.drain();
    });
  }

  private drain(): void {
    if (this.head === this.tail) return;
    this.refill();
    const end = this.affordable(this.queue, this.head, this.tail);
    const at = this.head;
    this.head = end;
    // What is forwarded may come back as new frames at once: the position is moved before.
    if (end > at) this.forward(this.queue, at, end);
    this.await();
  }
}
