import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import { write16, type Ipv4Address } from "../wire/addresses";
import { checksum } from "../wire/checksum";
import { IpProtocol, ipv4HeaderBytes, readIpv4, type Ipv4Packet } from "../wire/ipv4";
import { tcpHeaderBytes } from "../wire/tcp";

/*
 * Fragments of IPv4 packets become packets again (RFC 791, 3.2; RFC 815). Guests are hostile: what waits is bounded in
 * bytes, in packets and in fragments of a packet, for all and for each sender, so that one that sends only first halves
 * takes no room from the others. Fragments that overlap have no honest use, so a packet with such is dropped, with the
 * fragments that are still to come (RFC 5722, 4, for IPv6); a fragment that came twice is taken once.
 */

/** RFC 1122, 3.3.2 wants a fixed time; hosts in the field take 30 s. */
const timeoutMs = 30_000;
const longestPacket = 65_535;
/** A packet of 65535 bytes over the smallest MTU that hosts have to take, 576 bytes, has 119. */
const maxFragments = 128;
/** What a fragment costs beside its bytes. */
const fragmentOverhead = 128;

export interface ReassemblyLimits {
  /** Of all that waits, overhead counted. */
  readonly bytes: number;
  readonly packets: number;
  /** What one sender may have of these. */
  readonly share: number;
}

const defaultLimits: ReassemblyLimits = { bytes: 4 * 1024 * 1024, packets: 256, share: 1 / 4 };

interface Fragment {
  readonly at: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

interface Waiting {
  readonly key: string;
  readonly source: Ipv4Address;
  readonly deadline: number;
  /** In order, without overlaps; undefined once the packet is given up and only waits for its other fragments. */
  fragments: Fragment[] | undefined;
  /** The header of the first fragment, with its options. */
  header: Uint8Array | undefined;
  /** The payload's length, known from the last fragment. */
  length: number | undefined;
  cost: number;
}

/** A packet in memory of its own: the header at 0, positions of `packet` within `bytes`. */
export interface Reassembled {
  readonly bytes: Uint8Array;
  readonly packet: Ipv4Packet;
}

export class Reassembler implements Disposable {
  /** In the order in which they began, which is that of their deadlines. */
  private readonly waiting = new Map<string, Waiting>();
  private readonly senders = new Map<Ipv4Address, { bytes: number; packets: number }>();
  private bytes = 0;
  private timer: Disposable | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly limits: ReassemblyLimits = defaultLimits,
  ) {}

  /** How much waits, overhead counted. */
  get pending(): { readonly packets: number; readonly bytes: number } {
    return { packets: this.waiting.size, bytes: this.bytes };
  }

  /** Takes a fragment (`moreFragments`, or an offset) whose IPv4 header begins at `at`; returns the packet when it is whole. */
  add(bytes: Uint8Array, at: number, packet: Ipv4Packet): Reassembled | undefined {
    const key = `${packet.source} ${packet.destination} ${packet.protocol} ${packet.identification}`;
    const waiting = this.waiting.get(key) ?? this.begin(key, packet.source);
    if (waiting.fragments === undefined) return undefined;
    const from = packet.fragmentOffset;
    const end = from + packet.end - packet.payload;
    if (!this.fits(waiting, packet, from, end)) {
      this.giveUp(waiting);
      return undefined;
    }
    const place = placeOf(waiting.fragments, from, end);
    if (place === "overlap") {
      if (!isRepeated(waiting.fragments, bytes.subarray(packet.payload, packet.end), from, end)) this.giveUp(waiting);
      return undefined;
    }
    waiting.fragments.splice(place, 0, { at: from, end, bytes: bytes.slice(packet.payload, packet.end) });
    if (!packet.moreFragments) waiting.length = end;
    if (from === 0) waiting.header = bytes.slice(at, packet.payload);
    this.charge(waiting, end - from + fragmentOverhead);
    const whole = join(waiting);
    if (whole === "incomplete") {
      this.makeRoom(waiting);
      return undefined;
    }
    this.remove(waiting);
    return whole;
  }

  dispose(): void {
    this.timer?.dispose();
    this.waiting.clear();
    this.senders.clear();
    this.bytes = 0;
  }

  private begin(key: string, source: Ipv4Address): Waiting {
    const waiting: Waiting = { key, source, deadline: this.clock.monotonic() + timeoutMs, fragments: [], header: undefined, length: undefined, cost: 0 };
    const sender = this.senders.get(source) ?? { bytes: 0, packets: 0 };
    sender.packets++;
    this.senders.set(source, sender);
    this.waiting.set(key, waiting);
    this.charge(waiting, fragmentOverhead);
    this.timer ??= this.clock.schedule(timeoutMs, () => this.expire());
    return waiting;
  }

