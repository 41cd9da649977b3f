import { TerrariumError } from "../contract/errors";
import type { MachineConfig, MachineInfo, MachinePatch } from "../contract/model";
import type { AdapterConfig, Attachment, PortForward } from "../contract/network";
import type { networkProcedures } from "../contract/networkProcedures";
import type { ProcedureOutput, ProcedureParsed } from "../contract/procedures";
import { isLive as isLiveState } from "../contract/states";
import { modeWords } from "./networkPlan";
import type { Networking } from "./networking";

type Name = keyof typeof networkProcedures;
type Handlers = { [N in Name]: (input: ProcedureParsed<N>) => Promise<ProcedureOutput<N>> };

/** What the calls need of the host service. */
export interface MachineChanges {
  /** Changes settings, one change after another: `patchOf` is given what the changes before have led to. */
  set(id: string, patchOf: (config: MachineConfig) => MachinePatch | Promise<MachinePatch>, trial?: Trial): Promise<MachineInfo>;
  /** The address for an adapter that comes behind those of `config`. */
  nextMac(id: string, config: MachineConfig): Promise<string>;
  /** A machine process exists. */
  isLive(id: string): boolean;
  /** Has the guest ask for the addresses of these adapters again. Never rejects: a guest that cannot be made to asks when it renews them. */
  askAgain(id: string, adapters: readonly number[]): Promise<void>;
}

/** What is tried with the changed configuration before it is kept, and what follows, kept or not. */
export interface Trial {
  /** @throws TerrariumError when it is not to be kept */
  begin(config: MachineConfig): Promise<void>;
  end(): void;
}

/** The calls about networks, adapters and port forwards. */
export function networkCalls(networking: Networking, { set, nextMac, isLive, askAgain }: MachineChanges): Handlers {
  const { registry } = networking;
  /** Changes one adapter of a machine. */
  const change = (id: string, adapter: number, changed: (before: AdapterConfig, config: MachineConfig) => AdapterConfig, trial?: Trial): Promise<MachineInfo> => {
    const patchOf = (config: MachineConfig): MachinePatch => {
      requireAdapter(config, adapter);
      return { adapters: config.adapters.map((entry, index) => (index === adapter ? changed(entry, config) : entry)) };
    };
    return set(id, patchOf, trial);
  };
  return {
    "network.list": async () => {
      await networking.refresh();
      return networking.list();
    },
    "network.create": async ({ spec }) => networking.describe(await registry.create(spec)),
    "network.set": async ({ network, patch }) => {
      await registry.refresh();
      const before = registry.find(network)?.subnet;
      const after = await registry.set(network, patch);
      // Guests go on with addresses that lead nowhere now, until their leases are over.
      if (after.subnet !== before && after.dhcp.enabled) await Promise.all([...cablesTo(networking, after.name)].map(([id, adapters]) => askAgain(id, adapters)));
      return networking.describe(after);
    },
    "network.delete": async ({ network }) => {
      await registry.delete(network, [...new Set(networking.attached({ name: network }).map(({ machine }) => machine.name))]);
      return {};
    },
    "network.freeSubnet": async () => ({ subnet: await registry.freeSubnet() }),
    "network.cards": () => networking.cards(),
    "network.leases": ({ of }) => networking.leases(of),
    "network.flows": ({ of }) => networking.flows(of),
    "network.cutFlow": async ({ of, flow }) => {
      await networking.cutFlow(of, flow);
      return {};
    },

    "adapter.add": ({ id, attachment, model }) =>
      set(id, async (config) => ({ adapters: [...config.adapters, { mac: await nextMac(id, config), attachment, plugged: attachment.mode !== "none", ...(model === undefined ? {} : { model }) }] })),
    "adapter.remove": ({ id, adapter }) =>
      set(id, (config) => {
        requireAdapter(config, adapter);
        const last = config.adapters.length - 1;
        if (adapter !== last && isLive(id)) throw new TerrariumError("illegal-state", `While ${config.name} runs, only its last adapter (${last}) can be taken out: those behind adapter ${adapter} would change their numbers.`, `Attach adapter ${adapter} to nothing instead, or shut the machine down first.`);
        return { adapters: config.adapters.filter((_, slot) => slot !== adapter) };
      }),
    "adapter.attach": ({ id, adapter, attachment }) => change(id, adapter, (before) => attached(before, attachment)),
    "adapter.set": ({ id, adapter, ...settings }) =>
      change(id, adapter, (before, { name }) => {
        if (settings.nat && before.attachment.mode !== "nat") throw new TerrariumError("illegal-state", `Adapter ${adapter} of ${name} has no private NAT network that could be set.`, "The settings of a NAT network are the network's own: terrarium network set NAME.");
        return withSettings(before, settings);
      }),
    "forward.add": ({ id, adapter, forward }) =>
      change(
        id,
        adapter,
        (before, config) => {
          requireForwardable(config, adapter);
          requirePorts(forward);
          networking.requireUnclaimed(config, forward);
          return { ...before, forwards: [...(before.forwards ?? []), forward] };
        },
        { begin: (config) => networking.tryForward(config, adapter, forward), end: () => networking.endTrial() },
      ),
    "forward.remove": ({ id, adapter, forward }) =>
      change(id, adapter, (before) => {
        const forwards = before.forwards ?? [];
        const rest = forwards.filter((other) => !sameDoor(other, forward));
        if (rest.length === forwards.length) throw new TerrariumError("not-found", `Adapter ${adapter} has no forward of ${doorWords(forward)}.`, forwards.length === 0 ? "It has none." : `It has: ${forwards.map(doorWords).join(", ")}.`);
        return { ...before, forwards: rest };
      }),
  };
}

