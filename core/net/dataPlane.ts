import type { Disposable } from "../base/disposable";
import type { Log } from "../base/log";
import { TerrariumError, toErrorData, type ErrorData } from "../contract/errors";
import type { FabricEvent, FabricOutput, FabricState, FabricStatus, ForwardSpec, PortSpec, SegmentSpec } from "./control";
import type { Io, MachinePort } from "./io";
import { MacPolicyPort } from "./macPolicy";
import type { HostSockets } from "./nat/hostSockets";
import { ChunkPool } from "./nat/tcp";
import { Network, type NetworkAround } from "./network";
import type { FramePort } from "./port";
import { RateLimitedPort } from "./rateLimit";
import { formatIpv4, formatMac, parseIpv4, parseMac, parseSubnet, type Ipv4Address, type Subnet } from "./wire/addresses";

/*
 * Theory of operation. The host service says how everything is to be, and `apply` makes it so by changing only what
 * differs: a segment whose skeleton is the same keeps its flows and leases, an adapter whose socket is the same keeps its
 * connection. The order is: adapters that go, segments that go, segments that come, adapters, forwards. A segment that
 * cannot be made has a problem, and the others are none the worse. Nothing waits for the host's end of a segment, as that
 * may take until a person has typed a password: guests are connected before it, and what became of it is told.
 */

/** The host's end of a host-only or bridged segment. */
export interface HostPort extends FramePort {
  readonly interfaceName?: string;
}

/** Opens the interfaces of the host; both reject with a TerrariumError that says what is missing. What becomes of an interface later is told. */
export interface HostPorts extends Disposable {
  hostOnly(spec: { readonly name: string; readonly address: Ipv4Address; readonly prefix: number; readonly mtu: number }, changed: (problem: ErrorData | undefined) => void): Promise<HostPort>;
  bridged(card: string, changed: (problem: ErrorData | undefined) => void): Promise<HostPort>;
  /** Whoever declined to give the right to an interface may be asked for it again. */
  askAgain(): void;
}

export interface DataPlaneAround {
  readonly io: Pick<Io, "reactor" | "sockets" | "connectMachine">;
  readonly log: Log;
  readonly leases: NetworkAround["leases"];
  readonly resolver: NetworkAround["resolver"];
  readonly hostPorts: HostPorts;
  hostNetworks(): readonly Subnet[];
  tell(event: FabricEvent): void;
}

/** Between two looks at what has changed by itself, such as addresses, milliseconds. */
const lookMs = 500;

export class DataPlane implements Disposable {
  private readonly segments = new Map<string, Segment>();
  private readonly ports = new Map<string, Port>();
  private state: FabricState = { segments: [], ports: [], forwards: [] };
  /** Host's ends of segments that are being opened, by segment. The next one of the same segment has the same name, and waits until this one is gone. */
  private readonly openingEnds = new Map<string, Promise<void>>();
  /** Ports of the host that are being listened on. */
  private readonly opening = new Set<Promise<unknown>>();
  private readonly sockets: HostSockets;
  /** What the connections of all networks hold together is bounded. */
  private readonly pool: ChunkPool;
  private told = "";
  private looking: Disposable | undefined;
  private applying: Promise<unknown> = Promise.resolve();
  private disposed = false;

  constructor(private readonly around: DataPlaneAround) {
    const { sockets } = around.io;
    this.pool = new ChunkPool(around.io.reactor);
    this.sockets = {
      connectTcp: (...args) => sockets.connectTcp(...args),
      listenTcp: (...args) => this.opened(sockets.listenTcp(...args)),
      bindUdp: (local, handler) => (local === undefined ? sockets.bindUdp(local, handler) : this.opened(sockets.bindUdp(local, handler))),
      openPing: (handler) => sockets.openPing(handler),
    };
    this.look();
  }

  /** Makes everything as `state` says, and answers how it is then. One after another. Host's ends of segments come later. */
  apply(state: FabricState): Promise<FabricStatus> {
    const applied = this.applying.then(() => this.make(state));
    this.applying = applied.catch(() => undefined); // Whoever asked hears of it.
    return applied;
  }

  status(): FabricStatus {
    return {
      segments: [...this.segments.values()].map(({ status }) => status),
      ports: [...this.ports.values()].map(({ status }) => status),
      forwards: this.state.forwards.map(({ id, segment }) => {
        const problem = this.segments.get(segment)?.forwardProblem(id);
        return { id, ...(problem ? { problem } : {}) };
      }),
    };
  }

