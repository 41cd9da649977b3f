import { randomBytes } from "node:crypto";
import type { Disposable } from "../../base/disposable";
import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";
import { broadcastIpv4, isMulticastIpv4, read32, type Ipv4Address } from "../wire/addresses";
import { Unreachable } from "../wire/icmp";
import { ipv4HeaderBytes, type Ipv4Packet } from "../wire/ipv4";
import { tcpHeaderBytes, TcpFlag } from "../wire/tcp";
import type { HostSocketFailure, HostSockets, HostTcp, HostTcpHandler } from "./hostSockets";
import type { FlowInfo, IpOutput, NatPolicy } from "./ipOutput";
import { Accounts, Shares, type Account } from "./shares";
import { ChunkPool } from "./tcpBuffer";
import { TcpConnection, type AcceptOptions, type TcpOwner } from "./tcpConnection";
import { ArrivedSegment, sendResetFor, type TcpEnds } from "./tcpSegment";
import { TcpTable } from "./tcpTable";

export type { AcceptOptions } from "./tcpConnection";
export { ChunkPool, chunkBytes } from "./tcpBuffer";

export interface TcpNatAround {
  readonly reactor: Reactor;
  readonly sockets: HostSockets;
  readonly output: IpOutput;
  readonly policy: NatPolicy;
  /** Of the link to the guests, bytes. */
  readonly mtu: number;
  readonly log: Log;
  /** Tells a guest by ICMP that its SYN was not delivered: `code` is one of `Unreachable`. Without this, it gets a reset. */
  readonly unreachable?: (lost: LostSyn, code: number) => void;
  /** Memory, shared by all that are given the same one; without it, there is one for this. */
  readonly pool?: ChunkPool;
  /** Whom connections and their memory are counted for; without this, all guests are one. */
  readonly accounts?: Accounts;
  /** A random unsigned 32-bit number: for sequence numbers, which must not be guessed (RFC 6528). */
  readonly random?: () => number;
  readonly limits?: Partial<TcpLimits>;
}

/** A SYN that could not be delivered; an ICMP error quotes its ports and its sequence number. */
export interface LostSyn extends TcpEnds {
  readonly sequence: number;
}

export interface TcpLimits {
  readonly connections: number;
  /** Handshakes under way; beyond it the oldest of who has the most is dropped, so that a flood of SYNs only harms itself. */
  readonly halfOpen: number;
  readonly timeWait: number;
  /** When a silent connection is probed, and how often before the guest counts as gone (RFC 9293, 3.8.4). */
  readonly keepAlive: { readonly idleMs: number; readonly intervalMs: number; readonly probes: number };
}

const defaultLimits: TcpLimits = {
  connections: 16_384,
  halfOpen: 2_048,
  timeWait: 2_048,
  keepAlive: { idleMs: 2 * 3600_000, intervalMs: 75_000, probes: 9 },
};

interface Endpoint {
  readonly address: Ipv4Address;
  readonly port: number;
}

const unreachableCodes: Partial<Record<HostSocketFailure, number>> = {
  "unreachable-host": Unreachable.host,
  "unreachable-network": Unreachable.network,
  prohibited: Unreachable.prohibited,
};

/** For a socket that was refused: nothing is said to it any more. */
const deaf: HostTcpHandler = {
  connected: () => undefined,
  readable: () => undefined,
  writable: () => undefined,
  failed: () => undefined,
};

const firstDynamicPort = 49_152;
const dynamicPorts = 65_536 - firstDynamicPort;

/**
 * The gateway's TCP: ends the guests' connections here and carries their bytes over sockets of the host. To the guest it
 * is the far end of every connection.
 */
export class TcpNat implements Disposable {
  private readonly limits: TcpLimits;
  private readonly owner: TcpOwner;
  private readonly pool: ChunkPool;
  private readonly accounts: Accounts;
  private readonly random: () => number;
  private readonly table: TcpTable<TcpConnection>;
  private readonly all = new Map<number, TcpConnection>();
  private readonly shares = new Shares<TcpConnection>();
  private readonly halfOpen = new Shares<TcpConnection>();
  /** In TIME-WAIT, and nothing is left that the host has not taken. */
  private readonly waiting = new Shares<TcpConnection>();
  private readonly segment = new ArrivedSegment();
  private readonly dirty: TcpConnection[] = [];
  private turnOpen = false;
  private turnTime = 0;
  private nextId = 1;
  private disposed = false;

