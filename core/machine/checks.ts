import { constants } from "node:fs";
import { access, realpath, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { formatSize, MiB } from "../base/bytes";
import { unsupported, type EngineNeeds } from "../contract/engineChoice";
import { TerrariumError, type ErrorCode } from "../contract/errors";
import type { BootConfig, DiskSpec, EngineInfo, Finding, HostInfo, MachineConfig, MachinePatch, MachineSpec } from "../contract/model";
import { allocatedBytes } from "../storage/sparseCopy";
import { errno, isMissing } from "../storage/fileErrors";
import { asksForHelp, refusedArgument } from "../engine/extraArguments";
import { NetworkName, type Attachment, type NetworkConfig } from "../contract/network";
import { isNamed } from "./fabricState";
import { comparable } from "./folderName";
import type { HostFacts } from "./hostFacts";
import type { RegisteredMachine } from "./machineFolders";
import { modeWords } from "./networkPlan";
import { growRemedy, inspectFile, judgeImage, tooShort, type Purpose } from "./media";
import { kindOfChange, patched } from "./settings";
import type { Starter } from "./starter";

/** A finding with the code of the error it becomes. */
export interface CheckFinding extends Finding {
  readonly code: ErrorCode;
}

/** What specifications are checked against. */
export interface CheckContext {
  readonly facts: HostFacts;
  readonly machines: readonly RegisteredMachine[];
  readonly starter: Starter;
  readonly networkModes: HostInfo["networkModes"];
  readonly networks: readonly NetworkConfig[];
  /** Images can be copied into another format. */
  readonly canConvert: boolean;
  /** How to get the tool for that, where it is missing. */
  readonly installConverter?: string | undefined;
  /** The engine that would run a machine. May throw TerrariumError when there is none. */
  resolveEngine(machine: EngineNeeds): EngineInfo;
  /** What of a machine the built-in emulator cannot give it, in words. */
  beyondBuiltIn(machine: EngineNeeds): readonly string[];
}

/** The first finding that forbids going on, as an error; undefined when there is none. */
export function firstError(findings: readonly CheckFinding[]): TerrariumError | undefined {
  const finding = findings.find(({ level }) => level === "error");
  return finding && new TerrariumError(finding.code, finding.message, finding.remedy);
}

/** Collects findings about one machine. */
class Findings {
  readonly list: CheckFinding[] = [];

  constructor(readonly context: CheckContext) {}

  error(field: string, code: ErrorCode, message: string, remedy?: string): void {
    this.list.push({ field, level: "error", code, message, remedy });
  }

  warning(field: string, code: ErrorCode, message: string, remedy?: string): void {
    this.list.push({ field, level: "warning", code, message, remedy });
  }
}

/** Checks a machine to be created. */
export async function checkSpec(spec: MachineSpec, context: CheckContext): Promise<CheckFinding[]> {
  const findings = new Findings(context);
  checkName(findings, spec.name);
  const engine = checkEngine(findings, specNeeds(spec));
  if (engine) {
    checkHardware(findings, specNeeds(spec), engine);
    checkMemory(findings, spec, engine);
    checkCpus(findings, spec.cpus, engine);
    checkCount(findings, "disks", spec.disks.length, engine.capabilities.maxDisks);
  }
  checkMemoryForHost(findings, spec.memoryMiB, engine);
  await checkBoot(findings, spec.boot, spec.memoryMiB, engine);
  checkBootable(findings, spec.boot, spec.disks.length > 0, spec.medium !== undefined);
  await checkDiskSpecs(findings, spec.disks, engine);
  if (spec.medium !== undefined) await checkImage(findings, "medium", spec.medium, "medium");
  checkAdapters(findings, spec.adapters, engine);
  checkLogin(findings, spec);
  return findings.list;
}

/** Checks a change of a machine's settings; only what it changes is looked at. */
export async function checkPatch(machine: RegisteredMachine & { readonly config: MachineConfig }, patch: MachinePatch, context: CheckContext): Promise<CheckFinding[]> {
  const findings = new Findings(context);
  const { config } = machine;
  const after = patched(config, patch, config.disks);
  const { boot } = after;
  if (patch.name !== undefined) checkName(findings, patch.name, machine.id);
  const { hardware, adapters } = kindOfChange(config, patch);
  const hardwareChanges = hardware || adapters === "more";
  const engine = hardwareChanges ? checkEngine(findings, after) : engineOf(context, after);
  if (engine && hardwareChanges) {
    checkHardware(findings, after, engine);
    checkMemory(findings, after, engine);
    checkCpus(findings, after.cpus, engine);
  }
  if (patch.memoryMiB !== undefined) checkMemoryForHost(findings, patch.memoryMiB, engine);
  if (patch.boot !== undefined || patch.memoryMiB !== undefined) await checkBoot(findings, boot, after.memoryMiB, engine);
  const removed = patch.removeDisks ?? [];
  for (const id of [...removed, ...(patch.disks ?? []).map((disk) => disk.id)]) if (!config.disks.some((disk) => disk.id === id)) findings.error("disks", "not-found", `"${config.name}" has no disk ${id}.`, `Its disks are: ${config.disks.map((disk) => disk.id).join(", ") || "none"}.`);
  const added = patch.addDisks ?? [];
  if (engine && added.length > 0) checkCount(findings, "disks", config.disks.filter((disk) => !removed.includes(disk.id)).length + added.length, engine.capabilities.maxDisks);
  await checkDiskSpecs(findings, added, engine);
  if (typeof patch.medium === "string") await checkImage(findings, "medium", patch.medium, "medium");
  if (patch.adapters !== undefined) checkAdapters(findings, patch.adapters, engine, machine.id);
  return findings.list;
}

/** Checks whether a machine can start now: the host's free memory, and every file the machine needs. */
export async function checkStart(machine: RegisteredMachine & { readonly config: MachineConfig }, context: CheckContext): Promise<CheckFinding[]> {
  const findings = new Findings(context);
  const { config, folder } = machine;
  const engine = checkEngine(findings, config);
  if (engine) {
    checkHardware(findings, config, engine);
    checkMemory(findings, config, engine);
    checkCpus(findings, config.cpus, engine);
  }
  const { memoryAvailableMiB, diskFreeBytes } = context.facts;
  if (config.memoryMiB > memoryAvailableMiB) {
    findings.error("memoryMiB", "insufficient-resources", `"${config.name}" has ${megabytes(config.memoryMiB)} of memory, and this computer has ${megabytes(memoryAvailableMiB)} free.`, "Shut down other machines or programs, or give the machine less memory.");
  }
  if (diskFreeBytes < lowDiskBytes) findings.warning("disks", "disk-full", `Only ${formatSize(diskFreeBytes)} are free on the disk the machine is on.`, "Free some space, or the machine may stop when it writes.");
  await checkBoot(findings, config.boot, config.memoryMiB, engine);
  for (const [index, disk] of config.disks.entries()) await checkDisk(findings, `disks.${index}`, disk, folder, engine);
  for (const drive of config.drives) if (drive.medium !== null) await checkImage(findings, "medium", drive.medium, "medium", `Take it out of the drive: terrarium set "${config.name}" medium=`);
  checkAdapters(findings, config.adapters, engine, machine.id);
  return findings.list;
}

/** Below this a guest that writes will soon meet a full disk. */
const lowDiskBytes = 256 * MiB;

function megabytes(mib: number): string {
  return formatSize(mib * MiB);
}

function checkName(findings: Findings, name: string, exceptId?: string): void {
  const wanted = comparable(name);
  const holder = findings.context.machines.find((machine) => machine.id !== exceptId && comparable(machine.name) === wanted);
  if (holder) findings.error("name", "name-taken", `There is already a machine called "${holder.name}".`, "Choose another name.");
}

function engineOf(context: CheckContext, machine: EngineNeeds): EngineInfo | undefined {
  try {
    return context.resolveEngine(machine);
  } catch (failure) {
    if (failure instanceof TerrariumError) return undefined;
    throw failure;
  }
}

/** What a specification asks of an engine. A seed has no file yet. */
function specNeeds({ seed, ...spec }: MachineSpec): EngineNeeds {
  return { ...spec, ...(seed === undefined ? {} : { seed: "seed" }) };
}

/** Settings that the engine has nothing for, and a topology that does not add up. */
function checkHardware(findings: Findings, machine: EngineNeeds, engine: EngineInfo): void {
  for (const { field, what } of unsupported(machine, engine.capabilities)) {
    const missing = engine.capabilities.firmwares.length < 2 && field === "hardware.firmware" && engine.capabilities.ownFirmware;
    findings.error(field, "unsupported", `${engine.label} cannot give the machine ${what}${missing ? " on this computer: it is not installed" : ""}.`, missing ? "Install UEFI firmware for QEMU (Debian, Ubuntu: ovmf; Fedora: edk2-ovmf), or choose BIOS." : "Leave it out, or choose another engine.");
  }
  const { topology, cpuModel, extraArguments = [] } = machine.hardware ?? {};
  const not = engine.capabilities.expertSettings ? refusedArgument(extraArguments) : undefined;
  if (not) findings.error("hardware.extraArguments", "invalid-input", `The extra argument ${not.argument} is refused: ${not.because}.`, "Take it out.");
  if (cpuModel !== undefined && asksForHelp(cpuModel)) findings.error("hardware.cpuModel", "invalid-input", `“${cpuModel}” is no CPU model: QEMU would print a list and end.`, "Choose a CPU model, or leave it out.");
  if (topology && topology.sockets * topology.cores * topology.threads !== machine.cpus) {
    findings.error("hardware.topology", "invalid-input", `${topology.sockets} sockets with ${topology.cores} cores of ${topology.threads} threads are not ${machine.cpus} processors.`, "Make the numbers fit, or leave the topology out.");
  }
}

function checkEngine(findings: Findings, machine: EngineNeeds): EngineInfo | undefined {
  try {
    const engine = findings.context.resolveEngine(machine);
    if (!engine.available) {
      const because = machine.engine === "auto" ? findings.context.beyondBuiltIn(machine) : [];
      const need = because.length === 0 ? "" : `The machine has ${because.join(" and ")}, which takes ${engine.label}. `;
      findings.error("engine", engine.problem?.code ?? "unavailable", `${need}${engine.problem?.message ?? `${engine.label} is not available on this computer.`}`, engine.problem?.remedy);
    }
    return engine;
  } catch (failure) {
    if (!(failure instanceof TerrariumError)) throw failure;
    findings.error("engine", failure.code, failure.message, failure.remedy);
    return undefined;
  }
}

/** OVMF (2022.11) comes to its menu with 36 MiB and crashes with 32; what it needs grows with the machine's devices. */
const leastUefiMemoryMiB = 64;

function checkMemory(findings: Findings, { memoryMiB, hardware }: Pick<EngineNeeds, "memoryMiB" | "hardware">, engine: EngineInfo): void {
  const { minMemoryMiB, maxMemoryMiB } = engine.capabilities;
  if (memoryMiB < leastUefiMemoryMiB && hardware?.firmware === "uefi") findings.error("memoryMiB", "invalid-input", `With ${megabytes(memoryMiB)} of memory UEFI does not start.`, `Give it ${megabytes(leastUefiMemoryMiB)} or more, or choose BIOS.`);
  else if (memoryMiB < minMemoryMiB) findings.error("memoryMiB", "invalid-input", `${engine.label} needs at least ${megabytes(minMemoryMiB)} of memory for a machine.`, `Give it ${megabytes(minMemoryMiB)} or more.`);
  if (memoryMiB > maxMemoryMiB) findings.error("memoryMiB", "unsupported", `${engine.label} gives a machine at most ${maxMemoryMiB} MB of memory.`, `Choose ${maxMemoryMiB} MB or less, or another engine.`);
}

function checkMemoryForHost(findings: Findings, memoryMiB: number, engine: EngineInfo | undefined): void {
  // What the engine refuses anyway needs no second limit beside it.
  if (engine && memoryMiB > engine.capabilities.maxMemoryMiB) return;
  const { memoryTotalMiB, memoryAvailableMiB } = findings.context.facts;
  if (memoryMiB > memoryTotalMiB) {
    findings.error("memoryMiB", "insufficient-resources", `This computer has ${megabytes(memoryTotalMiB)} of memory; a machine cannot have ${megabytes(memoryMiB)}.`, `Choose at most ${megabytes(Math.floor(memoryTotalMiB * 0.75))}.`);
  } else if (memoryMiB > memoryAvailableMiB) {
    findings.warning("memoryMiB", "insufficient-resources", `Only ${megabytes(memoryAvailableMiB)} of memory are free now; the machine will not start until there is more.`, "Choose less, or free memory before you start it.");
  }
}

function checkCpus(findings: Findings, cpus: number, engine: EngineInfo): void {
  const { maxCpus } = engine.capabilities;
  if (cpus > maxCpus) findings.error("cpus", "unsupported", `${engine.label} gives a machine at most ${maxCpus} ${maxCpus === 1 ? "processor" : "processors"}.`, `Choose ${maxCpus}.`);
  else if (cpus > findings.context.facts.cpus) findings.warning("cpus", "insufficient-resources", `This computer has ${findings.context.facts.cpus} processors; more than that make a machine slower.`, `Choose at most ${findings.context.facts.cpus}.`);
}

function checkCount(findings: Findings, field: string, count: number, most: number): void {
  if (count > most) findings.error(field, "unsupported", `A machine has at most ${most} disks.`, "Take some out.");
}

/** A key is of use to those only who can reach the guest. */
function checkLogin(findings: Findings, { seed, adapters }: MachineSpec): void {
  if (seed === undefined || seed.password !== undefined || adapters.some(({ attachment, plugged }) => attachment.mode !== "none" && plugged)) return;
  findings.warning("seed", "invalid-input", `Nobody can log in as ${seed.user}: an SSH key needs a network, and no adapter of the machine is attached to one.`, "Give the login a password as well, or attach an adapter.");
}

async function checkBoot(findings: Findings, boot: BootConfig, memoryMiB: number, engine: EngineInfo | undefined): Promise<void> {
  if (boot.kind === "starter") {
    const { info, guest } = findings.context.starter;
    if (!guest) findings.error("boot", info.problem?.code ?? "unavailable", info.problem?.message ?? "The starter guest is missing.", info.problem?.remedy);
    else checkInitrdFits(findings, memoryMiB, guest.initrdBytes);
  } else if (boot.kind === "firmware") {
    if (engine?.capabilities.ownFirmware) return;
    // The firmware comes with the starter guest's packages.
    const { info, guest } = findings.context.starter;
    if (!guest) findings.error("boot", info.problem?.code ?? "unavailable", info.problem?.message ?? "The firmware is missing.", info.problem?.remedy);
  } else {
    const kernel = await checkImage(findings, "boot", boot.kernel, "kernel");
    if (kernel?.needs64Bit && engine && !engine.capabilities.x86_64) findings.error("boot", "image-unusable", `${boot.kernel} is a 64-bit kernel, and ${engine.label} runs 32-bit guests.`, "Choose a 32-bit kernel (Debian: linux-image-686), or another engine.");
    if (boot.initrd !== undefined) {
      const initrd = await checkImage(findings, "boot", boot.initrd, "initrd");
      if (initrd) checkInitrdFits(findings, memoryMiB, initrd.sizeBytes);
    }
  }
}

/** The kernel needs room for itself beside the packed RAM disk. */
function checkInitrdFits(findings: Findings, memoryMiB: number, initrdBytes: number): void {
  const least = 64 + Math.ceil(initrdBytes / MiB);
  if (memoryMiB < least) findings.error("memoryMiB", "invalid-input", `This guest needs at least ${least} MB of memory.`, `Give it ${least} MB or more.`);
}

function checkBootable(findings: Findings, boot: BootConfig, hasDisk: boolean, hasMedium: boolean): void {
  if (boot.kind === "firmware" && !hasDisk && !hasMedium) findings.warning("boot", "invalid-input", "The machine has neither a disk nor a medium to start from.", "Add a disk image, or an ISO.");
}

async function checkImage(findings: Findings, field: string, path: string, purpose: Purpose, remedy?: string): Promise<Awaited<ReturnType<typeof inspectFile>> | undefined> {
  const inspection = await inspectFile(path);
  const finding = judgeImage(inspection, purpose);
  if (finding?.level === "error") {
    findings.error(field, "image-unusable", finding.message, remedy ?? finding.remedy);
    return undefined;
  }
  if (finding) findings.warning(field, "image-unusable", finding.message, finding.remedy);
  return inspection;
}

async function checkDiskSpecs(findings: Findings, specs: readonly DiskSpec[], engine: EngineInfo | undefined): Promise<void> {
  const { context } = findings;
  const { facts, machines } = context;
  let copied = 0;
  const linked = new Set<string>();
  for (const [index, spec] of specs.entries()) {
    const field = `disks.${index}`;
    if ("sizeBytes" in spec) {
      checkNewDisk(findings, field, spec.sizeBytes);
      continue;
    }
    const inspection = await inspectFile(spec.image);
    const finding = judgeImage(inspection, "disk", { formats: engine?.capabilities.diskFormats ?? ["raw"], canConvert: context.canConvert && spec.mode === "copy", install: spec.mode === "copy" ? context.installConverter : undefined });
    if (finding) findings[finding.level](field, "image-unusable", finding.message, finding.remedy);
    if (finding?.level === "error") continue;
    if (spec.mode === "copy") {
      copied += await allocatedBytes(spec.image);
      const bytes = inspection.virtualBytes ?? (inspection.format === "unknown" ? inspection.sizeBytes : 0);
      if (spec.growTo !== undefined && spec.growTo < bytes) findings.error(field, "invalid-input", tooShort(spec.image, bytes, spec.growTo), growRemedy);
      else if (spec.growTo !== undefined) checkNewDisk(findings, field, spec.growTo);
      continue;
    }
    const real = await realpath(spec.image);
    const user = await imageUser(real, machines);
    if (user) findings.error(field, "locked", `${spec.image} is a disk of "${user}" already; two machines on one disk would destroy it.`, "Copy the image instead of using it in place.");
    if (linked.has(real)) findings.error(field, "locked", `${spec.image} is given twice.`, "Give each disk an image of its own.");
    linked.add(real);
    if (!(await mayWrite(real))) findings.error(field, "read-only", `${spec.image} cannot be written; a disk that is used in place must be.`, "Copy the image, or give yourself write permission for it.");
  }
  if (copied > facts.diskFreeBytes) findings.error("disks", "disk-full", `Copying the images takes ${formatSize(copied)}, and ${formatSize(facts.diskFreeBytes)} are free.`, "Free some space, or use the images in place.");
}

function checkNewDisk(findings: Findings, field: string, sizeBytes: number): void {
  const { diskFreeBytes, diskTotalBytes } = findings.context.facts;
  if (sizeBytes > diskTotalBytes) findings.error(field, "insufficient-resources", `A disk of ${formatSize(sizeBytes)} is larger than the whole disk of this computer (${formatSize(diskTotalBytes)}).`, `Choose at most ${formatSize(diskFreeBytes)}, which are free.`);
  else if (sizeBytes > diskFreeBytes) findings.warning(field, "disk-full", `Only ${formatSize(diskFreeBytes)} are free; a disk of ${formatSize(sizeBytes)} cannot be filled.`, "Choose a smaller disk, or free some space before it fills up.");
}

/** The machine one of whose disk files this is. */
async function imageUser(real: string, machines: readonly RegisteredMachine[]): Promise<string | undefined> {
  for (const machine of machines) {
    for (const layer of machine.config?.disks.flatMap((disk) => disk.layers) ?? []) {
      if ((await realpathIfThere(resolve(machine.folder, layer.file))) === real) return machine.name;
    }
  }
  return undefined;
}

async function realpathIfThere(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (failure) {
    if (errno(failure) === undefined) throw failure;
    return undefined; // Missing or unreachable: then it is not the file that was just inspected.
  }
}

async function mayWrite(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK | constants.W_OK);
    return true;
  } catch (failure) {
    if (errno(failure) === undefined) throw failure;
    return false;
  }
}

