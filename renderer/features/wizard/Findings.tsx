import type { Finding } from "../../../core/contract/model";

/** What the host has to say, beside what it is about. */
export function Findings({ list }: { list: readonly Finding[] }) {
  return list.map((finding) => (
    <div key={finding.field + finding.message} className={`finding ${finding.level}`} role={finding.level === "error" ? "alert" : undefined}>
      {finding.message}
      {finding.remedy !== undefined && <span className="faint"> {finding.remedy}</span>}
    </div>
  ));
}
