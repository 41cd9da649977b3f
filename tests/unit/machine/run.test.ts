import type { Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { QmpClient } from "../../../core/engine/qmp";
import { AgentClient } from "../../../core/machine/agentClient";
import { Run } from "../../../core/machine/run";
import type { Session } from "../../../core/machine/session";
import { duplexPair } from "../../support/duplexPair";
import { makeConfig } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("the watch over a machine process", () => {
  const folder = useTemporaryFolder();
  const clock = new ManualClock();
  let answers = true;
  let asked = 0;
  let run: Run;

  beforeEach(async () => {
    answers = true;
    asked = 0;
    const [monitor, machine] = duplexPair();
    machine.on("data", (data: Buffer) => {
      for (const line of data.toString().trim().split("\n")) {
        const { execute, id } = JSON.parse(line) as { execute: string; id: number };
        if (execute === "query-status") asked++;
        if (answers) machine.write(`${JSON.stringify({ return: { status: "running", running: true }, id })}\n`);
      }
    });
    const qmp = await QmpClient.over(monitor as Socket, clock);
    const agent = new AgentClient(duplexPair()[0] as Socket, clock);
    const session = { qmp, agent, ended: new Promise(() => undefined), dispose: () => qmp.dispose() } as unknown as Session;
    run = new Run(
      session,
      { pid: 1, startedAt: 0, startedFrom: "cold", ran: true, identified: true },
      { clock, log: silentLog, folder: folder.path, config: () => makeConfig(), authorizedKeys: async () => [], notify: () => undefined, logEvent: () => undefined },
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

  it("asks seldom while the process answers", async () => {
    const began = clock.monotonic();
    await pass(() => clock.monotonic() - began >= 60_000);
    expect(asked).toBeGreaterThan(2);
    expect(asked).toBeLessThan(8);
    expect(run.unresponsive).toBe(false);
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
