import { TerrariumError } from "../contract/errors";
import type { EngineInfo, MachineConfig } from "../contract/model";
import { adapterSlots, kernelArgs, topLayer, type Engine, type LaunchContext, type LaunchPlan } from "./engine";
import { isRecord } from "./qmp";

/** How the built-in emulator's machine process is started. */
export interface EmulatorRuntime {
  /** The program that runs JavaScript: plain Node, or Electron with `ELECTRON_RUN_AS_NODE`. */
  readonly node: string;
  readonly env: Readonly<Record<string, string>>;
  /** The machine process's bundle. */
  readonly emulator: string;
  /** Where machine processes keep compiled code for each other; it is made when missing. */
  readonly codeCache: string;
}

/** What the emulated PC can do; proven figures of the emulator, see its limits in `core/emulator`. */
export const v86Info: EngineInfo = {
  id: "v86",
  label: "Built-in emulator",
  available: true,
  capabilities: {
    smp: false,
    maxCpus: 1,
    minMemoryMiB: 32,
    maxMemoryMiB: 2047,
    x86_64: false,
    chipsets: ["pc"],
    firmwares: ["bios"],
    ownFirmware: false,
    diskBuses: ["virtio"],
    adapterModels: ["virtio"],
    expertSettings: false,
    seed: false,
    diskFormats: ["raw"],
    maxDisks: 4,
    maxAdapters: adapterSlots,
    networkModes: ["none", "nat", "nat-network", "internal", "host-only", "bridged"],
    preBooted: true,
    saveState: true,
    changeMediumLive: true,
    setLinkLive: true,
    hotPlugDisks: false,
    hotPlugAdapters: true,
    balloon: false,
    diskLimits: false,
    snapshots: "none",
    stateTransport: "file",
  },
};

export function v86Engine(runtime: EmulatorRuntime): Engine {
  return {
    id: "v86",
    info: v86Info,
    plan: (config, context): LaunchPlan => ({
      command: runtime.node,
      args: [runtime.emulator, ...v86Argv(config, context), "-code-cache", runtime.codeCache],
      env: runtime.env,
      before: [],
      files: [],
      facts: {},
    }),
    live: {
      adapters: {
        kind: "built-in",
        cards: {
          ask: { execute: "x-query-netstats" },
          macs: (answer) => (Array.isArray(answer) ? answer.map((card: unknown) => (isRecord(card) && typeof card["mac"] === "string" ? card["mac"] : "")) : []),
        },
        spareMac: ({ id }, slot) => unusedMac(id, slot),
      },
    },
  };
}

/**
 * The command line of the machine process: single-dash options with one value each, as QEMU writes them.
 * `-S` is always there: the machine process starts paused and `cont` over QMP lets the guest run.
 */
export function v86Argv(config: MachineConfig, context: LaunchContext): string[] {
  const { sockets } = context;
  const args = ["-name", config.name, "-uuid", config.id, "-m", String(config.memoryMiB), "-pidfile", sockets.pidFile, "-S"];
  const { firmware } = context.guest;
  if (!firmware) throw new TerrariumError("unavailable", "The firmware of the built-in emulator comes with the starter guest, which has not been built on this host.", "Run `npm start` again; it says what is missing.");
  args.push("-bios", firmware.bios, "-vgabios", firmware.vgabios);
  args.push(...kernelArgs(config, context.guest));
  if (config.boot.kind === "firmware") args.push("-boot", config.boot.order === "cd" ? "d" : "c");
  args.push("-monitor", sockets.monitor, "-vnc", sockets.display, "-serial", sockets.serial, "-serial-log", context.serialLog, "-agent", sockets.agent);
  args.push("-dump-dir", context.dumpDir);
  // The machine process numbers disks by their place, without gaps.
  for (const [place, disk] of config.disks.entries()) {
    const { file, format } = topLayer(disk, context.folder);
    if (disk.layers.length > 1 || format !== "raw") {
      throw new TerrariumError("unsupported", `The built-in emulator cannot use the disk ${disk.id}: it takes raw images without further layers.`, "Convert the disk to a raw image.");
    }
    args.push("-disk", JSON.stringify({ id: `disk${place}`, file, readOnly: false }));
  }
  for (const drive of config.drives) args.push("-cdrom", JSON.stringify({ id: drive.id, file: drive.medium }));
  for (let slot = 0; slot < adapterSlots; slot++) {
    const mac = config.adapters[slot]?.mac ?? unusedMac(config.id, slot);
    args.push("-net", JSON.stringify({ id: `net${slot}`, mac, link: context.links[slot] ?? false, path: sockets.nets[slot] }));
  }
  if (context.incoming) args.push("-incoming", "defer");
  return args;
}

/** The address of a slot without an adapter: from the machine's id, so that it is stable, and never in use twice. */
function unusedMac(id: string, slot: number): string {
  const digits = id.replace(/-/g, "").slice(-8);
  return `0e:${digits.slice(0, 2)}:${digits.slice(2, 4)}:${digits.slice(4, 6)}:${digits.slice(6, 8)}:f${slot}`;
}
