import { cloneElement, useId, type ReactElement, type ReactNode } from "react";
import type { Finding } from "../../core/contract/model";
import "./ui.css";

type Control = ReactElement<{ id?: string; "aria-labelledby"?: string; "aria-describedby"?: string; "aria-invalid"?: boolean }>;

/** A labelled control with its hint and what the host has to say about its value. */
export function Field({ label, hint, findings = [], children, width }: { label: string; hint?: ReactNode; findings?: readonly Finding[]; children: Control; width?: number }) {
  const id = useId();
  const notes = `${id}-notes`;
  const wrong = findings.some((finding) => finding.level === "error");
  return (
    <div className="field" style={width === undefined ? undefined : { maxWidth: width }}>
      <label id={`${id}-label`} htmlFor={id}>{label}</label>
      {cloneElement(children, { id, "aria-labelledby": `${id}-label`, "aria-describedby": notes, "aria-invalid": wrong || undefined })}
      <div id={notes} className="hint">
        {hint}
        {findings.map((finding) => (
          <div key={finding.message} className={`finding ${finding.level}`} role={finding.level === "error" ? "alert" : undefined}>
            {finding.message}
            {finding.remedy !== undefined && <span className="faint"> {finding.remedy}</span>}
          </div>
        ))}
      </div>
    </div>
  );
}
