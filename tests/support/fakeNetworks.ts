import type { ErrorData } from "../../core/contract/errors";
import type { AdapterConfig, AdapterStatus, FlowRecord, HostCard, LeaseInfo, NetworkInfo } from "../../core/contract/network";
import type { networkProcedures } from "../../core/contract/networkProcedures";
import type { MachineInfo } from "../../core/contract/model";
import type { HostEvent, ProcedureInput, ProcedureOutput } from "../../core/contract/procedures";

type Name = keyof typeof networkProcedures;
type NetworkHandlers = { [N in Name]: (input: ProcedureInput<N>) => ProcedureOutput<N> };

/**
 * The networks of a pretended desktop: kept in a list, without addresses that mean anything. Who is attached to them is
 * what the machines say, and calls are refused as the real host service refuses them.
 */
export class FakeNetworks {
  networks: NetworkInfo[] = [];
  cards: HostCard[] = [];
  leases: LeaseInfo[] = [];
  flows: FlowRecord[] = [];
  freeSubnet = "10.10.0.0/24";
  /** Ports of the host that programs have already: what the forward's problem says. */
  readonly usedPorts = new Map<number, string>();

  constructor(
    private readonly desktop: {
      machine(id: string): MachineInfo;
      machines(): readonly MachineInfo[];
      update(id: string, part: Partial<MachineInfo>): MachineInfo;
      announce(event: HostEvent): void;
      /** Makes the call fail. */
      refuse(code: ErrorData["code"], message: string, remedy?: string): never;
    },
  ) {}

  readonly handlers: NetworkHandlers = {
    "network.list": () => this.list(),
    "network.create": ({ spec }) => {
      if (this.networks.some(({ config }) => config.name === spec.name)) this.desktop.refuse("name-taken", `There is already a network called "${spec.name}".`);
      const { dhcp = { enabled: spec.mode !== "internal" } } = spec;
      const subnet = spec.subnet ?? (spec.mode === "internal" && !dhcp.enabled ? undefined : this.freeSubnet);
      const made: NetworkInfo = { config: { ...spec, dhcp: { reservations: [], ...dhcp }, ...(subnet === undefined ? {} : { subnet }) }, adapters: [] };
      this.change([...this.networks, made]);
      return made;
    },
    "network.set": ({ network, patch: { subnet, dhcp, domain, mtu, nat } }) => {
      const before = this.network(network);
      const given = Object.fromEntries(Object.entries({ subnet, domain, mtu, nat }).flatMap(([key, value]) => (value === undefined ? [] : [[key, value ?? undefined]])));
      const after: NetworkInfo = { ...before, config: { ...before.config, ...given, ...(dhcp ? { dhcp: { reservations: [], ...dhcp } } : {}) } };
      this.change(this.networks.map((other) => (other === before ? after : other)));
      return after;
    },
    "network.delete": ({ network }) => {
      const gone = this.network(network);
      const [user] = this.attached(network);
      if (user) this.desktop.refuse("illegal-state", `The network ${network} is used by ${this.desktop.machine(user.id).name}.`, "Attach it elsewhere first.");
      this.change(this.networks.filter((other) => other !== gone));
      return {};
    },
    "network.freeSubnet": () => ({ subnet: this.freeSubnet }),
    "network.cards": () => this.cards,
    "network.leases": () => this.leases,
    "network.flows": () => this.flows,
    "network.cutFlow": ({ flow }) => {
      this.flows = this.flows.filter(({ id }) => id !== flow);
      return {};
    },
    "adapter.add": ({ id, attachment, model }) => {
      const { config } = this.desktop.machine(id);
      const adapters = config?.adapters ?? [];
      return this.withAdapters(id, [...adapters, { mac: `52:54:00:00:aa:0${adapters.length}`, attachment, plugged: attachment.mode !== "none", ...(model === undefined ? {} : { model }) }]);
    },
    "adapter.remove": ({ id, adapter }) => this.withAdapters(id, (this.desktop.machine(id).config?.adapters ?? []).filter((_, slot) => slot !== adapter)),
    "adapter.attach": ({ id, adapter, attachment }) => this.adapter(id, adapter, (before) => ({ ...before, attachment, plugged: attachment.mode !== "none" })),
    "adapter.set": ({ id, adapter, plugged, rate, macPolicy, nat }) =>
      this.adapter(id, adapter, (before) => ({ ...before, ...(nat === undefined ? {} : { nat: nat ?? undefined }), ...(plugged === undefined ? {} : { plugged }), ...(rate === undefined ? {} : { rate: rate ?? undefined }), ...(macPolicy === undefined ? {} : { macPolicy }) })),
    "forward.add": ({ id, adapter, forward }) =>
      this.adapter(id, adapter, (before) => {
        if (before.attachment.mode !== "nat" && before.attachment.mode !== "nat-network") this.desktop.refuse("illegal-state", `Adapter ${adapter} is not behind NAT.`);
        if (before.forwards?.some(({ protocol, hostPort }) => protocol === forward.protocol && hostPort === forward.hostPort)) this.desktop.refuse("locked", `Port ${forward.hostPort} (${forward.protocol}) of this computer is forwarded already.`, "Choose another port, or remove that forward.");
        return { ...before, forwards: [...(before.forwards ?? []), forward] };
      }),
    "forward.remove": ({ id, adapter, forward }) =>
      this.adapter(id, adapter, (before) => ({ ...before, forwards: (before.forwards ?? []).filter(({ protocol, hostPort }) => protocol !== forward.protocol || hostPort !== forward.hostPort) })),
  };

