import { statSync } from "node:fs";
import { mkdir, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MiB } from "../../../core/base/bytes";
import { ManualClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { QmpClient } from "../../../core/engine/qmp";
import { AgentClient } from "../../../core/machine/agentClient";
import { Run } from "../../../core/machine/run";
import { readRunRecord } from "../../../core/machine/runRecord";
import { Session } from "../../../core/machine/session";
import { duplexPair } from "../../support/duplexPair";
import { makeConfig } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("the watch over a machine process", () => {
  const folder = useTemporaryFolder();
  const clock = new ManualClock();
  let answers = true;
  let asked = 0;
  let told: string[] = [];
  let machineEnd: Duplex;
  let run: Run;

  beforeEach(async () => {
    answers = true;
    asked = 0;
    told = [];
    const [monitor, machine] = duplexPair();
    machineEnd = machine;
    machine.on("data", (data: Buffer) => {
      for (const line of data.toString().trim().split("\n")) {
        const { execute, id } = JSON.parse(line) as { execute: string; id: number };
        told.push(execute);
        if (execute === "query-status") asked++;
        if (answers) machine.write(`${JSON.stringify({ return: { status: "running", running: true }, id })}\n`);
      }
    });
    const qmp = await QmpClient.over(monitor as Socket, clock);
    const agent = new AgentClient(duplexPair()[0] as Socket, clock);
    const session = { begin: Session.prototype.begin, qmp, agent, ended: new Promise(() => undefined), dispose: () => qmp.dispose() } as unknown as Session;
    run = new Run(
      session,
      { pid: 1, startedAt: 0, startedFrom: "cold", ran: true, identified: true },
      { clock, log: silentLog, folder: folder.path, config: () => makeConfig(), authorizedKeys: async () => [], spareMacs: () => [], notify: () => undefined, logEvent: () => undefined },
    );
  });
  afterEach(() => run.dispose());

  /** Lets time pass until `done`; the machine answers in between. */
  async function pass(done: () => boolean): Promise<number> {
    const began = clock.monotonic();
    while (!done()) {
      clock.advance(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return clock.monotonic() - began;
  }

  it("begins logs anew that a guest has made too long, and keeps what they held last", async () => {
    const logs = join(folder.path, "logs");
    await mkdir(logs);
    await writeFile(join(logs, "serial0.log"), "from the guest");
    await truncate(join(logs, "serial0.log"), 33 * MiB);
    await writeFile(join(logs, "engine.log"), "short");
    await pass(() => statSync(join(logs, "serial0.log")).size === 0);
    expect((await stat(join(logs, "serial0.log.1"))).size).toBe(33 * MiB);
    expect(await readdir(logs)).toEqual(["engine.log", "serial0.log", "serial0.log.1"]);
    expect(await readFile(join(logs, "engine.log"), "utf8")).toBe("short");
  });

  it("asks seldom while the process answers", async () => {
    const began = clock.monotonic();
    await pass(() => clock.monotonic() - began >= 60_000);
    expect(asked).toBeGreaterThan(2);
    expect(asked).toBeLessThan(8);
    expect(run.unresponsive).toBe(false);
  });

  it("gives the first `cont` minutes, and later ones seconds", async () => {
    answers = false;
    let outcome: string | undefined;
    const settle = (work: Promise<void>): void => {
      outcome = undefined;
      work.then(
        () => (outcome = "done"),
        (error: unknown) => (outcome = String(error)),
      );
    };
    settle(run.begin(new AbortController().signal));
    // What it is asked for comes after what is written down.
    while (!told.includes("cont")) await new Promise((resolve) => setImmediate(resolve));
    expect(await pass(() => outcome !== undefined)).toBeGreaterThanOrEqual(110_000);
    settle(run.cont());
    expect(await pass(() => outcome !== undefined)).toBeLessThanOrEqual(10_500);
    expect(outcome).toContain("cont");
  });

  it("does not let the guest run when it was cancelled while that was written down", async () => {
    const abort = new AbortController();
    const beginning = run.begin(abort.signal);
    abort.abort();
    await expect(beginning).rejects.toMatchObject({ code: "cancelled" });
    await run.recorded;
    expect(told).not.toContain("cont");
    expect(await readRunRecord(folder.path)).toMatchObject({ ran: false });
  });

  it("has written everything down when that was waited for, and writes nothing after it was let go", async () => {
    machineEnd.write(`${JSON.stringify({ event: "RESET", data: {} })}\n`);
    while (run.identified) await new Promise((resolve) => setImmediate(resolve));
    run.dispose();
    await run.recorded;
    expect(await readRunRecord(folder.path)).toMatchObject({ identified: false });
    await run.noteEnd({ at: 1 });
    expect((await readRunRecord(folder.path))?.end).toBeUndefined();
  });

  it("calls it unresponsive within seconds of silence, and takes that back when it answers", async () => {
    let changes = 0;
    run.onDidChange(() => changes++);
    answers = false;
    expect(await pass(() => run.unresponsive)).toBeLessThanOrEqual(20_000);
    answers = true;
    await pass(() => !run.unresponsive);
    expect(changes).toBe(2);
  });
});
