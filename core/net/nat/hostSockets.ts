import type { Disposable } from "../../base/disposable";
import type { Ipv4Address } from "../wire/addresses";

/**
 * The host's sockets as the gateway needs them. This seam alone touches the host's network stack; behind it stand an
 * epoll loop of our own (fast, Linux) and the runtime's sockets (portable). Handlers are called from the reactor's
 * turns, never from within a call of theirs.
 */
export interface HostSockets {
  /** Begins a connection; the handler hears of its success or failure. `guest`: for whom, where it is for one. */
  connectTcp(address: Ipv4Address, port: number, handler: HostTcpHandler, guest?: Ipv4Address): HostTcp;
  /**
   * Listens on a host address. Port 0 takes a free one.
   * @throws TerrariumError `locked` when the port is taken (naming its holder where that can be known), `unavailable` when
   * the address is none of the host's or the port needs rights.
   */
  listenTcp(address: Ipv4Address, port: number, accept: HostTcpAccept): Promise<HostListener>;
  /** A socket for datagrams on an address and port of the host; without them, on any. @throws as `listenTcp` */
  bindUdp(local: { readonly address: Ipv4Address; readonly port: number } | undefined, handler: HostUdpHandler): Promise<HostUdp>;
  /** A socket for ICMP echoes; undefined with the reason where the host allows none. */
  openPing(handler: HostPingHandler): HostPing | { readonly refused: string };
}

/** A failure of a socket, by what the guest should be told. */
export type HostSocketFailure =
  | "refused" // a reset, or nothing listens
  | "unreachable-host"
  | "unreachable-network"
  | "timed-out"
  | "reset" // an open connection was reset
  | "prohibited" // the host's firewall or rights
  | "out-of-sockets"; // the process may open no more

export interface HostTcpHandler {
  connected(): void;
  /** There is something to read, or the end of it. Called in every turn in which there is, while reading is on. */
  readable(): void;
  /** Room again after `write` took less than it was given. */
  writable(): void;
  /** It failed, before or after it was connected; nothing else is called any more. */
  failed(failure: HostSocketFailure): void;
}

/** What is done with a connection that came in: its handler, or a refusal (a reset). */
export type HostTcpAccept = (socket: HostTcp, peer: { readonly address: Ipv4Address; readonly port: number }) => HostTcpHandler | undefined;

/** A connection of the host's TCP. After `close`, `reset` or `failed` its handler is not called any more. */
export interface HostTcp {
  /** Reads into [at, end) and returns how much; 0 when there is nothing now, -1 at the end of the stream. */
  read(target: Uint8Array, at: number, end: number): number;
  /** Whether `readable` is called. Off at first. */
  setReading(on: boolean): void;
  /** Takes bytes of [at, end), at once, and returns how many. When it is fewer, `writable` follows. */
  write(bytes: Uint8Array, at: number, end: number): number;
  /** Sends the end of our stream once everything that was taken is sent. */
  shutdown(): void;
  /** Lets go of it; what was taken is still sent, and the end of the stream. */
  close(): void;
  /** Ends it with a reset. */
  reset(): void;
}

export interface HostListener extends Disposable {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** An ICMP error that a host or a router of the outside sent. */
export interface IcmpReport {
  /** Whoever sent it. */
  readonly from: Ipv4Address;
  readonly type: number;
  readonly code: number;
}

export interface HostUdpHandler {
  /** A datagram came; the bytes are valid until the call returns. */
  datagram(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): void;
  /**
   * A datagram that was sent there came back as an ICMP error, or did not leave the host. Not every platform tells, and not
   * every one that does passes on the error itself as `report`.
   */
  failed(failure: HostSocketFailure, address: Ipv4Address, port: number, report?: IcmpReport): void;
}

export interface HostUdp extends Disposable {
  readonly address: Ipv4Address;
  readonly port: number;
  /**
   * Sends a datagram; false when the host did not take it, which is a loss as on any network.
   * @param ttl 1 to 255; without it the host's own. The runtime's sockets cannot set it for each datagram (portable path):
   * there all have the host's own, and traceroute of a guest sees nothing between the gateway and the far end.
   */
  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number, ttl?: number): boolean;
}

export interface HostPingHandler {
  /** An echo reply: the message behind its ICMP header. */
  reply(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, sequence: number): void;
  /** An ICMP error about an echo that was sent: where it came from (0.0.0.0: the host itself does not send it), its type and code. */
  failed(from: Ipv4Address, type: number, code: number, address: Ipv4Address, sequence: number): void;
}

export interface HostPing extends Disposable {
  /** Sends an echo request with this payload; the identifier is the socket's own. */
  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, sequence: number, ttl: number): boolean;
}
