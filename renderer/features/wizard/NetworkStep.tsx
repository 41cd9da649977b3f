import { Plugs } from "@phosphor-icons/react/dist/csr/Plugs";
import { Network } from "@phosphor-icons/react/dist/csr/Network";
import type { AdapterModel, NetworkMode } from "../../../core/contract/model";
import { Advanced } from "./Advanced";
import { Cards, type CardChoice } from "./Cards";
import { answered } from "./draft";
import { Findings } from "./Findings";
import { Options } from "./Options";
import type { StepProps } from "./step";
import { candidates } from "./suggestions";

const modes: Readonly<Record<NetworkMode, Omit<CardChoice<NetworkMode>, "value">>> = {
  none: { title: "Unplugged", detail: "An adapter without a cable. Nothing reaches the machine, and it reaches nothing.", icon: Plugs },
  nat: { title: "NAT", detail: "Its own private way out.", icon: Network },
  "nat-network": { title: "NAT network", detail: "A way out, shared with others.", icon: Network },
  bridged: { title: "Bridged", detail: "Straight on your real network.", icon: Network },
  internal: { title: "Internal", detail: "Sealed: only other machines.", icon: Network },
  "host-only": { title: "Host-only", detail: "The host and other machines.", icon: Network },
};

/** Only the modes that work on this host can be chosen; what is not there is said in words, not shown as a dead card. */
export function NetworkStep(props: StepProps) {
  const { draft, change, findings, host } = props;
  const offered = host?.networkModes.filter((entry) => entry.available).map((entry) => entry.mode) ?? ["none" as const];
  const reasons = [...new Set(host?.networkModes.filter((entry) => !entry.available).map((entry) => entry.reason))].filter((reason) => reason !== undefined);
  return (
    <>
      <h1>Who should this machine talk to?</h1>
      <p className="lead">Pick where the cable of its first adapter goes.</p>
      <Cards label="Network" choices={offered.map((mode) => ({ value: mode, ...modes[mode] }))} value={draft.networkMode} onChoose={(networkMode) => change({ ...draft, networkMode })} />
      <div className="form">
        {reasons.map((reason) => (
          <p key={reason} className="dim">
            {reason}
          </p>
        ))}
        <Findings list={findings} />
        <Advanced>
          <Model {...props} />
        </Advanced>
      </div>
    </>
  );
}

const modelNotes: Readonly<Record<AdapterModel, readonly [string, string]>> = {
  virtio: ["virtio", "The fastest. Linux and BSD know it; Windows needs a driver first."],
  e1000: ["Intel e1000", "Known to nearly every system."],
};

function Model({ draft, change, host, systems }: StepProps) {
  const engines = candidates(draft, { host, systems });
  return (
    <Options
      label="Network card"
      value={draft.adapterModel}
      onChoose={(adapterModel) => change(answered(draft, { adapterModel }))}
      options={(["virtio", "e1000"] as const).map((model) => ({
        value: model,
        title: modelNotes[model][0],
        note: modelNotes[model][1],
        refused: engines.length === 0 || engines.some((engine) => engine.capabilities.adapterModels.includes(model)) ? undefined : `${engines.map((engine) => engine.label).join(" and ")} has no ${modelNotes[model][0]}.`,
      }))}
    />
  );
}
