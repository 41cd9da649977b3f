import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { bootId, isRunning, ownIdentity, processStart } from "../../../core/base/processes";

describe("process identity", () => {
  it("recognises a running process, and that it ended", async () => {
    const child = spawn(process.execPath, ["-e", "process.stdin.resume()"], { stdio: ["pipe", "ignore", "ignore"] });
    await once(child, "spawn");
    const identity = { pid: child.pid ?? 0, start: await processStart(child.pid ?? 0) };
    expect(await isRunning(identity)).toBe(true);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await isRunning(identity)).toBe(false);
  });

  it("does not take another process with the same pid for it", async () => {
    const self = await ownIdentity();
    expect(await isRunning(self)).toBe(true);
    expect(await isRunning({ pid: self.pid, start: "1" })).toBe(false);
  });

  it("says that no process runs under an impossible pid", async () => {
    expect(await isRunning({ pid: 0 })).toBe(false);
    expect(await isRunning({ pid: -1 })).toBe(false);
    expect(await isRunning({ pid: 2 ** 31 })).toBe(false);
  });

  it("knows the boot, which stays the same", async () => {
    expect(await bootId()).toMatch(/./);
    expect(await bootId()).toBe(await bootId());
  });
});
