import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { bootId, type ProcessIdentity } from "../base/processes";
import { ErrorShape } from "../contract/errorShape";
import { EngineId } from "../contract/model";
import { writeFileAtomically } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";

/**
 * `run.json` in a machine's folder: the machine process of its last run, and how the run ended. It is what the next host
 * service knows a running machine by, and a run without an end whose process is gone is how it learns of a crash that
 * nobody saw.
 */
const RunRecord = z.object({
  pid: z.number().int(),
  processStart: z.string().optional(),
  bootId: z.string().optional(),
  startedAt: z.number(),
  startedFrom: z.enum(["cold", "pre-booted", "saved"]),
  /** When the saved state that the run came from was saved, which tells it from later ones. */
  savedAt: z.number().optional(),
  /** The guest is being let run or was: from here on its disks may have changed. Written before that happens. */
  ran: z.boolean(),
  /** The guest has been made who it is; until then its links stay down. */
  identified: z.boolean(),
  /** The guest was stopped for its state to be saved, and that has not come to an end. */
  saving: z.boolean().optional(),
  /** Absent in records of machines that could have one only. */
  engine: EngineId.optional(),
  /** The command line of the machine process. */
  command: z.array(z.string()).optional(),
  end: z.object({ at: z.number(), problem: ErrorShape.optional() }).optional(),
});
export type RunRecord = z.infer<typeof RunRecord>;

export function recordPath(folder: string): string {
  return join(folder, "run.json");
}

/** The record of a machine's last run; undefined when it never ran or the file is damaged, which leaves nothing to attach to. */
export async function readRunRecord(folder: string): Promise<RunRecord | undefined> {
  let content: string;
  try {
    content = await readFile(recordPath(folder), "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return RunRecord.parse(JSON.parse(content));
  } catch {
    return undefined; // Half a file of a power cut: after it no process of ours runs either.
  }
}

export async function writeRunRecord(folder: string, record: RunRecord): Promise<void> {
  await writeFileAtomically(recordPath(folder), `${JSON.stringify(record)}\n`);
}

/** The process of a record, if it was started since the computer was. */
export async function recordedProcess(record: RunRecord): Promise<ProcessIdentity | undefined> {
  const boot = await bootId();
  if (record.bootId !== undefined && boot !== undefined && record.bootId !== boot) return undefined;
  return { pid: record.pid, start: record.processStart };
}
