// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Preferences } from "../../../../core/contract/desktop";
import { StoreContext } from "../../../../renderer/api/hooks";
import { HostStore } from "../../../../renderer/api/store";
import { App } from "../../../../renderer/app/App";
import { ThemeRoot } from "../../../../renderer/app/ThemeRoot";
import { toasts } from "../../../../renderer/ui/toasts";
import { FakeDesktop, fakeHost, fakeMachine } from "../../../support/fakeDesktop";

// The wizard belongs to its own tests.
vi.mock("../../../../renderer/features/wizard", () => ({ Wizard: ({ initialSource }: { initialSource?: string }) => <p>wizard at {initialSource ?? "the start"}</p> }));

let root: Root | undefined;
let stop: (() => void) | undefined;

/** React draws in its own time here, as it does for people; every expectation waits for what it expects. */
async function act(work: () => unknown): Promise<void> {
  await work();
}

async function show(desktop: FakeDesktop): Promise<void> {
  Object.assign(window, { terrarium: desktop });
  const store = new HostStore(Preferences.parse({}));
  stop = store.start();
  const place = document.body.appendChild(document.createElement("div"));
  await act(async () => {
    root = createRoot(place);
    root.render(
      <StoreContext.Provider value={store}>
        <ThemeRoot>
          <App />
        </ThemeRoot>
      </StoreContext.Provider>,
    );
  });
}

async function until<T>(condition: () => T): Promise<T> {
  return vi.waitFor(condition, 10_000);
}

function button(name: string | RegExp): HTMLElement {
  const found = [...document.querySelectorAll<HTMLElement>("button, [role=menuitem]")].find((element) => {
    const own = element.getAttribute("aria-label") ?? element.textContent ?? "";
    return typeof name === "string" ? own === name : name.test(own);
  });
  if (!found) throw new Error(`there is no button ${String(name)} in: ${document.body.textContent}`);
  return found;
}

async function click(name: string | RegExp): Promise<void> {
  const element = await until(() => button(name));
  await act(async () => element.click());
}

async function press(key: string, options: KeyboardEventInit = {}, target: EventTarget = window): Promise<void> {
  await act(async () => {
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...options }));
  });
}

const page = (): string => document.body.textContent ?? "";
/** The messages that are shown, each with what it is about. */
const messages = (): string[] => [...document.querySelectorAll(".toast")].map((toast) => [toast.querySelector(".about")?.textContent, toast.querySelector(".message")?.textContent].filter((part) => part !== undefined).join(": "));
const called = (desktop: FakeDesktop, name: string) => desktop.calls.filter((entry) => entry.name === name);

afterEach(async () => {
  await act(async () => root?.unmount());
  stop?.();
  for (const toast of toasts.get()) toasts.close(toast.id);
  document.body.replaceChildren();
});

