import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { ownIdentity } from "../../../core/base/processes";
import { parseProc, parsePs, readProcessUsage, type ProcessUsage } from "../../../core/machine/processUsage";

const line = (name: string, start = "777") => `42 (${name}) S 1 42 42 0 -1 4194560 100 0 0 0 1234 66 0 0 20 0 12 0 ${start} 1000000 500 18446744073709551615\n`;
const status = "Name:\tx\nVmPeak:\t 9000 kB\nVmRSS:\t   4096 kB\nThreads:\t12\n";

async function own(): Promise<ProcessUsage> {
  const usage = await readProcessUsage(await ownIdentity());
  if (!usage.ok) throw new Error(usage.error);
  return usage.value;
}

describe("what a process uses", () => {
  it("is what the system says of this very process, its threads included", async () => {
    const before = await own();
    const until = process.cpuUsage().user + 200_000;
    while (process.cpuUsage().user < until);
    const after = await own();
    expect(after.cpuSeconds - before.cpuSeconds).toBeGreaterThan(0.15);
    expect(Math.abs(after.cpuSeconds - (process.cpuUsage().user + process.cpuUsage().system) / 1e6)).toBeLessThan(0.2);
    expect(after.residentBytes / process.memoryUsage.rss()).toBeGreaterThan(0.7);
    expect(after.residentBytes / process.memoryUsage.rss()).toBeLessThan(1.4);
  });

  it("is not that of another process with the same pid", async () => {
    expect(await readProcessUsage({ pid: process.pid, start: "1" })).toMatchObject({ ok: false, error: expect.stringContaining("ended") as string });
  });

  it("is unknown when the process has ended", async () => {
    const child = spawn(process.execPath, ["-e", ""]);
    await once(child, "close");
    expect(await readProcessUsage({ pid: child.pid! })).toMatchObject({ ok: false, error: expect.stringContaining("ended") as string });
  });

  it("is unknown, with the reason, where the system has no way to tell", async () => {
    expect(await readProcessUsage(await ownIdentity(), "win32")).toMatchObject({ ok: false, error: expect.stringContaining("does not measure") as string });
  });

  it("is read behind a name that looks like the rest of the line", () => {
    expect(parseProc(line("odd) R 9 9"), status, "777")).toEqual({ ok: true, value: { cpuSeconds: 13, residentBytes: 4096 * 1024 } });
    expect(parseProc(line("x", "778"), status, "777").ok).toBe(false);
    expect(parseProc(line("x"), "Name:\tx\nState:\tZ (zombie)\n", "777").ok).toBe(false);
    expect(parseProc("", status, undefined).ok).toBe(false);
  });

  it("is read from ps as macOS and others print it", () => {
    const start = "Sun Nov 22 12:00:00 2026";
    expect(parsePs(`${start}   0:01.50  20480\n`, start)).toEqual({ ok: true, value: { cpuSeconds: 1.5, residentBytes: 20480 * 1024 } });
    expect(parsePs(`${start} 125:00.25  1\n`, start)).toEqual({ ok: true, value: { cpuSeconds: 7500.25, residentBytes: 1024 } });
    expect(parsePs(`${start} 1-02:03:04 1\n`, start)).toEqual({ ok: true, value: { cpuSeconds: 93784, residentBytes: 1024 } });
    expect(parsePs(`${start}   0:01.50  20480\n`, "Sun Nov 22 11:00:00 2026").ok).toBe(false);
    expect(parsePs("", start).ok).toBe(false);
    expect(parsePs("something else", start)).toMatchObject({ ok: false, error: expect.stringContaining("not known") as string });
  });

  it("agrees with a real ps", async () => {
    const columns = ["lstart=", "time=", "rss="].flatMap((column) => ["-o", column]);
    const answer = parsePs(execFileSync("ps", [...columns, "-p", String(process.pid)], { env: { ...process.env, LC_ALL: "C" }, encoding: "utf8" }), undefined);
    if (!answer.ok) throw new Error(answer.error);
    const usage = await own();
    expect(Math.abs(answer.value.cpuSeconds - usage.cpuSeconds)).toBeLessThan(1.1);
    expect(answer.value.residentBytes / usage.residentBytes).toBeGreaterThan(0.7);
  });
});
