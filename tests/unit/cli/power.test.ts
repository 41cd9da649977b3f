import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Emitter } from "../../../core/base/emitter";
import { passedOn } from "../../../core/cli/verbs/console";
import { powerVerbs } from "../../../core/cli/verbs/power";
import { UsageError, type Context } from "../../../core/cli/verb";
import { TerrariumError } from "../../../core/contract/errors";
import type { JobInfo, MachineInfo, MachineState } from "../../../core/contract/model";
import type { HostEvent } from "../../../core/contract/procedures";
import type { HostConnection } from "../../../core/server/client";
import { FakeHost, someMachine } from "../server/fakeHost";

/** A host service with one machine, `web`, and a terminal without a person. */
class Web {
  readonly host = new FakeHost();
  readonly printed: string[] = [];
  readonly changes = new Emitter<HostEvent>();
  state: MachineState = "running";

  info(): MachineInfo {
    return { id: someMachine, name: "web", folder: "/", state: this.state, since: 0, unresponsive: false, guest: { agent: "none", addresses: [] } };
  }

  enter(state: MachineState): void {
    this.state = state;
    this.changes.fire({ type: "machine", machine: this.info() });
  }

  /** What the machine's own calls do; the rest is here. */
  answers(calls: Record<string, (input: unknown) => unknown>): void {
    this.host.answer = (name, input) => {
      if (name === "machine.list") return [this.info()];
      if (name === "machine.get") return this.info();
      const call = calls[name];
      if (!call) throw new Error(`nobody should call ${name}`);
      return call(input);
    };
  }

  called(name: string): number {
    return this.host.calls.filter((call) => call.name === name).length;
  }

  async run(verb: string, values: Record<string, unknown> = {}): Promise<void> {
    const { host } = this;
    const connection: HostConnection = {
      servedBy: "headless",
      call: (name, input) => host.call(name, input),
      onDidChange: this.changes.event,
      onDidDisconnect: new Emitter<void>().event,
      openStream: () => Promise.reject(new Error("no streams here")),
      close: () => undefined,
    };
    const context = {
      terminal: { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() },
      json: false,
      connect: () => Promise.resolve(connection),
      print: (_data: unknown, text: string) => void this.printed.push(text),
      note: () => undefined,
      interruptible: <T>(work: Promise<T>) => work,
    } as unknown as Context;
    await powerVerbs.find(({ name }) => name === verb)?.run(context, ["web"], values as never);
  }
}

/** A job, and how it ends. */
function job(ends: Promise<Partial<JobInfo>>): { info: JobInfo; wait(): Promise<JobInfo> } {
  const info: JobInfo = { id: "1", kind: "shutdown", title: "Shut down web", machineId: someMachine, state: "running", cancellable: true, startedAt: 0 };
  return { info, wait: async () => ({ ...info, ...(await ends) }) };
}

const gaveUp: Partial<JobInfo> = { state: "failed", error: { code: "timeout", message: "web did not shut down within 90 seconds.", remedy: "Look." } };

