import type { Disposable } from "../../base/disposable";
import { tcpHeaderBytes, TcpFlag, type TcpOptions } from "../wire/tcp";
import type { Reactor } from "../reactor";
import type { HostSocketFailure, HostTcp, HostTcpHandler } from "./hostSockets";
import type { FlowInfo, IpOutput } from "./ipOutput";
import type { Account } from "./shares";
import type { ChunkPool, ChunkShare } from "./tcpBuffer";
import { TcpHostSide } from "./tcpHostSide";
import { TcpReceiver, windowScale } from "./tcpReceiver";
import { ArrivedSegment, openSegment, putSackHeader, putTimestamps, sealSegment, sendBare, sendResetFor, timestampsBytes, type TcpEnds } from "./tcpSegment";
import { TcpSender, type SegmentLine } from "./tcpSender";
import type { TcpEntry } from "./tcpTable";

/**
 * One connection: the gateway's TCP with the guest on one side, a socket of the host on the other.
 *
 *   guest opens:   SYN -> syn-received, the host connects -> SYN-ACK -> ACK -> established
 *   a forward:     the host's socket is there -> syn-sent, SYN -> SYN-ACK -> established
 *   host ends:     established -> fin-wait-1 -> fin-wait-2 -> (guest's FIN) time-wait; crossing FINs: closing
 *   guest ends:    established -> close-wait -> (host's end) last-ack -> closed
 *
 * States are those of RFC 9293, 3.3.2, of the gateway's end. Whatever came in a turn is answered at its end, by one ACK or
 * by data that carries it. A connection is over when both ways are, and the host has taken everything.
 *
 * Timers: the sender's (retransmission, persist), the delayed ACK, the wait (for the handshake or in TIME-WAIT) and
 * keep-alive. They are deadlines; one timer runs for the earliest of them.
 */
export type TcpState =
  | "syn-received"
  | "syn-sent"
  | "established"
  | "fin-wait-1"
  | "fin-wait-2"
  | "close-wait"
  | "closing"
  | "last-ack"
  | "time-wait"
  | "closed";

/** What a connection needs of the one that holds them all. */
export interface TcpOwner {
  readonly reactor: Reactor;
  readonly output: IpOutput;
  readonly pool: ChunkPool;
  /** What our SYN says of the largest segment. */
  readonly mss: number;
  readonly keepAlive: { readonly idleMs: number; readonly intervalMs: number; readonly probes: number };
  /** This turn's time, monotonic, milliseconds. */
  readonly turnTime: number;
  random(): number;
  /** Has `endTurn` called at the end of this turn. */
  touch(connection: TcpConnection): void;
  /** The handshake is done. */
  established(connection: TcpConnection): void;
  /** It is in TIME-WAIT, and the host has everything: it may end at any time. */
  finished(connection: TcpConnection): void;
  released(connection: TcpConnection): void;
  /** The host could not connect: says so to the guest. */
  connectFailed(connection: TcpConnection, failure: HostSocketFailure): void;
}

export interface AcceptOptions {
  /** How long a guest that does not answer is waited for, milliseconds. */
  readonly patienceMs?: number;
  /** It came to nothing: the guest refused, or did not answer. */
  readonly onDidFail?: (why: "refused" | "silent") => void;
}

const delayedAckMs = 20;
/** A segment lives no longer on a line within one machine; what comes later finds a reset, which ends it as well. */
const timeWaitMs = 5_000;
const handshakeRetries = 6;
const firstHandshakeMs = 1_000;
const firstConnectMs = 250;
const mostHandshakeMs = 30_000;
const defaultPatienceMs = 5_000;
/** Challenge ACKs are rationed (RFC 5961, 7). */
const challengesPerPeriod = 10;
const challengePeriodMs = 5_000;
/** A smaller one would let a guest have its data sent in crumbs. */
const leastMss = 64;
const defaultMss = 536;
/** How soon memory is asked for again when there was none. */
const starvedMs = 50;
const pawsIdleMs = 24 * 24 * 3600 * 1000;
const mostSackBlocks = 4;

