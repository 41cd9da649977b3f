import { TerminalWindow } from "@phosphor-icons/react/dist/csr/TerminalWindow";
import { useState } from "react";
import type { MachineInfo } from "../../../../core/contract/model";
import type { AdapterConfig, Attachment, NetworkRef } from "../../../../core/contract/network";
import { sshRoute } from "../../../../core/contract/sshRoute";
import { isLive } from "../../../../core/contract/states";
import { call, desktop } from "../../../api/client";
import { useNetworks, useStore } from "../../../api/hooks";
import { useFlows, useLeases } from "../../../api/network";
import { Button } from "../../../ui/Button";
import { FlowTable } from "../../../ui/network/FlowTable";
import { LeaseTable } from "../../../ui/network/LeaseTable";
import { attachmentName, connectivityWords, isNamedMode, isNatMode, networkColours, networkNames } from "../../../ui/network/modes";
import { Nothing } from "../../../ui/Page";
import { Problem } from "../../../ui/Problem";
import { Toggle } from "../../../ui/Toggle";
import { attempt } from "../../../ui/toasts";
import { useNow } from "../../../ui/useNow";
import { modelNames } from "../describe";
import { linkRefusal } from "../settings/refusals";
import { AttachDialog } from "./AttachDialog";
import { Forwards } from "./Forwards";
import { Limits } from "./Limits";
import "./network.css";

/** A machine's adapters: where their cables go, what leads in, and who they talk to. Everything here changes at once. */
export default function Network({ machine, onSettings }: { machine: MachineInfo; onSettings(): void }) {
  const { config } = machine;
  if (!config) {
    return (
      <div className="network-tab">
        <Problem message={machine.problem?.message ?? "The machine's configuration cannot be read."} remedy={machine.problem?.remedy} />
      </div>
    );
  }
  const route = sshRoute(machine);
  return (
    <div className="network-tab">
      <div className="row" style={{ gap: 10 }}>
        <p className="dim grow">{isLive(machine.state) ? "Changes reach the running guest at once." : "What is set here is there when the machine starts."}</p>
        <button type="button" className="lk" onClick={onSettings}>Cards and their addresses</button>
        <Button icon={TerminalWindow} refused={"refused" in route ? `${route.refused} ${route.remedy}` : undefined} onClick={() => void attempt(() => desktop.openConsole(machine.id, "ssh"), machine.name)}>
          Connect by SSH
        </Button>
      </div>
      {config.adapters.length === 0 && <Nothing>This machine has no network card. One can be added in the settings.</Nothing>}
      {config.adapters.map((adapter, index) => (
        <Adapter key={adapter.mac} machine={machine} index={index} adapter={adapter} />
      ))}
    </div>
  );
}

