import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import type { AdapterConfig, NetworkMode } from "../../../../core/contract/model";
import { useHost } from "../../../api/hooks";
import { Button } from "../../../ui/Button";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { networkNames } from "../describe";
import { freshMac } from "./draft";
import type { SectionProps } from "./sectionProps";

/** What the contract allows: `net0` to `net3`. */
const mostAdapters = 4;

export function NetworkSection({ machine, draft, change, findings, locked }: SectionProps) {
  const modes = useHost()?.networkModes ?? [];
  const most = Math.min(mostAdapters, machine.engine?.capabilities.maxAdapters ?? mostAdapters);
  const set = (index: number, part: Partial<AdapterConfig>): void =>
    change({ adapters: draft.adapters.map((adapter, other) => (other === index ? { ...adapter, ...part } : adapter)) });
  return (
    <section className="settings-section" id="settings-network">
      <h2>Network</h2>
      {draft.adapters.map((adapter, index) => (
        <div key={index} className="row" style={{ gap: 10, alignItems: "flex-start" }}>
          <span className="mono dim" style={{ width: 34, paddingTop: 27 }}>net{index}</span>
          <div className="two grow">
            <Field label="Cable" findings={findings(`adapters.${index}`)}>
              <Choice<NetworkMode>
                value={adapter.attachment.mode}
                disabled={locked !== undefined}
                onChange={(mode) => set(index, { attachment: { mode } })}
                options={modes.map(({ mode, available, reason }) => ({ id: mode, label: networkNames[mode], note: available ? undefined : reason, disabled: !available }))}
              />
            </Field>
            <Field label="MAC address">
              <input className="input mono" value={adapter.mac} spellCheck={false} disabled={locked !== undefined} onChange={(event) => set(index, { mac: event.target.value.trim().toLowerCase() })} />
            </Field>
          </div>
          <div style={{ paddingTop: 21 }}>
            <Button look="quiet" icon={Trash} aria-label={`Remove adapter net${index}`} refused={locked} onClick={() => change({ adapters: draft.adapters.filter((_, other) => other !== index) })} />
          </div>
        </div>
      ))}
      {draft.adapters.length === 0 && <p className="s faint">No network card.</p>}
      <div>
        <Button
          icon={Plus}
          refused={locked ?? (draft.adapters.length >= most ? `A machine on this engine has at most ${most} adapters.` : undefined)}
          onClick={() => change({ adapters: [...draft.adapters, { mac: freshMac(), attachment: { mode: "none" }, plugged: true }] })}
        >
          Add an adapter
        </Button>
      </div>
    </section>
  );
}
