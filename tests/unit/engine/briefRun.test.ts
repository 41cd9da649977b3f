import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isRunning, processStart } from "../../../core/base/processes";
import { runBriefly, wordsOf, type BriefRun, type BriefRunOptions } from "../../../core/engine/briefRun";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("a brief run", () => {
  const folder = useTemporaryFolder();
  const shell = (script: string, options: Partial<BriefRunOptions> = {}): Promise<BriefRun> => runBriefly("/bin/sh", ["-c", script], { env: { PATH: process.env.PATH }, limitMs: 20_000, ...options });

  /** Resolves when the process of which the script wrote the pid is gone. */
  async function gone(pidFile: string): Promise<void> {
    const pid = Number(await readFile(pidFile, "utf8"));
    expect(pid).toBeGreaterThan(1);
    const start = await processStart(pid);
    while (start !== undefined && (await isRunning({ pid, start })));
  }

  it("tells what a program printed and how it ended", async () => {
    expect(await shell("cat; echo problem >&2; exit 7", { input: "hello" })).toMatchObject({ outcome: "exited", code: 7, signal: undefined, stdout: "hello", stderr: "problem\n" });
    expect(await shell("kill -SEGV $$")).toMatchObject({ outcome: "exited", code: undefined, signal: "SIGSEGV" });
  });

  it("tells when a program cannot be started", async () => {
    expect(await runBriefly("/nothing/there", [], { env: {}, limitMs: 20_000 })).toMatchObject({ outcome: "not-started", code: undefined, problem: expect.stringContaining("ENOENT") as string });
    expect(await runBriefly("/bin/true", ["x".repeat(16 * 1024 * 1024)], { env: {}, limitMs: 20_000 })).toMatchObject({ outcome: "not-started", problem: expect.stringContaining("E2BIG") as string });
  });

  it("passes on no private variables", async () => {
    expect((await shell("echo ${TOKEN:-none}", { env: { PATH: process.env.PATH, TOKEN: "secret" } })).stdout).toBe("none\n");
  });

  it("ends a program that takes too long, with what it has started", async () => {
    const pidFile = join(folder.path, "pid");
    const run = await shell(`trap '' TERM; sleep 1000 & echo $! > ${pidFile}; echo waiting; wait`, { limitMs: 400 });
    expect(run).toMatchObject({ outcome: "timeout", code: undefined, signal: undefined, stdout: "waiting\n" });
    await gone(pidFile);
  });

  it("ends when the program does, although something it started holds its output", async () => {
    const pidFile = join(folder.path, "pid");
    expect(await shell(`sleep 1000 & echo $! > ${pidFile}; echo done; exit 3`, { limitMs: 400 })).toMatchObject({ outcome: "exited", code: 3, stdout: "done\n" });
    await gone(pidFile);
  });

  it("ends a program that prints without end, and keeps no more than a mebibyte of it", async () => {
    for (const stream of ["stdout", "stderr"] as const) {
      const run = await shell(`yes >&${stream === "stdout" ? 1 : 2}`);
      expect(run.outcome).toBe("flooded");
      expect(run[stream].length).toBe(1024 * 1024);
    }
  });

  it("is cancelled before and while it runs", async () => {
    const mark = join(folder.path, "mark");
    expect(await shell(`touch ${mark}`, { signal: AbortSignal.abort() })).toMatchObject({ outcome: "cancelled" });
    expect(existsSync(mark)).toBe(false);
    const abort = new AbortController();
    const running = shell("sleep 1000", { signal: abort.signal });
    abort.abort();
    expect(await running).toMatchObject({ outcome: "cancelled", code: undefined });
  });

  it("leaves no listeners behind", async () => {
    const before = process.listenerCount("exit");
    await Promise.all([shell("exit 0"), shell("sleep 1000", { limitMs: 50 }), runBriefly("/nothing/there", [], { env: {}, limitMs: 50 })]);
    expect(process.listenerCount("exit")).toBe(before);
  });
});

describe("the words of a program", () => {
  it("are one line, without what only a terminal understands", () => {
    expect(wordsOf({ stdout: "", stderr: "qemu-system-x86_64: warning: a\n/usr/bin/qemu-system-x86_64: -accel whpx: invalid \x1b[31maccelerator\x07 whpx.\nmore\n" })).toBe("-accel whpx: invalid [31maccelerator whpx");
    expect(wordsOf({ stdout: "only this\n", stderr: " \n" })).toBe("only this");
    expect(wordsOf({ stdout: "", stderr: "warning: all there is" })).toBe("warning: all there is");
    expect(wordsOf({ stdout: "", stderr: "x".repeat(100_000) })?.length).toBe(300);
    expect(wordsOf({ stdout: "", stderr: "\0\n" })).toBeUndefined();
  });
});
