import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { connect, createServer, Socket, type Server } from "node:net";
import type { HostListener, HostPing, HostPingHandler, HostTcp, HostTcpAccept, HostTcpHandler, HostUdp, HostUdpHandler } from "../nat/hostSockets";
import { formatIpv4, parseIpv4, type Ipv4Address } from "../wire/addresses";
import { bindError, failureOf } from "./failures";
import type { PortableReactor } from "./portableReactor";
import { PortableStream } from "./portableStream";
import type { IoSockets } from "./streams";

/** Connections that wait to be accepted, at most; the system caps it further. */
const backlog = 4096;
/** Datagrams the runtime holds because the kernel took none, at most; bytes. */
const datagramsBehindBytes = 1024 * 1024;

/** The host's sockets as the runtime offers them: everywhere, without pings, and at the price of its streams. */
export class PortableSockets implements IoSockets {
  private readonly open = new Set<{ destroy(): void }>();

  constructor(private readonly reactor: PortableReactor) {}

  connectTcp(address: Ipv4Address, port: number, handler: HostTcpHandler): HostTcp {
    // Nagle's delay would come on top of the guest's own.
    return this.stream(connect({ host: formatIpv4(address), port, allowHalfOpen: true, noDelay: true }), handler);
  }

  connectLocal(path: string, handler: HostTcpHandler): HostTcp {
    return this.stream(connect({ path, allowHalfOpen: true }), handler);
  }

  adopt(descriptor: number, handler: HostTcpHandler): HostTcp {
    const stream = this.stream(new Socket({ fd: descriptor, allowHalfOpen: true, readable: true, writable: true }), handler);
    this.reactor.soon(() => stream.onConnected());
    return stream;
  }

  listenTcp(address: Ipv4Address, port: number, accept: HostTcpAccept): Promise<HostListener> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.on("connection", (socket) => this.reactor.handle(() => this.accepted(socket, accept)));
    return new Promise((resolve, reject) => {
      server.once("error", (failure: NodeJS.ErrnoException) => {
        bindError(failure.code, "tcp", address, port).then(reject, reject);
      });
      server.listen({ host: formatIpv4(address), port, backlog, exclusive: true }, () => {
        server.removeAllListeners("error");
        // A connection that could not be accepted is that one's loss; the listener goes on.
        server.on("error", (failure) => this.reactor.handle(() => this.reactor.warn(`a connection to port ${port} could not be accepted: ${failure.message}`)));
        resolve(this.listener(server, address));
      });
    });
  }

  bindUdp(local: { readonly address: Ipv4Address; readonly port: number } | undefined, handler: HostUdpHandler): Promise<HostUdp> {
    // Addresses are numbers here; there is nothing to look up, and a look-up would take a turn.
    const socket = createSocket({ type: "udp4", lookup: (host, _options, done) => done(null, host, 4) });
    return new Promise((resolve, reject) => {
      socket.once("error", (failure: NodeJS.ErrnoException) => {
        socket.close();
        bindError(failure.code, "udp", local?.address ?? 0, local?.port ?? 0).then(reject, reject);
      });
      socket.bind({ address: formatIpv4(local?.address ?? 0), port: local?.port ?? 0, exclusive: true }, () => {
        socket.removeAllListeners("error");
        resolve(new PortableUdp(this.reactor, socket, handler, this.open));
      });
    });
  }

  openPing(_handler: HostPingHandler): HostPing | { readonly refused: string } {
    return { refused: "The network runs over the portable sockets of its runtime, which send no pings. TCP and UDP are not affected." };
  }

  dispose(): void {
    for (const socket of [...this.open]) socket.destroy();
  }

  private stream(socket: Socket, handler?: HostTcpHandler): PortableStream {
    this.open.add(socket);
    socket.once("close", () => this.open.delete(socket));
    const stream = new PortableStream(this.reactor, socket);
    if (handler) stream.attach(handler);
    return stream;
  }

  private accepted(socket: Socket, accept: HostTcpAccept): void {
    const stream = this.stream(socket);
    stream.beginConnected();
    // A connection that was reset before it was accepted has no address any more.
    const address = parseIpv4(socket.remoteAddress ?? "");
    const handler = address === undefined || socket.remotePort === undefined ? undefined : accept(stream, { address, port: socket.remotePort });
    if (handler) stream.attach(handler);
    else stream.reset();
  }

  private listener(server: Server, address: Ipv4Address): HostListener {
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    const entry = { destroy: () => void server.close() };
    this.open.add(entry);
    return {
      address,
      port,
      dispose: () => {
        if (this.open.delete(entry)) server.close();
      },
    };
  }
}

/** The runtime sets a TTL when it pleases, not with a datagram: it is left out, as the seam says. */
class PortableUdp implements HostUdp {
  readonly address: Ipv4Address;
  readonly port: number;

  constructor(
    private readonly reactor: PortableReactor,
    private readonly socket: DatagramSocket,
    private readonly handler: HostUdpHandler,
    private readonly open: Set<{ destroy(): void }>,
  ) {
    const bound = socket.address();
    this.address = parseIpv4(bound.address) ?? 0;
    this.port = bound.port;
    open.add(this);
    socket.on("message", (bytes, from) => {
      const address = parseIpv4(from.address);
      if (address !== undefined) this.reactor.handle(() => this.handler.datagram(bytes, 0, bytes.length, address, from.port));
    });
    socket.on("error", (failure) => this.reactor.warn(`a datagram socket failed: ${failure.message}`));
  }

  send(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): boolean {
    if (!this.open.has(this) || port === 0 || this.socket.getSendQueueSize() + end - at > datagramsBehindBytes) return false;
    this.socket.send(bytes.slice(at, end), port, formatIpv4(address), (failure) => {
      if (failure && this.open.has(this)) this.reactor.handle(() => this.handler.failed(failureOf((failure as NodeJS.ErrnoException).code, false), address, port));
    });
    return true;
  }

  dispose(): void {
    if (this.open.delete(this)) this.socket.close();
  }

  destroy(): void {
    this.dispose();
  }
}
