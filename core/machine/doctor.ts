import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { formatSize, MiB } from "../base/bytes";
import type { DoctorCheck, EngineInfo, HostInfo } from "../contract/model";
import { removeFile } from "../storage/atomicFile";
import { fileError } from "../storage/fileErrors";
import type { HostFacts } from "./hostFacts";
import type { RegisteredMachine } from "./machineFolders";
import type { Starter } from "./starter";

export interface DoctorContext {
  readonly home: string;
  readonly runDir: string;
  readonly facts: HostFacts;
  readonly engines: readonly EngineInfo[];
  /** What was found of QEMU, check by check. */
  readonly qemu: readonly DoctorCheck[];
  readonly starter: Starter;
  readonly fabric: DoctorCheck;
  readonly machines: readonly RegisteredMachine[];
  readonly networkModes: HostInfo["networkModes"];
}

const enoughDisk = 1024 * MiB;
const enoughMemoryMiB = 512;

/** Checks everything machines need on this host, by trying it where it can be tried. */
export async function runDoctor(context: DoctorContext): Promise<DoctorCheck[]> {
  return [await checkHome(context), checkDiskSpace(context), await checkRunDir(context), checkMemory(context), checkStarter(context), ...context.engines.map(checkEngine), ...context.qemu, checkNetworks(context), context.fabric, checkMachines(context)];
}

async function checkHome({ home }: DoctorContext): Promise<DoctorCheck> {
  const check = { id: "home", title: "Home" };
  const probe = join(home, `.probe-${process.pid}`);
  try {
    const file = await open(probe, "w", 0o600);
    try {
      await file.writeFile("x");
      await file.sync();
    } finally {
      await file.close();
      await removeFile(probe);
    }
    return { ...check, status: "ok", detail: `${home} can be written.` };
  } catch (failure) {
    const { message, remedy } = fileError(failure, "The home cannot be written", home);
    return { ...check, status: "error", detail: message, remedy };
  }
}

function checkDiskSpace({ facts, home }: DoctorContext): DoctorCheck {
  const check = { id: "disk", title: "Free disk space" };
  const detail = `${formatSize(facts.diskFreeBytes)} are free where ${home} is.`;
  if (facts.diskFreeBytes >= enoughDisk) return { ...check, status: "ok", detail };
  return { ...check, status: facts.diskFreeBytes < 64 * MiB ? "error" : "warning", detail, remedy: "Free some space, or move the home to another disk and set TERRARIUM_HOME." };
}

async function checkRunDir({ runDir }: DoctorContext): Promise<DoctorCheck> {
  const check = { id: "run-directory", title: "Folder for sockets" };
  try {
    const entry = await stat(runDir);
    const isOurs = process.getuid === undefined || (entry.uid === process.getuid() && (entry.mode & 0o077) === 0);
    if (isOurs) return { ...check, status: "ok", detail: `${runDir} is private.` };
    return { ...check, status: "error", detail: `${runDir} can be reached by other users.`, remedy: `Run: chmod 700 ${runDir}` };
  } catch (failure) {
    const { message } = fileError(failure, "The folder for sockets cannot be used", runDir, "read");
    return { ...check, status: "error", detail: message, remedy: "Start Terrarium again; it makes the folder anew." };
  }
}

function checkMemory({ facts }: DoctorContext): DoctorCheck {
  const check = { id: "memory", title: "Memory" };
  const detail = `${formatSize(facts.memoryAvailableMiB * MiB)} of ${formatSize(facts.memoryTotalMiB * MiB)} are free; ${facts.cpus} processors.`;
  if (facts.memoryAvailableMiB >= enoughMemoryMiB) return { ...check, status: "ok", detail };
  return { ...check, status: "warning", detail, remedy: "Close other programs before you start machines." };
}

function checkStarter({ starter }: DoctorContext): DoctorCheck {
  const check = { id: "starter", title: "Starter guest and firmware" };
  const { info } = starter;
  if (info.ready) return { ...check, status: "ok", detail: `Ready, with kernel ${info.kernelVersion}.` };
  return { ...check, status: "warning", detail: info.problem?.message ?? "The starter guest is missing.", remedy: info.problem?.remedy };
}

function checkEngine(engine: EngineInfo): DoctorCheck {
  const check = { id: `engine-${engine.id}`, title: engine.label };
  if (engine.available) return { ...check, status: "ok", detail: `Available: up to ${engine.capabilities.maxMemoryMiB} MB of memory and ${engine.capabilities.maxCpus} ${engine.capabilities.maxCpus === 1 ? "processor" : "processors"} a machine.` };
  return { ...check, status: "warning", detail: engine.problem?.message ?? "Not available.", remedy: engine.problem?.remedy };
}

function checkNetworks({ networkModes }: DoctorContext): DoctorCheck {
  const check = { id: "networks", title: "Network modes" };
  // "none" is a cable that leads nowhere: no network.
  const available = networkModes.filter(({ mode, available: usable }) => usable && mode !== "none").map(({ mode }) => mode);
  // Several modes may lack the same thing.
  const byReason = new Map<string, string[]>();
  for (const { mode, reason = "Not available on this computer." } of networkModes.filter((each) => !each.available)) byReason.set(reason, [...(byReason.get(reason) ?? []), mode]);
  const missing = [...byReason].map(([reason, modes]) => `Not available: ${modes.join(", ")}. ${reason}`);
  if (available.length === 0) return { ...check, status: "warning", detail: ["No network can be used.", ...missing].join(" "), remedy: "Machines run without one; bring files in and out on disks and CD images." };
  return { ...check, status: "ok", detail: [`Available: ${available.join(", ")}.`, ...missing].join(" ") };
}

function checkMachines({ machines }: DoctorContext): DoctorCheck {
  const check = { id: "machines", title: "Machines" };
  const broken = machines.filter((machine) => machine.problem !== undefined);
  if (broken.length === 0) return { ...check, status: "ok", detail: `${machines.length} ${machines.length === 1 ? "machine" : "machines"}, all readable.` };
  return { ...check, status: "error", detail: broken.map((machine) => `${machine.name}: ${machine.problem?.message}`).join(" "), remedy: broken[0]?.problem?.remedy };
}
