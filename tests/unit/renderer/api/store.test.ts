// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import type { JobInfo } from "../../../../core/contract/model";
import { HostStore } from "../../../../renderer/api/store";
import { FakeDesktop, fakeMachine } from "../../../support/fakeDesktop";

const stops: (() => void)[] = [];

function started(desktop: FakeDesktop): HostStore {
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stops.push(store.start());
  return store;
}

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

function job(id: string, part: Partial<JobInfo> = {}): JobInfo {
  return { id, kind: "start", title: `Start ${id}`, state: "running", cancellable: true, startedAt: 1, ...part };
}

describe("the store of the host service", () => {
  it("knows nothing of machines until the list has arrived, and then the list", async () => {
    const machine = fakeMachine("web");
    const store = started(new FakeDesktop({ machines: [machine] }));
    expect(store.machines.get()).toBeUndefined();
    await vi.waitFor(() => expect([...store.machines.get()!.values()]).toEqual([machine]));
    expect(store.host.get()?.cpus).toBe(8);
  });

  it("follows events: a changed machine is a new map with the other machines untouched", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web"), fakeMachine("db")] });
    const store = started(desktop);
    await vi.waitFor(() => expect(store.machines.get()).toBeDefined());
    const before = store.machines.get()!;
    const [web, db] = [...before.keys()];
    desktop.update(web!, { state: "running" });
    expect(store.machines.get()).not.toBe(before);
    expect(store.machines.get()!.get(web!)!.state).toBe("running");
    expect(store.machines.get()!.get(db!)).toBe(before.get(db!));
  });

  it("forgets a removed machine", async () => {
    const machine = fakeMachine("web");
    const desktop = new FakeDesktop({ machines: [machine] });
    const store = started(desktop);
    await vi.waitFor(() => expect(store.machines.get()).toBeDefined());
    desktop.announce({ type: "machineRemoved", id: machine.id });
    expect(store.machines.get()!.size).toBe(0);
  });

  it("loads everything again when a lost connection is back", async () => {
    const desktop = new FakeDesktop();
    const store = started(desktop);
    await vi.waitFor(() => expect(store.machines.get()?.size).toBe(0));
    const machine = fakeMachine("made meanwhile");
    desktop.machines.set(machine.id, machine);
    desktop.setConnection({ state: "failed", error: { code: "disconnected", message: "gone" } });
    expect(store.connection.get().state).toBe("failed");
    desktop.setConnection({ state: "connected" });
    await vi.waitFor(() => expect(store.machines.get()?.size).toBe(1));
  });

  it("shows why when the lists cannot be had", async () => {
    const desktop = new FakeDesktop();
    desktop.failures.set("machine.list", { code: "io", message: "The disk is gone.", remedy: "Plug it in." });
    const store = started(desktop);
    await vi.waitFor(() => expect(store.connection.get()).toEqual({ state: "failed", error: { code: "io", message: "The disk is gone.", remedy: "Plug it in." } }));
  });

  it("keeps jobs newest first and never drops one that runs", () => {
    const store = started(new FakeDesktop());
    store.apply({ type: "job", job: job("old", { startedAt: 1 }) });
    for (let index = 0; index < 150; index++) store.apply({ type: "job", job: job(`j${index}`, { startedAt: 2 + index, state: "done" }) });
    const jobs = store.jobs.get();
    expect(jobs[0]!.id).toBe("j149");
    expect(jobs.at(-1)!.id).toBe("old");
    expect(jobs.length).toBe(101);
    store.apply({ type: "job", job: job("old", { startedAt: 1, state: "done" }) });
    expect(store.jobs.get().length).toBe(100);
  });

  it("shows a changed preference at once and then as it was kept", async () => {
    const store = started(new FakeDesktop());
    const kept = store.setPreferences({ theme: "light" });
    expect(store.preferences.get().theme).toBe("light");
    await kept;
    expect(store.preferences.get().theme).toBe("light");
  });
});