export class TcpConnection implements HostTcpHandler, SegmentLine, TcpEntry {
  nextInBucket: this | undefined;
  state: TcpState = "closed";
  /** Whether it waits for the end of this turn already. */
  touched = false;
  readonly sender: TcpSender;
  receiver: TcpReceiver;
  private readonly memory: ChunkShare;
  private host: TcpHostSide | undefined;
  private hostConnected = false;
  private accepting: (AcceptOptions & { until: number }) | undefined;

  private scaled = false;
  private sendShift = 0;
  private stamped = false;
  private readonly stampOffset: number;
  private recentStamp = 0;
  private recentStampAt = 0;
  private mss = defaultMss;

  private readonly startedAt: number;
  /** When the guest last said something, by the loop's clock. */
  heardAt: number;
  private probes = 0;
  /** What our last ACK said. */
  private acknowledgedTo = 1;
  private acknowledgeNow = false;
  private largestSeen = defaultMss;
  private challenges = 0;
  private challengesSince = -Infinity;
  private handshakes = 0;
  private delayedAckAt = Infinity;
  private waitAt = Infinity;
  private timer: Disposable | undefined;
  private timerAt = Infinity;

  constructor(
    private readonly owner: TcpOwner,
    readonly id: number,
    readonly direction: "out" | "in",
    readonly ends: TcpEnds,
    readonly account: Account,
    initialSequence: number,
  ) {
    this.memory = owner.pool.shareOf(account);
    this.sender = new TcpSender(initialSequence, this, this.memory);
    this.receiver = new TcpReceiver(0, this.memory);
    this.stampOffset = owner.random();
    this.startedAt = this.heardAt = owner.turnTime;
  }

  get halfOpen(): boolean {
    return this.state === "syn-received" || this.state === "syn-sent";
  }

  /** A guest's SYN, answered once the host's side of it stands: `connect` begins that. */
  openFromGuest(segment: ArrivedSegment, connect: (handler: HostTcpHandler) => HostTcp): void {
    this.state = "syn-received";
    this.takeSyn(segment);
    this.host = new TcpHostSide(connect(this));
  }

  /** A connection that came to a forward: the guest is called. */
  openToGuest(socket: HostTcp, options: AcceptOptions): void {
    this.state = "syn-sent";
    this.host = new TcpHostSide(socket);
    this.hostConnected = true;
    this.accepting = { ...options, until: this.owner.turnTime + (options.patienceMs ?? defaultPatienceMs) };
    this.sendSyn();
    this.owner.touch(this);
  }

  // The host's side.

  connected(): void {
    if (this.state !== "syn-received" || this.hostConnected) return;
    this.hostConnected = true;
    this.owner.touch(this);
    this.sendSyn();
  }

  readable(): void {
    if (this.state === "closed" || this.halfOpen) return;
    this.owner.touch(this);
    this.host?.fill(this.sender);
  }

  writable(): void {
    this.host?.writable();
    this.owner.touch(this);
  }

  failed(failure: HostSocketFailure): void {
    this.host?.failed();
    if (this.isConnecting) {
      this.owner.connectFailed(this, failure);
      this.release(false);
    } else this.abort();
  }

  /** Answers the guest's SYN with a reset, as a host does on whose port nobody listens. */
  refuse(): void {
    sendBare(this.owner.output, this.ends, { sequence: 0, acknowledgment: this.receiver.sequenceOf(1), flags: TcpFlag.rst | TcpFlag.ack, window: 0 });
  }

  get isConnecting(): boolean {
    return this.state === "syn-received" && !this.hostConnected;
  }

  // The guest's side.

  /** A segment for this connection (RFC 9293, 3.10.7). */
  arrived(segment: ArrivedSegment): void {
    this.owner.touch(this);
    if (this.state === "syn-sent") this.arrivedInSynSent(segment);
    else if (this.isConnecting) this.arrivedWhileConnecting(segment);
    else if (this.state !== "closed") this.arrivedSynchronized(segment);
  }

  /** The guest's port is closed, says an ICMP error: only believed while it is being called (RFC 5927, 4). */
  refusedByGuest(): void {
    if (this.state === "syn-sent") this.fail("refused");
  }

