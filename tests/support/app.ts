import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { _electron, type ElectronApplication, type Page } from "playwright-core";
import { electronRuntime } from "../../build/launcher/electronRuntime.mjs";
import { facts } from "../../electron/channels";
import type { Pixels } from "./screenReader";

/** The real app in real Electron on a home of its own, driven through its windows as a person would. */
export class RunningApp {
  private constructor(
    private readonly electron: ElectronApplication,
    /** The main window. */
    readonly main: Page,
    /** Everything the pages complained about. */
    readonly complaints: string[],
  ) {}

  static async launch(home: string): Promise<RunningApp> {
    const runtime = await electronRuntime();
    const electron = await _electron.launch({ executablePath: runtime.executable, args: [...runtime.args], env: { ...stringsOf(process.env), TERRARIUM_HOME: home } });
    const complaints: string[] = [];
    const listen = (page: Page): void => {
      page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
      });
    };
    electron.on("window", listen);
    electron.windows().forEach(listen);
    const main = await windowWith(electron, (url) => url.includes("index.html"));
    return new RunningApp(electron, main, complaints);
  }

  get pid(): number {
    const pid = this.electron.process().pid;
    if (pid === undefined) throw new Error("the app has no process");
    return pid;
  }

  /** The console window of the machine whose name its title carries. */
  async console(machineName: string): Promise<Page> {
    return windowWith(this.electron, (url) => url.includes("console.html"), async (page) => (await page.title()).startsWith(machineName));
  }

  /** Resolves when the app's process has ended. */
  async ended(): Promise<void> {
    const child = this.electron.process();
    if (child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((done) => child.once("exit", () => done()));
  }

  /** Pulls the app away, as a crash would. */
  async kill(): Promise<void> {
    const over = this.ended();
    this.electron.process().kill("SIGKILL");
    await over;
  }

  /** Sets the size of the main window's content, in pixels. */
  async resize(width: number, height: number): Promise<void> {
    await this.electron.evaluate(({ BrowserWindow }, size) => {
      const window = BrowserWindow.getAllWindows().find((candidate) => candidate.webContents.getURL().includes("index.html"));
      window?.unmaximize();
      window?.setContentSize(size.width, size.height);
    }, { width, height });
    await this.main.waitForFunction((expected) => window.innerWidth === expected, width);
  }

  /** Tells every window of something, with the message that main sends when the host service tells of it. */
  async notice(message: string): Promise<void> {
    await this.electron.evaluate(
      ({ BrowserWindow }, { channel, notice }) => {
        for (const window of BrowserWindow.getAllWindows()) window.webContents.send(channel, { type: "notice", notice });
      },
      { channel: facts.hostEvent, notice: { id: `notice ${message}`, level: "error", message, at: 1 } },
    );
  }

  async evaluate<T>(script: Parameters<ElectronApplication["evaluate"]>[0]): Promise<T> {
    return (await this.electron.evaluate(script)) as T;
  }
}

async function windowWith(electron: ElectronApplication, wanted: (url: string) => boolean, further: (page: Page) => Promise<boolean> = () => Promise.resolve(true)): Promise<Page> {
  for (;;) {
    for (const page of electron.windows()) {
      if (!wanted(page.url())) continue;
      await page.waitForLoadState("domcontentloaded");
      if (await further(page)) return page;
    }
    // Windows come, and take their titles, when the app gets to it.
    await pause(50);
  }
}

function stringsOf(environment: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** A home that is removed when the tests are done. */
export async function temporaryHome(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "terrarium-e2e-"));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** The guest's picture as the console's canvas shows it. */
export async function canvasPixels(page: Page): Promise<Pixels> {
  const picture = await page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>("[data-testid=guest-screen] canvas");
    const context = canvas?.getContext("2d");
    if (!canvas || !context || canvas.width === 0) return undefined;
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let binary = "";
    for (let at = 0; at < data.length; at += 0x8000) binary += String.fromCharCode(...data.subarray(at, at + 0x8000));
    return { width: canvas.width, height: canvas.height, data: btoa(binary) };
  });
  if (!picture) return { width: 0, height: 0, data: new Uint8Array() };
  return { width: picture.width, height: picture.height, data: Buffer.from(picture.data, "base64") };
}

/** What a terminal shows, the serial one unless told, row by row. */
export async function terminalText(page: Page, terminal: "serial-terminal" | "ssh-terminal" = "serial-terminal"): Promise<string> {
  const rows = await page.locator(`[data-testid=${terminal}] .xterm-rows > div`).allInnerTexts();
  // A terminal draws blanks as no-break spaces.
  return rows.map((row) => row.replaceAll("\u00a0", " ").trimEnd()).join("\n");
}

/** Looks again and again until `look` finds something. The test's own time limit bounds it. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>, signal: AbortSignal): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (signal.aborted) throw new Error(`never came: ${what}`);
    // A look takes the app's time away from what it looks for.
    await pause(50);
  }
}

/** Saves a picture of a window for the README when asked to by TERRARIUM_PICTURES. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.TERRARIUM_PICTURES;
  if (folder === undefined || folder === "") return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(resolve(folder), `${name}.png`) });
}
