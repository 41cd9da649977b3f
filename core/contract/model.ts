import * as z from "zod";
import { ErrorShape } from "./errorShape";
import { AdapterConfig, AdapterModel, AdapterStatus, Attachment, MacAddress, MachineId, NetworkMode } from "./network";
import { SnapshotId } from "./snapshot";

export { AdapterConfig, AdapterModel, Attachment, MacAddress, MachineId, NetworkMode } from "./network";

/*
 * The nouns of Terrarium as data. Sizes of memory are MiB, sizes of disks bytes, times milliseconds since the Unix
 * epoch, paths absolute paths of the host.
 */

export const EngineId = z.enum(["v86", "qemu"]);
export type EngineId = z.infer<typeof EngineId>;
/** `auto` lets Terrarium choose. */
export const EngineChoice = z.enum(["auto", "v86", "qemu"]);
export type EngineChoice = z.infer<typeof EngineChoice>;

/** One file of a disk. `file` is relative to the machine's folder, or absolute for an image that is linked in place. */
export const LayerConfig = z.object({ file: z.string().min(1), format: z.enum(["raw", "qcow2"]) });
export type LayerConfig = z.infer<typeof LayerConfig>;

/** How the guest reaches a disk. */
export const DiskBus = z.enum(["virtio", "sata", "scsi"]);
export type DiskBus = z.infer<typeof DiskBus>;

/** What a disk may be used at most, reading and writing together. Absent: as fast as the host. */
export const DiskLimits = z.object({ bytesPerSecond: z.number().int().min(1024).optional(), operationsPerSecond: z.number().int().min(1).optional() });
export type DiskLimits = z.infer<typeof DiskLimits>;

export const DiskConfig = z.object({
  /** `disk0` to `disk3`: the place on the virtual bus. */
  id: z.string().regex(/^disk[0-3]$/),
  /** Virtual size in bytes, a multiple of 512. */
  sizeBytes: z.number().int().positive().multipleOf(512),
  /** Oldest first; the last one is written to. */
  layers: z.array(LayerConfig).min(1),
  /** Absent: virtio. */
  bus: DiskBus.optional(),
  limits: DiskLimits.optional(),
});
export type DiskConfig = z.infer<typeof DiskConfig>;

/** A CD drive and the medium in it. */
export const DriveConfig = z.object({ id: z.literal("cd0"), medium: z.string().nullable() });
export type DriveConfig = z.infer<typeof DriveConfig>;

/** A word of a command line. The system cuts one at a zero byte. */
const argument = z.string().regex(/^[^\0]*$/, "it has a zero byte, which no command line can");

export const BootConfig = z.discriminatedUnion("kind", [
  /** The starter guest that comes with Terrarium. */
  z.object({ kind: z.literal("starter") }),
  /** The firmware boots from a disk or a CD. */
  z.object({ kind: z.literal("firmware"), order: z.enum(["disk", "cd"]) }),
  /** A Linux kernel given by path. */
  z.object({ kind: z.literal("kernel"), kernel: z.string().min(1), initrd: z.string().min(1).optional(), cmdline: argument.max(2000) }),
]);
export type BootConfig = z.infer<typeof BootConfig>;

/** What a guest's processor must be able to run. */
export const GuestArch = z.enum(["i386", "x86_64"]);
export type GuestArch = z.infer<typeof GuestArch>;

export const FirmwareKind = z.enum(["bios", "uefi"]);
export type FirmwareKind = z.infer<typeof FirmwareKind>;

/** The emulated mainboard: PCI Express with AHCI (`q35`), or the PC of 1996 (`pc`). */
export const Chipset = z.enum(["q35", "pc"]);
export type Chipset = z.infer<typeof Chipset>;

/** Settings of the hardware that most machines leave alone. What is absent is the engine's choice. */
export const HardwareConfig = z
  .object({
    chipset: Chipset,
    /** The version of the chipset's machine type ("7.2"), fixed so that a guest sees the same hardware after an update of QEMU. */
    machineVersion: z.string().regex(/^\d{1,3}\.\d{1,3}$/, "a machine version is like 7.2"),
    firmware: FirmwareKind,
    /** A QEMU CPU model with its features: "host", "qemu64,+aes". */
    cpuModel: z.string().regex(/^[A-Za-z0-9_.+=,-]{1,200}$/, "a CPU model is a name and features, like qemu64,+aes"),
    topology: z.object({ sockets: z.number().int().min(1).max(64), cores: z.number().int().min(1).max(256), threads: z.number().int().min(1).max(8) }),
    /** What the guest takes its battery-backed clock to show. */
    clock: z.enum(["utc", "local"]),
    /** Arguments added to QEMU's command line, but for those that would take the machine out of Terrarium's hands. Unsupported: they can break the machine. */
    extraArguments: z.array(argument.min(1).max(2000)).max(64),
  })
  .partial();
