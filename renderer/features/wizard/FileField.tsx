import { FolderOpen } from "@phosphor-icons/react/dist/csr/FolderOpen";
import { useId } from "react";
import type { FileInspection, Finding } from "../../../core/contract/model";
import { desktop } from "../../api/client";
import { Button } from "../../ui/Button";
import { attempt } from "../../ui/toasts";
import { Findings } from "./Findings";
import { describeFile } from "./words";

export interface FileFieldProps {
  readonly label: string;
  readonly kind: "iso" | "disk" | "kernel" | "initrd";
  readonly path: string;
  /** What the file is, once it has been looked at. */
  readonly inspection: FileInspection | undefined;
  readonly findings?: readonly Finding[];
  readonly hint?: string;
  onChange(path: string): void;
}

/** A file of the host: typed or picked, with what it is by its content. */
export function FileField({ label, kind, path, inspection, findings = [], hint, onChange }: FileFieldProps) {
  const id = useId();
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
        <Button icon={FolderOpen} aria-label={`Browse for: ${label}`} onClick={pick}>
          Browse…
        </Button>
      </div>
      <div id={`${id}-notes`} className="hint">
        {inspection !== undefined && inspection.problem === undefined ? describeFile(inspection) : hint}
        <Findings list={findings} />
      </div>
    </div>
  );
}
