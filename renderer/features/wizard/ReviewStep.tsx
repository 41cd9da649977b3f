import { Problem } from "../../ui/Problem";
import { Facts } from "./Facts";
import type { StepProps } from "./step";
import { facts, furtherFacts } from "./words";

export function ReviewStep({ draft, findings, host, systems, engine, startNow, setStartNow }: StepProps & { startNow: boolean; setStartNow(start: boolean): void }) {
  const { accelerator } = engine ?? {};
  return (
    <>
      <h1>Ready to grow {draft.name.trim() || "it"}?</h1>
      <p className="lead">This is what will be made. Nothing is written before you create it.</p>
      <div className="form">
        <Facts list={[...facts(draft, systems, engine), ...furtherFacts(draft, host)]} />
        {accelerator && !accelerator.fast && engine?.available && <Problem level="hint" message={`It will be slow: ${accelerator.reason ?? `it runs with ${accelerator.label}.`}`} remedy={accelerator.remedy} />}
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
