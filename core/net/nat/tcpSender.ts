import { sequenceDistance, TcpFlag } from "../wire/tcp";
import { Congestion, RetransmissionTime } from "./tcpCongestion";
import { StreamBuffer, type ChunkShare } from "./tcpBuffer";
import { Ranges } from "./tcpRanges";

/**
 * The stream to the guest: what is kept until it is acknowledged, when it is sent, and sent again.
 *
 * Bytes have positions that count from our SYN (position 0) and never wrap; data begins at 1, the FIN stands behind it.
 *
 *   una ........ nxt ........ max ........ end
 *   acknowledged | sent       | sent once  | read from the host
 *
 * `nxt` is behind `max` only after a time-out, when everything is sent again but what the guest said it has. Losses are
 * found by duplicate ACKs (RFC 5681, 3.2) and repaired by RFC 6675 when the guest sends SACK, else by RFC 6582. With SACK,
 * two things need not wait for the time-out: a segment that was sent again and is lost again is known by what was sent
 * behind it and came; and when everything that may be sent was, and no ACK comes, the last segment is sent again as a
 * probe, whose SACK tells of the losses before it (after RFC 8985, 7).
 */
export interface SegmentLine {
  /** Sends `length` bytes of the stream from `position`, as one segment. */
  segment(flags: number, position: number, length: number): void;
  /** Whether the guest's port takes more now; what is sent all the same may be lost. Without it, always. */
  readonly clear?: boolean;
}

type Recovery = "none" | "sack" | "newreno" | "timeout";

const duplicateThreshold = 3;

/** Read ahead of what the windows let pass, so that the line does not wait for the host's socket. */
const readAheadBytes = 128 * 1024;
const readAheadPressedBytes = 16 * 1024;
const mostBufferedBytes = 4 * 1024 * 1024;

/** Time-outs and unanswered probes in a row after which the guest counts as gone (RFC 9293, 3.8.3): some minutes. */
const mostRetries = 12;

/** A probe comes after two round trips, and no sooner than this. */
const leastProbeMs = 20;

const noSack: readonly (readonly [number, number])[] = [];

export class TcpSender {
  una = 0;
  nxt = 0;
  /** Behind everything that was ever sent. */
  max = 0;
  /** Behind the last byte there is; the FIN's position. */
  end = 1;
  readonly buffer: StreamBuffer;
  sackPermitted = false;
  /** What the guest lets us send beyond `una`. */
  private window = 0;
  private greatestWindow = 0;
  private windowPosition = 0;
  private windowAcknowledgment = 0;
  private mss = 536;
  private finished = false;
  private recovery: Recovery = "none";
  private recoverTo = 0;
  private duplicates = 0;
  private retransmitNow = false;
  /** Behind what was sent again in this recovery, and in its rescue (RFC 6675, 5). */
  private repairedTo = 0;
  private rescued = false;
  /** What was sent again in this recovery, oldest first, and `max` of that moment: who has got from behind it should have it. */
  private repairs: { readonly position: number; readonly mark: number }[] = [];
  /** When the retransmission or persist timer is due, and when the probe is; Infinity when off. */
  private timerAt = Infinity;
  private probeAt = Infinity;
  /** `max` when the latest probe was sent, until that is acknowledged; 0 for none. */
  private probedTo = 0;
  /** Below here what is not SACKed is lost, says the probe. */
  private probedLost = 0;
  /** Time-outs since the guest was last heard. */
  private silentTimeouts = 0;
  private readonly sacked = new Ranges(512);
  private readonly congestion = new Congestion(536);
  private readonly time = new RetransmissionTime();
  private retries = 0;
  private held = false;
  private lastSentAt = -Infinity;
  /** The segment whose round trip is timed when there are no timestamps; -1 for none. */
  private timedPosition = -1;
  private timedAt = 0;

  /** @param initial our initial sequence number */
  constructor(
    private readonly initial: number,
    private readonly line: SegmentLine,
    private readonly memory: ChunkShare,
  ) {
    this.buffer = new StreamBuffer(memory);
  }

  sequenceOf(position: number): number {
    return (this.initial + position) >>> 0;
  }

