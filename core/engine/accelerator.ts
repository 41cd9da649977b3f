import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runBriefly, wordsOf, type BriefRun } from "./briefRun";
import { probeImage } from "./probeImage";
import { isSystemError, readBeginning } from "./smallFile";

/*
 * Which accelerators work? That a device opens, or that QEMU has one in its list, is no proof: on some hosts KVM opens
 * and guests then hang. So each is made to run 64-bit code of ours, with the processor model that machines get, and
 * counts when the code has come to the right result in time (see assets/probe).
 */

export interface Accelerator {
  readonly id: "kvm" | "hvf" | "whpx" | "tcg";
  /** `KVM` */
  readonly label: string;
  /** What `-accel` takes. */
  readonly argument: string;
  /** What `-cpu` takes: `host` with hardware, `max` with tcg. */
  readonly cpuModel: string;
  readonly works: boolean;
  /** Guests run about as fast as the computer. */
  readonly fast: boolean;
  /** Why it does not work, or is slow, and what would help; for people. */
  readonly reason?: string;
  readonly remedy?: string;
  /** What is said of it nobody has been able to check: no host with it has been tested yet. */
  readonly unverified?: boolean;
}

/** The hardware's accelerator, before it is known whether it works. */
interface Candidate {
  readonly id: Exclude<Accelerator["id"], "tcg">;
  readonly label: string;
  readonly argument: string;
  /** The first that QEMU knows is taken. */
  readonly cpuModels: readonly string[];
}

/** The emulator, which is there on every platform. */
const tcg = { id: "tcg", label: "TCG", argument: "tcg,thread=multi", cpuModel: "max", fast: false } as const;

/** The hardware's own, by platform. */
const hardware: Partial<Record<NodeJS.Platform, Candidate>> = {
  linux: { id: "kvm", label: "KVM", argument: "kvm", cpuModels: ["host"] },
  darwin: { id: "hvf", label: "HVF", argument: "hvf", cpuModels: ["host"] },
  // Its own interrupt controller loses the interrupts of PCI devices, and its `max` is more than it can do; `host` came late.
  win32: { id: "whpx", label: "WHPX", argument: "whpx,kernel-irqchip=off", cpuModels: ["host", "qemu64"] },
};

/** What QEMU must not be able to do on our behalf, as machines are started with it. */
export const sandboxArgument = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/** The probe's exit code when the result is right: isa-debug-exit makes 2 * 0x15 + 1 of what it is told. */
const rightCode = 43;
/** How long the probe may take: the emulator, which is always there, sets the measure for the hardware. */
const emulatorLimitMs = 10_000;
const hardwareLimitMs = 1000;

export interface ProbeContext {
  readonly binary: string;
  readonly env: NodeJS.ProcessEnv;
  readonly platform: NodeJS.Platform;
  /** The accelerators this QEMU was built with. */
  readonly builtIn: readonly string[];
  /** What the host says about KVM; asked on Linux only. */
  readonly kvm: KvmFacts;
  readonly signal?: AbortSignal | undefined;
}

export interface ProbedAccelerators {
  /** All for this platform, best first. */
  readonly accelerators: readonly Accelerator[];
  /** `-sandbox` works. */
  readonly sandbox: boolean;
}

