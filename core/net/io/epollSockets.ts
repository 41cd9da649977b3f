import { readFileSync } from "node:fs";
import type { HostListener, HostPing, HostPingHandler, HostTcp, HostTcpAccept, HostTcpHandler, HostUdp, HostUdpHandler } from "../nat/hostSockets";
import type { Ipv4Address } from "../wire/addresses";
import { EpollPing, EpollUdp, type DatagramLoop } from "./epollDatagrams";
import type { EpollReactor } from "./epollReactor";
import { EpollStream } from "./epollStream";
import { bindError, failureOf } from "./failures";
import { errorName, Family, FileControl, isRetry, Level, openFilesLimit, protocolIcmp, SocketOption, SocketType, tcpNoDelay, type Libc } from "./libc";
import { Messages } from "./messages";
import { SocketCalls } from "./socketCalls";
import type { IoSockets } from "./streams";

/** Connections that wait to be accepted, at most; the system caps it further. */
const backlog = 4096;
/** Connections accepted from one listener in one turn, at most. */
const acceptsPerTurn = 64;
/** How long a listener waits when no more sockets can be opened, milliseconds. The connections wait in the kernel. */
const acceptAgainMs = 100;
const datagramBytes = 65_536;
/** Descriptors that guests cannot take: the machines, the host service, files and interfaces of the host need some. */
const keptDescriptors = 128;

/** The host's sockets on the fast loop. */
export class EpollSockets implements IoSockets {
  private readonly libc: Libc;
  private readonly calls: SocketCalls;
  private readonly datagrams: DatagramLoop;
  private readonly open = new Set<{ release(): void }>();
  private nextIdentifier = process.pid & 0xffff;
  /** How many sockets may be open on behalf of guests. */
  private readonly mostOpen: number;
  /** Sockets for datagrams that are about to be open. */
  private binding = 0;

  constructor(private readonly reactor: EpollReactor) {
    this.libc = reactor.libc;
    this.calls = new SocketCalls(this.libc, reactor.memory);
    this.datagrams = { reactor, calls: this.calls, messages: new Messages(this.libc, reactor.memory), sending: reactor.allocate(datagramBytes), open: this.open };
    this.mostOpen = Math.max(1, this.raiseLimit() - keptDescriptors);
  }

  connectTcp(address: Ipv4Address, port: number, handler: HostTcpHandler): HostTcp {
    if (this.isFull) return this.failing("EMFILE", handler);
    return this.connecting(Family.inet, handler, (descriptor) => {
      // Nagle's delay would come on top of the guest's own.
      this.calls.setOption(descriptor, Level.tcp, tcpNoDelay, 1);
      return this.calls.connect(descriptor, address, port);
    });
  }

  connectLocal(path: string, handler: HostTcpHandler): HostTcp {
    return this.connecting(Family.unix, handler, (descriptor) => this.calls.connectPath(descriptor, path));
  }

  adopt(descriptor: number, handler: HostTcpHandler): HostTcp {
    const flags = this.libc.fileControl(descriptor, FileControl.getFlags, 0);
    this.libc.fileControl(descriptor, FileControl.setFlags, flags | FileControl.nonblocking);
    const stream = this.stream(descriptor, handler, "open");
    stream.tellConnected();
    return stream;
  }

  async listenTcp(address: Ipv4Address, port: number, accept: HostTcpAccept): Promise<HostListener> {
    const descriptor = await this.bound(SocketType.stream, address, port, "tcp");
    const listening = this.libc.listen(descriptor, backlog);
    if (listening < 0) {
      this.libc.close(descriptor);
      throw await bindError(errorName(-listening), "tcp", address, port);
    }
    const watch = this.reactor.watch(descriptor, { readable: () => this.acceptSome(descriptor, accept, (waits) => watch.setReading(!waits)) });
    const entry = {
      release: () => {
        if (!this.open.delete(entry)) return;
        watch.dispose();
        this.libc.close(descriptor);
      },
    };
    this.open.add(entry);
    return { ...this.calls.readName(descriptor), dispose: () => entry.release() };
  }

  async bindUdp(local: { readonly address: Ipv4Address; readonly port: number } | undefined, handler: HostUdpHandler): Promise<HostUdp> {
    if (local === undefined && this.isFull) throw await bindError("EMFILE", "udp", 0, 0);
    // A turn may bring hundreds, each of which is open only when this goes on.
    this.binding++;
    try {
      return new EpollUdp(this.datagrams, await this.bound(SocketType.datagram, local?.address ?? 0, local?.port ?? 0, "udp"), handler);
    } finally {
      this.binding--;
    }
  }

