import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { GiB, MiB, parseSize } from "../base/bytes";
import { AdapterModel, Chipset, DiskBus, EngineChoice, FirmwareKind, NetworkMode, type AdapterConfig, type FileInspection, type GuestSystem, type HardwareConfig, type Attachment, type MachineConfig, type MachinePatch, type MachineSpecInput } from "../contract/model";
import { UsageError } from "./verb";

/** What `create` is given, as it was typed. */
export interface CreateOptions {
  readonly template?: string;
  readonly engine?: string;
  readonly memory?: string;
  readonly cpus?: string;
  readonly disk?: readonly string[];
  readonly "disk-image"?: readonly string[];
  readonly "link-image"?: readonly string[];
  readonly "no-disk"?: boolean;
  readonly iso?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly net?: readonly string[];
  readonly system?: string;
  readonly firmware?: string;
  readonly grow?: string;
  readonly user?: string;
  readonly hostname?: string;
  readonly package?: readonly string[];
  readonly group?: string;
  readonly notes?: string;
}

/** What `create` has found out beside what was typed. */
export interface CreateFindings {
  /** The system that was named, or recognised in the image it is created from. */
  readonly system?: GuestSystem | undefined;
  /** The image it is created from. */
  readonly image?: FileInspection | undefined;
  /** Files of public SSH keys, by what they hold. */
  readonly authorizedKeys?: readonly string[];
  readonly password?: string | undefined;
}

const defaultMemoryMiB = { starter: 256, firmware: 512, kernel: 256 };
const starterDiskBytes = 2 * GiB;
const defaultCmdline = "console=tty0 console=ttyS0";

/** The specification `machine.create` takes. Whether it fits this host is for the host service to say. */
export function specFrom(name: string, options: CreateOptions, findings: CreateFindings = {}): MachineSpecInput {
  const { system } = findings;
  const boot = bootFrom(options);
  const bus = system && system.diskBus !== "virtio" ? { bus: system.diskBus } : {};
  const growTo = options.grow === undefined ? {} : { growTo: size("--grow", options.grow) };
  const images = [...(options["disk-image"] ?? []).map((path) => ({ image: resolve(path), mode: "copy" as const, ...growTo, ...bus })), ...(options["link-image"] ?? []).map((path) => ({ image: resolve(path), mode: "link" as const, ...bus }))];
  const sizes = (options.disk ?? []).map((text) => ({ sizeBytes: size("--disk", text), ...bus }));
  if (options.grow !== undefined && images.length === 0) throw new UsageError("--grow needs --disk-image.");
  const hardware = hardwareFrom(options, findings);
  if (options["no-disk"] && images.length + sizes.length > 0) throw new UsageError("--no-disk and a disk cannot be had together.");
  // As in the wizard: the starter keeps its data on a disk unless it is told otherwise.
  const ownDisk = boot.kind === "starter" && !options["no-disk"] && images.length + sizes.length === 0;
  return {
    name,
    engine: options.engine === undefined ? "auto" : oneOf("--engine", EngineChoice.options, options.engine),
    memoryMiB: options.memory === undefined ? (system?.memoryMiB ?? defaultMemoryMiB[boot.kind]) : memory("--memory", options.memory),
    cpus: options.cpus === undefined ? (system?.cpus ?? 1) : count("--cpus", options.cpus),
    boot,
    ...(system ? { system: system.id, arch: system.arch } : {}),
    ...(Object.keys(hardware).length > 0 ? { hardware } : {}),
    ...seedFrom(options, findings),
    disks: ownDisk ? [{ sizeBytes: starterDiskBytes }] : [...images, ...sizes],
    adapters: (options.net ?? ["nat"]).map((text) => {
      const attachment = attachmentFrom("--net", text);
      return { attachment, plugged: attachment.mode !== "none", ...(system && system.adapterModel !== "virtio" ? { model: system.adapterModel } : {}) };
    }),
    ...(options.iso === undefined ? {} : { medium: resolve(options.iso) }),
    ...(options.group === undefined ? {} : { group: options.group }),
    ...(options.notes === undefined ? {} : { notes: options.notes }),
  };
}