  leases(segment: string): FabricOutput<"leases"> {
    return (this.segments.get(segment)?.network?.leases() ?? []).map(({ mac, address, hostname, expiresAt, reserved }) => ({ mac: formatMac(mac), address: formatIpv4(address), expiresAt, reserved, ...(hostname === undefined ? {} : { hostname }) }));
  }

  flows(segment: string): FabricOutput<"flows"> {
    const { reactor } = this.around.io;
    // Flows are dated by the loop's clock; people read the wall's.
    const offset = reactor.now() - reactor.monotonic();
    return (this.segments.get(segment)?.network?.flows() ?? []).slice(0, maxShownFlows).map((flow) => ({
      ...{ id: flow.id, protocol: flow.protocol, direction: flow.direction, state: flow.state, sentBytes: flow.sentBytes, receivedBytes: flow.receivedBytes },
      guest: { address: formatIpv4(flow.guestAddress), port: flow.guestPort },
      remote: { address: formatIpv4(flow.remoteAddress), port: flow.remotePort },
      startedAt: Math.round(flow.startedAt + offset),
      lastAt: Math.round(flow.lastAt + offset),
    }));
  }

  cutFlow(segment: string, flow: number): void {
    if (!this.segments.get(segment)?.network?.cutFlow(flow)) throw new TerrariumError("not-found", "That conversation has ended already.");
  }

  counters(): FabricOutput<"counters"> {
    return {
      ports: Object.fromEntries([...this.ports].map(([id, { counters }]) => [id, { ...counters, dropped: { ...counters.dropped } as Record<string, number> }])),
      segments: Object.fromEntries([...this.segments].flatMap(([id, { network }]) => (network ? [[id, { frames: network.counters.frames, bytes: network.counters.bytes }]] : []))),
    };
  }

  /** The adapters whose machines are connected. */
  get connectedPorts(): number {
    return [...this.ports.values()].filter(({ connected }) => connected).length;
  }

  dispose(): void {
    this.disposed = true;
    this.looking?.dispose();
    for (const port of this.ports.values()) port.dispose();
    for (const segment of this.segments.values()) segment.dispose();
    this.ports.clear();
    this.segments.clear();
    this.around.io.reactor.atTurnEnd(() => this.pool.dispose());
  }

  private async make(state: FabricState): Promise<FabricStatus> {
    if (this.disposed) return { segments: [], ports: [], forwards: [] };
    if (asksForInterfaces(this.state, state)) this.around.hostPorts.askAgain();
    this.state = state;
    const wantedPorts = new Map(state.ports.map((spec) => [spec.id, spec]));
    for (const [id, port] of [...this.ports]) {
      if (wantedPorts.get(id)?.socket === port.spec.socket) continue;
      port.dispose();
      this.ports.delete(id);
    }
    const wanted = new Map(state.segments.map((spec) => [spec.id, spec]));
    for (const [id, segment] of [...this.segments]) {
      const spec = wanted.get(id);
      if (spec !== undefined && segment.update(spec)) {
        if (segment.wantsEnd) this.openEnd(segment);
        continue;
      }
      for (const port of this.ports.values()) port.leave(segment);
      segment.dispose();
      this.segments.delete(id);
    }
    for (const spec of wanted.values()) if (!this.segments.has(spec.id)) this.addSegment(spec);
    for (const spec of state.ports) {
      const port = this.ports.get(spec.id) ?? this.addPort(spec);
      port.update(spec, spec.segment === null ? undefined : this.segments.get(spec.segment));
    }
    for (const segment of this.segments.values()) segment.applyForwards(state.forwards.filter((forward) => forward.segment === segment.spec.id));
    await Promise.allSettled([...this.opening]);
    // Whoever asked for a port has heard of it when the loop has turned once.
    await new Promise<void>((resolve) => this.around.io.reactor.schedule(0, resolve));
    const status = this.status();
    this.told = JSON.stringify(status);
    return status;
  }

  private addSegment(spec: SegmentSpec): void {
    const segment = new Segment(spec, this.around, {
      reactor: this.around.io.reactor,
      sockets: this.sockets,
      pool: this.pool,
      log: this.around.log,
      leases: this.around.leases,
      resolver: this.around.resolver,
      hostNetworks: () => this.around.hostNetworks(),
      otherSegments: () => [...this.segments.values()].flatMap((other) => (other.spec.id === spec.id ? [] : other.subnet)),
      refused: (forward, reason) => this.around.tell({ event: "refused", forward, reason }),
      changed: () => this.tellSoon(),
    });
    this.segments.set(spec.id, segment);
    this.openEnd(segment);
  }