  /** Whether a packet could be made of what is there and this fragment. */
  private fits(waiting: Waiting, packet: Ipv4Packet, from: number, end: number): boolean {
    if (end === from || (waiting.header?.length ?? ipv4HeaderBytes) + end > longestPacket) return false;
    // Offsets count eight bytes (RFC 791, 3.1), so no other fragment than the last may end between.
    if (packet.moreFragments && end % 8 !== 0) return false;
    // The ports and flags of TCP must not come apart: filters look at the first fragment (RFC 1858, 3).
    if (packet.protocol === IpProtocol.tcp && (from === 0 ? packet.moreFragments && end < tcpHeaderBytes : from < tcpHeaderBytes)) return false;
    const reached = waiting.fragments?.at(-1)?.end ?? 0;
    if (waiting.length !== undefined && (end > waiting.length || (!packet.moreFragments && end !== waiting.length))) return false;
    if (!packet.moreFragments && reached > end) return false;
    return (waiting.fragments?.length ?? 0) < maxFragments;
  }

  /** Its fragments go; that it was given up is remembered until its time is over. */
  private giveUp(waiting: Waiting): void {
    waiting.fragments = undefined;
    waiting.header = undefined;
    this.charge(waiting, fragmentOverhead - waiting.cost);
    this.makeRoom(waiting);
  }

  private charge(waiting: Waiting, cost: number): void {
    waiting.cost += cost;
    this.bytes += cost;
    const sender = this.senders.get(waiting.source);
    if (sender) sender.bytes += cost;
  }

  /** Drops the oldest of whoever has more than allowed: of the sender of `latest`, and then of all. */
  private makeRoom(latest: Waiting): void {
    const sender = this.senders.get(latest.source);
    const { bytes, packets, share } = this.limits;
    for (const waiting of this.waiting.values()) {
      if (!sender || (sender.bytes <= bytes * share && sender.packets <= packets * share)) break;
      if (waiting.source === latest.source) this.remove(waiting);
    }
    for (const waiting of this.waiting.values()) {
      if (this.bytes <= bytes && this.waiting.size <= packets) break;
      this.remove(waiting);
    }
  }

  private remove(waiting: Waiting): void {
    if (!this.waiting.delete(waiting.key)) return;
    this.bytes -= waiting.cost;
    const sender = this.senders.get(waiting.source);
    if (!sender) return;
    sender.bytes -= waiting.cost;
    sender.packets--;
    if (sender.packets === 0) this.senders.delete(waiting.source);
  }

  private expire(): void {
    this.timer = undefined;
    const now = this.clock.monotonic();
    for (const waiting of this.waiting.values()) {
      if (waiting.deadline > now) {
        this.timer = this.clock.schedule(waiting.deadline - now, () => this.expire());
        return;
      }
      this.remove(waiting);
    }
  }
}

/** Where a fragment belongs in the row, or that it lies over others. */
function placeOf(fragments: readonly Fragment[], from: number, end: number): number | "overlap" {
  let place = fragments.length;
  // Fragments mostly come in order: from the back it is found at once.
  while (place > 0 && (fragments[place - 1] as Fragment).at >= end) place--;
  const before = fragments[place - 1];
  return before === undefined || before.end <= from ? place : "overlap";
}

function isRepeated(fragments: readonly Fragment[], bytes: Uint8Array, from: number, end: number): boolean {
  const known = fragments.find((fragment) => fragment.at === from && fragment.end === end);
  return known !== undefined && known.bytes.every((byte, index) => byte === bytes[index]);
}

function join({ fragments, header, length }: Waiting): Reassembled | "incomplete" | undefined {
  if (fragments === undefined || header === undefined || length === undefined) return "incomplete";
  if (fragments.reduce((sum, fragment) => sum + fragment.end - fragment.at, 0) !== length) return "incomplete";
  const total = header.length + length;
  if (total > longestPacket) return undefined;
  const bytes = new Uint8Array(total);
  bytes.set(header);
  for (const fragment of fragments) bytes.set(fragment.bytes, header.length + fragment.at);
  write16(bytes, 2, total);
  write16(bytes, 6, 0);
  write16(bytes, 10, 0);
  write16(bytes, 10, checksum(bytes, 0, header.length));
  const packet = readIpv4(bytes, 0, total);
  return typeof packet === "string" ? undefined : { bytes, packet };
}
