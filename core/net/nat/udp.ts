import type { Disposable } from "../../base/disposable";
import type { Log } from "../../base/log";
import { toErrorData } from "../../contract/errors";
import type { Clock } from "../../base/clock";
import type { Ipv4Address } from "../wire/addresses";
import { IcmpType, Unreachable } from "../wire/icmp";
import { IpProtocol, type Ipv4Packet } from "../wire/ipv4";
import { readUdp, udpChecksumHolds, udpHeaderBytes, writeUdp } from "../wire/udp";
import type { HostSocketFailure, HostSockets, HostUdp, IcmpReport } from "./hostSockets";
import type { IcmpErrors } from "./icmpErrors";
import type { FlowInfo, IpOutput, NatPolicy } from "./ipOutput";
import { Shares, type Account, type Accounts } from "./shares";
import type { TcpEnds } from "./tcpSegment";

export interface Endpoint {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** A port forward, as its flows see it. */
export interface UdpForwarder {
  /** Sends to a peer what the guest answers. */
  reply(bytes: Uint8Array, at: number, end: number, peer: Endpoint): void;
}

/**
 * UDP through the gateway (RFC 4787).
 *
 * Each port of a guest has one socket on the host, whoever it speaks to (REQ-1, endpoint-independent mapping), and hears
 * through it from the addresses it spoke to (REQ-8, address-dependent filtering: everybody who can reach the host can
 * reach the socket). A flow is a guest's port and a remote one. It ends 30 s after an unanswered datagram, 180 s after the
 * last one of a conversation (REQ-5), 10 s after an answer of a name server. The socket closes with its last flow.
 *
 * Datagrams that come through a port forward make flows of their own: the guest sees the peer at an endpoint that was
 * chosen for it, and what it sends there goes back through the forward.
 */
export class UdpNat implements Disposable {
  private readonly mappings = new Map<number, Mapping>();
  /** Flows through port forwards: by the guest's endpoint, then by the peer's as the guest sees it. */
  private readonly forwarded = new Map<number, Map<number, UdpFlow>>();
  /** All flows, the one that was silent longest in front, and each account's. */
  private readonly byAge = new Set<UdpFlow>();
  private readonly shares = new Shares<UdpFlow>();
  private sweep: Disposable | undefined;

  constructor(
    private readonly around: {
      readonly clock: Clock;
      readonly sockets: HostSockets;
      readonly output: IpOutput;
      readonly policy: NatPolicy;
      readonly errors: IcmpErrors;
      readonly accounts: Accounts;
      readonly log: Log;
      /** A number for a flow, unique in the gateway. */
      nextId(): number;
    },
  ) {}

  get flowCount(): number {
    return this.byAge.size;
  }

  /** A guest's datagram; its IPv4 header begins at `at`. */
  input(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    const datagram = readUdp(bytes, packet.payload, packet.end);
    if (datagram === undefined || datagram.sourcePort === 0 || datagram.destinationPort === 0) return;
    if (!udpChecksumHolds(bytes, packet.payload, datagram.end, packet.source, packet.destination)) return;
    const { payload, end } = datagram;
    const guest = keyOf(packet.source, datagram.sourcePort);
    const remote = keyOf(packet.destination, datagram.destinationPort);
    const back = this.forwarded.get(guest)?.get(remote);
    // The gateway is one of the routers on the way; what is for the gateway itself has arrived.
    const ttl = Math.max(1, packet.ttl - 1);
    if (back !== undefined) return this.send(back, bytes, payload, end, ttl);
    const mapping = this.mappings.get(guest);
    const known = mapping?.flows.get(remote);
    if (known !== undefined) return this.send(known, bytes, payload, end, ttl);
    const route = this.around.policy.route(packet.destination);
    if ("refused" in route) return this.around.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.prohibited);
    const flow = this.begin(packet, datagram.sourcePort, datagram.destinationPort, route.address, mapping ?? this.open(guest));
    this.send(flow, bytes, payload, end, ttl);
  }

  /**
   * A datagram from `peer` for a guest, through a port forward; the guest sees it come from `seenFrom`, at the peer's port
   * or, where that is taken, at another. Lost when there is none.
   */
  forward(forwarder: UdpForwarder, peer: Endpoint, guest: Endpoint, seenFrom: Ipv4Address, bytes: Uint8Array, at: number, end: number): void {
    const flow = this.forwardedFlow(forwarder, peer, guest, seenFrom);
    if (flow === undefined) return;
    this.touch(flow);
    this.deliver(flow, flow.remotePort, bytes, at, end);
  }