export type HardwareConfig = z.infer<typeof HardwareConfig>;

/** The longest name a machine may have, in Unicode code points. */
export const maxNameLength = 120;

/** Free text in any script: no control characters, no line breaks, not blank, trimmed. */
export const MachineName = z
  .string()
  .transform((text) => text.normalize("NFC").trim())
  .refine((text) => text.length > 0, "give the machine a name")
  .refine((text) => [...text].length <= maxNameLength, `a name has at most ${maxNameLength} characters`)
  // eslint-disable-next-line no-control-regex -- control characters are exactly what is refused
  .refine((text) => !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text), "a name has no line breaks or control characters");

/** The version of `machine.json` this program writes. */
export const machineConfigVersion = 1;

/** `machine.json`. */
export const MachineConfig = z.object({
  version: z.literal(machineConfigVersion),
  id: MachineId,
  name: MachineName,
  /** Free text; machines with the same group are listed together. */
  group: z.string().max(120).optional(),
  notes: z.string().max(20_000).optional(),
  createdAt: z.number(),
  engine: EngineChoice,
  memoryMiB: z.number().int().min(16).max(1024 * 1024),
  cpus: z.number().int().min(1).max(256),
  boot: BootConfig,
  /** The guest system, by its name in the table of systems ("debian-12-amd64"). */
  system: z.string().max(64).optional(),
  /** Absent: not known. */
  arch: GuestArch.optional(),
  hardware: HardwareConfig.optional(),
  disks: z.array(DiskConfig).max(4),
  drives: z.array(DriveConfig).max(1),
  /** An image with first settings for the guest (cloud-init), which it sees as a read-only disk. Relative to the machine's folder. */
  seed: z.string().min(1).optional(),
  /** Who the seed lets in first, so that a person can look it up. The password is theirs alone to remember. */
  login: z.object({ user: z.string().min(1).max(64) }).optional(),
  adapters: z.array(AdapterConfig).max(4),
  /** The snapshot that the machine as it is now grew from. */
  snapshot: SnapshotId.optional(),
});
export type MachineConfig = z.infer<typeof MachineConfig>;

export const MachineState = z.enum(["off", "starting", "running", "paused", "saved", "stopping", "crashed", "broken"]);
export type MachineState = z.infer<typeof MachineState>;

export const PauseReason = z.enum(["user", "snapshot", "disk-full", "io-error", "guest-panic"]);
export type PauseReason = z.infer<typeof PauseReason>;

/** What an engine can do. The rest of the program asks this record, never the engine's name. */
export const EngineCapabilities = z.object({
  /** More than one processor. */
  smp: z.boolean(),
  maxCpus: z.number().int(),
  minMemoryMiB: z.number().int(),
  maxMemoryMiB: z.number().int(),
  /** 64-bit guests. */
  x86_64: z.boolean(),
  chipsets: z.array(Chipset),
  firmwares: z.array(FirmwareKind),
  /** It brings its BIOS; else that comes with the starter guest. */
  ownFirmware: z.boolean(),
  diskBuses: z.array(DiskBus),
  adapterModels: z.array(AdapterModel),
  /** CPU model, topology, clock and extra arguments can be set. */
  expertSettings: z.boolean(),
  /** A seed image is shown to the guest. */
  seed: z.boolean(),
  diskFormats: z.array(z.enum(["raw", "qcow2"])),
  maxDisks: z.number().int(),
  maxAdapters: z.number().int(),
  networkModes: z.array(NetworkMode),
  /** Instant start from a pre-booted state. */
  preBooted: z.boolean(),
  saveState: z.boolean(),
  changeMediumLive: z.boolean(),
  setLinkLive: z.boolean(),
  /** Disks can be added and taken out while the machine runs. */
  hotPlugDisks: z.boolean(),
  /** Adapters can be added and taken out while the machine runs. */
  hotPlugAdapters: z.boolean(),
  /** Memory can be taken from a running guest and given back. */
  balloon: z.boolean(),
  diskLimits: z.boolean(),
  /** Of which machines snapshots can be taken: of none, of those that do not run, or of all, with their memory. */
  snapshots: z.enum(["none", "off", "live"]),
  /** How memory and devices come out of the machine process: it writes the file itself, or sends them through a socket. */
  stateTransport: z.enum(["file", "socket"]),
});
export type EngineCapabilities = z.infer<typeof EngineCapabilities>;

