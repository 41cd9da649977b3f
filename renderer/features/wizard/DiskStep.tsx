import type { DiskBus } from "../../../core/contract/model";
import { formatBytes } from "../../ui/format";
import { Advanced } from "./Advanced";
import { Amount, stopsBetween } from "./Amount";
import { hasSeed } from "./answers";
import { answered, convertedTo, linkRefusal } from "./draft";
import { Options } from "./Options";
import type { StepProps } from "./step";
import { candidates, GiB, imageBytes, sourceDefaults, systemOf } from "./suggestions";
import { busWords, systemName } from "./words";

const maxGiB = 2048;

export function DiskStep(props: StepProps) {
  const { draft, change, findings, host, systems } = props;
  const ofImage = draft.source === "disk";
  // The image is the first disk, and an empty one stands behind it.
  const emptyField = ofImage ? "disks.1" : "disks.0";
  const of = (field: string) => findings.filter((finding) => finding.field === field);
  const system = systemOf(draft, { systems, host });
  const suggested = (draft.source === "iso" ? system?.diskBytes : undefined) || (sourceDefaults[draft.source].diskBytes ?? 2 * GiB);
  const free = host === undefined ? "" : `${formatBytes(host.diskFreeBytes)} are free where machines are kept.`;
  const usual = system && draft.source === "iso" && !system.id.startsWith("other-") && system.diskBytes > 0 ? `${systemName(system)} does well with ${formatBytes(system.diskBytes)}. ` : "";
  const general = findings.filter((finding) => finding.field !== "disks.0" && finding.field !== emptyField);
  return (
    <>
      <h1>{ofImage ? "How is the image used?" : "How much disk?"}</h1>
      <p className="lead">{ofImage ? "The disk image is the machine’s first disk. An empty one can stand beside it." : "A new disk grows as the guest writes: an empty one takes next to nothing."}</p>
      <div className="form">
        {ofImage && <ImageUse {...props} findings={of("disks.0")} />}
        <label className="check">
          <input type="checkbox" checked={draft.diskBytes !== null} onChange={(event) => change(answered(draft, { diskBytes: event.target.checked ? suggested : null }))} />
          <span>{ofImage ? "Add an empty disk" : "Give it a disk"}</span>
        </label>
        {draft.diskBytes !== null && (
          <Amount id="disk" label="Size" unit="GB" value={gibibytes(draft.diskBytes)} min={1} max={maxGiB} stops={stopsBetween(1, maxGiB)} hint={usual + free} findings={of(emptyField)} onChange={(size) => change(answered(draft, { diskBytes: size * GiB }))} />
        )}
        {draft.diskBytes === null && !ofImage && <p className="dim">Without a disk everything the guest writes is gone when it is powered off.</p>}
        {general.map((finding) => (
          <div key={finding.field + finding.message} className={`finding ${finding.level}`} role={finding.level === "error" ? "alert" : undefined}>
            {finding.message} <span className="faint">{finding.remedy}</span>
          </div>
        ))}
        {(ofImage || draft.diskBytes !== null) && (
          <Advanced>
            <Bus {...props} />
          </Advanced>
        )}
      </div>
    </>
  );
}

/** Copy or in place, what becomes of its format, and how long the copy is. */
function ImageUse({ draft, change, findings, host, engine, systems }: StepProps) {
  const target = convertedTo(draft, engine);
  const bytes = imageBytes(draft);
  const least = Math.max(1, Math.floor(bytes / GiB) + 1);
  const system = systemOf(draft, { systems, host });
  return (
    <>
      <Options
        label="The image"
        value={draft.imageMode}
        onChoose={(imageMode) => change({ ...draft, imageMode })}
        options={[
          { value: "copy", title: "Copy it into the machine’s folder", note: target === undefined ? "The original stays as it is." : `${draft.inspection?.format} is converted to ${target} in the machine’s folder; the original stays as it is.` },
          { value: "link", title: "Use it where it is", note: "The machine writes into that file.", refused: linkRefusal(draft, engine) },
        ]}
        findings={findings}
      />
      {draft.imageMode === "copy" && (
        <>
          <label className="check">
            <input type="checkbox" checked={draft.growTo !== null} onChange={(event) => change(answered(draft, { growTo: event.target.checked ? Math.max(least, 10) * GiB : null }))} />
            <span>
              Make the copy larger
              <span className="note">{hasSeed(draft) ? "Cloud images are small; the guest’s file system is grown into the room at the first boot." : "The guest sees a larger disk; its partitions stay as they are until you grow them there."}</span>
            </span>
          </label>
          {draft.growTo !== null && (
            <Amount
              id="grow"
              label="Size of the copy"
              unit="GB"
              value={gibibytes(draft.growTo)}
              min={least}
              max={Math.max(maxGiB, least)}
              stops={stopsBetween(least, Math.max(maxGiB, least))}
              hint={`${bytes > 0 ? `The disk in the image has ${formatBytes(bytes)}. ` : ""}${system && hasSeed(draft) ? "10 to 20 GB do for most. " : ""}${host === undefined ? "" : `${formatBytes(host.diskFreeBytes)} are free where machines are kept; the copy takes what is written to it.`}`}
              onChange={(size) => change(answered(draft, { growTo: size * GiB }))}
            />
          )}
        </>
      )}
    </>
  );
}

const busNotes: Readonly<Record<DiskBus, string>> = {
  virtio: "The fastest. Linux and BSD know it; Windows needs a driver first.",
  sata: "Known to every system since 2005.",
  scsi: "virtio SCSI: fast as well, for systems that want SCSI disks.",
};

function Bus({ draft, change, host, systems }: StepProps) {
  const engines = candidates(draft, { host, systems });
  return (
    <Options
      label="Disks are connected by"
      value={draft.diskBus}
      onChoose={(diskBus) => change(answered(draft, { diskBus }))}
      options={(["virtio", "sata", "scsi"] as const).map((bus) => ({
        value: bus,
        title: busWords[bus],
        note: busNotes[bus],
        refused: engines.length === 0 || engines.some((engine) => engine.capabilities.diskBuses.includes(bus)) ? undefined : `${engines.map((engine) => engine.label).join(" and ")} has no ${busWords[bus]}.`,
      }))}
    />
  );
}

/** At least one: the field below takes whole numbers. */
function gibibytes(bytes: number): number {
  return Math.max(1, Math.round(bytes / GiB));
}
