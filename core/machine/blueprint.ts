import { join } from "node:path";
import { TerrariumError } from "../contract/errors";
import type { EngineId, MachineConfig } from "../contract/model";
import { machineSockets, type Engine, type LaunchPlan, type MachineSockets } from "../engine/engine";
import type { RegisteredMachine } from "./machineFolders";
import { linksOf } from "./run";
import type { Surroundings } from "./surroundings";

/** What a machine is made from: its configuration, the engine for it, its places in the file system, and the plan of its machine process. */
export class Blueprint {
  /** The engine that the guest's memory is in, running or saved: it stays there whatever `auto` would choose now. */
  heldBy: EngineId | undefined;
  readonly runDir: string;
  readonly sockets: MachineSockets;

  /** @param isLive a machine process exists. */
  constructor(
    private current: RegisteredMachine,
    private readonly around: Surroundings,
    private readonly isLive: () => boolean,
  ) {
    this.runDir = around.runDir(current.id);
    this.sockets = machineSockets(this.runDir);
  }

  get registered(): RegisteredMachine {
    return this.current;
  }

  get id(): string {
    return this.current.id;
  }

  get name(): string {
    return this.current.name;
  }

  get folder(): string {
    return this.current.folder;
  }

  get config(): MachineConfig | undefined {
    return this.current.config;
  }

  get logs(): string {
    return join(this.folder, "logs");
  }

  get serialLog(): string {
    return join(this.logs, "serial0.log");
  }

  /** The registry has read or written the configuration. */
  update(registered: RegisteredMachine): void {
    this.current = registered;
  }

  /** The configuration with its engine. @throws TerrariumError `broken` when it cannot be used. */
  usable(): { config: MachineConfig; engine: Engine } {
    const { config, problem } = this.current;
    if (!config) throw new TerrariumError("broken", problem?.message ?? "The machine's configuration cannot be used.", problem?.remedy);
    return { config, engine: this.engineOf(config) };
  }

  /** What runs the machine, or would. */
  engineOf(config: MachineConfig): Engine {
    const holder = this.isLive() || config.engine === "auto" ? this.heldBy : undefined;
    return this.around.engines.resolve({ ...config, engine: holder ?? config.engine });
  }

  /** How the machine would be started from power on. */
  plan(config: MachineConfig, engine: Engine): LaunchPlan {
    const { folder, sockets, serialLog, logs } = this;
    return engine.plan(config, { folder, sockets, serialLog, dumpDir: logs, guest: this.around.guestFiles(), links: linksOf(config.adapters), incoming: false });
  }

  /** The command line of the machine process that a start would run. */
  command(): string[] {
    const { config, engine } = this.usable();
    const { command, args } = this.plan(config, engine);
    return [command, ...args];
  }
}
