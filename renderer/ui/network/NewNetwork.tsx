import { useEffect, useState } from "react";
import type * as z from "zod";
import type { NamedNetworkMode, NetworkInfo, NetworkSpec } from "../../../core/contract/network";
import { Button } from "../Button";
import { Field } from "../Field";
import { Problem } from "../Problem";
import { newNetworkDraft, networkFaults, specOf, type NetworkDraft } from "./networkDraft";

export type NewNetworkSpec = z.input<typeof NetworkSpec>;

/** What a form for networks needs of whoever has a host service. */
export interface NetworkMaker {
  /** @throws an error with `message` and `remedy` */
  create(spec: NewNetworkSpec): Promise<NetworkInfo>;
  freeSubnet(): Promise<string>;
}

/** Makes a named network in place. */
export function NewNetwork({ mode, taken, maker, onMade, onCancel }: { mode: NamedNetworkMode; taken: readonly string[]; maker: NetworkMaker; onMade(network: NetworkInfo): void; onCancel?: (() => void) | undefined }) {
  const [draft, setDraft] = useState<NetworkDraft>(() => newNetworkDraft(mode, taken));
  const [free, setFree] = useState<string>();
  const [making, setMaking] = useState(false);
  const [failure, setFailure] = useState<{ message: string; remedy?: string | undefined }>();
  const change = (part: Partial<NetworkDraft>): void => setDraft((before) => ({ ...before, ...part }));

  useEffect(() => {
    let wanted = true;
    // Only a suggestion: without it one is chosen when the network is made.
    maker.freeSubnet().then(
      (subnet) => {
        if (!wanted) return;
        setFree(subnet);
        setDraft((before) => (before.subnet === "" ? { ...before, subnet } : before));
      },
      (error: unknown) => console.debug("no subnet is suggested:", error),
    );
    return () => {
      wanted = false;
    };
  }, [maker]);

  const faults = networkFaults(draft);
  const refused = making ? "The network is being made." : Object.values(faults)[0];
  const make = async (): Promise<void> => {
    setMaking(true);
    try {
      onMade(await maker.create(specOf(draft)));
    } catch (error) {
      setFailure(failureOf(error));
      setMaking(false);
    }
  };
  return (
    <div
      className="new-network"
      role="group"
      aria-label="New network"
      onKeyDown={(event) => {
        if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
        // Enter makes the network; what stands around the form would go on without it.
        event.preventDefault();
        if (refused === undefined) void make();
      }}
    >
      <div className="pair">
        <Field label="Name" findings={findingsOf("name", faults.name)}>
          <input className="input" value={draft.name} maxLength={32} spellCheck={false} autoComplete="off" onChange={(event) => change({ name: event.target.value })} />
        </Field>
        <Field label="Subnet" hint={mode === "internal" ? "May be left empty, without DHCP." : draft.subnet !== "" && draft.subnet === free && "Free on this computer."} findings={findingsOf("subnet", faults.subnet)}>
          <input className="input mono" value={draft.subnet} spellCheck={false} autoComplete="off" placeholder={mode === "internal" ? "none" : "chosen for you"} onChange={(event) => change({ subnet: event.target.value })} />
        </Field>
      </div>
      <label className="tick">
        <input type="checkbox" checked={draft.dhcp} onChange={(event) => change({ dhcp: event.target.checked })} />
        <span>Give machines their addresses (DHCP)</span>
      </label>
      {failure && <Problem message={failure.message} remedy={failure.remedy} />}
      <div className="row" style={{ gap: 8 }}>
        <Button refused={refused} onClick={() => void make()}>Make the network</Button>
        {onCancel && <Button look="quiet" onClick={onCancel}>Cancel</Button>}
      </div>
    </div>
  );
}

export function findingsOf(field: string, message: string | undefined): { field: string; level: "error"; message: string }[] {
  return message === undefined ? [] : [{ field, level: "error", message }];
}

/** An error in the words for people that it carries. */
export function failureOf(error: unknown): { message: string; remedy?: string | undefined } {
  const remedy = error instanceof Error && "remedy" in error && typeof error.remedy === "string" ? error.remedy : undefined;
  return { message: error instanceof Error ? error.message : String(error), remedy };
}