async function checkDisk(findings: Findings, field: string, disk: MachineConfig["disks"][number], folder: string, engine: EngineInfo | undefined): Promise<void> {
  for (const [index, layer] of disk.layers.entries()) {
    const path = resolve(folder, layer.file);
    if (engine && !engine.capabilities.diskFormats.includes(layer.format)) findings.error(field, "unsupported", `${engine.label} cannot use ${path}: it is in the format ${layer.format}.`, "Choose another engine, or convert the disk.");
    const fault = await diskFault(path, index === disk.layers.length - 1, layer.format === "raw" ? disk.sizeBytes : undefined);
    if (fault) findings.error(field, fault.code, `${disk.id}: ${fault.message}`, fault.remedy);
    // Whoever else had the image since it was given to the machine may have made it lead to other files. Layers above know what they lie on.
    else if (index === 0 && layer.format !== "raw") await checkWhole(findings, field, disk.id, path, layer.format);
  }
  const top = disk.layers[disk.layers.length - 1];
  const others = findings.context.machines.filter((machine) => machine.folder !== folder);
  const real = top && (await realpathIfThere(resolve(folder, top.file)));
  const user = real === undefined ? undefined : await imageUser(real, others);
  if (user) findings.error(field, "locked", `${disk.id}: ${real} is a disk of "${user}" as well; two machines on one disk would destroy it.`, "Copy the image, and use the copy in one of the two.");
}

