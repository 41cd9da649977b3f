import { useState } from "react";
import type { NetworkConfig } from "../../../core/contract/network";
import { call } from "../../api/client";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Modal } from "../../ui/Modal";
import { networkDraftOf, networkFaults, networkPatchOf, type NetworkDraft } from "../../ui/network/networkDraft";
import { failureOf, findingsOf } from "../../ui/network/NewNetwork";
import { Problem } from "../../ui/Problem";

/** Changes a network, also under machines that run. */
export function EditNetwork({ config, onClose }: { config: NetworkConfig; onClose(): void }) {
  const [draft, setDraft] = useState<NetworkDraft>(() => networkDraftOf(config));
  const [failure, setFailure] = useState<{ message: string; remedy?: string | undefined }>();
  const [applying, setApplying] = useState(false);
  const change = (part: Partial<NetworkDraft>): void => setDraft((before) => ({ ...before, ...part }));
  const faults = networkFaults(draft);
  const patch = networkPatchOf(config, draft);
  const refused = applying ? "Applying…" : (Object.values(faults)[0] ?? (Object.keys(patch).length === 0 ? "Nothing has been changed." : undefined));
  const apply = async (): Promise<void> => {
    setApplying(true);
    try {
      await call("network.set", { network: config.name, patch });
      onClose();
    } catch (error) {
      setFailure(failureOf(error));
      setApplying(false);
    }
  };
  const text = (key: "subnet" | "first" | "last" | "domain" | "mtu", placeholder: string) => (
    <input className="input mono" value={draft[key]} placeholder={placeholder} spellCheck={false} autoComplete="off" onChange={(event) => change({ [key]: event.target.value })} />
  );
  const tick = (key: "dhcp" | "hostLoopback" | "hostNetworks", label: string) => (
    <label className="tick">
      <input type="checkbox" checked={draft[key]} onChange={(event) => change({ [key]: event.target.checked })} />
      <span>{label}</span>
    </label>
  );
  return (
    <Modal
      title={`The network ${config.name}`}
      width={520}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button look="primary" refused={refused} onClick={() => void apply()}>Apply</Button>
        </>
      }
    >
      <div className="edit-network">
        <p className="dim">It changes at once, also under machines that run. With another subnet, their cables are pulled for a moment, so that guests take new addresses; a paused guest does when it next renews its own.</p>
        <Field label="Subnet" findings={findingsOf("subnet", faults.subnet)}>{text("subnet", "none")}</Field>
        {tick("dhcp", "Give machines their addresses (DHCP)")}
        {draft.dhcp && (
          <div className="pair">
            <Field label="From" findings={findingsOf("range", faults.range)}>{text("first", "chosen for you")}</Field>
            <Field label="To">{text("last", "chosen for you")}</Field>
          </div>
        )}
        <div className="pair">
          <Field label="Domain">{text("domain", "none")}</Field>
          <Field label="Longest packet, bytes" findings={findingsOf("mtu", faults.mtu)}>{text("mtu", "1500")}</Field>
        </div>
        {config.mode === "nat-network" && tick("hostNetworks", "Guests may reach the networks of this computer, such as its LAN")}
        {config.mode === "nat-network" && tick("hostLoopback", "Guests may reach programs on this computer, at the gateway’s address")}
        {failure && <Problem message={failure.message} remedy={failure.remedy} />}
      </div>
    </Modal>
  );
}
