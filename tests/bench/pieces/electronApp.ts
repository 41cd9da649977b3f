import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { _electron, type ElectronApplication, type Page } from "playwright-core";
import { electronRuntime } from "../../../build/launcher/electronRuntime.mjs";
import type { ProcedureInput, ProcedureName, ProcedureOutput } from "../../../core/contract/procedures";
import { makeConfig } from "../../support/machineConfig";
import { passing } from "./processes";

/** A home of its own for the app, removed at the end. */
export class AppHome {
  private constructor(readonly path: string) {}

  static async make(): Promise<AppHome> {
    return new AppHome(await realpath(await mkdtemp(join(tmpdir(), "tb-"))));
  }

  /** Puts `count` machines into it, as if they had been created one day. No app may run on it. */
  async addMachines(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const config = makeConfig({ name: `machine ${index + 1}`, ...(index % 3 === 0 ? { group: `group ${1 + (index % 9) / 3}` } : {}) });
      const folder = join(this.path, "machines", `machine-${index + 1}`);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(join(folder, "machine.json"), `${JSON.stringify(config, null, 2)}\n`);
    }
  }

  get environment(): Record<string, string> {
    const environment = { ...process.env, TERRARIUM_HOME: this.path };
    // Set by whatever started us, it would make Electron a plain Node without a window.
    delete (environment as NodeJS.ProcessEnv).ELECTRON_RUN_AS_NODE;
    return environment as Record<string, string>;
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Between two questions to a page that is not there yet, milliseconds: little against what is measured. */
const askAgainMs = 5;

/** The app, driven by Playwright. */
export class DrivenApp {
  private constructor(
    readonly electron: ElectronApplication,
    readonly window: Page,
  ) {}

  static async start(home: AppHome): Promise<DrivenApp> {
    const runtime = await electronRuntime();
    const electron = await _electron.launch({ executablePath: runtime.executable, args: runtime.args, env: home.environment, timeout: 120_000 });
    try {
      const window = await electron.firstWindow();
      await window.locator(`${listOrWelcome} >> nth=0`).waitFor();
      return new DrivenApp(electron, window);
    } catch (error) {
      await electron.close();
      throw error;
    }
  }

  /** A call of the contract, by the window's own way to the host service. */
  async call<N extends ProcedureName>(name: N, input: ProcedureInput<N>): Promise<ProcedureOutput<N>> {
    const answer = await this.window.evaluate(([called, given]) => window.terrarium.call(called, given as never), [name, input] as const);
    if ("error" in answer) throw new Error(`${name}: ${answer.error.message}`);
    return answer.result as ProcedureOutput<N>;
  }

  /** Waits for the job's end, and that it ended well. */
  async finish(jobId: string): Promise<void> {
    const job = await this.call("job.wait", { id: jobId });
    if (job.state !== "done") throw new Error(`${job.title} ended as ${job.state}: ${job.error?.message ?? ""}`);
  }

  /** Runs shell commands in a guest. */
  async shell(id: string, script: string): Promise<string> {
    const result = await this.call("machine.exec", { id, command: "/bin/sh", args: ["-c", script] });
    if (result.exitCode !== 0) throw new Error(`${script} ended with ${String(result.exitCode)} in the guest: ${result.stderr}`);
    return result.stdout;
  }

  /** Ends the machines, then the app. */
  async close(): Promise<void> {
    try {
      for (const machine of await this.call("machine.list", {})) {
        if (machine.state === "running" || machine.state === "paused") await this.call("machine.powerOff", { id: machine.id });
      }
    } finally {
      await this.electron.close();
    }
  }
}

/** What a person can begin with: a machine in the list, or the first run's button. */
export const listOrWelcome = "[role=treeitem], .grow-button";

interface Usable {
  /** When it was painted, and when a click on the search field had its effect: milliseconds since the Unix epoch. */
  readonly painted: number;
  readonly answered: number;
}

/**
 * Starts the app like a person would, without anything that slows it down, and watches its page over Chromium's
 * debugging pipe. Milliseconds from the start of the process.
 */
export async function timeAppStart(home: AppHome): Promise<Usable> {
  const runtime = await electronRuntime();
  const began = Date.now();
  const child = spawn(runtime.executable, [...runtime.args, "--remote-debugging-pipe"], { env: home.environment, stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = new Promise<number | string>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal ?? "unknown")));
  try {
    const gone = ended.then((how): never => {
      throw new Error(`the app ended with ${how} before its window was usable:\n${errors.slice(-2000)}`);
    });
    const usable = await Promise.race([watchPage(new DebuggingPipe(child)), gone]);
    gone.catch(() => undefined); // It ends now, as it should.
    return { painted: usable.painted - began, answered: usable.answered - began };
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

/** Resolves with the moment of the first painting of the list or the welcome screen and the place of the search field. */
const awaitPainted = `new Promise((resolve) => {
  const look = () => {
    const field = document.querySelector("input[type=search]");
    if (!field || !document.querySelector(${JSON.stringify(listOrWelcome)})) return requestAnimationFrame(look);
    window.benchAnswered = new Promise((done) => field.addEventListener("focus", () => done(performance.timeOrigin + performance.now()), { once: true }));
    // The first of these frames paints it, the second one comes after that.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const place = field.getBoundingClientRect();
      resolve({ painted: performance.timeOrigin + performance.now(), x: place.x + place.width / 2, y: place.y + place.height / 2 });
    }));
  };
  look();
})`;

async function watchPage(pipe: DebuggingPipe): Promise<Usable> {
  const page = await pipe.attachToPage();
  const { painted, x, y } = (await pipe.evaluate(page, awaitPainted)) as { painted: number; x: number; y: number };
  for (const type of ["mousePressed", "mouseReleased"]) await pipe.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 }, page);
  return { painted, answered: (await pipe.evaluate(page, "window.benchAnswered")) as number };
}

