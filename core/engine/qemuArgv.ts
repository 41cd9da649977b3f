import { resolve } from "node:path";
import { TerrariumError } from "../contract/errors";
import type { AdapterConfig, Chipset, DiskConfig, MachineConfig } from "../contract/model";
import { sandboxArgument } from "./accelerator";
import { refusedArgument } from "./extraArguments";
import { adapterSlots, kernelArgs, layerFile, layerNode, noFile, topNode, type LaunchContext, type MonitorCommand } from "./engine";

/*
 * QEMU's command line for a machine, as a pure function of its configuration and of what this host's QEMU is (QEMU's
 * manual, "Invocation"; the QMP reference for -blockdev and -netdev, whose arguments are the commands' own, as JSON).
 *
 *   pcie.0 ─┬─ VGA, xHCI with tablet, virtio-rng, balloon, serial bus, panic device, AHCI with the CD drive
 *           ├─ port-disk0 … port-disk3   one root port a place, taken or spare: disks are plugged in live
 *           └─ port-net0  … port-net3    the same for adapters
 *   pci.0 (the mainboard of 1996) has slots in their stead: 0x10 to 0x13 for disks, 0x18 to 0x1b for adapters
 *
 * Ids: `disk0` is the disk's device (its layers' block nodes are `disk0-` and eight digits, see `layerNode`), `net0` the adapter's device (its netdev is `cable0`), `cd0`
 * the drive. Adapters are always stream netdevs on a Unix socket: QEMU listens, and goes on listening when whoever was
 * plugged in is gone.
 */

/** What of this host's QEMU the command line depends on. */
export interface QemuFacts {
  /** Versioned machine types that the chipsets' plain names stand for: "pc-q35-7.2". */
  readonly machineTypes: Readonly<Record<Chipset, string>>;
  /** `argument`: what -accel takes. */
  readonly accelerator: { readonly id: string; readonly argument: string; readonly cpuModel: string };
  /** It can confine itself with seccomp. */
  readonly sandbox: boolean;
  /** UEFI's code and the template of its variables, if the host has them. */
  readonly firmware: { readonly code: string; readonly codeFormat: "raw" | "qcow2"; readonly variables: string; readonly variablesFormat: "raw" | "qcow2"; readonly secureBoot: boolean } | undefined;
}

/** The place of the guest's UEFI variables in its folder. */
export const variablesFile = "nvram/variables.qcow2";