  /** Ends it both ways, with a reset for each. */
  abort(): void {
    if (this.state === "closed") return;
    if (this.state !== "syn-sent" && !this.isConnecting && this.state !== "time-wait") {
      sendBare(this.owner.output, this.ends, {
        sequence: this.sender.sequenceOf(this.sender.max),
        acknowledgment: this.receiver.sequenceOf(this.receiver.next),
        flags: TcpFlag.rst | TcpFlag.ack,
        window: 0,
      });
    }
    this.release(true);
  }

  /** Lets go of everything without a word to the guest. */
  release(reset: boolean): void {
    if (this.state === "closed") return;
    this.state = "closed";
    if (reset) this.host?.reset();
    else this.host?.close();
    this.timer?.dispose();
    this.timer = undefined;
    this.sender.buffer.clear();
    this.receiver.clear();
    this.owner.released(this);
  }

  flow(): FlowInfo {
    const outstanding = this.sender.una - 1;
    return {
      id: this.id,
      protocol: "tcp",
      direction: this.direction,
      ...this.ends,
      state: this.state,
      sentBytes: Math.max(0, Math.min(this.receiver.next, this.receiver.finAt) - 1),
      receivedBytes: Math.max(0, Math.min(outstanding, this.sender.end - 1)),
      startedAt: this.startedAt,
      lastAt: this.heardAt,
    };
  }

  /** Everything that came in this turn is answered. */
  endTurn(): void {
    if (this.state === "closed") return;
    const now = this.owner.turnTime;
    const { host, receiver, sender } = this;
    if (!this.halfOpen && host) {
      host.drain(receiver);
      if (host.hungry(sender)) host.fill(sender);
      else host.listen(sender);
      this.noteHostEnd(host);
      if (this.state !== "time-wait") sender.transmit(host.more, now);
      this.acknowledge(now);
      this.closeWhenOver(host);
    }
    this.arm();
  }

  // Sending.

  /** A segment of the stream, with whatever there is to acknowledge (SegmentLine). */
  segment(flags: number, position: number, length: number): void {
    const { output } = this.owner;
    const headerBytes = tcpHeaderBytes + (this.stamped ? timestampsBytes : 0);
    const at = openSegment(output, this.ends, headerBytes + length);
    if (this.stamped) putTimestamps(output.buffer, at + tcpHeaderBytes, this.stampNow(), this.recentStamp);
    if (length > 0) this.sender.buffer.copy(position, length, output.buffer, at + headerBytes);
    this.seal(at, headerBytes, headerBytes + length, position, flags);
  }

  /** SegmentLine: asked for each segment, since a turn's may be more than a port's queue holds. */
  get clear(): boolean {
    return this.owner.output.writable?.(this.ends.guestAddress) ?? true;
  }

  private sendAck(position = this.sender.bareAt): void {
    const { output } = this.owner;
    const fixed = tcpHeaderBytes + (this.stamped ? timestampsBytes : 0);
    const blocks = this.sender.sackPermitted && this.receiver.hasGaps ? this.receiver.sackBlocks(this.stamped ? mostSackBlocks - 1 : mostSackBlocks) : 0;
    const headerBytes = fixed + (blocks > 0 ? 4 + 8 * blocks : 0);
    const at = openSegment(output, this.ends, headerBytes);
    if (this.stamped) putTimestamps(output.buffer, at + tcpHeaderBytes, this.stampNow(), this.recentStamp);
    if (blocks > 0) this.receiver.sackBlocks(blocks, output.buffer, putSackHeader(output.buffer, at + fixed, blocks));
    this.seal(at, headerBytes, headerBytes, position, TcpFlag.ack);
  }

  private seal(at: number, headerBytes: number, length: number, position: number, flags: number): void {
    const { receiver } = this;
    const window = receiver.advertise();
    sealSegment(this.owner.output, this.ends, at, headerBytes, length, this.sender.sequenceOf(position), receiver.sequenceOf(receiver.next), flags, window);
    this.acknowledgedTo = receiver.next;
    this.acknowledgeNow = false;
    this.delayedAckAt = Infinity;
  }