describe("the main window", () => {
  it("lists the machines and shows the first one", async () => {
    await show(new FakeDesktop({ machines: [fakeMachine("web-01"), fakeMachine("db-01")] }));
    await until(() => expect(document.querySelectorAll("[role=treeitem]").length).toBe(2));
    expect(document.querySelector("h1")?.textContent).toBe("web-01");
    expect(page()).toContain("1 processor, 256 MB memory");
  });

  it("starts the machine and then offers its console", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    await show(desktop);
    expect((await until(() => button("Open console"))).getAttribute("aria-disabled")).toBe("true");
    await click("Start");
    await until(() => expect(page()).toContain("Running"));
    expect(button("Open console").getAttribute("aria-disabled")).toBeNull();
    await click("Open console");
    expect(desktop.opened).toEqual([...desktop.machines.keys()]);
  });

  it("does nothing when a command that is not legal is pressed, and keeps it focusable", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    await show(desktop);
    await click("Pause");
    expect(called(desktop, "machine.pause")).toEqual([]);
    expect(button("Pause").hasAttribute("disabled")).toBe(false);
  });

  it("asks before it pulls the plug", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01", { state: "running" })] });
    await show(desktop);
    await click("More ways to end or restart it");
    await click("Power off");
    await until(() => expect(page()).toContain("loses everything it has not written"));
    expect(called(desktop, "machine.powerOff")).toEqual([]);
    await act(async () => [...document.querySelectorAll<HTMLElement>("[role=dialog] button")].find((element) => element.textContent === "Power off")!.click());
    await until(() => expect(called(desktop, "machine.powerOff").length).toBe(1));
  });

  it("deletes with the Delete key and brings the machine back with Undo", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    await show(desktop);
    await until(() => expect(page()).toContain("web-01"));
    await press("Delete");
    await until(() => expect(page()).toContain("web-01 is in the trash."));
    expect(page()).toContain("Grow your first machine");
    await click("Undo");
    await until(() => expect(document.querySelector("h1")?.textContent).toBe("web-01"));
  });

  it("does not delete a running machine, and says why", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01", { state: "running" })] });
    await show(desktop);
    await until(() => expect(page()).toContain("web-01"));
    await press("Delete");
    await until(() => expect(messages()).toEqual(["web-01: The machine is running. Shut it down first."]));
    expect(called(desktop, "machine.delete")).toEqual([]);
  });

  it("moves through the list with the arrows and starts with Enter", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("a"), fakeMachine("b")] });
    await show(desktop);
    const tree = await until(() => {
      expect(document.querySelectorAll("[role=treeitem]").length).toBe(2);
      return document.querySelector("[role=tree]")!;
    });
    await press("ArrowDown", {}, tree);
    await until(() => expect(document.querySelector("h1")?.textContent).toBe("b"));
    await press("Enter", {}, tree);
    await until(() => expect(called(desktop, "machine.start").map((entry) => (entry.input as { id: string }).id)).toEqual([[...desktop.machines.keys()][1]]));
  });

  it("shows why a machine crashed, with the remedy and the way out", async () => {
    await show(new FakeDesktop({ machines: [fakeMachine("web-01", { state: "crashed", problem: { code: "engine-failed", message: "The emulator stopped.", remedy: "Start it again." } })] }));
    await until(() => expect(document.querySelector("[role=alert]")?.textContent).toContain("The emulator stopped."));
    expect(page()).toContain("Start it again.");
    expect(button("Start again").getAttribute("aria-disabled")).toBeNull();
  });

  it("shows a job's progress at the machine and cancels it", async () => {
    const machine = fakeMachine("web-01", { state: "starting", jobId: "j1" });
    const desktop = new FakeDesktop({ machines: [machine] });
    desktop.jobs = [{ id: "j1", kind: "start", title: "Start web-01", machineId: machine.id, state: "running", progress: 0.4, detail: "Restoring the pre-booted state", cancellable: true, startedAt: Date.now() }];
    await show(desktop);
    await until(() => expect(page()).toContain("Restoring the pre-booted state"));
    expect(page()).toContain("40 %");
    await click("Cancel");
    await until(() => expect(called(desktop, "job.cancel").length).toBe(1));
  });

  it("shows the error and the remedy of a job that fails", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    await show(desktop);
    await until(() => expect(page()).toContain("web-01"));
    await act(async () => desktop.announceJob({ id: "j9", kind: "save", title: "Save web-01", state: "failed", cancellable: false, startedAt: 1, endedAt: 2, error: { code: "disk-full", message: "The disk is full.", remedy: "Free 200 MB." } }));
    await until(() => expect(page()).toContain("Free 200 MB."));
    expect(messages()).toEqual(["Save web-01: The disk is full."]);
  });

  it("names the machine that a notice is about, and says the same of another machine as well", async () => {
    const machines = [fakeMachine("web-01"), fakeMachine("db-01")];
    const desktop = new FakeDesktop({ machines });
    await show(desktop);
    await until(() => expect(page()).toContain("web-01"));
    for (const [index, { id }] of machines.entries()) await act(async () => desktop.announce({ type: "notice", notice: { id: `n${index}`, level: "warning", message: "The guest did not shut down.", machineId: id, at: 1 } }));
    await until(() => expect(messages()).toEqual(["web-01: The guest did not shut down.", "db-01: The guest did not shut down."]));
  });

  it("names the machine for which a command failed", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    desktop.failures.set("machine.start", { code: "engine-failed", message: "QEMU gave up." });
    await show(desktop);
    await click("Start");
    await until(() => expect(messages()).toEqual(["web-01: QEMU gave up."]));
  });

  it("offers the first machine when there is none, and makes, starts and opens it with one click", async () => {
    const desktop = new FakeDesktop();
    await show(desktop);
    await click(/Start a Linux machine now/);
    await until(() => expect(desktop.opened.length).toBe(1));
    expect(called(desktop, "machine.create")[0]!.input).toMatchObject({ spec: { boot: { kind: "starter" }, memoryMiB: 256 } });
    expect(desktop.machines.get(desktop.opened[0]!)?.state).toBe("running");
  });

  it("says what is missing when there is no starter guest", async () => {
    await show(new FakeDesktop({ host: { ...fakeHost, starter: { ready: false, problem: { code: "unavailable", message: "The starter guest is not built.", remedy: "Run npm start." } } } }));
    await until(() => expect(page()).toContain("The starter guest is not built."));
    expect(page()).not.toContain("Start a Linux machine now");
  });

  it("opens the wizard at the chosen source", async () => {
    await show(new FakeDesktop());
    await click("Install from ISO");
    await until(() => expect(page()).toContain("wizard at iso"));
  });

  it("runs a legal command from the palette", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    await show(desktop);
    await until(() => expect(page()).toContain("web-01"));
    await press("k", { ctrlKey: true });
    const options = await until(() => {
      const found = [...document.querySelectorAll<HTMLElement>("[role=option]")];
      expect(found.length).toBeGreaterThan(3);
      return found;
    });
    expect(options.map((option) => option.textContent)).not.toContain("Pause: web-01");
    await act(async () => options.find((option) => option.textContent === "Start: web-01")!.click());
    await until(() => expect(called(desktop, "machine.start").length).toBe(1));
  });

  it("asks what becomes of running machines, and answers with what was chosen", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01", { state: "running" })] });
    await show(desktop);
    await until(() => expect(page()).toContain("web-01"));
    await act(async () => desktop.requestClose([{ id: "1", name: "web-01" }]));
    await until(() => expect(page()).toContain("web-01 is running"));
    await click(/^Save.*written to disk/);
    expect(desktop.closeAnswers).toEqual([{ answer: "save", remember: false }]);
  });

  it("says who holds the machines when the host service cannot be had", async () => {
    await show(new FakeDesktop({ connection: { state: "failed", error: { code: "locked", message: "Process 4711 has the machines.", remedy: "Close it." } } }));
    await until(() => expect(page()).toContain("Process 4711 has the machines."));
    expect(page()).toContain("Close it.");
  });

  it("edits the notes", async () => {
    const desktop = new FakeDesktop({ machines: [fakeMachine("web-01")] });
    await show(desktop);
    await click("Write");
    const area = await until(() => {
      const found = document.querySelector("textarea");
      expect(found).not.toBeNull();
      return found!;
    });
    await act(async () => {
      Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")!.set!.call(area, "for week 6");
      area.dispatchEvent(new Event("input", { bubbles: true }));
    });
    await click("Save notes");
    await until(() => expect(called(desktop, "machine.set")[0]?.input).toMatchObject({ patch: { notes: "for week 6" } }));
    await until(() => expect(page()).toContain("for week 6"));
  });
});
