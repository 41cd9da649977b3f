import { TerrariumError, toErrorData } from "../contract/errors";
import type { MachineSockets } from "../engine/engine";
import { Run, type Motion, type RunSurroundings } from "./run";
import { recordedProcess, type RunRecord } from "./runRecord";
import { recordedEnd, Session } from "./session";

/** What became of a run that another host service had begun. */
export type Recovered =
  | { readonly kind: "alive"; readonly run: Run; readonly status: string; readonly motion: Motion }
  /** Its machine process is gone. `crash`: why, unless it ended in order. */
  | { readonly kind: "gone"; readonly crash?: string };

/**
 * Looks for the machine process of a record. One that lives is connected to; one whose guest has powered off meanwhile is
 * ended; one that cannot be reached is killed, because it must not go on writing to its disks beside the machine's next run.
 */
export async function recoverRun(record: RunRecord, sockets: MachineSockets, serialLog: string, around: RunSurroundings): Promise<Recovered> {
  try {
    const found = await attach(record, sockets, serialLog, around);
    if (found?.status === "shutdown") {
      await found.run.session.quit(around.clock);
      found.run.dispose();
      return { kind: "gone" };
    }
    if (found) return { kind: "alive", ...found };
  } catch (error) {
    return { kind: "gone", crash: `Its machine process did not answer any more and was ended: ${toErrorData(error).message}` };
  }
  if (!record.ran) return { kind: "gone" };
  const end = (await recordedEnd(sockets)) ?? { kind: "crashed", reason: "Its machine process ended while Terrarium was not running, and its guest was not shut down." };
  return { kind: "gone", ...(end.kind === "crashed" ? { crash: end.reason } : {}) };
}

/** Connects to the machine process of a record; undefined when it is gone. @throws TerrariumError when it does not answer; it has been ended then. */
async function attach(record: RunRecord, sockets: MachineSockets, serialLog: string, around: RunSurroundings): Promise<{ run: Run; status: string; motion: Motion } | undefined> {
  const identity = await recordedProcess(record);
  const session = identity && (await Session.attach(identity, sockets, serialLog, around.clock));
  if (!session) return undefined;
  const run = new Run(session, record, around);
  try {
    const motion = await run.queryMotion();
    await run.queryBalloon();
    return { run, ...motion };
  } catch (error) {
    await session.process.kill();
    run.dispose();
    throw error instanceof TerrariumError ? error : new TerrariumError("internal", String(error), undefined, { cause: error });
  }
}
