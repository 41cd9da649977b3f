import { Emitter } from "../../base/emitter";
import { toDisposable, type Disposable } from "../../base/disposable";
import { toErrorData, TerrariumError, type ErrorData } from "../../contract/errors";
import { countDrop, newCounters, type FramePort, type FrameSink } from "../port";
import { formatIpv4, formatMac, isGroupMac, read16, read32, readMac, type MacNumber } from "../wire/addresses";
import { EtherType } from "../wire/ethernet";
import { CardSocket } from "./cardSocket";
import { cardWire, followHostNetworks, hostCards, thisHost, type HostNetworks, type HostView } from "./hostCards";
import { HostReach } from "./hostReach";
import type { LinkHelper } from "./linkHelper";
import type { LinkIo } from "./linkIo";
import { headerBytes } from "./stream";
import { TapPort } from "./tap";

/** How often it is looked whether the card is still there, or there again, milliseconds. */
export const lookForCardMs = 1000;

export interface BridgedAround {
  readonly io: LinkIo;
  readonly helper: LinkHelper;
  readonly host?: HostView;
}

/** How the host's end of a bridged network is called, and its address. */
export interface HostEnd {
  readonly name: string;
  readonly mac: MacNumber;
}

/**
 * A card of the host as a port: what guests send goes out on its wire, what is on its wire comes in. Between the guests
 * and the host itself frames go by a TAP (see `HostReach`); where the card is a Linux bridge, a TAP that is a port of it
 * does everything. A card that vanishes is said to, and taken into use again when it is back.
 *
 * What stays apart: the host's own multicasts and broadcasts do not reach guests on its card, nor theirs the host, but for
 * ARP. So names by mDNS are not found between the two.
 */
export class BridgedPort implements FramePort {
  readonly counters = newCounters();
  private readonly changed = new Emitter<ErrorData | undefined>();
  /** The card's state changed: the problem it has now, or undefined when it works. */
  readonly onDidChange = this.changed.event;
  private currentProblem: ErrorData | undefined;
  private sink: FrameSink | undefined;
  /** The wire: the card's own, or a port of the bridge. */
  private wire: CardSocket | TapPort | undefined;
  private index = 0;
  private cardMac: MacNumber = 0;
  private mtu = 0;
  private isBridge = false;
  private tap: TapPort | undefined;
  private reach: HostReach | undefined;
  private networks: HostNetworks | undefined;
  private opening = false;
  private timer: Disposable | undefined;
  private following: Disposable | undefined;
  private disposed = false;
  private readonly released: Disposable;

  private constructor(
    private readonly around: BridgedAround,
    readonly card: string,
    private readonly end: HostEnd,
  ) {
    this.released = toDisposable(() => {
      this.disposed = true;
      this.timer?.dispose();
      this.following?.dispose();
      this.closeAll();
      this.changed.dispose();
    });
  }

  /** Opens the card. @throws TerrariumError when it is not there, cannot be bridged, or must not be opened. */
  static async open(around: BridgedAround, card: string, end: HostEnd): Promise<BridgedPort> {
    const port = new BridgedPort(around, card, end);
    try {
      await port.openWire();
    } catch (error) {
      port.dispose();
      throw error;
    }
    port.lookAgain();
    port.following = followHostNetworks(
      around.io.reactor,
      (networks) => {
        port.networks = networks;
        port.updateReach();
      },
      (error) => around.io.log.error(`${card}: this computer's addresses cannot be told, and count as they were`, error),
      around.host,
    );
    return port;
  }

  get problem(): ErrorData | undefined {
    return this.currentProblem;
  }

