import type { Finding, MachineConfig, MachineInfo } from "../../../../core/contract/model";
import type { Draft } from "./draft";
import type { Offer } from "./offer";

/** What every section gets: the form's state, what the host says, and why hardware cannot change now. */
export interface SectionProps {
  readonly machine: MachineInfo;
  readonly config: MachineConfig;
  readonly draft: Draft;
  readonly change: (patch: Partial<Draft>) => void;
  readonly findings: (field: string) => readonly Finding[];
  /** Why hardware cannot be changed in this state. */
  readonly locked: string | undefined;
  readonly offer: Offer;
}
