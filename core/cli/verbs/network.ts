import { AdapterModel, NamedNetworkMode, type AdapterConfig, type NetworkInfo, type PortForward } from "../../contract/network";
import { TerrariumError } from "../../contract/errors";
import type { MachineInfo } from "../../contract/model";
import { procedures } from "../../contract/procedures";
import type { HostConnection } from "../../server/client";
import { findMachine } from "../machines";
import { attachmentWords, dhcpFrom, dhcpWords, doorFrom, forwardFrom, forwardWords, natFrom, ratesFrom, rateWords, stateWord } from "../networkWords";
import { attachmentFrom, count, oneOf } from "../spec";
import { facts, operand, table, time } from "../table";
import { UsageError, verb, type OptionSpec, type Verb } from "../verb";

const dhcpOptions = {
  dhcp: { type: "boolean", help: "Give out addresses." },
  "no-dhcp": { type: "boolean", help: "Give out none." },
  "dhcp-range": { type: "string", value: "FIRST-LAST", help: "The addresses given out." },
  reserve: { type: "string", multiple: true, value: "MAC=ADDRESS", help: "An address that only this adapter gets, beside those of others; MAC= takes its one away, and an empty word all." },
} as const satisfies Record<string, OptionSpec>;

const natOptions = {
  "host-loopback": { type: "string", value: "yes|no", help: "Guests may reach what listens on this computer's loopback, at the gateway's address." },
  "host-networks": { type: "string", value: "yes|no", help: "Guests may reach the networks that this computer is on, such as its LAN." },
} as const satisfies Record<string, OptionSpec>;

const adapterOption = { adapter: { type: "string", value: "N", help: "The adapter; the first one behind NAT when nothing is said." } } as const satisfies Record<string, OptionSpec>;

const attachmentForm = "MODE[:NETWORK] is none, nat, nat-network:N, internal:N, host-only:N or bridged:CARD. An internal network that does not exist is made.";