  private sendSyn(): void {
    const answering = this.state === "syn-received";
    const offered = (agreed: boolean): boolean => !answering || agreed;
    const options: TcpOptions = {
      mss: this.owner.mss,
      windowScale: offered(this.scaled) ? windowScale : undefined,
      sackPermitted: offered(this.sender.sackPermitted),
      timestamps: offered(this.stamped) ? { value: this.stampNow(), echo: answering ? this.recentStamp : 0 } : undefined,
    };
    sendBare(this.owner.output, this.ends, {
      sequence: this.sender.sequenceOf(0),
      acknowledgment: answering ? this.receiver.sequenceOf(1) : 0,
      flags: TcpFlag.syn | (answering ? TcpFlag.ack : 0),
      window: this.receiver.advertiseUnscaled(),
      options,
    });
    this.sender.sentSyn(this.owner.turnTime, this.handshakes > 0);
    const first = this.accepting ? firstConnectMs : firstHandshakeMs;
    const longest = this.accepting ? firstHandshakeMs : mostHandshakeMs;
    this.waitAt = this.owner.turnTime + Math.min(first * 2 ** this.handshakes, longest);
    if (this.accepting) this.waitAt = Math.min(this.waitAt, Math.max(this.accepting.until, this.owner.turnTime));
  }

  /** An ACK that tells a sender of nonsense where we are, if it is the connection's own (RFC 5961). */
  private challenge(): void {
    const now = this.owner.turnTime;
    if (now - this.challengesSince >= challengePeriodMs) {
      this.challengesSince = now;
      this.challenges = 0;
    }
    if (this.challenges >= challengesPerPeriod) return;
    this.challenges++;
    this.sendAck();
  }

  private acknowledge(now: number): void {
    const { receiver } = this;
    const unsaid = receiver.next - this.acknowledgedTo;
    if (this.acknowledgeNow || unsaid >= 2 * this.largestSeen || receiver.windowOpened(this.largestSeen)) this.sendAck();
    else if (unsaid > 0 && this.delayedAckAt === Infinity) this.delayedAckAt = now + delayedAckMs;
  }

  // Arriving.

  private takeSyn(segment: ArrivedSegment): void {
    const { options } = segment;
    this.receiver = new TcpReceiver(segment.sequence, this.memory);
    this.scaled = options.windowScale !== undefined;
    this.sendShift = options.windowScale ?? 0;
    this.receiver.shift = this.scaled ? windowScale : 0;
    this.sender.sackPermitted = options.sackPermitted === true;
    this.stamped = segment.stamped;
    this.recentStamp = segment.stamp;
    this.recentStampAt = this.owner.turnTime;
    const most = Math.min(options.mss ?? defaultMss, this.owner.output.maxPayload - tcpHeaderBytes);
    this.mss = Math.max(most, leastMss) - (this.stamped ? timestampsBytes : 0);
    this.acknowledgedTo = 1;
  }

  private arrivedWhileConnecting(segment: ArrivedSegment): void {
    const position = this.receiver.positionOf(segment.sequence);
    if (segment.has(TcpFlag.rst)) {
      if (position === 1) this.release(true);
    } else if (segment.has(TcpFlag.ack)) {
      sendResetFor(this.owner.output, this.ends, segment);
    } else if (segment.has(TcpFlag.syn) && position !== 0) {
      // The guest has begun anew; the host's connection is the same.
      this.takeSyn(segment);
    }
  }

  /** RFC 9293, 3.10.7.3. */
  private arrivedInSynSent(segment: ArrivedSegment): void {
    const acknowledges = segment.has(TcpFlag.ack);
    if (acknowledges && this.sender.positionOf(segment.acknowledgment) !== 1) {
      sendResetFor(this.owner.output, this.ends, segment);
      return;
    }
    if (segment.has(TcpFlag.rst)) {
      if (acknowledges) this.fail("refused");
      return;
    }
    if (!segment.has(TcpFlag.syn) || segment.has(TcpFlag.fin)) return;
    this.takeSyn(segment);
    if (acknowledges) {
      this.establish(segment.window, 0);
      this.acknowledgeNow = true;
    } else {
      this.state = "syn-received";
      this.sendSyn();
    }
  }

