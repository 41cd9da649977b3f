import { TerrariumError } from "../../../core/contract/errors";
import type { HostListener, HostPing, HostPingHandler, HostSockets, HostTcp, HostTcpAccept, HostTcpHandler, HostUdp, HostUdpHandler } from "../../../core/net/nat/hostSockets";
import { formatIpv4, type Ipv4Address } from "../../../core/net/wire/addresses";

interface SentDatagram {
  readonly bytes: Uint8Array;
  readonly address: Ipv4Address;
  readonly port: number;
  readonly ttl?: number;
}

/** A host without a network: what is sent is kept, and what comes is said by the test. */
export class FakeHost implements HostSockets {
  readonly udp: FakeUdp[] = [];
  readonly pings: FakePing[] = [];
  readonly tcp: FakeTcp[] = [];
  readonly listeners = new Map<string, HostTcpAccept>();
  /** Ports that something else holds, like "127.0.0.1:8080". */
  readonly taken = new Set<string>();
  /** Why ping sockets are not allowed; undefined: they are. */
  noPing: string | undefined;
  noSockets = false;
  private nextPort = 40_000;

  get openUdp(): FakeUdp[] {
    return this.udp.filter((socket) => !socket.disposed);
  }

  get openPings(): FakePing[] {
    return this.pings.filter((socket) => !socket.disposed);
  }

  connectTcp(address: Ipv4Address, port: number, handler: HostTcpHandler): HostTcp {
    const socket = new FakeTcp(address, port, handler);
    this.tcp.push(socket);
    return socket;
  }

  listenTcp(address: Ipv4Address, port: number, accept: HostTcpAccept): Promise<HostListener> {
    const key = `${formatIpv4(address)}:${port}`;
    if (this.taken.has(key) || this.listeners.has(key)) return Promise.reject(new TerrariumError("locked", `${key} is held by another program.`));
    this.listeners.set(key, accept);
    return Promise.resolve({ address, port, dispose: () => void this.listeners.delete(key) });
  }

  bindUdp(local: { readonly address: Ipv4Address; readonly port: number } | undefined, handler: HostUdpHandler): Promise<HostUdp> {
    if (this.noSockets) return Promise.reject(new TerrariumError("insufficient-resources", "The process may open no more sockets."));
    const key = local && `${formatIpv4(local.address)}:${local.port}`;
    if (key !== undefined && this.taken.has(key)) return Promise.reject(new TerrariumError("locked", `${key} is held by another program.`));
    const socket = new FakeUdp(local?.address ?? 0, local?.port ?? this.nextPort++, handler);
    this.udp.push(socket);
    return Promise.resolve(socket);
  }

  openPing(handler: HostPingHandler): HostPing | { readonly refused: string } {
    if (this.noPing !== undefined) return { refused: this.noPing };
    const socket = new FakePing(handler);
    this.pings.push(socket);
    return socket;
  }

  /** Somebody connects to a port of the host; undefined when nobody listens or it was reset at once. */
  knock(key: string, peer: { readonly address: Ipv4Address; readonly port: number }): { readonly socket: FakeTcp; readonly handler: HostTcpHandler } | undefined {
    const socket = new FakeTcp(peer.address, peer.port, undefined);
    const handler = this.listeners.get(key)?.(socket, peer);
    return handler && { socket, handler };
  }
}

export class FakeUdp implements HostUdp {
  readonly sent: SentDatagram[] = [];
  disposed = false;

  constructor(
    readonly address: Ipv4Address,
    readonly port: number,
    readonly handler: HostUdpHandler,
  ) {}

  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number, ttl?: number): boolean {
    if (this.disposed) throw new Error("sent on a socket that is closed");
    this.sent.push({ bytes: bytes.slice(at, end), address, port, ...(ttl === undefined ? {} : { ttl }) });
    return true;
  }

  /** A datagram comes in. */
  deliver(bytes: Uint8Array, address: Ipv4Address, port: number): void {
    if (!this.disposed) this.handler.datagram(bytes, 0, bytes.length, address, port);
  }

  dispose(): void {
    this.disposed = true;
  }
}

export class FakePing implements HostPing {
  readonly sent: (Omit<SentDatagram, "port"> & { readonly sequence: number; readonly ttl: number })[] = [];
  disposed = false;

  constructor(readonly handler: HostPingHandler) {}

  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, sequence: number, ttl: number): boolean {
    if (this.disposed) throw new Error("sent on a socket that is closed");
    this.sent.push({ bytes: bytes.slice(at, end), address, sequence, ttl });
    return true;
  }

  dispose(): void {
    this.disposed = true;
  }
}

/** The host's end of a connection; `inbox` is what the test has the peer say. */
export class FakeTcp implements HostTcp {
  readonly written: Uint8Array[] = [];
  readonly inbox: number[] = [];
  state: "open" | "closed" | "reset" = "open";
  /** The peer reads nothing. */
  full = false;

  constructor(
    readonly address: Ipv4Address,
    readonly port: number,
    readonly handler: HostTcpHandler | undefined,
  ) {}

  read(target: Uint8Array, at: number, end: number): number {
    const some = this.inbox.splice(0, end - at);
    target.set(some, at);
    return some.length;
  }

  setReading(): void {
    // The test calls `readable` itself.
  }

  write(bytes: Uint8Array, at: number, end: number): number {
    if (this.full) return 0;
    this.written.push(bytes.slice(at, end));
    return end - at;
  }

  shutdown(): void {
    // Nobody waits for it.
  }

  close(): void {
    this.state = "closed";
  }

  reset(): void {
    this.state = "reset";
  }
}
