import { join } from "node:path";
import { DisposableStore, type Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError } from "../contract/errors";
import type { HostInfo, MachineConfig, MachineState } from "../contract/model";
import type { FlowRecord, HostCard, LeaseInfo, NetworkConfig, NetworkInfo, NetworkRef, PortForward } from "../contract/network";
import { isLive } from "../contract/states";
import { forwardsOverlap, isNamed, isNat, networkSegment, privateSegment } from "./fabricState";
import { comparable } from "./folderName";
import { readHostNetworks, type HostNetwork } from "./hostNetworks";
import { gatewayOf } from "./networkPlan";
import { NetworkRegistry } from "./networks";

/** A machine as its networks see it. */
export interface NetworkedMachine {
  readonly id: string;
  readonly name: string;
  readonly config: MachineConfig | undefined;
  readonly state: MachineState;
}

export interface NetworkingOptions {
  /** The home's path. */
  readonly home: string;
  readonly log: Log;
  machines(): readonly NetworkedMachine[];
}

/** The networks of a home: which there are, who is attached to them, and how they are doing. */
export class Networking implements Disposable {
  private readonly store = new DisposableStore();
  /** What `list` answered when its change was last told. */
  private told = "[]";
  private host: readonly HostNetwork[] = [];
  private readonly changed = new Emitter<void>();
  /** `list` would answer something else now. */
  readonly onDidChange: Event<void> = this.changed.event;
  readonly registry: NetworkRegistry;

  constructor(private readonly options: NetworkingOptions) {
    const { home, log } = options;
    this.registry = new NetworkRegistry({ file: join(home, "networks.json"), log: log.child("networks"), hostNetworks: () => this.readHost() });
    this.store.add(this.changed);
    this.store.add(this.registry.onDidChange(() => this.tell()));
  }

  async open(): Promise<void> {
    await Promise.all([this.registry.refresh(), this.readHost()]);
  }

  /** The modes that adapters can be attached with on this host. */
  modes(): HostInfo["networkModes"] {
    return [{ mode: "none", available: true }, ...(["nat", "nat-network", "internal", "host-only", "bridged"] as const).map((mode) => ({ mode, available: false, reason: noFabricYet }))];
  }

  list(): NetworkInfo[] {
    return this.registry.list().map((network) => this.describe(network));
  }

  describe(config: NetworkConfig): NetworkInfo {
    const gateway = gatewayOf(config);
    const problem = this.registry.conflict(config, this.host);
    return { config, adapters: this.attached(config.name).map(({ machine, adapter }) => ({ id: machine.id, adapter })), ...(gateway === undefined ? {} : { gateway }), ...(problem ? { problem } : {}) };
  }

  /** Adapters of all machines that are attached to a named network. */
  attached(name: string): { machine: NetworkedMachine; adapter: number }[] {
    const wanted = comparable(name);
    return this.options.machines().flatMap((machine) => (machine.config?.adapters ?? []).flatMap(({ attachment }, adapter) => (isNamed(attachment) && comparable(attachment.network ?? "") === wanted ? [{ machine, adapter }] : [])));
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

  /** The host's cards, as candidates for bridging. */
  async cards(): Promise<HostCard[]> {
    return [];
  }

  /** Addresses that were given out. */
  async leases(of: NetworkRef): Promise<LeaseInfo[]> {
    this.segmentOf(of);
    return [];
  }

  async flows(of: NetworkRef): Promise<FlowRecord[]> {
    this.segmentOf(of);
    return [];
  }

  async cutFlow(of: NetworkRef, flow: number): Promise<void> {
    this.segmentOf(of);
    throw new TerrariumError("not-found", `There is no conversation ${flow} any more.`);
  }

  /** Machines, or what is attached to them, have changed. */
  machinesChanged(): void {
    this.tell();
  }

  dispose(): void {
    this.store.dispose();
  }

  /** The segment that is meant. @throws TerrariumError `not-found`, or `illegal-state` for an adapter without a private network. */
  private segmentOf(of: NetworkRef): string {
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
    return (this.host = await readHostNetworks());
  }
}

const noFabricYet = "Networks come with a later version of Terrarium. Until then machines have no cable plugged in.";
