/*
 * What QEMU says of itself, read from what it prints: its version, its accelerators, its machine types. What is printed
 * may be anything; each reader answers undefined, or nothing, for what it does not understand.
 */

export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)` */
  readonly text: string;
}

/** The oldest QEMU that can run machines: it is the first with `-netdev stream`, the machines' network cable. */
export const oldestQemu = { major: 7, minor: 2 };

/** The first with `migrate` to a `file:` address. */
export const fileMigrationQemu = { major: 8, minor: 2 };

/** Reads `qemu-system-x86_64 --version`. */
export function parseVersion(output: string): QemuVersion | undefined {
  const match = /^QEMU emulator version ((\d{1,4})\.(\d{1,4})\.(\d{1,4})[^\r\n]{0,200})/m.exec(output);
  if (!match) return undefined;
  const [, text = "", major, minor, micro] = match;
  return { major: Number(major), minor: Number(minor), micro: Number(micro), text: text.replace(/\p{C}+/gu, " ").trim() };
}

export function isAtLeast(version: Pick<QemuVersion, "major" | "minor">, wanted: { readonly major: number; readonly minor: number }): boolean {
  return version.major > wanted.major || (version.major === wanted.major && version.minor >= wanted.minor);
}

/** Reads `-accel help`: a heading, then one name a line. */
export function parseAccelerators(output: string): string[] {
  return output.split(/\r?\n/).filter((line) => /^[a-z0-9-]{1,32}$/.test(line));
}

/** Reads `-L help`: the folders QEMU looks for its firmware in, one a line. */
export function parseDataFolders(output: string): string[] {
  return output
    .split(/\r?\n/)
    .filter((line) => line !== "" && line.length < 4096)
    .slice(0, 32);
}

export interface MachineTypes {
  /** The versioned names that `q35` and `pc` stand for. */
  readonly q35: string;
  readonly pc: string;
  readonly all: readonly string[];
  /** How many processors the machine that `q35` stands for can have. */
  readonly q35MaxCpus: number;
}

/** What makes QEMU tell its machine types on a monitor on standard input and output, and end. */
export const machineTypesQuestion = ["qmp_capabilities", "query-machines", "quit"].map((execute) => JSON.stringify({ execute })).join("\n") + "\n";
export const machineTypesArgs = ["-M", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"];

/** Reads the answer to `machineTypesQuestion`; undefined when it has no PC in it. */
export function parseMachineTypes(output: string): MachineTypes | undefined {
  const machines = output.split(/\r?\n/).flatMap(machinesIn);
  const q35 = machines.find((machine) => machine.alias === "q35");
  const pc = machines.find((machine) => machine.alias === "pc");
  if (q35 === undefined || pc === undefined || q35.cpuMax === undefined) return undefined;
  return { q35: q35.name, pc: pc.name, all: machines.map((machine) => machine.name).sort(), q35MaxCpus: q35.cpuMax };
}

interface ListedMachine {
  readonly name: string;
  readonly alias: string | undefined;
  readonly cpuMax: number | undefined;
}

function machinesIn(line: string): ListedMachine[] {
  const answer = parseJson(line);
  if (!isRecord(answer) || !Array.isArray(answer.return)) return [];
  return (answer.return as unknown[]).flatMap((machine) => {
    if (!isRecord(machine)) return [];
    const { name, alias, "cpu-max": cpuMax } = machine;
    // A machine type goes onto a command line.
    if (typeof name !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return [];
    return [{ name, alias: typeof alias === "string" ? alias : undefined, cpuMax: typeof cpuMax === "number" && Number.isSafeInteger(cpuMax) && cpuMax > 0 ? cpuMax : undefined }];
  });
}

/** JSON, or undefined when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Not JSON: that is the answer.
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