  get writable(): boolean {
    return this.wire?.writable ?? false;
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  /** Frames of guests, each to the wire, to the host, or kept here; as runs, as far as they go the same way. */
  frames(bytes: Uint8Array, at: number, end: number): void {
    const { wire, reach } = this;
    if (!wire) return;
    if (!reach || !this.tap) return wire.frames(bytes, at, end);
    let runStart = at;
    for (let next = at; next < end; ) {
      const frame = next + headerBytes;
      const frameEnd = frame + read32(bytes, next);
      const destination = readMac(bytes, frame);
      const toHost = destination === this.end.mac || destination === this.cardMac;
      const done = reach.fromGuest(bytes, frame, frameEnd, toHost);
      if (done || toHost) {
        if (runStart < next) wire.frames(bytes, runStart, next);
        runStart = frameEnd;
        // The host's stack takes only what is addressed to the interface it comes in at.
        if (!done) this.tap.send(bytes, frame, frameEnd, this.end.mac);
      }
      next = frameEnd;
    }
    if (runStart < end) wire.frames(bytes, runStart, end);
  }

  dispose(): void {
    this.released.dispose();
  }

  private toGuests(frame: Uint8Array): void {
    const run = new Uint8Array(headerBytes + frame.length);
    new DataView(run.buffer).setUint32(0, frame.length);
    run.set(frame, headerBytes);
    this.sink?.frames(run, 0, run.length);
  }

  private async openWire(): Promise<void> {
    const { io, helper, host = thisHost } = this.around;
    const card = (await hostCards(host)).find(({ name }) => name === this.card);
    if (!card) throw new TerrariumError("not-found", `This computer has no card ${this.card}.`, "Choose another card for the adapter.");
    if (card.problem) throw TerrariumError.fromData(card.problem);
    const index = io.kernel.interfaceIndex(this.card);
    const { mac, mtu } = await cardWire(this.card, host);
    this.isBridge = card.kind === "Linux bridge";
    // A bridge takes the shortest wire among its ports for its own: ours must not be shorter than what it has.
    const descriptor = this.isBridge
      ? await helper.open({ do: "tap", name: this.end.name, mac: formatMac(this.end.mac), mtu, bridge: this.card })
      : await helper.open({ do: "card", name: this.card });
    if (this.disposed) {
      io.kernel.close(descriptor);
      return;
    }
    this.index = index;
    this.mtu = mtu;
    if (this.isBridge) {
      const wire = new TapPort(io, descriptor, () => this.cardFailed(), this.counters);
      wire.connect({ frames: (bytes, at, end) => this.sink?.frames(bytes, at, end) });
      this.wire = wire;
    } else {
      this.cardMac = mac;
      this.wire = new CardSocket(io, descriptor, { frames: (bytes, at, end) => this.fromWire(bytes, at, end) }, this.counters, () => this.cardFailed());
    }
    this.say(card.up ? undefined : offProblem(this.card));
    this.updateReach();
  }

  private fromWire(bytes: Uint8Array, at: number, end: number): void {
    const { reach } = this;
    if (reach) {
      for (let next = at; next < end; ) {
        const frame = next + headerBytes;
        const frameEnd = frame + read32(bytes, next);
        reach.fromWire(bytes, frame, frameEnd);
        next = frameEnd;
      }
    }
    this.sink?.frames(bytes, at, end);
  }

  /** The host's end is there while the card has addresses, and knows them. */
  private updateReach(): void {
    const { networks } = this;
    if (!networks || this.disposed || this.isBridge || !this.wire) return;
    const addresses = networks.addresses.filter(({ card }) => card === this.card);
    if (addresses.length === 0) return this.closeReach();
    if (!this.reach) return this.openReach();
    this.reach.setHost(addresses, new Set([...networks.addresses.map(({ address }) => address), ...networks.gateways]));
  }

  private openReach(): void {
    const { io, helper } = this.around;
    if (this.opening) return;
    this.opening = true;
    helper
      .open({ do: "tap", name: this.end.name, mac: formatMac(this.end.mac), mtu: this.mtu, plain: true })
      .then(
        (descriptor) => this.reachOpened(descriptor),
        (error: unknown) => io.log.warn(`${this.card}: guests and this computer will not reach each other: ${toErrorData(error).message}`),
      )
      .finally(() => (this.opening = false))
      .catch((error: unknown) => io.log.error("the host's end of a bridged network failed", error));
  }

  private reachOpened(descriptor: number): void {
    const { io, helper } = this.around;
    if (this.disposed || !this.wire) {
      io.kernel.close(descriptor);
      return;
    }
    // Its frames are counted by their kind of port alone: they are not the wire's.
    const tap = new TapPort(io, descriptor, (reason) => {
      io.log.warn(`${this.card}: this computer's end ${this.end.name} is gone: ${reason}`);
      this.closeReach();
    });
    tap.connect({ frames: (bytes, at, end) => this.fromHost(bytes, at, end) });
    const ask = (address: number, source: number, there: boolean): Promise<void> =>
      helper.requestIfRunning({ do: "route", tap: this.end.name, address: formatIpv4(address), source: formatIpv4(source), there });
    this.tap = tap;
    this.reach = new HostReach(
      this.end.mac,
      {
        add: (address, source) =>
          ask(address, source, true).then(
            () => true,
            (error: unknown) => {
              io.log.warn(`${this.card}: this computer will not reach ${formatIpv4(address)}: ${toErrorData(error).message}`);
              return false;
            },
          ),
        remove: (address, source) => {
          // With the TAP its routes are gone.
          if (this.tap !== tap) return;
          ask(address, source, false).catch((error: unknown) => io.log.warn(`${this.card}: the route to ${formatIpv4(address)} stays: ${toErrorData(error).message}`));
        },
      },
      {
        // Not from within the call that a question came in with: the switch is at work.
        toGuests: (frame) => io.reactor.atTurnEnd(() => this.toGuests(frame)),
        toHost: (frame) => tap.send(frame, 0, frame.length, this.end.mac),
        full: () => countDrop(this.counters, "queue-full"),
      },
      io.reactor,
    );
    this.updateReach();
  }

  /** What the host sends on the TAP is for single guests, but for its questions where they are. */
  private fromHost(bytes: Uint8Array, at: number, end: number): void {
    let runStart = at;
    for (let next = at; next < end; ) {
      const frame = next + headerBytes;
      const frameEnd = frame + read32(bytes, next);
      if (isGroupMac(readMac(bytes, frame)) && read16(bytes, frame + 12) !== EtherType.arp) {
        if (runStart < next) this.sink?.frames(bytes, runStart, next);
        runStart = frameEnd;
      }
      next = frameEnd;
    }
    if (runStart < end) this.sink?.frames(bytes, runStart, end);
  }

  private cardFailed(): void {
    if (this.disposed || !this.wire) return;
    if (this.isThere()) return this.say(offProblem(this.card));
    this.closeAll();
    this.say({ code: "not-found", message: `The card ${this.card} is gone.`, remedy: "It is used again as soon as it is back; or choose another card." });
  }

  private isThere(): boolean {
    return this.index !== 0 && this.around.io.kernel.interfaceIndex(this.card) === this.index;
  }

  private lookAgain(): void {
    this.timer = this.around.io.reactor.schedule(lookForCardMs, () => {
      this.look()
        .catch((error: unknown) => this.say(toErrorData(error)))
        .finally(() => {
          if (!this.disposed) this.lookAgain();
        })
        .catch((error: unknown) => this.around.io.log.error("looking for a card failed", error));
    });
  }

  private async look(): Promise<void> {
    if (this.wire && !this.isThere()) this.cardFailed();
    if (!this.wire) {
      if (this.around.io.kernel.interfaceIndex(this.card) !== 0) await this.openWire();
      return;
    }
    const card = (await hostCards(this.around.host)).find(({ name }) => name === this.card);
    if (card && this.wire && !this.disposed) {
      this.say(card.up ? undefined : offProblem(this.card));
      // Made again when somebody removed it.
      this.updateReach();
    }
  }

  private say(problem: ErrorData | undefined): void {
    if (this.disposed || JSON.stringify(problem) === JSON.stringify(this.currentProblem)) return;
    this.currentProblem = problem;
    if (problem) this.around.io.log.warn(problem.message);
    this.changed.fire(problem);
  }

  private closeReach(): void {
    const { tap, reach } = this;
    this.tap = undefined;
    this.reach = undefined;
    tap?.dispose();
    reach?.dispose();
  }

  private closeAll(): void {
    this.closeReach();
    this.wire?.dispose();
    this.wire = undefined;
  }
}

function offProblem(card: string): ErrorData {
  return { code: "unavailable", message: `The card ${card} is switched off.`, remedy: `Switch it on (\`ip link set ${card} up\`).` };
}
