import { Amount, stopsBetween } from "./Amount";
import { formatBytes } from "../../ui/format";
import type { StepProps } from "./step";
import { sourceDefaults } from "./draft";

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;

export function DiskStep({ draft, change, findings, host }: StepProps) {
  const withDisk = draft.diskBytes !== null;
  const ofImage = draft.source === "disk";
  const max = 2048;
  return (
    <>
      <h1>{ofImage ? "Another disk?" : "How much disk?"}</h1>
      <p className="lead">{ofImage ? "The disk image is the first disk. An empty one can stand beside it." : "A new disk grows as the guest writes: an empty one takes next to nothing."}</p>
      <div className="form">
        <label className="check">
          <input type="checkbox" checked={withDisk} onChange={(event) => change({ ...draft, diskBytes: event.target.checked ? (sourceDefaults[draft.source].diskBytes ?? 2 * GiB) : null })} />
          <span>{ofImage ? "Add an empty disk" : "Give it a disk"}</span>
        </label>
        {draft.diskBytes !== null && (
          <Amount
            id="disk"
            label="Size"
            unit="GB"
            value={draft.diskBytes % GiB === 0 ? draft.diskBytes / GiB : Math.max(1, Math.round(draft.diskBytes / GiB))}
            min={1}
            max={max}
            stops={stopsBetween(1, max)}
            hint={host === undefined ? undefined : `${formatBytes(host.diskFreeBytes)} are free where machines are kept.`}
            findings={findings.filter((finding) => finding.field.startsWith("disks"))}
            onChange={(gibibytes) => change({ ...draft, diskBytes: Math.round((gibibytes * GiB) / MiB) * MiB })}
          />
        )}
        {!withDisk && !ofImage && <p className="dim">Without a disk everything the guest writes is gone when it is powered off.</p>}
      </div>
    </>
  );
}