  /** A guest says that nobody takes what came to its port: the flow is over, and with the last one the host's socket. */
  refused(ends: TcpEnds): void {
    const guest = keyOf(ends.guestAddress, ends.guestPort);
    const remote = keyOf(ends.remoteAddress, ends.remotePort);
    const flow = this.forwarded.get(guest)?.get(remote) ?? this.mappings.get(guest)?.flows.get(remote);
    if (flow !== undefined) this.end(flow);
  }

  /** Ends every flow of a guest that is gone. */
  forget(guest: Ipv4Address): void {
    for (const flow of [...this.byAge]) if (flow.guest.address === guest) this.end(flow);
  }

  /** Ends the flows of a port forward. */
  endForward(forwarder: UdpForwarder): void {
    for (const flow of [...this.byAge]) if (flow.forwarder === forwarder) this.end(flow);
  }

  flows(): FlowInfo[] {
    return [...this.byAge].map((flow) => ({
      id: flow.id,
      protocol: "udp",
      direction: flow.forwarder === undefined ? "out" : "in",
      guestAddress: flow.guest.address,
      guestPort: flow.guest.port,
      remoteAddress: flow.forwarder === undefined ? flow.remoteAddress : flow.routed.address,
      remotePort: flow.forwarder === undefined ? flow.remotePort : flow.routed.port,
      state: "open",
      sentBytes: flow.sentBytes,
      receivedBytes: flow.receivedBytes,
      startedAt: flow.startedAt,
      lastAt: flow.lastAt,
    }));
  }

  cut(id: number): boolean {
    for (const flow of this.byAge) {
      if (flow.id !== id) continue;
      this.end(flow);
      return true;
    }
    return false;
  }

  dispose(): void {
    for (const flow of [...this.byAge]) this.end(flow);
    this.sweep?.dispose();
    this.sweep = undefined;
  }

  private open(key: number): Mapping {
    const mapping: Mapping = { flows: new Map(), byAddress: new Map(), socket: undefined, closed: false, waiting: [], waitingBytes: 0 };
    this.mappings.set(key, mapping);
    void this.around.sockets
      .bindUdp(undefined, {
        datagram: (bytes, at, end, address, port) => this.heard(mapping, bytes, at, end, address, port),
        failed: (failure, address, port, report) => this.failed(mapping, failure, address, port, report),
      })
      .then(
        (socket) => {
          if (mapping.closed) return socket.dispose();
          mapping.socket = socket;
          for (const { flow, bytes, ttl } of mapping.waiting.splice(0)) if (this.byAge.has(flow)) socket.send(bytes, 0, bytes.length, flow.routed.address, flow.routed.port, ttl);
        },
        (error: unknown) => {
          if (!mapping.closed) this.around.log.warn(`a guest's UDP port has no socket: ${toErrorData(error).message}`);
          for (const flow of [...mapping.flows.values()]) this.end(flow);
        },
      );
    return mapping;
  }

  private begin(packet: Ipv4Packet, guestPort: number, remotePort: number, routedAddress: Ipv4Address, mapping: Mapping): UdpFlow {
    const flow = this.newFlow({ address: packet.source, port: guestPort }, packet.destination, remotePort, { address: routedAddress, port: remotePort }, "out");
    flow.mapping = mapping;
    mapping.flows.set(keyOf(flow.remoteAddress, remotePort), flow);
    const siblings = mapping.byAddress.get(routedAddress);
    if (siblings === undefined) mapping.byAddress.set(routedAddress, new Map([[remotePort, flow]]));
    else siblings.set(remotePort, flow);
    this.enter(flow);
    return flow;
  }

  private forwardedFlow(forwarder: UdpForwarder, peer: Endpoint, guest: Endpoint, seenFrom: Ipv4Address): UdpFlow | undefined {
    const key = keyOf(guest.address, guest.port);
    const seen = this.forwarded.get(key) ?? new Map<number, UdpFlow>();
    // The peer's own port is where it is, or one of the ports tried after it.
    for (let tried = 0; tried < portsTried; tried++) {
      const port = tried === 0 ? peer.port : firstChosenPort + ((peer.port + tried * 7919) % chosenPorts);
      const flow = seen.get(keyOf(seenFrom, port));
      if (flow === undefined) {
        const made = this.newFlow(guest, seenFrom, port, peer, "in");
        made.forwarder = forwarder;
        seen.set(keyOf(seenFrom, port), made);
        this.forwarded.set(key, seen);
        this.enter(made);
        return made;
      }
      if (flow.forwarder === forwarder && flow.routed.address === peer.address && flow.routed.port === peer.port) return flow;
    }
    return undefined;
  }