/** The adapters of live machines with a cable to a network, by machine. */
function cablesTo(networking: Networking, name: string): Map<string, number[]> {
  const cables = new Map<string, number[]>();
  for (const { machine, adapter } of networking.attached({ name })) {
    if (!isLiveState(machine.state) || machine.config?.adapters[adapter]?.plugged !== true) continue;
    cables.set(machine.id, [...(cables.get(machine.id) ?? []), adapter]);
  }
  return cables;
}

function requireAdapter({ adapters, name }: MachineConfig, adapter: number): AdapterConfig {
  const found = adapters[adapter];
  if (!found) throw new TerrariumError("not-found", `${name} has no adapter ${adapter}.`, adapters.length === 0 ? "It has none." : `Its adapters are 0 to ${adapters.length - 1}.`);
  return found;
}

/** A cable that led nowhere is plugged when it leads somewhere. */
function attached(before: AdapterConfig, attachment: Attachment): AdapterConfig {
  return { ...before, attachment, plugged: before.attachment.mode === "none" ? attachment.mode !== "none" : before.plugged };
}

function withSettings(before: AdapterConfig, { plugged, rate, macPolicy, nat }: Omit<ProcedureParsed<"adapter.set">, "id" | "adapter">): AdapterConfig {
  const after: AdapterConfig = { ...before, ...(plugged === undefined ? {} : { plugged }), ...(macPolicy === undefined ? {} : { macPolicy }), ...(rate ? { rate } : {}), ...(nat ? { nat } : {}) };
  if (rate === null) delete after.rate;
  if (nat === null) delete after.nat;
  if (macPolicy === "any") delete after.macPolicy;
  return after;
}

function requireForwardable(config: MachineConfig, adapter: number): void {
  const { mode } = requireAdapter(config, adapter).attachment;
  if (mode === "nat" || mode === "nat-network") return;
  const where = mode === "none" ? "attached to nothing" : mode === "bridged" ? "bridged with a card of this computer" : `attached to ${modeWords[mode]}`;
  throw new TerrariumError("illegal-state", `Adapter ${adapter} of ${config.name} is ${where}; ports are forwarded to guests behind NAT.`, mode === "bridged" || mode === "host-only" ? "Reach the guest by its own address, or attach the adapter to nat." : "Attach the adapter to nat or to a NAT network first.");
}

function requirePorts({ hostPort, guestPort, count = 1 }: PortForward): void {
  if (Math.max(hostPort, guestPort) + count - 1 > 65_535) throw new TerrariumError("invalid-input", `${count} ports from ${Math.max(hostPort, guestPort)} on go beyond 65535, the last one.`, "Forward fewer ports, or begin lower.");
}

/** What tells one forward of an adapter from another. */
type Door = Pick<PortForward, "protocol" | "hostAddress" | "hostPort">;

function sameDoor(one: Door, other: Door): boolean {
  return one.protocol === other.protocol && one.hostAddress === other.hostAddress && one.hostPort === other.hostPort;
}

function doorWords({ protocol, hostAddress, hostPort }: Door): string {
  return `${protocol}:${hostAddress}:${hostPort}`;
}
