import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import type { HostSockets, HostTcp, HostUdp } from "../nat/hostSockets";
import { read16, write16, type Ipv4Address } from "../wire/addresses";
import { DnsCode, dnsHeaderBytes, readDnsHeader, readDnsName, sameDnsName, type DnsHeader, type DnsQuestion } from "../wire/dns";
import type { HostResolver, NameServer } from "./hostResolver";

export interface QueryAround {
  readonly clock: Clock;
  readonly sockets: HostSockets;
  readonly resolver: HostResolver;
  readonly random16: () => number;
}

/** All servers are asked so often, each time with more patience, milliseconds. */
const patience = [1500, 3000] as const;
const tcpMs = 5000;

/** What says nothing about the name, only about the server: another may know better. */
const serverTrouble: ReadonlySet<number> = new Set([DnsCode.serverFailure, DnsCode.notImplemented, DnsCode.refused]);

/**
 * One query to the host's name servers, one after another, over UDP, and over TCP what is too long for that. Each query
 * has a socket of its own, whose port the host chooses, and each attempt a number of its own: with the server's address
 * and the question that is what an answer must fit (RFC 5452, 9.1).
 */
export class HostQuery implements Disposable {
  private readonly sent: { readonly server: NameServer; readonly id: number }[] = [];
  private socket: HostUdp | undefined;
  private tcp: HostTcp | undefined;
  private timer: Disposable | undefined;
  /** An answer to be content with when nobody gives a better one. */
  private poor: Uint8Array | undefined;
  private ended = false;

  /** @param done called once, never before the constructor returns; undefined when nobody answered */
  constructor(
    private readonly around: QueryAround,
    private readonly query: Uint8Array,
    private readonly question: DnsQuestion,
    private readonly done: (answer: Uint8Array | undefined) => void,
  ) {
    const opening = around.sockets.bindUdp(undefined, {
      datagram: (bytes, at, end, address, port) => this.heard(bytes, at, end, address, port),
      failed: (_failure, address, port) => this.unreachable(address, port),
    });
    opening.then(
      (socket) => {
        if (this.ended) return socket.dispose();
        this.socket = socket;
        this.ask();
      },
      // The host gives out no socket: the guest hears that its server failed.
      () => this.finish(undefined),
    );
  }

  dispose(): void {
    if (this.ended) return;
    this.ended = true;
    this.timer?.dispose();
    this.socket?.dispose();
    this.tcp?.close();
  }

  private finish(answer: Uint8Array | undefined): void {
    if (this.ended) return;
    this.dispose();
    this.done(answer);
  }

  /** Asks the next server; the list is the host's of now, for it may have changed while nobody answered. */
  private ask(): void {
    for (;;) {
      this.timer?.dispose();
      const servers = this.around.resolver.servers();
      const server = servers[this.sent.length % Math.max(1, servers.length)];
      const wait = patience[Math.floor(this.sent.length / Math.max(1, servers.length))];
      if (server === undefined || wait === undefined) return this.finish(this.poor);
      const id = this.around.random16();
      this.sent.push({ server, id });
      write16(this.query, 0, id);
      this.timer = this.around.clock.schedule(wait, () => this.ask());
      if (this.socket?.send(this.query, 0, this.query.length, server.address, server.port)) return;
    }
  }

  private heard(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): void {
    if (this.ended || this.tcp) return;
    const asked = this.sent.find(({ server, id }) => server.address === address && server.port === port && answers(bytes, at, end, id, this.question));
    if (asked === undefined) return;
    const header = readDnsHeader(bytes, at, end);
    const answer = bytes.slice(at, end);
    if (header?.truncated) {
      this.poor = answer;
      return this.askOverTcp(asked.server);
    }
    if (!serverTrouble.has(header?.code ?? 0)) return this.finish(answer);
    this.poor ??= answer;
    if (asked === this.sent.at(-1)) this.ask();
  }

  private unreachable(address: Ipv4Address, port: number): void {
    const latest = this.sent.at(-1)?.server;
    if (!this.ended && !this.tcp && latest?.address === address && latest.port === port) this.ask();
  }

  /** RFC 1035, 4.2.2 and RFC 7766. When that fails the guest gets what came over UDP, which says that it is truncated. */
  private askOverTcp(server: NameServer): void {
    this.timer?.dispose();
    this.timer = this.around.clock.schedule(tcpMs, () => this.finish(this.poor));
    const id = this.around.random16();
    const message = new Uint8Array(2 + this.query.length);
    message.set(this.query, 2);
    write16(message, 0, this.query.length);
    write16(message, 2, id);
    let written = 0;
    let answer = new Uint8Array(2);
    let read = 0;
    const tcp = this.around.sockets.connectTcp(server.address, server.port, {
      connected: () => {
        tcp.setReading(true);
        written += tcp.write(message, 0, message.length);
      },
      writable: () => void (written += tcp.write(message, written, message.length)),
      readable: () => {
        for (;;) {
          const count = tcp.read(answer, read, answer.length);
          if (count < 0) return this.finish(this.poor);
          if (count === 0) return;
          read += count;
          if (read < answer.length) continue;
          if (answer.length > 2) return this.finish(answers(answer, 2, read, id, this.question) ? answer.slice(2) : this.poor);
          const length = read16(answer, 0);
          if (length < dnsHeaderBytes) return this.finish(this.poor);
          answer = new Uint8Array(2 + length);
        }
      },
      failed: () => this.finish(this.poor),
    });
    this.tcp = tcp;
  }
}

/** Whether this is an answer to our question under this number. What else is in it is for the guest to judge. */
function answers(bytes: Uint8Array, at: number, end: number, id: number, question: DnsQuestion): boolean {
  const header: DnsHeader | undefined = readDnsHeader(bytes, at, end);
  if (header === undefined || !header.response || header.id !== id || read16(bytes, at + 4) !== 1) return false;
  const name = readDnsName(bytes, at, at + dnsHeaderBytes, end);
  if (name === undefined || name.end + 4 > end || !sameDnsName(name.name, question.name)) return false;
  return read16(bytes, name.end) === question.type && read16(bytes, name.end + 2) === question.class;
}