/** Networks, and how machines are attached to them. */
export const networkVerbs: readonly Verb[] = [
  verb({
    name: "network list",
    doc: procedures["network.list"].doc,
    async run(context) {
      const host = await context.connect();
      const networks = await host.call("network.list", {});
      if (networks.length === 0) return context.print(networks, "There are no named networks. Make one with: terrarium network create NAME --mode nat-network");
      const rows = networks.map(({ config, adapters, problem }) => [config.name, config.mode, config.subnet ?? "", dhcpWords(config), String(adapters.length), problem ? `! ${problem.message}` : ""]);
      context.print(networks, table(["NAME", "MODE", "SUBNET", "DHCP", "ADAPTERS", ""], rows));
    },
  }),
  verb({
    name: "network show",
    operands: "NAME",
    count: [1, 1],
    doc: "One network, the addresses that were given out on it, and the conversations that pass its gateway.",
    async run(context, [name]) {
      const host = await context.connect();
      const network = await findNetwork(host, name!);
      const of = { network: network.config.name };
      const [leases, flows, machines] = await Promise.all([host.call("network.leases", { of }), host.call("network.flows", { of }), host.call("machine.list", {})]);
      const nameOf = (id: string | undefined): string => machines.find((machine) => machine.id === id)?.name ?? "";
      const parts = [
        description(network, nameOf),
        ...(leases.length > 0 ? [table(["ADDRESS", "MAC", "MACHINE", "UNTIL"], leases.map((lease) => [lease.address, lease.mac, nameOf(lease.machine?.id) || (lease.hostname ?? ""), lease.reserved ? "reserved" : time(lease.expiresAt)]))] : []),
        ...(flows.length > 0 ? [table(["FLOW", "", "GUEST", "REMOTE", "STATE", "SENT", "RECEIVED"], flows.map((flow) => [String(flow.id), flow.protocol, `${flow.guest.address}:${flow.guest.port}`, `${flow.remote.address}:${flow.remote.port}`, flow.state, String(flow.sentBytes), String(flow.receivedBytes)]))] : []),
      ];
      context.print({ ...network, leases, flows }, parts.join("\n\n"));
    },
  }),
  verb({
    name: "network create",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["network.create"].doc,
    more: ["Without --subnet a free one is chosen. An internal network has no addresses of its own unless it is given a subnet or DHCP."],
    options: {
      mode: { type: "string", value: NamedNetworkMode.options.join("|"), help: "What kind of network it is; internal when nothing is said." },
      subnet: { type: "string", value: "SUBNET", help: "Its addresses, like 10.9.0.0/24." },
      ...dhcpOptions,
      domain: { type: "string", value: "TEXT", help: "The domain that guests are told." },
      mtu: { type: "string", value: "N", help: "The longest packet that guests are told to send." },
      ...natOptions,
    },
    async run(context, [name], values) {
      const nat = natFrom(undefined, values["host-loopback"], values["host-networks"]);
      const dhcp = dhcpFrom(undefined, values);
      const mode = oneOf("--mode", NamedNetworkMode.options, values.mode ?? "internal");
      const spec = { name: name!, mode, ...(values.subnet === undefined ? {} : { subnet: values.subnet }), ...(dhcp ? { dhcp } : {}), ...(values.domain === undefined ? {} : { domain: values.domain }), ...(values.mtu === undefined ? {} : { mtu: count("--mtu", values.mtu) }), ...(nat ? { nat } : {}) };
      const network = await (await context.connect()).call("network.create", { spec });
      context.print(network, `Created the network ${network.config.name}${network.config.subnet === undefined ? "" : ` (${network.config.subnet})`}. Attach a machine with: terrarium adapter attach NAME 0 ${operand(`${mode}:${network.config.name}`)}`);
    },
  }),
  verb({
    name: "network set",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["network.set"].doc,
    options: {
      subnet: { type: "string", value: "SUBNET", help: "Its addresses; empty for none." },
      ...dhcpOptions,
      domain: { type: "string", value: "TEXT", help: "The domain that guests are told; empty for none." },
      mtu: { type: "string", value: "N", help: "The longest packet that guests are told to send; empty for the usual one." },
      ...natOptions,
    },
    async run(context, [name], values) {
      if (Object.keys(values).length === 0) throw new UsageError("There is nothing to set.");
      const host = await context.connect();
      const { config } = await findNetwork(host, name!);
      const dhcp = dhcpFrom(config.dhcp, values);
      const nat = natFrom(config.nat, values["host-loopback"], values["host-networks"]);
      const { subnet, domain, mtu } = values;
      const patch = { ...(subnet === undefined ? {} : { subnet: subnet || null }), ...(dhcp ? { dhcp } : {}), ...(domain === undefined ? {} : { domain: domain || null }), ...(mtu === undefined ? {} : { mtu: mtu === "" ? null : count("--mtu", mtu) }), ...(nat ? { nat } : {}) };
      const network = await host.call("network.set", { network: config.name, patch });
      context.print(network, description(network));
    },
  }),
  verb({
    name: "network delete",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["network.delete"].doc,
    async run(context, [name]) {
      const host = await context.connect();
      const { config } = await findNetwork(host, name!);
      context.print(await host.call("network.delete", { network: config.name }), `The network ${config.name} is gone.`);
    },
  }),
  verb({
    name: "network cards",
    doc: procedures["network.cards"].doc,
    async run(context) {
      const cards = await (await context.connect()).call("network.cards", {});
      const rows = cards.map(({ name, kind, up, addresses, problem }) => [name, kind, up ? "up" : "down", addresses.join(" "), problem?.message ?? ""]);
      context.print(cards, table(["NAME", "KIND", "", "ADDRESSES", "CANNOT BE BRIDGED BECAUSE"], rows));
    },
  }),
  verb({
    name: "adapter list",
    operands: "NAME",
    count: [1, 1],
    doc: "A machine's adapters, where they are attached and how they are doing.",
    async run(context, [name]) {
      const machine = await findMachine(await context.connect(), name!);
      context.print({ adapters: machine.config?.adapters ?? [], network: machine.network ?? [] }, adapterTable(machine));
    },
  }),
  verb({
    name: "adapter add",
    operands: "NAME MODE[:NETWORK]",
    count: [2, 2],
    doc: procedures["adapter.add"].doc,
    more: [attachmentForm],
    options: { model: { type: "string", value: AdapterModel.options.join("|"), help: "What kind of card the guest sees; virtio when nothing is said." } },
    async run(context, [name, where], values) {
      const attachment = attachmentFrom("the network", where!);
      const model = values.model === undefined ? undefined : oneOf("--model", AdapterModel.options, values.model);
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const after = await host.call("adapter.add", { id, attachment, ...(model === undefined ? {} : { model }) });
      context.print(after, adapterTable(after));
    },
  }),
  verb({
    name: "adapter remove",
    operands: "NAME N",
    count: [2, 2],
    doc: procedures["adapter.remove"].doc,
    async run(context, [name, slot]) {
      const adapter = slotFrom(slot!);
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const after = await host.call("adapter.remove", { id, adapter });
      context.print(after, adapterTable(after));
    },
  }),
  verb({
    name: "adapter attach",
    operands: "NAME N MODE[:NETWORK]",
    count: [3, 3],
    doc: procedures["adapter.attach"].doc,
    more: [attachmentForm],
    async run(context, [name, slot, where]) {
      const attachment = attachmentFrom("the network", where!);
      const adapter = slotFrom(slot!);
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const after = await host.call("adapter.attach", { id: machine.id, adapter, attachment });
      context.print(after, adapterTable(after));
    },
  }),
  ...(["plug", "unplug"] as const).map((word) =>
    verb({
      name: `adapter ${word}`,
      operands: "NAME N",
      count: [2, 2],
      doc: word === "plug" ? "Plugs an adapter's cable in." : "Pulls an adapter's cable; where it leads to is kept.",
      async run(context, [name, slot]) {
        const adapter = slotFrom(slot!);
        const host = await context.connect();
        const { id } = await findMachine(host, name!);
        await host.call("machine.setLink", { id, adapter, up: word === "plug" });
        const after = await host.call("machine.get", { id });
        context.print(after, adapterTable(after));
      },
    }),
  ),
  verb({
    name: "adapter set",
    operands: "NAME N",
    count: [2, 2],
    doc: "Changes an adapter, at once. What may be empty takes its setting away.",
    options: {
      "rate-to-guest": { type: "string", value: "RATE", help: "What the guest receives at most, bits a second, like 10M; empty for no limit." },
      "rate-from-guest": { type: "string", value: "RATE", help: "What the guest sends at most; empty for no limit." },
      "mac-policy": { type: "string", value: "any|own", help: "Which source addresses the guest may use." },
      ...natOptions,
    },
    async run(context, [name, slot], values) {
      if (Object.keys(values).length === 0) throw new UsageError("There is nothing to set.");
      const adapter = slotFrom(slot!);
      const macPolicy = values["mac-policy"] === undefined ? undefined : oneOf("--mac-policy", ["any", "own"] as const, values["mac-policy"]);
      natFrom(undefined, values["host-loopback"], values["host-networks"]);
      ratesFrom(undefined, values["rate-to-guest"], values["rate-from-guest"]);
      const host = await context.connect();
      const { id, config } = await findMachine(host, name!);
      const before = config?.adapters[adapter];
      const rate = ratesFrom(before?.rate, values["rate-to-guest"], values["rate-from-guest"]);
      const nat = natFrom(before?.nat, values["host-loopback"], values["host-networks"]);
      const after = await host.call("adapter.set", { id, adapter, ...(rate === undefined ? {} : { rate }), ...(macPolicy ? { macPolicy } : {}), ...(nat ? { nat } : {}) });
      context.print(after, adapterTable(after));
    },
  }),
  verb({
    name: "forward list",
    operands: "NAME",
    count: [1, 1],
    doc: "The port forwards of a machine.",
    async run(context, [name]) {
      const forwards = forwardsOf(await findMachine(await context.connect(), name!));
      context.print(forwards, forwards.length === 0 ? `No ports are forwarded. Add one with: terrarium forward add ${operand(name!)} tcp:2222:22` : table(["ADAPTER", "FORWARD", ""], forwards.map(({ adapter, forward, problem }) => [String(adapter), forwardWords(forward), problem ? `! ${problem.message}` : ""])));
    },
  }),
  verb({
    name: "forward add",
    operands: "NAME PROTOCOL:[ADDRESS:]PORT:GUESTPORT",
    count: [2, 2],
    doc: procedures["forward.add"].doc,
    more: ["Without an address only programs on this computer can use it; 0.0.0.0 is everybody. Ports may be ranges: tcp:8000-8009:8000."],
    options: adapterOption,
    async run(context, [name, text], values) {
      const forward = forwardFrom(text!);
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const adapter = natAdapter(machine, values.adapter);
      const after = await host.call("forward.add", { id: machine.id, adapter, forward });
      context.print(after, `${forwardWords(forward)} leads to adapter ${adapter} of ${machine.name}.`);
    },
  }),
  verb({
    name: "forward remove",
    operands: "NAME PROTOCOL:[ADDRESS:]PORT",
    count: [2, 2],
    doc: procedures["forward.remove"].doc,
    options: adapterOption,
    async run(context, [name, text], values) {
      const { protocol, hostAddress, hostPort } = doorFrom(text!);
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const holder = forwardsOf(machine).find(({ forward }) => forward.protocol === protocol && forward.hostAddress === hostAddress && forward.hostPort === hostPort);
      const adapter = values.adapter === undefined && holder ? holder.adapter : natAdapter(machine, values.adapter);
      const after = await host.call("forward.remove", { id: machine.id, adapter, forward: { protocol, hostAddress, hostPort } });
      context.print(after, `Port ${hostPort} (${protocol}) is not forwarded to ${machine.name} any more.`);
    },
  }),
];