  positionOf(sequence: number): number {
    return this.una + sequenceDistance(this.sequenceOf(this.una), sequence);
  }

  /** What the handshake agreed on. */
  start(mss: number, window: number, position: number): void {
    this.mss = mss;
    this.congestion.start(mss);
    this.setWindow(window, position, this.una);
  }

  /** The SYN left, or left again. */
  sentSyn(now: number, again: boolean): void {
    this.nxt = this.max = 1;
    this.timedPosition = again ? -1 : 1;
    this.timedAt = now;
  }

  /** How far back an ACK may lie and still be one of this connection (RFC 5961, 5.2). */
  get oldestAcceptable(): number {
    return this.una - this.greatestWindow;
  }

  get finAcknowledged(): boolean {
    return this.finished && this.una > this.end;
  }

  get isFinished(): boolean {
    return this.finished;
  }

  /**
   * Where a segment without data stands: behind what was sent, but not beyond the guest's window, where it would not be
   * taken, nor its ACK (RFC 9293, 3.10.7.4, first step). A probe of a closed window is beyond it, and so may be what was
   * sent before the guest took room back.
   */
  get bareAt(): number {
    return Math.max(this.una, Math.min(this.max, this.windowAcknowledgment + this.window));
  }

  /** When `timedOut` is to be called; Infinity for not. */
  get dueAt(): number {
    return Math.min(this.timerAt, this.probeAt);
  }

  /** Whether everything that is to be sent was sent and acknowledged. */
  get idle(): boolean {
    return this.una === this.max && this.una >= (this.finished ? this.end + 1 : this.end);
  }

  /** How much to read from the host now. */
  get room(): number {
    const ahead = this.memory.pressed ? readAheadPressedBytes : readAheadBytes;
    return Math.min(Math.min(this.window, this.congestion.window) + ahead, mostBufferedBytes) - (this.end - this.una);
  }

  /** Whether it is worth while to be told of more (a window of a few bytes must not stop the reading for good). */
  get wantsMore(): boolean {
    return this.room >= Math.min(65_536, (readAheadPressedBytes + Math.min(this.window, this.congestion.window)) / 2);
  }

  appended(count: number): void {
    this.end += count;
    this.buffer.wrote(this.end);
  }

  /** Gives memory back that was taken to read into when nothing came. */
  releaseUnused(): void {
    if (this.una >= this.end) this.buffer.clear();
  }

  /** Nothing follows: the FIN goes behind the last byte. */
  finish(): void {
    this.finished = true;
  }

  /**
   * An ACK in [oldestAcceptable, max]. `plain`: without data, SYN or FIN, so that it may be a duplicate. `elapsed`: the
   * round trip its timestamp tells, or -1.
   */
  acknowledged(position: number, plain: boolean, window: number, segmentPosition: number, sack: readonly (readonly [number, number])[] | undefined, elapsed: number, now: number): void {
    const told = this.sackPermitted && this.recordSack(sack ?? noSack, position);
    const sameWindow = window === this.window;
    if (this.windowPosition < segmentPosition || (this.windowPosition === segmentPosition && this.windowAcknowledgment <= position)) {
      this.setWindow(window, segmentPosition, position);
    }
    if (position > this.una) this.advance(position, elapsed, now);
    else if (position === this.una && this.nxt > this.una && (told || (plain && sameWindow && !this.sackPermitted))) this.duplicate();
    if (this.recovery === "none" && this.sackPermitted && this.sacked.count > 0 && this.lostBelow() > this.una) this.beginRecovery();
  }

  /** The guest is there and answers, even if it takes nothing (RFC 9293, 3.8.6.1). */
  heard(now: number): void {
    if (this.window === 0) this.retries = 0;
    else if (this.silentTimeouts > 1 && this.retries > 0) {
      // It was away, and is back: the rest of a long wait is not for it.
      this.time.settle();
      this.retries = 0;
      this.timerAt = now;
    }
    this.silentTimeouts = 0;
  }