async function checkWhole(findings: Findings, field: string, id: string, path: string, format: string): Promise<void> {
  const { format: found, noun, problem } = await inspectFile(path);
  if (problem) findings.error(field, "image-unusable", `${id}: ${problem.message}`, problem.remedy);
  else if (found !== format) findings.error(field, "image-unusable", `${id}: ${path} is ${noun}, and was a ${format.toUpperCase()} image.`, "Put the disk's file back.");
}

async function diskFault(path: string, isTop: boolean, sizeBytes: number | undefined): Promise<{ code: ErrorCode; message: string; remedy: string } | undefined> {
  try {
    const entry = await stat(path);
    if (!entry.isFile()) return { code: "image-unusable", message: `${path} is not a file.`, remedy: "Put the disk's file back." };
    if (sizeBytes !== undefined && Math.floor(entry.size / 512) * 512 < sizeBytes) {
      return { code: "image-unusable", message: `${path} has ${entry.size} bytes; the disk has ${sizeBytes}. A part of it is missing.`, remedy: "Put a complete copy of the file back." };
    }
    await access(path, isTop ? constants.R_OK | constants.W_OK : constants.R_OK);
    return undefined;
  } catch (failure) {
    if (isMissing(failure)) return { code: "image-unusable", message: `${path} is missing.`, remedy: "Put the file back, connect the drive it is on, or take the disk out of the machine." };
    if (errno(failure) === undefined) throw failure;
    return { code: "image-unusable", message: `${path} cannot be ${isTop ? "written" : "read"} (${errno(failure)}).`, remedy: `Give yourself permission for ${path}.` };
  }
}