async function findNetwork(host: HostConnection, said: string): Promise<NetworkInfo> {
  const networks = await host.call("network.list", {});
  const found = networks.find(({ config }) => config.name === said) ?? networks.find(({ config }) => config.name.toLowerCase() === said.toLowerCase());
  if (found) return found;
  throw new TerrariumError("not-found", `There is no network "${said}".`, networks.length === 0 ? "Make one with: terrarium network create NAME --mode nat-network" : `There are: ${networks.map(({ config }) => config.name).join(", ")}.`);
}

function slotFrom(text: string): number {
  if (!/^[0-3]$/.test(text)) throw new UsageError(`"${text}" is no adapter. They are numbered from 0, and 3 is the last there may be: terrarium adapter list NAME`);
  return Number(text);
}

/** The adapter that was named, or the first one behind NAT. */
function natAdapter({ name, config }: MachineInfo, said: string | undefined): number {
  if (said !== undefined) return slotFrom(said);
  const first = (config?.adapters ?? []).findIndex(({ attachment }) => attachment.mode === "nat" || attachment.mode === "nat-network");
  if (first < 0) throw new TerrariumError("illegal-state", `No adapter of ${name} is behind NAT.`, `Attach one first: terrarium adapter attach ${operand(name)} 0 nat`);
  return first;
}