/** What was asked for, else what the system is usually given, as far as the image can start that way. */
function hardwareFrom({ firmware }: CreateOptions, { system, image }: CreateFindings): HardwareConfig {
  const starts = image?.firmwares;
  const usual = system && (starts === undefined || starts.length === 0 || starts.includes(system.firmware)) ? system.firmware : starts?.[0];
  const chosen = firmware === undefined ? usual : oneOf("--firmware", FirmwareKind.options, firmware);
  return { ...(chosen === "uefi" ? { firmware: chosen } : {}), ...(system?.clock === "local" ? { clock: "local" as const } : {}) };
}

function seedFrom({ user, hostname, package: packages = [] }: CreateOptions, { password, authorizedKeys = [] }: CreateFindings): Pick<MachineSpecInput, "seed"> {
  if (user === undefined) {
    if (hostname !== undefined || packages.length > 0 || password !== undefined || authorizedKeys.length > 0) throw new UsageError("--hostname, --package, --password-file and --ssh-key need --user.");
    return {};
  }
  if (password === undefined && authorizedKeys.length === 0) throw new UsageError("--user needs --password-file or --ssh-key, or nobody could log in.");
  return { seed: { user, authorizedKeys: [...authorizedKeys], ...(password === undefined ? {} : { password }), ...(hostname === undefined ? {} : { hostname }), ...(packages.length > 0 ? { packages: [...packages] } : {}) } };
}

function bootFrom(options: CreateOptions): MachineSpecInput["boot"] {
  const { template, kernel, initrd, cmdline, iso } = options;
  if (template !== undefined && template !== "starter") throw new UsageError(`There is no template "${template}". There is: starter.`);
  if (kernel !== undefined) {
    if (template !== undefined) throw new UsageError("--template and --kernel cannot be had together.");
    return { kind: "kernel", kernel: resolve(kernel), cmdline: cmdline ?? defaultCmdline, ...(initrd === undefined ? {} : { initrd: resolve(initrd) }) };
  }
  if (initrd !== undefined || cmdline !== undefined) throw new UsageError("--initrd and --cmdline need --kernel.");
  const hasImage = (options["disk-image"] ?? []).length + (options["link-image"] ?? []).length > 0;
  if (template === undefined && (iso !== undefined || hasImage)) return { kind: "firmware", order: iso === undefined ? "disk" : "cd" };
  return { kind: "starter" };
}

/** The settings `set` knows, for its help. */
export const settings: readonly (readonly [form: string, meaning: string])[] = [
  ["name=TEXT", "its name"],
  ["group=TEXT", "the group it is listed in; empty for none"],
  ["notes=TEXT", "notes"],
  ["engine=auto|v86|qemu", "what runs it"],
  ["memory=SIZE", "memory, like 512M"],
  ["cpus=N", "processors"],
  ["iso=FILE", "the image in the CD drive; empty to take it out"],
  ["boot=starter|disk|cd", "what it boots"],
  ["kernel=FILE initrd=FILE cmdline=TEXT", "boot this kernel"],
  ["net0=MODE[:NETWORK]", "where adapter 0 (to 3) is attached"],
  ["nic0=virtio|e1000", "the model of adapter 0 (to 3)"],
  ["bus0=virtio|sata|scsi", "the bus of disk 0 (to 3)"],
  ["limit0=SIZE", "what disk 0 (to 3) reads and writes a second at most; empty for no limit"],
  ["iops0=N", "operations a second of disk 0 (to 3) at most; empty for no limit"],
  ["firmware=bios|uefi", "what starts it"],
  ["chipset=q35|pc", "its mainboard"],
  ["clock=utc|local", "what its battery-backed clock shows"],
  ["cpu-model=TEXT", "a QEMU CPU model with features; empty for the usual one"],
  ["extra=ARGUMENTS", "more arguments for QEMU, between spaces (unsupported: they can break the machine)"],
];

