import { join } from "node:path";
import type { Clock } from "../base/clock";
import { DisposableStore, type Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError, toErrorData } from "../contract/errors";
import type { DoctorCheck, HostInfo, MachineConfig, Notice } from "../contract/model";
import type { AdapterStatus, FlowRecord, HostCard, LeaseInfo, NetworkConfig, NetworkInfo, NetworkRef, PortForward } from "../contract/network";
import { isLive } from "../contract/states";
import type { FabricState } from "../net/control";
import { followHostNetworks, hostCards, hostNetworks, type HostView } from "../net/link/hostCards";
import { FabricProcess } from "./fabricProcess";
import { fabricState, forwardId, forwardsOverlap, isMoved, isNamed, isNat, networkSegment, portId, privateSegment, segmentOf, type FabricMachine } from "./fabricState";
import { comparable } from "./folderName";
import { fabricCheck, networkModes } from "./networkHost";
import { gatewayOf, type HostNetwork } from "./networkPlan";
import { NetworkRegistry } from "./networks";
import { probePorts } from "./portProbe";
import type { Runtime } from "./runtime";

export interface NetworkingOptions {
  /** The home's path. */
  readonly home: string;
  /** Where sockets lie. */
  readonly runDir: string;
  readonly runtime: Pick<Runtime, "node" | "env" | "fabric">;
  readonly clock: Clock;
  readonly log: Log;
  /** Where the host's networks are read; tests point elsewhere. */
  readonly hostView?: HostView;
  machines(): readonly FabricMachine[];
  /** How a machine's adapters are doing has changed. */
  statusChanged(machineId: string): void;
  notify(notice: Pick<Notice, "level" | "message" | "remedy" | "machineId">): void;
}

/** How long a question to the fabric may take. */
const questionMs = 10_000;
/** Who knocks in vain at a forward, for the same reason, is told of once in this time. */
const knockMs = 60_000;

/**
 * The networks of a home: which there are, who is attached to them, and how they are doing. It says to the fabric how
 * everything is to be, and knows from it how everything is.
 */
export class Networking implements Disposable {
  private readonly store = new DisposableStore();
  private host: readonly HostNetwork[] = [];
  private readonly fabric: FabricProcess;
  /** Private networks whose guests live, and their subnets. */
  private kept: ReadonlyMap<string, string> = new Map();
  /** A machine as it would be: what is tried before it is kept. */
  private trial: MachineConfig | undefined;
  private readonly toldStatus = new Map<string, string>();
  private readonly toldProblems = new Set<string>();
  private readonly knocks = new Map<string, number>();
  /** What `list` answered when its change was last told. */
  private told = "[]";
  private readonly changed = new Emitter<void>();
  /** `list` would answer something else now. */
  readonly onDidChange: Event<void> = this.changed.event;
  readonly registry: NetworkRegistry;

  constructor(private readonly options: NetworkingOptions) {
    const { home, log } = options;
    this.registry = new NetworkRegistry({ file: join(home, "networks.json"), log: log.child("networks"), hostNetworks: () => this.readHost() });
    this.fabric = this.store.add(new FabricProcess({ ...options, log: log.child("fabric") }));
    this.store.add(this.changed);
    this.store.add(this.registry.onDidChange(() => this.machinesChanged()));
    this.store.add(this.fabric.onDidChange(() => this.didChangeStatus()));
    this.store.add(this.fabric.onDidRefuse(({ forward, reason }) => this.didRefuse(forward, reason)));
    this.store.add(
      this.fabric.onDidRestart(() =>
        options.notify({ level: "warning", message: "The network fabric has ended unexpectedly and is started again. Guests reach each other as before; their connections to the outside were cut.", remedy: "logs/fabric.log in the home says more." }),
      ),
    );
  }

  /** Reads the networks, and finds the fabric that an earlier host service has left. */
  async open(): Promise<void> {
    await Promise.all([this.registry.refresh(), this.readHost()]);
    if (this.registry.problem) this.options.notify({ level: "error", message: this.registry.problem.message, ...(this.registry.problem.remedy === undefined ? {} : { remedy: this.registry.problem.remedy }) });
    const state = await this.fabric.find();
    this.kept = privateSubnets(state?.segments ?? []);
    if (this.store.isDisposed) return;
    this.store.add(followHostNetworks(this.options.clock, ({ networks }) => this.didReadHost(networks), (error) => this.hostUnknown(error), this.options.hostView));
  }

