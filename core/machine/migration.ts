import { createReadStream, createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Clock } from "../base/clock";
import { TerrariumError } from "../contract/errors";
import type { EngineCapabilities } from "../contract/model";
import { connectWhenReady } from "../engine/machineProcess";
import { isRecord, QmpError, type QmpClient, type QmpEvent } from "../engine/qmp";
import { fileError } from "../storage/fileErrors";

/*
 * Saving and loading a machine's memory and devices, as QEMU's migration. Both are asynchronous: the command returns at
 * once and MIGRATION events tell how it goes. A machine process that can writes and reads the file itself; for the others
 * the bytes go through a Unix socket in the run directory, and this process does.
 */

const limitMs = 10 * 60_000;
const connectMs = 30_000;
const abandonMs = 10_000;
/** QEMU holds a migration back to 128 MiB/s unless told otherwise (migrate-set-parameters, max-bandwidth). */
const unlimitedBytesPerSecond = 9_000_000_000_000_000;

export interface StateRoute {
  readonly transport: EngineCapabilities["stateTransport"];
  readonly runDir: string;
}

/** Writes the state of a stopped machine to `file`. Aborting cancels the migration; the file is then of no use. */
export async function saveState(qmp: QmpClient, file: string, route: StateRoute, signal: AbortSignal): Promise<void> {
  const doing = "The machine's state could not be saved";
  if (route.transport === "file") return migrate(qmp, "migrate", `file:${file}`, signal, doing);
  const path = join(route.runDir, "state.sock");
  await rm(path, { force: true });
  const server = createServer({ allowHalfOpen: false });
  try {
    const written = receive(server, file);
    written.catch((error: unknown) => void error); // Awaited below; the migration fails with it.
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
    await qmp.execute("migrate-set-parameters", { "max-bandwidth": unlimitedBytesPerSecond });
    try {
      await migrate(qmp, "migrate", `unix:${path}`, signal, doing);
    } catch (error) {
      server.close();
      if (signal.aborted) throw error;
      // When the file could not be written, that is why the machine process could not send.
      throw await written.then(
        () => error,
        (fault: unknown) => (fault instanceof NobodyCame ? error : fileError(fault, doing, file)),
      );
    }
    await written;
  } finally {
    server.close();
    await rm(path, { force: true });
  }
}

/** Loads a state into a machine process that was started with `-incoming defer`. The guest stays stopped. */
export async function loadState(qmp: QmpClient, file: string, route: StateRoute, signal: AbortSignal): Promise<void> {
  const doing = "The machine's state could not be loaded";
  if (route.transport === "file") return migrate(qmp, "migrate-incoming", `file:${file}`, signal, doing);
  const path = join(route.runDir, "state.sock");
  await rm(path, { force: true });
  const stop = new AbortController();
  const sent = connectWhenReady(path, { timeoutMs: connectMs, signal: stop.signal }).then((socket) => pipeline(createReadStream(file), socket));
  sent.catch((error: unknown) => void error); // What the machine process makes of a state that ends early is what counts.
  try {
    await migrate(qmp, "migrate-incoming", `unix:${path}`, signal, doing);
  } finally {
    stop.abort();
    await rm(path, { force: true });
  }
}

/** Ends a saving whose beginner is gone. Resolves when the machine process has nothing to do with it any more, or has had time enough. */
export async function abandonSave(qmp: QmpClient, clock: Clock): Promise<void> {
  const late = new AbortController();
  const timer = clock.schedule(abandonMs, () => late.abort());
  const ended = qmp.waitFor((event) => event.event === "MIGRATION" && isFinal(event), late.signal);
  ended.catch((error: unknown) => void error); // Awaited below, if there is something to wait for.
  try {
    await qmp.execute("migrate_cancel");
    const answer = await qmp.execute("query-migrate");
    if (isRecord(answer) && ["setup", "active", "device", "pre-switchover", "cancelling"].includes(String(answer["status"]))) await ended;
  } catch (error) {
    // A machine process that refuses has nothing to cancel.
    if (!(error instanceof QmpError) && !late.signal.aborted) throw error;
  } finally {
    timer.dispose();
    late.abort();
  }
}

class NobodyCame extends Error {}

/** Writes what the first client sends to `file`. Rejects when the server is closed before one came. */
function receive(server: Server, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("connection", (socket) => void pipeline(socket, createWriteStream(file, { flags: "wx", mode: 0o600 })).then(resolve, reject));
    server.once("close", () => reject(new NobodyCame("nobody connected")));
  });
}

async function migrate(qmp: QmpClient, command: "migrate" | "migrate-incoming", uri: string, signal: AbortSignal, doing: string): Promise<void> {
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
    await Promise.all([qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] }), qmp.execute(command, { uri }, limitMs)]);
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