describe("shutting down from the command line", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
  afterEach(() => vi.useRealTimers());

  it("stops waiting after the time it was given, and says what can be done then", async () => {
    const web = new Web();
    let cancel: (end: Partial<JobInfo>) => void = () => undefined;
    const { info, wait } = job(new Promise((resolve) => (cancel = resolve)));
    web.answers({ "machine.shutdown": () => ({ job: info }), "job.wait": wait, "job.cancel": () => (cancel({ state: "cancelled" }), {}) });
    const refused = expect(web.run("shutdown", { timeout: "20" })).rejects.toMatchObject({ code: "timeout", message: "web did not shut down within 20 seconds.", remedy: expect.stringContaining("terrarium poweroff web") as string });
    await vi.advanceTimersByTimeAsync(19_999);
    expect(web.called("job.cancel")).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    await refused;
    expect(web.called("job.cancel")).toBe(1);
  });

  it("says what can be done when the host service has waited long enough", async () => {
    const web = new Web();
    const { info, wait } = job(Promise.resolve(gaveUp));
    web.answers({ "machine.shutdown": () => ({ job: info }), "job.wait": wait });
    await expect(web.run("shutdown")).rejects.toMatchObject({ code: "timeout", message: "web did not shut down within 90 seconds.", remedy: expect.stringContaining("terrarium poweroff web") as string });
    expect(web.called("machine.shutdown")).toBe(1);
  });

  it("goes on waiting when it was given longer than the host service waits", async () => {
    const web = new Web();
    const { info, wait } = job(Promise.resolve(gaveUp));
    const { wait: succeeds } = job(Promise.resolve({ state: "done" }));
    web.answers({ "machine.shutdown": () => ({ job: info }), "job.wait": () => (web.called("machine.shutdown") < 3 ? wait() : (web.enter("off"), succeeds())) });
    await web.run("shutdown", { timeout: "300" });
    expect(web.called("machine.shutdown")).toBe(3);
    expect(web.printed).toEqual(["web is off."]);
  });

  it("asks no machine that is off by now", async () => {
    const web = new Web();
    const { info, wait } = job(Promise.resolve(gaveUp));
    const shutdown = (): unknown => {
      if (web.state === "off") throw new TerrariumError("illegal-state", "The machine is off.");
      return { job: info };
    };
    web.answers({ "machine.shutdown": shutdown, "job.wait": () => (web.enter("off"), wait()) });
    await web.run("shutdown", { timeout: "300" });
    expect(web.called("machine.shutdown")).toBe(1);
    expect(web.printed).toEqual(["web is off."]);
  });

  it("passes on what else goes wrong", async () => {
    const web = new Web();
    const { info, wait } = job(Promise.resolve({ state: "failed", error: { code: "engine-failed", message: "It crashed." } }));
    web.answers({ "machine.shutdown": () => ({ job: info }), "job.wait": wait });
    await expect(web.run("shutdown", { timeout: "300" })).rejects.toMatchObject({ code: "engine-failed" });
  });
});

describe("powering off from the command line", () => {
  it("tells what the machine is afterwards, also when that comes a moment later", async () => {
    const web = new Web();
    web.answers({ "machine.powerOff": () => (setImmediate(() => web.enter("off")), {}) });
    await web.run("poweroff");
    expect(web.printed).toEqual(["web is off."]);
  });
});

describe("discarding a saved state from the command line", () => {
  it("is not done without being asked or told", async () => {
    const web = new Web();
    web.state = "saved";
    web.answers({});
    const refused = web.run("discard");
    await expect(refused).rejects.toBeInstanceOf(UsageError);
    await expect(refused).rejects.toThrow(/lost.*--yes/s);
  });

  it("is done when it was told, and says what the machine is then", async () => {
    const web = new Web();
    web.state = "saved";
    web.answers({ "machine.discardSaved": () => ((web.state = "off"), {}) });
    await web.run("discard", { yes: true });
    expect(web.printed).toEqual(["web is off."]);
  });

  it("asks nothing where there is nothing to discard", async () => {
    const web = new Web();
    web.answers({
      "machine.discardSaved": () => {
        throw new TerrariumError("illegal-state", "it has no saved state");
      },
    });
    await expect(web.run("discard")).rejects.toMatchObject({ code: "illegal-state" });
  });
});

describe("the exit code of a guest's command", () => {
  it.each([
    [{ exitCode: 0, signal: null }, 0],
    [{ exitCode: 7, signal: null }, 7],
    [{ exitCode: 255, signal: null }, 255],
    [{ exitCode: null, signal: 9 }, 137],
    // What a guest says may be anything, and never becomes success.
    [{ exitCode: 256, signal: null }, 1],
    [{ exitCode: -1, signal: null }, 1],
    [{ exitCode: null, signal: 128 }, 1],
    [{ exitCode: null, signal: null }, 128],
  ])("%j is ours as %i", (result, code) => {
    expect(passedOn(result)).toBe(code);
  });
});
