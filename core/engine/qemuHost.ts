import type { Log } from "../base/log";
import { toErrorData, type ErrorData } from "../contract/errors";
import type { DoctorCheck } from "../contract/model";
import { probeAccelerators, readKvmFacts, type Accelerator, type KvmFacts } from "./accelerator";
import { runBriefly, wordsOf, type BriefRun } from "./briefRun";
import { findFirmware, type FirmwareImage } from "./firmware";
import { beside, findBinary, firstFile, inFolder, places } from "./qemuBinary";
import { cacheKey, readCache, writeCache } from "./qemuCache";
import { installation, type Installation } from "./qemuPackages";
import { fileMigrationQemu, isAtLeast, machineTypesArgs, machineTypesQuestion, oldestQemu, parseAccelerators, parseDataFolders, parseMachineTypes, parseVersion, type QemuVersion } from "./qemuVersion";
import { isSystemError, readBeginning } from "./smallFile";

export type { Accelerator } from "./accelerator";
export type { FirmwareImage } from "./firmware";

/** The QEMU of this computer and what it can do. */
export interface QemuHost {
  readonly binary: string;
  /** qemu-img */
  readonly img: string | undefined;
  readonly version: QemuVersion;
  /** The versioned names that `q35` and `pc` stand for: a state saved on one of these is understood by another version too. */
  readonly machineTypes: { readonly q35: string; readonly pc: string };
  readonly allMachineTypes: readonly string[];
  /** `-sandbox` is there and works. */
  readonly sandbox: boolean;
  /** `migrate` takes a `file:` address. */
  readonly fileMigration: boolean;
  readonly firmware: FirmwareImage | undefined;
  /** QEMU has its BIOS. */
  readonly biosFirmware: boolean;
  /** All for this platform, best first. */
  readonly accelerators: readonly Accelerator[];
  /** The one machines use. */
  readonly accelerator: Accelerator;
  readonly maxCpus: number;
  /** How a person installs a part that is missing. */
  readonly install: Installation;
}

export type QemuLookup = { readonly ok: true; readonly value: QemuHost } | { readonly ok: false; readonly error: ErrorData };

export interface QemuLookupOptions {
  /** `TERRARIUM_QEMU` names a qemu-system-x86_64 for people with a build of their own. */
  readonly env: NodeJS.ProcessEnv;
  readonly platform: NodeJS.Platform;
  /** Where the answer is kept, see qemuCache.ts. */
  readonly cacheFile: string;
  /** Find out anew although an answer is kept. */
  readonly fresh?: boolean;
  /** How long QEMU may take to tell about itself, milliseconds. */
  readonly limitMs?: number;
  readonly signal?: AbortSignal;
  readonly log: Log;
}

/** What only running QEMU tells, and what is therefore kept. */
interface Found {
  readonly version: QemuVersion;
  readonly machineTypes: QemuHost["machineTypes"];
  readonly allMachineTypes: readonly string[];
  readonly maxCpus: number;
  readonly dataFolders: readonly string[];
  readonly accelerators: readonly Accelerator[];
  readonly sandbox: boolean;
}

/** More processors than a byte can number need an interrupt controller that machines are not given. */
const mostCpus = 255;
const usualLimitMs = 10_000;

/**
 * Finds this computer's QEMU and tries what it can do. An answer that is kept costs a few file lookups and starts no
 * process. Never rejects: what stands in the way is the answer.
 */
export async function findQemu(options: QemuLookupOptions): Promise<QemuLookup> {
  try {
    return await lookUp(options);
  } catch (failure) {
    return { ok: false, error: isSystemError(failure) ? { code: "io", message: `QEMU could not be looked up: ${failure.message}` } : toErrorData(failure) };
  }
}

