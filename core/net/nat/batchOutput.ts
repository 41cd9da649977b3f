import type { Reactor } from "../reactor";
import { broadcastIpv4, broadcastMac, write32, writeMac, type Ipv4Address, type MacNumber } from "../wire/addresses";
import { ethernetHeaderBytes, EtherType, writeEthernet } from "../wire/ethernet";
import { ipv4HeaderBytes, writeIpv4 } from "../wire/ipv4";
import type { IpOutput } from "./ipOutput";

/**
 * A station's frames for a segment, collected in one buffer over a turn and sent as one run at its end, so that a turn
 * costs one pass through the switch however many packets it makes.
 */
export class BatchOutput implements IpOutput {
  readonly maxPayload: number;
  buffer: Uint8Array;

  private batch: Uint8Array;
  private used = 0;
  private awaitingEnd = false;
  private identification = 0;
  /** A packet that is too long for one frame, or whose station is not known yet, is written here first. */
  private aside: Uint8Array | undefined;
  private packet: Packet | undefined;

  constructor(
    private readonly reactor: Reactor,
    mtu: number,
    private readonly around: {
      /** The station's own address on the Ethernet. */
      readonly mac: MacNumber;
      resolve(to: Ipv4Address): MacNumber | undefined;
      /** Whether the way to a station is free. */
      writable(mac: MacNumber): boolean;
      /** Keeps a frame, whose destination is still zero, until its station is known. */
      wait(to: Ipv4Address, frame: Uint8Array): void;
      send(bytes: Uint8Array, at: number, end: number): void;
      /** A packet was not sent: it must not be cut, or is longer than any. */
      dropped(): void;
    },
  ) {
    this.maxPayload = mtu - ipv4HeaderBytes;
    this.batch = reactor.allocate(batchBytes);
    this.buffer = this.batch;
  }

  begin(from: Ipv4Address, to: Ipv4Address, protocol: number, length: number, options?: PacketOptions): number {
    const mac = options?.mac ?? (to === broadcastIpv4 ? broadcastMac : this.around.resolve(to));
    const whole = length <= this.maxPayload && mac !== undefined;
    this.packet = { from, to, protocol, length, mac, whole, options };
    if (!whole) {
      this.aside ??= new Uint8Array(headersBytes + maxPacketPayload);
      if (this.aside.length < headersBytes + length) this.aside = new Uint8Array(headersBytes + length);
      this.buffer = this.aside;
      return headersBytes;
    }
    this.buffer = this.batch;
    return this.room(length) + headersBytes;
  }

  end(): void {
    const packet = this.packet;
    if (packet === undefined) return;
    this.packet = undefined;
    if (packet.whole) {
      this.head(this.batch, this.used + lengthBytes, packet, packet.length, this.nextIdentification());
      return this.finish(packet.length);
    }
    if (packet.length > maxPacketPayload || (packet.options?.dontFragment && packet.length > this.maxPayload)) return this.around.dropped();
    if (packet.length <= this.maxPayload) return this.wait(this.buffer, packet, packet.length, this.nextIdentification());
    this.cut(packet);
  }

  writable(to: Ipv4Address): boolean {
    const mac = this.around.resolve(to);
    return mac === undefined || this.around.writable(mac);
  }

  /** A frame that is no IPv4 packet: `write` puts `length` bytes behind the Ethernet header. */
  frame(to: MacNumber, type: number, length: number, write: (bytes: Uint8Array, at: number) => void): void {
    const at = this.room(length - ipv4HeaderBytes) + lengthBytes;
    write32(this.batch, at - lengthBytes, ethernetHeaderBytes + length);
    writeEthernet(this.batch, at, { destination: to, source: this.around.mac, type });
    write(this.batch, at + ethernetHeaderBytes);
    this.used = at + ethernetHeaderBytes + length;
    this.leaveAtEnd();
  }

  /** Sends a frame that waited. */
  deliver(frame: Uint8Array, mac: MacNumber): void {
    const at = this.room(frame.length - ethernetHeaderBytes - ipv4HeaderBytes);
    write32(this.batch, at, frame.length);
    this.batch.set(frame, at + lengthBytes);
    writeMac(this.batch, at + lengthBytes, mac);
    this.used = at + lengthBytes + frame.length;
    this.leaveAtEnd();
  }

