import { spawn } from "node:child_process";
import { open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { TerrariumError } from "../contract/errors";
import { ErrorShape } from "../contract/errorShape";
import { fileError, makeLogsFolder, type Runtime } from "../machine/access";

/** What a headless host service says on its message channel to whoever started it, once. */
export const Readiness = z.union([z.object({ ready: z.literal(true) }), z.object({ error: ErrorShape })]);
export type Readiness = z.infer<typeof Readiness>;

/** A headless service that was started for someone ends by itself after this long with nothing to do, seconds. */
const idleSeconds = 60;

/** The log is set aside (once) when it is larger than this. */
const maxLogBytes = 1 << 20;

export function headlessLogFile(home: string): string {
  return join(home, "logs", "host.log");
}

/**
 * Starts a headless host service for `home` that outlives this process, and waits until it listens.
 * @throws TerrariumError what kept the service from starting (`locked`: another one was faster)
 */
export async function startHeadless(home: string, runtime: Runtime): Promise<void> {
  const logFile = headlessLogFile(home);
  const log = await openLog(home, logFile);
  try {
    const child = spawn(runtime.node, [runtime.cli, "serve", "--idle", String(idleSeconds)], {
      detached: true,
      cwd: "/",
      env: { ...process.env, ...runtime.env, TERRARIUM_HOME: home, TERRARIUM_GUEST_DIR: runtime.guestDir },
      stdio: ["ignore", log.fd, log.fd, "ipc"],
    });
    const readiness = await new Promise<Readiness>((resolve, reject) => {
      child.once("error", (error) => reject(new TerrariumError("engine-failed", `The host service could not be started: ${error.message}.`, "Check that Terrarium is installed completely.", { cause: error })));
      child.once("message", (message) => {
        const parsed = Readiness.safeParse(message);
        if (parsed.success) resolve(parsed.data);
        else reject(new TerrariumError("internal", "The host service said something that is not understood.", `See ${logFile}.`));
      });
      child.once("exit", (code, signal) => reject(new TerrariumError("engine-failed", `The host service ended at once (${signal ?? `exit code ${code}`}).`, `See ${logFile}.`)));
    });
    if (child.connected) child.disconnect();
    child.unref();
    if ("error" in readiness) throw TerrariumError.fromData(readiness.error);
  } finally {
    await log.close();
  }
}

async function openLog(home: string, file: string): Promise<Awaited<ReturnType<typeof open>>> {
  await makeLogsFolder(home);
  try {
    const size = await stat(file).then(
      (found) => found.size,
      () => 0, // There is none yet; whatever else is wrong, opening it will say.
    );
    if (size > maxLogBytes) await rename(file, `${file}.1`);
    return await open(file, "a", 0o600);
  } catch (error) {
    throw fileError(error, "The home could not be written to", file);
  }
}
