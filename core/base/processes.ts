import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/*
 * Which process was that? A pid alone does not say: it is reused. A pid with the time the process started does, within
 * one boot of the computer.
 */

export interface ProcessIdentity {
  readonly pid: number;
  /** When the process started, in the system's own notation; absent where the system does not tell. */
  readonly start?: string | undefined;
}

/** Start time of a process as an opaque string: clock ticks since boot on Linux, `ps -o lstart=` on macOS; undefined when it does not run, is a zombie, or the system does not tell. */
export async function processStart(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    let stat: string;
    try {
      stat = await readFile(`/proc/${pid}/stat`, "utf8");
    } catch {
      return undefined; // No such process: that is the answer.
    }
    // proc(5): the name in parentheses may hold anything, so fields are counted from the last parenthesis; 3 is the state, 22 the start.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    return fields[19];
  }
  if (process.platform === "darwin") {
    try {
      const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)], { env: { ...process.env, LC_ALL: "C" } });
      return stdout.trim() || undefined;
    } catch {
      return undefined; // ps exits with 1 when there is no such process.
    }
  }
  return undefined;
}

/** The running process itself. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return { pid: process.pid, start: await processStart(process.pid) };
}

/** Whether exactly this process still runs. Without a known start time the pid has to do. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  if (!Number.isInteger(identity.pid) || identity.pid <= 0) return false;
  if (process.platform === "linux" || process.platform === "darwin") {
    const start = await processStart(identity.pid);
    if (start === undefined) return false;
    return identity.start === undefined || identity.start === start;
  }
  try {
    process.kill(identity.pid, 0);
    return true;
  } catch (failure) {
    // EPERM: it runs, and belongs to someone else.
    return typeof failure === "object" && failure !== null && "code" in failure && failure.code === "EPERM";
  }
}

/** Changes with every boot of the computer; undefined where the system does not tell. */
export async function bootId(): Promise<string | undefined> {
  if (process.platform === "linux") {
    try {
      return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    } catch {
      return undefined; // A /proc without it (some sandboxes): pid and start time decide alone.
    }
  }
  if (process.platform === "darwin") {
    const { stdout } = await promisify(execFile)("sysctl", ["-n", "kern.boottime"]);
    return stdout.trim() || undefined;
  }
  return undefined;
}