/** Settings of the hardware, by the words of the command line. */
const hardwareSettings: Readonly<Record<string, (value: string) => HardwareConfig>> = {
  firmware: (value) => ({ firmware: oneOf("firmware", FirmwareKind.options, value) }),
  chipset: (value) => ({ chipset: oneOf("chipset", Chipset.options, value) }),
  clock: (value) => ({ clock: oneOf("clock", ["utc", "local"] as const, value) }),
  "cpu-model": (value) => ({ cpuModel: value }),
  extra: (value) => ({ extraArguments: value.split(/\s+/).filter((word) => word !== "") }),
};

/** A record of hardware with settings changed; an empty CPU model is the usual one. */
function withHardware(before: HardwareConfig, change: HardwareConfig): HardwareConfig {
  const next = { ...before, ...change };
  if (next.cpuModel === "") delete next.cpuModel;
  if (next.extraArguments?.length === 0) delete next.extraArguments;
  return next;
}

type DiskChange = NonNullable<MachinePatch["disks"]>[number];

/** `limit0=` and `iops0=` change one limit each and leave the other. */
function diskChange(key: string, index: string, value: string, before: DiskChange | undefined, config: MachineConfig | undefined): DiskChange {
  const id = `disk${index}`;
  const change: DiskChange = before ?? { id };
  if (key === "bus") return { ...change, bus: oneOf(`bus${index}`, DiskBus.options, value) };
  const limits = { ...(change.limits === undefined ? config?.disks.find((disk) => disk.id === id)?.limits : change.limits) };
  if (key === "limit") {
    if (value === "") delete limits.bytesPerSecond;
    else limits.bytesPerSecond = size(`limit${index}`, value);
  } else if (value === "") delete limits.operationsPerSecond;
  else limits.operationsPerSecond = count(`iops${index}`, value);
  return { ...change, limits: Object.keys(limits).length === 0 ? null : limits };
}

/** The change `key=value` words stand for. `config` is the machine's configuration as it is. */
export function patchFrom(words: readonly string[], config: MachineConfig | undefined): MachinePatch {
  const patch: MachinePatch = {};
  const boot: Partial<Record<"kernel" | "initrd" | "cmdline", string>> = {};
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 1) throw new UsageError(`"${word}" is no setting. Write it as key=value.`);
    const key = word.slice(0, at);
    const value = word.slice(at + 1);
    const adapter = /^net([0-3])$/.exec(key);
    const disk = /^(bus|limit|iops)([0-3])$/.exec(key);
    const card = /^nic([0-3])$/.exec(key);
    const hardware = Object.hasOwn(hardwareSettings, key) ? hardwareSettings[key] : undefined;
    if (hardware) patch.hardware = withHardware(patch.hardware ?? config?.hardware ?? {}, hardware(value));
    else if (disk) {
      const change = diskChange(disk[1]!, disk[2]!, value, patch.disks?.find(({ id }) => id === `disk${disk[2]}`), config);
      patch.disks = [...(patch.disks ?? []).filter(({ id }) => id !== change.id), change];
    } else if (card) {
      const adapters = patch.adapters ?? config?.adapters ?? [];
      if (config && !adapters[Number(card[1])]) throw new UsageError(`The machine has ${adapters.length} adapters.`);
      patch.adapters = adapters.map((each, index) => (index === Number(card[1]) ? { ...each, model: oneOf(key, AdapterModel.options, value) } : each));
    } else if (adapter) patch.adapters = withAttachment(patch.adapters ?? config?.adapters ?? [], Number(adapter[1]), attachmentFrom(key, value));
    else if (key === "kernel" || key === "initrd") boot[key] = value === "" ? "" : resolve(value);
    else if (key === "cmdline") boot.cmdline = value;
    else Object.assign(patch, plainSetting(key, value));
  }
  if (Object.keys(boot).length > 0) {
    if (patch.boot) throw new UsageError("boot= and kernel= cannot be had together.");
    patch.boot = kernelBoot(boot, config);
  }
  return patch;
}

