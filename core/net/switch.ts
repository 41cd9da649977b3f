import type { Clock } from "../base/clock";
import { toDisposable, type Disposable } from "../base/disposable";
import { countDrop, type FramePort } from "./port";
import { read16, read32, type MacNumber } from "./wire/addresses";

/**
 * A learning switch (IEEE 802.1D, 7.8 and 7.9), without spanning trees.
 *
 * Frames come as runs and leave as runs: consecutive frames to one port are passed on as the byte range they came in, so
 * a frame costs the look at its two addresses and nothing is copied. Where an address was seen last is kept for five
 * minutes; frames to addresses that were never seen, and to groups, go to all ports but their own. A frame never goes back
 * to the port it came from.
 *
 * No port is trusted. Queues are in the ports, so one that never reads loses its own frames only. Each port may have so
 * many addresses and pushes out only its own beyond that. A liar moves an address to itself a few times; then the address
 * stays at the port of the adapter that was configured with it, or where it is. An address of our own (a gateway's) cannot
 * be taken at all.
 */
export class Switch {
  /** What was passed on, each frame once however many ports it went to. */
  readonly counters = { frames: 0, bytes: 0 };

  private readonly stations = new Map<MacNumber, Station>();
  /** In front of the map, by the low bits of the address: most frames find their stations here. */
  private readonly near = new Array<Station | undefined>(nearSlots);
  private ports: readonly SwitchPort[] = [];

  constructor(private readonly clock: Clock) {}

  /**
   * Plugs a port in until the result is disposed; the port itself stays open. `mac` is the address of the adapter behind
   * it, if known: frames to it need not be flooded before it speaks. A `fixed` one never moves to another port.
   */
  attach(port: FramePort, options: { readonly mac?: MacNumber | undefined; readonly fixed?: boolean } = {}): Disposable {
    const plugged: SwitchPort = { port, addresses: new Set(), latest: undefined };
    this.ports = [...this.ports, plugged];
    if (options.mac !== undefined) this.settle(options.mac, plugged, options.fixed ?? false);
    port.connect({ frames: (bytes, at, end) => this.pass(plugged, bytes, at, end) });
    return toDisposable(() => {
      port.connect(undefined);
      this.ports = this.ports.filter((other) => other !== plugged);
      for (const station of [...this.stations.values()]) {
        if (station.home === plugged) station.home = undefined;
        if (station.at === plugged) this.forget(station);
      }
    });
  }

  /** Whether a port is plugged in that has this address, for people and tests. */
  knows(mac: MacNumber): boolean {
    const station = this.stations.get(mac);
    return station !== undefined && !this.isOld(station, this.clock.monotonic());
  }

  /** Whether the port behind which an address is takes frames as fast as they come; true when nobody knows where it is. */
  isWritable(mac: MacNumber): boolean {
    return this.portOf(mac)?.writable ?? true;
  }

  /** The port behind which an address is, if anybody knows. */
  portOf(mac: MacNumber): FramePort | undefined {
    const low = mac % 2 ** 32;
    return this.lookUp((mac - low) / 2 ** 32, low)?.at.port;
  }

  /** How many addresses are kept; never more than `maxAddresses` for each port. */
  get addressCount(): number {
    return this.stations.size;
  }

  private pass(from: SwitchPort, bytes: Uint8Array, at: number, end: number): void {
    const now = this.clock.monotonic();
    let runAt = at;
    let runFrames = 0;
    let runTo: Destination = nowhere;
    let position = at;
    while (position < end) {
      const frame = position + lengthBytes;
      const next = frame + read32(bytes, position);
      if (next > end) break;
      const to = this.learn(from, bytes, frame + 6, now) ? this.find(from, bytes, frame, now) : nowhere;
      if (to !== runTo) {
        this.send(from, runTo, bytes, runAt, position, runFrames);
        runAt = position;
        runFrames = 0;
        runTo = to;
      }
      runFrames++;
      position = next;
    }
    this.send(from, runTo, bytes, runAt, position, runFrames);
  }

  private send(from: SwitchPort, to: Destination, bytes: Uint8Array, at: number, end: number, frames: number): void {
    if (to === nowhere || frames === 0) return;
    this.counters.frames += frames;
    this.counters.bytes += end - at - lengthBytes * frames;
    if (to !== everywhere) return to.port.frames(bytes, at, end);
    for (const other of this.ports) if (other !== from) other.port.frames(bytes, at, end);
  }

  /** Notes where the source address at `at` is. False when the frame must not be passed on. */
  private learn(from: SwitchPort, bytes: Uint8Array, at: number, now: number): boolean {
    const high = read16(bytes, at);
    const low = read32(bytes, at + 2);
    const latest = from.latest;
    // Most frames come from the station that sent the one before.
    if (latest !== undefined && latest.low === low && latest.high === high && latest.at === from) {
      latest.seenAt = now;
      return true;
    }
    if ((high & groupBit) !== 0 || (high | low) === 0) {
      countDrop(from.port.counters, "malformed");
      return false;
    }
    const station = this.lookUp(high, low);
    if (station === undefined) from.latest = this.add(from, high, low, now);
    else if (station.at === from) from.latest = station;
    else if (station.fixed) {
      countDrop(from.port.counters, "mac-policy");
      return false;
    } else this.move(station, from, now);
    if (from.latest !== undefined) from.latest.seenAt = now;
    return true;
  }

