import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { Emitter, type Event } from "../base/emitter";
import { beyond, engineFor, type EngineNeeds } from "../contract/engineChoice";
import { TerrariumError, type ErrorData } from "../contract/errors";
import type { AdapterConfig, DiskConfig, EngineId, EngineInfo, LayerConfig, MachineConfig } from "../contract/model";

/**
 * What executes a machine. An engine says what it can do as data and how its machine process is started; everything
 * else (QMP, RFB, serial, frames) is the same for every engine.
 */
export interface Engine {
  readonly id: EngineId;
  readonly info: EngineInfo;
  /** How to start `config`. Reads no file and starts nothing. */
  plan(config: MachineConfig, context: LaunchContext): LaunchPlan;
  /** A new machine's configuration with everything fixed that must stay as it is when the engine is updated. */
  defaults?(config: MachineConfig): MachineConfig;
  /** Why a machine process gave up, from what it wrote to its log, in words for people. */
  explain?(log: string, extraArguments?: readonly string[]): ErrorData | undefined;
  readonly live: LiveChanges;
}

/** The arguments for a kernel that is started directly, in QEMU's words, which the built-in emulator has too; none for a machine that its firmware starts. */
export function kernelArgs({ boot }: MachineConfig, { starter }: GuestFiles): string[] {
  switch (boot.kind) {
    case "starter":
      if (!starter) throw new TerrariumError("unavailable", "The starter guest has not been built on this host.", "Run `npm start` again; it says what is missing.");
      return ["-kernel", starter.kernel, "-initrd", starter.initrd, "-append", starter.cmdline];
    case "kernel":
      return ["-kernel", boot.kernel, ...(boot.initrd === undefined ? [] : ["-initrd", boot.initrd]), "-append", boot.cmdline];
    case "firmware":
      return [];
  }
}

/** How many adapters a machine can have. */
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

