import type { Reactor } from "../../../core/net/reactor";
import { readTcp, tcpHeaderLength, TcpFlag, writeTcp, type TcpOptions, type TcpSegment } from "../../../core/net/wire/tcp";
import { guest, remote } from "./tcpBench";

export interface ReferenceOptions {
  readonly mss: number;
  readonly windowScale: number | undefined;
  readonly sack: boolean;
  readonly timestamps: boolean;
  /** How much it keeps that its program has not read. */
  readonly capacity: number;
  /** How much its program reads every 10 ms. */
  readonly pace: number;
  /** Whether its end comes as soon as everything is sent, or only after the other's end. */
  readonly endsLast: boolean;
}

const resendMs = 300;
const mostInFlight = 40;

/**
 * A guest's TCP, as plain as it can be and nothing shared with the gateway's but the wire format: the sender goes back to
 * the oldest when time is up, the receiver keeps a mark for every byte. It is the judge of the gateway's TCP.
 */
export class ReferenceTcp {
  readonly got: Uint8Array;
  gotEnd = false;
  wasReset = false;
  /** Our end was acknowledged. */
  endTaken = false;
  private readonly have: Uint8Array;
  private taken = 0;
  private read = 0;
  private endAt = Infinity;
  private peer: number | undefined;
  private una = 0;
  private nxt = 0;
  private window = 0;
  private shift = 0;
  private duplicates = 0;
  private stampEcho = 0;
  private sinceAck = 0;
  private sentWindow = 0;

  constructor(
    private readonly reactor: Reactor,
    private readonly data: Uint8Array,
    expected: number,
    private readonly initial: number,
    private readonly options: ReferenceOptions,
    private readonly transmit: (bytes: Uint8Array) => void,
  ) {
    this.got = new Uint8Array(expected);
    this.have = new Uint8Array(expected);
    this.sendSyn();
    this.reactor.schedule(resendMs, () => this.resend());
    this.reactor.schedule(10, () => this.readSome());
  }

  get done(): boolean {
    return this.gotEnd && this.endTaken && this.read === this.got.length;
  }

  /** How much of our stream is there to be sent, the end included once it may be. */
  private get total(): number {
    return this.data.length + (!this.options.endsLast || this.gotEnd ? 1 : 0);
  }

  receive(bytes: Uint8Array): void {
    const segment = readTcp(bytes, 0, bytes.length);
    if (!segment) throw new Error("what came is no segment");
    if ((segment.flags & TcpFlag.rst) !== 0) {
      // In TIME-WAIT a reset ends nothing (RFC 1337): it answers a segment that came late.
      if (!this.gotEnd || !this.endTaken) this.wasReset = true;
      return;
    }
    if ((segment.flags & TcpFlag.syn) !== 0) {
      if (this.peer === undefined) this.open(segment);
      this.acknowledge();
      return;
    }
    if (this.peer === undefined) return;
    if (this.options.timestamps) this.noteStamp(segment);
    this.noteAck(segment);
    this.take(segment, bytes);
  }

  private open(segment: TcpSegment): void {
    this.peer = segment.sequence;
    this.shift = this.options.windowScale === undefined ? 0 : (segment.options.windowScale ?? 0);
    this.window = segment.window;
    this.stampEcho = segment.options.timestamps?.value ?? 0;
  }

  private noteStamp(segment: TcpSegment): void {
    const stamp = segment.options.timestamps;
    if (!stamp) throw new Error("a segment came without the timestamps that were agreed on");
    if (((stamp.value - this.stampEcho) | 0) > 0) this.stampEcho = stamp.value;
  }

  private noteAck(segment: TcpSegment): void {
    const position = (segment.acknowledgment - this.initial - 1) | 0;
    if (position > this.nxt) throw new Error(`byte ${position} was acknowledged, ${this.nxt} were sent`);
    const window = segment.window * 2 ** this.shift;
    if (position > this.una) {
      this.una = position;
      this.duplicates = 0;
    } else if (position === this.una && this.nxt > this.una && segment.end === segment.payload && window === this.window && ++this.duplicates === 3) {
      this.sendFrom(this.una);
    }
    if (position >= this.una) this.window = window;
    if (this.una > this.data.length) this.endTaken = true;
    this.push();
  }