  /** Sends what may be sent. `more`: there is more to be read in the host's socket, so a last short segment can wait for it. */
  transmit(more: boolean, now: number): void {
    if (this.nxt === this.una && now - this.lastSentAt > this.time.ms) this.congestion.restart();
    const before = this.max;
    const silent = this.nxt === this.una;
    if (this.recovery === "sack") this.repair(more, now);
    else {
      if (this.retransmitNow) {
        this.retransmitNow = false;
        this.sendAgain(this.una, this.mss, now);
      }
      // Limited transmit: the first duplicates say that something has left the line (RFC 3042).
      const extra = this.recovery === "none" ? Math.min(this.duplicates, duplicateThreshold - 1) * this.mss : 0;
      this.sendUpTo(this.una + Math.min(this.window, this.congestion.window + extra), more, now);
    }
    if (this.max !== before) {
      this.lastSentAt = now;
      this.awaitProbe(now);
    }
    if ((silent && this.nxt > this.una) || (this.timerAt === Infinity && this.pending)) this.timerAt = now + this.time.ms;
  }

  /** A timer is due. False when the guest has not answered for too long. */
  timedOut(now: number): boolean {
    if (this.idle) {
      this.timerAt = this.probeAt = Infinity;
      return true;
    }
    if (this.timerAt > now) {
      this.probeTail(now);
      return true;
    }
    this.probeAt = Infinity;
    this.silentTimeouts++;
    if (this.retries >= mostRetries) return false;
    if (this.nxt === this.una) this.probe(now);
    else this.sendAllAgain();
    this.retries++;
    this.time.backOff();
    this.timerAt = now + this.time.ms;
    return true;
  }

  private get pending(): boolean {
    return this.una < (this.finished ? this.end + 1 : this.end);
  }

  private setWindow(window: number, position: number, acknowledgment: number): void {
    if (this.window === 0 && window > 0) this.time.settle();
    this.window = window;
    this.greatestWindow = Math.max(this.greatestWindow, window);
    this.windowPosition = position;
    this.windowAcknowledgment = acknowledgment;
  }

  private advance(position: number, elapsed: number, now: number): void {
    const bytes = position - this.una;
    const inUse = this.held || (this.nxt - this.una) * 2 >= this.congestion.window;
    this.una = position;
    this.buffer.dropTo(Math.min(position, this.end));
    this.sacked.dropTo(position);
    if (this.nxt < position) this.nxt = position;
    if (elapsed >= 0) this.time.sample(elapsed);
    else if (this.timedPosition >= 0 && position >= this.timedPosition) this.time.sample(now - this.timedAt);
    if (position >= this.timedPosition) this.timedPosition = -1;
    this.time.settle();
    this.retries = 0;
    this.timerAt = this.max > position || this.pending ? now + this.time.ms : Infinity;
    if (position >= this.probedTo) this.probedTo = 0;
    while (this.repairs.length > 0 && this.repairs[0]!.position < position) this.repairs.shift();
    this.leaveOrGoOn(bytes, inUse);
    this.awaitProbe(now);
  }

  private leaveOrGoOn(bytes: number, inUse: boolean): void {
    if (this.recovery === "none" || this.recovery === "timeout") {
      this.duplicates = 0;
      if (inUse || this.recovery === "timeout") this.congestion.acknowledged(bytes);
      if (this.una >= this.recoverTo) this.recovery = "none";
    } else if (this.una >= this.recoverTo) {
      this.recovery = "none";
      this.duplicates = 0;
      this.congestion.recovered();
    } else if (this.recovery === "newreno") {
      // A partial ACK: the next hole begins here (RFC 6582, 3.2 step 3).
      this.congestion.deflate(bytes);
      this.retransmitNow = true;
    }
  }

  private duplicate(): void {
    this.duplicates++;
    if (this.recovery === "newreno") this.congestion.inflate(this.mss);
    else if (this.recovery === "none" && this.duplicates >= duplicateThreshold) this.beginRecovery();
  }

  private beginRecovery(): void {
    this.recoverTo = this.max;
    this.congestion.lost(this.max - this.una);
    this.nxt = this.max;
    this.timedPosition = -1;
    this.retransmitNow = true;
    this.repairedTo = this.una;
    this.rescued = false;
    this.repairs = [];
    this.probeAt = Infinity;
    this.recovery = this.sackPermitted ? "sack" : "newreno";
    if (this.recovery === "newreno") this.congestion.inflate(duplicateThreshold * this.mss);
  }

