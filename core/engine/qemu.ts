import { resolve } from "node:path";
import type { ErrorData } from "../contract/errors";
import { TerrariumError } from "../contract/errors";
import type { AcceleratorInfo, EngineCapabilities, EngineInfo, MachineConfig } from "../contract/model";
import { adapterSlots, topNode, type Engine, type LaunchPlan, type LiveChanges, type MonitorCommand } from "./engine";
import { liveLayers } from "./liveLayers";
import { beforeStart, cable, cardDevice, chipset, diskDevice, diskNode, limitDisk, machineType, qemuArgv, stateFacts, variablesFile } from "./qemuArgv";
import { isRecord } from "./qmp";
import type { QemuHost, QemuLookup } from "./qemuHost";
import { explainQemu } from "./qemuWords";

/** What QEMU can do on a host that has all of it. */
const fullCapabilities: EngineCapabilities = {
  smp: true,
  maxCpus: 64,
  minMemoryMiB: 16,
  maxMemoryMiB: 1024 * 1024,
  x86_64: true,
  chipsets: ["q35", "pc"],
  firmwares: ["bios", "uefi"],
  ownFirmware: true,
  diskBuses: ["virtio", "sata", "scsi"],
  adapterModels: ["virtio", "e1000"],
  expertSettings: true,
  seed: true,
  diskFormats: ["raw", "qcow2"],
  maxDisks: 4,
  maxAdapters: adapterSlots,
  networkModes: ["none", "nat", "nat-network", "internal", "host-only", "bridged"],
  preBooted: false,
  saveState: true,
  changeMediumLive: true,
  setLinkLive: true,
  hotPlugDisks: true,
  hotPlugAdapters: true,
  balloon: true,
  diskLimits: true,
  snapshots: "live",
  stateTransport: "socket",
};

const notLookedFor: ErrorData = { code: "unavailable", message: "Terrarium is still looking for QEMU on this computer.", remedy: "Try again in a moment." };

/** The engine that runs machines in QEMU. `lookup`: what was found on this host; absent while nobody has looked. */
export function qemuEngine(lookup?: QemuLookup): Engine {
  if (lookup === undefined) return absentQemu(notLookedFor);
  return lookup.ok ? presentQemu(lookup.value) : absentQemu(lookup.error);
}

function absentQemu(problem: ErrorData): Engine {
  return {
    id: "qemu",
    info: { id: "qemu", label: "QEMU", available: false, problem, capabilities: fullCapabilities },
    plan() {
      throw new TerrariumError(problem.code, problem.message, problem.remedy);
    },
    live: {},
  };
}

function presentQemu(host: QemuHost): Engine {
  return {
    id: "qemu",
    info: qemuInfo(host),
    plan: (config, context): LaunchPlan => {
      requireMachineType(config, host);
      return {
        command: host.binary,
        args: qemuArgv(config, context, host),
        env: {},
        before: beforeStart(config, context.links),
        files: config.hardware?.firmware === "uefi" && host.firmware ? [{ file: resolve(context.folder, variablesFile), format: "qcow2", template: host.firmware.variables, templateFormat: host.firmware.variablesFormat }] : [],
        facts: stateFacts(config, host),
      };
    },
    defaults: (config) => {
      const { hardware } = config;
      if (hardware?.machineVersion !== undefined) return config;
      const version = /-(\d+\.\d+)$/.exec(host.machineTypes[chipset(config)])?.[1];
      return version === undefined ? config : { ...config, hardware: { ...hardware, machineVersion: version } };
    },
    explain: explainQemu,
    live: liveChanges,
  };
}

function qemuInfo(host: QemuHost): EngineInfo {
  const { version, firmware } = host;
  return {
    id: "qemu",
    label: "QEMU",
    version: `${version.major}.${version.minor}.${version.micro}`,
    accelerator: acceleratorInfo(host),
    available: true,
    capabilities: {
      ...fullCapabilities,
      maxCpus: Math.min(fullCapabilities.maxCpus, host.maxCpus),
      firmwares: firmware ? ["bios", "uefi"] : ["bios"],
      stateTransport: host.fileMigration ? "file" : "socket",
    },
  };
}

/** What runs machines here, and, when that is slow, which quicker way is closed; why it is, and what would open it, is doctor's to say. */
function acceleratorInfo({ accelerator, accelerators }: QemuHost): AcceleratorInfo {
  const { label, fast } = accelerator;
  const closed = fast ? undefined : accelerators.find((other) => !other.works && other.id !== accelerator.id);
  return { label, fast, ...(closed ? { reason: `${closed.label} does not work here.` } : {}) };
}

function requireMachineType(config: MachineConfig, host: QemuHost): void {
  const wanted = machineType(config, host);
  if (host.allMachineTypes.includes(wanted)) return;
  throw new TerrariumError("unsupported", `“${config.name}” was made for the hardware ${wanted}, which QEMU ${host.version.text} does not know.`, "Install the QEMU it was made with or a newer one, or choose another machine version in its settings.");
}

const liveChanges: LiveChanges = {
  plugDisk: (disk, folder, config) => ({
    commands: [
      { execute: "blockdev-add", arguments: diskNode(disk, folder) },
      { execute: "device_add", arguments: diskDevice(disk, chipset(config)) },
      ...(disk.limits === undefined ? [] : [limitDisk(disk)]),
    ],
    undo: [closeNode(topNode(disk))],
  }),
  unplugDisk: (disk) => ({
    ask: { execute: "device_del", arguments: { id: disk.id } },
    device: disk.id,
  }),
  openNodes: {
    ask: { execute: "query-named-block-nodes", arguments: { flat: true } },
    names: (answer) => (Array.isArray(answer) ? answer.flatMap((node: unknown) => (isRecord(node) && typeof node["node-name"] === "string" ? [node["node-name"]] : [])) : []),
  },
  closeNode,
  limitDisk,
  adapters: {
    kind: "plugged",
    plug: (adapter, slot, config, socket) => ({
      clear: [{ execute: "netdev_del", arguments: { id: `cable${slot}` } }],
      commands: [
        { execute: "netdev_add", arguments: cable(slot, socket) },
        { execute: "device_add", arguments: cardDevice(adapter, slot, chipset(config)) },
        { execute: "set_link", arguments: { name: `net${slot}`, up: false } },
      ],
      undo: [{ execute: "netdev_del", arguments: { id: `cable${slot}` } }],
    }),
    unplug: (slot) => ({
      ask: { execute: "device_del", arguments: { id: `net${slot}` } },
      device: `net${slot}`,
      then: [{ execute: "netdev_del", arguments: { id: `cable${slot}` } }],
    }),
    plugged: {
      ask: { execute: "qom-list", arguments: { path: "/machine/peripheral" } },
      slots: (answer) => (Array.isArray(answer) ? answer.flatMap((entry: unknown) => slotNumber(isRecord(entry) ? entry["name"] : undefined)) : []),
    },
  },
  ...liveLayers,
};

function closeNode(name: string): MonitorCommand {
  return { execute: "blockdev-del", arguments: { "node-name": name } };
}

/** The slot of an adapter's device, by its id. */
function slotNumber(id: unknown): number[] {
  const digit = typeof id === "string" ? /^net([0-3])$/.exec(id)?.[1] : undefined;
  return digit === undefined ? [] : [Number(digit)];
}
