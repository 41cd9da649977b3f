import type { BrowserWindow } from "electron";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Emitter } from "../../../core/base/emitter";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import type { JobInfo, MachineInfo } from "../../../core/contract/model";
import type { HostEvent } from "../../../core/contract/procedures";
import { facts } from "../../../electron/channels";
import type { HostLink } from "../../../electron/host";
import type { PreferenceStore } from "../../../electron/preferences";
import type { Windows } from "../../../electron/windows";
import { until } from "../server/fakeHost";

const box = vi.hoisted(() => ({ asked: 0, answer: 3 }));
vi.mock("electron", () => ({ dialog: { showMessageBox: () => Promise.resolve((box.asked++, { response: box.answer })) } }));
const { Closing } = await import("../../../electron/closing");

function machine(id: number, name: string): MachineInfo {
  return { id: `${id}0000000-0000-4000-8000-000000000000`, name, folder: "/", state: "running", since: 0, unresponsive: false, guest: { agent: "none", addresses: [] } };
}

interface Scene {
  readonly closing: InstanceType<typeof Closing>;
  readonly log: string[];
  readonly notices: string[];
  readonly shown: unknown[];
  live: MachineInfo[];
  ends: (name: string, machine: MachineInfo) => Partial<JobInfo> | Promise<Partial<JobInfo>>;
  headless: () => Promise<void>;
  own: boolean;
  onClose: "ask" | "keep" | "save" | "shutdown";
  readonly window: BrowserWindow;
  close(): boolean;
}

function scene(live: MachineInfo[]): Scene {
  const log: string[] = [];
  const shown: unknown[] = [];
  const notices: string[] = [];
  const changes = new Emitter<HostEvent>();
  changes.event((event) => event.type === "notice" && notices.push(event.notice.message));
  const window = { webContents: { isCrashed: () => false, send: (channel: string, value: unknown) => shown.push([channel, value]) }, show: () => undefined } as unknown as BrowserWindow;
  const made: Scene = {
    log,
    shown,
    notices,
    live,
    window,
    ends: () => ({ state: "done" }),
    headless: () => Promise.resolve(),
    own: true,
    onClose: "ask",
    closing: undefined as never,
    close() {
      let prevented = false;
      this.closing.intercept({ preventDefault: () => (prevented = true) });
      return !prevented;
    },
  };
  const host = {
    get isOwn() {
      return made.own;
    },
    liveMachines: () => Promise.resolve(made.live),
    announce: (event: HostEvent) => changes.fire(event),
    close: () => Promise.resolve(void log.push("host closed")),
    reopen: () => void log.push("host reopened"),
    ask(name: string, input: { id: string }) {
      const one = made.live.find(({ id }) => id === input.id.replace("job of ", ""))!;
      if (name === "job.wait") return Promise.resolve(made.ends(name, one)).then((end) => ({ title: `Job of ${one.name}`, ...end }));
      log.push(`${name} ${one.name}`);
      return Promise.resolve({ job: { id: `job of ${one.id}` } });
    },
  } as unknown as HostLink;
  const preferences = {
    get preferences() {
      return { onClose: made.onClose };
    },
    set: (patch: { onClose: Scene["onClose"] }) => (made.onClose = patch.onClose),
  } as unknown as PreferenceStore;
  Object.assign(made, { closing: new Closing(host, { mainWindow: window } as unknown as Windows, preferences, { startHeadless: () => (log.push("headless"), made.headless()), quit: () => void log.push("quit") }, silentLog) });
  return made;
}

/** A page that shows the question itself. */
function scenePage(live: MachineInfo[]): Scene {
  const made = scene(live);
  made.closing.pageAnswers(made.window, true);
  return made;
}

