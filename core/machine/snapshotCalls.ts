import type { ProcedureOutput, ProcedureParsed } from "../contract/procedures";
import type { snapshotProcedures } from "../contract/snapshotProcedures";
import type { Snapshots } from "./snapshots";

type Name = keyof typeof snapshotProcedures;
type Handlers = { [N in Name]: (input: ProcedureParsed<N>) => Promise<ProcedureOutput<N>> };

/** The calls about snapshots. */
export function snapshotCalls(snapshots: Snapshots): Handlers {
  return {
    "snapshot.list": ({ id }) => snapshots.tree(id),
    "snapshot.plan": (input) => snapshots.plan(input),
    "snapshot.take": (input) => snapshots.take(input),
    "snapshot.restore": (input) => snapshots.restore(input),
    "snapshot.delete": (input) => snapshots.remove(input),
    "snapshot.set": (input) => snapshots.set(input),
    "snapshot.screenshot": (input) => snapshots.screenshot(input),
  };
}
