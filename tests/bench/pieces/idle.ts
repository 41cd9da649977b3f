import type { EngineId, MachineInfo } from "../../../core/contract/model";
import { prepareStarter, starterSpec } from "./benchHost";
import { AppHome, DrivenApp } from "./electronApp";
import { descendants, passing, processorShare } from "./processes";
import { figure, rounded, say, type Figure, type Part } from "./report";

const seconds = 30;
/** What a start leaves to be done (pictures, the agent's first looks) is not what idling costs. */
const settleSeconds = 20;

/** What the app takes for a machine in which nothing happens: main, which is the host service too, and the windows. */
export const idle: Part = {
  name: "idle",
  async measure() {
    await prepareStarter();
    const home = await AppHome.make();
    try {
      const app = await DrivenApp.start(home);
      try {
        await passing(settleSeconds * 1000);
        const empty = await shares(app);
        say(`no machine: ${JSON.stringify(empty)}`);
        const available = (await app.call("host.info", {})).engines.filter((engine) => engine.available).map(({ id }) => id);
        const figures: Figure[] = [];
        for (const engine of available) figures.push(...(await measureIdle(app, engine, empty)));
        return figures;
      } finally {
        await app.close();
      }
    } finally {
      await home.remove();
    }
  },
};

async function measureIdle(app: DrivenApp, engine: EngineId, empty: Shares): Promise<Figure[]> {
  const name = `idle-${engine}`;
  const { id, job } = await app.call("machine.create", { spec: { ...starterSpec, name, engine } });
  await app.finish(job.id);
  await app.finish((await app.call("machine.start", { id })).job.id);
  await app.window.waitForFunction(async (machine) => {
    const answer = await window.terrarium.call("machine.get", { id: machine });
    return "result" in answer && (answer.result as MachineInfo).guest.agent === "answering";
  }, id);
  for (const { id: jobId, kind, state } of await app.call("job.list", {})) {
    if (kind === "prepare-state" && state === "running") await app.call("job.cancel", { id: jobId });
  }
  await app.window.getByRole("treeitem", { name: new RegExp(name) }).click();
  // A machine is shown with the tab that the one before had.
  await app.window.getByRole("tab", { name: "Overview" }).click();
  const charts = app.window.getByRole("region", { name: "Usage in the last five minutes" });
  await charts.getByRole("img", { name: /^Processor in the last five minutes: now/ }).waitFor();
  await passing(settleSeconds * 1000);
  const open = await shares(app);
  const pictures = await charts.getByRole("img").evaluateAll((all) => all.map((one) => one.getAttribute("aria-label")));
  await app.window.getByRole("tab", { name: "Settings" }).click();
  await charts.waitFor({ state: "detached" });
  // The lease of the last question runs out.
  await passing(settleSeconds * 1000);
  const closed = await shares(app);
  await app.call("machine.powerOff", { id });
  const detail = (measured: Shares): Figure["detail"] => ({ seconds, windows: rounded(measured.windows), machine: rounded(measured.machine), mainWithoutAMachine: rounded(empty.main), windowsWithoutAMachine: rounded(empty.windows) });
  return [
    figure(`main and host service with an idle machine on ${engine}, its overview open`, open.main, "% of a core", { atMost: 1 }, { ...detail(open), charts: pictures }),
    figure(`main and host service with an idle machine on ${engine}, its overview closed`, closed.main, "% of a core", { atMost: 1 }, detail(closed)),
  ];
}

interface Shares {
  readonly main: number;
  /** Chromium's processes: pages, drawing, services. */
  readonly windows: number;
  /** Detached processes are children of main as long as it lives. */
  readonly machine: number;
}

/** Percent of one core for a while from now on. */
async function shares(app: DrivenApp): Promise<Shares> {
  const { main, windows } = await app.electron.evaluate(({ app: electron }) => {
    const all = electron.getAppMetrics();
    return { main: process.pid, windows: all.filter(({ type }) => type !== "Browser").map(({ pid }) => pid) };
  });
  const others = descendants(main).filter((pid) => !windows.includes(pid));
  const total = async (pids: readonly number[]): Promise<number> => (await Promise.all(pids.map((pid) => processorShare(pid, seconds)))).reduce((sum, share) => sum + share, 0);
  const [ofMain, ofWindows, ofMachine] = await Promise.all([processorShare(main, seconds), total(windows), total(others)]);
  return { main: ofMain, windows: ofWindows, machine: ofMachine };
}
