import type { AdapterConfig, DiskBus, MachineConfig, MachineInfo, MachinePatch } from "../../../../core/contract/model";
import { isLive, refusal } from "../../../../core/contract/states";
import { busNames } from "../describe";

/** The one bus whose disks come and go in a machine that runs. */
const pluggableBus: DiskBus = "virtio";

/** Why a disk on `bus` cannot be added or taken out now, or undefined when it can. */
export function plugRefusal(machine: MachineInfo, bus: DiskBus = pluggableBus): string | undefined {
  const refused = refusal("plugDisk", machine);
  if (refused !== undefined || !isLive(machine.state)) return refused;
  if (!machine.engine?.capabilities.hotPlugDisks) return `${machine.engine?.label ?? "Its engine"} cannot plug in or take out a disk while the machine runs. Shut it down first.`;
  if (bus !== pluggableBus) return `A disk on ${busNames[bus]} cannot be plugged in or taken out while the machine runs. Shut it down first.`;
  return undefined;
}

/** Why cables cannot be plugged, pulled or led elsewhere now, or undefined when they can. */
export function linkRefusal(machine: MachineInfo): string | undefined {
  const refused = refusal("setLink", machine);
  if (refused !== undefined || !isLive(machine.state) || machine.engine?.capabilities.setLinkLive) return refused;
  return `${machine.engine?.label ?? "Its engine"} cannot plug or pull a cable while the machine runs. Shut it down first.`;
}

/** Why an adapter cannot be added now, or undefined when it can. */
export function addAdapterRefusal(machine: MachineInfo): string | undefined {
  return refusal("plugAdapter", machine) ?? withoutAdapterPlug(machine);
}

/** Why the adapter in `slot` cannot be taken out now, or undefined when it can. */
export function removeAdapterRefusal(machine: MachineInfo, slot: number): string | undefined {
  const refused = refusal("unplugAdapter", machine) ?? withoutAdapterPlug(machine);
  if (refused !== undefined || !isLive(machine.state)) return refused;
  const last = (machine.config?.adapters.length ?? 0) - 1;
  return slot === last ? undefined : `While the machine runs, only its last adapter (net${last}) can be taken out. Pull this one's cable instead, or shut the machine down first.`;
}

function withoutAdapterPlug(machine: MachineInfo): string | undefined {
  if (!isLive(machine.state) || machine.engine?.capabilities.hotPlugAdapters) return undefined;
  return `${machine.engine?.label ?? "Its engine"} cannot add or remove an adapter while the machine runs. Shut it down first.`;
}

/** What of the adapters is hardware: the cards, and not where their cables go. */
function cards(adapters: readonly AdapterConfig[]): string {
  return JSON.stringify(adapters.map(({ mac, model }) => [mac, model ?? "virtio"]));
}

/** Why the change cannot be made in the machine's state, or undefined when it can: some settings change while it runs. */
export function patchRefusal(machine: MachineInfo, config: MachineConfig, patch: MachinePatch): string | undefined {
  const { name: _name, group: _group, notes: _notes, system: _system, arch: _arch, adapters, disks = [], addDisks = [], removeDisks = [], ...hardware } = patch;
  const newCards = adapters !== undefined && cards(adapters) !== cards(config.adapters);
  if (Object.keys(hardware).length > 0 || newCards || disks.some(({ bus }) => bus !== undefined)) {
    const refused = refusal("configure", machine);
    if (refused !== undefined) return refused;
  }
  const unlinkable = adapters === undefined ? undefined : linkRefusal(machine);
  if (unlinkable !== undefined) return unlinkable;
  const moving = [...addDisks, ...config.disks.filter(({ id }) => removeDisks.includes(id))];
  for (const { bus } of moving) {
    const refused = plugRefusal(machine, bus);
    if (refused !== undefined) return refused;
  }
  return disks.some(({ limits }) => limits !== undefined) ? refusal("setLimits", machine) : undefined;
}
