import { Hourglass } from "@phosphor-icons/react/dist/csr/Hourglass";
import { Lightning } from "@phosphor-icons/react/dist/csr/Lightning";
import type { EngineChoice, EngineInfo } from "../../../core/contract/model";
import { Options, type Option } from "./Options";
import type { StepProps } from "./step";
import { describeCapabilities, engineName } from "./words";

/** Which engine runs the machine, and what that means for it. */
export function EngineField({ draft, change, findings, host, engine }: StepProps) {
  const options: Option<EngineChoice>[] = [
    { value: "auto", title: "Automatic", note: "The engine that suits the machine best." },
    ...(host?.engines ?? []).map((candidate) => ({
      value: candidate.id,
      title: candidate.version === undefined ? candidate.label : `${candidate.label} ${candidate.version}`,
      ...(candidate.available ? { note: describeCapabilities(candidate) } : { note: [candidate.problem?.message, candidate.problem?.remedy].filter(Boolean).join(" "), refused: candidate.problem?.message ?? `${candidate.label} is not available.` }),
    })),
  ];
  return (
    <div className="col" style={{ gap: 10 }}>
      <Options label="Engine" options={options} value={draft.engine} onChoose={(choice) => change({ ...draft, engine: choice })} findings={findings.filter((finding) => finding.field === "engine")} />
      {engine?.available && <Runner engine={engine} />}
    </div>
  );
}

/** What will run it, and when that is slow, why and what would make it fast. */
function Runner({ engine }: { engine: EngineInfo }) {
  const { accelerator } = engine;
  const slow = accelerator !== undefined && !accelerator.fast;
  const Drawing = slow ? Hourglass : Lightning;
  return (
    <div className={slow ? "runner slow" : "runner"} role="status">
      <Drawing className="ic" aria-hidden />
      <div className="grow selectable">
        <div>
          <b>{engineName(engine)}</b> will run it{slow ? ", slowly" : accelerator ? ", at nearly the speed of this computer" : ""}.
        </div>
        {slow && accelerator.reason !== undefined && <div className="s dim">{accelerator.reason}</div>}
        {slow && accelerator.remedy !== undefined && <div className="s dim">{accelerator.remedy}</div>}
      </div>
    </div>
  );
}
