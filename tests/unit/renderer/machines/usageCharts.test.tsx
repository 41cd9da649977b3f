// @vitest-environment happy-dom
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { usageIntervalMs, type MachineInfo, type UsageSample } from "../../../../core/contract/model";
import { UsageCharts } from "../../../../renderer/features/machines/UsageCharts";
import { FakeDesktop, fakeMachine } from "../../../support/fakeDesktop";

const MiB = 1024 * 1024;
const began = 1_700_000_000_000;
const running = (part: Partial<MachineInfo> = {}): MachineInfo => ({ ...fakeMachine("fern", { state: "running" }), startedAt: began, ...part });

describe("the charts of the overview", () => {
  let root: Root;
  let desktop: FakeDesktop;
  let hidden = false;
  const asked = (): unknown[] => desktop.calls.filter(({ name }) => name === "machine.usage").map(({ input }) => input);
  /** React draws, and runs its effects, in turns of the real event loop. */
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const pass = async (intervals: number): Promise<void> => {
    for (let interval = 0; interval < intervals; interval++) {
      await vi.advanceTimersByTimeAsync(usageIntervalMs);
      await settled();
    }
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    hidden = false;
    vi.spyOn(document, "hidden", "get").mockImplementation(() => hidden);
    desktop = new FakeDesktop();
    let made = 0;
    desktop.usage = () => {
      const sample: UsageSample = { at: began + made++ * usageIntervalMs, cpu: 0.25, residentBytes: 300 * MiB, guestMemory: { totalBytes: 240 * MiB, availableBytes: 200 * MiB }, disk: { readBytes: 0, writtenBytes: 5 * MiB, reads: 0, writes: 3 } };
      return { samples: [sample], absent: { network: "The machine has no network card." } };
    };
    Object.assign(window, { terrarium: desktop });
    root = createRoot(document.body.appendChild(document.createElement("div")));
  });
  afterEach(async () => {
    root.unmount();
    await settled();
    document.body.replaceChildren();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  async function show(machine: MachineInfo): Promise<void> {
    root.render(<UsageCharts machine={machine} />);
    await settled();
  }
  const pictures = (): (string | null)[] => [...document.querySelectorAll("svg[role=img]")].map((svg) => svg.getAttribute("aria-label"));

  it("say what they draw, in words beside the picture and in its description", async () => {
    await show(running());
    await pass(1);
    expect(pictures()).toEqual([
      "Processor in the last five minutes: now 25 % of a processor, at most 25 %.",
      "Memory in the last five minutes: now 40 MB of 240 MB in the guest, 300 MB on the host.",
      "Disk in the last five minutes: now 0 read, 5 MB/s written, 0 reads and 3 writes a second, at most 5 MB/s.",
      "Network: The machine has no network card.",
    ]);
    const words = document.body.textContent ?? "";
    for (const text of ["25 %of a processor", "40 MBof 240 MB, 300 MB on the host", "0read, 5 MB/s written", "The machine has no network card."]) expect(words).toContain(text);
  });

  it("ask for what is new while they can be seen, and for nothing while not", async () => {
    const machine = running();
    await show(machine);
    await pass(2);
    expect(asked()).toEqual([{ id: machine.id, since: undefined }, { id: machine.id, since: began }, { id: machine.id, since: began + usageIntervalMs }]);
    hidden = true;
    await pass(10);
    expect(asked()).toHaveLength(3);
    hidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
    await settled();
    expect(asked()).toHaveLength(4);
    root.render(null);
    await settled();
    await pass(10);
    expect(asked()).toHaveLength(4);
  });

  it("are not there for a machine that does not run, and begin anew with its next run", async () => {
    const machine = running();
    await show({ ...machine, state: "off", startedAt: undefined });
    expect(pictures()).toEqual([]);
    expect(asked()).toEqual([]);
    await show(machine);
    expect(pictures()).toHaveLength(4);
    await show({ ...machine, startedAt: began + 1 });
    expect(asked()).toEqual([{ id: machine.id, since: undefined }, { id: machine.id, since: undefined }]);
  });

  it("ask no more when they are gone before they were answered", async () => {
    const answers: (() => void)[] = [];
    const { call } = desktop;
    desktop.call = (name, input) => new Promise((resolve) => answers.push(() => resolve(call.call(desktop, name, input))));
    await show(running());
    expect(answers).toHaveLength(1);
    root.render(null);
    await settled();
    answers[0]?.();
    await settled();
    await pass(3);
    expect(answers).toHaveLength(1);
  });

  it("go on asking after a question that failed", async () => {
    vi.spyOn(console, "debug").mockImplementation(() => undefined);
    desktop.failures.set("machine.usage", { code: "disconnected", message: "gone" });
    await show(running());
    desktop.failures.clear();
    await pass(1);
    expect(pictures()[0]).toContain("25 %");
  });
});
