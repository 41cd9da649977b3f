import type { EngineInfo, Finding, GuestSystem, HostInfo } from "../../../core/contract/model";
import type { Draft } from "./answers";

/** What every step gets. */
export interface StepProps {
  readonly draft: Draft;
  readonly change: (draft: Draft) => void;
  readonly findings: readonly Finding[];
  readonly host: HostInfo | undefined;
  readonly systems: readonly GuestSystem[];
  /** The engine that will run it; undefined while the host is not known. */
  readonly engine: EngineInfo | undefined;
}
