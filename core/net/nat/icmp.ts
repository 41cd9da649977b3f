import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import type { ErrorData } from "../../contract/errors";
import { write16, type Ipv4Address } from "../wire/addresses";
import { IcmpType, Unreachable, echoIdentifier, echoSequence, icmpHeaderBytes, readIcmp, writeIcmp } from "../wire/icmp";
import { IpProtocol, type Ipv4Packet } from "../wire/ipv4";
import type { HostPing, HostSockets } from "./hostSockets";
import type { IcmpErrors } from "./icmpErrors";
import type { FlowInfo, IpOutput, NatPolicy } from "./ipOutput";
import { Shares, type Account, type Accounts } from "./shares";

/**
 * Echoes through the gateway (RFC 5508). A guest's ping, told by its identifier, has a ping socket on the host, which the
 * kernel gives an identifier of its own; sequence numbers and the TTL go through, so that traceroute works, and errors
 * come back with the guest's own packet quoted.
 *
 * Where the host allows no ping sockets, echoes to the outside are not answered by a lie: the first of each ping is told
 * to be prohibited, and the network's state says why.
 */
export class IcmpNat implements Disposable {
  /** Echoes that could not be sent on, because the host allows none. */
  unansweredEchoes = 0;

  /** By guest and identifier. */
  private readonly pings = new Map<number, Ping>();
  /** Each guest's, the one that was silent longest in front. */
  private readonly shares = new Shares<Ping>();
  private refusal: string | undefined;
  private sweep: Disposable | undefined;

  constructor(
    private readonly around: {
      readonly clock: Clock;
      readonly sockets: HostSockets;
      readonly output: IpOutput;
      readonly policy: NatPolicy;
      readonly errors: IcmpErrors;
      readonly accounts: Accounts;
      /** `problem` begins or ends. */
      problemChanged(): void;
      nextId(): number;
    },
  ) {}

  get pingCount(): number {
    return this.pings.size;
  }

  get problem(): ErrorData | undefined {
    if (this.refusal === undefined) return undefined;
    return {
      code: "unavailable",
      message: `Guests cannot ping the outside: ${this.refusal}.`,
      remedy: "TCP and UDP are not affected. On Linux, the setting net.ipv4.ping_group_range says who may ping.",
    };
  }

