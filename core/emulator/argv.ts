import { err, ok, type Result } from "../base/result";

/** The machine as its command line describes it. It is also what a saved state is checked against. */
export interface MachineArguments {
  readonly name: string;
  readonly uuid: string;
  readonly memoryMiB: number;
  readonly pidFile: string;
  readonly bios: string;
  readonly vgaBios: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append: string;
  readonly boot: "disk" | "cd";
  readonly monitor?: string;
  readonly vnc?: string;
  readonly serial?: string;
  readonly serialLog?: string;
  readonly agent?: string;
  readonly disks: readonly DiskArguments[];
  readonly cdrom?: CdArguments;
  readonly adapters: readonly AdapterArguments[];
  /** Wait for `migrate-incoming` instead of booting. */
  readonly incoming: boolean;
  readonly dumpDirectory?: string;
  /** Where compiled code is kept from one machine to the next. */
  readonly codeCache?: string;
}

export interface DiskArguments {
  readonly id: string;
  readonly file: string;
  readonly readOnly: boolean;
}

export interface CdArguments {
  readonly id: string;
  readonly file: string | null;
}

export interface AdapterArguments {
  readonly id: string;
  /** Lower-case, with colons. */
  readonly mac: string;
  readonly link: boolean;
  readonly path?: string;
}

/** Every machine has this many adapters, so that one can be plugged in later without new hardware. */
export const adapterCount = 4;
export const maxDisks = 4;
/** MiB. v86 addresses less than 2 GiB, and Linux with an initrd needs room for it. */
export const memoryLimits = { min: 16, max: 2047 };

/** Reads the command line (without `node` and the script). The error names the argument and what was expected. */
export function parseArguments(argv: readonly string[]): Result<MachineArguments> {
  const single = new Map<string, string>();
  const disks: DiskArguments[] = [];
  const adapters: AdapterArguments[] = [];
  let cdrom: CdArguments | undefined;
  for (let index = 0; index < argv.length; index++) {
    const option = argv[index] ?? "";
    if (option === "-S") continue; // Machines always start stopped; `cont` runs them.
    if (!valueOptions.has(option)) return err(`Unknown option ${JSON.stringify(option)}`);
    const value = argv[++index];
    if (value === undefined) return err(`Option ${option} needs a value`);
    if (option === "-disk") {
      const disk = parseDisk(value, disks.length);
      if (!disk.ok) return disk;
      disks.push(disk.value);
    } else if (option === "-net") {
      const adapter = parseAdapter(value, adapters.length);
      if (!adapter.ok) return adapter;
      adapters.push(adapter.value);
    } else if (option === "-cdrom") {
      const cd = parseCd(value);
      if (!cd.ok) return cd;
      if (cdrom) return err("Option -cdrom may be given once");
      cdrom = cd.value;
    } else if (single.has(option)) {
      return err(`Option ${option} may be given once`);
    } else {
      single.set(option, value);
    }
  }
  return assemble(single, disks, adapters, cdrom);
}

const valueOptions = new Set([
  ...["-name", "-uuid", "-m", "-pidfile", "-bios", "-vgabios", "-kernel", "-initrd", "-append", "-boot", "-monitor", "-vnc"],
  ...["-serial", "-serial-log", "-agent", "-disk", "-cdrom", "-net", "-incoming", "-dump-dir", "-code-cache"],
]);