  private recordSack(blocks: readonly (readonly [number, number])[], acknowledged: number): boolean {
    let told = false;
    for (const [left, right] of blocks) {
      const from = this.positionOf(left);
      const to = this.positionOf(right);
      // Below the ACK it is a duplicate's (RFC 2883), above `max` a lie.
      if (from > acknowledged && from >= this.una && to > from && to <= this.max && this.sacked.add(from, to)) told = true;
    }
    if (told && this.probedTo > 0 && this.sacked.highest >= this.probedTo) this.probedLost = this.sacked.startOf(this.sacked.count - 1);
    return told;
  }

  /** What is not SACKed below this position is lost (RFC 6675, 4, IsLost; or by a probe). */
  private lostBelow(): number {
    return Math.max(this.lostByCount(), this.probedLost);
  }

  private lostByCount(): number {
    let bytes = 0;
    for (let index = this.sacked.count - 1, count = 1; index >= 0; index--, count++) {
      bytes += this.sacked.endOf(index) - this.sacked.startOf(index);
      if (count >= duplicateThreshold || bytes > (duplicateThreshold - 1) * this.mss) return this.sacked.startOf(index);
    }
    return this.una;
  }

  /** How much is on the line (RFC 6675, 4, SetPipe). */
  private pipe(lostBelow: number): number {
    let pipe = this.max - Math.max(this.sacked.highest, this.una);
    let hole = this.una;
    for (let index = 0; index < this.sacked.count; index++) {
      const holeEnd = this.sacked.startOf(index);
      pipe += Math.max(0, Math.min(holeEnd, this.repairedTo) - hole);
      if (holeEnd > lostBelow) pipe += holeEnd - hole;
      hole = this.sacked.endOf(index);
    }
    return pipe;
  }

  /** Loss recovery with SACK (RFC 6675, 5 step C). The first hole is repaired whatever the window says. */
  private repair(more: boolean, now: number): void {
    this.repairAgain(now);
    const lostBelow = this.lostBelow();
    let pipe = this.pipe(lostBelow);
    while (this.retransmitNow || this.congestion.window - pipe >= this.mss) {
      const sent = this.repairNext(lostBelow, this.retransmitNow, more, now);
      this.retransmitNow = false;
      if (sent === 0) break;
      pipe += sent;
    }
  }

  /** NextSeg of RFC 6675, 4: what it sent, bytes. */
  private repairNext(lostBelow: number, forced: boolean, more: boolean, now: number): number {
    let hole = Math.max(this.repairedTo, this.una);
    const range = this.sacked.find(hole);
    if (range >= 0) hole = this.sacked.endOf(range);
    if (forced || hole < lostBelow) return this.repairAt(hole, now);
    const before = this.max;
    const limit = Math.min(this.una + this.window, this.max + this.mss);
    if (limit > this.max) this.sendUpTo(limit, more, now);
    if (this.max > before) return this.max - before;
    if (hole < this.sacked.highest) return this.repairAt(hole, now);
    if (this.rescued || this.repairedTo >= this.recoverTo) return 0;
    this.rescued = true;
    const from = Math.max(this.recoverTo - this.mss, this.una, this.sacked.highest);
    return from < this.recoverTo ? this.sendAgain(from, this.recoverTo - from, now) : 0;
  }

  private repairAt(hole: number, now: number): number {
    const sent = this.sendAgain(hole, Math.min(this.mss, this.sacked.nextStart(hole) - hole), now);
    this.repairedTo = hole + sent;
    if (sent > 0) this.repairs.push({ position: hole, mark: this.max });
    return sent;
  }

  /** What was sent again and lost again: enough that was sent after it has come. One takes the place of one on the line. */
  private repairAgain(now: number): void {
    const came = this.sacked.highest - duplicateThreshold * this.mss;
    for (let repair = this.repairs[0]; repair && repair.mark <= came; repair = this.repairs[0]) {
      this.repairs.shift();
      const { position } = repair;
      if (position < this.una || this.sacked.find(position) >= 0) continue;
      if (this.sendAgain(position, Math.min(this.mss, this.sacked.nextStart(position) - position), now) > 0) this.repairs.push({ position, mark: this.max });
    }
  }

