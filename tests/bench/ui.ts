// `npm run bench -- ui [PART...]`: how fast the app itself is, in real Electron on a screen without a monitor.
// Parts: start, console, list, idle.

import { readFile, rm } from "node:fs/promises";
import { facts } from "../../electron/channels";
import { measureConsole } from "./pieces/console";
import { AppHome, DrivenApp, timeAppStart } from "./pieces/electronApp";
import { idle } from "./pieces/idle";
import { figure, median, milliseconds, quantile, rounded, runBench, say, type Figure, type Part } from "./pieces/report";
import { workPerFrame } from "./pieces/trace";

const startRounds = 5;
const machinesInList = 200;
const listSeconds = 10;
/** How often a machine of the list changes while it is scrolled, milliseconds. */
const eventEvery = 50;

/** From the start of Electron to a window that is painted and answers a click. */
const start: Part = {
  name: "start",
  async measure() {
    const home = await AppHome.make();
    try {
      await home.addMachines(3);
      // The first start of a home makes what later ones find: Chromium's profile and its cache of compiled scripts.
      const first = await timeAppStart(home);
      const rounds = [];
      for (let round = 0; round < startRounds; round++) {
        rounds.push(await timeAppStart(home));
        say(`app start ${round + 1}: ${Math.round(rounds.at(-1)?.answered ?? NaN)} ms`);
      }
      const answered = rounds.map((times) => times.answered);
      return [
        figure("app start to a usable window", median(answered) / 1000, "s", { atMost: 2.5 }, {
          rounds: milliseconds(answered),
          paintedMilliseconds: milliseconds(rounds.map((times) => times.painted)),
          firstOnANewHome: Math.round(first.answered),
        }),
      ];
    } finally {
      await home.remove();
    }
  },
};

/** A running starter machine in its console window. */
const console_: Part = { name: "console", measure: () => measureConsole() };

/** Many machines in the list, scrolled while they change. */
const list: Part = {
  name: "list",
  async measure() {
    const home = await AppHome.make();
    try {
      await home.addMachines(machinesInList);
      const app = await DrivenApp.start(home);
      try {
        return await measureList(app);
      } finally {
        await app.close();
      }
    } finally {
      await home.remove();
    }
  },
};

async function measureList(app: DrivenApp): Promise<Figure[]> {
  const machines = await app.call("machine.list", {});
  if (machines.length !== machinesInList) throw new Error(`${machines.length} machines in the list, not ${machinesInList}`);
  const box = await app.window.getByRole("tree", { name: "Machines" }).boundingBox();
  if (!box) throw new Error("the list of machines is not shown");
  await app.window.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const rendererPid = await app.electron.evaluate(({ BrowserWindow }) => BrowserWindow.getAllWindows()[0]!.webContents.getOSProcessId());

  // The same message that main sends when the host service tells of a machine.
  const telling = await app.electron.evaluateHandle(
    ({ BrowserWindow }, { channel, every, machines: all }) => {
      let count = 0;
      return setInterval(() => {
        const machine = { ...all[(count * 7) % all.length]!, guest: { agent: "answering", addresses: [{ adapter: 0, address: `10.0.2.${count % 250}` }] } };
        count++;
        for (const window of BrowserWindow.getAllWindows()) window.webContents.send(channel, { type: "machine", machine });
      }, every);
    },
    { channel: facts.hostEvent, every: eventEvery, machines },
  );
  await app.electron.evaluate(({ contentTracing }) => contentTracing.startRecording({ included_categories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "disabled-by-default-devtools.timeline.frame"], excluded_categories: ["*"] }));
  const until = performance.now() + listSeconds * 1000;
  let turns = 0;
  while (performance.now() < until) {
    const downwards = Math.floor(turns++ / 60) % 2 === 0;
    await app.window.mouse.wheel(0, downwards ? 90 : -90);
  }
  const file = await app.electron.evaluate(({ contentTracing }) => contentTracing.stopRecording());
  await telling.evaluate((timer) => clearInterval(timer));
  try {
    const { work, processor, intervals } = workPerFrame(await readFile(file, "utf8"), rendererPid);
    return [
      figure(`main-thread work of the renderer a frame, p95, with ${machinesInList} machines in the list`, quantile(work, 0.95), "ms", { atMost: 10 }, {
        frames: work.length,
        median: rounded(median(work)),
        p99: rounded(quantile(work, 0.99)),
        longest: rounded(quantile(work, 1)),
        // Without the time in which other programs had the core.
        p95OfProcessorTime: rounded(quantile(processor, 0.95)),
        medianFrameInterval: rounded(median(intervals)),
        wheelTurns: turns,
        machineEvents: Math.round((listSeconds * 1000) / eventEvery),
      }),
    ];
  } finally {
    await rm(file, { force: true });
  }
}

void runBench("ui", [start, console_, list, idle]);