/** Chromium's debugging protocol over file descriptors 3 and 4, messages ended by a zero byte. */
class DebuggingPipe {
  private buffer = "";
  private nextId = 1;
  private readonly answers = new Map<number, { resolve(result: Record<string, unknown>): void; reject(error: Error): void }>();
  private pageFound: (targetId: string) => void = () => undefined;
  private readonly input: Writable;

  constructor(child: ChildProcess) {
    this.input = child.stdio[3] as Writable;
    // The app may end while something is written to it; how it ended is told by its exit.
    this.input.on("error", () => undefined);
    (child.stdio[4] as Readable).setEncoding("utf8").on("data", (text: string) => {
      const messages = (this.buffer + text).split("\0");
      this.buffer = messages.pop() ?? "";
      for (const message of messages) this.take(JSON.parse(message) as Record<string, unknown>);
    });
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.answers.set(id, { resolve, reject });
      this.input.write(`${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`);
    });
  }

  /** A session with the first page there is. */
  async attachToPage(): Promise<string> {
    const found = new Promise<string>((resolve) => (this.pageFound = resolve));
    await this.send("Target.setDiscoverTargets", { discover: true });
    return (await this.send("Target.attachToTarget", { targetId: await found, flatten: true })).sessionId as string;
  }

  /** The value of an expression, awaited; asked again in the next page when the page it was asked in gives way to one. */
  async evaluate(sessionId: string, expression: string): Promise<unknown> {
    for (;;) {
      try {
        const { result, exceptionDetails } = (await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }, sessionId)) as {
          result: { value?: unknown };
          exceptionDetails?: { text: string };
        };
        if (exceptionDetails) throw new Error(exceptionDetails.text);
        return result.value;
      } catch (error) {
        if (!(error instanceof Error) || !/navigated|context was destroyed|Cannot find (default execution )?context/i.test(error.message)) throw error;
        await passing(askAgainMs);
      }
    }
  }

  private take(message: Record<string, unknown>): void {
    if (message.method === "Target.targetCreated") {
      const { targetInfo } = message.params as { targetInfo: { type: string; targetId: string } };
      if (targetInfo.type === "page") this.pageFound(targetInfo.targetId);
    }
    const answer = this.answers.get(Number(message.id));
    if (!answer) return;
    this.answers.delete(Number(message.id));
    const error = message.error as { message: string } | undefined;
    if (error) answer.reject(new Error(error.message));
    else answer.resolve(message.result as Record<string, unknown>);
  }
}