/** Firmware and the starter guest, absolute paths. What has not been built is absent. */
export interface GuestFiles {
  /** For engines that do not bring their own. */
  readonly firmware?: { readonly bios: string; readonly vgabios: string };
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

/** A command to the machine process, as QMP has it. */
export interface MonitorCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/** A file that has to be there before the machine process starts, made from a template when it is missing. */
export interface NeededFile {
  readonly file: string;
  readonly format: "raw" | "qcow2";
  readonly template: string;
  readonly templateFormat: "raw" | "qcow2";
}

export interface LaunchPlan {
  readonly command: string;
  readonly args: readonly string[];
  /** Variables added to the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** What the machine process is told before its guest runs. */
  readonly before: readonly MonitorCommand[];
  /** Firmware variables. */
  readonly files: readonly NeededFile[];
  /** What a saved state of this machine depends on beside its configuration: names for people, and values. */
  readonly facts: Readonly<Record<string, string>>;
}

/** Changes of a machine that runs, as commands to its machine process. Each is there when the capability record says so. */
export interface LiveChanges {
  /** Commands that plug a disk in, those that take back what had been done when one of them fails, and the event of a finished unplugging. */
  plugDisk?(disk: DiskConfig, folder: string, config: MachineConfig): { readonly commands: readonly MonitorCommand[]; readonly undo: readonly MonitorCommand[] };
  /** The guest is asked to let go of the disk (`ask`), and when it has, which `device` of a DEVICE_DELETED event says, its layers' nodes are closed. */
  unplugDisk?(disk: DiskConfig): { readonly ask: MonitorCommand; readonly device: string };
  /** Asks which block nodes are open (`layerNode`); `names` reads the answer. */
  readonly openNodes?: { readonly ask: MonitorCommand; names(answer: unknown): string[] };
  closeNode?(name: string): MonitorCommand;
  limitDisk?(disk: DiskConfig): MonitorCommand;
  readonly adapters?: LiveAdapters;
  /** See `liveLayers`. */
  readonly layers?: LiveLayers;
}

/** How layers come and go under a machine that runs. */
export interface LiveLayers {
  /** Opens a disk's last layer, which is empty, without anything under it yet. */
  open(disk: DiskConfig, folder: string): MonitorCommand;
  /** Puts each overlay on the node that its disk is written to by, all at one moment; all are open. */
  switchTo(disks: readonly { readonly node: string; readonly overlay: string }[]): MonitorCommand;
  /** Asks for the nodes that disks are written to by; `nodes` reads the answer, by the disks' ids. */
  readonly tops: { readonly ask: MonitorCommand; nodes(answer: unknown): Map<string, string> };
  close(node: string): MonitorCommand;
  /** Begins to move what a layer holds into the one above it, as a job of the machine process. `jobId` names it. */
  merge(disk: DiskConfig, into: LayerConfig, folder: string, jobId: string): MonitorCommand;
}

/**
 * How adapters come to a machine that runs and go from it. Either a card is plugged in, and out when the guest has let go
 * of it; or every slot has a card from the start, which an adapter takes over as the guest knows it, with its address.
 */
export type LiveAdapters =
  | {
      readonly kind: "plugged";
      /** `clear`: what a plugging that came to no end may have left, which need not be there. The card's link is down when `commands` are done. */
      plug(adapter: AdapterConfig, slot: number, config: MachineConfig, socket: string): { readonly clear: readonly MonitorCommand[]; readonly commands: readonly MonitorCommand[]; readonly undo: readonly MonitorCommand[] };
      /** As `unplugDisk`. */
      unplug(slot: number): { readonly ask: MonitorCommand; readonly device: string; readonly then: readonly MonitorCommand[] };
      /** Asks which slots have a card; `slots` reads the answer. */
      readonly plugged: { readonly ask: MonitorCommand; slots(answer: unknown): number[] };
    }
  | {
      readonly kind: "built-in";
      /** Asks for the addresses of the cards, as the guest knows them; `macs` reads the answer, by slot. */
      readonly cards: { readonly ask: MonitorCommand; macs(answer: unknown): string[] };
      /** The address of the card in a slot without an adapter, as the guest is to know it. */
      spareMac(config: MachineConfig, slot: number): string;
    };

/** A layer's file as an absolute path. */
export function layerFile(layer: LayerConfig, folder: string): string {
  return resolve(folder, layer.file);
}

/**
 * The block node of a disk's layer in a machine process: the same in every run and wherever the layer is in its chain, so that
 * layers can come and go while the machine runs. QEMU's names have at most 31 bytes.
 */
export function layerNode(disk: Pick<DiskConfig, "id">, layer: LayerConfig): string {
  const own = /^([0-9a-f]{8})\.qcow2$/.exec(basename(layer.file))?.[1];
  return `${disk.id}-${own ?? createHash("sha256").update(layer.file).digest("hex").slice(0, 8)}`;
}

/** The block node that a disk is written to by. */
export function topNode(disk: DiskConfig): string {
  const layer = disk.layers[disk.layers.length - 1];
  if (!layer) throw noFile(disk);
  return layerNode(disk, layer);
}

export function noFile(disk: Pick<DiskConfig, "id">): TerrariumError {
  return new TerrariumError("broken", `The disk ${disk.id} has no file.`, "Mend the disk's `layers` in machine.json.");
}

/** The machine's own layer that is written to, as an absolute path. */
export function topLayer(config: DiskConfig, folder: string): { file: string; format: "raw" | "qcow2" } {
  const layer = config.layers[config.layers.length - 1];
  if (!layer) throw noFile(config);
  return { file: layerFile(layer, folder), format: layer.format };
}

/** Every engine Terrarium knows, available or not. */
export class EngineTable {
  private qemu: Engine;
  private readonly changeEmitter = new Emitter<void>();
  /** An engine has become available, or is not any more. */
  readonly onDidChange: Event<void> = this.changeEmitter.event;

  constructor(
    private readonly v86: Engine,
    qemu: Engine,
  ) {
    this.qemu = qemu;
  }

  /** QEMU was found, or found missing. */
  setQemu(engine: Engine): void {
    const changed = JSON.stringify(engine.info) !== JSON.stringify(this.qemu.info);
    this.qemu = engine;
    if (changed) this.changeEmitter.fire();
  }

  /** What of a machine needs QEMU, in words; nothing when the built-in emulator can run it. */
  beyondBuiltIn(machine: EngineNeeds): string[] {
    return beyond(this.v86.info.capabilities, machine);
  }

  /** Whether QEMU would run the machine on a host that has one. */
  mayNeedQemu(machine: EngineNeeds): boolean {
    return engineFor(machine, this.v86.info, { ...this.qemu.info, available: true }) === "qemu";
  }

  list(): EngineInfo[] {
    return [this.v86.info, this.qemu.info];
  }

  /** The engine that runs `machine`. */
  resolve(machine: EngineNeeds): Engine {
    return engineFor(machine, this.v86.info, this.qemu.info) === "v86" ? this.v86 : this.qemu;
  }
}