  /** RFC 9293, 3.10.7.4, with the checks of RFC 5961 and RFC 7323. */
  private arrivedSynchronized(segment: ArrivedSegment): void {
    const { receiver, sender } = this;
    const now = this.owner.turnTime;
    const position = receiver.positionOf(segment.sequence);
    const length = segment.end - segment.payload;
    const reset = segment.has(TcpFlag.rst);
    if (this.stamped && !reset && !this.stampHolds(segment, position)) return;
    if (!receiver.acceptable(position, segment.length)) {
      if (reset) return;
      if (this.state === "syn-received" && segment.has(TcpFlag.syn) && position === 0) this.sendSyn();
      else if (segment.length === 0) this.challenge();
      else this.acknowledgeNow = true;
      // Our last ACK was lost: the wait begins anew (RFC 9293, 3.10.7.4, eighth step).
      if (this.state === "time-wait" && segment.has(TcpFlag.fin) && this.waitAt > now) this.waitAt = now + timeWaitMs;
      // A probe of a closed window may carry news all the same.
      if (position !== receiver.next || segment.has(TcpFlag.syn)) return;
    }
    if (reset) {
      if (position !== receiver.next) this.challenge();
      else {
        this.tellForward("refused");
        this.release(true);
      }
      return;
    }
    if (segment.has(TcpFlag.syn)) {
      this.challenge();
      return;
    }
    if (!segment.has(TcpFlag.ack)) return;
    const acknowledged = sender.positionOf(segment.acknowledgment);
    if (this.state === "syn-received") {
      if (acknowledged !== 1) {
        sendResetFor(this.owner.output, this.ends, segment);
        return;
      }
      this.establish(segment.window << this.sendShift, position);
    } else if (acknowledged > sender.max || acknowledged < sender.oldestAcceptable) {
      this.challenge();
      return;
    }
    this.heardAt = now;
    this.probes = 0;
    const elapsed = this.stamped && segment.stampEcho !== 0 ? (this.stampNow() - segment.stampEcho) | 0 : -1;
    const plain = length === 0 && !segment.has(TcpFlag.fin);
    sender.acknowledged(acknowledged, plain, segment.window << this.sendShift, position, segment.options.sack, elapsed >= 0 && elapsed < 60_000 ? elapsed : -1, now);
    sender.heard(now);
    this.noteFinAcknowledged();
    if (length > 0) this.takeData(segment, position, length);
    if (segment.has(TcpFlag.fin)) {
      receiver.noteFin(position + length);
      this.acknowledgeNow = true;
    }
    if (receiver.finished) this.noteGuestEnd();
  }

  private takeData(segment: ArrivedSegment, position: number, length: number): void {
    if (length > this.largestSeen) this.largestSeen = Math.min(length, this.owner.mss);
    const hadGaps = this.receiver.hasGaps;
    const arrival = this.receiver.take(position, segment.bytes, segment.payload, segment.end, this.host?.taker);
    if (arrival === "in-order") {
      // A gap that was filled is told at once (RFC 5681, 4.2), and a probe answered.
      if (hadGaps || this.receiver.closed) this.acknowledgeNow = true;
      return;
    }
    this.acknowledgeNow = true;
    // Who knows no SACK counts duplicates: one for each.
    if (arrival === "out-of-order" && !this.sender.sackPermitted) this.sendAck();
  }

  /** Whether the timestamp is there and no older than the latest (RFC 7323, 5.3); the latest is kept (4.3). */
  private stampHolds(segment: ArrivedSegment, position: number): boolean {
    if (!segment.stamped) return false;
    const now = this.owner.turnTime;
    const older = ((segment.stamp - this.recentStamp) | 0) < 0;
    if (older && now - this.recentStampAt < pawsIdleMs) {
      if (segment.length === 0) this.challenge();
      else this.acknowledgeNow = true;
      return false;
    }
    if (position <= this.acknowledgedTo && position + segment.length >= this.acknowledgedTo) {
      this.recentStamp = segment.stamp;
      this.recentStampAt = now;
    }
    return true;
  }

  private stampNow(): number {
    return (this.stampOffset + Math.floor(this.owner.turnTime)) >>> 0;
  }

