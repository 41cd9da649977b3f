import { Disc } from "@phosphor-icons/react/dist/csr/Disc";
import { Eject } from "@phosphor-icons/react/dist/csr/Eject";
import { HardDrive } from "@phosphor-icons/react/dist/csr/HardDrive";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import { useState } from "react";
import type { DiskBus, DiskSpec } from "../../../../core/contract/model";
import { isLive, refusal } from "../../../../core/contract/states";
import { call, desktop } from "../../../api/client";
import { Button } from "../../../ui/Button";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { formatBytes } from "../../../ui/format";
import { attempt } from "../../../ui/toasts";
import { busNames, fileName } from "../describe";
import { choicesOf } from "./choices";
import { busNotes, DiskRow } from "./DiskRow";
import { plugRefusal } from "./refusals";
import type { SectionProps } from "./sectionProps";

const gibibyte = 1024 ** 3;
/** What the contract allows: `disk0` to `disk3`. */
const mostDisks = 4;

export function StorageSection(props: SectionProps) {
  const { machine, config, draft, change, findings, offer } = props;
  const [size, setSize] = useState("2");
  const [wantedBus, setBus] = useState<DiskBus>("virtio");
  const live = isLive(machine.state);
  // A choice of before may not be on offer any more: the machine runs, or another engine was chosen.
  const bus = offer.diskBuses.includes(wantedBus) && plugRefusal(machine, wantedBus) === undefined ? wantedBus : "virtio";
  const refused = plugRefusal(machine);
  const most = Math.min(mostDisks, machine.engine?.capabilities.maxDisks ?? mostDisks);
  const count = config.disks.length - draft.removeDisks.length + draft.addDisks.length;
  const full = count >= most ? `A machine on this engine has at most ${most} disks.` : undefined;
  const bytes = Math.round(Number(size.replace(",", ".")) * gibibyte);
  const sizeProblem = Number.isFinite(bytes) && bytes >= 1024 * 1024 ? undefined : "Give the size in GB.";

  const onBus = bus === "virtio" ? {} : { bus };
  const add = (spec: DiskSpec): void => change({ addDisks: [...draft.addDisks, spec] });
  const addImage = (): Promise<void | undefined> =>
    attempt(async () => {
      const image = await desktop.pickFile("Choose a disk image", "disk");
      if (image !== null) add({ image, mode: "copy", ...onBus });
    }, machine.name);

  const unpluggable = (id: DiskBus): { note: string; disabled: true } | undefined => {
    const note = plugRefusal(machine, id);
    return note === undefined ? undefined : { note, disabled: true };
  };

  return (
    <section className="settings-section" id="settings-storage">
      <h2>Storage</h2>
      <MediumRow {...props} />
      {config.disks.map((disk) => (
        <DiskRow key={disk.id} disk={disk} {...props} />
      ))}
      {draft.addDisks.map((spec, index) => (
        <div key={index} className="item" style={{ borderStyle: "dashed" }}>
          <div className="item-line">
            <HardDrive className="ic" aria-hidden />
            <div className="grow">
              <div className="item-name trunc">{"image" in spec ? fileName(spec.image) : <>New disk <span className="num">{formatBytes(spec.sizeBytes)}</span></>}</div>
              <div className="xs faint trunc">
                {"image" in spec ? "a copy is made in the machine's folder" : "empty, takes room as it fills"}
                {offer.diskBuses.length > 1 && `; on ${busNames[spec.bus ?? "virtio"]}`}
                {live && "; plugged in at once when applied"}
              </div>
            </div>
            <Button small look="quiet" icon={Trash} aria-label="Do not add this disk" onClick={() => change({ addDisks: draft.addDisks.filter((_, other) => other !== index) })} />
          </div>
        </div>
      ))}
      {[...findings("disks"), ...findings("addDisks"), ...findings("removeDisks")].map((finding) => (
        <div key={finding.message} className={`finding s ${finding.level}`}>
          {finding.message} <span className="faint">{finding.remedy}</span>
        </div>
      ))}
      {config.disks.length === 0 && draft.addDisks.length === 0 && <p className="s faint">No disk: what the guest writes is gone when it is off.</p>}
      {offer.diskLimits && config.disks.length > 0 && <p className="s faint">Limits count reading and writing together{live ? ", and hold as soon as they are applied" : ""}.</p>}
      {refused !== undefined && <p className="s faint">{refused}</p>}
      <div className="row" style={{ gap: 8, alignItems: "flex-end", flexWrap: "wrap" }}>
        <Field label="New disk in GB" width={110}>
          <input className="input num" inputMode="decimal" value={size} disabled={refused !== undefined} onChange={(event) => setSize(event.target.value)} />
        </Field>
        {offer.diskBuses.length > 1 && (
          <div style={{ width: 104 }}>
            <Field label="On bus">
              <Choice<DiskBus>
                value={bus}
                disabled={refused !== undefined}
                onChange={setBus}
                options={choicesOf(offer.diskBuses, busNames, bus, busNotes).map((option) => ({ ...option, ...unpluggable(option.id) }))}
              />
            </Field>
          </div>
        )}
        <Button icon={Plus} refused={refused ?? full ?? sizeProblem} onClick={() => add({ sizeBytes: Math.ceil(bytes / 512) * 512, ...onBus })}>
          Add a disk
        </Button>
        <Button refused={refused ?? full} onClick={() => void addImage()}>
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
    }, machine.name);
  return (
    <div className="item">
      <div className="item-line">
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
          <Button small icon={Eject} refused={refused} onClick={() => void attempt(() => put(null), machine.name)}>
            Eject
          </Button>
        )}
        <Button small refused={refused} onClick={() => void insert()}>
          {drive?.medium ? "Change" : "Insert"}
        </Button>
      </div>
    </div>
  );
}
