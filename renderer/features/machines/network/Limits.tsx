import { useState } from "react";
import type { MachineInfo } from "../../../../core/contract/model";
import type { AdapterConfig } from "../../../../core/contract/network";
import type { ProcedureInput } from "../../../../core/contract/procedures";
import { call } from "../../../api/client";
import { Button } from "../../../ui/Button";
import { Field } from "../../../ui/Field";
import { findingsOf } from "../../../ui/network/NewNetwork";
import { Toggle } from "../../../ui/Toggle";
import { attempt } from "../../../ui/toasts";
import { rateDraftOf, rateFault, rateOf } from "./limitsDraft";

/** How much an adapter may carry, whose frames it may send, and what its way out leads to. All of it changes at once. */
export function Limits({ machine, index, adapter, refused }: { machine: MachineInfo; index: number; adapter: AdapterConfig; refused: string | undefined }) {
  const set = (part: Omit<ProcedureInput<"adapter.set">, "id" | "adapter">): void => void attempt(() => call("adapter.set", { id: machine.id, adapter: index, ...part }), machine.name);
  const nat = adapter.nat ?? { hostLoopback: false, hostNetworks: true };
  return (
    <div className="part" role="group" aria-label={`Limits of net${index}`}>
      <h3>Limits</h3>
      <Rate key={JSON.stringify(adapter.rate ?? null)} index={index} adapter={adapter} refused={refused} onSet={(rate) => set({ rate })} />
      <Switch label="Only its own MAC address" about="Frames with another sender are dropped. Bridges and machines inside of the guest need others." checked={adapter.macPolicy === "own"} refused={refused} onChange={(own) => set({ macPolicy: own ? "own" : "any" })} />
      {adapter.attachment.mode === "nat" && (
        <>
          <Switch label="The guest may reach the networks of this computer" about="Such as its LAN. What lies beyond is reached either way." checked={nat.hostNetworks} refused={refused} onChange={(hostNetworks) => set({ nat: { ...nat, hostNetworks } })} />
          <Switch label="The guest may reach programs on this computer" about="Also those that listen on 127.0.0.1 alone, at the gateway’s address." checked={nat.hostLoopback} refused={refused} onChange={(hostLoopback) => set({ nat: { ...nat, hostLoopback } })} />
        </>
      )}
    </div>
  );
}

function Switch({ label, about, checked, refused, onChange }: { label: string; about: string; checked: boolean; refused: string | undefined; onChange(on: boolean): void }) {
  return (
    <div className="row" style={{ gap: 12 }}>
      <Toggle label={label} checked={checked} refused={refused} onChange={onChange} />
      <div className="grow">
        <div>{label}</div>
        <div className="s faint">{about}</div>
      </div>
    </div>
  );
}

function Rate({ index, adapter, refused, onSet }: { index: number; adapter: AdapterConfig; refused: string | undefined; onSet(rate: ReturnType<typeof rateOf> & {} | null): void }) {
  const before = rateDraftOf(adapter.rate);
  const [draft, setDraft] = useState(before);
  const rate = rateOf(draft);
  const changed = draft.toGuest !== before.toGuest || draft.fromGuest !== before.fromGuest;
  const apply = (): void => {
    if (changed && rate !== undefined && refused === undefined) onSet(rate);
  };
  return (
    <form
      className="row"
      style={{ gap: 14, alignItems: "flex-start", flexWrap: "wrap" }}
      aria-label={`Rate limit of net${index}`}
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <Field label="To the guest, Mbit/s" width={150} findings={findingsOf("toGuest", rateFault(draft.toGuest))}>
        <input className="input" inputMode="decimal" placeholder="no limit" value={draft.toGuest} onChange={(event) => setDraft({ ...draft, toGuest: event.target.value })} />
      </Field>
      <Field label="From the guest, Mbit/s" width={150} findings={findingsOf("fromGuest", rateFault(draft.fromGuest))}>
        <input className="input" inputMode="decimal" placeholder="no limit" value={draft.fromGuest} onChange={(event) => setDraft({ ...draft, fromGuest: event.target.value })} />
      </Field>
      {changed && (
        <div style={{ paddingTop: 21 }}>
          <Button type="submit" refused={refused ?? (rate === undefined ? rateFault(draft.toGuest) ?? rateFault(draft.fromGuest) : undefined)}>Set the limit</Button>
        </div>
      )}
    </form>
  );
}