  private openEnd(segment: Segment): void {
    const { id } = segment.spec;
    const before = this.openingEnds.get(id) ?? Promise.resolve();
    const mine = segment.open(before, () => this.tellSoon());
    this.openingEnds.set(id, mine);
    void mine.then(() => {
      if (this.openingEnds.get(id) === mine) this.openingEnds.delete(id);
      this.tellSoon();
    });
  }

  private addPort(spec: PortSpec): Port {
    const port = new Port(spec, this.around.io, () => this.tellSoon());
    this.ports.set(spec.id, port);
    return port;
  }

  private opened<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => undefined,
      () => undefined, // The forward that asked for it says so.
    );
    this.opening.add(settled);
    void settled.then(() => this.opening.delete(settled));
    return work;
  }

  private look(): void {
    if (this.disposed) return;
    this.looking = this.around.io.reactor.schedule(lookMs, () => {
      this.tell();
      this.look();
    });
  }

  private soon = false;

  private tellSoon(): void {
    if (this.soon || this.disposed) return;
    this.soon = true;
    this.around.io.reactor.schedule(0, () => {
      this.soon = false;
      this.tell();
    });
  }

  private tell(): void {
    if (this.disposed) return;
    const status = this.status();
    const text = JSON.stringify(status);
    if (text === this.told) return;
    this.told = text;
    this.around.tell({ event: "status", status });
  }
}

const maxShownFlows = 2000;

/**
 * Whether a person wants an interface of the host now: a network that needs one has come or was changed, or a cable was
 * plugged into it. What they declined is tried again with every other change too, and must not make a dialog appear then.
 */
function asksForInterfaces(before: FabricState, after: FabricState): boolean {
  const known = new Set(before.segments.map((spec) => JSON.stringify(spec)));
  const cables = new Map(before.ports.map((port) => [port.id, port]));
  return after.segments
    .filter(({ mode }) => mode === "host-only" || mode === "bridged")
    .some((spec) => {
      const plugged = after.ports.some(({ id, segment, plugged: isPlugged }) => {
        const was = cables.get(id);
        return was !== undefined && isPlugged && segment === spec.id && (was.segment !== segment || !was.plugged);
      });
      return plugged || !known.has(JSON.stringify(spec));
    });
}

/** A segment, as far as it could be made. */
class Segment implements Disposable {
  readonly network: Network | undefined;
  readonly subnet: readonly Subnet[];
  private problem: ErrorData | undefined;
  private hostPort: { readonly port: HostPort; readonly plug: Disposable } | undefined;
  /** The host's end is being opened, or is about to be. */
  private opening = false;
  private disposed = false;

  constructor(
    public spec: SegmentSpec,
    private readonly around: Pick<DataPlaneAround, "hostPorts" | "log">,
    networkAround: NetworkAround,
  ) {
    const subnet = spec.subnet === undefined ? undefined : parseSubnet(spec.subnet);
    this.subnet = subnet ? [subnet] : [];
    try {
      this.network = new Network(spec, networkAround);
    } catch (error) {
      around.log.error(`${spec.label} could not be made`, error);
      this.problem = toErrorData(error);
    }
  }

  get status(): FabricStatus["segments"][number] {
    const problem = this.problem ?? this.network?.problem;
    const hostInterface = this.hostPort?.port.interfaceName;
    return { id: this.spec.id, ...(hostInterface === undefined ? {} : { hostInterface }), ...(problem ? { problem } : {}) };
  }

  /** The host's end could not be opened, or has vanished for good: it is tried again. The problem stays until that has worked. */
  get wantsEnd(): boolean {
    return !this.opening && this.problem !== undefined && (this.spec.mode === "host-only" || this.hostPort === undefined);
  }

  /**
   * Opens the host's end, where there is one, when `turn` has come. Never rejects: what is wrong is the segment's problem.
   * @param changed is called when something else becomes of it later
   */
  async open(turn: Promise<void>, changed: () => void): Promise<void> {
    this.opening = true;
    await turn;
    const { network, spec } = this;
    if (!network || this.disposed) return;
    this.closeHostPort();
    const before = this.problem;
    try {
      const port = await this.openHostPort((problem) => {
        this.problem = problem;
        changed();
      });
      if (!port) return;
      if (this.disposed) return port.dispose();
      this.hostPort = { port, plug: network.attach(port) };
      if (this.problem === before) this.problem = undefined;
    } catch (error) {
      this.problem = toErrorData(error);
      this.around.log.warn(`${spec.label}: ${this.problem.message}`);
    } finally {
      this.opening = false;
    }
  }

