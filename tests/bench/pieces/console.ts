import type { ElectronApplication, Page } from "playwright-core";
import type { MachineInfo, MachineSpecInput } from "../../../core/contract/model";
import { AppHome, DrivenApp } from "./electronApp";
import { passing, processorShare } from "./processes";
import { prepareStarter, starterSpec } from "./benchHost";
import { figure, median, milliseconds, quantile, rounded, type Figure } from "./report";

const scrollSeconds = 10;
const busySeconds = 20;
const keyPresses = 30;

/** A running starter machine in its console window. `spec`: what differs from the usual one. */
export async function measureConsole(spec: Partial<MachineSpecInput> = {}): Promise<Figure[]> {
  await prepareStarter();
  const home = await AppHome.make();
  try {
    const app = await DrivenApp.start(home);
    try {
      return await measureIn(app, spec);
    } finally {
      await app.close();
    }
  } finally {
    await home.remove();
  }
}

async function measureIn(app: DrivenApp, spec: Partial<MachineSpecInput>): Promise<Figure[]> {
  const { id, job } = await app.call("machine.create", { spec: { ...starterSpec, name: "bench", ...spec } });
  await app.finish(job.id);
  await app.finish((await app.call("machine.start", { id })).job.id);
  await app.window.waitForFunction(async (machine) => {
    const answer = await window.terrarium.call("machine.get", { id: machine });
    return "result" in answer && (answer.result as MachineInfo).guest.agent === "answering";
  }, id);
  const [page] = await Promise.all([
    app.electron.waitForEvent("window"),
    app.window.evaluate((machine) => window.terrarium.openConsole(machine), id),
  ]);
  const canvas = page.locator("[data-testid=guest-screen] canvas");
  await canvas.waitFor();
  // A text screen has 400 lines; until then noVNC has not heard of the guest's resolution.
  await page.waitForFunction(() => (document.querySelector<HTMLCanvasElement>("[data-testid=guest-screen] canvas")?.height ?? 0) >= 400);

  const keys = await pressKeys(page);
  const quiet = await eventLoopDelay(app.electron, busySeconds / 2);

  // Prints as fast as it can: every line scrolls the screen.
  await app.shell(id, "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i $i $i $i $i $i; done >/dev/tty1' >/dev/null 2>&1 </dev/null & echo $! >/tmp/printing");
  const scrolling = await countPictures(page, scrollSeconds);
  const mainPid = app.electron.process().pid ?? 0;
  const [busy, mainShare] = await Promise.all([eventLoopDelay(app.electron, busySeconds), processorShare(mainPid, busySeconds)]);
  await app.shell(id, "kill $(cat /tmp/printing)");

  return [
    figure("console: pictures a second of a scrolling text screen in the canvas", scrolling.pictures / scrolling.seconds, "1/s", { atLeast: 30 }, {
      eachSecond: scrolling.eachSecond,
      framesOfThePage: rounded(scrolling.frames / scrolling.seconds),
      longestGapMilliseconds: Math.round(scrolling.longestGap),
      samplingMilliseconds: rounded(scrolling.samplingCost),
    }),
    figure("console: key press to changed pixel, median", median(keys), "ms", { atMost: 100 }, { presses: milliseconds(keys) }),
    figure("console: key press to changed pixel, p95", quantile(keys, 0.95), "ms", { atMost: 100 }),
    figure("event loop delay of the main process while a guest is busy, p99", busy.p99, "ms", { atMost: 20 }, {
      ...busy,
      resolutionMilliseconds,
      seconds: busySeconds,
      processorShareOfMain: rounded(mainShare),
      whileTheGuestIsIdle: quiet,
    }),
  ];
}

/**
 * Milliseconds from a key press in the page to the first frame in which the guest's answer can be seen. Rows of pixels
 * where a text cursor blinks are left out: the cursor changes without a key.
 */
