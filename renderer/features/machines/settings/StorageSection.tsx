import { ArrowUUpLeft } from "@phosphor-icons/react/dist/csr/ArrowUUpLeft";
import { Disc } from "@phosphor-icons/react/dist/csr/Disc";
import { Eject } from "@phosphor-icons/react/dist/csr/Eject";
import { HardDrive } from "@phosphor-icons/react/dist/csr/HardDrive";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import { useState } from "react";
import type { DiskSpec } from "../../../../core/contract/model";
import { refusal } from "../../../../core/contract/states";
import { call, desktop } from "../../../api/client";
import { Button } from "../../../ui/Button";
import { Field } from "../../../ui/Field";
import { formatBytes } from "../../../ui/format";
import { attempt } from "../../../ui/toasts";
import { fileName } from "../describe";
import type { SectionProps } from "./sectionProps";

const gibibyte = 1024 ** 3;
/** What the contract allows: `disk0` to `disk3`. */
const mostDisks = 4;

export function StorageSection({ machine, config, draft, change, findings, locked }: SectionProps) {
  const [size, setSize] = useState("2");
  const most = Math.min(mostDisks, machine.engine?.capabilities.maxDisks ?? mostDisks);
  const count = config.disks.length - draft.removeDisks.length + draft.addDisks.length;
  const full = count >= most ? `A machine on this engine has at most ${most} disks.` : undefined;
  const bytes = Math.round(Number(size.replace(",", ".")) * gibibyte);
  const sizeProblem = Number.isFinite(bytes) && bytes >= 1024 * 1024 ? undefined : "Give the size in GB.";

  const add = (spec: DiskSpec): void => change({ addDisks: [...draft.addDisks, spec] });
  const addImage = (): Promise<void | undefined> =>
    attempt(async () => {
      const image = await desktop.pickFile("Choose a disk image", "disk");
      if (image !== null) add({ image, mode: "copy" });
    });

  return (
    <section className="settings-section" id="settings-storage">
      <h2>Storage</h2>
      <MediumRow machine={machine} config={config} draft={draft} change={change} findings={findings} locked={locked} />
      {config.disks.map((disk) => {
        const gone = draft.removeDisks.includes(disk.id);
        const file = disk.layers.at(-1)?.file ?? "";
        const linked = file.startsWith("/") || /^[A-Za-z]:/.test(file);
        return (
          <div key={disk.id} className={gone ? "item gone" : "item"}>
            <HardDrive className="ic" aria-hidden />
            <div className="grow">
              <div className="item-name">
                {disk.id} <span className="num">{formatBytes(disk.sizeBytes)}</span>
              </div>
              <div className="xs faint trunc mono" title={file}>{gone ? (linked ? "will be unlinked; the image stays" : "will be deleted with everything on it") : file}</div>
            </div>
            {gone ? (
              <Button small icon={ArrowUUpLeft} onClick={() => change({ removeDisks: draft.removeDisks.filter((id) => id !== disk.id) })}>Keep</Button>
            ) : (
              <Button small look="quiet" icon={Trash} aria-label={`Remove ${disk.id}`} refused={locked} onClick={() => change({ removeDisks: [...draft.removeDisks, disk.id] })} />
            )}
          </div>
        );
      })}
      {draft.addDisks.map((spec, index) => (
        <div key={index} className="item" style={{ borderStyle: "dashed" }}>
          <HardDrive className="ic" aria-hidden />
          <div className="grow">
            <div className="item-name">{"image" in spec ? fileName(spec.image) : <>New disk <span className="num">{formatBytes(spec.sizeBytes)}</span></>}</div>
            <div className="xs faint trunc">{"image" in spec ? "a copy is made in the machine's folder" : "empty, takes room as it fills"}</div>
          </div>
          <Button small look="quiet" icon={Trash} aria-label="Do not add this disk" onClick={() => change({ addDisks: draft.addDisks.filter((_, other) => other !== index) })} />
        </div>
      ))}
      {[...findings("disks"), ...findings("addDisks"), ...findings("removeDisks")].map((finding) => (
        <div key={finding.message} className={`finding s ${finding.level}`}>
          {finding.message} <span className="faint">{finding.remedy}</span>
        </div>
      ))}
      {config.disks.length === 0 && draft.addDisks.length === 0 && <p className="s faint">No disk: what the guest writes is gone when it is off.</p>}
      <div className="row" style={{ gap: 8, alignItems: "flex-end" }}>
        <Field label="New disk in GB" width={110}>
          <input className="input num" inputMode="decimal" value={size} disabled={locked !== undefined} onChange={(event) => setSize(event.target.value)} />
        </Field>
        <Button icon={Plus} refused={locked ?? full ?? sizeProblem} onClick={() => add({ sizeBytes: Math.ceil(bytes / 512) * 512 })}>
          Add a disk
        </Button>
        <Button refused={locked ?? full} onClick={() => void addImage()}>
          Add a copy of an image
        </Button>
      </div>
    </section>
  );
}

/** The CD is changed at once and not with the rest: also while the machine runs. */
function MediumRow({ machine, config, findings, locked }: SectionProps) {
  const drive = config.drives[0];
  const refused = drive ? refusal("changeMedium", machine) : locked;
  const put = (medium: string | null): Promise<unknown> =>
    drive ? call("machine.changeMedium", { id: machine.id, drive: "cd0", medium }) : call("machine.set", { id: machine.id, patch: { medium } });
  const insert = (): Promise<void | undefined> =>
    attempt(async () => {
      const medium = await desktop.pickFile("Choose a CD image", "iso");
      if (medium !== null) await put(medium);
    });
  return (
    <div className="item">
      <Disc className="ic" aria-hidden />
      <div className="grow">
        <div className="item-name trunc">{drive?.medium ? fileName(drive.medium) : drive ? "CD drive, empty" : "No CD drive"}</div>
        <div className="xs faint trunc" title={drive?.medium ?? undefined}>
          {drive?.medium ? drive.medium : "An ISO image can be put in; the change is made at once."}
        </div>
        {findings("medium").map((finding) => (
          <div key={finding.message} className={`finding s ${finding.level}`}>{finding.message}</div>
        ))}
      </div>
      {drive?.medium && (
        <Button small icon={Eject} refused={refused} onClick={() => void attempt(() => put(null))}>
          Eject
        </Button>
      )}
      <Button small refused={refused} onClick={() => void insert()}>
        {drive?.medium ? "Change" : "Insert"}
      </Button>
    </div>
  );
}
