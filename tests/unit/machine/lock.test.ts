import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { hostname } from "node:os";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bootId, ownIdentity } from "../../../core/base/processes";
import { HomeLockedError, readLock, takeLock, type HomeLock, type LockRecord } from "../../../core/machine/lock";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const home = useTemporaryFolder();
const details = { runDir: "/run/terrarium-test", servedBy: "app" } as const;
const lockFile = (): string => join(home.path, "lock");

async function recordOf(patch: Partial<LockRecord>): Promise<LockRecord> {
  const self = await ownIdentity();
  return { pid: self.pid, processStart: self.start, bootId: await bootId(), hostname: hostname(), ...details, nonce: "0123456789abcdef", ...patch };
}

async function writeLock(patch: Partial<LockRecord>): Promise<void> {
  await writeFile(lockFile(), JSON.stringify(await recordOf(patch)));
}

/** The identity of a process that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""], { stdio: "ignore" });
  await once(child, "exit");
  return child.pid ?? 0;
}

describe("the lock of a home", () => {
  it("says who serves it, and where its sockets are", async () => {
    const lock = await takeLock(home.path, details);
    expect(await readLock(home.path)).toMatchObject({ pid: process.pid, runDir: details.runDir, servedBy: "app" });
    await lock.release();
    expect(await readLock(home.path)).toBeUndefined();
    expect(await readdir(home.path)).toEqual([]);
  });

  it("refuses a second one while the first lives, and says who holds it", async () => {
    const lock = await takeLock(home.path, details);
    const refused = takeLock(home.path, { ...details, servedBy: "headless" });
    await expect(refused).rejects.toBeInstanceOf(HomeLockedError);
    await expect(refused).rejects.toMatchObject({ code: "locked", holder: { pid: process.pid, servedBy: "app" }, message: expect.stringContaining(String(process.pid)) as string, remedy: expect.stringContaining("window") as string });
    await lock.release();
    await (await takeLock(home.path, details)).release();
  });

  it.each([
    ["of a process that ended", async () => ({ pid: await deadPid(), processStart: "1" })],
    ["whose pid belongs to another process today", () => Promise.resolve({ processStart: "1" })],
    ["of an earlier boot of this computer", () => Promise.resolve({ bootId: "earlier" })],
  ])("takes over a stale lock %s", async (_, patch) => {
    await writeLock(await patch());
    expect(await readLock(home.path)).toBeUndefined();
    const lock = await takeLock(home.path, details);
    expect((await readLock(home.path))?.nonce).toBe(lock.record.nonce);
    expect(await readdir(home.path)).toEqual(["lock"]);
    await lock.release();
  });

  it.each(["", "{", "[]", '{"pid":1}', "\0\0\0"])("takes over a damaged lock: %j", async (text) => {
    await writeFile(lockFile(), text);
    expect(await readLock(home.path)).toBeUndefined();
    await (await takeLock(home.path, details)).release();
  });

  it("does not take over the lock of another computer, which it cannot ask", async () => {
    await writeLock({ hostname: "elsewhere", bootId: "other" });
    await expect(takeLock(home.path, details)).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("elsewhere") as string, remedy: expect.stringContaining(lockFile()) as string });
    expect(await readFile(lockFile(), "utf8")).toContain("elsewhere");
    expect(await readdir(home.path)).toEqual(["lock"]);
  });

  it("lets exactly one of many starters take a free home", async () => {
    await expectOneWinner();
  });

  it("lets exactly one of many starters take over a stale lock", async () => {
    const pid = await deadPid();
    for (let round = 0; round < 5; round++) {
      await writeLock({ pid, nonce: `stale${round}` });
      await expectOneWinner();
    }
  });

  it("claims what a starter that died while taking over had claimed", async () => {
    const pid = await deadPid();
    await writeLock({ pid });
    const stale = await readFile(lockFile(), "utf8");
    const claim = `lock.${createHash("sha256").update(stale).digest("hex").slice(0, 16)}.claim`;
    await writeFile(join(home.path, claim), JSON.stringify(await recordOf({ pid, nonce: "died" })));
    await expectOneWinner();
  });

  it("does not remove a lock that is no longer its own", async () => {
    const lock = await takeLock(home.path, details);
    await writeLock({ nonce: "someone-else" });
    await lock.release();
    expect(await readFile(lockFile(), "utf8")).toContain("someone-else");
  });

  it("removes what starters that died half-way left, and nothing else", async () => {
    await writeFile(join(home.path, "lock.00112233445566ff.new"), "{");
    await writeFile(join(home.path, "lock.00112233445566ff.new.own"), "");
    await writeFile(join(home.path, "lock.txt"), "mine");
    const lock = await takeLock(home.path, details);
    expect((await readdir(home.path)).sort()).toEqual(["lock", "lock.txt"]);
    await lock.release();
  });
});

async function expectOneWinner(): Promise<void> {
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(home.path, details)));
  const winners = outcomes.filter((outcome): outcome is PromiseFulfilledResult<HomeLock> => outcome.status === "fulfilled");
  const losers = outcomes.filter((outcome): outcome is PromiseRejectedResult => outcome.status === "rejected");
  for (const { reason } of losers) expect(reason).toMatchObject({ code: "locked" });
  expect(winners).toHaveLength(1);
  expect((await readLock(home.path))?.nonce).toBe(winners[0]?.value.record.nonce);
  expect(await readdir(home.path)).toEqual(["lock"]);
  await winners[0]?.value.release();
}
