import { formatSize } from "../../base/bytes";
import { TerrariumError } from "../../contract/errors";
import { procedures, type ProcedureInput } from "../../contract/procedures";
import type { SnapshotInfo, SnapshotPlan, SnapshotTree } from "../../contract/snapshot";
import type { HostConnection } from "../../server/client";
import { requireYes, yesOption } from "../ask";
import { findMachine, finishJob } from "../machines";
import { operand, table, time } from "../table";
import { UsageError, verb, type Verb } from "../verb";

const whichSnapshot = "SNAPSHOT is its name, or its id or at least four characters of the beginning of it.";

/** Snapshots of machines. */
export const snapshotVerbs: readonly Verb[] = [
  verb({
    name: "snapshot take",
    operands: "NAME SNAPSHOT",
    count: [2, 2],
    doc: procedures["snapshot.take"].doc,
    more: ["Machines on QEMU have snapshots; those on the built-in emulator have none yet."],
    options: { description: { type: "string", value: "TEXT", help: "What it is for." } },
    async run(context, [name, called], { description }) {
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const { snapshot, job } = await host.call("snapshot.take", { id: machine.id, name: called!, ...(description === undefined ? {} : { description }) });
      await finishJob(context, host, job);
      const taken = findSnapshot(await host.call("snapshot.list", { id: machine.id }), snapshot);
      context.print(taken, `Took the snapshot “${taken.name}” of ${machine.name}. Go back to it with: terrarium snapshot restore ${operand(machine.name)} ${operand(taken.name)}`);
    },
  }),
  verb({
    name: "snapshot list",
    operands: "NAME",
    count: [1, 1],
    doc: procedures["snapshot.list"].doc,
    async run(context, [name]) {
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const tree = await host.call("snapshot.list", { id: machine.id });
      context.print(tree, tree.snapshots.length === 0 ? `${machine.name} has no snapshots. Take one with: terrarium snapshot take ${operand(machine.name)} SNAPSHOT` : drawing(tree));
    },
  }),
  verb({
    name: "snapshot restore",
    operands: "NAME SNAPSHOT",
    count: [2, 2],
    doc: procedures["snapshot.restore"].doc,
    more: [whichSnapshot, "What runs in the guest is lost without --keep; it asks first, and without a terminal it does not go on unless it is told --yes."],
    options: {
      keep: { type: "string", value: "SNAPSHOT", help: "First take a snapshot of this name of the machine as it is now." },
      start: { type: "boolean", help: "Start it afterwards." },
      "no-start": { type: "boolean", help: "Do not start it afterwards." },
      yes: yesOption,
    },
    async run(context, [name, said], { keep, start, "no-start": noStart, yes }) {
      if (start && noStart) throw new UsageError("--start and --no-start cannot both be meant.");
      const host = await context.connect();
      const machine = await findMachine(host, name!);
      const { id } = machine;
      const chosen = findSnapshot(await host.call("snapshot.list", { id }), said!);
      const plan = await planned(host, { operation: "restore", id, snapshot: chosen.id, keep: keep !== undefined });
      if (plan.loses !== undefined && (machine.state === "running" || machine.state === "paused")) await requireYes(context, yes, `${plan.loses} Restore “${chosen.name}”?`);
      else if (plan.loses !== undefined) context.note(plan.loses);
      const { job } = await host.call("snapshot.restore", { id, snapshot: chosen.id, ...(keep === undefined ? {} : { keep }), ...(start || noStart ? { start: start === true } : {}) });
      await finishJob(context, host, job);
      context.print(await host.call("machine.get", { id }), `${machine.name} is as it was when “${chosen.name}” was taken.`);
    },
  }),
  verb({
    name: "snapshot delete",
    operands: "NAME SNAPSHOT",
    count: [2, 2],
    doc: procedures["snapshot.delete"].doc,
    more: [whichSnapshot],
    async run(context, [name, said]) {
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const chosen = findSnapshot(await host.call("snapshot.list", { id }), said!);
      const plan = await planned(host, { operation: "delete", id, snapshot: chosen.id });
      const entry = await host.call("snapshot.delete", { id, snapshot: chosen.id });
      context.print(entry, `“${chosen.name}” is in the trash. Bring it back with: terrarium trash restore ${entry.id}\nDeleting it for good, with terrarium trash empty ${entry.id}, frees ${freed(plan)}.`);
    },
  }),
  verb({
    name: "snapshot rename",
    operands: "NAME SNAPSHOT NEW",
    count: [3, 3],
    doc: procedures["snapshot.set"].doc,
    more: [whichSnapshot],
    options: { description: { type: "string", value: "TEXT", help: "Another description as well; empty for none." } },
    async run(context, [name, said, called], { description }) {
      const host = await context.connect();
      const { id } = await findMachine(host, name!);
      const chosen = findSnapshot(await host.call("snapshot.list", { id }), said!);
      const changed = await host.call("snapshot.set", { id, snapshot: chosen.id, name: called!, ...(description === undefined ? {} : { description }) });
      context.print(changed, `“${chosen.name}” is called “${changed.name}” now.`);
    },
  }),
];