/** Tries every accelerator of the platform. */
export async function probeAccelerators(context: ProbeContext): Promise<ProbedAccelerators> {
  const folder = await mkdtemp(join(tmpdir(), "terrarium-probe-"));
  try {
    const image = join(folder, "probe.bin");
    await writeFile(image, probeImage(), { mode: 0o600 });
    const emulated = await probeEmulator(context, image);
    const candidate = hardware[context.platform];
    // After the emulator, not beside it: what is measured here is whether it is quick enough.
    const native = candidate && (await probeHardware(context, image, candidate, emulated.durationMs));
    const slow = emulated.accelerator.works ? { ...emulated.accelerator, ...whySlow(native) } : emulated.accelerator;
    return { accelerators: native ? [native, slow] : [slow], sandbox: emulated.sandbox };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(context: ProbeContext, image: string, argument: string, cpuModel: string, limitMs: number, more: readonly string[] = []): Promise<BriefRun> {
  const machine = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", "q35", "-accel", argument, "-cpu", cpuModel, "-m", "16"];
  return runBriefly(context.binary, [...machine, "-bios", image, "-device", "isa-debug-exit,iobase=0xf4,iosize=4", ...more], { env: context.env, limitMs, signal: context.signal });
}

async function probeEmulator(context: ProbeContext, image: string): Promise<{ accelerator: Accelerator; sandbox: boolean; durationMs: number }> {
  const { id, label, argument, cpuModel } = tcg;
  if (!context.builtIn.includes(id)) return { accelerator: { ...tcg, works: false, reason: `This QEMU was built without ${label}.` }, sandbox: false, durationMs: 0 };
  // The sandbox is the kernel's (seccomp), so there is none elsewhere.
  const sandboxed = context.platform === "linux" ? await run(context, image, argument, cpuModel, emulatorLimitMs, ["-sandbox", sandboxArgument]) : undefined;
  const sandbox = sandboxed?.code === rightCode;
  const result = sandbox ? sandboxed : await run(context, image, argument, cpuModel, emulatorLimitMs);
  const { durationMs } = result;
  if (result.code === rightCode) return { accelerator: { ...tcg, works: true }, sandbox, durationMs };
  return { accelerator: { ...tcg, works: false, reason: `${label} does not work: ${whatHappened(result, emulatorLimitMs)}.` }, sandbox, durationMs };
}

async function probeHardware(context: ProbeContext, image: string, candidate: Candidate, emulatorMs: number): Promise<Accelerator> {
  const { id, label, argument, cpuModels } = candidate;
  const accelerator = { id, label, argument, cpuModel: cpuModels[0] ?? "host", works: false, fast: true, ...(id === "kvm" ? {} : { unverified: true }) };
  if (!context.builtIn.includes(id)) return { ...accelerator, ...notBuiltIn(candidate, context.platform) };
  if (id === "kvm" && context.kvm.device !== "opens") return { ...accelerator, ...kvmClosed(context.kvm) };

  // On a computer that is busy everything takes longer; hardware that takes longer than the emulator is none.
  const limitMs = Math.max(hardwareLimitMs, 2 * emulatorMs);
  for (const cpuModel of cpuModels) {
    const result = await run(context, image, argument, cpuModel, limitMs);
    if (result.code === rightCode) return { ...accelerator, cpuModel, works: true, unverified: true };
    const isUnknownModel = /CPU model '[^']*'/.test(result.stderr) && result.outcome === "exited";
    if (isUnknownModel && cpuModel !== cpuModels.at(-1)) continue;
    return { ...accelerator, cpuModel, ...doesNotWork(candidate, context.kvm, whatHappened(result, limitMs)) };
  }
  throw new Error(`${id} has no processor model`);
}

/** What came of a probe that did not succeed, as the rest of a sentence. */
function whatHappened(result: BriefRun, limitMs: number): string {
  const words = wordsOf(result);
  const saying = words === undefined ? "" : ` and said: ${words}`;
  switch (result.outcome) {
    case "timeout":
      return `64-bit test code did not get through within ${formatSeconds(limitMs)}${words === undefined ? "" : `; QEMU said: ${words}`}`;
    case "flooded":
      return "QEMU printed without end";
    case "cancelled":
      return "it was cancelled";
    case "not-started":
      return `QEMU could not be started: ${result.problem}`;
    case "exited":
      if (result.code === rightCode + 2) return "64-bit test code came to a wrong result";
      return result.signal === undefined ? `QEMU ended with code ${result.code}${saying}` : `QEMU died of ${result.signal}${saying}`;
  }
}

function formatSeconds(ms: number): string {
  const seconds = Math.round(ms / 100) / 10;
  return seconds === 1 ? "1 second" : `${seconds} seconds`;
}

interface Explanation {
  readonly reason: string;
  readonly remedy?: string;
}

function whySlow(native: Accelerator | undefined): Explanation {
  const reason = "Guests are translated in software, which is several times slower than hardware acceleration.";
  if (native === undefined || native.works) return { reason };
  return { reason: `${reason} ${native.reason}`, ...(native.remedy === undefined ? {} : { remedy: native.remedy }) };
}

function notBuiltIn({ label }: Candidate, platform: NodeJS.Platform): Explanation {
  const reason = `This QEMU was built without ${label} for x86-64 guests.`;
  if (platform === "darwin") return { reason, remedy: "On a Mac with an Apple processor there is none; on one with an Intel processor, run: brew reinstall qemu" };
  return { reason, remedy: "Install the QEMU that comes with this system, on a computer with an x86-64 processor." };
}

/** What the host says about KVM. */
export interface KvmFacts {
  /** What came of opening /dev/kvm: `opens`, or the system's error. */
  readonly device: string;
  /** Which instructions for virtual machines the processor has. */
  readonly virtualization: "vmx" | "svm" | undefined;
  /** This computer is itself a virtual machine. */
  readonly nested: boolean;
}

export async function readKvmFacts(device = "/dev/kvm", cpuInfo = "/proc/cpuinfo"): Promise<KvmFacts> {
  return { device: await openDevice(device), ...parseCpuFlags((await readBeginning(cpuInfo)) ?? "") };
}

async function openDevice(path: string): Promise<string> {
  try {
    await (await open(path, "r+")).close();
    return "opens";
  } catch (failure) {
    if (isSystemError(failure)) return failure.code ?? "error";
    throw failure;
  }
}

/** The flags of the first processor in /proc/cpuinfo. */
export function parseCpuFlags(cpuInfo: string): Pick<KvmFacts, "virtualization" | "nested"> {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuInfo)?.[1]?.split(" "));
  return { virtualization: flags.has("vmx") ? "vmx" : flags.has("svm") ? "svm" : undefined, nested: flags.has("hypervisor") };
}

