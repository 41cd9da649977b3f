import type { AdapterModel, Chipset, DiskBus, EngineCapabilities, EngineInfo, FirmwareKind, MachineInfo } from "../../../../core/contract/model";
import type { Draft } from "./draft";

/** What the settings can be chosen from. */
export interface Offer {
  readonly maxCpus: number;
  readonly chipsets: readonly Chipset[];
  /** What a chipset of "standard" is, where one engine alone is asked. */
  readonly standardChipset: Chipset | undefined;
  readonly firmwares: readonly FirmwareKind[];
  /** An engine would take UEFI, and this computer has none for it. */
  readonly lacksFirmware: boolean;
  readonly diskBuses: readonly DiskBus[];
  readonly adapterModels: readonly AdapterModel[];
  readonly expertSettings: boolean;
  readonly diskLimits: boolean;
}

/**
 * What the draft's engine offers. Where Terrarium chooses the engine, that is what any engine of this host offers: it
 * takes one that has what is asked for. A machine whose hardware stays as it is has what its engine has.
 */
export function offerOf(machine: MachineInfo, draft: Pick<Draft, "engine">, engines: readonly EngineInfo[], locked: boolean): Offer {
  const own = machine.engine?.capabilities;
  const all =
    locked && own
      ? [own]
      : draft.engine === "auto"
        ? [...(own ? [own] : []), ...engines.filter((engine) => engine.available && engine.id !== machine.engine?.id).map((engine) => engine.capabilities)]
        : engines.filter((engine) => engine.id === draft.engine).map((engine) => engine.capabilities);
  // A host that has not been heard of yet.
  const capabilities = all.length === 0 && own ? [own] : all;
  const union = <T>(part: (one: EngineCapabilities) => readonly T[]): T[] => [...new Set(capabilities.flatMap(part))];
  const firmwares = union((one) => one.firmwares);
  return {
    maxCpus: Math.max(1, ...capabilities.map((one) => one.maxCpus)),
    chipsets: union((one) => one.chipsets),
    standardChipset: capabilities.length === 1 ? capabilities[0]?.chipsets[0] : undefined,
    firmwares,
    lacksFirmware: !firmwares.includes("uefi") && capabilities.some((one) => one.ownFirmware),
    diskBuses: union((one) => one.diskBuses),
    adapterModels: union((one) => one.adapterModels),
    expertSettings: capabilities.some((one) => one.expertSettings),
    diskLimits: capabilities.some((one) => one.diskLimits),
  };
}
