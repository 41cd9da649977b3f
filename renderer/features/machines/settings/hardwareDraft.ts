import { HardwareConfig, type Chipset, type FirmwareKind } from "../../../../core/contract/model";

/** The hardware's settings as they stand in the form. What is empty or `standard` is left to the engine. */
export interface HardwareDraft {
  readonly firmware: FirmwareKind;
  readonly chipset: Chipset | "standard";
  readonly clock: "utc" | "local";
  readonly machineVersion: string;
  readonly cpuModel: string;
  readonly sockets: string;
  readonly cores: string;
  readonly threads: string;
  /** One argument a line. */
  readonly extraArguments: string;
}

export function hardwareDraftOf(hardware: HardwareConfig | undefined): HardwareDraft {
  const { firmware = "bios", chipset = "standard", clock = "utc", machineVersion = "", cpuModel = "", topology, extraArguments = [] } = hardware ?? {};
  return {
    firmware,
    chipset,
    clock,
    machineVersion,
    cpuModel,
    sockets: String(topology?.sockets ?? ""),
    cores: String(topology?.cores ?? ""),
    threads: String(topology?.threads ?? ""),
    extraArguments: extraArguments.join("\n"),
  };
}

/** Whether anything is set that stands in the expert part of the form. */
export function hasExpertSettings(draft: HardwareDraft): boolean {
  return [draft.machineVersion, draft.cpuModel, draft.extraArguments].some((text) => text.trim() !== "") || hasTopology(draft);
}

/** The configuration the draft stands for, or undefined while it is malformed. */
export function hardwareOf(draft: HardwareDraft): HardwareConfig | undefined {
  return HardwareConfig.safeParse(assembled(draft)).data;
}

/** How many processors the topology makes, or undefined when none is given or it holds no numbers. */
export function topologyCpus(draft: HardwareDraft): number | undefined {
  const topology = hardwareOf({ ...draft, machineVersion: "", cpuModel: "", extraArguments: "" })?.topology;
  return topology && topology.sockets * topology.cores * topology.threads;
}

const complaints: Readonly<Record<string, string>> = {
  cpuModel: "Give the name of a CPU model and its features, like qemu64,+aes.",
  machineVersion: "Give a machine version like 7.2.",
  topology: "Give whole numbers: at most 64 sockets, 256 cores and 8 threads.",
  extraArguments: "Give at most 64 arguments, each of at most 2000 characters.",
};

/** Which fields hold what no engine could be given, in the shape of findings. */
export function malformedHardware(draft: HardwareDraft): { field: string; level: "error"; message: string }[] {
  const issues = HardwareConfig.safeParse(assembled(draft)).error?.issues ?? [];
  const fields = new Set(issues.map(({ path }) => String(path[0])));
  return [...fields].map((field) => ({ field: `hardware.${field}`, level: "error", message: complaints[field] ?? `This ${field} cannot be used.` }));
}

function assembled(draft: HardwareDraft): unknown {
  const { firmware, chipset, clock } = draft;
  const cpuModel = draft.cpuModel.trim();
  const machineVersion = draft.machineVersion.trim();
  const extraArguments = draft.extraArguments.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return {
    ...(firmware === "bios" ? {} : { firmware }),
    ...(chipset === "standard" ? {} : { chipset }),
    ...(clock === "utc" ? {} : { clock }),
    ...(machineVersion === "" ? {} : { machineVersion }),
    ...(cpuModel === "" ? {} : { cpuModel }),
    ...(hasTopology(draft) ? { topology: { sockets: count(draft.sockets), cores: count(draft.cores), threads: count(draft.threads) } } : {}),
    ...(extraArguments.length === 0 ? {} : { extraArguments }),
  };
}

function hasTopology({ sockets, cores, threads }: HardwareDraft): boolean {
  return [sockets, cores, threads].some((text) => text.trim() !== "");
}

/** What is not given beside what is given is one. */
function count(text: string): number {
  const digits = text.trim();
  return digits === "" ? 1 : /^\d{1,4}$/.test(digits) ? Number(digits) : NaN;
}