function Adapter({ machine, index, adapter }: { machine: MachineInfo; index: number; adapter: AdapterConfig }) {
  const { mode } = adapter.attachment;
  const status = machine.network?.find((other) => other.adapter === index);
  const refused = linkRefusal(machine);
  const [attaching, setAttaching] = useState(false);
  const network = useNetworks().find(({ config }) => isNamedMode(mode) && config.name === adapter.attachment.network);
  const addresses = [...new Set([...machine.guest.addresses.filter((entry) => entry.adapter === index).map(({ address }) => address), ...(status?.address === undefined ? [] : [status.address])])];
  const attach = (attachment: Attachment): void => void attempt(() => call("adapter.attach", { id: machine.id, adapter: index, attachment }), machine.name);
  const live = isLive(machine.state);
  const words = mode === "none" ? "no cable" : !adapter.plugged ? "cable pulled" : status ? (status.problem ? "leads nowhere" : status.connected ? "connected" : "not connected") : live ? "plugged in" : "plugged in, machine off";
  return (
    <section className="adapter-section" aria-label={`Adapter net${index}`}>
      <header className="row" style={{ gap: 12, flexWrap: "wrap" }}>
        <span className="plug" style={{ background: networkColours[mode] }} aria-hidden="true" />
        <h2>
          <span className="mono dim">net{index}</span> {attachmentName(adapter.attachment)}
        </h2>
        {adapter.attachment.network !== undefined && <span className="chip">{networkNames[mode]}</span>}
        <span className={words === "connected" ? "s leaf" : "s faint"}>{words}</span>
        <span className="grow" />
        <Button small refused={refused} onClick={() => setAttaching(true)}>Plug in elsewhere…</Button>
        <Toggle
          label={`Cable of net${index} is plugged in`}
          checked={adapter.plugged && mode !== "none"}
          refused={refused ?? (mode === "none" ? "Choose where the cable goes first." : undefined)}
          onChange={(plugged) => void attempt(() => call("adapter.set", { id: machine.id, adapter: index, plugged }), machine.name)}
        />
      </header>
      <dl className="kv">
        <dt>Address</dt>
        <dd className={addresses.length > 0 ? "mono" : "faint"}>{addresses.length > 0 ? addresses.join(", ") : live ? "none yet" : "none while it is off"}</dd>
        <dt>Card</dt>
        <dd>
          {modelNames[adapter.model ?? "virtio"]}, <span className="mono">{adapter.mac}</span>
        </dd>
        {network?.config.subnet !== undefined && (
          <>
            <dt>Subnet</dt>
            <dd className="mono">{network.config.subnet}</dd>
          </>
        )}
        <dt>Reach</dt>
        <dd className="dim">{connectivityWords[mode]}</dd>
      </dl>
      {status?.problem && <Problem level="warning" message={status.problem.message} remedy={status.problem.remedy} />}
      {network?.problem && <Problem level="warning" message={network.problem.message} remedy={network.problem.remedy} />}
      {isNatMode(mode) && <Forwards machine={machine} index={index} adapter={adapter} status={status} refused={refused} />}
      <Limits machine={machine} index={index} adapter={adapter} refused={refused} />
      {live && <Traffic machine={machine} index={index} attachment={adapter.attachment} />}
      {attaching && <AttachDialog adapter={index} attachment={adapter.attachment} live={live} onAttach={attach} onClose={() => setAttaching(false)} />}
    </section>
  );
}

/** Which network to ask about an adapter's leases and flows. */
function networkOf(id: string, adapter: number, { mode, network }: Attachment): NetworkRef | undefined {
  if (mode === "nat") return { id, adapter };
  return isNamedMode(mode) && network !== undefined ? { network } : undefined;
}

/** The addresses an adapter was given, and its conversations through the gateway. */
function Traffic({ machine, index, attachment }: { machine: MachineInfo; index: number; attachment: Attachment }) {
  const { machines } = useStore();
  const of = networkOf(machine.id, index, attachment);
  const leases = useLeases(of);
  const nat = isNatMode(attachment.mode);
  const flows = useFlows(nat ? of : undefined);
  const now = useNow(1000);
  if (!of) return null;
  const mine = <T extends { machine?: { id: string; adapter: number } | undefined }>(entries: readonly T[] | undefined): T[] => (entries ?? []).filter((entry) => (entry.machine ? entry.machine.id === machine.id && entry.machine.adapter === index : attachment.mode === "nat"));
  const given = mine(leases.value);
  const talking = mine(flows.value);
  return (
    <>
      <div className="part" role="group" aria-label={`Addresses given to net${index}`}>
        <h3>Addresses given out</h3>
        {leases.failure ? <Problem level="warning" {...leases.failure} /> : given.length === 0 ? <p className="s faint">None yet. The guest asks for one by DHCP.</p> : <LeaseTable of={`net${index}`} leases={given} now={now} machineName={(id) => machines.get()?.get(id)?.name} />}
      </div>
      {nat && (
        <div className="part" role="group" aria-label={`Conversations of net${index}`}>
          <h3>Conversations{talking.length > 0 && <span className="faint num"> {talking.length}</span>}</h3>
          {flows.failure ? (
            <Problem level="warning" {...flows.failure} />
          ) : talking.length === 0 ? (
            <p className="s faint">The guest talks to nobody outside now.</p>
          ) : (
            <FlowTable
              of={`net${index}`}
              flows={talking}
              now={now}
              onCut={({ id }) =>
                void attempt(async () => {
                  await call("network.cutFlow", { of, flow: id });
                  flows.again();
                }, machine.name)
              }
            />
          )}
        </div>
      )}
    </>
  );
}
