/**
 * How much may be on its way to the guest (RFC 5681, bytes counted as in RFC 3465). The line is a queue in this machine's
 * memory: it is begun with more than RFC 6928 dares on the Internet, but it is bounded, so a loss is heeded.
 */
const initialBytes = 65_536;

/** More would only make the queue on the way to the guest longer. */
const mostBytes = 2 * 1024 * 1024;

export class Congestion {
  /** Bytes that may be in flight. */
  window: number;
  private threshold = Infinity;
  private counted = 0;

  constructor(private mss: number) {
    this.window = this.initial();
  }

  /** The largest segment, known when the handshake is done. */
  start(mss: number): void {
    this.mss = mss;
    this.window = this.initial();
  }

  /** `bytes` were acknowledged while the window was in full use; else it says nothing about what the line can take. */
  acknowledged(bytes: number): void {
    if (this.window < this.threshold) {
      this.window += bytes;
    } else {
      this.counted += bytes;
      while (this.counted >= this.window) {
        this.counted -= this.window;
        this.window += this.mss;
      }
    }
    this.window = Math.min(this.window, mostBytes);
  }

  /** A segment was lost (RFC 5681, 3.2). */
  lost(flight: number): void {
    this.threshold = Math.max(flight / 2, 2 * this.mss);
    this.window = this.threshold;
    this.counted = 0;
  }

  /** Nothing came back in time (RFC 5681, 3.1). `again`: for the same segment, which halves no further. */
  timedOut(flight: number, again: boolean): void {
    if (!again) this.threshold = Math.max(flight / 2, 2 * this.mss);
    this.window = this.mss;
    this.counted = 0;
  }

  /** Window for a NewReno recovery, blown up by what the duplicates say has left the line (RFC 6582, 3.2). */
  inflate(bytes: number): void {
    this.window += bytes;
  }

  deflate(acknowledged: number): void {
    this.window = Math.max(this.mss, this.window - acknowledged + this.mss);
  }

  recovered(): void {
    this.window = Math.max(this.mss, this.threshold);
  }

  /** The line was silent for longer than the retransmission time: what was known of it is old (RFC 5681, 4.1). */
  restart(): void {
    this.window = Math.min(this.window, this.initial());
  }

  private initial(): number {
    return Math.max(10 * this.mss, initialBytes);
  }
}

/** The least of RFC 6298 is a second, for clocks of its time; this line's delays are those of a guest's delayed ACKs. */
const leastMs = 200;
const mostMs = 60_000;
const firstMs = 1000;

/** The retransmission time-out (RFC 6298), milliseconds. */
export class RetransmissionTime {
  private smoothed: number | undefined;
  private variation = 0;
  private base = firstMs;
  private doublings = 0;

  get ms(): number {
    return Math.min(this.base * 2 ** this.doublings, mostMs);
  }

  /** As it was measured, smoothed; before that the first time-out. */
  get roundTrip(): number {
    return this.smoothed ?? firstMs;
  }

  sample(ms: number): void {
    if (this.smoothed === undefined) {
      this.smoothed = ms;
      this.variation = ms / 2;
    } else {
      this.variation += (Math.abs(this.smoothed - ms) - this.variation) / 4;
      this.smoothed += (ms - this.smoothed) / 8;
    }
    this.base = Math.min(Math.max(this.smoothed + Math.max(4 * this.variation, 1), leastMs), mostMs);
  }

  backOff(): void {
    this.doublings++;
  }

  /** Something new was acknowledged: the line works. */
  settle(): void {
    this.doublings = 0;
  }
}