async function lookUp(options: QemuLookupOptions): Promise<QemuLookup> {
  const { env, platform, cacheFile, fresh = false, log } = options;
  const install = installation(platform, platform === "linux" ? ((await readBeginning("/etc/os-release")) ?? "") : "");
  const binary = await findBinary(env, platform, install);
  if (typeof binary !== "string") return { ok: false, error: binary };

  const kvm = platform === "linux" ? await readKvmFacts() : { device: "none", virtualization: undefined, nested: false };
  const key = await cacheKey(binary, [platform, kvm.device]);
  let found = fresh ? undefined : ((await readCache(cacheFile, key, log)) as Found | undefined);
  if (found === undefined) {
    const asked = await askQemu(binary, options, kvm, install);
    if (!asked.ok) return asked;
    found = asked.found;
    // What does not run at all may be mended without anything changing that the key knows of.
    if (found.accelerators.some((each) => each.works)) await writeCache(cacheFile, key, found, log);
    log.info(`${binary} is QEMU ${found.version.text}; ${found.accelerators.map((each) => (each.works ? `${each.label} works` : each.reason)).join("; ")}`);
  }

  const { version, machineTypes, allMachineTypes, accelerators, sandbox, maxCpus, dataFolders } = found;
  const accelerator = accelerators.find((each) => each.works);
  if (accelerator === undefined) {
    return failed("engine-failed", `QEMU (${binary}) cannot run machines. ${accelerators.map((each) => each.reason).join(" ")}`, accelerators.find((each) => each.remedy)?.remedy ?? install.qemu);
  }
  const [firmware, img, bios] = await Promise.all([
    findFirmware({ env, platform, machine: machineTypes.q35, dataFolders }),
    firstFile([beside(binary, "qemu-img", platform), ...places("qemu-img", env, platform)]),
    firstFile(dataFolders.map((folder) => inFolder(folder, "bios-256k.bin", platform))),
  ]);
  return { ok: true, value: { binary, img, version, machineTypes, allMachineTypes, sandbox, fileMigration: isAtLeast(version, fileMigrationQemu), firmware, biosFirmware: bios !== undefined, accelerators, accelerator, maxCpus, install } };
}

/** Runs QEMU and asks it everything. */
async function askQemu(binary: string, { env, platform, signal, limitMs = usualLimitMs }: QemuLookupOptions, kvm: KvmFacts, install: Installation): Promise<{ ok: true; found: Found } | Extract<QemuLookup, { ok: false }>> {
  const ask = (args: readonly string[], input?: string): Promise<BriefRun> => runBriefly(binary, args, { env, limitMs, signal, ...(input === undefined ? {} : { input }) });
  const [versionRun, acceleratorsRun, foldersRun, machinesRun] = await Promise.all([ask(["--version"]), ask(["-accel", "help"]), ask(["-L", "help"]), ask(machineTypesArgs, machineTypesQuestion)]);
  if (signal?.aborted) return cancelled;

  const version = versionRun.code === 0 ? parseVersion(versionRun.stdout) : undefined;
  if (version === undefined) return notQemu(binary, versionRun, limitMs, install);
  if (!isAtLeast(version, oldestQemu)) {
    return failed("unavailable", `QEMU ${version.text} (${binary}) is too old: machines need QEMU ${oldestQemu.major}.${oldestQemu.minor} or later.`, `Install a newer QEMU and name it with TERRARIUM_QEMU, or update the system. The built-in emulator works without QEMU.`);
  }
  for (const run of [acceleratorsRun, foldersRun, machinesRun]) if (run.code !== 0) return notQemu(binary, run, limitMs, install);
  const machines = parseMachineTypes(machinesRun.stdout);
  if (machines === undefined) return failed("unavailable", `${binary} is not QEMU for x86-64 PCs: it knows no machine called q35.`, install.qemu);

  const { accelerators, sandbox } = await probeAccelerators({ binary, env, platform, builtIn: parseAccelerators(acceleratorsRun.stdout), kvm, signal });
  if (signal?.aborted) return cancelled;
  return {
    ok: true,
    found: {
      version,
      machineTypes: { q35: machines.q35, pc: machines.pc },
      allMachineTypes: machines.all,
      maxCpus: Math.min(machines.q35MaxCpus, mostCpus),
      dataFolders: parseDataFolders(foldersRun.stdout),
      accelerators,
      sandbox,
    },
  };
}

const cancelled = failed("cancelled", "Looking for QEMU was cancelled.");

function failed(code: ErrorData["code"], message: string, remedy?: string): Extract<QemuLookup, { ok: false }> {
  return { ok: false, error: { code, message, ...(remedy === undefined ? {} : { remedy }) } };
}

