import * as z from "zod";
import { JobInfo, TrashEntry } from "./model";
import { MachineId } from "./network";
import { procedure } from "./procedure";
import { SnapshotDescription, SnapshotId, SnapshotInfo, SnapshotName, SnapshotPlan, SnapshotTree } from "./snapshot";

const machine = { id: MachineId };
const one = { ...machine, snapshot: SnapshotId };

/** The calls about snapshots. */
export const snapshotProcedures = {
  "snapshot.list": procedure("The snapshots of a machine, as a tree, and where the machine is in it.", z.object(machine), SnapshotTree),
  "snapshot.plan": procedure(
    "What an operation on snapshots will cost and free, without doing anything.",
    z.discriminatedUnion("operation", [z.object({ operation: z.literal("take"), ...machine }), z.object({ operation: z.literal("restore"), ...one, keep: z.boolean().default(false) }), z.object({ operation: z.literal("delete"), ...one })]),
    SnapshotPlan,
  ),
  "snapshot.take": procedure(
    "Takes a snapshot: of disks, settings and, where the guest runs or is saved, its memory. The guest goes on.",
    z.object({ ...machine, name: SnapshotName, description: SnapshotDescription.optional() }),
    z.object({ snapshot: SnapshotId, job: JobInfo }),
  ),
  "snapshot.restore": procedure(
    "Makes the machine what it was. What it is now goes to the trash, or, with `keep` (a name), becomes a snapshot first. It starts when it was running, unless `start` says otherwise.",
    z.object({ ...one, keep: SnapshotName.optional(), start: z.boolean().optional() }),
    z.object({ job: JobInfo }),
  ),
  "snapshot.delete": procedure("Moves a snapshot to the trash; `trash.restore` brings it back. Snapshots that grew from it stay.", z.object(one), TrashEntry),
  "snapshot.set": procedure("Gives a snapshot another name or description.", z.object({ ...one, name: SnapshotName.optional(), description: SnapshotDescription.optional() }), SnapshotInfo),
  "snapshot.screenshot": procedure("The screen when the snapshot was taken, as PNG in base 64; null when there is no picture.", z.object(one), z.object({ png: z.string().nullable() })),
} as const;
