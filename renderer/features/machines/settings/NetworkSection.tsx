import { CaretDown } from "@phosphor-icons/react/dist/csr/CaretDown";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import { useState } from "react";
import type { AdapterConfig, AdapterModel, Attachment } from "../../../../core/contract/model";
import { isLive } from "../../../../core/contract/states";
import { call } from "../../../api/client";
import { Button } from "../../../ui/Button";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { attachmentName, networkNames } from "../../../ui/network/modes";
import { Toggle } from "../../../ui/Toggle";
import { attempt } from "../../../ui/toasts";
import { modelNames } from "../describe";
import { AttachDialog } from "../network/AttachDialog";
import { freshMac } from "./draft";
import { choicesOf } from "./choices";
import { addAdapterRefusal, linkRefusal, removeAdapterRefusal } from "./refusals";
import type { SectionProps } from "./sectionProps";

const modelNotes: Readonly<Record<AdapterModel, string>> = { virtio: "The fastest; Linux and BSD know it.", e1000: "For systems without virtio drivers, like a fresh Windows." };
/** What the contract allows: `net0` to `net3`. */
const mostAdapters = 4;

export function NetworkSection({ machine, draft, change, findings, locked, offer }: SectionProps) {
  const [attaching, setAttaching] = useState<number>();
  const unlinkable = linkRefusal(machine);
  const most = Math.min(mostAdapters, machine.engine?.capabilities.maxAdapters ?? mostAdapters);
  const withModel = offer.adapterModels.length > 1 || draft.adapters.some(({ model }) => model !== undefined && model !== "virtio");
  const set = (index: number, part: Partial<AdapterConfig>): void =>
    change({ adapters: draft.adapters.map((adapter, other) => (other === index ? { ...adapter, ...part } : adapter)) });
  // The cables of a machine that runs are not hardware that waits for "Apply", and neither are cards that come or go: the guest notices at once.
  const live = isLive(machine.state);
  const unaddable = live ? addAdapterRefusal(machine) : locked;
  const attach = (index: number, attachment: Attachment): void => {
    const before = draft.adapters[index];
    if (live) void attempt(() => call("adapter.attach", { id: machine.id, adapter: index, attachment }), machine.name);
    else set(index, { attachment, plugged: before?.attachment.mode === "none" ? attachment.mode !== "none" : (before?.plugged ?? true) });
  };
  const plug = (index: number, plugged: boolean): void => {
    if (live) void attempt(() => call("adapter.set", { id: machine.id, adapter: index, plugged }), machine.name);
    else set(index, { plugged });
  };
  const add = (): void => {
    if (live) void attempt(() => call("adapter.add", { id: machine.id, attachment: { mode: "none" } }), machine.name);
    else change({ adapters: [...draft.adapters, { mac: freshMac(), attachment: { mode: "none" }, plugged: true }] });
  };
  const remove = (index: number): void => {
    if (live) void attempt(() => call("adapter.remove", { id: machine.id, adapter: index }), machine.name);
    else change({ adapters: draft.adapters.filter((_, other) => other !== index) });
  };
  const changing = attaching === undefined ? undefined : draft.adapters[attaching];
  return (
    <section className="settings-section" id="settings-network">
      <h2>Network</h2>
      {locked !== undefined && draft.adapters.length > 0 && (
        <p className="s faint">
          {unlinkable ?? `Cables can be plugged, pulled and led elsewhere now${unaddable === undefined ? ", and adapters added" : ""}; the guest notices at once, and this needs no “Apply”. Models and addresses${unaddable === undefined ? "" : " and the number of adapters"} can change only while the machine is off.`}
        </p>
      )}
      {draft.adapters.map((adapter, index) => (
        <div key={index} role="group" aria-label={`Adapter net${index}`} className="row" style={{ gap: 10, alignItems: "flex-start" }}>
          <span className="mono dim" style={{ width: 34, paddingTop: 27 }}>net{index}</span>
          <div className={withModel ? "three adapter grow" : "two grow"}>
            <div className="field">
              <span className="label">Cable</span>
              <Button className="cable" refused={unlinkable} aria-label={`Cable of net${index}: ${attachmentName(adapter.attachment)}. Change it`} end={<CaretDown size={12} aria-hidden />} onClick={() => setAttaching(index)}>
                <span className="trunc">{attachmentName(adapter.attachment)}</span>
              </Button>
              <div className="hint">
                {adapter.attachment.network !== undefined && networkNames[adapter.attachment.mode]}
                {findings(`adapters.${index}`).map(({ level, message, remedy }) => (
                  <div key={message} className={`finding ${level}`} role={level === "error" ? "alert" : undefined}>
                    {message} {remedy}
                  </div>
                ))}
              </div>
            </div>
            {withModel && (
              <Field label="Model">
                <Choice<AdapterModel>
                  value={adapter.model ?? "virtio"}
                  disabled={locked !== undefined}
                  onChange={(model) => set(index, { model })}
                  options={choicesOf(offer.adapterModels, modelNames, adapter.model ?? "virtio", modelNotes)}
                />
              </Field>
            )}
            <Field label="MAC address">
              <input className="input mono" value={adapter.mac} spellCheck={false} disabled={locked !== undefined} onChange={(event) => set(index, { mac: event.target.value.trim().toLowerCase() })} />
            </Field>
          </div>
          <div style={{ paddingTop: 27 }}>
            <Toggle
              label={`Cable of adapter net${index} is plugged in`}
              checked={adapter.plugged && adapter.attachment.mode !== "none"}
              refused={unlinkable ?? (adapter.attachment.mode === "none" ? "Choose where the cable goes first." : undefined)}
              onChange={(plugged) => plug(index, plugged)}
            />
          </div>
          <div style={{ paddingTop: 21 }}>
            <Button look="quiet" icon={Trash} aria-label={`Remove adapter net${index}`} refused={live ? removeAdapterRefusal(machine, index) : locked} onClick={() => remove(index)} />
          </div>
        </div>
      ))}
      {draft.adapters.length === 0 && <p className="s faint">No network card.</p>}
      <div>
        <Button
          icon={Plus}
          refused={unaddable ?? (draft.adapters.length >= most ? `A machine on this engine has at most ${most} adapters.` : undefined)}
          onClick={add}
        >
          Add an adapter
        </Button>
      </div>
      {attaching !== undefined && changing && <AttachDialog adapter={attaching} attachment={changing.attachment} live={live} onAttach={(attachment) => attach(attaching, attachment)} onClose={() => setAttaching(undefined)} />}
    </section>
  );
}