  /** Sends what is collected now. */
  flush(): void {
    const used = this.used;
    if (used === 0) return;
    this.used = 0;
    this.around.send(this.batch, 0, used);
  }

  /** Gives its memory back. What somebody still writes goes nowhere. */
  dispose(): void {
    const { batch } = this;
    this.used = 0;
    this.batch = this.buffer = new Uint8Array(batchBytes);
    // Not before this turn's end: it may be lying in it what brought this about.
    this.reactor.atTurnEnd(() => this.reactor.release(batch));
  }

  /** RFC 791, 3.2: all pieces but the last are multiples of eight bytes. */
  private cut(packet: Packet): void {
    const pieceBytes = this.maxPayload & ~7;
    const source = this.buffer;
    const identification = this.nextIdentification();
    for (let offset = 0; offset < packet.length; offset += pieceBytes) {
      const length = Math.min(pieceBytes, packet.length - offset);
      const fragment = { offset, more: offset + length < packet.length };
      if (packet.mac === undefined) {
        // Pieces wait one by one, each behind its own headers.
        const piece = new Uint8Array(headersBytes + length);
        piece.set(source.subarray(headersBytes + offset, headersBytes + offset + length), headersBytes);
        this.wait(piece, packet, length, identification, fragment);
        continue;
      }
      const at = this.room(length);
      this.batch.set(source.subarray(headersBytes + offset, headersBytes + offset + length), at + headersBytes);
      this.head(this.batch, at + lengthBytes, packet, length, identification, fragment);
      this.finish(length);
    }
  }

  private wait(bytes: Uint8Array, packet: Packet, length: number, identification: number, fragment?: Fragment): void {
    this.head(bytes, lengthBytes, packet, length, identification, fragment);
    this.around.wait(packet.to, bytes.subarray(lengthBytes, headersBytes + length));
  }

  private head(bytes: Uint8Array, at: number, packet: Packet, length: number, identification: number, fragment?: Fragment): void {
    writeEthernet(bytes, at, { destination: packet.mac ?? 0, source: this.around.mac, type: EtherType.ipv4 });
    writeIpv4(bytes, at + ethernetHeaderBytes, {
      source: packet.from,
      destination: packet.to,
      protocol: packet.protocol,
      length,
      ttl: packet.options?.ttl ?? defaultTtl,
      service: packet.options?.service ?? 0,
      identification,
      dontFragment: packet.options?.dontFragment ?? false,
      moreFragments: fragment?.more ?? false,
      fragmentOffset: fragment?.offset ?? 0,
    });
  }

  private finish(length: number): void {
    write32(this.batch, this.used, headersBytes - lengthBytes + length);
    this.used += headersBytes + length;
    this.leaveAtEnd();
  }

  /** Where the next frame begins, with room for so much IPv4 payload. */
  private room(length: number): number {
    if (this.used + headersBytes + length > this.batch.length) this.flush();
    return this.used;
  }

  private leaveAtEnd(): void {
    if (this.awaitingEnd) return;
    this.awaitingEnd = true;
    // Behind the tasks that are there already: their acknowledgments leave in the same run.
    this.reactor.atTurnEnd(() =>
      this.reactor.atTurnEnd(() => {
        this.awaitingEnd = false;
        this.flush();
      }),
    );
  }

  private nextIdentification(): number {
    this.identification = (this.identification + 1) & 0xffff;
    return this.identification;
  }
}

/** RFC 1700, 64: what hosts send with. */
const defaultTtl = 64;

const lengthBytes = 4;
const headersBytes = lengthBytes + ethernetHeaderBytes + ipv4HeaderBytes;
const maxPacketPayload = 65_535 - ipv4HeaderBytes;
const batchBytes = 256 * 1024;

/** `mac`: to a station that does not answer for the address yet. */
type PacketOptions = NonNullable<Parameters<IpOutput["begin"]>[4]> & { readonly mac?: MacNumber };

interface Packet {
  readonly from: Ipv4Address;
  readonly to: Ipv4Address;
  readonly protocol: number;
  readonly length: number;
  readonly mac: MacNumber | undefined;
  /** In one frame, to a station that is known: written where it leaves from. */
  readonly whole: boolean;
  readonly options: PacketOptions | undefined;
}

interface Fragment {
  readonly offset: number;
  readonly more: boolean;
}
