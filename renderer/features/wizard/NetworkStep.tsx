import { Plugs } from "@phosphor-icons/react/dist/csr/Plugs";
import { Network } from "@phosphor-icons/react/dist/csr/Network";
import type { NetworkMode } from "../../../core/contract/model";
import { Cards, type CardChoice } from "./Cards";
import type { StepProps } from "./step";

const modes: Readonly<Record<NetworkMode, Omit<CardChoice<NetworkMode>, "value">>> = {
  none: { title: "Unplugged", detail: "An adapter without a cable. Nothing reaches the machine, and it reaches nothing.", icon: Plugs },
  nat: { title: "NAT", detail: "Its own private way out.", icon: Network },
  "nat-network": { title: "NAT network", detail: "A way out, shared with others.", icon: Network },
  bridged: { title: "Bridged", detail: "Straight on your real network.", icon: Network },
  internal: { title: "Internal", detail: "Sealed: only other machines.", icon: Network },
  "host-only": { title: "Host-only", detail: "The host and other machines.", icon: Network },
};

/** Only the modes that work on this host can be chosen; what is not there is said in words, not shown as a dead card. */
export function NetworkStep({ draft, change, findings, host }: StepProps) {
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
        {findings.map((finding) => (
          <div key={finding.message} className={`finding ${finding.level}`}>
            {finding.message} {finding.remedy}
          </div>
        ))}
      </div>
    </>
  );
}
