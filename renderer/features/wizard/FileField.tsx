import { FolderOpen } from "@phosphor-icons/react/dist/csr/FolderOpen";
import { useEffect, useId, useState } from "react";
import type { FileInspection, Finding } from "../../../core/contract/model";
import { call, desktop } from "../../api/client";
import { Button } from "../../ui/Button";
import { formatBytes } from "../../ui/format";
import { attempt } from "../../ui/toasts";

export interface FileFieldProps {
  readonly label: string;
  readonly kind: "iso" | "disk" | "kernel" | "initrd";
  readonly path: string;
  readonly findings?: readonly Finding[];
  readonly hint?: string;
  onChange(path: string): void;
}

/** A file of the host: typed or picked, with what it is by its content. */
export function FileField({ label, kind, path, findings = [], hint, onChange }: FileFieldProps) {
  const id = useId();
  const [inspection, setInspection] = useState<FileInspection>();
  useEffect(() => {
    setInspection(undefined);
    if (path === "") return undefined;
    let current = true;
    const timer = setTimeout(() => {
      // A file that cannot be looked at is what the findings below the field are about.
      call("media.inspect", { path }).then(
        (found) => current && setInspection(found),
        () => current && setInspection(undefined),
      );
    }, 150);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [path]);
  const pick = (): void =>
    void attempt(async () => {
      const picked = await desktop.pickFile(label, kind);
      if (picked !== null) onChange(picked);
    });
  const wrong = findings.some((finding) => finding.level === "error");
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <div className="row" style={{ gap: 8 }}>
        <input id={id} className="input mono" value={path} spellCheck={false} aria-describedby={`${id}-notes`} aria-invalid={wrong || undefined} onChange={(event) => onChange(event.target.value)} />
        <Button icon={FolderOpen} onClick={pick}>
          Browse…
        </Button>
      </div>
      <div id={`${id}-notes`} className="hint">
        {inspection !== undefined && inspection.problem === undefined ? describe(inspection) : hint}
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

function describe(file: FileInspection): string {
  const parts = [file.format, file.label, file.bootable === undefined ? undefined : file.bootable ? "bootable" : "not bootable", formatBytes(file.sizeBytes)];
  return parts.filter((part) => part !== undefined && part !== "").join(", ");
}
