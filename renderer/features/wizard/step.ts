import type { Finding, HostInfo, MachineInfo } from "../../../core/contract/model";
import type { Draft } from "./draft";

/** What every step gets. */
export interface StepProps {
  readonly draft: Draft;
  readonly change: (draft: Draft) => void;
  readonly findings: readonly Finding[];
  readonly host: HostInfo | undefined;
  readonly machines: readonly MachineInfo[];
}