const named: readonly string[] = ["nat-network", "internal", "host-only", "bridged"];

function checkAdapters(findings: Findings, adapters: MachineSpec["adapters"], engine: EngineInfo | undefined, machineId?: string): void {
  const { networkModes, machines } = findings.context;
  if (engine && adapters.length > engine.capabilities.maxAdapters) findings.error("adapters", "unsupported", `A machine has at most ${engine.capabilities.maxAdapters} adapters.`, "Take some out.");
  const seen = new Set<string>();
  for (const [index, { attachment, mac }] of adapters.entries()) {
    const field = `adapters.${index}`;
    const mode = networkModes.find((entry) => entry.mode === attachment.mode);
    if (mode && !mode.available) findings.error(field, "unavailable", `The network mode "${attachment.mode}" cannot be used: ${mode.reason ?? "it is not available on this computer."}`, mode.remedy ?? "Choose another mode for this adapter.");
    else if (named.includes(attachment.mode) && attachment.network === undefined) findings.error(field, "invalid-input", `The network mode "${attachment.mode}" needs the name of a network.`, "Name the network.");
    else if (isNamed(attachment)) checkNetwork(findings, field, attachment);
    if (mac === undefined) continue;
    const holder = machines.find((machine) => machine.id !== machineId && machine.config?.adapters.some((adapter) => adapter.mac === mac));
    if (holder) findings.warning(field, "invalid-input", `"${holder.name}" has an adapter with the same address ${mac}; on one network they would disturb each other.`, "Leave the address out, and a new one is made.");
    if (seen.has(mac)) findings.error(field, "invalid-input", `Two adapters have the address ${mac}.`, "Leave the address out, and a new one is made.");
    seen.add(mac);
  }
}

/** The network is there and is one of that kind. An internal network is made when somebody is attached to it. */
function checkNetwork(findings: Findings, field: string, { mode, network: name = "" }: Attachment): void {
  const { networks } = findings.context;
  const found = networks.find((network) => comparable(network.name) === comparable(name));
  if (found && found.mode !== mode) findings.error(field, "invalid-input", `The network ${found.name} is ${modeWords[found.mode]}.`, `Attach the adapter to ${found.mode}:${found.name}.`);
  else if (!found && mode === "internal" && !NetworkName.safeParse(name).success) findings.error(field, "invalid-input", `A network cannot be called "${name}".`, "A network's name has 1 to 32 letters, digits, spaces, dots, - and _.");
  else if (!found && mode !== "internal") {
    const others = networks.filter((network) => network.mode === mode).map((network) => network.name);
    findings.error(field, "not-found", `There is no network "${name}".`, others.length === 0 ? `Make it first: terrarium network create "${name}" --mode ${mode}` : `There are: ${others.join(", ")}.`);
  }
}