async function pressKeys(page: Page): Promise<number[]> {
  const box = await page.locator("[data-testid=guest-screen] canvas").boundingBox();
  if (!box) throw new Error("the guest's screen is not shown");
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  await page.waitForFunction(() => document.activeElement?.tagName === "CANVAS");
  const press = async (key: string): Promise<number> => {
    const watch = page.evaluate(() => {
      const canvas = document.querySelector<HTMLCanvasElement>("[data-testid=guest-screen] canvas")!;
      const context = canvas.getContext("2d")!;
      const picture = (): number => {
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        const pixels = new Uint32Array(data.buffer);
        let hash = 0;
        for (let y = 0; y < canvas.height; y++) {
          // A text cell is 16 pixels high; the cursor is a line in its lower quarter.
          if (y % 16 >= 12) continue;
          for (let at = y * canvas.width, end = at + canvas.width; at < end; at++) hash = (Math.imul(hash, 31) + pixels[at]!) | 0;
        }
        return hash;
      };
      const before = picture();
      return new Promise<number>((resolve) => {
        let pressed: number | undefined;
        window.addEventListener("keydown", (event) => (pressed = event.timeStamp), { capture: true, once: true });
        window.benchWatching = true;
        const look = (): void => {
          if (pressed !== undefined && picture() !== before) resolve(performance.now() - pressed);
          else requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
      });
    });
    await page.waitForFunction(() => window.benchWatching === true);
    await page.keyboard.press(key);
    const took = await watch;
    await page.evaluate(() => (window.benchWatching = false));
    return took;
  };
  // The prompt is there and echoes.
  await press("x");
  const took: number[] = [];
  for (let index = 0; index < keyPresses; index++) {
    // Not in step with the guest's or the page's clock.
    await passing(80 + ((index * 37) % 50));
    took.push(await press("abcdefghij"[index % 10]!));
  }
  await page.keyboard.press("Control+u");
  return took;
}

declare global {
  interface Window {
    benchWatching?: boolean;
  }
}

interface Pictures {
  readonly pictures: number;
  readonly eachSecond: number[];
  readonly frames: number;
  readonly seconds: number;
  /** Milliseconds between two different pictures. */
  readonly longestGap: number;
  /** What one look costs the page, milliseconds. */
  readonly samplingCost: number;
}

/** Looks at the canvas in every frame and counts how often it shows something else. */
function countPictures(page: Page, seconds: number): Promise<Pictures> {
  return page.evaluate(
    (duration) =>
      new Promise<Pictures>((resolve) => {
        const canvas = document.querySelector<HTMLCanvasElement>("[data-testid=guest-screen] canvas")!;
        const context = canvas.getContext("2d")!;
        // Every line begins with its number, so the left edge tells pictures apart.
        const width = Math.min(canvas.width, 72);
        const picture = (): number => {
          const { data } = context.getImageData(0, 0, width, canvas.height);
          let hash = 0;
          for (const pixel of new Uint32Array(data.buffer)) hash = (Math.imul(hash, 31) + pixel) | 0;
          return hash;
        };
        const began = performance.now();
        const eachSecond = new Array<number>(duration).fill(0);
        let [last, lastAt, pictures, frames, longestGap, cost] = [picture(), began, 0, 0, 0, 0];
        const look = (): void => {
          const now = performance.now();
          if (now - began >= duration * 1000) return resolve({ pictures, eachSecond, frames, seconds: (now - began) / 1000, longestGap, samplingCost: cost / frames });
          frames++;
          const seen = picture();
          cost += performance.now() - now;
          if (seen !== last) {
            pictures++;
            eachSecond[Math.floor((now - began) / 1000)]!++;
            longestGap = Math.max(longestGap, now - lastAt);
            [last, lastAt] = [seen, now];
          }
          requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
      }),
    seconds,
  );
}

const resolutionMilliseconds = 1;

/**
 * Delay of main's event loop by Node's own histogram, milliseconds. It holds the times between two beats of a timer, so
 * an idle loop shows the timer's period (the resolution) and not 0.
 */
async function eventLoopDelay(electron: ElectronApplication, seconds: number): Promise<Record<"p50" | "p99" | "max", number>> {
  const histogram = await electron.evaluateHandle((_electron, resolution) => {
    const { monitorEventLoopDelay } = process.mainModule!.require("node:perf_hooks") as typeof import("node:perf_hooks");
    const monitor = monitorEventLoopDelay({ resolution });
    monitor.enable();
    return monitor;
  }, resolutionMilliseconds);
  await passing(seconds * 1000);
  const nanoseconds = await histogram.evaluate((monitor) => {
    monitor.disable();
    return { p50: monitor.percentile(50), p99: monitor.percentile(99), max: monitor.max };
  });
  return { p50: rounded(nanoseconds.p50 / 1e6), p99: rounded(nanoseconds.p99 / 1e6), max: rounded(nanoseconds.max / 1e6) };
}