/** @throws TerrariumError when this host's QEMU lacks something the configuration asks for. */
export function qemuArgv(config: MachineConfig, context: LaunchContext, qemu: QemuFacts): string[] {
  const { sockets } = context;
  const { clock = "utc", extraArguments = [] } = config.hardware ?? {};
  const bus = deviceBus(chipset(config));
  const args = ["-nodefaults", "-no-user-config", "-name", `guest=${comma(config.name)}`, "-uuid", config.id, "-msg", "timestamp=on"];
  args.push("-machine", machineOption(config, qemu), "-accel", qemu.accelerator.argument);
  args.push("-cpu", cpuModel(config, qemu), "-smp", topology(config), "-m", `size=${config.memoryMiB}M`);
  args.push("-rtc", `base=${clock === "local" ? "localtime" : "utc"}`, "-boot", "strict=on", "-display", "none", "-pidfile", sockets.pidFile, "-S");
  // The guest's power-off and panic stop the machine and are dealt with from outside, by whichever host service is there then.
  args.push("-action", "reboot=reset,shutdown=pause,panic=pause");
  if (qemu.sandbox) args.push("-sandbox", sandboxArgument);
  args.push(...firmwareArgs(config, context, qemu), ...kernelArgs(config, context.guest));
  args.push("-chardev", `socket,id=monitor,path=${comma(sockets.monitor)},server=on,wait=off`, "-mon", "chardev=monitor,mode=control");
  args.push("-vnc", `unix:${comma(sockets.display)}`, "-device", json({ driver: "VGA", id: "vga0", bus, vgamem_mb: 32 }));
  args.push("-device", json({ driver: "qemu-xhci", id: "usb", bus }), "-device", json({ driver: "usb-tablet", id: "tablet", bus: "usb.0" }));
  args.push("-chardev", `socket,id=serial0,path=${comma(sockets.serial)},server=on,wait=off,logfile=${comma(context.serialLog)},logappend=on`, "-serial", "chardev:serial0");
  args.push("-device", json({ driver: "virtio-serial-pci", id: "ports", bus }), "-chardev", `socket,id=agent,path=${comma(sockets.agent)},server=on,wait=off`);
  args.push("-device", json({ driver: "virtserialport", id: "agent0", bus: "ports.0", chardev: "agent", name: "org.qemu.guest_agent.0" }));
  args.push("-device", json({ driver: "virtio-rng-pci", id: "rng0", bus }), "-device", json({ driver: "virtio-balloon-pci", id: "balloon0", bus, "free-page-reporting": true }));
  args.push("-device", json(chipset(config) === "q35" ? { driver: "pvpanic-pci", id: "panic0", bus } : { driver: "pvpanic" }));
  args.push("-device", json({ driver: "ich9-ahci", id: "sata", bus }), "-device", json({ driver: "virtio-scsi-pci", id: "scsi", bus }));
  if (chipset(config) === "q35") args.push(...rootPorts());
  const order = bootOrder(config);
  for (const disk of config.disks) args.push("-blockdev", json(diskNode(disk, context.folder)), "-device", json({ ...diskDevice(disk, chipset(config)), ...order.disk(disk) }));
  for (const drive of config.drives) args.push(...driveArgs(drive.medium, drive.id, order.drive));
  if (config.seed !== undefined) args.push(...seedArgs(resolve(context.folder, config.seed)));
  for (const [slot, adapter] of config.adapters.slice(0, adapterSlots).entries()) {
    args.push("-netdev", json(cable(slot, sockets.nets[slot])), "-device", json(cardDevice(adapter, slot, chipset(config))));
  }
  if (context.incoming) args.push("-incoming", "defer");
  const not = refusedArgument(extraArguments);
  if (not) throw new TerrariumError("invalid-input", `The extra argument ${not.argument} is refused: ${not.because}.`, "Take it out of the machine's extra arguments.");
  args.push(...extraArguments);
  return args;
}

/** What QEMU is told before the guest runs: cables that are not plugged, and limits. */
export function beforeStart(config: MachineConfig, links: readonly boolean[]): MonitorCommand[] {
  const pulled = config.adapters.slice(0, adapterSlots).flatMap((_, slot) => (links[slot] ? [] : [{ execute: "set_link", arguments: { name: `net${slot}`, up: false } }]));
  return [...pulled, ...config.disks.filter((disk) => disk.limits !== undefined).map(limitDisk)];
}

/** Everything a saved state depends on that the configuration leaves to the host, and the hardware that QEMU would not load it into. */
export function stateFacts(config: MachineConfig, qemu: QemuFacts): Record<string, string> {
  const { firmware = "bios", extraArguments = [] } = config.hardware ?? {};
  return {
    "machine type": machineType(config, qemu),
    "CPU model": cpuModel(config, qemu),
    "CPU topology": topology(config),
    accelerator: qemu.accelerator.id,
    firmware: firmware.toUpperCase(),
    ...Object.fromEntries(config.disks.map((disk) => [`bus of ${disk.id}`, disk.bus ?? "virtio"])),
    ...Object.fromEntries(config.adapters.map((adapter, slot) => [`model of adapter ${slot}`, adapter.model ?? "virtio"])),
    "disc for cloud-init": config.seed ?? "",
    "extra arguments": extraArguments.join(" "),
  };
}