  // Changes of state.

  private establish(window: number, position: number): void {
    this.state = "established";
    this.waitAt = Infinity;
    this.accepting = undefined;
    this.heardAt = this.owner.turnTime;
    this.sender.start(this.mss, window, position);
    this.sender.acknowledged(1, false, window, position, undefined, -1, this.owner.turnTime);
    this.owner.established(this);
  }

  private noteHostEnd(host: TcpHostSide): void {
    if (!host.ended) return;
    if (this.state === "established") this.state = "fin-wait-1";
    else if (this.state === "close-wait") this.state = "last-ack";
  }

  private noteFinAcknowledged(): void {
    if (!this.sender.finAcknowledged) return;
    if (this.state === "fin-wait-1") this.state = "fin-wait-2";
    else if (this.state === "closing") this.beginTimeWait(timeWaitMs);
    // The guest began to close, so it does the waiting.
    else if (this.state === "last-ack") this.beginTimeWait(0);
  }

  private noteGuestEnd(): void {
    if (this.state === "established") this.state = "close-wait";
    else if (this.state === "fin-wait-1") this.state = "closing";
    else if (this.state === "fin-wait-2") this.beginTimeWait(timeWaitMs);
  }

  private beginTimeWait(ms: number): void {
    this.state = "time-wait";
    this.waitAt = this.owner.turnTime + ms;
  }

  /** Both ways are over once the host has what it must have: a socket let go of with data pending would lose it. */
  private closeWhenOver(host: TcpHostSide): void {
    if (this.state !== "time-wait" || !this.receiver.drained) return;
    host.close();
    if (this.waitAt <= this.owner.turnTime) this.release(false);
    else this.owner.finished(this);
  }

  private fail(why: "refused" | "silent"): void {
    this.tellForward(why);
    this.release(true);
  }

  private tellForward(why: "refused" | "silent"): void {
    this.accepting?.onDidFail?.(why);
  }

  // Time.

  private arm(): void {
    if (this.state === "closed") return;
    const waitsForHost = this.state === "time-wait" && !this.receiver.drained;
    const next = Math.min(
      this.sender.dueAt,
      this.delayedAckAt,
      waitsForHost ? Infinity : this.waitAt,
      this.keepAliveAt,
      this.host?.starved ? this.owner.turnTime + starvedMs : Infinity,
    );
    if (next >= this.timerAt && this.timer) return;
    this.timer?.dispose();
    this.timerAt = next;
    this.timer = next === Infinity ? undefined : this.owner.reactor.schedule(Math.max(0, next - this.owner.turnTime), this.onTimer);
  }

  private readonly onTimer = (): void => {
    this.timer = undefined;
    this.timerAt = Infinity;
    if (this.state === "closed") return;
    this.owner.touch(this);
    const now = this.owner.turnTime;
    if (this.delayedAckAt <= now) this.acknowledgeNow = true;
    if (this.halfOpen) {
      if (this.waitAt <= now) this.handshakeTimedOut(now);
      return;
    }
    if (this.host?.starved) this.host.fill(this.sender);
    if (this.state !== "time-wait" && this.sender.dueAt <= now && !this.sender.timedOut(now)) this.abort();
    else if (this.keepAliveAt <= now) this.keepAlive();
  };

  private handshakeTimedOut(now: number): void {
    this.handshakes++;
    if (this.accepting ? now >= this.accepting.until : this.handshakes > handshakeRetries) this.fail("silent");
    else this.sendSyn();
  }

  private get keepAliveAt(): number {
    // While there is something to be acknowledged, retransmissions find out whether the guest is there.
    if (this.halfOpen || this.state === "time-wait" || !this.sender.idle) return Infinity;
    const { idleMs, intervalMs } = this.owner.keepAlive;
    return this.heardAt + idleMs + this.probes * intervalMs;
  }

  /** The guest was silent for long: is it still there? (RFC 9293, 3.8.4) */
  private keepAlive(): void {
    if (this.probes >= this.owner.keepAlive.probes) this.abort();
    else {
      this.probes++;
      this.sendAck(this.sender.una - 1);
    }
  }
}

