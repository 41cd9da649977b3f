import type { HostListener, HostPing, HostSocketFailure, HostSockets, HostTcp, HostTcpHandler, HostUdp } from "../../../core/net/nat/hostSockets";
import type { Ipv4Address } from "../../../core/net/wire/addresses";

/**
 * A socket of the host that a test holds the far end of: it decides when it connects, what there is to read, and how much
 * is taken. `poll` calls the handler as an event loop does, while reading is on.
 */
export class MemoryTcp implements HostTcp {
  /** What was written, in order. */
  readonly written: Uint8Array[] = [];
  /** How many bytes are taken before the socket is full. */
  takes = Infinity;
  reading = false;
  ended = false;
  isReset = false;
  isClosed = false;
  writes = 0;
  /** What was sent and not read yet. */
  unreadBytes = 0;
  handler: HostTcpHandler | undefined;
  private readonly incoming: Uint8Array[] = [];
  private incomingEnded = false;
  private full = false;

  constructor(
    readonly address: Ipv4Address = 0,
    readonly port = 0,
    handler?: HostTcpHandler,
  ) {
    this.handler = handler;
  }

  get writtenBytes(): number {
    return this.written.reduce((sum, piece) => sum + piece.length, 0);
  }

  /** Nobody needs it any more. */
  get isGone(): boolean {
    return this.isReset || this.isClosed;
  }

  // The far end.

  send(bytes: Uint8Array): void {
    if (bytes.length > 0) this.incoming.push(bytes);
    this.unreadBytes += bytes.length;
  }

  end(): void {
    this.incomingEnded = true;
  }

  /** Calls the handler if there is anything; true when it did. */
  poll(): boolean {
    if (this.isGone || !this.reading || !this.handler || (this.incoming.length === 0 && !this.incomingEnded)) return false;
    this.handler.readable();
    return true;
  }

  /** Room for so many more bytes. */
  allow(bytes: number): void {
    this.takes += bytes;
    if (!this.full || this.isGone) return;
    this.full = false;
    this.handler?.writable();
  }

  fail(failure: HostSocketFailure): void {
    this.handler?.failed(failure);
  }

  // The gateway's end.

  read(target: Uint8Array, at: number, end: number): number {
    this.mustLive();
    const first = this.incoming[0];
    if (!first) return this.incomingEnded ? -1 : 0;
    const count = Math.min(first.length, end - at);
    target.set(first.subarray(0, count), at);
    this.unreadBytes -= count;
    if (count === first.length) this.incoming.shift();
    else this.incoming[0] = first.subarray(count);
    return count;
  }

  setReading(on: boolean): void {
    this.mustLive();
    this.reading = on;
  }

  write(bytes: Uint8Array, at: number, end: number): number {
    this.mustLive();
    if (this.ended) throw new Error("written after the end");
    this.writes++;
    const count = Math.min(end - at, this.takes);
    this.takes -= count;
    if (count < end - at) this.full = true;
    if (count > 0) this.written.push(bytes.slice(at, at + count));
    return count;
  }

  shutdown(): void {
    this.mustLive();
    if (this.ended) throw new Error("ended twice");
    this.ended = true;
  }

  close(): void {
    this.mustLive();
    this.isClosed = true;
  }

  reset(): void {
    this.mustLive();
    this.isReset = true;
  }

  private mustLive(): void {
    if (this.isGone) throw new Error("a socket was used after it was let go of");
  }
}

/** The host's sockets as far as TCP needs them; every connection waits for the test's word. */
export class MemorySockets implements HostSockets {
  readonly opened: MemoryTcp[] = [];

  get latest(): MemoryTcp {
    const socket = this.opened[this.opened.length - 1];
    if (!socket) throw new Error("no connection was made");
    return socket;
  }

  connectTcp(address: Ipv4Address, port: number, handler: HostTcpHandler): HostTcp {
    const socket = new MemoryTcp(address, port, handler);
    this.opened.push(socket);
    return socket;
  }

  listenTcp(): Promise<HostListener> {
    throw new Error("no listeners here");
  }

  bindUdp(): Promise<HostUdp> {
    throw new Error("no datagrams here");
  }

  openPing(): HostPing | { readonly refused: string } {
    return { refused: "no pings here" };
  }
}
