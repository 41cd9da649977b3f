import { TerrariumError } from "../contract/errors";
import { isRecord, type QmpClient, type QmpEvent } from "../engine/qmp";

/*
 * Saving and loading a machine's memory and devices, as QEMU's migration to and from a file. Both are asynchronous: the
 * command returns at once and MIGRATION events tell how it goes.
 */

const limitMs = 10 * 60_000;

/** Writes the state of a stopped machine to `file`. Aborting cancels the migration; the file is then of no use. */
export async function saveState(qmp: QmpClient, file: string, signal: AbortSignal): Promise<void> {
  await migrate(qmp, "migrate", file, signal, "The machine's state could not be saved");
}

/** Loads a state into a machine process that was started with `-incoming defer`. The guest stays stopped. */
export async function loadState(qmp: QmpClient, file: string, signal: AbortSignal): Promise<void> {
  await migrate(qmp, "migrate-incoming", file, signal, "The machine's state could not be loaded");
}

async function migrate(qmp: QmpClient, command: "migrate" | "migrate-incoming", file: string, signal: AbortSignal, doing: string): Promise<void> {
  if (signal.aborted) throw new TerrariumError("cancelled", "Cancelled.");
  const stop = new AbortController();
  const outcome = qmp.waitFor((event) => event.event === "MIGRATION" && isFinal(event), stop.signal);
  // Waited for below; when the command itself fails first, its error is the one that counts.
  outcome.catch(() => undefined);
  const cancel = (): void => {
    // The outcome event is what is waited for; a refusal to cancel means that the migration is over.
    if (command === "migrate") void qmp.execute("migrate_cancel").catch((error: unknown) => void error);
    else stop.abort();
  };
  try {
    // Sent together: the events are on when the migration begins, and nothing waits for the first answer.
    await Promise.all([qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] }), qmp.execute(command, { uri: `file:${file}` }, limitMs)]);
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel);
    const { data } = await outcome;
    if (data["status"] === "completed") {
      // Cancelled too late: the caller undoes it.
      if (signal.aborted) throw new TerrariumError("cancelled", "Cancelled.");
      return;
    }
    if (signal.aborted) throw new TerrariumError("cancelled", "Cancelled.");
    throw new TerrariumError("engine-failed", `${doing}: ${await failureReason(qmp)}`);
  } finally {
    signal.removeEventListener("abort", cancel);
    stop.abort();
  }
}

function isFinal(event: QmpEvent): boolean {
  return ["completed", "failed", "cancelled"].includes(String(event.data["status"]));
}

async function failureReason(qmp: QmpClient): Promise<string> {
  const answer = await qmp.execute("query-migrate");
  return isRecord(answer) && typeof answer["error-desc"] === "string" ? answer["error-desc"] : "the machine process gave no reason";
}