  /** Looks at what `list` depends on and nobody tells of: the file of networks, and the host's own networks. */
  async refresh(): Promise<void> {
    await Promise.all([this.registry.refresh(), this.lookAtHost()]);
  }

  /** The modes that adapters can be attached with on this host. */
  modes(): HostInfo["networkModes"] {
    return networkModes();
  }

  /** What the doctor says of the fabric. */
  check(): DoctorCheck {
    return fabricCheck(this.fabric.hello, this.fabric.problem);
  }

  list(): NetworkInfo[] {
    return this.registry.list().map((network) => this.describe(network));
  }

  describe(config: NetworkConfig): NetworkInfo {
    const gateway = gatewayOf(config);
    const status = this.fabric.status?.segments.find(({ id }) => id === networkSegment(config.name));
    const problem = status?.problem ?? this.registry.conflict(config, this.host);
    const adapters = this.attached(config).map(({ machine, adapter }) => ({ id: machine.id, adapter }));
    return { config, adapters, ...(gateway === undefined ? {} : { gateway }), ...(status?.hostInterface === undefined ? {} : { hostInterface: status.hostInterface }), ...(problem ? { problem } : {}) };
  }

  /** Adapters of all machines that are attached to a named network. */
  attached({ name }: Pick<NetworkConfig, "name">): { machine: FabricMachine; adapter: number }[] {
    const wanted = comparable(name);
    return this.options.machines().flatMap((machine) => (machine.config?.adapters ?? []).flatMap(({ attachment }, adapter) => (isNamed(attachment) && comparable(attachment.network ?? "") === wanted ? [{ machine, adapter }] : [])));
  }

  /** How the adapters of a machine that lives are doing; undefined of one that does not. */
  statusOf({ id, config, state }: Pick<FabricMachine, "id" | "config" | "state">): AdapterStatus[] | undefined {
    if (!config || !isLive(state)) return undefined;
    const { status, problem: noFabric } = this.fabric;
    return config.adapters.map((entry, adapter) => {
      const { attachment, forwards = [] } = entry;
      const port = status?.ports.find((each) => each.id === portId(id, adapter));
      const segment = segmentOf(id, adapter, entry, this.registry.list());
      const missing = segment === undefined && attachment.mode !== "none" ? ({ code: "not-found", message: `There is no network "${attachment.network ?? ""}".`, remedy: "Attach the adapter to a network that there is." } as const) : undefined;
      const problem = attachment.mode === "none" ? undefined : (missing ?? noFabric ?? port?.problem ?? status?.segments.find((each) => each.id === segment)?.problem);
      return {
        adapter,
        connected: port?.connected ?? false,
        ...(port?.address === undefined ? {} : { address: port.address }),
        ...(problem ? { problem } : {}),
        forwards: !isNat(attachment)
          ? []
          : forwards.map((forward) => {
              const why = noFabric ?? status?.forwards.find((each) => each.id === forwardId(id, adapter, forward))?.problem;
              return { forward, ...(why ? { problem: why } : {}) };
            }),
      };
    });
  }

  /**
   * Refuses a forward whose port another one of the same machine has, or one of a machine that lives.
   * @throws TerrariumError `locked`
   */
  requireUnclaimed(config: MachineConfig, forward: PortForward): void {
    for (const machine of this.options.machines()) {
      if (machine.id !== config.id && !isLive(machine.state)) continue;
      const other = (machine.config?.adapters ?? []).filter(({ attachment }) => isNat(attachment)).flatMap(({ forwards = [] }) => forwards).find((each) => forwardsOverlap(each, forward));
      if (other) throw new TerrariumError("locked", `Port ${other.hostPort} (${other.protocol}) of this computer is forwarded to ${machine.name} already.`, "Choose another port, or remove that forward.");
    }
  }

