import type { AdapterConfig, FlowRecord, HostCard, LeaseInfo, NetworkInfo } from "../../core/contract/network";
import type { networkProcedures } from "../../core/contract/networkProcedures";
import type { MachineInfo } from "../../core/contract/model";
import type { HostEvent, ProcedureInput, ProcedureOutput } from "../../core/contract/procedures";

type Name = keyof typeof networkProcedures;
type NetworkHandlers = { [N in Name]: (input: ProcedureInput<N>) => ProcedureOutput<N> };

/** The networks of a pretended desktop: kept in a list, without addresses that mean anything. */
export class FakeNetworks {
  networks: NetworkInfo[] = [];
  cards: HostCard[] = [];
  leases: LeaseInfo[] = [];
  flows: FlowRecord[] = [];
  freeSubnet = "10.10.0.0/24";

  constructor(
    private readonly desktop: {
      machine(id: string): MachineInfo;
      update(id: string, part: Partial<MachineInfo>): MachineInfo;
      announce(event: HostEvent): void;
      /** Makes the call fail. */
      refuse(code: "not-found" | "name-taken", message: string): never;
    },
  ) {}

  readonly handlers: NetworkHandlers = {
    "network.list": () => this.networks,
    "network.create": ({ spec }) => {
      if (this.networks.some(({ config }) => config.name === spec.name)) this.desktop.refuse("name-taken", `There is already a network called "${spec.name}".`);
      const { dhcp = { enabled: spec.mode !== "internal" } } = spec;
      const subnet = spec.subnet ?? (spec.mode === "internal" && !dhcp.enabled ? undefined : this.freeSubnet);
      const made: NetworkInfo = { config: { ...spec, dhcp: { reservations: [], ...dhcp }, nat: undefined, ...(subnet === undefined ? {} : { subnet }) }, adapters: [] };
      this.change([...this.networks, made]);
      return made;
    },
    "network.set": ({ network, patch: { subnet, dhcp, domain, mtu } }) => {
      const before = this.network(network);
      const given = Object.fromEntries(Object.entries({ subnet, domain, mtu }).flatMap(([key, value]) => (value === undefined ? [] : [[key, value ?? undefined]])));
      const after: NetworkInfo = { ...before, config: { ...before.config, ...given, ...(dhcp ? { dhcp: { reservations: [], ...dhcp } } : {}) } };
      this.change(this.networks.map((other) => (other === before ? after : other)));
      return after;
    },
    "network.delete": ({ network }) => {
      const gone = this.network(network);
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
    "adapter.attach": ({ id, adapter, attachment }) => this.adapter(id, adapter, (before) => ({ ...before, attachment, plugged: attachment.mode !== "none" })),
    "adapter.set": ({ id, adapter, plugged, rate, macPolicy }) =>
      this.adapter(id, adapter, (before) => ({ ...before, ...(plugged === undefined ? {} : { plugged }), ...(rate === undefined ? {} : { rate: rate ?? undefined }), ...(macPolicy === undefined ? {} : { macPolicy }) })),
    "forward.add": ({ id, adapter, forward }) => this.adapter(id, adapter, (before) => ({ ...before, forwards: [...(before.forwards ?? []), { ...forward, hostAddress: forward.hostAddress ?? "127.0.0.1" }] })),
    "forward.remove": ({ id, adapter, forward }) =>
      this.adapter(id, adapter, (before) => ({ ...before, forwards: (before.forwards ?? []).filter(({ protocol, hostPort }) => protocol !== forward.protocol || hostPort !== forward.hostPort) })),
  };

  private network(name: string): NetworkInfo {
    return this.networks.find(({ config }) => config.name === name) ?? this.desktop.refuse("not-found", `There is no network "${name}".`);
  }

  private change(networks: NetworkInfo[]): void {
    this.networks = networks;
    this.desktop.announce({ type: "networks", networks });
  }

  private adapter(id: string, adapter: number, changed: (before: AdapterConfig) => AdapterConfig): MachineInfo {
    const { config } = this.desktop.machine(id);
    if (!config?.adapters[adapter]) this.desktop.refuse("not-found", `There is no adapter ${adapter}.`);
    return this.desktop.update(id, { config: { ...config!, adapters: config!.adapters.map((entry, index) => (index === adapter ? changed(entry) : entry)) } });
  }
}