  /** With a single segment on its way, the guest may only be taking its time with the ACK: that is the time-out's. */
  private awaitProbe(now: number): void {
    const probes = this.sackPermitted && this.recovery === "none" && this.probedTo === 0 && this.nxt === this.max && this.max - this.una > this.mss;
    this.probeAt = probes ? now + Math.max(2 * this.time.roundTrip, leastProbeMs) : Infinity;
  }

  private probeTail(now: number): void {
    this.probeAt = Infinity;
    if (this.recovery !== "none" || this.max <= this.una) return;
    this.probedTo = this.max;
    this.sendAgain(Math.max(this.una, Math.min(this.end, this.max) - this.mss), this.mss, now);
    this.timerAt = now + this.time.ms;
  }

  /** Sends from a position that was sent before; returns how much of the sequence space. */
  private sendAgain(position: number, most: number, now: number): number {
    const length = Math.min(most, this.mss, this.end - position, this.max - position);
    const fin = this.finished && position + length === this.end && this.max > this.end;
    if (length <= 0 && !fin) return 0;
    this.line.segment(TcpFlag.ack | (fin ? TcpFlag.fin : 0), position, Math.max(length, 0));
    this.timedPosition = -1;
    if (this.timerAt === Infinity) this.timerAt = now + this.time.ms;
    return Math.max(length, 0) + (fin ? 1 : 0);
  }

  private sendUpTo(limit: number, more: boolean, now: number): void {
    this.held = false;
    // One leaves in any case: its acknowledgment asks again.
    for (let sent = false; this.nxt < (this.finished ? this.end + 1 : this.end) && !(sent && this.line.clear === false); ) {
      const again = this.nxt < this.max;
      if (again) {
        const range = this.sacked.find(this.nxt);
        if (range >= 0) {
          this.nxt = this.sacked.endOf(range);
          continue;
        }
      }
      const there = Math.min(this.end - this.nxt, again ? this.sacked.nextStart(this.nxt) - this.nxt : Infinity);
      const room = limit - this.nxt;
      const length = Math.min(this.mss, there, room);
      if (room <= 0 || this.waitsForMore(length, there, more)) {
        this.held = limit - this.una < this.window;
        return;
      }
      const last = this.nxt + length === this.end;
      const fin = last && this.finished && room > length;
      this.line.segment(TcpFlag.ack | (last && length > 0 ? TcpFlag.psh : 0) | (fin ? TcpFlag.fin : 0), this.nxt, length);
      sent = true;
      this.nxt += length + (fin ? 1 : 0);
      if (this.nxt > this.max) {
        this.max = this.nxt;
        if (this.timedPosition < 0 && !again) {
          this.timedPosition = this.nxt;
          this.timedAt = now;
        }
      } else this.timedPosition = -1;
    }
  }

  /** Avoids silly windows (RFC 9293, 3.8.6.2.1); Nagle's rule is not applied, a short last segment leaves at once. */
  private waitsForMore(length: number, there: number, more: boolean): boolean {
    if (length === this.mss || this.nxt === this.una) return false;
    if (length < there) return length < this.greatestWindow / 2;
    return more && !this.finished && this.nxt + length === this.end;
  }

  /** One byte beyond the window, so that the guest says what its window is now (RFC 9293, 3.8.6.1). */
  private probe(now: number): void {
    const data = Math.min(1, this.end - this.una);
    const fin = data === 0 && this.finished;
    this.line.segment(TcpFlag.ack | (fin ? TcpFlag.fin : 0), this.una, data);
    this.max = Math.max(this.max, this.una + 1);
    this.timedPosition = -1;
    this.lastSentAt = now;
  }

  private sendAllAgain(): void {
    this.congestion.timedOut(this.nxt - this.una, this.retries > 0);
    // The guest may have thrown away what it said it had (RFC 2018, 8): believed once, not twice.
    if (this.retries > 0) this.sacked.clear();
    this.recovery = "timeout";
    this.recoverTo = this.max;
    this.duplicates = 0;
    this.retransmitNow = false;
    this.timedPosition = -1;
    this.repairs = [];
    this.probedTo = this.probedLost = 0;
    this.nxt = this.una;
  }
}
