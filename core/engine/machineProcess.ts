import { spawn } from "node:child_process";
import { watch } from "node:fs";
import { open } from "node:fs/promises";
import { getPriority, setPriority } from "node:os";
import { connect, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { systemClock, type Clock } from "../base/clock";
import { toDisposable, type Disposable } from "../base/disposable";
import { isRunning, processStart, type ProcessIdentity } from "../base/processes";
import { TerrariumError } from "../contract/errors";
import { shellWords } from "../contract/shellWords";
import type { LaunchPlan } from "./engine";

/**
 * One machine process: started detached, so that it outlives the host service, or found again by its pid file. The
 * process is known by pid and start time together, because pids are reused; no signal is ever sent to a pid alone.
 */
export interface MachineProcess {
  readonly identity: ProcessIdentity;
  /** Resolves when the process has ended. A process that was found again tells no code. */
  readonly ended: Promise<ProcessEnd>;
  /** Tells that the connection to its monitor has ended, which is how the end of a process that is not our child is noticed. */
  monitorClosed(): void;
  /** Ends it at once (SIGKILL). Does nothing when it is gone. */
  kill(): Promise<void>;
  /** Lets it live on by itself: it does not keep this process alive any more. */
  release(): void;
}

export interface ProcessEnd {
  readonly code?: number | undefined;
  readonly signal?: string | undefined;
}

/** A guest that takes all it can get leaves the app's windows, and everything else on the computer, quick. */
const nicerThanTheApp = 5;
const nicest = 19;

function yieldToTheApp(pid: number): void {
  try {
    setPriority(pid, Math.min(nicest, getPriority() + nicerThanTheApp));
  } catch {
    // It has ended already, or the system has other rules for priorities: neither keeps a machine from starting.
  }
}

/**
 * Starts a machine process. Its output goes to `logFile`.
 * @throws TerrariumError when the program cannot be started.
 */
export async function launch(plan: Pick<LaunchPlan, "command" | "args" | "env">, logFile: string): Promise<MachineProcess> {
  const log = await open(logFile, "a", 0o600);
  try {
    await log.write(`\n${shellWords([plan.command, ...plan.args])}\n`);
    const child = spawn(plan.command, plan.args, {
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
      env: { ...ownEnvironment(process.env), ...plan.env },
      cwd: "/",
    });
    const ended = new Promise<ProcessEnd>((resolve) => child.once("exit", (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined })));
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(new TerrariumError("engine-failed", `The machine process could not be started: ${error.message}`, `Check that ${plan.command} can be run.`, { cause: error })));
    });
    const pid = child.pid;
    if (pid === undefined) throw new TerrariumError("engine-failed", "The machine process could not be started: it has no process id.");
    yieldToTheApp(pid);
    const identity = { pid, start: await processStart(pid) };
    return {
      identity,
      ended,
      monitorClosed: () => undefined,
      kill: async () => {
        child.kill("SIGKILL");
        await ended;
      },
      release: () => child.unref(),
    };
  } finally {
    await log.close();
  }
}

/** What a machine process may know of the environment: what programs need to run at all, and nothing that may be private. */
const passedOn = /^(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|TMP|TEMP|SystemRoot|XDG_RUNTIME_DIR|LD_LIBRARY_PATH)$/;

export function ownEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => passedOn.test(name)));
}

/** How long a process whose monitor has closed may take to end before it is ended. */
const closingMs = 5000;
const lookAgainMs = 50;

/** Takes over a machine process that someone else started; undefined when it does not run any more. */
export async function adopt(identity: ProcessIdentity, clock: Clock = systemClock()): Promise<MachineProcess | undefined> {
  if (!(await isRunning(identity))) return undefined;
  let finish: (end: ProcessEnd) => void = () => undefined;
  let watching = false;
  const ended = new Promise<ProcessEnd>((resolve) => (finish = resolve));
  // The system tells nobody but the parent when a process ends, so from the moment its monitor closes it is looked for.
  const lookUntil = (deadline: number): void => {
    void isRunning(identity).then((running) => {
      if (!running) return finish({});
      if (clock.monotonic() >= deadline) signal(identity.pid);
      clock.schedule(lookAgainMs, () => lookUntil(deadline));
    });
  };
  const adopted: MachineProcess = {
    identity,
    ended,
    monitorClosed() {
      if (watching) return;
      watching = true;
      lookUntil(clock.monotonic() + closingMs);
    },
    async kill() {
      if (await isRunning(identity)) signal(identity.pid);
      adopted.monitorClosed();
      await ended;
    },
    release: () => undefined,
  };
  return adopted;
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // Gone between the look and the signal: that is what was wanted.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/**
 * Connects to a socket that a machine process is about to make, as soon as it listens. Nothing is polled: the folder is
 * watched for the socket's name.
 * @throws TerrariumError `timeout`, `cancelled`, or what `gone` rejects with when the process ends first.
 */
export async function connectWhenReady(path: string, options: { timeoutMs: number; signal?: AbortSignal; gone?: Promise<never>; clock?: Clock }): Promise<Socket> {
  const { timeoutMs, signal: abort, gone, clock = systemClock() } = options;
  const held: Disposable[] = [];
  let latest: Socket | undefined;
  let connected: Socket | undefined;
  try {
    const ready = new Promise<Socket>((resolve, reject) => {
      let trying = false;
      let again = false;
      const attempt = (): void => {
        if (trying) {
          again = true;
          return;
        }
        trying = true;
        const socket = connect(path);
        latest = socket;
        socket.once("connect", () => {
          socket.removeAllListeners("error");
          resolve(socket);
        });
        socket.once("error", (error: NodeJS.ErrnoException) => {
          trying = false;
          // Bound but not listening yet, or not there: the next change of the folder, or a moment, makes a difference.
          if (error.code !== "ENOENT" && error.code !== "ECONNREFUSED") reject(new TerrariumError("engine-failed", `The machine process cannot be reached: ${error.message}`, undefined, { cause: error }));
          else if (again) {
            again = false;
            attempt();
          } else if (error.code === "ECONNREFUSED") held.push(clock.schedule(2, attempt));
        });
      };
      const watcher = watch(dirname(path), (_, name) => {
        if (name === basename(path)) attempt();
      });
      watcher.once("error", (error) => reject(new TerrariumError("engine-failed", `The machine's run directory cannot be watched: ${error.message}`, undefined, { cause: error })));
      held.push(toDisposable(() => watcher.close()));
      held.push(clock.schedule(timeoutMs, () => reject(new TerrariumError("timeout", `The machine process did not open ${basename(path)} within ${Math.round(timeoutMs / 1000)} seconds.`, "Look at the machine's engine log."))));
      const aborted = (): void => reject(new TerrariumError("cancelled", "Cancelled."));
      if (abort?.aborted) aborted();
      abort?.addEventListener("abort", aborted);
      held.push(toDisposable(() => abort?.removeEventListener("abort", aborted)));
      attempt();
    });
    connected = await (gone === undefined ? ready : Promise.race([ready, gone]));
    return connected;
  } finally {
    for (const item of held) item.dispose();
    if (latest !== undefined && latest !== connected) latest.on("error", () => undefined).destroy();
  }
}