  /** A guest's message to the outside; its IPv4 header begins at `at`. */
  input(bytes: Uint8Array, at: number, packet: Ipv4Packet): void {
    const message = readIcmp(bytes, packet.payload, packet.end);
    if (message?.type !== IcmpType.echoRequest || message.code !== 0) return;
    const route = this.around.policy.route(packet.destination);
    if ("refused" in route) return this.around.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.prohibited);
    const ping = this.pingOf(packet.source, echoIdentifier(message.rest));
    if (ping.socket === undefined) {
      this.unansweredEchoes++;
      if (!ping.told) this.around.errors.about(bytes, at, packet, IcmpType.unreachable, Unreachable.prohibited);
      ping.told = true;
      return;
    }
    ping.destination = packet.destination;
    ping.routed = route.address;
    ping.payloadBytes = message.end - message.payload;
    ping.sentBytes += ping.payloadBytes;
    ping.socket.send(bytes, message.payload, message.end, route.address, echoSequence(message.rest), packet.ttl - 1);
  }

  flows(): FlowInfo[] {
    const flows: FlowInfo[] = [];
    for (const ping of this.pings.values()) {
      if (ping.socket === undefined) continue;
      flows.push({
        id: ping.id,
        protocol: "icmp",
        direction: "out",
        guestAddress: ping.guest,
        guestPort: ping.identifier,
        remoteAddress: ping.destination,
        remotePort: 0,
        state: "open",
        sentBytes: ping.sentBytes,
        receivedBytes: ping.receivedBytes,
        startedAt: ping.startedAt,
        lastAt: ping.lastAt,
      });
    }
    return flows;
  }

  cut(id: number): boolean {
    for (const ping of this.pings.values()) {
      if (ping.id !== id) continue;
      this.end(ping);
      return true;
    }
    return false;
  }

  /** Ends every ping of a guest that is gone. */
  forget(guest: Ipv4Address): void {
    for (const ping of [...this.pings.values()]) if (ping.guest === guest) this.end(ping);
  }

  dispose(): void {
    for (const ping of [...this.pings.values()]) this.end(ping);
    this.sweep?.dispose();
    this.sweep = undefined;
  }

  private pingOf(guest: Ipv4Address, identifier: number): Ping {
    const now = this.around.clock.monotonic();
    const key = keyOf(guest, identifier);
    const known = this.pings.get(key);
    if (known !== undefined) {
      known.lastAt = now;
      this.shares.renew(known);
      return known;
    }
    const id = this.around.nextId();
    const account = this.around.accounts.of(guest, "out");
    const ping: Ping = { id, account, guest, identifier, socket: undefined, destination: 0, routed: 0, payloadBytes: 0, told: false, sentBytes: 0, receivedBytes: 0, startedAt: now, lastAt: now };
    const oldest = this.pings.size < maxPings ? undefined : this.shares.oldestOf(this.shares.greatest(account));
    if (oldest !== undefined) this.end(oldest);
    this.pings.set(key, ping);
    this.shares.add(ping);
    this.open(ping);
    this.sweepLater();
    return ping;
  }

  private open(ping: Ping): void {
    const socket = this.around.sockets.openPing({
      reply: (bytes, at, end, address, sequence) => this.answered(ping, bytes, at, end, address, sequence),
      failed: (from, type, code, address, sequence) => this.failed(ping, from, type, code, address, sequence),
    });
    const refusal = "refused" in socket ? socket.refused : undefined;
    if (!("refused" in socket)) ping.socket = socket;
    if (refusal === this.refusal) return;
    this.refusal = refusal;
    this.around.problemChanged();
  }

  private answered(ping: Ping, bytes: Uint8Array, at: number, end: number, address: Ipv4Address, sequence: number): void {
    ping.lastAt = this.around.clock.monotonic();
    ping.receivedBytes += end - at;
    const { output } = this.around;
    const length = icmpHeaderBytes + end - at;
    const to = output.begin(seenAddress(ping, address), ping.guest, IpProtocol.icmp, length);
    output.buffer.set(bytes.subarray(at, end), to + icmpHeaderBytes);
    writeIcmp(output.buffer, to, to + length, IcmpType.echoReply, 0, ping.identifier * 0x1_0000 + sequence);
    output.end();
  }

  private failed(ping: Ping, from: Ipv4Address, type: number, code: number, address: Ipv4Address, sequence: number): void {
    this.around.errors.aboutLost(
      { from: ping.guest, to: seenAddress(ping, address), protocol: IpProtocol.icmp, payloadBytes: icmpHeaderBytes + ping.payloadBytes },
      icmpHeaderBytes,
      (bytes, at) => {
        writeIcmp(bytes, at, at + icmpHeaderBytes, IcmpType.echoRequest, 0, ping.identifier * 0x1_0000 + sequence);
        // Its checksum went with its payload.
        write16(bytes, at + 2, 0);
      },
      { type, code, reporter: from },
    );
  }

  private end(ping: Ping): void {
    this.pings.delete(keyOf(ping.guest, ping.identifier));
    this.shares.delete(ping);
    ping.socket?.dispose();
  }

  private sweepLater(): void {
    if (this.sweep !== undefined) return;
    this.sweep = this.around.clock.schedule(sweepMs, () => {
      this.sweep = undefined;
      const now = this.around.clock.monotonic();
      for (const ping of [...this.pings.values()]) if (now - ping.lastAt >= timeoutMs) this.end(ping);
      if (this.pings.size > 0) this.sweepLater();
    });
  }
}

/** RFC 5508, REQ-2: at least 60 s. */
const timeoutMs = 60_000;
const sweepMs = 5000;
export const maxPings = 64;

interface Ping {
  readonly id: number;
  readonly account: Account;
  readonly guest: Ipv4Address;
  readonly identifier: number;
  /** Undefined where the host allows none. */
  socket: HostPing | undefined;
  /** Of the latest echo, as the guest knows it and on the host's side. */
  destination: Ipv4Address;
  routed: Ipv4Address;
  payloadBytes: number;
  /** That it is prohibited. */
  told: boolean;
  sentBytes: number;
  receivedBytes: number;
  readonly startedAt: number;
  lastAt: number;
}

function seenAddress(ping: Ping, address: Ipv4Address): Ipv4Address {
  return address === ping.routed ? ping.destination : address;
}

function keyOf(guest: Ipv4Address, identifier: number): number {
  return guest * 0x1_0000 + identifier;
}
