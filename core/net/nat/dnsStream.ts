import type { Disposable } from "../../base/disposable";
import type { Reactor } from "../reactor";
import type { DnsForwarder } from "../services/dns";
import { anyIpv4, read16, write16, type Ipv4Address } from "../wire/addresses";
import type { HostListener, HostPing, HostPingHandler, HostSockets, HostTcp, HostTcpAccept, HostTcpHandler, HostUdp, HostUdpHandler } from "./hostSockets";
import type { NatPolicy } from "./ipOutput";

/**
 * DNS over TCP (RFC 7766) at the name server's address, which is ours: the guests' TCP believes that it connects to a
 * host, and speaks to the forwarder. What else is asked for at that address goes where the policy says, which matters when
 * it is the gateway's too.
 */
export class DnsStreamSockets implements HostSockets, NatPolicy {
  /** Whose connections to the name server are open. */
  private readonly open = new Map<DnsStream, Ipv4Address>();

  constructor(
    private readonly sockets: HostSockets,
    private readonly policy: NatPolicy,
    private readonly address: Ipv4Address,
    private readonly dns: DnsForwarder,
    private readonly reactor: Reactor,
  ) {}

  route(destination: Ipv4Address): ReturnType<NatPolicy["route"]> {
    return destination === this.address ? { address: destination } : this.policy.route(destination);
  }

  connectTcp(address: Ipv4Address, port: number, handler: HostTcpHandler, guest: Ipv4Address = anyIpv4): HostTcp {
    if (address !== this.address) return this.sockets.connectTcp(address, port, handler);
    if (port === dnsPort) {
      if (this.isCrowded(guest)) return new RefusedStream(this.reactor, handler);
      const stream = new DnsStream(this.dns, this.reactor, handler, guest, () => this.open.delete(stream));
      this.open.set(stream, guest);
      return stream;
    }
    const route = this.policy.route(address);
    return "refused" in route ? new RefusedStream(this.reactor, handler) : this.sockets.connectTcp(route.address, port, handler);
  }

  /** RFC 7766, 6.2.2: each has a query's longest in memory. */
  private isCrowded(guest: Ipv4Address): boolean {
    let ofGuest = 0;
    for (const other of this.open.values()) if (other === guest) ofGuest++;
    return ofGuest >= maxStreamsOfOne || this.open.size >= maxStreams;
  }

  listenTcp(address: Ipv4Address, port: number, accept: HostTcpAccept): Promise<HostListener> {
    return this.sockets.listenTcp(address, port, accept);
  }

  bindUdp(local: { readonly address: Ipv4Address; readonly port: number } | undefined, handler: HostUdpHandler): Promise<HostUdp> {
    return this.sockets.bindUdp(local, handler);
  }

  openPing(handler: HostPingHandler): HostPing | { readonly refused: string } {
    return this.sockets.openPing(handler);
  }
}

const dnsPort = 53;
const lengthBytes = 2;
const maxMessageBytes = 65_535;

/** Connections to the name server, in all and of one guest. */
export const maxStreams = 256;
export const maxStreamsOfOne = 32;

/** Queries of one connection that are not answered yet; more are not read (RFC 7766, 6.2.1). */
const maxPending = 16;

/** Answers that are not read yet; beyond it no more queries are taken. */
const maxUnreadBytes = 128 * 1024;

/** RFC 7766, 6.2.3. */
const idleMs = 30_000;

/** The name server's end of a connection, as the guests' TCP sees a socket of the host. */
class DnsStream implements HostTcp {
  /** The beginning of a query that has not come whole. */
  private readonly query = new Uint8Array(lengthBytes + maxMessageBytes);
  private have = 0;
  private pending = 0;
  private readonly answers: Uint8Array[] = [];
  private answerAt = 0;
  private unreadBytes = 0;
  private reading = false;
  /** The guest sends nothing any more, or was silent for too long. */
  private ended = false;
  private endRead = false;
  private refusedBytes = false;
  private closed = false;
  private wake: Disposable | undefined;
  private idle: Disposable;

  constructor(
    private readonly dns: DnsForwarder,
    private readonly reactor: Reactor,
    private readonly handler: HostTcpHandler,
    private readonly guest: Ipv4Address,
    private readonly didClose: () => void,
  ) {
    reactor.atTurnEnd(() => {
      if (!this.closed) handler.connected();
    });
    this.idle = this.idleLater();
  }

