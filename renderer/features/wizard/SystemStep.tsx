import { formatMiB } from "../../ui/format";
import { Field } from "../../ui/Field";
import { Amount, stopsBetween } from "./Amount";
import type { StepProps } from "./step";

export function SystemStep({ draft, change, findings, host }: StepProps) {
  const of = (field: string) => findings.filter((finding) => finding.field === field);
  const engines = host?.engines.filter((engine) => engine.available) ?? [];
  const limit = (pick: (engine: (typeof engines)[number]) => number, otherwise: number): number => (engines.length === 0 ? otherwise : Math.max(...engines.map(pick)));
  const minMemory = engines.length === 0 ? 16 : Math.min(...engines.map((engine) => engine.capabilities.minMemoryMiB));
  const maxMemory = Math.min(limit((engine) => engine.capabilities.maxMemoryMiB, 2047), host?.memoryTotalMiB ?? 2047);
  const maxCpus = Math.min(limit((engine) => engine.capabilities.maxCpus, 1), host?.cpus ?? 1);
  return (
    <>
      <h1>How big should it be?</h1>
      <p className="lead">All of this can be changed later, while the machine is off.</p>
      <div className="form">
        <Field label="Name" findings={of("name")}>
          <input className="input" value={draft.name} maxLength={300} autoFocus onChange={(event) => change({ ...draft, name: event.target.value, nameIsOwn: true })} />
        </Field>
        <Amount
          id="memory"
          label="Memory"
          unit="MB"
          value={draft.memoryMiB}
          min={minMemory}
          max={Math.floor(maxMemory)}
          stops={stopsBetween(minMemory, Math.floor(maxMemory))}
          hint={host === undefined ? undefined : `${formatMiB(host.memoryAvailableMiB)} of this computer’s ${formatMiB(host.memoryTotalMiB)} are free now.`}
          findings={of("memoryMiB")}
          onChange={(memoryMiB) => change({ ...draft, memoryMiB })}
        />
        {maxCpus > 1 ? (
          <Amount id="cpus" label="Processors" unit={draft.cpus === 1 ? "processor" : "processors"} value={draft.cpus} min={1} max={maxCpus} stops={stopsBetween(1, maxCpus)} findings={of("cpus")} onChange={(cpus) => change({ ...draft, cpus })} />
        ) : (
          <div className="field">
            <span className="label">Processors</span>
            <div>1 processor, 32-bit x86</div>
            <div className="hint">{engines[0]?.label ?? "The engine"} runs one processor.</div>
          </div>
        )}
        {of("engine").map((finding) => (
          <div key={finding.message} className={`finding ${finding.level}`}>
            {finding.message} {finding.remedy}
          </div>
        ))}
      </div>
    </>
  );
}
