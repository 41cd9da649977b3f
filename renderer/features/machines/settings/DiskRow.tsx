import { ArrowUUpLeft } from "@phosphor-icons/react/dist/csr/ArrowUUpLeft";
import { HardDrive } from "@phosphor-icons/react/dist/csr/HardDrive";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import type { DiskBus, DiskConfig } from "../../../../core/contract/model";
import { refusal } from "../../../../core/contract/states";
import { Button } from "../../../ui/Button";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { formatBytes } from "../../../ui/format";
import { busNames } from "../describe";
import { choicesOf } from "./choices";
import { diskDraftOf, type DiskDraft } from "./diskDraft";
import { plugRefusal } from "./refusals";
import { isLinked } from "./removal";
import type { SectionProps } from "./sectionProps";

/** A disk that is there: what it is, how the guest reaches it, what it may use, and the way out. */
export function DiskRow({ disk, machine, draft, change, findings, locked, offer }: SectionProps & { readonly disk: DiskConfig }) {
  const { id } = disk;
  const gone = draft.removeDisks.includes(id);
  const file = disk.layers.at(-1)?.file ?? "";
  const linked = isLinked(file);
  const settings = draft.disks[id] ?? diskDraftOf(disk);
  const set = (part: Partial<DiskDraft>): void => change({ disks: { ...draft.disks, [id]: { ...settings, ...part } } });
  const limitsRefused = refusal("setLimits", machine);
  const withBus = offer.diskBuses.length > 1 || settings.bus !== "virtio";
  const withLimits = offer.diskLimits || disk.limits !== undefined;
  return (
    <div role="group" aria-label={`Disk ${id}`} className={gone ? "item gone" : "item"}>
      <div className="item-line">
        <HardDrive className="ic" aria-hidden />
        <div className="grow">
          <div className="item-name">
            {id} <span className="num">{formatBytes(disk.sizeBytes)}</span>
          </div>
          <div className="xs faint trunc mono" title={file}>{gone ? (linked ? "will be unlinked; the image stays" : "will be deleted with everything on it") : file}</div>
        </div>
        {gone ? (
          <Button small icon={ArrowUUpLeft} aria-label={`Keep ${id}`} onClick={() => change({ removeDisks: draft.removeDisks.filter((other) => other !== id) })}>Keep</Button>
        ) : (
          <Button small look="quiet" icon={Trash} aria-label={`Remove ${id}`} refused={plugRefusal(machine, disk.bus)} onClick={() => change({ removeDisks: [...draft.removeDisks, id] })} />
        )}
      </div>
      {!gone && (withBus || withLimits) && (
        <div className="three item-more">
          {withBus && (
            <Field label="Bus">
              <Choice<DiskBus> value={settings.bus} disabled={locked !== undefined} onChange={(bus) => set({ bus })} options={choicesOf(offer.diskBuses, busNames, settings.bus, busNotes)} />
            </Field>
          )}
          {withLimits && (
            <>
              <Field label="Limit in MB/s" findings={findings(`limits.${id}.bytesPerSecond`)}>
                <input className="input num" inputMode="decimal" placeholder="none" value={settings.megabytesPerSecond} disabled={limitsRefused !== undefined} onChange={(event) => set({ megabytesPerSecond: event.target.value })} />
              </Field>
              <Field label="Limit in operations/s" findings={findings(`limits.${id}.operationsPerSecond`)}>
                <input className="input num" inputMode="numeric" placeholder="none" value={settings.operationsPerSecond} disabled={limitsRefused !== undefined} onChange={(event) => set({ operationsPerSecond: event.target.value })} />
              </Field>
            </>
          )}
        </div>
      )}
    </div>
  );
}

export const busNotes: Readonly<Record<DiskBus, string>> = {
  virtio: "The fastest; can be plugged in while the machine runs.",
  sata: "For systems without virtio drivers, like a fresh Windows.",
  scsi: "Virtio SCSI.",
};
