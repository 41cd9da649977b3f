import { CaretRight } from "@phosphor-icons/react/dist/csr/CaretRight";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { useState } from "react";
import type { NamedNetworkMode, NetworkInfo } from "../../../core/contract/network";
import { call } from "../../api/client";
import { useNetworks, useStore } from "../../api/hooks";
import { useFlows, useLeases, useNetworkSurroundings } from "../../api/network";
import { Button } from "../../ui/Button";
import { Choice } from "../../ui/Choice";
import { Field } from "../../ui/Field";
import { confirm } from "../../ui/confirm";
import { plural } from "../../ui/format";
import { ConnectivityTable } from "../../ui/network/ConnectivityTable";
import { FlowTable } from "../../ui/network/FlowTable";
import { LeaseTable } from "../../ui/network/LeaseTable";
import { connectivityWords, modeDetails, modeProblem, namedModes, networkColours, networkNames } from "../../ui/network/modes";
import { withReservation } from "../../ui/network/networkDraft";
import { NewNetwork } from "../../ui/network/NewNetwork";
import { Nothing, Page } from "../../ui/Page";
import { Problem } from "../../ui/Problem";
import { attempt, toasts } from "../../ui/toasts";
import { useNow } from "../../ui/useNow";
import { EditNetwork } from "./EditNetwork";
import "./networks.css";

/** The named networks: which there are, who is on them, and what passes. */
export default function NetworksPage({ windowButtons, onMachine }: { windowButtons: React.ReactNode; onMachine(id: string): void }) {
  const networks = useNetworks();
  const [making, setMaking] = useState(false);
  const [open, setOpen] = useState<string>();
  return (
    <Page
      title="Networks"
      about="Networks with a name, which machines share. A machine’s own NAT needs none."
      windowButtons={windowButtons}
      actions={<Button look="primary" icon={Plus} refused={making ? "The form is below." : undefined} onClick={() => setMaking(true)}>New network</Button>}
    >
      {making && (
        <Making
          onDone={(made) => {
            setMaking(false);
            if (made) setOpen(made);
          }}
        />
      )}
      {networks.length === 0 && !making && (
        <div className="teaching">
          <Nothing>No network yet. Machines on the same network reach each other; whether they reach the outside, and who reaches them, is a matter of its kind:</Nothing>
          <ConnectivityTable />
        </div>
      )}
      <ul className="networks">
        {networks.map((network) => (
          <Network key={network.config.name} network={network} open={open === network.config.name} onOpen={(wanted) => setOpen(wanted ? network.config.name : undefined)} onMachine={onMachine} />
        ))}
      </ul>
    </Page>
  );
}

function Making({ onDone }: { onDone(made?: string): void }) {
  const around = useNetworkSurroundings();
  const offered = namedModes.filter((mode) => modeProblem(mode, around.modes) === undefined);
  const [mode, setMode] = useState<NamedNetworkMode>(offered[0] ?? "nat-network");
  return (
    <section className="making" aria-label="New network">
      <Field label="Kind" hint={connectivityWords[mode]}>
        <Choice<NamedNetworkMode>
          value={mode}
          onChange={setMode}
          options={namedModes.map((each) => {
            const problem = modeProblem(each, around.modes);
            return { id: each, label: networkNames[each], note: problem ? `${problem.reason} ${problem.remedy ?? ""}` : modeDetails[each], disabled: problem !== undefined };
          })}
        />
      </Field>
      <NewNetwork key={mode} mode={mode} taken={around.networks.map(({ config }) => config.name)} maker={around} onMade={({ config }) => onDone(config.name)} onCancel={() => onDone()} />
    </section>
  );
}