/** @throws TerrariumError what stands in its way */
async function planned(host: HostConnection, operation: ProcedureInput<"snapshot.plan">): Promise<SnapshotPlan> {
  const plan = await host.call("snapshot.plan", operation);
  if (plan.refusal) throw TerrariumError.fromData(plan.refusal);
  return plan;
}

function freed({ freesBytes: { least, most } }: SnapshotPlan): string {
  return least === most ? formatSize(most) : `${formatSize(least)} to ${formatSize(most)}`;
}

/** The snapshot a person means. @throws TerrariumError `not-found`, also when it could be several */
function findSnapshot({ snapshots }: SnapshotTree, said: string): SnapshotInfo {
  const name = said.normalize("NFC").trim();
  const ways: ((snapshot: SnapshotInfo) => boolean)[] = [
    (snapshot) => snapshot.id === name.toLowerCase(),
    (snapshot) => snapshot.name === name,
    (snapshot) => name.length >= 4 && snapshot.id.startsWith(name.toLowerCase()),
    (snapshot) => snapshot.name.toLowerCase() === name.toLowerCase(),
  ];
  for (const matches of ways) {
    const found = snapshots.filter(matches);
    if (found.length > 1) throw new TerrariumError("not-found", `"${said}" could be any of ${found.length} snapshots.`, `Use an id: ${found.map((snapshot) => `${snapshot.id} (${snapshot.name}, ${time(snapshot.takenAt)})`).join(", ")}.`);
    if (found[0]) return found[0];
  }
  throw new TerrariumError("not-found", `The machine has no snapshot "${said}".`, snapshots.length === 0 ? "It has none at all." : `It has: ${snapshots.slice(0, 10).map((snapshot) => snapshot.name).join(", ")}${snapshots.length > 10 ? ", ..." : ""}.`);
}

/** The tree, each snapshot under the one that it grew from, and where the machine is. */
function drawing({ snapshots, current }: SnapshotTree): string {
  const rows: string[][] = [];
  const draw = (parent: string | null, depth: number): void => {
    const indent = "  ".repeat(depth);
    for (const snapshot of snapshots.filter((each) => each.parent === parent)) {
      rows.push([`${indent}${snapshot.name}`, time(snapshot.takenAt), snapshot.hasMemory ? `${snapshot.was}, with memory` : snapshot.was, formatSize(snapshot.ownBytes), snapshot.id, snapshot.problem ? `! ${snapshot.problem.message}` : ""]);
      draw(snapshot.id, depth + 1);
    }
    if (current.parent === parent) rows.push([`${indent}* you are here`, "", "", formatSize(current.ownBytes), ""]);
  };
  draw(null, 0);
  return table(["SNAPSHOT", "TAKEN", "WAS", "SIZE", "ID", ""], rows);
}