function assemble(
  single: ReadonlyMap<string, string>,
  disks: readonly DiskArguments[],
  adapters: AdapterArguments[],
  cdrom: CdArguments | undefined,
): Result<MachineArguments> {
  const needed = ["-pidfile", "-bios", "-vgabios", "-m"].filter((option) => !single.get(option));
  if (needed.length > 0) return err(`Missing ${needed.join(", ")}`);
  const memory = single.get("-m") ?? "";
  const memoryMiB = /^\d{1,5}$/.test(memory) ? Number(memory) : NaN;
  if (!(memoryMiB >= memoryLimits.min && memoryMiB <= memoryLimits.max)) {
    return err(`Option -m must be a whole number of MiB between ${memoryLimits.min} and ${memoryLimits.max}, not ${JSON.stringify(memory)}`);
  }
  const boot = single.get("-boot") ?? "c";
  if (boot !== "c" && boot !== "d") return err(`Option -boot must be c (disk) or d (CD), not ${JSON.stringify(boot)}`);
  if (single.has("-initrd") && !single.has("-kernel")) return err("Option -initrd needs -kernel");
  if (single.has("-append") && !single.has("-kernel")) return err("Option -append needs -kernel");
  const incoming = single.get("-incoming");
  if (incoming !== undefined && incoming !== "defer") return err(`Option -incoming must be defer, not ${JSON.stringify(incoming)}`);
  if (disks.length > maxDisks) return err(`A machine has at most ${maxDisks} disks, not ${disks.length}`);
  const files = disks.filter((disk) => !disk.readOnly).map((disk) => disk.file);
  if (new Set(files).size !== files.length) return err("Two disks share one image");
  if (adapters.length > adapterCount) return err(`A machine has ${adapterCount} adapters, not ${adapters.length}`);
  while (adapters.length < adapterCount) {
    adapters.push({ id: `net${adapters.length}`, mac: `52:54:00:00:00:0${adapters.length}`, link: false });
  }
  const macs = new Set(adapters.map((adapter) => adapter.mac));
  if (macs.size !== adapters.length) return err("Two adapters share one MAC address");
  return ok({
    name: single.get("-name") ?? "machine",
    uuid: single.get("-uuid") ?? "",
    memoryMiB,
    pidFile: single.get("-pidfile") ?? "",
    bios: single.get("-bios") ?? "",
    vgaBios: single.get("-vgabios") ?? "",
    kernel: single.get("-kernel"),
    initrd: single.get("-initrd"),
    append: single.get("-append") ?? "",
    boot: boot === "d" ? "cd" : "disk",
    monitor: single.get("-monitor"),
    vnc: single.get("-vnc"),
    serial: single.get("-serial"),
    serialLog: single.get("-serial-log"),
    agent: single.get("-agent"),
    disks,
    cdrom,
    adapters,
    incoming: incoming === "defer",
    dumpDirectory: single.get("-dump-dir"),
    codeCache: single.get("-code-cache"),
  });
}

function parseDisk(text: string, index: number): Result<DiskArguments> {
  const fields = parseObject("-disk", text, ["id", "file", "readOnly"]);
  if (!fields.ok) return fields;
  const { id, file, readOnly = false } = fields.value;
  if (id !== `disk${index}`) return err(`Option -disk number ${index + 1} must have the id disk${index}`);
  if (typeof file !== "string" || file === "") return err("Option -disk needs a file");
  if (typeof readOnly !== "boolean") return err("Option -disk: readOnly must be true or false");
  return ok({ id, file, readOnly });
}

function parseCd(text: string): Result<CdArguments> {
  const fields = parseObject("-cdrom", text, ["id", "file"]);
  if (!fields.ok) return fields;
  const { id = "cd0", file = null } = fields.value;
  if (typeof id !== "string" || id === "") return err("Option -cdrom: id must be a string");
  if (file !== null && (typeof file !== "string" || file === "")) return err("Option -cdrom: file must be a path or null");
  return ok({ id, file });
}

function parseAdapter(text: string, index: number): Result<AdapterArguments> {
  const fields = parseObject("-net", text, ["id", "mac", "link", "path"]);
  if (!fields.ok) return fields;
  const { id, mac, link = false, path } = fields.value;
  if (id !== `net${index}`) return err(`Option -net number ${index + 1} must have the id net${index}`);
  if (typeof mac !== "string" || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) return err(`Option -net: ${JSON.stringify(mac)} is no MAC address`);
  if ((parseInt(mac.slice(0, 2), 16) & 1) !== 0) return err(`Option -net: ${mac} is a group address, which no adapter may have`);
  if (typeof link !== "boolean") return err("Option -net: link must be true or false");
  if (path !== undefined && (typeof path !== "string" || path === "")) return err("Option -net: path must be a socket's path");
  return ok({ id, mac: mac.toLowerCase(), link, path });
}

function parseObject(option: string, text: string, known: readonly string[]): Result<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return err(`Option ${option}: ${JSON.stringify(text)} is not JSON (${(error as Error).message})`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return err(`Option ${option} must be a JSON object`);
  const unknown = Object.keys(value).filter((key) => !known.includes(key));
  if (unknown.length > 0) return err(`Option ${option} has no field ${unknown.join(", ")}`);
  return ok(value as Record<string, unknown>);
}