describe("closing the app", () => {
  const a = machine(1, "a");
  const b = machine(2, "b");
  beforeEach(() => Object.assign(box, { asked: 0, answer: 3 }));

  it("asks nothing when no machine runs", async () => {
    const s = scenePage([]);
    expect(s.close()).toBe(false);
    await until(() => s.log.includes("quit"));
    expect(s.log).toEqual(["host closed", "quit"]);
    expect(s.close()).toBe(true);
    expect(s.shown).toEqual([]);
  });

  it("asks in the page, naming what runs, and goes on when it is cancelled", async () => {
    const s = scenePage([a, b]);
    expect(s.close()).toBe(false);
    await until(() => s.shown.length === 1);
    expect(s.shown).toEqual([[facts.closeRequested, [{ id: a.id, name: "a" }, { id: b.id, name: "b" }]]]);
    s.closing.answer("cancel", false);
    expect(s.close()).toBe(false);
    await until(() => s.shown.length === 2);
    expect(s.log).toEqual([]);
  });

  it("asks again when the window is closed a second time while it waits, even where the answer was given for good", async () => {
    const s = scenePage([a]);
    let end: (job: Partial<JobInfo>) => void = () => undefined;
    s.ends = () => new Promise((resolve) => (end = resolve));
    s.onClose = "shutdown";
    s.close();
    await until(() => s.log.includes("machine.shutdown a"));
    // The job is being waited for from the next turn on.
    await until(() => (s.close(), s.log.includes("job.cancel a")));
    end({ state: "cancelled" });
    await until(() => s.shown.length === 1);
    expect(s.notices).toEqual([]);
    s.closing.answer("keep", false);
    await until(() => s.log.includes("quit"));
    expect(s.log.filter((line) => line === "job.cancel a")).toHaveLength(1);
  });

  it("hands running machines to a headless host service, after giving the home back", async () => {
    const s = scenePage([a]);
    s.close();
    await until(() => s.shown.length === 1);
    s.closing.answer("keep", true);
    await until(() => s.log.includes("quit"));
    expect(s.log).toEqual(["host closed", "headless", "quit"]);
    expect(s.onClose).toBe("keep");
  });

  it("starts no second service when it was a client of one", async () => {
    const s = scenePage([a]);
    s.own = false;
    s.close();
    await until(() => s.shown.length === 1);
    s.closing.answer("keep", false);
    await until(() => s.log.includes("quit"));
    expect(s.log).toEqual(["host closed", "quit"]);
  });

  it("stays open and takes the home back when the headless service does not start", async () => {
    const s = scenePage([a]);
    s.headless = () => Promise.reject(new TerrariumError("engine-failed", "It did not start."));
    s.close();
    await until(() => s.shown.length === 1);
    s.closing.answer("keep", false);
    await until(() => s.notices.length === 1);
    expect(s.log).toEqual(["host closed", "headless", "host reopened"]);
    expect(s.notices).toEqual(["It did not start."]);
  });

  it.each([
    ["save", "machine.save"],
    ["shutdown", "machine.shutdown"],
  ] as const)("waits for every machine to %s, then ends", async (answer, procedure) => {
    const s = scenePage([a, b]);
    s.close();
    await until(() => s.shown.length === 1);
    s.closing.answer(answer, false);
    await until(() => s.log.includes("quit"));
    expect(s.log).toEqual([`${procedure} a`, `${procedure} b`, "host closed", "quit"]);
  });

  it("stays open when one cannot be saved, and says so", async () => {
    const s = scenePage([a, b]);
    s.ends = (_name, one) => (one === b ? { state: "failed", error: { code: "disk-full", message: "The disk is full." } } : { state: "done" });
    s.close();
    await until(() => s.shown.length === 1);
    s.closing.answer("save", false);
    await until(() => s.notices.length === 1);
    expect(s.notices).toEqual(["The disk is full."]);
    expect(s.log).not.toContain("quit");
    s.ends = () => ({ state: "done" });
    s.close();
    await until(() => s.shown.length === 2);
    s.closing.answer("save", false);
    await until(() => s.log.includes("quit"));
  });

  it("does what was chosen for good without asking", async () => {
    const s = scenePage([a]);
    s.onClose = "save";
    s.close();
    await until(() => s.log.includes("quit"));
    expect(s.shown).toEqual([]);
    expect(s.log[0]).toBe("machine.save a");
  });

  it("asks plainly, and once, when the page cannot", async () => {
    const s = scene([a]);
    box.answer = 0;
    s.close();
    s.close();
    await until(() => s.log.includes("quit"));
    expect(box.asked).toBe(1);
    expect(s.log).toEqual(["host closed", "headless", "quit"]);
  });

  it("keeps machines running when the session ends, without asking", async () => {
    const s = scenePage([a]);
    s.closing.keepAndQuit();
    await until(() => s.log.includes("quit"));
    expect(s.log).toEqual(["host closed", "headless", "quit"]);
  });

  it("leaves no service behind when the session ends and no machine runs", async () => {
    const s = scenePage([]);
    s.closing.keepAndQuit();
    await until(() => s.log.includes("quit"));
    expect(s.log).toEqual(["host closed", "quit"]);
  });

  it("ignores answers nobody asked for", () => {
    const s = scenePage([a]);
    s.closing.answer("shutdown", true);
    expect(s.log).toEqual([]);
    expect(s.onClose).toBe("ask");
  });
});
