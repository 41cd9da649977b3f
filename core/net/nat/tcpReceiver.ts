import { sequenceDistance } from "../wire/tcp";
import { write32 } from "../wire/addresses";
import { StreamBuffer, type ChunkShare } from "./tcpBuffer";
import { Ranges } from "./tcpRanges";

/**
 * The stream from the guest: what is put in order, how much more the guest may send, and what was handed to the host.
 *
 * Positions count from the guest's SYN (position 0) and never wrap; data begins at 1.
 *
 *   taken ......... next ......... edge
 *   by the host   | to be taken  | may come; what is there already is in `ranges`
 */
const mostWindow = 1024 * 1024;
const pressedWindow = 65_536;
const mostRanges = 256;
export const windowScale = 7;

/** Longer ones go to the host's socket at once; shorter ones are gathered until the turn ends. */
const directBytes = 16_384;

/** Takes bytes in order, as `HostTcp.write` does. */
export interface StreamTaker {
  write(bytes: Uint8Array, at: number, end: number): number;
}

export type Arrival = "in-order" | "out-of-order" | "nothing";

export class TcpReceiver {
  next = 1;
  /** Behind what the guest may send; it never moves back (RFC 9293, 3.8.6). */
  edge = 1;
  /** How much the host has taken. */
  taken = 1;
  /** The position of the guest's FIN, once it is known. */
  finAt = Infinity;
  /** The guest was told that nothing may come: what comes all the same is a probe. */
  closed = false;
  /** The guest scales our window by this. */
  shift = 0;
  private readonly ranges = new Ranges(mostRanges);
  /** Where the latest arrivals out of order began. */
  private readonly recent: number[] = [];
  private readonly told: number[] = [];
  private readonly buffer: StreamBuffer;

  /** @param initial the guest's initial sequence number */
  constructor(
    private readonly initial: number,
    private readonly memory: ChunkShare,
  ) {
    this.buffer = new StreamBuffer(memory);
  }

  sequenceOf(position: number): number {
    return (this.initial + position) >>> 0;
  }

  positionOf(sequence: number): number {
    return this.next + sequenceDistance(this.sequenceOf(this.next), sequence);
  }

  get finished(): boolean {
    return this.next > this.finAt;
  }

  /** Whether the host has everything, up to the end of the stream. */
  get drained(): boolean {
    return this.taken >= Math.min(this.next, this.finAt);
  }

  get hasGaps(): boolean {
    return this.ranges.count > 0;
  }

  /** Whether a segment of `length` from `position` touches the window (RFC 9293, 3.10.7.4, first step). */
  acceptable(position: number, length: number): boolean {
    // An ACK at the very edge comes when the last of a full window was lost; what it acknowledges counts all the same.
    if (length === 0) return position >= this.next && position <= Math.max(this.edge, this.next);
    return position < this.edge && position + length > this.next;
  }

  /** Takes data at `position`, as much of it as is new and fits into the window. */
  take(position: number, bytes: Uint8Array, at: number, end: number, host: StreamTaker | undefined): Arrival {
    const from = Math.max(position, this.next);
    const to = Math.min(position + (end - at), this.edge, this.finAt);
    if (from >= to) return "nothing";
    const start = at + (from - position);
    if (from > this.next) return this.keep(from, bytes, start, start + (to - from));
    let done = 0;
    if (host && this.taken === this.next && to - from >= directBytes) {
      done = host.write(bytes, start, start + (to - from));
      this.taken += done;
      this.next += done;
    }
    if (from + done < to && !this.buffer.put(from + done, bytes, start + done, start + (to - from))) return done > 0 ? "in-order" : "nothing";
    this.next = to;
    this.joinRanges();
    if (this.next === this.finAt) this.next++;
    return "in-order";
  }

  /** The guest's FIN stands at `position`, if it may: not before data that came, not beyond the window. */
  noteFin(position: number): void {
    if (this.finAt === Infinity && position >= this.next && position <= this.edge && position >= this.ranges.highest) this.finAt = position;
    if (this.next === this.finAt) this.next++;
  }

  /** Hands what is in order to the host; false when it would not take all. */
  drain(host: StreamTaker): boolean {
    const until = Math.min(this.next, this.finAt);
    while (this.taken < until) {
      const piece = this.buffer.pieceAt(this.taken, until);
      const count = host.write(piece.bytes, piece.at, piece.end);
      this.taken += count;
      if (count < piece.end - piece.at) break;
    }
    this.buffer.dropTo(this.taken);
    return this.taken >= until;
  }

  /** The window field to send now; what it allows is remembered. */
  advertise(): number {
    const unit = 1 << this.shift;
    // Rounding down may take back less than a unit of what was said before; it is taken all the same if it comes.
    const field = Math.min(Math.floor(Math.max(this.wish - this.next, this.edge - this.next, 0) / unit), 65_535);
    this.closed = field === 0;
    this.edge = Math.max(this.edge, this.next + field * unit);
    return field;
  }

  /** The window of a SYN, which is not scaled. */
  advertiseUnscaled(): number {
    const window = Math.min(this.capacity, 65_535);
    this.edge = this.next + window;
    return window;
  }

  /** Whether so much more may come than the guest knows that it should be told (RFC 9293, 3.8.6.2.2). */
  windowOpened(mss: number): boolean {
    return this.finAt === Infinity && this.wish - this.edge >= Math.min(2 * mss, this.capacity / 2);
  }

  /**
   * Writes up to `most` SACK blocks: that with the latest arrival first, then those before it (RFC 2018, 4). Returns how
   * many; with no `bytes` only their number.
   */
  sackBlocks(most: number, bytes?: Uint8Array, at = 0): number {
    const told = this.told;
    told.length = 0;
    for (let index = this.recent.length - 1; index >= 0 && told.length < most; index--) {
      const range = this.ranges.find(this.recent[index]!);
      if (range < 0 || told.includes(range)) continue;
      if (bytes) {
        write32(bytes, at + 8 * told.length, this.sequenceOf(this.ranges.startOf(range)));
        write32(bytes, at + 8 * told.length + 4, this.sequenceOf(this.ranges.endOf(range)));
      }
      told.push(range);
    }
    return told.length;
  }

  clear(): void {
    this.buffer.clear();
    this.ranges.clear();
  }

  private get capacity(): number {
    return Math.min(this.memory.pressed ? pressedWindow : mostWindow, 65_535 * 2 ** this.shift);
  }

  private get wish(): number {
    return this.taken + this.capacity;
  }

  private keep(from: number, bytes: Uint8Array, at: number, end: number): Arrival {
    const to = from + (end - at);
    if (!this.ranges.fits(from, to) || !this.buffer.put(from, bytes, at, end)) return "out-of-order";
    this.ranges.add(from, to);
    this.recent.push(from);
    if (this.recent.length > 8) this.recent.shift();
    return "out-of-order";
  }

  private joinRanges(): void {
    if (this.ranges.count === 0) return;
    if (this.ranges.startOf(0) <= this.next) this.next = Math.max(this.next, this.ranges.endOf(0));
    this.ranges.dropTo(this.next);
    if (this.ranges.count === 0) this.recent.length = 0;
  }
}
