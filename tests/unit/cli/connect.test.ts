import { describe, expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../../core/base/log";
import { endTemporary } from "../../../core/cli/connect";
import type { JobInfo } from "../../../core/contract/model";
import { takeLock, type HomeLock } from "../../../core/machine/lock";
import { serveSocket } from "../../../core/server/socket";
import { FakeHost, temporaryFolder } from "../server/fakeHost";

/** A host service in this process that holds a home of its own and ends when it is told to. */
async function holder(endsWhenIdle: boolean, jobs: readonly JobInfo[] = []): Promise<{ home: string; host: FakeHost; lock: HomeLock; left: Promise<void> }> {
  const home = temporaryFolder();
  const host = new FakeHost();
  const lock = await takeLock(home, { runDir: host.runDir, servedBy: "headless", endsWhenIdle });
  const socket = await serveSocket(host, silentLog);
  onTestFinished(() => socket.dispose());
  host.answer = (name) => {
    if (name === "job.list") return jobs;
    if (name === "job.wait") return { ...jobs[0], state: "done" };
    return {};
  };
  // The lock is the last thing that it gives away.
  const left = new Promise<void>((resolve) => socket.onDidChangeClients(() => socket.clientCount === 0 && resolve()));
  return { home, host, lock, left };
}

describe("taking over from a host service", () => {
  it("ends one that a command has started, says so, and waits for its home", async () => {
    const { home, host, lock, left } = await holder(true);
    const told: string[] = [];
    let over = false;
    const taking = endTemporary(home, (line) => told.push(line)).finally(() => (over = true));
    await left;
    expect(over).toBe(false);
    await lock.release();
    expect(await taking).toBe(true);
    expect(host.calls.map(({ name }) => name)).toEqual(["job.list", "host.stop"]);
    expect(told).toEqual([expect.stringContaining("Taking over") as string]);
  });

  it("waits for what it is working on, which ending would cancel", async () => {
    const job: JobInfo = { id: "1", kind: "create", title: "Create web", state: "running", cancellable: true, startedAt: 0 };
    const { home, host, lock, left } = await holder(true, [job, { ...job, id: "2", state: "done" }]);
    const told: string[] = [];
    const taking = endTemporary(home, (line) => told.push(line));
    await left.then(() => lock.release());
    await taking;
    expect(host.calls.map(({ name }) => name)).toEqual(["job.list", "job.wait", "host.stop"]);
    expect(told[0]).toContain("Create web");
  });

  it("leaves one alone that was started to stay", async () => {
    const { home, host, lock } = await holder(false);
    expect(await endTemporary(home, () => undefined)).toBe(false);
    expect(host.calls).toEqual([]);
    await lock.release();
  });

  it("finds nothing to do where nobody holds the home", async () => {
    expect(await endTemporary(temporaryFolder(), () => undefined)).toBe(true);
  });
});
