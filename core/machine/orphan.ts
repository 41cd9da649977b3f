import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Clock } from "../base/clock";
import type { Log } from "../base/log";
import { processStart, type ProcessIdentity } from "../base/processes";
import { toErrorData } from "../contract/errors";
import type { MachineSockets } from "../engine/engine";
import { errno, isMissing } from "../storage/fileErrors";
import { Session } from "./session";

/**
 * Ends the machine process that a run directory's pid file names, if there is one. Call it only when no record tells of a
 * process: then a host service died between starting the process and writing that down, its guest has never run, and
 * nobody will ever use it, but it holds the machine's disks.
 */
export async function endOrphan(sockets: MachineSockets, serialLog: string, around: { readonly clock: Clock; readonly log: Log }): Promise<void> {
  const identity = await orphanOf(sockets.pidFile);
  if (!identity) return;
  around.log.warn(`the machine process ${identity.pid} was left behind when it had just been started; it is ended`);
  try {
    const session = await Session.attach(identity, sockets, serialLog, around.clock);
    await session?.quit(around.clock);
  } catch (error) {
    // It has been killed then, which is as good.
    around.log.warn(`the machine process ${identity.pid} did not let itself be reached: ${toErrorData(error).message}`);
  }
}

/** The process of a pid file, if it lives and is the machine process that was told to write this very file. */
async function orphanOf(pidFile: string): Promise<ProcessIdentity | undefined> {
  let text: string;
  try {
    text = await readFile(pidFile, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const pid = Number(text.trim());
  if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
  // The start time first: if the pid is given to someone else in between, the command line is not ours.
  const start = await processStart(pid);
  if (start === undefined || !(await commandLine(pid)).includes(pidFile)) return undefined;
  return { pid, start };
}

/** The command line of a process: its arguments on Linux, one text elsewhere. Nothing when there is no such process. */
async function commandLine(pid: number): Promise<readonly string[] | string> {
  if (process.platform === "linux") {
    try {
      return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
    } catch (error) {
      // ESRCH: it ended while it was read.
      if (isMissing(error) || errno(error) === "ESRCH" || errno(error) === "EACCES") return [];
      throw error;
    }
  }
  try {
    return (await promisify(execFile)("ps", ["-ww", "-o", "command=", "-p", String(pid)])).stdout;
  } catch {
    return []; // ps exits with 1 when there is no such process.
  }
}
