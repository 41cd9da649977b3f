import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ErrorData } from "../contract/errors";
import { faultInWords } from "../contract/inputWords";
import { MachineConfig, MachineId, machineConfigVersion } from "../contract/model";
import { writeFileAtomically, type FaultHook } from "../storage/atomicFile";
import { fileError, isMissing } from "../storage/fileErrors";

/** The file that makes a folder a machine. */
export const configFileName = "machine.json";

/** Nobody writes a configuration this long; a longer file is something else, and is not read into memory. */
const maxConfigBytes = 1024 * 1024;

/** Turns a configuration of one version into the next. It may trust nothing about its input. */
export type Migration = (config: Record<string, unknown>) => Record<string, unknown>;

/** By the version they start from. Version 1 is the first that was ever written. */
export const migrations: ReadonlyMap<number, Migration> = new Map();

export interface LoadedConfig {
  readonly config: MachineConfig;
  /** What the file said, to notice when someone else has changed it. */
  readonly text: string;
  /** The version the file was written in. */
  readonly version: number;
  /** Fields at the top that this version does not know. They are kept. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** A configuration that cannot be used, as far as it is known. */
export interface UnusableConfig {
  readonly problem: ErrorData;
  readonly text?: string;
  /** The id, when that much could be read. */
  readonly id?: string;
  readonly name?: string;
}

export type ReadConfig = { readonly ok: true; readonly value: LoadedConfig } | { readonly ok: false; readonly error: UnusableConfig };

/** Reads the configuration in a machine's folder. Never throws: whatever is wrong is the machine's problem. */
export async function readConfig(folder: string): Promise<ReadConfig> {
  const path = join(folder, configFileName);
  try {
    const entry = await stat(path);
    if (!entry.isFile()) return unusable(path, "it is not a file", `Move ${path} away and put the machine's configuration back.`);
    if (entry.size > maxConfigBytes) return unusable(path, "it is far too long to be a machine's configuration", restoreRemedy(path));
    return parseConfig(await readFile(path, "utf8"), path);
  } catch (failure) {
    if (isMissing(failure)) return unusable(path, "it is missing", `Put ${configFileName} back into ${folder}, or delete the machine.`);
    const explained = fileError(failure, "The machine's configuration could not be read", path, "read");
    return { ok: false, error: { problem: { ...explained.toData(), code: "broken" } } };
  }
}

function restoreRemedy(path: string): string {
  return `Mend ${path} in a text editor, or put a copy of it back. The machine's disks are untouched.`;
}

function unusable(path: string, because: string, remedy: string, known: Omit<UnusableConfig, "problem"> = {}): ReadConfig {
  return { ok: false, error: { problem: { code: "broken", message: `The machine's configuration ${path} cannot be used: ${because}.`, remedy }, ...known } };
}

/** Parses, migrates and checks the text of a `machine.json`. */
export function parseConfig(text: string, path: string, table: ReadonlyMap<number, Migration> = migrations, current: number = machineConfigVersion): ReadConfig {
  if (text.trim() === "") return unusable(path, "it is empty", restoreRemedy(path), { text });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (failure) {
    return unusable(path, `it is not valid JSON (${failure instanceof Error ? failure.message : String(failure)})`, restoreRemedy(path), { text });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return unusable(path, "it is not a JSON object", restoreRemedy(path), { text });

  let record = value as Record<string, unknown>;
  const known = { text, ...identityOf(record) };
  const version = record["version"];
  if (typeof version !== "number" || !Number.isInteger(version) || version < 0) return unusable(path, "it does not say its version", restoreRemedy(path), known);
  if (version > current) {
    return unusable(path, `it was written by a newer version of Terrarium (format ${version}; this one reads up to ${current})`, "Update Terrarium. The machine is left exactly as it is.", known);
  }
  for (let from = version; from < current; from++) {
    const step = table.get(from);
    if (step === undefined) return unusable(path, `its format ${version} is not known to this version of Terrarium`, restoreRemedy(path), known);
    try {
      record = { ...step(record), version: from + 1 };
    } catch (failure) {
      return unusable(path, `it could not be brought from format ${from} to ${from + 1} (${failure instanceof Error ? failure.message : String(failure)})`, restoreRemedy(path), known);
    }
  }
  const parsed = MachineConfig.safeParse(record);
  if (!parsed.success) {
    return unusable(path, faultInWords(parsed.error.issues[0]), restoreRemedy(path), known);
  }
  const problem = contradiction(parsed.data);
  if (problem !== undefined) return unusable(path, problem, restoreRemedy(path), known);
  const extra = Object.fromEntries(Object.entries(record).filter(([key]) => !(key in MachineConfig.shape)));
  return { ok: true, value: { config: parsed.data, text, version, extra } };
}

/** What the schema cannot say. */
function contradiction(config: MachineConfig): string | undefined {
  const ids = config.disks.map((disk) => disk.id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) return `two disks are called ${twice}`;
  const macs = config.adapters.map((adapter) => adapter.mac);
  const sameMac = macs.find((mac, index) => macs.indexOf(mac) !== index);
  if (sameMac !== undefined) return `two adapters have the address ${sameMac}`;
  const outside = config.disks.flatMap((disk) => disk.layers).find((layer) => layer.file.split(/[\\/]/).includes(".."));
  if (outside !== undefined) return `the disk file ${outside.file} leads out of the machine's folder`;
  return undefined;
}

function identityOf(record: Record<string, unknown>): { id?: string; name?: string } {
  const id = MachineId.safeParse(record["id"]);
  const name = MachineConfig.shape.name.safeParse(record["name"]);
  return { ...(id.success ? { id: id.data } : {}), ...(name.success ? { name: name.data } : {}) };
}

/** The text of a configuration, for people to read and edit. */
export function formatConfig(config: MachineConfig, extra: Readonly<Record<string, unknown>> = {}): string {
  return `${JSON.stringify({ ...config, ...extra }, null, 2)}\n`;
}

/**
 * Writes the configuration into a machine's folder, atomically. A file of an older format is kept beside it as
 * `machine.v<format>.json`, so that the older version can still be gone back to.
 * @throws TerrariumError; the old file is then whole.
 */
export async function writeConfig(folder: string, config: MachineConfig, previous?: LoadedConfig, faults?: FaultHook): Promise<LoadedConfig> {
  const path = join(folder, configFileName);
  const extra = previous?.extra ?? {};
  const text = formatConfig(config, extra);
  try {
    if (previous !== undefined && previous.version < machineConfigVersion) await writeFileAtomically(join(folder, `machine.v${previous.version}.json`), previous.text, { faults });
    await writeFileAtomically(path, text, { faults });
  } catch (failure) {
    throw fileError(failure, "The machine's configuration could not be saved", path);
  }
  return { config, text, version: machineConfigVersion, extra };
}

/** An id for a machine whose own cannot be read: the same for the same folder, so that it can be looked at and deleted. */
export function derivedId(folderName: string): string {
  const digits = createHash("sha256").update(`folder:${folderName}`).digest("hex");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20, 32)].join("-");
}