  private newFlow(guest: Endpoint, remoteAddress: Ipv4Address, remotePort: number, routed: Endpoint, direction: "out" | "in"): UdpFlow {
    const now = this.around.clock.monotonic();
    return {
      id: this.around.nextId(),
      account: this.around.accounts.of(guest.address, direction),
      guest,
      remoteAddress,
      remotePort,
      routed,
      mapping: undefined,
      forwarder: undefined,
      answered: false,
      lastLength: 0,
      sentBytes: 0,
      receivedBytes: 0,
      startedAt: now,
      lastAt: now,
    };
  }

  private enter(flow: UdpFlow): void {
    const { account } = flow;
    this.shares.add(flow);
    this.byAge.add(flow);
    // A guest's flood takes the place of its own flows first, and that of those outside the place of what came from there.
    const crowded = this.shares.heldBy(account) > maxFlowsOfGuest ? account : this.byAge.size > maxFlows ? this.shares.greatest(account) : undefined;
    const oldest = crowded && this.shares.oldestOf(crowded);
    if (oldest !== undefined) this.end(oldest);
    this.sweepLater();
  }

  private end(flow: UdpFlow): void {
    this.byAge.delete(flow);
    this.shares.delete(flow);
    const guest = keyOf(flow.guest.address, flow.guest.port);
    const remote = keyOf(flow.remoteAddress, flow.remotePort);
    if (flow.forwarder !== undefined) {
      const seen = this.forwarded.get(guest);
      if (seen?.delete(remote) && seen.size === 0) this.forwarded.delete(guest);
      return;
    }
    const { mapping } = flow;
    if (mapping === undefined) return;
    mapping.flows.delete(remote);
    const siblings = mapping.byAddress.get(flow.routed.address);
    if (siblings?.get(flow.routed.port) === flow) siblings.delete(flow.routed.port);
    if (siblings?.size === 0) mapping.byAddress.delete(flow.routed.address);
    if (mapping.flows.size > 0) return;
    mapping.closed = true;
    mapping.socket?.dispose();
    if (this.mappings.get(guest) === mapping) this.mappings.delete(guest);
  }

  private send(flow: UdpFlow, bytes: Uint8Array, at: number, end: number, ttl: number): void {
    this.touch(flow);
    flow.sentBytes += end - at;
    flow.lastLength = end - at;
    const { mapping, forwarder } = flow;
    if (forwarder !== undefined) {
      flow.answered = true;
      forwarder.reply(bytes, at, end, flow.routed);
    } else if (mapping?.socket !== undefined) mapping.socket.send(bytes, at, end, flow.routed.address, flow.routed.port, ttl);
    else if (mapping !== undefined && mapping.waiting.length < maxWaiting && mapping.waitingBytes + end - at <= maxWaitingBytes) {
      mapping.waiting.push({ flow, bytes: bytes.slice(at, end), ttl });
      mapping.waitingBytes += end - at;
    }
  }

  private heard(mapping: Mapping, bytes: Uint8Array, at: number, end: number, address: Ipv4Address, port: number): void {
    const siblings = mapping.byAddress.get(address);
    if (siblings === undefined) return;
    // From another port of a known address it counts for a flow that is there, or a stranger could fill the table.
    const [first] = siblings.values();
    const flow = siblings.get(port) ?? first;
    if (flow === undefined) return;
    this.touch(flow);
    flow.answered = true;
    this.deliver(flow, port, bytes, at, end);
  }

