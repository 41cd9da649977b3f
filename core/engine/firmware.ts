import { readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { isFile, isSystemError, readBeginning } from "./smallFile";
import { isRecord, parseJson } from "./qemuVersion";

/*
 * UEFI firmware for a PC, found by the descriptors that packages install (QEMU, docs/interop/firmware.json), or else in
 * the places where packages without descriptors put it.
 */

/** UEFI as two flash chips: the code, which every machine shares, and the template of a machine's own variables. */
export interface FirmwareImage {
  readonly code: string;
  readonly variables: string;
  readonly codeFormat: "raw" | "qcow2";
  readonly variablesFormat: "raw" | "qcow2";
  /** It needs a machine with `smm=on` and `-global driver=cfi.pflash01,property=secure,value=on`. */
  readonly secureBoot: boolean;
}

/** A descriptor as far as it matters here. */
interface Descriptor extends FirmwareImage {
  readonly machines: readonly string[];
}

/** More descriptors than anybody has. */
const mostDescriptors = 200;

/** The folders with descriptors, from general to specific. */
export function descriptorFolders(env: NodeJS.ProcessEnv, platform: NodeJS.Platform, dataFolders: readonly string[]): string[] {
  const own = dataFolders.map((folder) => join(folder, "firmware"));
  if (platform === "win32") return own;
  return [...own, "/usr/share/qemu/firmware", "/etc/qemu/firmware", join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), ".config"), "qemu", "firmware")];
}

/** Pairs of code and variables where packages put them; the first pair that is there is taken. */
function knownPlaces(platform: NodeJS.Platform, dataFolders: readonly string[]): (readonly [code: string, variables: string])[] {
  const own = dataFolders.map((folder) => [join(folder, "edk2-x86_64-code.fd"), join(folder, "edk2-i386-vars.fd")] as const);
  if (platform !== "linux") return own;
  return [
    ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"], // Debian, Ubuntu
    ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"], // earlier ones
    ["/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"], // Fedora
    ["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"], // Arch
    ["/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"], // openSUSE
    ...own,
  ];
}

/**
 * Finds UEFI firmware that runs on `machine`; one that does without Secure Boot where there is a choice, because its
 * guests need no signature.
 * @param machine a versioned machine type (`pc-q35-7.2`)
 * @param dataFolders where QEMU itself looks for firmware
 */
export async function findFirmware(options: { env: NodeJS.ProcessEnv; platform: NodeJS.Platform; machine: string; dataFolders: readonly string[]; folders?: readonly string[] }): Promise<FirmwareImage | undefined> {
  const { env, platform, machine, dataFolders } = options;
  const fitting: FirmwareImage[] = [];
  for (const path of await descriptorFiles(options.folders ?? descriptorFolders(env, platform, dataFolders))) {
    const descriptor = parseDescriptor((await readBeginning(path)) ?? "");
    if (descriptor === undefined || !descriptor.machines.some((pattern) => matchesGlob(pattern, machine))) continue;
    const { machines: _, ...image } = descriptor;
    if ((await isFile(image.code)) && (await isFile(image.variables))) fitting.push(image);
    if (fitting.at(-1)?.secureBoot === false) break;
  }
  const plain = fitting.find((image) => !image.secureBoot);
  if (plain) return plain;
  for (const [code, variables] of knownPlaces(platform, dataFolders)) {
    if ((await isFile(code)) && (await isFile(variables))) return { code, variables, codeFormat: "raw", variablesFormat: "raw", secureBoot: false };
  }
  return fitting[0];
}

/** Every descriptor once, in the order of their names; of two with one name the one in the more specific folder. */
async function descriptorFiles(folders: readonly string[]): Promise<string[]> {
  const byName = new Map<string, string>();
  const listings = await Promise.all(folders.map(async (folder) => ({ folder, names: await namesIn(folder) })));
  for (const { folder, names } of listings) {
    for (const name of names) if (name.endsWith(".json")) byName.set(name, join(folder, name));
  }
  const ordered = [...byName].sort(([a], [b]) => (a < b ? -1 : 1));
  return ordered.slice(0, mostDescriptors).map(([, path]) => path);
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (failure) {
    // Most systems have but one of these folders.
    if (isSystemError(failure)) return [];
    throw failure;
  }
}

/** Reads a descriptor; undefined when it is none, or not one of UEFI for x86-64 in two flash chips. */
export function parseDescriptor(text: string): Descriptor | undefined {
  const firmware = parseJson(text);
  if (!isRecord(firmware) || !strings(firmware["interface-types"]).includes("uefi") || !isRecord(firmware.mapping)) return undefined;
  const { device, mode = "split", executable, "nvram-template": template } = firmware.mapping;
  // The other modes keep no variables, or keep them where the code is.
  if (device !== "flash" || mode !== "split") return undefined;
  const code = flashFile(executable);
  const variables = flashFile(template);
  if (code === undefined || variables === undefined) return undefined;
  const targets = Array.isArray(firmware.targets) ? (firmware.targets as unknown[]) : [];
  const machines = targets.flatMap((target) => (isRecord(target) && target.architecture === "x86_64" ? strings(target.machines) : []));
  const features = strings(firmware.features);
  return { code: code.filename, codeFormat: code.format, variables: variables.filename, variablesFormat: variables.format, machines, secureBoot: features.includes("secure-boot") || features.includes("requires-smm") };
}

function flashFile(value: unknown): { filename: string; format: "raw" | "qcow2" } | undefined {
  if (!isRecord(value)) return undefined;
  const { filename, format } = value;
  if (typeof filename !== "string" || !isAbsolute(filename) || filename.includes("\0")) return undefined;
  return format === "raw" || format === "qcow2" ? { filename, format } : undefined;
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? (value as unknown[]).filter((item): item is string => typeof item === "string") : [];
}

/** Whether a glob pattern (`*`, `?`) is about `name`, as a whole. Takes no longer than the two are long, multiplied. */
export function matchesGlob(pattern: string, name: string): boolean {
  let star = -1;
  let resume = 0;
  let p = 0;
  let n = 0;
  while (n < name.length) {
    if (pattern[p] === "*") {
      star = p++;
      resume = n;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      // The last star takes one character more.
      p = star + 1;
      n = ++resume;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
