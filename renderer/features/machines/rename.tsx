import { useEffect, useState, useSyncExternalStore } from "react";
import type { Finding, MachineInfo } from "../../../core/contract/model";
import { call } from "../../api/client";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Modal } from "../../ui/Modal";
import { toasts } from "../../ui/toasts";

let renaming: MachineInfo | undefined;
const listeners = new Set<() => void>();

function change(next: MachineInfo | undefined): void {
  renaming = next;
  for (const listener of [...listeners]) listener();
}

/** Opens the dialog for a machine's name. */
export function askNewName(machine: MachineInfo): Promise<void> {
  change(machine);
  return Promise.resolve();
}

/** Where that dialog appears; stands once in the window. */
export function RenameHost() {
  const machine = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => renaming,
  );
  return machine ? <RenameDialog key={machine.id} machine={machine} onClose={() => change(undefined)} /> : null;
}

function RenameDialog({ machine, onClose }: { machine: MachineInfo; onClose(): void }) {
  const [name, setName] = useState(machine.name);
  const [findings, setFindings] = useState<readonly Finding[]>([]);

  useEffect(() => {
    let current = true;
    call("machine.check", { id: machine.id, patch: { name } }).then(
      (found) => current && setFindings(found.filter((finding) => finding.field === "name")),
      (error: unknown) => current && setFindings([{ field: "name", level: "error", message: error instanceof Error ? error.message : String(error) }]),
    );
    return () => {
      current = false;
    };
  }, [machine.id, name]);

  const refused = findings.find((finding) => finding.level === "error")?.message ?? (name === machine.name ? "This is its name already." : undefined);
  const save = async (): Promise<void> => {
    if (refused !== undefined) return;
    try {
      await call("machine.set", { id: machine.id, patch: { name } });
      onClose();
    } catch (error) {
      toasts.showError(error, machine.name);
    }
  };
  return (
    <Modal
      title={`Rename ${machine.name}`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button look="primary" refused={refused} onClick={() => void save()}>
            Rename
          </Button>
        </>
      }
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Field label="Name" hint="Its folder and its disks stay where they are." findings={findings}>
          <input className="input" value={name} autoFocus spellCheck={false} onFocus={(event) => event.target.select()} onChange={(event) => setName(event.target.value)} />
        </Field>
      </form>
    </Modal>
  );
}
