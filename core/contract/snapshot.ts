import * as z from "zod";
import { ErrorShape } from "./errorShape";

/*
 * Snapshots as everyone but the disk sees them. A machine's snapshots are a tree: each grew from another one, or from the
 * beginning. Sizes are bytes that files really take on the host.
 */

export const SnapshotId = z.string().regex(/^[0-9a-f]{12}$/, "a snapshot's id has twelve hexadecimal digits");
export type SnapshotId = z.infer<typeof SnapshotId>;

/** The longest name a snapshot may have, in Unicode code points. */
const maxSnapshotNameLength = 120;

export const SnapshotName = z
  .string()
  .transform((text) => text.normalize("NFC").trim())
  .refine((text) => text.length > 0, "give the snapshot a name")
  .refine((text) => [...text].length <= maxSnapshotNameLength, `a name has at most ${maxSnapshotNameLength} characters`)
  // eslint-disable-next-line no-control-regex -- control characters are exactly what is refused
  .refine((text) => !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text), "a name has no line breaks or control characters");

export const SnapshotDescription = z.string().max(20_000);

/** What the machine was when the snapshot was taken; restoring it makes the machine that again. A crashed machine was off. */
export const SnapshotWas = z.enum(["off", "running", "paused", "saved"]);
export type SnapshotWas = z.infer<typeof SnapshotWas>;

export const SnapshotInfo = z.object({
  id: SnapshotId,
  name: z.string(),
  description: z.string().optional(),
  /** The snapshot it grew from; null for one that grew from the beginning. */
  parent: SnapshotId.nullable(),
  takenAt: z.number(),
  was: SnapshotWas,
  /** Memory and devices are in it: programs go on where they were. */
  hasMemory: z.boolean(),
  /** There is a picture of the screen: `snapshot.screenshot`. */
  hasScreenshot: z.boolean(),
  /** What it added: its memory, and what was written to the disks since its parent. */
  ownBytes: z.number(),
  /** Why it cannot be restored, and what to do. */
  problem: ErrorShape.optional(),
});
export type SnapshotInfo = z.infer<typeof SnapshotInfo>;

/** All snapshots of a machine, oldest first, and where the machine is among them. */
export const SnapshotTree = z.object({
  snapshots: z.array(SnapshotInfo),
  /** "You are here": the machine as it is now. */
  current: z.object({
    /** The snapshot it grew from; null for the beginning. */
    parent: SnapshotId.nullable(),
    /** What was written since, and a saved state. */
    ownBytes: z.number(),
  }),
});
export type SnapshotTree = z.infer<typeof SnapshotTree>;

/** What an operation on snapshots will cost and free, looked at before it runs. */
export const SnapshotPlan = z.object({
  /** Bytes it takes at once, at most. */
  costBytes: z.number(),
  /** Bytes that are free again when it, or what it put into the trash, is over: at least and at most. */
  freesBytes: z.object({ least: z.number(), most: z.number() }),
  /** Free space of the file system that the home is on. */
  freeBytes: z.number(),
  /** What of the machine as it is now goes to the trash, in words; absent when nothing does. */
  loses: z.string().optional(),
  /** Why it is not possible now. */
  refusal: ErrorShape.optional(),
});
export type SnapshotPlan = z.infer<typeof SnapshotPlan>;
