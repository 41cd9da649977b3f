import { toDisposable, type Disposable } from "../../base/disposable";
import type { Log } from "../../base/log";
import type { Clock } from "../../base/clock";
import { TerrariumError, toErrorData, type ErrorData } from "../../contract/errors";
import type { ForwardSpec } from "../control";
import { formatIpv4, parseIpv4, parseMac, type Ipv4Address, type MacNumber } from "../wire/addresses";
import type { HostSocketFailure, HostSockets, HostTcp, HostTcpHandler, HostUdp } from "./hostSockets";
import type { TcpNat } from "./tcp";
import type { Endpoint, UdpForwarder, UdpNat } from "./udp";

export type RefusalReason = "off" | "paused" | "no-address";

/** What the forwards of a segment lead to. */
export interface ForwardsAround {
  readonly clock: Clock;
  readonly sockets: HostSockets;
  readonly tcp: TcpNat;
  readonly udp: UdpNat;
  readonly log: Log;
  /** From which address a guest sees a peer of the host. */
  seenFrom(peer: Ipv4Address): Ipv4Address;
  /** Where the adapter is, from its lease or its own words. */
  addressOf(mac: MacNumber): Ipv4Address | undefined;
  /** Somebody knocked in vain. At most once a second for each forward and reason. */
  refused(forward: string, reason: RefusalReason): void;
  /** A forward's problem began or ended. */
  changed(): void;
}

/**
 * The port forwards of a segment. Their ports on the host are held whether their machines run or not: a connection to one
 * that is off is reset and told of, one to a paused machine waits up to five seconds for it to go on, and so do the first
 * datagrams. With a forward end its connections.
 */
export class Forwards implements Disposable {
  private readonly forwards = new Map<string, Forward>();

  constructor(private readonly around: ForwardsAround) {}

  /** Makes these the forwards, by changing what differs. */
  apply(specs: readonly ForwardSpec[]): void {
    const wanted = new Map(specs.map((spec) => [spec.id, spec]));
    for (const [id, forward] of [...this.forwards]) {
      const spec = wanted.get(id);
      if (spec !== undefined && forward.update(spec)) continue;
      this.forwards.delete(id);
      forward.dispose();
    }
    // Only now: a port may have gone from one forward to another.
    for (const [id, spec] of wanted) if (!this.forwards.has(id)) this.forwards.set(id, new Forward(spec, this.around));
  }

  /** Why a forward does not listen, or not on all its ports. */
  problemOf(id: string): ErrorData | undefined {
    return this.forwards.get(id)?.problem;
  }

  dispose(): void {
    for (const forward of this.forwards.values()) forward.dispose();
    this.forwards.clear();
  }
}

/** How long a connection or a datagram to a paused machine waits, and how many of each. */
const pausedMs = 5000;
const maxWaiting = 64;
const maxHeld = 16;
const maxHeldBytes = 64 * 1024;

/** A port that was taken is tried again. */
const againMs = 10_000;
const refusalMs = 1000;

class Forward implements Disposable {
  problem: ErrorData | undefined;

  private readonly held = new Set<Disposable>();
  /** Of the range, those that do not listen. */
  private readonly missing = new Set<number>();
  private readonly connections = new Set<Connection>();
  private readonly udpPorts = new Set<UdpPort>();
  /** Those that wait for a paused machine, the first one in front. */
  private readonly datagrams = new Set<HeldDatagram>();
  private heldBytes = 0;
  private readonly toldAt = new Map<RefusalReason, number>();
  private again: Disposable | undefined;
  private disposed = false;

  constructor(
    private spec: ForwardSpec,
    private readonly around: ForwardsAround,
  ) {
    const { count = 1 } = spec.forward;
    for (let offset = 0; offset < count; offset++) this.listen(offset);
  }

  /** False when it is another forward and must be made anew. */
  update(spec: ForwardSpec): boolean {
    const same = JSON.stringify([this.spec.forward, this.spec.mac]) === JSON.stringify([spec.forward, spec.mac]);
    if (!same) return false;
    this.spec = spec;
    if (spec.target === "paused") return true;
    for (const connection of [...this.connections]) connection.goOn();
    for (const held of [...this.datagrams]) {
      this.letGo(held);
      held.port.heard(held.bytes, 0, held.bytes.length, held.peer.address, held.peer.port);
    }
    return true;
  }