const firmwareSetup = "switch on virtualization (Intel VT-x, AMD-V, SVM) in the computer's firmware settings";
const nestedSetup = "This computer is itself a virtual machine: switch on nested virtualization for it in what runs it, or use Terrarium on the computer outside.";

/** Why /dev/kvm does not open. */
export function kvmClosed({ device, virtualization, nested }: KvmFacts): Explanation {
  if (device === "EACCES") return { reason: "You have no permission to open /dev/kvm.", remedy: "Run `sudo usermod -aG kvm $USER`, then log out and in again." };
  if (device === "EPERM") return { reason: "This system forbids its programs to open /dev/kvm, as containers do.", remedy: "Give the container the device /dev/kvm, or use Terrarium outside of it." };
  if (device !== "ENOENT") return { reason: `/dev/kvm does not open: the system says ${device}.`, remedy: nested ? nestedSetup : `Restart the computer and ${firmwareSetup}.` };
  if (virtualization !== undefined) {
    const module = virtualization === "vmx" ? "kvm_intel" : "kvm_amd";
    return { reason: "There is no /dev/kvm, although the processor could: its kernel module is not loaded.", remedy: `Run \`sudo modprobe ${module}\`; if it refuses, ${firmwareSetup}.` };
  }
  if (nested) return { reason: "There is no /dev/kvm: this computer is itself a virtual machine and its processor is shown without virtualization.", remedy: nestedSetup };
  return { reason: "There is no /dev/kvm: the processor shows no virtualization.", remedy: `If the processor has it, ${firmwareSetup}.` };
}

function doesNotWork({ id, label }: Candidate, kvm: KvmFacts, what: string): Explanation {
  switch (id) {
    case "kvm":
      return {
        reason: `/dev/kvm opens, but KVM does not work on this computer: ${what}.`,
        remedy: kvm.nested ? nestedSetup : "Update the system's kernel and the computer's firmware; `sudo dmesg | grep -i kvm` may say more.",
      };
    case "hvf":
      return { reason: `${label} does not work on this computer: ${what}.`, remedy: "Install QEMU by Homebrew, whose QEMU is signed for it (brew reinstall qemu), and end other virtual machines." };
    case "whpx":
      return { reason: `${label} does not work on this computer: ${what}.`, remedy: "Switch on the Windows feature `Windows Hypervisor Platform` (optionalfeatures.exe), and virtualization in the firmware settings, then restart." };
  }
}
