import { CaretRight } from "@phosphor-icons/react/dist/csr/CaretRight";
import { Warning } from "@phosphor-icons/react/dist/csr/Warning";
import { useState } from "react";
import { Field } from "../../../ui/Field";
import { plural } from "../../../ui/format";
import { hasExpertSettings, topologyCpus, type HardwareDraft } from "./hardwareDraft";
import type { SectionProps } from "./sectionProps";

const fields = ["cpuModel", "topology", "machineVersion", "extraArguments"] as const;

/** What most machines leave alone, folded away. It opens by itself when something in it is set or wrong. */
export function ExpertFields({ draft, change, findings, locked }: SectionProps) {
  const { hardware } = draft;
  const [opened, setOpened] = useState(() => hasExpertSettings(hardware));
  const open = opened || fields.some((field) => findings(`hardware.${field}`).length > 0);
  const disabled = locked !== undefined;
  const text = (key: "cpuModel" | "machineVersion" | "sockets" | "cores" | "threads" | "extraArguments") => ({
    value: hardware[key],
    disabled,
    spellCheck: false,
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>): void => change({ hardware: { ...hardware, [key]: event.target.value } satisfies HardwareDraft }),
  });
  return (
    <div className="expert">
      <button type="button" className="expert-head" aria-expanded={open} onClick={() => setOpened(!open)}>
        <CaretRight size={12} aria-hidden />
        Expert
        <span className="xs faint">CPU model, topology, machine version, extra arguments</span>
      </button>
      {open && (
        <>
          {locked !== undefined && <p className="s faint">{locked}</p>}
          <div className="two">
            <Field label="CPU model" hint="With features after it: qemu64,+aes" findings={findings("hardware.cpuModel")}>
              <input className="input mono" placeholder="the engine's choice" {...text("cpuModel")} />
            </Field>
            <Field label="Machine version" hint="Kept, so that the guest sees the same hardware after an update." findings={findings("hardware.machineVersion")}>
              <input className="input mono" placeholder="the newest" {...text("machineVersion")} />
            </Field>
          </div>
          <div role="group" aria-label="Topology of the processors" className="field">
            <div className="three">
              <Field label="Sockets">
                <input className="input num" inputMode="numeric" placeholder="1" {...text("sockets")} />
              </Field>
              <Field label="Cores a socket">
                <input className="input num" inputMode="numeric" placeholder={draft.cpus} {...text("cores")} />
              </Field>
              <Field label="Threads a core">
                <input className="input num" inputMode="numeric" placeholder="1" {...text("threads")} />
              </Field>
            </div>
            <div className="hint" role="status">
              {topologyHint(hardware, draft.cpus)}
              {findings("hardware.topology").map((finding) => (
                <div key={finding.message} className={`finding ${finding.level}`}>
                  {finding.message}
                  {finding.remedy !== undefined && <span className="faint"> {finding.remedy}</span>}
                </div>
              ))}
            </div>
          </div>
          <Field label="Extra arguments for the engine, one a line" hint={<Unsupported />} findings={findings("hardware.extraArguments")}>
            <textarea className="input mono" rows={3} {...text("extraArguments")} />
          </Field>
        </>
      )}
    </div>
  );
}

function Unsupported() {
  return (
    <span className="unsupported">
      <Warning className="ic xs" aria-hidden />
      <span>Unsupported: they are added to the command line, and can break the machine. Those that would take it out of Terrarium’s hands are refused.</span>
    </span>
  );
}

function topologyHint(hardware: HardwareDraft, cpus: string): string {
  const made = topologyCpus(hardware);
  if (made === undefined) return "Left empty: one socket with a core for every processor.";
  return `${plural(made, "processor")} in all; the machine has ${cpus}.`;
}
