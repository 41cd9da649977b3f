import { Problem } from "../../ui/Problem";
import type { StepProps } from "./step";
import { facts } from "./Summary";

export function ReviewStep({ draft, findings, host, startNow, setStartNow }: StepProps & { startNow: boolean; setStartNow(start: boolean): void }) {
  return (
    <>
      <h1>Ready to grow {draft.name.trim() || "it"}?</h1>
      <p className="lead">This is what will be made. Nothing is written before you create it.</p>
      <div className="form">
        <dl className="kv">
          {facts(draft, host).map(([term, value]) => (
            <div key={term} style={{ display: "contents" }}>
              <dt>{term}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
        {findings.map((finding) => (
          <Problem key={finding.field + finding.message} level={finding.level} message={finding.message} remedy={finding.remedy} />
        ))}
        <label className="check">
          <input type="checkbox" checked={startNow} onChange={(event) => setStartNow(event.target.checked)} />
          <span>Start it and open its console</span>
        </label>
      </div>
    </>
  );
}
