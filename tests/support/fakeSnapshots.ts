import type { ErrorData } from "../../core/contract/errors";
import type { JobInfo, MachineInfo } from "../../core/contract/model";
import type { HostEvent, ProcedureInput, ProcedureOutput } from "../../core/contract/procedures";
import type { SnapshotInfo, SnapshotPlan, SnapshotTree } from "../../core/contract/snapshot";
import type { snapshotProcedures } from "../../core/contract/snapshotProcedures";

type Name = keyof typeof snapshotProcedures;
type SnapshotHandlers = { [N in Name]: (input: ProcedureInput<N>) => ProcedureOutput<N> };

const emptyTree: SnapshotTree = { snapshots: [], current: { parent: null, ownBytes: 0 } };

/** The snapshots of a pretended desktop: trees without anything on a disk, and plans that a test lays down. */
export class FakeSnapshots {
  readonly trees = new Map<string, SnapshotTree>();
  plan: SnapshotPlan = { costBytes: 65_536, freesBytes: { least: 0, most: 0 }, freeBytes: 212 * 1024 ** 3 };
  private serial = 0;

  constructor(
    private readonly desktop: {
      machine(id: string): MachineInfo;
      job(kind: JobInfo["kind"], title: string, machineId: string): JobInfo;
      announce(event: HostEvent): void;
      /** Makes the call fail. */
      refuse(code: ErrorData["code"], message: string): never;
    },
  ) {}

  readonly handlers: SnapshotHandlers = {
    "snapshot.list": ({ id }) => this.tree(id),
    "snapshot.plan": () => this.plan,
    "snapshot.take": ({ id, name, description }) => {
      const { state } = this.desktop.machine(id);
      const { snapshots, current } = this.tree(id);
      const was = state === "running" || state === "paused" || state === "saved" ? state : "off";
      const taken: SnapshotInfo = { id: (++this.serial).toString(16).padStart(12, "0"), name, ...(description === undefined ? {} : { description }), parent: current.parent, takenAt: Date.now(), was, hasMemory: was !== "off", hasScreenshot: false, ownBytes: current.ownBytes };
      this.set(id, { snapshots: [...snapshots, taken], current: { parent: taken.id, ownBytes: 0 } });
      return { snapshot: taken.id, job: this.desktop.job("take-snapshot", `Take the snapshot “${name}”`, id) };
    },
    "snapshot.restore": ({ id, snapshot }) => {
      const { name } = this.find(id, snapshot);
      this.set(id, { ...this.tree(id), current: { parent: snapshot, ownBytes: 0 } });
      return { job: this.desktop.job("restore-snapshot", `Restore the snapshot “${name}”`, id) };
    },
    "snapshot.delete": ({ id, snapshot }) => {
      const gone = this.find(id, snapshot);
      const { snapshots, current } = this.tree(id);
      const up = (parent: string | null): string | null => (parent === snapshot ? gone.parent : parent);
      this.set(id, { snapshots: snapshots.filter((each) => each !== gone).map((each) => ({ ...each, parent: up(each.parent) })), current: { ...current, parent: up(current.parent) } });
      return { id: `trash-${snapshot}`, name: `${gone.name} (snapshot of ${this.desktop.machine(id).name})`, machineId: id, snapshot, deletedAt: Date.now(), bytes: gone.ownBytes };
    },
    "snapshot.set": ({ id, snapshot, name, description }) => {
      const before = this.find(id, snapshot);
      const after = { ...before, name: name ?? before.name, ...(description === undefined ? {} : { description }) };
      const { snapshots, current } = this.tree(id);
      this.set(id, { snapshots: snapshots.map((each) => (each === before ? after : each)), current });
      return after;
    },
    "snapshot.screenshot": ({ id, snapshot }) => (this.find(id, snapshot), { png: null }),
  };

  private tree(id: string): SnapshotTree {
    this.desktop.machine(id);
    return this.trees.get(id) ?? emptyTree;
  }

  private set(id: string, tree: SnapshotTree): void {
    this.trees.set(id, tree);
    this.desktop.announce({ type: "snapshots", id, tree });
  }

  private find(id: string, snapshot: string): SnapshotInfo {
    return this.tree(id).snapshots.find((each) => each.id === snapshot) ?? this.desktop.refuse("not-found", `The machine has no snapshot ${snapshot}.`);
  }
}