  private failed(mapping: Mapping, failure: HostSocketFailure, address: Ipv4Address, port: number, report: IcmpReport | undefined): void {
    const flow = mapping.byAddress.get(address)?.get(port);
    if (flow === undefined) return;
    const lost = { from: flow.guest.address, fromPort: flow.guest.port, to: flow.remoteAddress, toPort: flow.remotePort, payloadBytes: flow.lastLength };
    if (report !== undefined) {
      // As it was told, from where it was told: so traceroute sees the routers on the way.
      if (concernsGuest(report)) this.around.errors.aboutDatagram(lost, { type: report.type, code: report.code, reporter: report.from === flow.routed.address ? flow.remoteAddress : report.from });
      return;
    }
    const code = unreachableCodes[failure];
    if (code === undefined) return;
    // That a port is closed, its own host says; that there is no way to it, a router.
    const reporter = failure === "refused" ? { reporter: flow.remoteAddress } : {};
    this.around.errors.aboutDatagram(lost, { type: IcmpType.unreachable, code, ...reporter });
  }

  private deliver(flow: UdpFlow, fromPort: number, bytes: Uint8Array, at: number, end: number): void {
    flow.receivedBytes += end - at;
    const { output } = this.around;
    const length = udpHeaderBytes + end - at;
    const to = output.begin(flow.remoteAddress, flow.guest.address, IpProtocol.udp, length);
    output.buffer.set(bytes.subarray(at, end), to + udpHeaderBytes);
    writeUdp(output.buffer, to, to + length, flow.remoteAddress, flow.guest.address, fromPort, flow.guest.port);
    output.end();
  }

  /** The order by age is kept to the second: to move a flow for each datagram costs more than it is worth. */
  private touch(flow: UdpFlow): void {
    const now = this.around.clock.monotonic();
    if (now - flow.lastAt > 1000) {
      if (this.byAge.delete(flow)) this.byAge.add(flow);
      this.shares.renew(flow);
    }
    flow.lastAt = now;
  }

  private sweepLater(): void {
    if (this.sweep !== undefined) return;
    this.sweep = this.around.clock.schedule(sweepMs, () => {
      this.sweep = undefined;
      const now = this.around.clock.monotonic();
      for (const flow of [...this.byAge]) if (now - flow.lastAt >= timeoutOf(flow)) this.end(flow);
      if (this.byAge.size > 0) this.sweepLater();
    });
  }
}

const unansweredMs = 30_000;
const answeredMs = 180_000;
const nameServerMs = 10_000;
const nameServerPort = 53;
const sweepMs = 2000;

export const maxFlows = 2048;
/** Of its own, and of those that come to it. */
export const maxFlowsOfGuest = 512;

/** Datagrams that wait for a mapping's socket. */
const maxWaiting = 16;
const maxWaitingBytes = 64 * 1024;

/** Dynamic ports (RFC 6335), for peers whose own port is taken on the guest's side. */
const firstChosenPort = 49_152;
const chosenPorts = 16_384;
const portsTried = 32;

/** What a guest is told of a failure on the host's side. */
const unreachableCodes: Partial<Record<HostSocketFailure, number>> = {
  refused: Unreachable.port,
  "unreachable-host": Unreachable.host,
  "timed-out": Unreachable.host,
  "unreachable-network": Unreachable.network,
  prohibited: Unreachable.prohibited,
};

/** That a packet is too long does not: ours may be cut. */
function concernsGuest({ type, code }: IcmpReport): boolean {
  return type === IcmpType.timeExceeded || (type === IcmpType.unreachable && code !== Unreachable.fragmentationNeeded);
}

interface Mapping {
  /** By the remote endpoint as the guest knows it. */
  readonly flows: Map<number, UdpFlow>;
  /** By the remote address on the host's side, then its port. */
  readonly byAddress: Map<Ipv4Address, Map<number, UdpFlow>>;
  socket: HostUdp | undefined;
  closed: boolean;
  readonly waiting: { readonly flow: UdpFlow; readonly bytes: Uint8Array; readonly ttl: number }[];
  waitingBytes: number;
}

interface UdpFlow {
  readonly id: number;
  readonly account: Account;
  readonly guest: Endpoint;
  /** As the guest knows it. */
  readonly remoteAddress: Ipv4Address;
  readonly remotePort: number;
  /** On the host's side. */
  readonly routed: Endpoint;
  mapping: Mapping | undefined;
  forwarder: UdpForwarder | undefined;
  answered: boolean;
  lastLength: number;
  sentBytes: number;
  receivedBytes: number;
  readonly startedAt: number;
  lastAt: number;
}

function timeoutOf(flow: UdpFlow): number {
  if (!flow.answered) return unansweredMs;
  return flow.remotePort === nameServerPort ? nameServerMs : answeredMs;
}

function keyOf(address: Ipv4Address, port: number): number {
  return address * 0x1_0000 + port;
}
