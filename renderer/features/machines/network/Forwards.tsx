import { Browser } from "@phosphor-icons/react/dist/csr/Browser";
import { Copy } from "@phosphor-icons/react/dist/csr/Copy";
import { Plus } from "@phosphor-icons/react/dist/csr/Plus";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import { useState } from "react";
import type { MachineInfo } from "../../../../core/contract/model";
import type { AdapterConfig, AdapterStatus, PortForward } from "../../../../core/contract/network";
import { call, desktop } from "../../../api/client";
import { Button } from "../../../ui/Button";
import { Choice } from "../../../ui/Choice";
import { Field } from "../../../ui/Field";
import { findingsOf } from "../../../ui/network/NewNetwork";
import { attempt, toasts } from "../../../ui/toasts";
import { forwardOf, fromText, newForwardDraft, portText, reachedAt, sameForward, type ForwardDraft } from "./forwardDraft";

interface ForwardsProps {
  readonly machine: MachineInfo;
  readonly index: number;
  readonly adapter: AdapterConfig;
  readonly status: AdapterStatus | undefined;
  /** Why nothing can be changed now. */
  readonly refused: string | undefined;
}

/** Ports of this computer that lead to the guest. */
export function Forwards({ machine, index, adapter, status, refused }: ForwardsProps) {
  const forwards = adapter.forwards ?? [];
  const [adding, setAdding] = useState(false);
  return (
    <div className="part" role="group" aria-label={`Port forwards of net${index}`}>
      <div className="row" style={{ gap: 10 }}>
        <h3 className="grow">Port forwards</h3>
        {!adding && <Button small icon={Plus} refused={refused} onClick={() => setAdding(true)}>Add a forward</Button>}
      </div>
      {forwards.length === 0 && !adding && <p className="s faint">Nothing leads in. A forward makes a port of this computer lead to a port of the guest: 2222 to 22 for ssh, 8080 to 80 for a web page.</p>}
      {forwards.length > 0 && (
        <div className="table-scroll" tabIndex={0} role="region" aria-label={`Port forwards of net${index}`}>
          <table className="rows">
            <thead>
              <tr>
                <th scope="col">Protocol</th>
                <th scope="col">From</th>
                <th scope="col">Port here</th>
                <th scope="col">Port of the guest</th>
                <th scope="col">State</th>
                <td />
              </tr>
            </thead>
            <tbody>
              {forwards.map((forward) => (
                <Row key={`${forward.protocol} ${forward.hostAddress} ${forward.hostPort}`} forward={forward} machine={machine} index={index} status={status} refused={refused} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {adding && <AddForward machine={machine} index={index} onDone={() => setAdding(false)} />}
    </div>
  );
}

function Row({ forward, machine, index, status, refused }: Omit<ForwardsProps, "adapter"> & { forward: PortForward }) {
  const { protocol, hostAddress, hostPort, guestPort, count } = forward;
  const now = status?.forwards.find((other) => sameForward(other.forward, forward));
  const address = `${reachedAt(forward)}:${hostPort}`;
  const what = `${protocol} ${portText(hostPort, count)}`;
  const remove = (): void => void attempt(() => call("forward.remove", { id: machine.id, adapter: index, forward: { protocol, hostAddress, hostPort } }), machine.name);
  const copy = (): void =>
    void attempt(async () => {
      await desktop.copyText(address);
      toasts.show({ level: "info", about: machine.name, message: `Copied ${address}` });
    }, machine.name);
  return (
    <>
      <tr>
        <td>{protocol.toUpperCase()}</td>
        <td>{fromText(forward)}</td>
        <td className="mono selectable">{portText(hostPort, count)}</td>
        <td className="mono selectable">{portText(guestPort, count)}</td>
        <td>{now?.problem ? <span className="bad">does not listen</span> : <span className={now ? undefined : "faint"}>{now ? "listens" : "waits for the machine"}</span>}</td>
        <td className="act">
          {protocol === "tcp" && <Button small look="quiet" icon={Browser} aria-label={`Open ${address} in the browser`} refused={now && !now.problem ? undefined : "It does not listen now."} onClick={() => void attempt(() => desktop.openInBrowser(reachedAt(forward), hostPort), machine.name)} />}
          {protocol === "tcp" && <Button small look="quiet" icon={Copy} aria-label={`Copy ${address}`} onClick={copy} />}
          <Button small look="quiet" icon={Trash} aria-label={`Remove the forward of ${what}`} refused={refused} onClick={remove} />
        </td>
      </tr>
      {now?.problem && (
        <tr className="problem-row">
          <td colSpan={6}>
            <span className="bad" role="alert">
              {now.problem.message} {now.problem.remedy}
            </span>
          </td>
        </tr>
      )}
    </>
  );
}

function AddForward({ machine, index, onDone }: { machine: MachineInfo; index: number; onDone(): void }) {
  const [draft, setDraft] = useState<ForwardDraft>(newForwardDraft);
  const [adding, setAdding] = useState(false);
  const change = (part: Partial<ForwardDraft>): void => setDraft((before) => ({ ...before, ...part }));
  const { forward, faults } = forwardOf(draft);
  const refused = adding ? "It is being added." : (Object.values(faults)[0] ?? (forward ? undefined : "Give both ports first."));
  const add = async (): Promise<void> => {
    if (!forward || refused !== undefined) return;
    setAdding(true);
    const added = await attempt(() => call("forward.add", { id: machine.id, adapter: index, forward }), machine.name);
    setAdding(false);
    if (added) onDone();
  };
  return (
    <form
      className="add-forward"
      aria-label="New forward"
      onSubmit={(event) => {
        event.preventDefault();
        void add();
      }}
    >
      <Field label="Protocol">
        <Choice value={draft.protocol} onChange={(protocol) => change({ protocol })} options={[{ id: "tcp", label: "TCP" }, { id: "udp", label: "UDP" }]} />
      </Field>
      <Field label="Reached from">
        <Choice
          value={draft.from}
          onChange={(from) => change({ from })}
          options={[
            { id: "local", label: "This computer only" },
            { id: "everywhere", label: "Everywhere", note: "Everyone who reaches this computer reaches the guest." },
            { id: "address", label: "One address of this computer" },
          ]}
        />
      </Field>
      {draft.from === "address" && (
        <Field label="Address" findings={findingsOf("address", faults.address)}>
          <input className="input mono" value={draft.address} spellCheck={false} placeholder="192.168.1.40" onChange={(event) => change({ address: event.target.value })} />
        </Field>
      )}
      <Field label="Port here" findings={findingsOf("hostPort", faults.hostPort)}>
        <input className="input" inputMode="numeric" value={draft.hostPort} placeholder="2222" autoFocus onChange={(event) => change({ hostPort: event.target.value })} />
      </Field>
      <Field label="Port of the guest" findings={findingsOf("guestPort", faults.guestPort)}>
        <input className="input" inputMode="numeric" value={draft.guestPort} placeholder="22" onChange={(event) => change({ guestPort: event.target.value })} />
      </Field>
      <Field label="How many" findings={findingsOf("count", faults.count)}>
        <input className="input" inputMode="numeric" value={draft.count} onChange={(event) => change({ count: event.target.value })} />
      </Field>
      <div className="row ends" style={{ gap: 8 }}>
        <Button type="submit" refused={refused}>Add</Button>
        <Button look="quiet" onClick={onDone}>Cancel</Button>
      </div>
    </form>
  );
}