function Network({ network, open, onOpen, onMachine }: { network: NetworkInfo; open: boolean; onOpen(open: boolean): void; onMachine(id: string): void }) {
  const { config, adapters, problem, gateway, hostInterface } = network;
  const { machines } = useStore();
  const [editing, setEditing] = useState(false);
  const users = [...new Set(adapters.map(({ id }) => id))];
  const remove = async (): Promise<void> => {
    const yes = await confirm({ title: `Delete the network ${config.name}?`, body: "Its settings and reserved addresses are lost. No machine is deleted.", action: "Delete", danger: true });
    if (!yes) return;
    const gone = await attempt(() => call("network.delete", { network: config.name }), config.name);
    if (gone) toasts.show({ level: "success", message: `Deleted the network ${config.name}.` });
  };
  return (
    <li>
      <div className="row head">
        <h2>
          <button type="button" className="name" aria-expanded={open} onClick={() => onOpen(!open)}>
            <CaretRight className="ic caret" size={12} aria-hidden />
            <span className="plug" style={{ background: networkColours[config.mode] }} aria-hidden="true" />
            <b>{config.name}</b>
            <span className="chip">{networkNames[config.mode]}</span>
            <span className="mono dim">{config.subnet ?? "no addresses"}</span>
          </button>
        </h2>
        <span className="grow s faint trunc">{[config.dhcp.enabled ? "DHCP" : "no DHCP", users.length === 0 ? "no machine" : plural(users.length, "machine")].join(", ")}</span>
        <Button small onClick={() => setEditing(true)} aria-label={`Edit ${config.name}`}>Edit…</Button>
        <Button small look="danger" aria-label={`Delete ${config.name}`} refused={users.length > 0 ? `${plural(users.length, "machine")} use it. Plug them in elsewhere first.` : undefined} onClick={() => void remove()}>Delete</Button>
      </div>
      {problem && <Problem level="warning" message={problem.message} remedy={problem.remedy} />}
      {open && (
        <div className="more">
          <dl className="kv">
            <dt>Reach</dt>
            <dd className="dim">{connectivityWords[config.mode]}</dd>
            {gateway !== undefined && (
              <>
                <dt>{config.mode === "host-only" ? "This computer" : "Gateway"}</dt>
                <dd className="mono">{hostInterface === undefined ? gateway : `${gateway} on ${hostInterface}`}</dd>
              </>
            )}
            <dt>Machines</dt>
            <dd>
              {users.length === 0 && <span className="faint">none yet: choose it in a machine’s network</span>}
              {users.map((id) => (
                <button key={id} type="button" className="lk" style={{ marginRight: 12 }} onClick={() => onMachine(id)}>{machines.get()?.get(id)?.name ?? id}</button>
              ))}
            </dd>
          </dl>
          <Traffic network={network} />
        </div>
      )}
      {editing && <EditNetwork config={config} onClose={() => setEditing(false)} />}
    </li>
  );
}

/** Who has an address on the network, and what passes its gateway. */
function Traffic({ network: { config } }: { network: NetworkInfo }) {
  const { machines } = useStore();
  const name = (id: string): string | undefined => machines.get()?.get(id)?.name;
  const of = { network: config.name };
  const leases = useLeases(config.dhcp.enabled ? of : undefined);
  const flows = useFlows(config.mode === "nat-network" ? of : undefined);
  const now = useNow(1000);
  const reserve = (mac: string, address: string | undefined): void =>
    void attempt(async () => {
      await call("network.set", { network: config.name, patch: withReservation(config, mac, address) });
      leases.again();
    }, config.name);
  return (
    <>
      {config.dhcp.enabled && (
        <div className="part">
          <h3>Addresses given out</h3>
          {leases.failure ? (
            <Problem level="warning" {...leases.failure} />
          ) : (leases.value ?? []).length === 0 ? (
            <p className="s faint">None yet. Guests ask for one when they start.</p>
          ) : (
            <LeaseTable of={config.name} leases={leases.value ?? []} now={now} machineName={name} onReserve={({ mac, address }, reserved) => reserve(mac, reserved ? address : undefined)} />
          )}
        </div>
      )}
      {config.mode === "nat-network" && (
        <div className="part">
          <h3>Conversations</h3>
          {flows.failure ? (
            <Problem level="warning" {...flows.failure} />
          ) : (flows.value ?? []).length === 0 ? (
            <p className="s faint">Nobody on it talks to the outside now.</p>
          ) : (
            <FlowTable
              of={config.name}
              flows={flows.value ?? []}
              now={now}
              machineName={name}
              onCut={({ id }) =>
                void attempt(async () => {
                  await call("network.cutFlow", { of, flow: id });
                  flows.again();
                }, config.name)
              }
            />
          )}
        </div>
      )}
    </>
  );
}