/** A disk as block nodes: every layer is named, so that no image says itself what lies under it. */
export function diskNode(disk: DiskConfig, folder: string): Record<string, unknown> {
  let below: Record<string, unknown> | null = null;
  for (const [place, layer] of disk.layers.entries()) {
    const isTop = place === disk.layers.length - 1;
    below = {
      driver: layer.format,
      "node-name": layerNode(disk, layer),
      ...(isTop ? { discard: "unmap" } : { "read-only": true }),
      ...(layer.format === "qcow2" ? { backing: below } : {}),
      file: { driver: "file", filename: layerFile(layer, folder), ...(isTop ? { discard: "unmap" } : {}) },
    };
  }
  if (below === null) throw noFile(disk);
  return below;
}

/** A disk as the guest's device. A write or read that fails stops the machine instead of the guest. */
export function diskDevice(disk: DiskConfig, mainboard: Chipset): Record<string, unknown> {
  const common = { id: disk.id, drive: topNode(disk), serial: disk.id, werror: "stop", rerror: "stop" };
  const place = Number(disk.id.slice(-1));
  switch (disk.bus ?? "virtio") {
    case "virtio":
      return { driver: "virtio-blk-pci", ...slotOf(mainboard, "disk", place), ...common };
    case "sata":
      return { driver: "ide-hd", bus: `sata.${place}`, ...common };
    case "scsi":
      return { driver: "scsi-hd", bus: "scsi.0", "scsi-id": place, ...common };
  }
}

/** The netdev of an adapter: QEMU listens on the socket, and the fabric plugs itself in. */
export function cable(slot: number, socket: string | undefined): Record<string, unknown> {
  return { type: "stream", id: `cable${slot}`, server: true, addr: { type: "unix", path: socket } };
}

/** An adapter as the guest's device. */
export function cardDevice({ model, mac }: AdapterConfig, slot: number, mainboard: Chipset): Record<string, unknown> {
  return { driver: model === "e1000" ? "e1000" : "virtio-net-pci", id: `net${slot}`, netdev: `cable${slot}`, mac, ...slotOf(mainboard, "net", slot), romfile: "" };
}

/** QMP reference, block_set_io_throttle: all six are needed, and 0 is no limit. */
export function limitDisk(disk: DiskConfig): MonitorCommand {
  const { bytesPerSecond = 0, operationsPerSecond = 0 } = disk.limits ?? {};
  return { execute: "block_set_io_throttle", arguments: { id: throttleTarget(disk), bps: bytesPerSecond, bps_rd: 0, bps_wr: 0, iops: operationsPerSecond, iops_rd: 0, iops_wr: 0 } };
}

/** The block backend of a virtio disk belongs to the device inside the PCI device. */
function throttleTarget(disk: DiskConfig): string {
  return (disk.bus ?? "virtio") === "virtio" ? `/machine/peripheral/${disk.id}/virtio-backend` : disk.id;
}

export function chipset(config: MachineConfig): Chipset {
  return config.hardware?.chipset ?? "q35";
}

/** The versioned name of the mainboard. A version that is fixed in the configuration stays. */
export function machineType(config: MachineConfig, qemu: QemuFacts): string {
  const version = config.hardware?.machineVersion;
  if (version === undefined) return qemu.machineTypes[chipset(config)];
  return `pc-${chipset(config) === "q35" ? "q35" : "i440fx"}-${version}`;
}

function machineOption(config: MachineConfig, qemu: QemuFacts): string {
  const isUefi = config.hardware?.firmware === "uefi";
  const flash = isUefi ? ",pflash0=firmware-code,pflash1=firmware-variables" : "";
  return `${machineType(config, qemu)},usb=off,vmport=off${isUefi && qemu.firmware?.secureBoot ? ",smm=on" : ""}${flash}`;
}

