import type { EngineInfo, FirmwareKind } from "../../../core/contract/model";
import { Field } from "../../ui/Field";
import { formatMiB, plural } from "../../ui/format";
import { Amount, stopsBetween } from "./Amount";
import { Advanced } from "./Advanced";
import { startsFromFirmware } from "./answers";
import { answered } from "./draft";
import { EngineField } from "./EngineField";
import { LoginPanel } from "./LoginPanel";
import { Options } from "./Options";
import type { StepProps } from "./step";
import { candidates, systemOf } from "./suggestions";
import { systemName } from "./words";

/** Findings of these fields stand beside them; all others of this step at its end. */
const placed = ["name", "memoryMiB", "cpus", "engine", "hardware.firmware", "hardware.clock", "seed"];

export function SystemStep(props: StepProps) {
  const { draft, change, findings, host, systems } = props;
  const of = (field: string) => findings.filter((finding) => finding.field === field);
  const engines = candidates(draft, { host, systems });
  const minMemory = engines.length === 0 ? 16 : Math.min(...engines.map((engine) => engine.capabilities.minMemoryMiB));
  const maxMemory = Math.floor(Math.min(most(engines, (engine) => engine.capabilities.maxMemoryMiB, 2047), host?.memoryTotalMiB ?? 2047));
  const maxCpus = Math.min(most(engines, (engine) => engine.capabilities.maxCpus, 1), host?.cpus ?? 1);
  const system = systemOf(draft, { systems, host });
  const usual = system && !system.id.startsWith("other-") ? `${systemName(system)} does well with ${formatMiB(system.memoryMiB)}. ` : "";
  const rest = findings.filter((finding) => !placed.some((field) => finding.field === field || finding.field.startsWith(`${field}.`)));
  return (
    <>
      <h1>How big should it be?</h1>
      <p className="lead">All of this can be changed later, while the machine is off.</p>
      <div className="form">
        <Field label="Name" findings={of("name")}>
          <input className="input" value={draft.name} maxLength={300} autoFocus onChange={(event) => change(answered(draft, { name: event.target.value }))} />
        </Field>
        {draft.source === "disk" && <LoginPanel {...props} />}
        <Amount
          id="memory"
          label="Memory"
          unit="MB"
          value={draft.memoryMiB}
          min={minMemory}
          max={maxMemory}
          stops={stopsBetween(minMemory, maxMemory)}
          hint={host === undefined ? undefined : `${usual}${formatMiB(host.memoryAvailableMiB)} of this computer’s ${formatMiB(host.memoryTotalMiB)} are free now.`}
          findings={of("memoryMiB")}
          onChange={(memoryMiB) => change(answered(draft, { memoryMiB }))}
        />
        {maxCpus > 1 ? (
          <Amount
            id="cpus"
            label="Processors"
            unit={draft.cpus === 1 ? "processor" : "processors"}
            value={draft.cpus}
            min={1}
            max={maxCpus}
            stops={stopsBetween(1, maxCpus)}
            hint={`This computer has ${plural(host?.cpus ?? 1, "processor")}.`}
            findings={of("cpus")}
            onChange={(cpus) => change(answered(draft, { cpus }))}
          />
        ) : (
          <div className="field">
            <span className="label">Processors</span>
            <div>1 processor{engines.some((engine) => engine.capabilities.x86_64) ? "" : ", 32-bit x86"}</div>
            <div className="hint">{(host?.cpus ?? 1) === 1 ? "This computer has one." : `${engines[0]?.label ?? "The engine"} runs one processor.`}</div>
          </div>
        )}
        {startsFromFirmware(draft) && <Firmware {...props} engines={engines} />}
        <EngineField {...props} />
        {startsFromFirmware(draft) && (
          <Advanced open={of("hardware.clock").length > 0}>
            <Options
              label="Clock"
              value={draft.clock}
              onChoose={(clock) => change(answered(draft, { clock }))}
              options={[
                { value: "utc", title: "UTC", note: "What Linux and BSD expect of a computer’s clock." },
                { value: "local", title: "Local time", note: "What Windows expects.", refused: engines.length === 0 || engines.some((engine) => engine.capabilities.expertSettings) ? undefined : `${names(engines)} has a clock in UTC only.` },
              ]}
              findings={of("hardware.clock")}
            />
          </Advanced>
        )}
        {rest.map((finding) => (
          <div key={finding.field + finding.message} className={`finding ${finding.level}`} role={finding.level === "error" ? "alert" : undefined}>
            {finding.message} <span className="faint">{finding.remedy}</span>
          </div>
        ))}
      </div>
    </>
  );
}

function Firmware({ draft, change, findings, host, engines }: StepProps & { engines: readonly EngineInfo[] }) {
  const startable = draft.inspection?.firmwares ?? [];
  const note = (firmware: FirmwareKind, text: string): string => (startable.length > 0 && !startable.includes(firmware) ? `The ${draft.source === "iso" ? "disc" : "image"} does not start with it.` : text);
  return (
    <Options
      label="Firmware"
      value={draft.firmware}
      onChoose={(firmware) => change(answered(draft, { firmware }))}
      options={[
        { value: "bios", title: "BIOS", note: note("bios", "Starts nearly everything."), refused: firmwareRefusal("bios", engines, host?.engines ?? []) },
        { value: "uefi", title: "UEFI", note: note("uefi", "What computers have today; some systems need it."), refused: firmwareRefusal("uefi", engines, host?.engines ?? []) },
      ]}
      findings={findings.filter((finding) => finding.field === "hardware.firmware")}
    />
  );
}

/** Why no engine that could run the machine has this firmware. */
function firmwareRefusal(firmware: FirmwareKind, engines: readonly EngineInfo[], all: readonly EngineInfo[]): string | undefined {
  if (engines.length === 0 || engines.some((engine) => engine.capabilities.firmwares.includes(firmware))) return undefined;
  const words = firmware.toUpperCase();
  // An engine that brings firmware of its own has what is installed of it.
  const bare = engines.find((engine) => engine.capabilities.ownFirmware);
  if (bare) return `${words} firmware for ${bare.label} is not installed on this computer. Install it (Debian, Ubuntu: ovmf; Fedora: edk2-ovmf).`;
  const absent = all.find((engine) => !engine.available && engine.capabilities.firmwares.includes(firmware));
  return `${names(engines)} has no ${words}.${absent ? ` ${absent.label} has: ${absent.problem?.message ?? "it is not available."}` : ""}`;
}

function most(engines: readonly EngineInfo[], pick: (engine: EngineInfo) => number, otherwise: number): number {
  return engines.length === 0 ? otherwise : Math.max(...engines.map(pick));
}

function names(engines: readonly EngineInfo[]): string {
  return engines.map((engine) => engine.label).join(" and ");
}
