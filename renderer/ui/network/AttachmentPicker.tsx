import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { useEffect, useRef, useState } from "react";
import type { HostInfo, NetworkMode } from "../../../core/contract/model";
import type { Attachment, HostCard, NamedNetworkMode, NetworkInfo } from "../../../core/contract/network";
import { Button } from "../Button";
import { Choice } from "../Choice";
import { Field } from "../Field";
import { Problem } from "../Problem";
import { ConnectivityTable } from "./ConnectivityTable";
import { ModeCards } from "./ModeCards";
import { attachmentOf, connectivityWords, isNamedMode, modeProblem, modeProblems, networkNames } from "./modes";
import { NewNetwork, type NetworkMaker } from "./NewNetwork";
import "./network.css";

/** What there is to attach to, and how more is made. */
export interface NetworkSurroundings extends NetworkMaker {
  readonly modes: HostInfo["networkModes"];
  readonly networks: readonly NetworkInfo[];
  /** Undefined until they have come. */
  readonly cards: readonly HostCard[] | undefined;
  machineName(id: string): string | undefined;
}

/** Where an adapter's cable goes: the kind as a card, then which network or card of the host. */
export function AttachmentPicker({ value, onChange, around, table = true }: { value: Attachment; onChange(value: Attachment): void; around: NetworkSurroundings; table?: boolean }) {
  const { modes, networks, cards } = around;
  const { mode } = value;
  const latest = useRef(onChange);
  useEffect(() => {
    latest.current = onChange;
  });
  // The cards of the host may come after the kind was chosen.
  useEffect(() => {
    if (mode !== "bridged" || value.network !== undefined) return;
    const suggested = attachmentOf(mode, [], cards);
    if (suggested.network !== undefined) latest.current(suggested);
  }, [mode, value.network, cards]);
  const own = modeProblem(mode, modes);
  return (
    <div className="picker-of-networks">
      <ModeCards modes={modes} value={mode} onChoose={(chosen) => onChange(attachmentOf(chosen, networks, cards))} />
      {own && <Problem level="warning" message={`${networkNames[mode]}: ${own.reason}`} remedy={own.remedy} />}
      {modeProblems(modes).map(({ modes: refused, reason, remedy }) => (
        <p key={`${reason} ${remedy}`} className="s dim">
          <b>{listed(refused)}:</b> {reason} {remedy}
        </p>
      ))}
      {isNamedMode(mode) && !own && <NamedChoice key={mode} mode={mode} value={value} onChange={onChange} around={around} />}
      {mode === "bridged" && !own && <CardChoice value={value} onChange={onChange} cards={cards} />}
      <p className="s" aria-live="polite">{connectivityWords[mode]}</p>
      {table && <ConnectivityTable chosen={mode} />}
    </div>
  );
}

function NamedChoice({ mode, value, onChange, around }: { mode: NamedNetworkMode; value: Attachment; onChange(value: Attachment): void; around: NetworkSurroundings }) {
  const offered = around.networks.filter(({ config }) => config.mode === mode);
  const [making, setMaking] = useState(false);
  const chosen = offered.find(({ config }) => config.name === value.network);
  const gone = value.network !== undefined && chosen === undefined;
  if (making || (offered.length === 0 && !gone)) {
    return (
      <>
        {!making && <p className="s dim">There is no network of this kind yet. Make one:</p>}
        <NewNetwork
          mode={mode}
          taken={around.networks.map(({ config }) => config.name)}
          maker={around}
          onMade={({ config }) => {
            setMaking(false);
            onChange({ mode, network: config.name });
          }}
          onCancel={making ? () => setMaking(false) : undefined}
        />
      </>
    );
  }
  return (
    <div className="named">
      <div className="row" style={{ gap: 10, alignItems: "flex-end", flexWrap: "wrap" }}>
        <div style={{ width: 220 }}>
          <Field label="Which network">
            <Choice
              value={value.network ?? ""}
              onChange={(network) => onChange({ mode, network })}
              options={[
                ...offered.map(({ config, problem }) => ({ id: config.name, label: config.name, note: problem?.message ?? config.subnet ?? "no addresses of its own" })),
                ...(gone ? [{ id: value.network!, label: value.network!, note: "It is not there.", disabled: true }] : []),
              ]}
            />
          </Field>
        </div>
        <Button icon={Plus} onClick={() => setMaking(true)}>New network…</Button>
        {chosen?.config.subnet !== undefined && <span className="mono dim at-field">{chosen.config.subnet}</span>}
        {chosen && <span className="s faint at-field">{whoIsOn(chosen, around)}</span>}
      </div>
      {chosen?.problem && <Problem level="warning" message={chosen.problem.message} remedy={chosen.problem.remedy} />}
      {gone && <Problem level="warning" message={`There is no ${networkNames[mode]} called ${value.network}.`} remedy="Choose another one, or make it." />}
    </div>
  );
}

function CardChoice({ value, onChange, cards }: { value: Attachment; onChange(value: Attachment): void; cards: readonly HostCard[] | undefined }) {
  if (cards === undefined) return <p className="s dim" role="status">Looking for the cards of this computer…</p>;
  const chosen = cards.find(({ name }) => name === value.network);
  if (cards.length === 0) return <Problem level="warning" message="This computer has no network card that a machine could share." remedy="Take NAT: the machine reaches the outside all the same." />;
  return (
    <>
      <div style={{ maxWidth: 360 }}>
        <Field label="Card of this computer">
          <Choice
            value={value.network ?? ""}
            onChange={(network) => onChange({ mode: "bridged", network })}
            options={[
              ...cards.map(({ name, kind, up, addresses, problem }) => ({ id: name, label: `${name} · ${kind}`, note: problem ? problem.message : [up ? undefined : "not connected", ...addresses].filter((part) => part !== undefined).join(", "), disabled: problem !== undefined })),
              ...(value.network !== undefined && !chosen ? [{ id: value.network, label: value.network, note: "It is not there.", disabled: true }] : []),
            ]}
          />
        </Field>
      </div>
      {cards.filter(({ problem }) => problem !== undefined).map(({ name, problem }) => (
        <p key={name} className="s dim">
          <b>{name}:</b> {problem!.message} {problem!.remedy}
        </p>
      ))}
    </>
  );
}

/** "web and db are on it". */
function whoIsOn({ adapters }: NetworkInfo, { machineName }: NetworkSurroundings): string {
  const names = [...new Set(adapters.map(({ id }) => machineName(id)).filter((name) => name !== undefined))];
  if (names.length === 0) return "no machine is on it";
  if (names.length > 3) return `${names.slice(0, 2).join(", ")} and ${names.length - 2} others are on it`;
  return names.length === 1 ? `${names[0]} is on it` : `${names.slice(0, -1).join(", ")} and ${names.at(-1)} are on it`;
}

function listed(modes: readonly NetworkMode[]): string {
  const names = modes.map((mode) => networkNames[mode]);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