  read(target: Uint8Array, at: number, end: number): number {
    let written = at;
    for (let answer = this.answers[0]; answer !== undefined && written < end; answer = this.answers[0]) {
      const count = Math.min(end - written, answer.length - this.answerAt);
      target.set(answer.subarray(this.answerAt, this.answerAt + count), written);
      written += count;
      this.answerAt += count;
      if (this.answerAt < answer.length) break;
      this.answers.shift();
      this.answerAt = 0;
    }
    this.unreadBytes -= written - at;
    if (written > at) {
      this.askForMore();
      return written - at;
    }
    if (!this.isDone) return 0;
    this.endRead = true;
    return -1;
  }

  setReading(on: boolean): void {
    this.reading = on;
    this.wakeLater();
  }

  write(bytes: Uint8Array, at: number, end: number): number {
    if (this.closed || this.ended) return end - at;
    this.idle.dispose();
    this.idle = this.idleLater();
    let position = at;
    while (position < end && !this.isCrowded) {
      const wanted = this.have < lengthBytes ? lengthBytes : lengthBytes + read16(this.query, 0);
      const count = Math.min(end - position, wanted - this.have);
      this.query.set(bytes.subarray(position, position + count), this.have);
      this.have += count;
      position += count;
      if (this.have >= lengthBytes && this.have === lengthBytes + read16(this.query, 0)) this.ask();
    }
    this.refusedBytes = position < end;
    return position - at;
  }

  shutdown(): void {
    this.ended = true;
    this.wakeLater();
  }

  close(): void {
    this.closed = true;
    this.didClose();
    this.wake?.dispose();
    this.idle.dispose();
    this.answers.length = 0;
  }

  reset(): void {
    this.close();
  }

  private get isCrowded(): boolean {
    return this.pending >= maxPending || this.unreadBytes > maxUnreadBytes;
  }

  private get isDone(): boolean {
    return this.ended && this.pending === 0 && this.answers.length === 0;
  }

  private ask(): void {
    const end = this.have;
    this.have = 0;
    if (end === lengthBytes) return;
    this.pending++;
    let answered = false;
    this.dns.answer(this.query, lengthBytes, end, "tcp", this.guest, (bytes, at, to) => {
      if (answered || this.closed) return;
      answered = true;
      this.pending--;
      const framed = new Uint8Array(lengthBytes + to - at);
      write16(framed, 0, to - at);
      framed.set(bytes.subarray(at, to), lengthBytes);
      this.answers.push(framed);
      this.unreadBytes += framed.length;
      this.wakeLater();
      this.askForMore();
    });
  }

  private askForMore(): void {
    if (!this.refusedBytes || this.isCrowded) return;
    this.refusedBytes = false;
    this.reactor.atTurnEnd(() => {
      if (!this.closed) this.handler.writable();
    });
  }

  /** The handler hears of something to read at once, and again while it leaves it there. */
  private wakeLater(delayMs = 0): void {
    if (this.closed || this.endRead || !this.reading || this.wake !== undefined || (this.answers.length === 0 && !this.isDone)) return;
    this.wake = this.reactor.schedule(delayMs, () => {
      this.wake = undefined;
      if (this.closed || !this.reading) return;
      this.handler.readable();
      this.wakeLater(1);
    });
  }

  /** A query that is never answered must not hold the connection. */
  private idleLater(): Disposable {
    return this.reactor.schedule(idleMs, () => {
      this.pending = 0;
      this.ended = true;
      this.wakeLater();
    });
  }
}

/** A port that is closed. */
class RefusedStream implements HostTcp {
  private closed = false;

  constructor(reactor: Reactor, handler: HostTcpHandler) {
    reactor.atTurnEnd(() => {
      if (!this.closed) handler.failed("refused");
    });
  }

  read(): number {
    return 0;
  }

  setReading(): void {
    // Nothing comes.
  }

  write(): number {
    return 0;
  }

  shutdown(): void {
    this.closed = true;
  }

  close(): void {
    this.closed = true;
  }

  reset(): void {
    this.closed = true;
  }
}