interface ListedForward {
  readonly adapter: number;
  readonly forward: PortForward;
  readonly problem?: NonNullable<MachineInfo["network"]>[number]["problem"];
}

function forwardsOf({ config, network }: MachineInfo): ListedForward[] {
  return (config?.adapters ?? []).flatMap(({ forwards = [] }, adapter) =>
    forwards.map((forward, place) => {
      const problem = network?.[adapter]?.forwards[place]?.problem;
      return { adapter, forward, ...(problem ? { problem } : {}) };
    }),
  );
}

function description({ config, gateway, adapters, hostInterface, problem }: NetworkInfo, nameOf?: (id: string) => string): string {
  return facts([
    ["Name", config.name],
    ["Mode", config.mode],
    ["Subnet", config.subnet],
    [config.mode === "host-only" ? "This computer" : "Gateway", gateway && `${gateway}${hostInterface === undefined ? "" : ` (${hostInterface})`}`],
    ["DHCP", dhcpWords(config)],
    ["Reserved", config.dhcp.reservations.map(({ mac, address }) => `${mac}  ${address}`).join("\n")],
    ["Domain", config.domain],
    ["MTU", config.mtu === undefined ? undefined : String(config.mtu)],
    ["Host loopback", config.mode === "nat-network" ? (config.nat?.hostLoopback ? "yes" : "no") : undefined],
    ["Host networks", config.mode === "nat-network" ? (config.nat?.hostNetworks === false ? "no" : "yes") : undefined],
    ["Adapters", nameOf ? adapters.map(({ id, adapter }) => `${nameOf(id)}  ${adapter}`).join("\n") : String(adapters.length)],
    ["Problem", problem && [problem.message, problem.remedy].filter((line) => line !== undefined).join("\n")],
  ]);
}

function adapterTable({ config, network }: MachineInfo): string {
  const adapters = config?.adapters ?? [];
  if (adapters.length === 0) return "The machine has no adapters.";
  return table(["N", "MAC", "NETWORK", "STATE", "ADDRESS", ""], adapters.map((adapter, index) => [String(index), adapter.mac, attachmentWords(adapter.attachment), stateWord(adapter, network?.[index]), network?.[index]?.address ?? "", remarks(adapter, network?.[index])]));
}

function remarks({ rate, macPolicy, nat }: AdapterConfig, status: NonNullable<MachineInfo["network"]>[number] | undefined): string {
  return [rate && `at most ${rateWords(rate)}`, macPolicy === "own" ? "own address only" : undefined, nat?.hostLoopback ? "reaches the host's loopback" : undefined, nat?.hostNetworks === false ? "kept from the host's networks" : undefined, status?.problem && `! ${status.problem.message}`].filter((part) => part !== undefined).join("; ");
}