  private find(from: SwitchPort, bytes: Uint8Array, at: number, now: number): Destination {
    const high = read16(bytes, at);
    const low = read32(bytes, at + 2);
    if ((high & groupBit) !== 0) {
      // A bridge keeps these to itself: pauses, spanning tree, link aggregation (IEEE 802.1D, 7.12.6).
      if (high !== 0x0180 || low >>> 4 !== 0xc20_0000) return everywhere;
      countDrop(from.port.counters, "reserved");
      return nowhere;
    }
    const station = this.lookUp(high, low);
    if (station === undefined) return everywhere;
    if (station.at === from) return nowhere;
    if (this.isOld(station, now)) {
      this.forget(station);
      return everywhere;
    }
    return station.at;
  }

  private lookUp(high: number, low: number): Station | undefined {
    const slot = slotOf(low);
    const near = this.near[slot];
    if (near !== undefined && near.low === low && near.high === high) return near;
    const station = this.stations.get(high * 2 ** 32 + low);
    if (station !== undefined) this.near[slot] = station;
    return station;
  }

  private isOld(station: Station, now: number): boolean {
    return station.home === undefined && now - station.seenAt > ageingMs;
  }

  private add(from: SwitchPort, high: number, low: number, now: number): Station {
    const station: Station = { high, low, at: from, seenAt: now, home: undefined, fixed: false, moves: 0, movesSince: now };
    this.stations.set(macOf(station), station);
    this.place(station, from);
    return station;
  }

  private move(station: Station, to: SwitchPort, now: number): void {
    if (now - station.movesSince > flappingMs) {
      station.moves = 0;
      station.movesSince = now;
    }
    to.latest = undefined;
    const bounced = ++station.moves > maxMoves;
    const target = bounced ? (station.home ?? station.at) : to;
    if (target === station.at) return;
    station.at.addresses.delete(station);
    if (station.at.latest === station) station.at.latest = undefined;
    this.place(station, target);
    station.seenAt = now;
    if (target === to) to.latest = station;
  }

  /** A port may have so many addresses; its oldest make room for new ones. */
  private place(station: Station, port: SwitchPort): void {
    station.at = port;
    port.addresses.add(station);
    if (port.addresses.size <= maxAddresses) return;
    for (const oldest of port.addresses) {
      if (oldest.home !== undefined) continue;
      this.forget(oldest);
      return;
    }
  }

  private settle(mac: MacNumber, port: SwitchPort, fixed: boolean): void {
    const low = mac % 2 ** 32;
    const high = (mac - low) / 2 ** 32;
    const now = this.clock.monotonic();
    const known = this.lookUp(high, low);
    // Two adapters with one address: it stays with the first.
    if (known?.home !== undefined) return;
    if (known !== undefined) this.forget(known);
    const station = this.add(port, high, low, now);
    station.home = port;
    station.fixed = fixed;
  }

  private forget(station: Station): void {
    this.stations.delete(macOf(station));
    station.at.addresses.delete(station);
    if (station.at.latest === station) station.at.latest = undefined;
    const slot = slotOf(station.low);
    if (this.near[slot] === station) this.near[slot] = undefined;
  }
}

/** How long an address is kept after its last frame (IEEE 802.1D, table 7-5). */
const ageingMs = 300_000;

/** Addresses behind one port: bridges and nested machines have many, a liar has any number. */
export const maxAddresses = 1024;

/** How often an address may move to another port within `flappingMs`. */
const maxMoves = 8;
const flappingMs = 10_000;

const nearSlots = 1024;
const lengthBytes = 4;
const groupBit = 0x0100;

interface SwitchPort {
  readonly port: FramePort;
  /** In the order they were learned. */
  readonly addresses: Set<Station>;
  /** That sent the last frame here; undefined also when it was bounced. */
  latest: Station | undefined;
}

interface Station {
  readonly high: number;
  readonly low: number;
  at: SwitchPort;
  seenAt: number;
  /** The port of the adapter that is configured with this address. */
  home: SwitchPort | undefined;
  fixed: boolean;
  moves: number;
  movesSince: number;
}

const everywhere = Symbol("everywhere");
const nowhere = Symbol("nowhere");
type Destination = SwitchPort | typeof everywhere | typeof nowhere;

function macOf(station: Station): MacNumber {
  return station.high * 2 ** 32 + station.low;
}

function slotOf(low: number): number {
  return (low ^ (low >>> 10)) & (nearSlots - 1);
}
