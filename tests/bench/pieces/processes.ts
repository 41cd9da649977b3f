import { readFileSync } from "node:fs";

/** Linux counts processor time in hundredths of a second for all programs, whatever the kernel's own tick is (proc(5), USER_HZ). */
const ticksPerSecond = 100;

/** Processor time of a process and all its threads, seconds, in steps of 0.01. */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name, in brackets, may contain anything; fields are counted behind it. utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Resident memory in MiB. */
export function residentMiB(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  if (!match) throw new Error(`the process ${pid} has no resident memory`);
  return Number(match[1]) / 1024;
}

/** The processes that `pid` started, and theirs. */
export function descendants(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Share of one processor core a process takes for `seconds` from now on, in percent. */
export async function processorShare(pid: number, seconds: number): Promise<number> {
  const began = performance.now();
  const before = processorSeconds(pid);
  await passing(seconds * 1000);
  return ((processorSeconds(pid) - before) / ((performance.now() - began) / 1000)) * 100;
}

/** Lets time pass, where the passing of time is what is measured over. */
export function passing(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
