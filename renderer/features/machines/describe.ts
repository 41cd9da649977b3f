import type { AdapterModel, Chipset, DiskBus, EngineInfo, FirmwareKind, GuestInfo, GuestSystem, MachineConfig, MachineInfo, PauseReason } from "../../../core/contract/model";
import { formatBytes, formatMiB, formatWhen, plural } from "../../ui/format";

export const pauseReasons: Readonly<Record<PauseReason, string>> = {
  user: "paused",
  snapshot: "paused for a snapshot",
  "disk-full": "paused: the host's disk is full",
  "io-error": "paused: a disk failed",
  "guest-panic": "paused: the guest panicked",
};

export const firmwareNames: Readonly<Record<FirmwareKind, string>> = { bios: "BIOS", uefi: "UEFI" };
export const chipsetNames: Readonly<Record<Chipset, string>> = { q35: "Q35 (PCI Express)", pc: "PC (i440FX, PCI)" };
export const busNames: Readonly<Record<DiskBus, string>> = { virtio: "virtio", sata: "SATA", scsi: "SCSI" };
export const modelNames: Readonly<Record<AdapterModel, string>> = { virtio: "virtio", e1000: "Intel E1000" };

/** The address to show first, and whether it is one. The second line of a machine's row. */
export function rowNote(machine: MachineInfo, now: number): { text: string; address: boolean } {
  const words = (text: string) => ({ text, address: false });
  switch (machine.state) {
    case "running": {
      if (machine.unresponsive) return words("not responding");
      const [first] = machine.guest.addresses;
      if (first) return { text: first.address, address: true };
      return words(machine.guest.agent === "waiting" ? "starting up" : "running");
    }
    case "paused":
      return words(pauseReasons[machine.pauseReason ?? "user"]);
    case "starting":
      return words("starting");
    case "stopping":
      return words("shutting down");
    case "saved":
      return words(`saved ${formatWhen(machine.since, now)}`);
    case "off":
      return words(`off, ${formatWhen(machine.since, now)}`);
    case "crashed":
    case "broken":
      return words(machine.problem?.message ?? machine.state);
  }
}

export function guestName(machine: MachineInfo): string {
  if (machine.guest.os !== undefined) return machine.guest.os;
  switch (machine.config?.boot.kind) {
    case "starter":
      return "Terrarium Linux, the starter";
    case "firmware":
      return machine.config.boot.order === "cd" ? "boots from its CD" : "boots from its first disk";
    case "kernel":
      return `Linux kernel ${fileName(machine.config.boot.kernel)}`;
    case undefined:
      return "unknown";
  }
}

/** The guest system by its name in the table; one that the table does not know (any more) by its id. */
export function systemText({ system }: MachineConfig, systems: readonly GuestSystem[]): string | undefined {
  return systems.find(({ id }) => id === system)?.label ?? system;
}

/** How to log in for the first time, as far as Terrarium has to do with it. */
export function loginText({ boot, seed, login }: MachineConfig): string | undefined {
  if (boot.kind === "starter") return "root, without a password; by SSH with Terrarium’s own key";
  if (seed === undefined) return undefined;
  return login === undefined ? "as set up with cloud-init" : `${login.user}, with the password or key given for it`;
}

const agents: Readonly<Record<GuestInfo["agent"], string>> = {
  none: "not running",
  waiting: "waiting for it",
  answering: "answering",
  silent: "does not answer",
};

export function agentText(guest: GuestInfo): string {
  return agents[guest.agent];
}

const origins = { cold: "by a cold boot", "pre-booted": "from a pre-booted state", saved: "from its saved state" } as const;

export function originText(from: NonNullable<MachineInfo["startedFrom"]>): string {
  return origins[from];
}

export function hardwareText(config: MachineConfig): string {
  const firmware = config.hardware?.firmware === "uefi" ? `, ${firmwareNames.uefi}` : "";
  return `${plural(config.cpus, "processor")}, ${formatMiB(config.memoryMiB)} memory${firmware}`;
}

/** "QEMU 7.2.18". */
export function engineName({ label, version }: EngineInfo): string {
  return version === undefined ? label : `${label} ${version}`;
}

export function disksText(config: MachineConfig): string {
  if (config.disks.length === 0) return "none";
  return config.disks.map((disk) => formatBytes(disk.sizeBytes)).join(" + ");
}

/** The last part of a host path, with either kind of slash. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path;
}