/** The program did not say what QEMU says. */
function notQemu(binary: string, run: BriefRun, limitMs: number, { qemu: remedy }: Installation): Extract<QemuLookup, { ok: false }> {
  const words = wordsOf(run);
  const saying = words === undefined ? "" : ` It said: ${words}.`;
  switch (run.outcome) {
    case "not-started":
      return failed("engine-failed", `QEMU (${binary}) could not be started: ${run.problem}.`, remedy);
    case "timeout":
      return failed("timeout", `QEMU (${binary}) did not answer within ${limitMs / 1000} seconds.${saying}`, `Try \`${binary} --version\` by hand. ${remedy}`);
    case "flooded":
      return failed("engine-failed", `${binary} prints without end and cannot be QEMU.`, remedy);
    case "cancelled":
      return cancelled;
    case "exited": {
      if (run.code === 0) return failed("engine-failed", `${binary} is not QEMU.${saying}`, remedy);
      const ending = run.signal === undefined ? `ended with code ${run.code}` : `died of ${run.signal}`;
      return failed("engine-failed", `QEMU (${binary}) does not run: it ${ending}.${saying}`, remedy);
    }
  }
}

/** What `terrarium doctor` says of QEMU, each lack with its remedy. */
export function doctorChecks(lookup: QemuLookup, platform: NodeJS.Platform = process.platform): DoctorCheck[] {
  if (!lookup.ok) return [{ id: "qemu", title: "QEMU", status: "warning", detail: lookup.error.message, remedy: lookup.error.remedy }];
  const qemu = lookup.value;
  const { version, binary, machineTypes, maxCpus, img, firmware, accelerator } = qemu;
  return [
    { id: "qemu", title: "QEMU", status: "ok", detail: `${version.text}, ${binary}; machine types ${machineTypes.q35} and ${machineTypes.pc}, up to ${maxCpus} processors.` },
    img === undefined
      ? { id: "qemu-img", title: "qemu-img", status: "warning", detail: "It is not there: disk images of other programs cannot be converted.", remedy: qemu.install.img }
      : { id: "qemu-img", title: "qemu-img", status: "ok", detail: img },
    ...qemu.accelerators.map((each) => checkAccelerator(each, each === accelerator)),
    qemu.biosFirmware
      ? { id: "firmware-bios", title: "BIOS for QEMU", status: "ok", detail: "SeaBIOS is there." }
      : { id: "firmware-bios", title: "BIOS for QEMU", status: "warning", detail: "QEMU's bios-256k.bin is not where it looks for it: machines with a BIOS may not start.", remedy: qemu.install.qemu },
    firmware === undefined
      ? { id: "firmware-uefi", title: "UEFI for QEMU", status: "warning", detail: "There is no UEFI firmware for x86-64: machines can start with a BIOS only.", remedy: qemu.install.uefi }
      : { id: "firmware-uefi", title: "UEFI for QEMU", status: "ok", detail: `${firmware.code}${firmware.secureBoot ? ", with Secure Boot" : ""}` },
    qemu.sandbox
      ? { id: "qemu-sandbox", title: "QEMU's sandbox", status: "ok", detail: "Machine processes run with -sandbox on." }
      : { id: "qemu-sandbox", title: "QEMU's sandbox", status: platform === "linux" ? "warning" : "ok", detail: "-sandbox does not work with this QEMU and system: a guest that broke out of QEMU would have your rights." },
  ];
}

function checkAccelerator(accelerator: Accelerator, isUsed: boolean): DoctorCheck {
  const { id, label, works, fast, reason, remedy, unverified } = accelerator;
  const check = { id: `accelerator-${id}`, title: `${label} (${fast ? "hardware acceleration" : "software emulation"})` };
  const doubt = unverified ? " Unverified: Terrarium has not been tested with machines on it." : "";
  if (!works) return { ...check, status: "warning", detail: `${reason ?? "It does not work."}${doubt}`, remedy };
  const used = isUsed ? "Works: 64-bit test code ran. Machines use it." : "Works: 64-bit test code ran. Not needed.";
  // Why it is slow is said of the accelerator that would be fast.
  return { ...check, status: "ok", detail: `${used}${doubt}` };
}
