import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { ProcessIdentity } from "../base/processes";
import { err, ok, type Result } from "../base/result";

/*
 * What a process of the host uses, by the system's own account: all of its threads, those that have ended included.
 *
 *   Linux    /proc/PID/stat and /proc/PID/status (proc(5)): two small reads
 *   macOS    ps, which has both figures from the kernel; unverified
 *   Windows  nothing: what tells of another process there is a program that takes longer to start than a machine takes in
 *            the seconds between two measurements
 *
 * All figures belong to the process that is meant: where a pid has been reused there is no answer.
 */
export interface ProcessUsage {
  /** Processor time since the process began. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** Linux counts processor time in hundredths of a second for all programs, whatever the kernel's own tick is (proc(5), USER_HZ). */
const ticksPerSecond = 100;
const gone = "The machine process has ended.";

/** Reads what exactly this process uses. The error says why that is not known. */
export async function readProcessUsage(identity: ProcessIdentity, platform: NodeJS.Platform = process.platform): Promise<Result<ProcessUsage>> {
  const { pid } = identity;
  try {
    switch (platform) {
      case "linux": {
        const [stat, status] = await Promise.all([readFile(`/proc/${pid}/stat`, "latin1"), readFile(`/proc/${pid}/status`, "latin1")]);
        return parseProc(stat, status, identity.start);
      }
      case "darwin": {
        const columns = ["lstart=", "time=", "rss="].flatMap((column) => ["-o", column]);
        const { stdout } = await promisify(execFile)("ps", [...columns, "-p", String(pid)], { env: { ...process.env, LC_ALL: "C" }, timeout: 2000 });
        return parsePs(stdout, identity.start);
      }
      default:
        return err("Terrarium does not measure processes on this system.");
    }
  } catch (error) {
    return err(isGone(error) ? gone : `The system does not tell: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isGone(error: unknown): boolean {
  // ps ends with 1 when there is no such process.
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH" || error.code === 1);
}

/** `stat` and `status` of a process as in proc(5). */
export function parseProc(stat: string, status: string, start: string | undefined): Result<ProcessUsage> {
  // The name in parentheses may hold anything, so fields are counted from the last one; 14 and 15 are user and system time, 22 the start.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (start !== undefined && fields[19] !== start) return err(gone);
  const cpuSeconds = (Number(fields[11] ?? NaN) + Number(fields[12] ?? NaN)) / ticksPerSecond;
  // A zombie has no memory any more, and no such line.
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (resident === undefined || !Number.isFinite(cpuSeconds)) return err(gone);
  return ok({ cpuSeconds, residentBytes: Number(resident) * 1024 });
}

/** A line of `ps -o lstart= -o time= -o rss=`: start, processor time as [[days-]hours:]minutes:seconds[.hundredths], kibibytes. */
export function parsePs(line: string, start: string | undefined): Result<ProcessUsage> {
  const match = /^\s*(.+?)\s+(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:[.,]\d+)?)\s+(\d+)\s*$/.exec(line);
  if (!match) return err(line.trim() === "" ? gone : "The system's ps answers in a way that is not known.");
  const [, began, days = "0", hours = "0", minutes, seconds, kibibytes] = match;
  if (start !== undefined && began !== start) return err(gone);
  return ok({ cpuSeconds: ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds?.replace(",", ".")), residentBytes: Number(kibibytes) * 1024 });
}