  /**
   * Tries whether a new forward can listen, before it is kept.
   * @param config the machine's, with the forward
   * @throws TerrariumError why it cannot
   */
  async tryForward(config: MachineConfig, adapter: number, forward: PortForward): Promise<void> {
    if (!this.fabric.hello) return probePorts(forward, this.options.log);
    this.trial = config;
    try {
      await this.update();
      const problem = this.fabric.status?.forwards.find(({ id }) => id === forwardId(config.id, adapter, forward))?.problem;
      if (problem) throw TerrariumError.fromData(problem);
    } catch (error) {
      this.trial = undefined;
      await this.update().catch((fault: unknown) => this.options.log.warn(`a forward that was tried could not be taken back: ${toErrorData(fault).message}`));
      throw error;
    }
  }

  /** What was tried is kept, or not. */
  endTrial(): void {
    this.trial = undefined;
    this.machinesChanged();
  }

  /** The host's cards, as candidates for bridging. */
  async cards(): Promise<HostCard[]> {
    return hostCards();
  }

  /** Addresses that were given out. */
  async leases(of: NetworkRef): Promise<LeaseInfo[]> {
    const segment = this.segment(of);
    const leases = await this.fabric.ask((client) => client.call("leases", { segment }, questionMs));
    return (leases ?? []).map((lease) => ({ ...lease, ...this.holderOf(lease.mac) }));
  }

  async flows(of: NetworkRef): Promise<FlowRecord[]> {
    const segment = this.segment(of);
    const flows = await this.fabric.ask((client) => client.call("flows", { segment }, questionMs));
    const byAddress = new Map((flows && flows.length > 0 ? await this.leases(of) : []).map(({ address, machine }) => [address, machine]));
    return (flows ?? []).map((flow) => {
      const machine = byAddress.get(flow.guest.address);
      return { ...flow, ...(machine ? { machine } : {}) };
    });
  }

  async cutFlow(of: NetworkRef, flow: number): Promise<void> {
    const segment = this.segment(of);
    const done = await this.fabric.ask((client) => client.call("cutFlow", { segment, flow }, questionMs));
    if (!done) throw new TerrariumError("not-found", "That conversation has ended already.");
  }

  /** Machines, or what is attached to them, have changed. */
  machinesChanged(): void {
    if (this.store.isDisposed) return;
    this.update().catch((error: unknown) => this.options.log.warn(`the fabric does not know of the latest change yet: ${toErrorData(error).message}`));
    this.tell();
  }

  /**
   * Tells the fabric how everything is to be, on a host as it is now: a machine that starts is not put on a subnet that the
   * host has come to use. Resolves when it is so. @throws TerrariumError when the fabric cannot be had
   */
  async update(): Promise<void> {
    await this.lookAtHost();
    if (!this.store.isDisposed) await this.fabric.want(this.wanted());
  }

  /** Lets go of the fabric, which goes on. */
  async close(): Promise<void> {
    this.dispose();
    await this.fabric.settled();
  }

  dispose(): void {
    this.store.dispose();
  }

  private wanted(): FabricState {
    const { trial } = this;
    const machines = this.options.machines().map(({ id, name, config, state: standing, sockets }) => ({ id, name, config: id === trial?.id ? trial : config, state: standing, sockets }));
    const state = fabricState(machines, this.registry.list(), { host: this.host, kept: this.kept });
    const isNeeded = machines.some(({ state: standing, config }) => isLive(standing) && config?.adapters.some(({ attachment }) => attachment.mode !== "none"));
    // Forwards of machines that are off keep a fabric, but are no reason to start one.
    if (!isNeeded && !this.fabric.hello) return { segments: [], ports: [], forwards: [] };
    const before = this.kept;
    this.kept = privateSubnets(state.segments.filter(({ id }) => machines.some((machine) => isLive(machine.state) && id.startsWith(privateSegment(machine.id, 0).slice(0, -1)))));
    for (const [segment, subnet] of this.kept) if (!before.has(segment)) this.tellMoved(segment, subnet);
    return state;
  }

  private tellMoved(segment: string, subnet: string): void {
    const [, id = "", adapter = "0"] = segment.split(":");
    const name = this.options.machines().find((machine) => machine.id === id)?.name;
    if (name === undefined || !isMoved(Number(adapter), subnet)) return;
    this.options.notify({ level: "info", message: `The private network of adapter ${adapter} of ${name} is ${subnet}: the usual one is in use on this computer.`, machineId: id });
  }