  constructor(private readonly around: TcpNatAround) {
    this.limits = { ...defaultLimits, ...around.limits };
    this.random = around.random ?? (() => read32(randomBytes(4), 0));
    this.table = new TcpTable(this.random());
    this.pool = around.pool ?? new ChunkPool(around.reactor);
    this.accounts = around.accounts ?? new Accounts(() => undefined);
    this.owner = this.ownerOfConnections();
  }

  /** A guest's segment in [at, end), of `packet`. Answered at the end of this turn. */
  input(bytes: Uint8Array, at: number, end: number, packet: Ipv4Packet): void {
    const { segment } = this;
    if (this.disposed || !segment.read(bytes, at, end)) return;
    const connection = this.table.find(packet.source, segment.sourcePort, packet.destination, segment.destinationPort);
    if (connection && !this.mayBeReplaced(connection, segment)) {
      connection.arrived(segment);
      return;
    }
    // RFC 9293, 3.9.2.3 and RFC 6335, 6: neither a group of hosts nor port 0 is anybody's end.
    if (segment.sourcePort === 0 || segment.destinationPort === 0 || isMulticastIpv4(packet.destination) || packet.destination === broadcastIpv4) return;
    connection?.release(false);
    const ends = { guestAddress: packet.source, guestPort: segment.sourcePort, remoteAddress: packet.destination, remotePort: segment.destinationPort };
    if ((segment.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst | TcpFlag.fin)) === TcpFlag.syn) {
      this.open(ends, segment);
    } else sendResetFor(this.around.output, ends, segment);
  }

  /**
   * A connection that came to a port forward, from `peer`: the guest is called at `guest`, and sees it come from `seenFrom`
   * (with another port, if that one is in use or 0). The socket is reset when the guest refuses or does not answer.
   */
  accept(socket: HostTcp, _peer: Endpoint, guest: Endpoint, seenFrom: Endpoint, options: AcceptOptions = {}): HostTcpHandler {
    this.openTurn();
    const remotePort = this.freePort(guest, seenFrom);
    const account = this.accounts.of(guest.address, "in");
    if (this.disposed || remotePort === undefined || !this.makeRoom(account)) {
      socket.reset();
      return deaf;
    }
    const ends = { guestAddress: guest.address, guestPort: guest.port, remoteAddress: seenFrom.address, remotePort };
    const connection = this.add("in", ends, account);
    connection.openToGuest(socket, options);
    return connection;
  }

  /** A guest's ICMP error says that nobody listens on the port that a connection of ours was to reach. */
  portUnreachable(ends: TcpEnds): void {
    this.openTurn();
    this.table.find(ends.guestAddress, ends.guestPort, ends.remoteAddress, ends.remotePort)?.refusedByGuest();
  }

  connections(): number {
    return this.all.size;
  }

  flows(): FlowInfo[] {
    return Array.from(this.all.values(), (connection) => connection.flow());
  }

  /** Ends a connection with a reset both ways; false when there is none with this number. */
  cut(id: number): boolean {
    const connection = this.all.get(id);
    if (!connection) return false;
    this.openTurn();
    connection.abort();
    return true;
  }

  /** Ends every connection of a guest that is gone, without a word to it. */
  forget(guestAddress: Ipv4Address): void {
    this.openTurn();
    for (const connection of [...this.all.values()]) if (connection.ends.guestAddress === guestAddress) connection.release(true);
  }

  dispose(): void {
    if (this.disposed) return;
    this.openTurn();
    for (const connection of [...this.all.values()]) connection.abort();
    this.disposed = true;
    if (this.pool !== this.around.pool) this.around.reactor.atTurnEnd(() => this.pool.dispose());
  }

  private open(ends: TcpEnds, segment: ArrivedSegment): void {
    this.openTurn();
    const route = this.around.policy.route(ends.remoteAddress);
    const account = this.accounts.of(ends.guestAddress, "out");
    if ("refused" in route && this.around.unreachable) {
      this.around.unreachable({ ...ends, sequence: segment.sequence }, Unreachable.prohibited);
    } else if ("refused" in route || !this.makeRoom(account)) {
      sendResetFor(this.around.output, ends, segment);
    } else {
      this.add("out", ends, account).openFromGuest(segment, (handler) => this.around.sockets.connectTcp(route.address, ends.remotePort, handler, ends.guestAddress));
    }
  }

  /** The guest is told what its own connection would have met (RFC 5461). */
  private connectFailed(connection: TcpConnection, failure: HostSocketFailure): void {
    // As silent as the far end: the guest's own patience decides.
    if (failure === "timed-out") return;
    if (failure === "out-of-sockets") this.around.log.warn("a guest's connection was refused: this process may open no more sockets");
    const code = unreachableCodes[failure];
    if (code === undefined || !this.around.unreachable) connection.refuse();
    else this.around.unreachable({ ...connection.ends, sequence: connection.receiver.sequenceOf(0) }, code);
  }

  private add(direction: "out" | "in", ends: TcpEnds, account: Account): TcpConnection {
    const connection = new TcpConnection(this.owner, this.nextId++, direction, ends, account, this.random());
    this.all.set(connection.id, connection);
    this.shares.add(connection);
    this.table.add(connection);
    this.halfOpen.add(connection);
    return connection;
  }

  /**
   * Room for one more of `account`. A half-open connection or one in TIME-WAIT makes way, of whoever has the most of them;
   * an established one only for another's who has fewer.
   */
  private makeRoom(account: Account): boolean {
    const { halfOpen, waiting, shares, limits } = this;
    if (halfOpen.size >= limits.halfOpen) halfOpen.oldestOf(halfOpen.greatest(account))?.release(true);
    if (this.all.size >= limits.connections) waiting.oldestOf(waiting.greatest(account))?.release(false);
    if (this.all.size >= limits.connections) {
      const greatest = shares.greatest(account);
      if (shares.heldBy(greatest) > shares.heldBy(account) + 1) this.quietestOf(greatest)?.abort();
    }
    return this.all.size < limits.connections;
  }

  /** Of the first that came, the one that was silent longest: a look at all of them for each new one would be too dear. */
  private quietestOf(account: Account): TcpConnection | undefined {
    let quietest = this.halfOpen.oldestOf(account);
    if (quietest !== undefined) return quietest;
    let looked = 0;
    for (const connection of this.shares.of(account)) {
      if (quietest === undefined || connection.heardAt < quietest.heardAt) quietest = connection;
      if (++looked === 16) break;
    }
    return quietest;
  }

  /** A SYN may take the place of a connection in TIME-WAIT that it cannot be mistaken for (RFC 9293, 3.6.1). */
  private mayBeReplaced(connection: TcpConnection, segment: ArrivedSegment): boolean {
    if (connection.state !== "time-wait" || !segment.has(TcpFlag.syn) || segment.has(TcpFlag.ack | TcpFlag.rst)) return false;
    return connection.receiver.drained && connection.receiver.positionOf(segment.sequence) > connection.receiver.next;
  }

  private freePort(guest: Endpoint, seenFrom: Endpoint): number | undefined {
    const isFree = (port: number): boolean => !this.table.find(guest.address, guest.port, seenFrom.address, port);
    if (seenFrom.port !== 0 && isFree(seenFrom.port)) return seenFrom.port;
    const start = this.random() % dynamicPorts;
    for (let tried = 0; tried < 1024; tried++) {
      const port = firstDynamicPort + ((start + tried) % dynamicPorts);
      if (isFree(port)) return port;
    }
    return undefined;
  }

  private openTurn(): void {
    if (this.turnOpen) return;
    this.turnOpen = true;
    this.turnTime = this.around.reactor.monotonic();
    this.around.reactor.atTurnEnd(this.endTurn);
  }

  private readonly endTurn = (): void => {
    try {
      for (let index = 0; index < this.dirty.length; index++) {
        const connection = this.dirty[index]!;
        connection.touched = false;
        connection.endTurn();
      }
    } finally {
      this.dirty.length = 0;
      this.turnOpen = false;
    }
  };

  private ownerOfConnections(): TcpOwner {
    const nat = this;
    return {
      reactor: this.around.reactor,
      output: this.around.output,
      pool: this.pool,
      mss: Math.min(this.around.mtu - ipv4HeaderBytes - tcpHeaderBytes, 65_535),
      keepAlive: this.limits.keepAlive,
      get turnTime() {
        nat.openTurn();
        return nat.turnTime;
      },
      random: this.random,
      touch(connection) {
        nat.openTurn();
        if (connection.touched) return;
        connection.touched = true;
        nat.dirty.push(connection);
      },
      established: (connection) => void this.halfOpen.delete(connection),
      finished(connection) {
        nat.waiting.add(connection);
        if (nat.waiting.size > nat.limits.timeWait) nat.waiting.oldestOf(nat.waiting.greatest(connection.account))?.release(false);
      },
      connectFailed: (connection, failure) => this.connectFailed(connection, failure),
      released(connection) {
        nat.all.delete(connection.id);
        nat.shares.delete(connection);
        nat.halfOpen.delete(connection);
        nat.waiting.delete(connection);
        nat.table.remove(connection);
      },
    };
  }
}
