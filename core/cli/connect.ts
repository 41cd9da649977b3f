import { TerrariumError } from "../contract/errors";
import { readLock, type LockRecord, type Runtime } from "../machine/access";
import { connectHost, type HostConnection } from "../server/client";
import { startHeadless } from "../server/spawn";

/** A holder of the home that does not listen is starting or ending; this long it is waited for. */
const silentHolderMs = 15_000;

/** After a service has agreed to end, it may take this long to write things away. */
const stopMs = 30_000;

/**
 * The host service of `home`; a headless one is started when none runs. Two commands that start one at the same time
 * end up at the same one.
 * @throws TerrariumError what kept it from starting
 */
export async function connectOrStart(home: string, runtime: Runtime): Promise<HostConnection> {
  // Each turn either connects, or waits for a change of holder; a service that ends right after it started is not chased for ever.
  for (let turn = 0; turn < 5; turn++) {
    const connection = await connectOrWait(home);
    if (connection) return connection;
    try {
      await startHeadless(home, runtime);
    } catch (error) {
      if (!(error instanceof TerrariumError && error.code === "locked")) throw error;
      // Locked and yet no live holder here: it is in use on another computer, and waiting does not help.
      if ((await readLock(home)) === undefined && (await connectHost(home)) === undefined) throw error;
    }
  }
  throw new TerrariumError("unavailable", `A host service for ${home} starts but ends again.`, "Look at its log: logs/host.log in the home.");
}

/**
 * Asks a host service that was started for a command, and ends by itself, to end now. What it is working on is waited for.
 * @returns whether the home can be tried again; false when its holder is one that stays
 * @throws TerrariumError when it does not end
 */
export async function endTemporary(home: string, tell: (line: string) => void): Promise<boolean> {
  const holder = await readLock(home);
  if (holder === undefined) return true;
  if (!holder.endsWhenIdle) return false;
  const host = await connectOrWait(home);
  if (host === undefined) return true;
  try {
    // Another one may have come instead meanwhile.
    if ((await readLock(home))?.nonce !== holder.nonce) return true;
    // Ending would cancel them.
    for (const job of (await host.call("job.list", {})).filter(({ state }) => state === "running")) {
      tell(`Waiting until the host service that holds the home (process ${holder.pid}) is done with: ${job.title}.`);
      await host.call("job.wait", { id: job.id });
    }
    tell(`Taking over from the host service that another command has started (process ${holder.pid}). Machines go on.`);
    await host.call("host.stop", {});
  } catch (error) {
    // It has just ended by itself.
    if (!(error instanceof TerrariumError && error.code === "disconnected")) throw error;
  } finally {
    host.close();
  }
  await untilReleased(home, holder);
  return true;
}

/** Waits until a host service that has agreed to end has given its home free. */
export async function untilReleased(home: string, holder: LockRecord | undefined): Promise<void> {
  if (await waitUntil(async () => (await readLock(home))?.nonce !== holder?.nonce, stopMs)) return;
  throw new TerrariumError("timeout", "The host service agreed to end but has not.", "Look at its log in the home's logs folder.");
}

/** Connects, waiting for a holder that is there but does not listen yet; undefined when there is no holder. */
async function connectOrWait(home: string): Promise<HostConnection | undefined> {
  let connection: HostConnection | undefined;
  const settled = await waitUntil(async () => {
    connection = await connectHost(home);
    return connection !== undefined || (await readLock(home)) === undefined;
  }, silentHolderMs);
  if (settled) return connection;
  const holder = await readLock(home);
  throw new TerrariumError("locked", `Process ${holder?.pid ?? "unknown"} holds the home ${home} but does not answer.`, "If it hangs, end that process and try again.");
}

/** Asks until the answer is yes; false when it never was within `limitMs`. */
export async function waitUntil(condition: () => Promise<boolean>, limitMs: number, everyMs = 30): Promise<boolean> {
  const until = performance.now() + limitMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