/** What executes a guest's instructions. */
export const AcceleratorInfo = z.object({
  /** "KVM", "TCG (software)". */
  label: z.string(),
  /** At nearly the speed of the host. */
  fast: z.boolean(),
  /** Why it is slow, in a few words, and what would make it fast; doctor says both in full. */
  reason: z.string().optional(),
  remedy: z.string().optional(),
});
export type AcceleratorInfo = z.infer<typeof AcceleratorInfo>;

export const EngineInfo = z.object({
  id: EngineId,
  /** For people: "Built-in emulator". */
  label: z.string(),
  /** "7.2.18". */
  version: z.string().optional(),
  accelerator: AcceleratorInfo.optional(),
  available: z.boolean(),
  /** Why it is not available, and what to do. */
  problem: ErrorShape.optional(),
  capabilities: EngineCapabilities,
});
export type EngineInfo = z.infer<typeof EngineInfo>;

/** What the guest agent says about the guest. */
export const GuestInfo = z.object({
  agent: z.enum(["none", "waiting", "answering", "silent"]),
  hostname: z.string().optional(),
  /** "Debian GNU/Linux 12 (bookworm)", "Terrarium Linux 6.1". */
  os: z.string().optional(),
  /** Addresses by adapter number, without loopback and link-local ones. */
  addresses: z.array(z.object({ adapter: z.number().int(), address: z.string() })),
});
export type GuestInfo = z.infer<typeof GuestInfo>;

/** The least that a running guest may be left with of its memory, MiB. With less than it uses already a guest dies. */
export function leastGuestMemoryMiB(memoryMiB: number): number {
  return Math.min(memoryMiB, Math.max(64, Math.ceil(memoryMiB / 4)));
}

/** A machine as everyone but the disk sees it. */
export const MachineInfo = z.object({
  id: MachineId,
  /** The folder's absolute path. */
  folder: z.string(),
  /** The name to show; of a machine whose configuration is unreadable, the folder's name. */
  name: z.string(),
  state: MachineState,
  /** When the state began. */
  since: z.number(),
  /** When it was started, while it lives; pauses and other host services change nothing of that. */
  startedAt: z.number().optional(),
  pauseReason: PauseReason.optional(),
  /** The guest's screen or monitor has not answered for a while. */
  unresponsive: z.boolean(),
  /** Memory the running guest is left with, when some was taken from it, MiB. */
  balloonMiB: z.number().int().optional(),
  /** Why it is crashed or broken, and what to do. */
  problem: ErrorShape.optional(),
  /** Absent when the configuration is unreadable. */
  config: MachineConfig.optional(),
  /** The engine that runs it, or would. */
  engine: EngineInfo.optional(),
  guest: GuestInfo,
  /** The job that holds the machine. */
  jobId: z.string().optional(),
  /** How the running guest came up. */
  startedFrom: z.enum(["cold", "pre-booted", "saved"]).optional(),
  /** Of a running machine: its adapters, in their order. */
  network: z.array(AdapterStatus).optional(),
  /** Bytes that the machine's folder takes on the host, as of the last look. */
  hostBytes: z.number().optional(),
});
export type MachineInfo = z.infer<typeof MachineInfo>;

export const JobState = z.enum(["running", "done", "failed", "cancelled"]);
/** Long work: visible everywhere, can be cancelled, leaves things as they were when it is. */
export const JobInfo = z.object({
  id: z.string(),
  kind: z.enum(["create", "start", "shutdown", "save", "prepare-state", "empty-trash", "add-disks", "take-snapshot", "restore-snapshot", "merge-layers"]),
  /** "Start web-01". */
  title: z.string(),
  machineId: MachineId.optional(),
  state: JobState,
  /** 0 to 1, or absent while it cannot be told. */
  progress: z.number().min(0).max(1).optional(),
  /** What it is doing now: "Restoring the pre-booted state". */
  detail: z.string().optional(),
  cancellable: z.boolean(),
  startedAt: z.number(),
  endedAt: z.number().optional(),
  error: ErrorShape.optional(),
});
export type JobInfo = z.infer<typeof JobInfo>;

export const TrashEntry = z.object({
  id: z.string(),
  name: z.string(),
  machineId: MachineId,
  deletedAt: z.number(),
  bytes: z.number(),
  /** The folder its disks were moved to, when they were kept. */
  keptDisks: z.string().optional(),
  /** It is a snapshot of that machine, and not the machine. */
  snapshot: SnapshotId.optional(),
});
export type TrashEntry = z.infer<typeof TrashEntry>;

