import * as z from "zod";
import { MachineInfo } from "./model";
import { AdapterModel, Attachment, FlowRecord, HostCard, LeaseInfo, MachineId, NatSettings, NetworkInfo, NetworkName, NetworkPatch, NetworkRef, NetworkSpec, PortForward, RateLimit, SubnetText } from "./network";
import { procedure } from "./procedure";

const nothing = z.object({}).strict();
const done = z.object({});
const adapter = { id: MachineId, adapter: z.number().int().min(0).max(3) };

/** The calls about networks, adapters and port forwards. */
export const networkProcedures = {
  "network.list": procedure("All named networks.", nothing, z.array(NetworkInfo)),
  "network.create": procedure("Makes a named network. Its subnet is checked against the host's and the other networks'.", z.object({ spec: NetworkSpec }), NetworkInfo),
  "network.set": procedure("Changes a network, at once, also under running machines.", z.object({ network: NetworkName, patch: NetworkPatch }), NetworkInfo),
  "network.delete": procedure("Deletes a network that no machine is attached to.", z.object({ network: NetworkName }), done),
  "network.freeSubnet": procedure("A subnet that neither the host nor another network uses.", nothing, z.object({ subnet: SubnetText })),
  "network.cards": procedure("The host's network cards, and which of them adapters may be bridged with.", nothing, z.array(HostCard)),
  "network.leases": procedure("Addresses that were given out on a network.", z.object({ of: NetworkRef }), z.array(LeaseInfo)),
  "network.flows": procedure("Conversations that pass a network's gateway now.", z.object({ of: NetworkRef }), z.array(FlowRecord)),
  "network.cutFlow": procedure("Ends a conversation: both ends are told.", z.object({ of: NetworkRef, flow: z.number().int() }), done),

  "adapter.add": procedure("Adds an adapter to a machine, also while it runs; its address is chosen.", z.object({ id: MachineId, attachment: Attachment, model: AdapterModel.optional() }), MachineInfo),
  "adapter.remove": procedure("Takes an adapter out of a machine. While the machine runs it can be the last one only.", z.object(adapter), MachineInfo),
  "adapter.attach": procedure("Puts an adapter's cable into another network, at once.", z.object({ ...adapter, attachment: Attachment }), MachineInfo),
  "adapter.set": procedure(
    "Changes an adapter, at once. Null takes a setting away.",
    z.object({ ...adapter, plugged: z.boolean().optional(), rate: RateLimit.nullable().optional(), macPolicy: z.enum(["any", "own"]).optional(), nat: NatSettings.nullable().optional() }),
    MachineInfo,
  ),
  "forward.add": procedure("Adds a port forward to an adapter, at once.", z.object({ ...adapter, forward: PortForward }), MachineInfo),
  "forward.remove": procedure("Takes a port forward away, at once. Connections through it end.", z.object({ ...adapter, forward: PortForward.omit({ guestPort: true, count: true }) }), MachineInfo),
} as const;
