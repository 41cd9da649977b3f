import type { HostPing, HostPingHandler, HostUdp, HostUdpHandler, IcmpReport } from "../nat/hostSockets";
import { anyIpv4, type Ipv4Address } from "../wire/addresses";
import { icmpHeaderBytes, IcmpType, Unreachable, echoIdentifier, echoSequence, writeIcmp } from "../wire/icmp";
import { ipv4HeaderBytes } from "../wire/ipv4";
import { read16, read32 } from "../wire/addresses";
import type { EpollReactor, Watch } from "./epollReactor";
import { failureOf } from "./failures";
import { errorName, icmpFilter, IpOption, isRetry, Level } from "./libc";
import type { Messages } from "./messages";
import type { SocketCalls } from "./socketCalls";

/** Errors taken from one socket's queue in one turn, at most. */
const errorsPerTurn = 32;
/** ip(7), IP_TTL: the system's own. */
const systemTtl = -1;
/** Fragments are made where a path needs them: the guest's datagram must not be refused for its size. */
const neverProbeMtu = 0;

/** What all datagram sockets need. */
export interface DatagramLoop {
  readonly reactor: EpollReactor;
  readonly calls: SocketCalls;
  readonly messages: Messages;
  /** Room for one datagram that lies where no address is known. */
  readonly sending: Uint8Array;
  readonly open: Set<{ release(): void }>;
}

abstract class EpollDatagrams {
  private readonly watch: Watch;
  private ttl = systemTtl;
  protected disposed = false;

  constructor(
    protected readonly loop: DatagramLoop,
    protected readonly descriptor: number,
  ) {
    loop.calls.setOption(descriptor, Level.ip, IpOption.receiveErrors, 1);
    loop.open.add(this);
    this.watch = loop.reactor.watch(descriptor, { readable: () => this.receive(), failed: () => this.takeErrors() });
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.loop.open.delete(this);
    this.watch.dispose();
    this.loop.calls.libc.close(this.descriptor);
  }

  release(): void {
    this.dispose();
  }

  protected abstract onDatagram(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): void;
  protected abstract onError(error: NonNullable<ReturnType<Messages["takeError"]>>): void;
  /** The host refused to send; nothing went out. `mark` is what `sendBytes` was given. */
  protected abstract onRefused(error: string, address: Ipv4Address, mark: number): void;

  protected sendBytes(buffer: number, count: number, address: Ipv4Address, port: number, ttl: number, mark = port): boolean {
    const { calls } = this.loop;
    // Most have the TTL of the one before: a call for those that differ costs less than control data with each.
    if (ttl !== this.ttl) {
      if (calls.setOption(this.descriptor, Level.ip, IpOption.ttl, ttl) < 0) return false;
      this.ttl = ttl;
    }
    let sent = calls.sendTo(this.descriptor, buffer, count, address, port);
    if (sent < 0 && !isRetry(sent)) {
      // An error of an earlier datagram may have been waiting: it is told once, to whoever comes next.
      this.takeErrors();
      if (this.disposed) return false;
      sent = calls.sendTo(this.descriptor, buffer, count, address, port);
    }
    if (sent >= 0) return true;
    if (!isRetry(sent)) this.loop.reactor.soon(() => !this.disposed && this.onRefused(errorName(-sent), address, mark));
    return false;
  }

  private receive(): void {
    this.loop.messages.receive(this.descriptor, (bytes, at, end, address, port) => {
      if (!this.disposed) this.onDatagram(bytes, at, end, address, port);
    });
  }

  /** Errors are told in the next turn: one may have been found within a call of the one who is told. */
  private takeErrors(): void {
    for (let count = 0; count < errorsPerTurn; count++) {
      const error = this.loop.messages.takeError(this.descriptor);
      if (error === undefined) break;
      this.onError(error);
    }
    // What no queue explains would be told of for ever.
    this.loop.calls.takeError(this.descriptor);
  }
}

export class EpollUdp extends EpollDatagrams implements HostUdp {
  readonly address: Ipv4Address;
  readonly port: number;

