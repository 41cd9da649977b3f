import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { getPriority } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { isRunning, processStart } from "../../../core/base/processes";
import { adopt, connectWhenReady, launch, type MachineProcess } from "../../../core/engine/machineProcess";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("a machine process", () => {
  const folder = useTemporaryFolder();
  const servers: Server[] = [];
  const processes: MachineProcess[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    for (const process of processes.splice(0)) await process.kill();
  });

  async function run(script: string, env: Record<string, string> = {}): Promise<MachineProcess> {
    const process = await launch({ command: globalThis.process.execPath, args: ["-e", script], env }, join(folder.path, "engine.log"));
    processes.push(process);
    return process;
  }
  const listen = (path: string): Promise<void> =>
    new Promise((resolve) => {
      const server = createServer((socket) => socket.end("hello"));
      servers.push(server);
      server.listen(path, resolve);
    });

  it("is started in a process group of its own, with its output in the log and its exit code known", async () => {
    const process = await run('console.log(process.env.MARK, process.pid === Number(require("fs").readFileSync("/proc/self/stat", "utf8").split(" ")[4])); process.exit(7)', { MARK: "marked" });
    expect(process.identity.start).toBeDefined();
    expect(await process.ended).toEqual({ code: 7, signal: undefined });
    expect(await readFile(join(folder.path, "engine.log"), "utf8")).toMatch(/^\n\S*node -e 'console\.log.*\nmarked true\n$/s);
  });

  it("yields to the app, which someone may be waiting for", async () => {
    const wanted = Math.min(19, getPriority() + 5);
    const process = await run(`setInterval(() => require("os").getPriority() === ${wanted} && process.exit(9), 5)`);
    expect(await process.ended).toEqual({ code: 9, signal: undefined });
  });

  it("tells why it could not be started", async () => {
    await expect(launch({ command: "/nothing/there", args: [], env: {} }, join(folder.path, "engine.log"))).rejects.toMatchObject({ code: "engine-failed", message: expect.stringContaining("ENOENT") as string });
  });

  it("is ended by a kill, and adopted only as long as it is the very same", async () => {
    const process = await run("setInterval(() => {}, 1000)");
    expect(await adopt({ ...process.identity, start: "1" })).toBeUndefined();
    const adopted = await adopt(process.identity);
    expect(adopted?.identity).toEqual(process.identity);
    await adopted?.kill();
    expect(await process.ended).toEqual({ code: undefined, signal: "SIGKILL" });
    expect(await adopted?.ended).toEqual({});
    expect(await adopt(process.identity)).toBeUndefined();
  });

  it("is ended when it has closed its monitor and stays all the same", async () => {
    const process = await run("setInterval(() => {}, 1000)");
    const clock = new ManualClock();
    const adopted = await adopt(process.identity, clock);
    adopted?.monitorClosed();
    let over = false;
    void adopted?.ended.then(() => (over = true));
    while (!over) {
      clock.advance(100);
      await processStart(process.identity.pid);
    }
    expect(await isRunning(process.identity)).toBe(false);
  });

  it("is connected to as soon as it listens", async () => {
    const path = join(folder.path, "late.sock");
    const connecting = connectWhenReady(path, { timeoutMs: 60_000 });
    await listen(path);
    const socket = await connecting;
    expect(await new Promise<string>((resolve) => socket.once("data", (data) => resolve(data.toString())))).toBe("hello");
    socket.destroy();
  });

  it("is not waited for longer than allowed, after it is gone, or after a cancellation", async () => {
    const path = join(folder.path, "never.sock");
    const clock = new ManualClock();
    const late = expect(connectWhenReady(path, { timeoutMs: 1000, clock })).rejects.toMatchObject({ code: "timeout" });
    clock.advance(1000);
    await late;
    await expect(connectWhenReady(path, { timeoutMs: 60_000, gone: Promise.reject(new Error("gone")) })).rejects.toThrow("gone");
    const abort = new AbortController();
    const cancelled = expect(connectWhenReady(path, { timeoutMs: 60_000, signal: abort.signal })).rejects.toMatchObject({ code: "cancelled" });
    abort.abort();
    await cancelled;
  });
});