/** One disk of a machine to be created: an empty one, or an existing image. */
export const DiskSpec = z.union([
  z.object({ sizeBytes: z.number().int().positive(), bus: DiskBus.optional() }),
  /**
   * `copy` puts a copy into the machine's folder, converted when the engine cannot read its format; `link` uses the file
   * where it is (the machine then changes it). A copy is made `growTo` bytes long, which must not be less than it has.
   */
  z.object({ image: z.string().min(1), mode: z.enum(["copy", "link"]), bus: DiskBus.optional(), growTo: z.number().int().positive().optional() }),
]);
export type DiskSpec = z.infer<typeof DiskSpec>;

/** First settings for a cloud image, given to cloud-init. The password is hashed before anything is written. */
export const SeedSpec = z.object({
  user: z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, "a user name has small letters, digits, - and _"),
  password: z.string().min(1).max(200).optional(),
  authorizedKeys: z.array(z.string().min(1).max(16_384)).max(32).default([]),
  hostname: z.string().regex(/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/, "a host name has letters, digits and -").optional(),
  /** Packages that the guest's own package manager installs on the first start, by their names there. */
  packages: z.array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9+._:=~-]{0,127}$/, "the name of a package has letters, digits and + . _ : = ~ -")).max(100).optional(),
});
export type SeedSpec = z.infer<typeof SeedSpec>;

/** What the wizard and `terrarium create` ask for. */
export const MachineSpec = z.object({
  name: MachineName,
  group: z.string().max(120).optional(),
  notes: z.string().max(20_000).optional(),
  engine: EngineChoice.default("auto"),
  memoryMiB: z.number().int().min(1),
  cpus: z.number().int().min(1).default(1),
  boot: BootConfig,
  system: z.string().max(64).optional(),
  arch: GuestArch.optional(),
  hardware: HardwareConfig.optional(),
  disks: z.array(DiskSpec).max(4).default([]),
  /** An ISO in the CD drive. */
  medium: z.string().min(1).optional(),
  seed: SeedSpec.optional(),
  adapters: z.array(z.object({ attachment: Attachment, plugged: z.boolean().default(true), mac: MacAddress.optional(), model: AdapterModel.optional() })).max(4).default([]),
});
export type MachineSpec = z.infer<typeof MachineSpec>;
/** What a caller writes: defaults left out. */
export type MachineSpecInput = z.input<typeof MachineSpec>;

/** A change of settings; what is absent stays. */
export const MachinePatch = z
  .object({
    name: MachineName,
    group: z.string().max(120).nullable(),
    notes: z.string().max(20_000),
    engine: EngineChoice,
    memoryMiB: z.number().int().min(1),
    cpus: z.number().int().min(1),
    boot: BootConfig,
    system: z.string().max(64).nullable(),
    arch: GuestArch.nullable(),
    /** Replaces the whole record. */
    hardware: HardwareConfig,
    medium: z.string().min(1).nullable(),
    adapters: z.array(AdapterConfig).max(4),
    /** Settings of disks that are there; `limits: null` lifts them. Limits change at once, the bus only while off. */
    disks: z.array(z.object({ id: z.string(), bus: DiskBus.optional(), limits: DiskLimits.nullable().optional() })).max(4),
    /** While the machine runs only where the engine can. */
    addDisks: z.array(DiskSpec).max(4),
    /** Ids of disks to take out; a disk in the machine's folder is deleted with its contents, a linked image is left. */
    removeDisks: z.array(z.string()),
  })
  .partial()
  .strict();
export type MachinePatch = z.infer<typeof MachinePatch>;

/** A remark on a specification or a setting, checked against this host. */
export const Finding = z.object({
  /** The field it is about: `name`, `memoryMiB`, `cpus`, `engine`, `boot`, `disks.0`, `medium`, `adapters.0`. */
  field: z.string(),
  /** `error` forbids creating or starting; `warning` and `hint` do not. */
  level: z.enum(["error", "warning", "hint"]),
  message: z.string(),
  remedy: z.string().optional(),
});
export type Finding = z.infer<typeof Finding>;

