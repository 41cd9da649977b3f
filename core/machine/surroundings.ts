import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import type { MachineConfig, Notice } from "../contract/model";
import type { AdapterStatus } from "../contract/network";
import type { EngineTable, GuestFiles } from "../engine/engine";
import type { FabricMachine } from "./fabricState";
import type { Jobs } from "./jobs";
import type { RegisteredMachine } from "./machineFolders";
import type { PreBootedStates } from "./preBooted";

/** What a machine needs of the host service around it. */
export interface Surroundings {
  readonly engines: EngineTable;
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly log: Log;
  /** The folder of this machine's sockets. */
  runDir(id: string): string;
  /** Firmware and starter guest. @throws TerrariumError `unavailable`. */
  guestFiles(): GuestFiles;
  /** Resolves when it is known which engine this host has for the machine; at once for one that every host has. */
  enginesKnown(config: MachineConfig): Promise<void>;
  /** The path of qemu-img, if there is one. */
  imageTool(): string | undefined;
  states(): PreBootedStates | undefined;
  /** Lines of `authorized_keys` for the guest. */
  authorizedKeys(): Promise<readonly string[]>;
  /** @throws TerrariumError when the machine cannot be started on this host now. */
  checkStart(machine: RegisteredMachine, config: MachineConfig): Promise<void>;
  /** How the adapters of a machine that lives are doing. */
  network(machine: Pick<FabricMachine, "id" | "config" | "state">): AdapterStatus[] | undefined;
  notify(notice: Pick<Notice, "level" | "message" | "remedy" | "machineId">): void;
  /** Makes the pre-booted state for machines like this one, for the next time. */
  prepareForNextTime(config: MachineConfig): void;
}
