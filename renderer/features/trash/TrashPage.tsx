import { ArrowUUpLeft } from "@phosphor-icons/react/dist/csr/ArrowUUpLeft";
import { Trash } from "@phosphor-icons/react/dist/csr/Trash";
import type { TrashEntry } from "../../../core/contract/model";
import { call } from "../../api/client";
import { useTrash } from "../../api/hooks";
import { Button } from "../../ui/Button";
import { confirm } from "../../ui/confirm";
import { formatBytes, formatWhen, plural } from "../../ui/format";
import { Nothing, Page } from "../../ui/Page";
import { attempt, toasts } from "../../ui/toasts";
import { useNow } from "../../ui/useNow";

/** Deleted machines and snapshots: they come back whole, or go for good. */
export default function TrashPage({ windowButtons, onMachine }: { windowButtons: React.ReactNode; onMachine(id: string): void }) {
  const entries = useTrash();
  const now = useNow(30_000);
  const noun = entries.every(({ snapshot }) => snapshot === undefined) ? "machine" : entries.every(({ snapshot }) => snapshot !== undefined) ? "snapshot" : "item";
  const total = entries.reduce((sum, entry) => sum + entry.bytes, 0);

  const empty = async (): Promise<void> => {
    const yes = await confirm({
      title: "Empty the trash?",
      body: `${plural(entries.length, noun)} and ${noun === "snapshot" ? "what only they hold" : "all their disks"} are deleted for good. This frees ${formatBytes(total)}.`,
      action: "Delete for good",
      danger: true,
    });
    if (yes) await attempt(() => call("trash.empty", {}));
  };
  const restore = (entry: TrashEntry): Promise<void | undefined> =>
    attempt(async () => {
      const machine = await call("trash.restore", { id: entry.id });
      toasts.show({ level: "success", message: `${entry.snapshot === undefined ? machine.name : entry.name} is back.`, action: { label: "Show", run: () => onMachine(machine.id) } });
    }, entry.name);
  const remove = async (entry: TrashEntry): Promise<void> => {
    const yes = await confirm({
      title: `Delete ${entry.name} for good?`,
      body: `${entry.snapshot === undefined ? "Its settings and disks are gone then; nothing brings them back." : "What it alone holds is gone then; the machine stays as it is, and so do its other snapshots."} This frees ${formatBytes(entry.bytes)}.`,
      action: "Delete for good",
      danger: true,
    });
    if (yes) await attempt(() => call("trash.empty", { id: entry.id }), entry.name);
  };

  return (
    <Page
      title="Trash"
      about={entries.length === 0 ? undefined : `${plural(entries.length, noun)}, ${formatBytes(total)} on the host.`}
      windowButtons={windowButtons}
      actions={entries.length > 0 && <Button look="danger" icon={Trash} onClick={() => void empty()}>Empty the trash</Button>}
    >
      {entries.length === 0 ? (
        <Nothing>The trash is empty. A machine you delete waits here with its disks until you restore it or delete it for good.</Nothing>
      ) : (
        <ul className="list">
          {entries.map((entry) => (
            <li key={entry.id}>
              <div className="grow">
                <div className="title trunc">{entry.name}</div>
                <div className="s faint num">deleted {formatWhen(entry.deletedAt, now)}, {formatBytes(entry.bytes)}</div>
              </div>
              <Button small icon={ArrowUUpLeft} onClick={() => void restore(entry)}>Restore</Button>
              <Button small look="danger" onClick={() => void remove(entry)}>Delete for good</Button>
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
