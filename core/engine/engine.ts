import { resolve } from "node:path";
import { TerrariumError, type ErrorData } from "../contract/errors";
import type { EngineCapabilities, EngineId, EngineInfo, MachineConfig } from "../contract/model";

/**
 * What executes a machine. An engine says what it can do as data and how its machine process is started; everything
 * else (QMP, RFB, serial, frames) is the same for every engine.
 */
export interface Engine {
  readonly id: EngineId;
  readonly info: EngineInfo;
  /** How to start `config`. Reads no file and starts nothing. */
  plan(config: MachineConfig, context: LaunchContext): LaunchPlan;
}

/** How many adapters every machine process has; unused ones have their link down, so that adapters can be added live. */
export const adapterSlots = 4;

/** The Unix sockets a machine process listens on, its pid file, and the note of its end. */
export interface MachineSockets {
  readonly monitor: string;
  readonly display: string;
  readonly serial: string;
  readonly agent: string;
  readonly nets: readonly string[];
  readonly pidFile: string;
  /** Where the machine process writes the data of its SHUTDOWN event, for a host service that was not there. */
  readonly endFile: string;
}

/** The sockets of a machine whose run directory is `runDir`. */
export function machineSockets(runDir: string): MachineSockets {
  return {
    monitor: resolve(runDir, "monitor.sock"),
    display: resolve(runDir, "display.sock"),
    serial: resolve(runDir, "serial0.sock"),
    agent: resolve(runDir, "agent.sock"),
    nets: Array.from({ length: adapterSlots }, (_, slot) => resolve(runDir, `net${slot}.sock`)),
    pidFile: resolve(runDir, "pid"),
    endFile: resolve(runDir, "pid.end"),
  };
}

/** Firmware and the starter guest, absolute paths. */
export interface GuestFiles {
  readonly bios: string;
  readonly vgabios: string;
  /** What a machine with `boot.kind: "starter"` boots. */
  readonly starter?: { readonly kernel: string; readonly initrd: string; readonly cmdline: string };
}

export interface LaunchContext {
  /** The machine's folder, against which relative layers are resolved. */
  readonly folder: string;
  readonly sockets: MachineSockets;
  /** Where the machine process appends what the guest writes to its first serial port. */
  readonly serialLog: string;
  /** Where a crash dump is written. */
  readonly dumpDir: string;
  readonly guest: GuestFiles;
  /** The state of each adapter's link when the machine process starts. */
  readonly links: readonly boolean[];
  /** True when a state is loaded over QMP before the guest runs. */
  readonly incoming: boolean;
}

export interface LaunchPlan {
  readonly command: string;
  readonly args: readonly string[];
  /** Variables added to the environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** The machine's own layer that is written to, as an absolute path. */
export function topLayer(config: MachineConfig["disks"][number], folder: string): { file: string; format: "raw" | "qcow2" } {
  const layer = config.layers[config.layers.length - 1];
  if (!layer) throw new TerrariumError("broken", `The disk ${config.id} has no file.`, "Mend the disk's `layers` in machine.json.");
  return { file: resolve(folder, layer.file), format: layer.format };
}

const laterQemu: ErrorData = {
  code: "unavailable",
  message: "This version of Terrarium runs the built-in engine only.",
  remedy: "Choose the built-in emulator, or leave the engine on automatic.",
};

/** QEMU as the screens show it: what it would offer, and that it does not run yet. */
export const qemuInfo: EngineInfo = {
  id: "qemu",
  label: "QEMU",
  available: false,
  problem: laterQemu,
  capabilities: {
    smp: true,
    maxCpus: 64,
    minMemoryMiB: 16,
    maxMemoryMiB: 1024 * 1024,
    x86_64: true,
    diskFormats: ["raw", "qcow2"],
    maxDisks: 4,
    maxAdapters: adapterSlots,
    networkModes: ["none", "nat", "nat-network", "internal", "host-only", "bridged"],
    preBooted: true,
    saveState: true,
    changeMediumLive: true,
    setLinkLive: true,
  },
};

const unavailableQemu: Engine = {
  id: "qemu",
  info: qemuInfo,
  plan() {
    throw new TerrariumError(laterQemu.code, laterQemu.message, laterQemu.remedy);
  },
};

/** Every engine Terrarium knows, available or not, in the order of preference for `auto`. */
export class EngineTable {
  private readonly engines: readonly Engine[];

  constructor(v86: Engine) {
    this.engines = [v86, unavailableQemu];
  }

  list(): EngineInfo[] {
    return this.engines.map((engine) => engine.info);
  }

  /**
   * The engine that runs `config`. For `auto` the first available one whose capabilities fit; when none fits, the first
   * available one, so that the refusal names what is too much for it.
   */
  resolve(config: Pick<MachineConfig, "engine" | "memoryMiB" | "cpus">): Engine {
    if (config.engine !== "auto") {
      const named = this.engines.find((engine) => engine.id === config.engine);
      if (!named) throw new TerrariumError("unsupported", `There is no engine called ${config.engine}.`);
      return named;
    }
    const available = this.engines.filter((engine) => engine.info.available);
    const fitting = available.find((engine) => fits(engine.info.capabilities, config));
    const chosen = fitting ?? available[0];
    if (!chosen) throw new TerrariumError("unavailable", "No engine can run machines on this host.", "Run `terrarium doctor` to see what is missing.");
    return chosen;
  }
}

function fits(capabilities: EngineCapabilities, config: Pick<MachineConfig, "memoryMiB" | "cpus">): boolean {
  return config.cpus <= capabilities.maxCpus && config.memoryMiB >= capabilities.minMemoryMiB && config.memoryMiB <= capabilities.maxMemoryMiB;
}