  update(spec: SegmentSpec): boolean {
    if (!this.network?.update(spec)) return false;
    this.spec = spec;
    return true;
  }

  applyForwards(forwards: readonly ForwardSpec[]): void {
    this.network?.applyForwards(forwards);
  }

  forwardProblem(id: string): ErrorData | undefined {
    return this.network ? this.network.forwardProblem(id) : this.problem;
  }

  dispose(): void {
    this.disposed = true;
    this.closeHostPort();
    this.network?.dispose();
  }

  private async openHostPort(changed: (problem: ErrorData | undefined) => void): Promise<HostPort | undefined> {
    const { spec, subnet, around } = this;
    if (spec.mode === "bridged") return around.hostPorts.bridged(spec.card ?? "", changed);
    const address = parseIpv4(spec.gateway ?? "");
    if (spec.mode !== "host-only" || address === undefined || subnet[0] === undefined) return undefined;
    return around.hostPorts.hostOnly({ name: spec.id.replace(/^network:/, ""), address, prefix: subnet[0].prefix, mtu: spec.mtu }, changed);
  }

  private closeHostPort(): void {
    this.hostPort?.plug.dispose();
    this.hostPort?.port.dispose();
    this.hostPort = undefined;
  }
}

/** An adapter of a machine, with the decorators that its settings ask for. */
class Port implements Disposable {
  private readonly machine: MachinePort;
  private plugged: { readonly segment: Segment; readonly plug: Disposable; readonly settings: string; readonly port: FramePort } | undefined;

  constructor(
    public spec: PortSpec,
    private readonly io: Pick<Io, "reactor" | "connectMachine">,
    changed: () => void,
  ) {
    this.machine = io.connectMachine(spec.socket);
    this.machine.onDidConnect(changed);
    this.machine.onDidClose(changed);
  }

  get connected(): boolean {
    return this.machine.connected;
  }

  get counters(): FramePort["counters"] {
    return this.machine.counters;
  }

  get status(): FabricStatus["ports"][number] {
    const mac = parseMac(this.spec.mac);
    const address = mac === undefined ? undefined : this.plugged?.segment.network?.addressOf(mac);
    return { id: this.spec.id, connected: this.connected && this.plugged !== undefined, ...(address === undefined ? {} : { address: formatIpv4(address) }) };
  }

  update(spec: PortSpec, segment: Segment | undefined): void {
    this.spec = spec;
    const settings = JSON.stringify([spec.mac, spec.hostname, spec.rate, spec.macPolicy]);
    const wanted = spec.plugged && segment?.network ? segment : undefined;
    if (this.plugged?.segment === wanted && this.plugged?.settings === settings) return;
    this.unplug();
    const mac = parseMac(spec.mac);
    if (wanted?.network === undefined || mac === undefined) return;
    const port = this.decorated(mac);
    this.plugged = { segment: wanted, settings, port, plug: wanted.network.attach(port, { id: spec.id, mac, ...(spec.hostname === undefined ? {} : { hostname: spec.hostname }) }) };
  }

  leave(segment: Segment): void {
    if (this.plugged?.segment === segment) this.unplug();
  }

  dispose(): void {
    this.unplug();
    this.machine.dispose();
  }

  private decorated(mac: number): FramePort {
    const { rate, macPolicy } = this.spec;
    let port: FramePort = undisposed(this.machine);
    if (macPolicy === "own") port = new MacPolicyPort(port, mac);
    if (rate?.toGuest !== undefined || rate?.fromGuest !== undefined) port = new RateLimitedPort(port, rate, this.io.reactor);
    return port;
  }

  private unplug(): void {
    this.plugged?.plug.dispose();
    this.plugged?.port.dispose();
    this.plugged = undefined;
    this.machine.connect(undefined);
  }
}

/** The port without its end: the decorators around it come and go, and its machine stays connected. */
function undisposed(port: FramePort): FramePort {
  return {
    get counters() {
      return port.counters;
    },
    get writable() {
      return port.writable;
    },
    connect: (sink) => port.connect(sink),
    frames: (bytes, at, end) => port.frames(bytes, at, end),
    dispose: () => undefined,
  };
}