  /** Keeps a datagram until the machine goes on, for as long as a connection would wait. */
  hold(port: UdpPort, bytes: Uint8Array, peer: Endpoint): void {
    if (this.datagrams.size >= maxHeld || this.heldBytes + bytes.length > maxHeldBytes) return this.refuse("paused");
    const timer = this.around.clock.schedule(pausedMs, () => {
      this.letGo(held);
      this.refuse("paused");
    });
    const held: HeldDatagram = { port, bytes: bytes.slice(), peer, timer };
    this.datagrams.add(held);
    this.heldBytes += bytes.length;
  }

  dispose(): void {
    this.disposed = true;
    this.again?.dispose();
    for (const held of this.held) held.dispose();
    this.held.clear();
    for (const port of this.udpPorts) this.around.udp.endForward(port);
    for (const connection of [...this.connections]) connection.end();
    for (const held of [...this.datagrams]) this.letGo(held);
  }

  /** Where a connection may go now, or why it must not. */
  target(guestPort: number): Endpoint | RefusalReason {
    if (this.spec.target !== "running") return this.spec.target;
    const mac = parseMac(this.spec.mac);
    const address = mac === undefined ? undefined : this.around.addressOf(mac);
    return address === undefined ? "no-address" : { address, port: guestPort };
  }

  refuse(reason: RefusalReason): void {
    const now = this.around.clock.monotonic();
    if (now - (this.toldAt.get(reason) ?? -Infinity) < refusalMs) return;
    this.toldAt.set(reason, now);
    this.around.refused(this.spec.id, reason);
  }

  private letGo(held: HeldDatagram): void {
    held.timer.dispose();
    this.datagrams.delete(held);
    this.heldBytes -= held.bytes.length;
  }

  private listen(offset: number): void {
    const { forward } = this.spec;
    const address = parseIpv4(forward.hostAddress) ?? 0;
    const hostPort = forward.hostPort + offset;
    const guestPort = forward.guestPort + offset;
    if (hostPort > 65_535 || guestPort > 65_535) return this.failed(offset, new TerrariumError("invalid-input", `The range of ${describe(this.spec, offset)} goes beyond port 65535.`, "Choose a smaller range."), false);
    const opened = forward.protocol === "tcp" ? this.listenTcp(address, hostPort, guestPort) : this.bindUdp(address, hostPort, guestPort);
    void opened.then(
      (listener) => {
        if (this.disposed) return listener.dispose();
        this.held.add(listener);
        this.listening(offset);
      },
      (error: unknown) => {
        if (!this.disposed) this.failed(offset, error, true);
      },
    );
  }

  private listening(offset: number): void {
    this.missing.delete(offset);
    if (this.missing.size > 0 || this.problem === undefined) return;
    this.problem = undefined;
    this.around.changed();
  }

  private failed(offset: number, error: unknown, retry: boolean): void {
    const problem = toErrorData(error);
    if (problem.code === "internal") this.around.log.error(`${describe(this.spec, offset)} failed`, error);
    const isNew = this.problem?.message !== problem.message;
    this.problem = problem;
    this.missing.add(offset);
    if (retry && this.again === undefined) {
      this.again = this.around.clock.schedule(againMs, () => {
        this.again = undefined;
        for (const missing of [...this.missing]) this.listen(missing);
      });
    }
    if (isNew) this.around.changed();
  }

  private async listenTcp(address: Ipv4Address, hostPort: number, guestPort: number): Promise<Disposable> {
    return await this.around.sockets.listenTcp(address, hostPort, (socket, peer) => {
      const target = this.target(guestPort);
      if (target === "off" || target === "no-address" || (target === "paused" && this.waitingCount >= maxWaiting)) {
        this.refuse(target);
        return undefined;
      }
      const connection = new Connection(this, this.around, socket, peer, guestPort, (ended) => this.connections.delete(ended));
      this.connections.add(connection);
      connection.goOn();
      return connection;
    });
  }

  private get waitingCount(): number {
    let count = 0;
    for (const connection of this.connections) if (connection.isWaiting) count++;
    return count;
  }