/** What a file on the host is, by its content. */
export const FileInspection = z.object({
  path: z.string(),
  kind: z.enum(["iso", "disk", "kernel", "initrd", "unknown"]),
  /** `raw`, `iso9660`, `qcow2`, `vmdk`, `vdi`, `vhdx`, `bzImage`, `cpio`, `gzip`, ... */
  format: z.string(),
  sizeBytes: z.number(),
  /** The volume label of an ISO. */
  label: z.string().optional(),
  /** An ISO with an El Torito record, a disk with a boot signature. */
  bootable: z.boolean().optional(),
  /** What system it installs or holds: an id of `core/machine/systems.ts`. */
  system: z.string().optional(),
  /** The processor it is for, as far as the file tells. */
  arch: z.enum(["i386", "x86_64"]).optional(),
  /** What can start from an ISO (empty: nothing can), or what a raw disk is laid out for. */
  firmwares: z.array(z.enum(["bios", "uefi"])).optional(),
  /** The size a guest sees of a disk image, bytes. */
  virtualBytes: z.number().optional(),
  /** Why this computer cannot turn it into another format, for an engine that does not read its own, and what to install. */
  unconvertible: ErrorShape.optional(),
  /** Why it cannot be used. */
  problem: ErrorShape.optional(),
});
export type FileInspection = z.infer<typeof FileInspection>;

/** A system that may be a machine's guest, and what it is given when nobody says otherwise. */
export const GuestSystem = z.object({
  id: z.string(),
  label: z.string(),
  /** For lists: "Linux", "Windows". */
  group: z.string(),
  arch: GuestArch,
  memoryMiB: z.number().int(),
  cpus: z.number().int(),
  diskBytes: z.number().int(),
  firmware: FirmwareKind,
  diskBus: DiskBus,
  adapterModel: AdapterModel,
  clock: z.enum(["utc", "local"]),
});
export type GuestSystem = z.infer<typeof GuestSystem>;

/** The starter guest on this host. */
export const StarterInfo = z.object({
  ready: z.boolean(),
  /** The hash that identifies its build. */
  build: z.string().optional(),
  kernelVersion: z.string().optional(),
  /** What is missing and how to get it. */
  problem: ErrorShape.optional(),
});
export type StarterInfo = z.infer<typeof StarterInfo>;

export const HostInfo = z.object({
  version: z.string(),
  home: z.string(),
  /** `app`: in the desktop app; `headless`: `terrarium serve`. */
  servedBy: z.enum(["app", "headless"]),
  pid: z.number().int(),
  platform: z.string(),
  cpus: z.number().int(),
  memoryTotalMiB: z.number(),
  memoryAvailableMiB: z.number(),
  /** Free space of the file system the home is on. */
  diskFreeBytes: z.number(),
  engines: z.array(EngineInfo),
  starter: StarterInfo,
  /** The modes an adapter can be attached with today, on this host. */
  networkModes: z.array(z.object({ mode: NetworkMode, available: z.boolean(), reason: z.string().optional(), remedy: z.string().optional() })),
});
export type HostInfo = z.infer<typeof HostInfo>;

export const DoctorCheck = z.object({
  id: z.string(),
  title: z.string(),
  status: z.enum(["ok", "warning", "error"]),
  detail: z.string(),
  remedy: z.string().optional(),
});
export type DoctorCheck = z.infer<typeof DoctorCheck>;

/** Something a person should see although nobody asked: a guest that did not shut down, a machine process that died. */
export const Notice = z.object({
  id: z.string(),
  level: z.enum(["info", "warning", "error"]),
  message: z.string(),
  remedy: z.string().optional(),
  machineId: MachineId.optional(),
  at: z.number(),
});
export type Notice = z.infer<typeof Notice>;

/** How far apart the measurements of a machine are while somebody watches it, and how far back they reach, milliseconds. */
export const usageIntervalMs = 2000;
export const usageKeptMs = 5 * 60_000;

const rate = z.number().min(0);

/** What a machine used at a moment, or since the measurement before. What is not known is absent. */
export const UsageSample = z.object({
  at: z.number(),
  /** Cores of the host that the machine process kept busy: 1 is one core, all of the time. */
  cpu: rate.optional(),
  /** Memory of the host that the machine process holds. */
  residentBytes: rate.optional(),
  /** The guest's own figures. `availableBytes`: what programs in it could still have. */
  guestMemory: z.object({ totalBytes: rate, availableBytes: rate }).optional(),
  /** All disks and drives together, a second. */
  disk: z.object({ readBytes: rate, writtenBytes: rate, reads: rate, writes: rate }).optional(),
  /** All adapters together, a second, as the guest counts them. */
  network: z.object({ receivedBytes: rate, sentBytes: rate }).optional(),
});
export type UsageSample = z.infer<typeof UsageSample>;

/** Measurements of a machine, oldest first, and why some of their fields are absent now. */
export const UsageReport = z.object({
  samples: z.array(UsageSample),
  absent: z.object({ cpu: z.string(), residentBytes: z.string(), guestMemory: z.string(), disk: z.string(), network: z.string() }).partial(),
});
export type UsageReport = z.infer<typeof UsageReport>;