  private take(segment: TcpSegment, bytes: Uint8Array): void {
    const position = (segment.sequence - (this.peer ?? 0) - 1) | 0;
    const length = segment.end - segment.payload;
    const fin = (segment.flags & TcpFlag.fin) !== 0;
    if (length === 0 && !fin) {
      // Something before our window is a question whether we are there.
      if (position < this.taken) this.acknowledge();
      return;
    }
    const before = this.taken;
    for (let index = 0; index < length; index++) {
      const at = position + index;
      if (at < this.taken || at >= this.read + this.options.capacity) continue;
      if (at >= this.got.length) throw new Error("more came than the host has sent");
      this.got[at] = bytes[segment.payload + index]!;
      this.have[at] = 1;
    }
    while (this.taken < this.got.length && this.have[this.taken] === 1) this.taken++;
    if (fin && position + length === this.got.length) this.endAt = position + length;
    if (this.taken === this.endAt) this.gotEnd = true;
    // Every second one in order, every other at once.
    this.sinceAck = this.taken > before ? this.sinceAck + 1 : 2;
    if (this.sinceAck >= 2 || fin || this.have.indexOf(1, this.taken) >= 0) this.acknowledge();
    this.push();
  }

  private push(): void {
    while (this.nxt < this.total && this.nxt - this.una < Math.min(this.window, mostInFlight * this.options.mss)) this.nxt += this.sendFrom(this.nxt);
  }

  /** One segment from `position`; how much of the sequence space it took. */
  private sendFrom(position: number): number {
    const room = Math.max(1, this.una + this.window - position);
    const end = Math.min(position + Math.min(this.options.mss, room), this.data.length);
    const fin = end === this.data.length && this.total > this.data.length && end - position < room;
    this.send(position, TcpFlag.ack | (fin ? TcpFlag.fin : 0), this.data.subarray(position, Math.max(position, end)));
    return Math.max(0, end - position) + (fin ? 1 : 0);
  }

  private resend(): void {
    if (this.wasReset || this.done) return;
    this.reactor.schedule(resendMs, () => this.resend());
    if (this.peer === undefined) this.sendSyn();
    else if (this.una < this.nxt) {
      this.nxt = this.una;
      this.duplicates = 0;
      this.push();
    }
    // A probe, also of a window that is closed.
    if (this.peer !== undefined && this.nxt === this.una && this.una < this.total) this.nxt = Math.max(this.nxt, this.una + this.sendFrom(this.una));
    if (this.sinceAck > 0) this.acknowledge();
  }

  private readSome(): void {
    this.read = Math.min(this.taken, this.read + this.options.pace);
    if (this.peer !== undefined && !this.gotEnd && this.openWindow() - this.sentWindow >= Math.min(this.options.capacity / 2, 2 * this.options.mss)) this.acknowledge();
    if (!this.wasReset && !this.done) this.reactor.schedule(10, () => this.readSome());
  }

  private openWindow(): number {
    return Math.max(0, this.read + this.options.capacity - this.taken);
  }

  private sendSyn(): void {
    const { mss, windowScale, sack, timestamps } = this.options;
    this.sendSegment(-1, TcpFlag.syn, new Uint8Array(0), {
      mss,
      windowScale,
      sackPermitted: sack || undefined,
      timestamps: timestamps ? { value: this.stamp, echo: 0 } : undefined,
    });
  }

  private acknowledge(): void {
    this.sinceAck = 0;
    this.send(this.nxt, TcpFlag.ack, new Uint8Array(0));
  }

  private send(position: number, flags: number, data: Uint8Array): void {
    this.sendSegment(position, flags, data, {
      timestamps: this.options.timestamps ? { value: this.stamp, echo: this.stampEcho } : undefined,
      sack: this.options.sack && data.length === 0 ? this.sackBlocks() : undefined,
    });
  }

  private sendSegment(position: number, flags: number, data: Uint8Array, options: TcpOptions): void {
    const scale = (flags & TcpFlag.syn) !== 0 ? 0 : (this.options.windowScale ?? 0);
    const field = Math.min(this.openWindow() >>> scale, 65_535);
    this.sentWindow = field << scale;
    const header = tcpHeaderLength(options);
    const bytes = new Uint8Array(header + data.length);
    bytes.set(data, header);
    writeTcp(bytes, 0, bytes.length, guest.address, remote.address, {
      sourcePort: guest.port,
      destinationPort: remote.port,
      sequence: (this.initial + 1 + position) >>> 0,
      acknowledgment: this.peer === undefined ? 0 : (this.peer + 1 + this.taken + (this.gotEnd ? 1 : 0)) >>> 0,
      flags,
      window: field,
      options,
    });
    this.transmit(bytes);
  }

  private sackBlocks(): [number, number][] {
    const blocks: [number, number][] = [];
    for (let from = this.have.indexOf(1, this.taken); from >= 0 && blocks.length < 3; ) {
      let to = this.have.indexOf(0, from);
      if (to < 0) to = this.have.length;
      blocks.push([((this.peer ?? 0) + 1 + from) >>> 0, ((this.peer ?? 0) + 1 + to) >>> 0]);
      from = this.have.indexOf(1, to);
    }
    return blocks;
  }

  private get stamp(): number {
    return (0xffff_f000 + Math.floor(this.reactor.monotonic())) >>> 0;
  }
}