  private async bindUdp(address: Ipv4Address, hostPort: number, guestPort: number): Promise<Disposable> {
    const port = new UdpPort(this, this.around, guestPort);
    const socket = await this.around.sockets.bindUdp(
      { address, port: hostPort },
      {
        datagram: (bytes, at, end, from, fromPort) => port.heard(bytes, at, end, from, fromPort),
        // The peer is gone: its flow ends by itself.
        failed: () => undefined,
      },
    );
    port.socket = socket;
    this.udpPorts.add(port);
    return toDisposable(() => {
      this.udpPorts.delete(port);
      this.around.udp.endForward(port);
      socket.dispose();
    });
  }
}

interface HeldDatagram {
  readonly port: UdpPort;
  readonly bytes: Uint8Array;
  readonly peer: Endpoint;
  readonly timer: Disposable;
}

class UdpPort implements UdpForwarder {
  socket: HostUdp | undefined;

  constructor(
    private readonly forward: Forward,
    private readonly around: ForwardsAround,
    private readonly guestPort: number,
  ) {}

  heard(bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): void {
    const target = this.forward.target(this.guestPort);
    if (target === "paused") return this.forward.hold(this, bytes.subarray(at, end), { address, port });
    if (typeof target === "string") return this.forward.refuse(target);
    this.around.udp.forward(this, { address, port }, target, this.around.seenFrom(address), bytes, at, end);
  }

  reply(bytes: Uint8Array, at: number, end: number, peer: Endpoint): void {
    this.socket?.send(bytes, at, end, peer.address, peer.port);
  }
}

/**
 * A connection from the host's side: it stands between the socket and the guests' TCP, so that it can wait for a paused
 * machine, and be ended with its forward.
 */
class Connection implements HostTcpHandler, HostTcp {
  private inner: HostTcpHandler | undefined;
  private over = false;
  private waiting: Disposable | undefined;
  private connectedEarly = false;

  constructor(
    private readonly forward: Forward,
    private readonly around: ForwardsAround,
    private readonly socket: HostTcp,
    private readonly peer: Endpoint,
    private readonly guestPort: number,
    private readonly ended: (connection: Connection) => void,
  ) {}

  get isWaiting(): boolean {
    return this.waiting !== undefined;
  }

  /** Connects to the guest if it runs; waits when it is paused. */
  goOn(): void {
    if (this.over || this.inner !== undefined) return;
    const target = this.forward.target(this.guestPort);
    if (target === "paused") {
      this.waiting ??= this.around.clock.schedule(pausedMs, () => this.giveUp("paused"));
      return;
    }
    if (typeof target === "string") return this.giveUp(target);
    this.waiting?.dispose();
    this.waiting = undefined;
    this.inner = this.around.tcp.accept(this, this.peer, target, { address: this.around.seenFrom(this.peer.address), port: this.peer.port });
    if (this.connectedEarly) this.inner.connected();
  }

  /** Its forward is gone: both sides are reset. */
  end(): void {
    if (this.over) return;
    const { inner } = this;
    this.reset();
    inner?.failed("reset");
  }

  connected(): void {
    this.connectedEarly = true;
    this.inner?.connected();
  }

  readable(): void {
    this.inner?.readable();
  }

  writable(): void {
    this.inner?.writable();
  }

  failed(failure: HostSocketFailure): void {
    const { inner } = this;
    this.finish();
    inner?.failed(failure);
  }

  read(target: Uint8Array, at: number, end: number): number {
    return this.over ? 0 : this.socket.read(target, at, end);
  }

  setReading(on: boolean): void {
    if (!this.over) this.socket.setReading(on);
  }

  write(bytes: Uint8Array, at: number, end: number): number {
    return this.over ? end - at : this.socket.write(bytes, at, end);
  }

  shutdown(): void {
    if (!this.over) this.socket.shutdown();
  }

  close(): void {
    if (this.over) return;
    this.socket.close();
    this.finish();
  }

  reset(): void {
    if (this.over) return;
    this.socket.reset();
    this.finish();
  }

  private giveUp(reason: RefusalReason): void {
    this.reset();
    this.forward.refuse(reason);
  }

  private finish(): void {
    this.over = true;
    this.waiting?.dispose();
    this.waiting = undefined;
    this.ended(this);
  }
}

function describe({ forward, machine }: ForwardSpec, offset: number): string {
  return `the port forward ${formatIpv4(parseIpv4(forward.hostAddress) ?? 0)}:${forward.hostPort + offset} to ${machine}`;
}