  private didChangeStatus(): void {
    for (const machine of this.options.machines()) {
      const status = this.statusOf(machine);
      const text = JSON.stringify(status);
      if (text === this.toldStatus.get(machine.id)) continue;
      if (status) this.toldStatus.set(machine.id, text);
      else this.toldStatus.delete(machine.id);
      for (const { adapter, forwards } of status ?? []) for (const each of forwards) this.tellForward(machine, forwardId(machine.id, adapter, each.forward), each);
      this.options.statusChanged(machine.id);
    }
    this.tell();
  }

  /** A forward that cannot listen is told of once, until it can. */
  private tellForward({ id, name }: FabricMachine, forward: string, { problem, forward: { hostPort } }: AdapterStatus["forwards"][number]): void {
    if (!problem || problem.code === "disconnected") return void this.toldProblems.delete(forward);
    if (this.toldProblems.has(forward)) return;
    this.toldProblems.add(forward);
    this.options.notify({ level: "warning", message: `Port ${hostPort} is not forwarded to ${name}: ${problem.message}`, ...(problem.remedy === undefined ? {} : { remedy: problem.remedy }), machineId: id });
  }

  private didRefuse(forward: string, reason: "off" | "paused" | "no-address"): void {
    const now = this.options.clock.monotonic();
    // For another reason is news.
    const knock = `${forward} ${reason}`;
    if (now - (this.knocks.get(knock) ?? -Infinity) < knockMs) return;
    const [id = "", adapter = "0", , , port = ""] = forward.split(":");
    const machine = this.options.machines().find((each) => each.id === id);
    if (!machine) return;
    this.knocks.set(knock, now);
    const why = { off: "which does not run", paused: "which is paused", "no-address": "whose guest has no address yet" }[reason];
    this.options.notify({ level: "info", message: `Somebody has connected to port ${port}, which is forwarded to adapter ${adapter} of ${machine.name}, ${why}. The connection was refused.`, machineId: id });
  }

  private holderOf(mac: string): Pick<LeaseInfo, "machine"> {
    for (const { id, config } of this.options.machines()) {
      const adapter = config?.adapters.findIndex((each) => each.mac === mac) ?? -1;
      if (adapter >= 0) return { machine: { id, adapter } };
    }
    return {};
  }

  /** The segment that is meant. @throws TerrariumError `not-found`, or `illegal-state` for an adapter without a private network. */
  private segment(of: NetworkRef): string {
    if ("network" in of) return networkSegment(this.registry.get(of.network).name);
    const machine = this.options.machines().find(({ id }) => id === of.id);
    const adapter = machine?.config?.adapters[of.adapter];
    if (!machine || !adapter) throw new TerrariumError("not-found", machine ? `${machine.name} has no adapter ${of.adapter}.` : `There is no machine ${of.id}.`);
    if (adapter.attachment.mode !== "nat") throw new TerrariumError("illegal-state", `Adapter ${of.adapter} of ${machine.name} has no private NAT network.`, "Name the network it is attached to.");
    return privateSegment(of.id, of.adapter);
  }

  private tell(): void {
    const now = JSON.stringify(this.list());
    if (now === this.told) return;
    this.told = now;
    this.changed.fire();
  }

  private async readHost(): Promise<readonly HostNetwork[]> {
    return (this.host = (await hostNetworks(this.options.hostView)).networks);
  }

  /** Never rejects: while the host's networks cannot be told they are as they were. */
  private async lookAtHost(): Promise<void> {
    await this.readHost().catch((error: unknown) => this.hostUnknown(error));
  }

  private hostUnknown(error: unknown): void {
    this.options.log.warn(`the host's networks cannot be told: ${toErrorData(error).message}`);
  }

  /** Named networks may collide with them now. Guests that live keep what they have. */
  private didReadHost(networks: readonly HostNetwork[]): void {
    this.host = networks;
    this.tell();
  }
}

/** The subnets of private networks, by segment. */
function privateSubnets(segments: FabricState["segments"]): ReadonlyMap<string, string> {
  return new Map(segments.flatMap(({ id, mode, subnet }) => (mode === "nat" && subnet !== undefined ? [[id, subnet]] : [])));
}