  openPing(handler: HostPingHandler): HostPing | { readonly refused: string } {
    if (this.isFull) return { refused: "Too many sockets are open." };
    const unprivileged = this.calls.open(Family.inet, SocketType.datagram, protocolIcmp);
    if (unprivileged >= 0) return new EpollPing(this.datagrams, unprivileged, handler, undefined);
    const raw = this.calls.open(Family.inet, SocketType.raw, protocolIcmp);
    if (raw >= 0) {
      this.nextIdentifier = (this.nextIdentifier + 1) & 0xffff;
      return new EpollPing(this.datagrams, raw, handler, this.nextIdentifier);
    }
    if (raw !== -operationNotPermitted) return { refused: `The host opens no socket for pings: ${errorName(-raw)}.` };
    return { refused: `The host allows its users no pings: net.ipv4.ping_group_range is "${pingGroups()}", which holds none of this user's groups.` };
  }

  dispose(): void {
    for (const socket of [...this.open]) socket.release();
  }

  private get isFull(): boolean {
    return this.open.size + this.binding >= this.mostOpen;
  }

  private connecting(family: number, handler: HostTcpHandler, connect: (descriptor: number) => number): HostTcp {
    const descriptor = this.calls.open(family, SocketType.stream);
    if (descriptor < 0) return this.failing(errorName(-descriptor), handler);
    const result = connect(descriptor);
    if (result < 0 && errorName(-result) !== "EINPROGRESS") {
      this.libc.close(descriptor);
      return this.failing(errorName(-result), handler);
    }
    return this.stream(descriptor, handler, "connecting");
  }

  /** A connection that could not even be begun fails as others do: later, unless it was let go of. */
  private failing(error: string, handler: HostTcpHandler): HostTcp {
    let wanted = true;
    this.reactor.soon(() => wanted && handler.failed(failureOf(error, false)));
    const letGo = (): void => {
      wanted = false;
    };
    return { read: () => 0, setReading: () => undefined, write: () => 0, shutdown: () => undefined, close: letGo, reset: letGo };
  }

  private stream(descriptor: number, handler: HostTcpHandler | undefined, state: "connecting" | "open"): EpollStream {
    const stream = new EpollStream(this.reactor, this.calls, descriptor, handler, state, (closed) => this.open.delete(closed));
    this.open.add(stream);
    return stream;
  }

  private acceptSome(listener: number, accept: HostTcpAccept, wait: (waits: boolean) => void): void {
    for (let count = 0; count < acceptsPerTurn; count++) {
      const descriptor = this.isFull ? -tooManyFiles : this.calls.accept(listener);
      if (descriptor < 0) {
        const error = errorName(-descriptor);
        if (failureOf(error, true) !== "out-of-sockets" || isRetry(descriptor)) return; // One that was reset meanwhile, or none left.
        this.reactor.warn(`a connection waits, because no more sockets can be opened (${error})`);
        wait(true);
        this.reactor.schedule(acceptAgainMs, () => wait(false));
        return;
      }
      const peer = this.calls.lastAddress;
      this.calls.setOption(descriptor, Level.tcp, tcpNoDelay, 1);
      const stream = this.stream(descriptor, undefined, "open");
      const handler = accept(stream, peer);
      if (handler) stream.attach(handler);
      else stream.reset();
    }
  }

  private async bound(type: number, address: Ipv4Address, port: number, protocol: "tcp" | "udp"): Promise<number> {
    const descriptor = this.calls.open(Family.inet, type);
    if (descriptor < 0) throw await bindError(errorName(-descriptor), protocol, address, port);
    // Connections of before that wait out their time do not keep a listener from its port (RFC 9293, 3.3.2).
    if (protocol === "tcp") this.calls.setOption(descriptor, Level.socket, SocketOption.reuseAddress, 1);
    const result = this.calls.bind(descriptor, address, port);
    if (result >= 0) return descriptor;
    this.libc.close(descriptor);
    throw await bindError(errorName(-result), protocol, address, port);
  }

  /** Every flow is a descriptor: as many are allowed as the system lets this process allow itself (getrlimit(2)). Returns how many. */
  private raiseLimit(): number {
    const { memory } = this.reactor;
    const limit = this.reactor.allocate(16);
    let most = usualLimit;
    if (this.libc.getLimit(openFilesLimit, memory.addressOf(limit)) >= 0) {
      const highest = memory.view.getBigUint64(limit.byteOffset + 8, true);
      memory.view.setBigUint64(limit.byteOffset, highest, true);
      if (this.libc.setLimit(openFilesLimit, memory.addressOf(limit)) >= 0) most = Number(highest);
    }
    this.reactor.release(limit);
    return most;
  }
}

/** Where the system does not tell. */
const usualLimit = 1024;
const operationNotPermitted = 1;
const tooManyFiles = 24;

function pingGroups(): string {
  try {
    return readFileSync("/proc/sys/net/ipv4/ping_group_range", "utf8").trim().replace(/\s+/g, " ");
  } catch (failure) {
    return failure instanceof Error ? failure.message : String(failure);
  }
}
