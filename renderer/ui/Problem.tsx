import { Info } from "@phosphor-icons/react/dist/csr/Info";
import { Warning } from "@phosphor-icons/react/dist/csr/Warning";
import { WarningOctagon } from "@phosphor-icons/react/dist/csr/WarningOctagon";
import type { ReactNode } from "react";
import "./ui.css";

const icons = { error: WarningOctagon, warning: Warning, hint: Info } as const;

/** What is wrong and what to do about it, in place. */
export function Problem({ level = "error", message, remedy, children }: { level?: "error" | "warning" | "hint"; message: string; remedy?: string | undefined; children?: ReactNode }) {
  const Drawing = icons[level];
  return (
    <div className={`problem ${level}`} role={level === "error" ? "alert" : "status"}>
      <Drawing className="ic" aria-hidden />
      <div className="grow selectable">
        <div>{message}</div>
        {remedy !== undefined && <div className="dim s" style={{ marginTop: 3 }}>{remedy}</div>}
        {children !== undefined && <div className="row" style={{ gap: 8, marginTop: 10, flexWrap: "wrap" }}>{children}</div>}
      </div>
    </div>
  );
}
