import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { Emitter } from "../../../core/base/emitter";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import type { HostEvent } from "../../../core/contract/procedures";
import type { HostService } from "../../../core/machine/index";
import type { HostConnection } from "../../../core/server/client";
import { HostLink, type HostSources } from "../../../electron/host";
import { notice, until } from "../server/fakeHost";

class FakeService {
  readonly changes = new Emitter<HostEvent>();
  readonly hangups = new Emitter<void>();
  closed = 0;
  readonly host: HostService = {
    home: "/home",
    runDir: "/run",
    servedBy: "app",
    call: ((name: string) => Promise.resolve([name])) as HostService["call"],
    onDidChange: this.changes.event,
    openStream: () => Promise.resolve(new PassThrough()),
    liveMachines: () => [],
    onStopRequested: () => ({ dispose: () => undefined }),
    close: () => Promise.resolve(void this.closed++),
  };
  readonly connection: HostConnection = {
    servedBy: "headless",
    call: ((name: string) => Promise.resolve([name, "there"])) as HostConnection["call"],
    onDidChange: this.changes.event,
    onDidDisconnect: this.hangups.event,
    openStream: () => Promise.resolve(new PassThrough()),
    close: () => void this.closed++,
  };
}

const locked = (): Promise<never> => Promise.reject(new TerrariumError("locked", "Somebody has it."));

function link(sources: Partial<HostSources>): { link: HostLink; clock: ManualClock; states: string[]; heard: HostEvent[] } {
  const clock = new ManualClock();
  const made = new HostLink({ own: locked, connect: () => Promise.resolve(undefined), ...sources }, silentLog, clock);
  const states: string[] = [];
  const heard: HostEvent[] = [];
  made.onDidChangeState(({ state }) => states.push(state));
  made.onDidChange((event) => heard.push(event));
  made.open();
  return { link: made, clock, states, heard };
}

describe("the app's way to the host service", () => {
  it("is to be it, when nobody is", async () => {
    const service = new FakeService();
    let socketClosed = 0;
    const { link: host, states, heard } = link({ own: () => Promise.resolve({ host: service.host, socket: { dispose: () => void socketClosed++ } }) });
    expect(await host.call("machine.list", {})).toEqual(["machine.list"]);
    service.changes.fire(notice("news"));
    expect(states).toEqual(["connecting", "connected"]);
    expect(heard).toEqual([notice("news")]);
    expect(host.isOwn).toBe(true);
    await host.close();
    expect([service.closed, socketClosed, service.changes.hasListeners]).toEqual([1, 1, false]);
  });

  it("makes calls wait while it is being made", async () => {
    const service = new FakeService();
    let take: (value: { host: HostService; socket: { dispose(): void } }) => void = () => undefined;
    const { link: host } = link({ own: () => new Promise((resolve) => (take = resolve)) });
    const call = host.call("machine.list", {});
    take({ host: service.host, socket: { dispose: () => undefined } });
    expect(await call).toEqual(["machine.list"]);
  });

  it("is to be a client when a headless one holds the home, and to take over when that ends", async () => {
    const there = new FakeService();
    const here = new FakeService();
    let free = false;
    const { link: host, states, heard } = link({
      own: () => (free ? Promise.resolve({ host: here.host, socket: { dispose: () => undefined } }) : locked()),
      connect: () => Promise.resolve(there.connection),
    });
    expect(await host.call("machine.list", {})).toEqual(["machine.list", "there"]);
    expect(host.isOwn).toBe(false);
    free = true;
    there.hangups.fire();
    expect(await host.call("machine.list", {})).toEqual(["machine.list"]);
    there.changes.fire(notice("from the dead"));
    here.changes.fire(notice("from here"));
    expect(heard).toEqual([notice("from here")]);
    expect(states).toEqual(["connecting", "connected", "connecting", "connected"]);
  });

  it("waits for a holder that does not answer yet", async () => {
    const there = new FakeService();
    let asked = 0;
    const { link: host, clock } = link({ connect: () => Promise.resolve(++asked < 3 ? undefined : there.connection) });
    const call = host.call("machine.list", {});
    let settled = false;
    void call.then(() => (settled = true));
    await until(() => {
      clock.advance(10);
      return settled;
    });
    expect(asked).toBe(3);
  });

  it("says why it failed, fails calls with that, and tries again by itself", async () => {
    const service = new FakeService();
    let works = false;
    const { link: host, clock } = link({
      own: () => (works ? Promise.resolve({ host: service.host, socket: { dispose: () => undefined } }) : Promise.reject(new TerrariumError("read-only", "The home cannot be written.", "Make it writable."))),
    });
    await expect(host.call("machine.list", {})).rejects.toMatchObject({ code: "read-only", remedy: "Make it writable." });
    expect(host.state).toEqual({ state: "failed", error: { code: "read-only", message: "The home cannot be written.", remedy: "Make it writable." } });
    works = true;
    clock.advance(3000);
    expect(await host.call("machine.list", {})).toEqual(["machine.list"]);
    expect(host.state).toEqual({ state: "connected" });
  });

  it("refuses calls the contract does not have", async () => {
    const service = new FakeService();
    const { link: host } = link({ own: () => Promise.resolve({ host: service.host, socket: { dispose: () => undefined } }) });
    await expect(host.call("constructor", {})).rejects.toMatchObject({ code: "invalid-input" });
  });
});
