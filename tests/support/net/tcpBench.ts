import { silentLog } from "../../../core/base/log";
import { ChunkPool, TcpNat, type LostSyn, type TcpNatAround } from "../../../core/net/nat/tcp";
import { ManualReactor } from "../../../core/net/reactor";
import { parseIpv4, type Ipv4Address } from "../../../core/net/wire/addresses";
import { IpProtocol, type Ipv4Packet } from "../../../core/net/wire/ipv4";
import { readTcp, tcpChecksumHolds, tcpHeaderLength, TcpFlag, writeTcp, type TcpFields, type TcpSegment } from "../../../core/net/wire/tcp";
import { CapturedOutput } from "./capturedOutput";
import { MemorySockets, type MemoryTcp } from "./memorySockets";

export function address(text: string): Ipv4Address {
  const parsed = parseIpv4(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

export const guest = { address: address("10.0.2.15"), port: 40_000 };
export const remote = { address: address("93.184.216.34"), port: 80 };

/** A segment as the gateway sent it. */
export interface Reply extends TcpSegment {
  readonly from: Ipv4Address;
  readonly to: Ipv4Address;
  readonly data: Uint8Array;
  /** "SYN ACK", in the order of the header's bits from FIN up. */
  readonly names: string;
}

export type SegmentFields = Partial<Omit<TcpFields, "flags">> & { readonly flags?: string; readonly data?: Uint8Array };

const flagBits: Record<string, number> = { FIN: TcpFlag.fin, SYN: TcpFlag.syn, RST: TcpFlag.rst, PSH: TcpFlag.psh, ACK: TcpFlag.ack, URG: TcpFlag.urg };

export function flagsOf(names: string): number {
  return names.split(" ").reduce((flags, name) => flags | (flagBits[name] ?? 0), 0);
}

/** The gateway's TCP in virtual time, between a guest whose every segment a test writes and sockets a test holds. */
export class TcpBench {
  readonly reactor = new ManualReactor();
  readonly sockets = new MemorySockets();
  readonly pool = new ChunkPool(this.reactor);
  readonly output: CapturedOutput;
  readonly nat: TcpNat;
  readonly unreachable: { lost: LostSyn; code: number }[] = [];
  private seed = 0x1234_5678;

  constructor(options: Partial<TcpNatAround> = {}) {
    const mtu = options.mtu ?? 1500;
    this.output = new CapturedOutput(mtu - 20);
    this.nat = new TcpNat({
      reactor: this.reactor,
      sockets: this.sockets,
      output: this.output,
      policy: { route: (destination) => ({ address: destination }) },
      mtu,
      log: silentLog,
      unreachable: (lost, code) => this.unreachable.push({ lost, code }),
      pool: this.pool,
      random: () => this.random(),
      ...options,
    });
  }

  /** Repeats exactly: an xorshift of 32 bits. */
  random(): number {
    this.seed ^= this.seed << 13;
    this.seed ^= this.seed >>> 17;
    this.seed ^= this.seed << 5;
    return this.seed >>> 0;
  }

  /** The guest sends a segment; the turn goes on. */
  put(fields: SegmentFields, from = guest, to = remote): void {
    const { flags = "ACK", data = new Uint8Array(0), ...rest } = fields;
    const header = { sourcePort: from.port, destinationPort: to.port, sequence: 0, acknowledgment: 0, window: 65_535, ...rest, flags: flagsOf(flags) };
    const headerBytes = tcpHeaderLength(header.options ?? {});
    const bytes = new Uint8Array(headerBytes + data.length);
    bytes.set(data, headerBytes);
    writeTcp(bytes, 0, bytes.length, from.address, to.address, header);
    this.putBytes(bytes, from, to);
  }

  putBytes(bytes: Uint8Array, from = guest, to = remote): void {
    this.nat.input(bytes, 0, bytes.length, packetOf(from.address, to.address, bytes.length));
  }

  /** The guest sends a segment, the turn ends, and this is what came back. */
  send(fields: SegmentFields, from = guest, to = remote): Reply[] {
    this.put(fields, from, to);
    return this.endTurn();
  }

  endTurn(): Reply[] {
    this.reactor.endTurn();
    return this.replies();
  }

  /** Time passes; what was sent meanwhile. */
  after(ms: number): Reply[] {
    this.reactor.advance(ms);
    return this.endTurn();
  }

  replies(): Reply[] {
    return this.output.take().map(({ from, to, protocol, payload }) => {
      if (protocol !== IpProtocol.tcp || !tcpChecksumHolds(payload, 0, payload.length, from, to)) throw new Error("a broken segment was sent");
      const segment = readTcp(payload, 0, payload.length);
      if (!segment) throw new Error("what was sent is no segment");
      const names = Object.entries(flagBits).filter(([, bit]) => (segment.flags & bit) !== 0);
      return { ...segment, from, to, data: payload.subarray(segment.payload), names: names.map(([name]) => name).join(" ") };
    });
  }

  /** A connection of the guest with a host that stands. */
  connect(options: TcpFields["options"] = { mss: 1460, windowScale: 7, sackPermitted: true }, window = 65_535): OpenGuest {
    this.send({ flags: "SYN", sequence: 1000, options });
    const socket = this.sockets.latest;
    socket.handler?.connected();
    const [answer] = this.endTurn();
    if (answer?.names !== "SYN ACK") throw new Error("no SYN-ACK came");
    const open = new OpenGuest(this, socket, answer.sequence);
    open.window = options?.windowScale === undefined ? window : window >>> options.windowScale;
    open.send({});
    return open;
  }
}

/** The guest's end of an open connection: numbers count from the first byte of data. */
export class OpenGuest {
  window = 65_535;

  constructor(
    readonly bench: TcpBench,
    readonly socket: MemoryTcp,
    private readonly initial: number,
    private readonly own = 1000,
  ) {}

  /** `at`: where in the guest's stream; `acknowledges`: how much of the other. */
  send(fields: SegmentFields & { at?: number; acknowledges?: number }): Reply[] {
    this.put(fields);
    return this.bench.endTurn();
  }

  put({ at = 0, acknowledges = 0, ...fields }: SegmentFields & { at?: number; acknowledges?: number }): void {
    const numbers = { sequence: (this.own + 1 + at) >>> 0, acknowledgment: (this.initial + 1 + acknowledges) >>> 0 };
    this.bench.put({ ...numbers, window: this.window, ...fields });
  }

  /** The host's socket has this to read; the turn ends. */
  hostSends(bytes: Uint8Array): Reply[] {
    this.socket.send(bytes);
    return this.poll();
  }

  hostEnds(): Reply[] {
    this.socket.end();
    return this.poll();
  }

  /** Turns until there is nothing to do. */
  poll(): Reply[] {
    const all: Reply[] = [];
    while (this.socket.poll()) all.push(...this.bench.endTurn());
    return all;
  }

  /** Where a reply lies in the stream to the guest. */
  at(reply: Reply): number {
    return (reply.sequence - this.initial - 1) | 0;
  }

  acknowledged(reply: Reply): number {
    return (reply.acknowledgment - this.own - 1) | 0;
  }

  /** As a SACK block of the guest for [from, to) of the stream to it. */
  block(from: number, to: number): [number, number] {
    return [(this.initial + 1 + from) >>> 0, (this.initial + 1 + to) >>> 0];
  }

  get state(): string {
    return this.bench.nat.flows()[0]?.state ?? "gone";
  }

  get received(): Uint8Array {
    return joined(this.socket.written);
  }
}

export function packetOf(source: Ipv4Address, destination: Ipv4Address, length: number): Ipv4Packet {
  return {
    source,
    destination,
    protocol: IpProtocol.tcp,
    ttl: 64,
    service: 0,
    identification: 0,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    payload: 0,
    end: length,
  };
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Bytes in which every place can be told from every other. */
export function pattern(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => ((from + index) * 31 + ((from + index) >>> 8) * 7 + ((from + index) >>> 16)) & 255);
}