  constructor(
    loop: DatagramLoop,
    descriptor: number,
    private readonly handler: HostUdpHandler,
  ) {
    super(loop, descriptor);
    loop.calls.setOption(descriptor, Level.ip, IpOption.mtuDiscover, neverProbeMtu);
    ({ address: this.address, port: this.port } = loop.calls.readName(descriptor));
  }

  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number, ttl = systemTtl): boolean {
    const { memory } = this.loop.calls;
    const { sending } = this.loop;
    if (this.disposed || port === 0 || end - at > sending.length) return false;
    if (memory.holds(bytes)) return this.sendBytes(memory.addressOf(bytes, at), end - at, address, port, ttl);
    sending.set(bytes.subarray(at, end));
    return this.sendBytes(memory.addressOf(sending), end - at, address, port, ttl);
  }

  protected onDatagram(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): void {
    this.handler.datagram(bytes, at, end, address, port);
  }

  protected onError({ errorNumber, icmp, from, type, code, address, port }: Parameters<EpollDatagrams["onError"]>[0]): void {
    this.tell(errorName(errorNumber), address, port, icmp ? { from, type, code } : undefined);
  }

  protected onRefused(error: string, address: Ipv4Address, port: number): void {
    this.tell(error, address, port);
  }

  private tell(error: string, address: Ipv4Address, port: number, report?: IcmpReport): void {
    if (error !== "EMSGSIZE") this.loop.reactor.soon(() => !this.disposed && this.handler.failed(failureOf(error, false), address, port, report));
  }
}

/**
 * Echoes over a socket of Linux's for unprivileged pings (which gives them an identifier of its own and sorts out what
 * comes back), or over a raw one, where that is our part.
 */
export class EpollPing extends EpollDatagrams implements HostPing {
  constructor(
    loop: DatagramLoop,
    descriptor: number,
    private readonly handler: HostPingHandler,
    /** The identifier of a raw socket's echoes. */
    private readonly identifier: number | undefined,
  ) {
    super(loop, descriptor);
    // icmp(7), ICMP_FILTER: a raw socket would get all that the host gets; bits that are set are kept out.
    if (identifier !== undefined) loop.calls.setOption(descriptor, Level.raw, icmpFilter, ~(1 << IcmpType.echoReply));
  }

  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, sequence: number, ttl: number): boolean {
    const { calls, sending } = this.loop;
    const length = icmpHeaderBytes + end - at;
    if (this.disposed || length > sending.length) return false;
    sending.set(bytes.subarray(at, end), icmpHeaderBytes);
    writeIcmp(sending, 0, length, IcmpType.echoRequest, 0, (((this.identifier ?? 0) << 16) | (sequence & 0xffff)) >>> 0);
    return this.sendBytes(calls.memory.addressOf(sending), length, address, 0, ttl, sequence);
  }

  protected onDatagram(bytes: Uint8Array, at: number, end: number, address: Ipv4Address): void {
    // A raw socket's datagrams have their IP header in front (raw(7)).
    const begin = this.identifier === undefined ? at : at + Math.max(ipv4HeaderBytes, ((bytes[at] ?? 0) & 15) * 4);
    if (end - begin < icmpHeaderBytes || bytes[begin] !== IcmpType.echoReply) return;
    const rest = read32(bytes, begin + 4);
    if (this.identifier !== undefined && echoIdentifier(rest) !== this.identifier) return;
    this.handler.reply(bytes, begin + icmpHeaderBytes, end, address, echoSequence(rest));
  }

  protected onError({ icmp, type, code, from, address, quoted }: Parameters<EpollDatagrams["onError"]>[0]): void {
    const { bytes } = this.loop.messages;
    // What it is about is quoted from its ICMP header on; without that nobody can be told.
    if (!icmp || quoted < icmpHeaderBytes || bytes[0] !== IcmpType.echoRequest) return;
    if (this.identifier !== undefined && read16(bytes, 4) !== this.identifier) return;
    const sequence = read16(bytes, 6);
    this.loop.reactor.soon(() => !this.disposed && this.handler.failed(from, type, code, address, sequence));
  }

  /** As a router says it that has no way (RFC 1812, 5.2.7.1); no other host has said anything. */
  protected onRefused(error: string, address: Ipv4Address, sequence: number): void {
    if (error === "EMSGSIZE") return;
    const failure = failureOf(error, false);
    const code = failure === "unreachable-network" ? Unreachable.network : failure === "prohibited" ? Unreachable.prohibited : Unreachable.host;
    this.handler.failed(anyIpv4, IcmpType.unreachable, code, address, sequence);
  }
}