function firmwareArgs(config: MachineConfig, context: LaunchContext, qemu: QemuFacts): string[] {
  if (config.hardware?.firmware !== "uefi") return [];
  if (!qemu.firmware) throw new TerrariumError("unavailable", "This machine starts with UEFI, and this computer has no UEFI firmware for QEMU.", "Install it (Debian, Ubuntu: ovmf; Fedora: edk2-ovmf), or give the machine a BIOS.");
  const { code, codeFormat } = qemu.firmware;
  return [
    "-blockdev", json({ driver: codeFormat, "node-name": "firmware-code", "read-only": true, file: { driver: "file", filename: code } }),
    "-blockdev", json({ driver: "qcow2", "node-name": "firmware-variables", backing: null, file: { driver: "file", filename: resolve(context.folder, variablesFile) } }),
  ];
}

function bootOrder(config: MachineConfig): { disk(disk: DiskConfig): { bootindex?: number }; drive: { bootindex?: number } } {
  if (config.boot.kind !== "firmware") return { disk: () => ({}), drive: {} };
  const cdFirst = config.boot.order === "cd";
  return { disk: (disk) => ({ bootindex: Number(disk.id.slice(-1)) + (cdFirst ? 1 : 0) }), drive: { bootindex: cdFirst ? 0 : config.disks.length + 4 } };
}

function driveArgs(medium: string | null, id: string, order: { bootindex?: number }): string[] {
  const device = { driver: "ide-cd", id, bus: "sata.5", ...order };
  if (medium === null) return ["-device", json(device)];
  return ["-blockdev", json({ driver: "raw", "node-name": `${id}-medium`, "read-only": true, file: { driver: "file", filename: medium } }), "-device", json({ ...device, drive: `${id}-medium` })];
}

/** Its label is what the guest finds it by, so the bus does not matter, and kernels for clouds know virtio only. */
function seedArgs(file: string): string[] {
  return ["-blockdev", json({ driver: "raw", "node-name": "seed", "read-only": true, file: { driver: "file", filename: file } }), "-device", json({ driver: "scsi-hd", id: "seed0", bus: "scsi.0", "scsi-id": 7, drive: "seed", serial: "seed" })];
}

function rootPorts(): string[] {
  const slots = [...Array.from({ length: 4 }, (_, place) => `disk${place}`), ...Array.from({ length: adapterSlots }, (_, place) => `net${place}`)];
  return slots.flatMap((slot, index) => ["-device", json({ driver: "pcie-root-port", id: `port-${slot}`, bus: "pcie.0", chassis: index + 1, port: index + 1 })]);
}

function deviceBus(mainboard: Chipset): string {
  return mainboard === "q35" ? "pcie.0" : "pci.0";
}

/** The first of four slots on the old mainboard's bus; the devices that every machine has are below. */
const pciSlots = { disk: 0x10, net: 0x18 };

/**
 * Where a device goes that can be plugged in live: a root port of its own, or a slot on the one bus of the old mainboard,
 * where all can. It is the same whether the device was there from the start or came later: a saved state counts on it.
 */
function slotOf(mainboard: Chipset, kind: "disk" | "net", place: number): { bus: string; addr?: string } {
  return mainboard === "q35" ? { bus: `port-${kind}${place}` } : { bus: "pci.0", addr: `0x${(pciSlots[kind] + place).toString(16)}` };
}

function cpuModel(config: MachineConfig, qemu: QemuFacts): string {
  return config.hardware?.cpuModel ?? qemu.accelerator.cpuModel;
}

/** One socket with all the processors as cores, which every system has a licence and a scheduler for, unless said otherwise. */
function topology(config: MachineConfig): string {
  const { sockets, cores, threads } = config.hardware?.topology ?? { sockets: 1, cores: config.cpus, threads: 1 };
  return `cpus=${config.cpus},sockets=${sockets},cores=${cores},threads=${threads},maxcpus=${config.cpus}`;
}

/** In an option's value a comma is written twice (qemu-options). */
function comma(text: string): string {
  return text.replace(/,/g, ",,");
}

function json(value: unknown): string {
  return JSON.stringify(value);
}