function plainSetting(key: string, value: string): MachinePatch {
  switch (key) {
    case "name":
      return { name: value };
    case "group":
      return { group: value === "" ? null : value };
    case "notes":
      return { notes: value };
    case "engine":
      return { engine: oneOf(key, EngineChoice.options, value) };
    case "memory":
      return { memoryMiB: memory(key, value) };
    case "cpus":
      return { cpus: count(key, value) };
    case "iso":
      return { medium: value === "" ? null : resolve(value) };
    case "boot": {
      const what = oneOf(key, ["starter", "disk", "cd"] as const, value);
      return { boot: what === "starter" ? { kind: "starter" } : { kind: "firmware", order: what } };
    }
    default:
      throw new UsageError(`There is no setting "${key}". There are: ${settings.map(([form]) => form).join(", ")}.`);
  }
}

function kernelBoot(changed: Partial<Record<"kernel" | "initrd" | "cmdline", string>>, config: MachineConfig | undefined): MachineConfig["boot"] {
  const now = config?.boot.kind === "kernel" ? config.boot : undefined;
  const kernel = changed.kernel ?? now?.kernel;
  if (!kernel) throw new UsageError("initrd= and cmdline= need kernel=.");
  const initrd = changed.initrd ?? now?.initrd;
  return { kind: "kernel", kernel, cmdline: changed.cmdline ?? now?.cmdline ?? defaultCmdline, ...(initrd ? { initrd } : {}) };
}

function withAttachment(adapters: readonly AdapterConfig[], index: number, attachment: Attachment): AdapterConfig[] {
  const before = adapters[index];
  if (before === undefined && index !== adapters.length) throw new UsageError(`The machine has ${adapters.length} adapters; the next one is net${adapters.length}.`);
  const changed: AdapterConfig = { ...before, mac: before?.mac ?? freshMac(), attachment, plugged: attachment.mode !== "none" };
  return [...adapters.slice(0, index), changed, ...adapters.slice(index + 1)];
}

/** A random address in the range virtual machines use; the host service refuses one that is taken. */
function freshMac(): string {
  return ["52", "54", "00", ...[...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

export function attachmentFrom(where: string, text: string): Attachment {
  const at = text.indexOf(":");
  const mode = oneOf(where, NetworkMode.options, at < 0 ? text : text.slice(0, at));
  const network = at < 0 ? undefined : text.slice(at + 1);
  const named = mode === "nat-network" || mode === "internal" || mode === "host-only" || mode === "bridged";
  if (named && !network) throw new UsageError(`${where} ${mode} needs a name: ${mode}:NAME.`);
  if (!named && network !== undefined) throw new UsageError(`${where} ${mode} takes no name.`);
  return network === undefined ? { mode } : { mode, network };
}

export function size(where: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes <= 0) throw new UsageError(`${where}: "${text}" is no size. Write it like 512M or 2G.`);
  return bytes;
}

/** A bare number is MiB, because nobody means bytes. */
function memory(where: string, text: string): number {
  const bytes = parseSize(text, MiB);
  if (bytes === undefined || bytes <= 0 || bytes % MiB !== 0) throw new UsageError(`${where}: "${text}" is no amount of memory. Write it like 256M or 2G.`);
  return bytes / MiB;
}

/** @param most what is allowed at most, in whose unit the text is. */
export function count(where: string, text: string, most?: number): number {
  const wanted = most === undefined ? "a whole number above 0" : `a whole number from 1 to ${most}`;
  const number = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
  if (number === undefined || (most !== undefined && number > most)) throw new UsageError(`${where}: "${text}" is not ${wanted}.`);
  return number;
}

export function oneOf<T extends string>(where: string, allowed: readonly T[], text: string): T {
  const found = allowed.find((one) => one === text);
  if (found === undefined) throw new UsageError(`${where}: "${text}" is none of ${allowed.join(", ")}.`);
  return found;
}