  list(): NetworkInfo[] {
    return this.networks.map((network) => ({ ...network, adapters: this.attached(network.config.name) }));
  }

  private attached(name: string): NetworkInfo["adapters"] {
    return this.desktop.machines().flatMap(({ id, config }) => (config?.adapters ?? []).flatMap(({ attachment }, adapter) => (attachment.network === name && attachment.mode !== "bridged" ? [{ id, adapter }] : [])));
  }

  private network(name: string): NetworkInfo {
    return this.networks.find(({ config }) => config.name === name) ?? this.desktop.refuse("not-found", `There is no network "${name}".`);
  }

  private change(networks: NetworkInfo[]): void {
    this.networks = networks;
    this.desktop.announce({ type: "networks", networks: this.list() });
  }

  private adapter(id: string, adapter: number, changed: (before: AdapterConfig) => AdapterConfig): MachineInfo {
    const adapters = this.desktop.machine(id).config?.adapters ?? [];
    if (!adapters[adapter]) this.desktop.refuse("not-found", `There is no adapter ${adapter}.`);
    return this.withAdapters(id, adapters.map((entry, index) => (index === adapter ? changed(entry) : entry)));
  }

  private withAdapters(id: string, adapters: AdapterConfig[]): MachineInfo {
    const { config, network, state } = this.desktop.machine(id);
    const after = this.desktop.update(id, { config: { ...config!, adapters }, network: state === "running" ? adapters.map((entry, index) => this.status(entry, network?.[index], index)) : network });
    this.desktop.announce({ type: "networks", networks: this.list() });
    return after;
  }

  /** How an adapter of a running machine is doing: its cable, and the forwards whose port nobody else has. */
  private status({ attachment, plugged, forwards = [] }: AdapterConfig, before: AdapterStatus | undefined, adapter: number): AdapterStatus {
    return {
      ...before,
      adapter,
      connected: plugged && attachment.mode !== "none",
      forwards: forwards.map((forward) => {
        const user = this.usedPorts.get(forward.hostPort);
        return user === undefined ? { forward } : { forward, problem: { code: "locked", message: `Port ${forward.hostPort} is used by ${user}.`, remedy: "Choose another port." } };
      }),
    };
  }
}
