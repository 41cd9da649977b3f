import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { MiB } from "../base/bytes";
import { systemClock } from "../base/clock";
import { DisposableStore, toDisposable } from "../base/disposable";
import { ownEnvironment } from "./machineProcess";
import { isSystemError } from "./smallFile";

/*
 * Runs a program that is expected to end soon by itself, and never waits longer or reads more than it was told. The
 * program need not be what it seems: what it prints is capped, and it is ended with everything it has started.
 */

export interface BriefRunOptions {
  readonly env: NodeJS.ProcessEnv;
  /** How long it may take, milliseconds. */
  readonly limitMs: number;
  /** What it reads from its standard input. */
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface BriefRun {
  /** `flooded`: it printed more than anybody wants to read, and was ended for it. */
  readonly outcome: "exited" | "not-started" | "timeout" | "flooded" | "cancelled";
  /** The exit code, when it exited by itself. */
  readonly code: number | undefined;
  /** The signal it died of, when nobody here sent it. */
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** Why it could not be started, in the system's words. */
  readonly problem: string | undefined;
  readonly durationMs: number;
}

/** How much of each stream is read, bytes. */
const outputCap = MiB;
/** How long an ended program may take to be gone. One that hangs in the kernel is not waited for. */
const goneMs = 1000;

/** Runs `command` and tells what became of it. Never rejects. */
export function runBriefly(command: string, args: readonly string[], options: BriefRunOptions): Promise<BriefRun> {
  const clock = systemClock();
  const began = clock.monotonic();
  if (options.signal?.aborted) return Promise.resolve(endOf("cancelled"));

  return new Promise((resolve) => {
    const held = new DisposableStore();
    // Its own process group, so that it can be ended with its children; Windows knows no such groups.
    const ownGroup = process.platform !== "win32";
    let child: ChildProcessWithoutNullStreams;
    try {
      child = spawn(command, args, { detached: ownGroup, stdio: ["pipe", "pipe", "pipe"], windowsHide: true, env: ownEnvironment(options.env) });
    } catch (failure) {
      // Some of the system's errors are thrown at once; most come as an event.
      if (!isSystemError(failure)) throw failure;
      return resolve(endOf("not-started", failure.message));
    }
    const streams = { stdout: new CappedText(), stderr: new CappedText() };
    let outcome: BriefRun["outcome"] | undefined;
    let exit: { code: number | undefined; signal: string | undefined } | undefined;

    const settle = (problem?: string): void => {
      held.dispose();
      for (const stream of child.stdio) stream?.destroy();
      child.unref();
      const ending = outcome ?? "exited";
      resolve({ ...endOf(ending, problem), code: ending === "exited" ? exit?.code : undefined, signal: ending === "exited" ? exit?.signal : undefined, stdout: streams.stdout.text(), stderr: streams.stderr.text() });
    };
    const kill = (): void => {
      if (child.pid === undefined) return;
      try {
        if (ownGroup) process.kill(-child.pid, "SIGKILL");
        else child.kill("SIGKILL");
      } catch (failure) {
        // Gone between the look and the signal: that is what was wanted.
        if (!(isSystemError(failure) && failure.code === "ESRCH")) throw failure;
      }
    };
    const end = (because: BriefRun["outcome"]): void => {
      if (outcome !== undefined) return;
      // Exited in time, with something it left behind still holding its output: that is all there will be.
      if (exit === undefined) outcome = because;
      kill();
      if (exit !== undefined) settle();
      else held.add(clock.schedule(goneMs, () => settle()));
    };

    held.add(clock.schedule(options.limitMs, () => end("timeout")));
    const aborted = (): void => end("cancelled");
    options.signal?.addEventListener("abort", aborted);
    held.add(toDisposable(() => options.signal?.removeEventListener("abort", aborted)));
    process.once("exit", kill);
    held.add(toDisposable(() => process.off("exit", kill)));

    child.stdout.on("data", (chunk: Buffer) => streams.stdout.add(chunk) || end("flooded"));
    child.stderr.on("data", (chunk: Buffer) => streams.stderr.add(chunk) || end("flooded"));
    // A program that does not read its input ends or is ended; that tells more than the broken pipe.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
    child.once("error", (error) => {
      if (child.pid !== undefined) return;
      outcome = "not-started";
      settle(error.message);
    });
    child.once("exit", (code, signal) => (exit = { code: code ?? undefined, signal: signal ?? undefined }));
    child.once("close", () => settle());
  });

  function endOf(outcome: BriefRun["outcome"], problem?: string): BriefRun {
    return { outcome, code: undefined, signal: undefined, stdout: "", stderr: "", problem, durationMs: clock.monotonic() - began };
  }
}

class CappedText {
  private readonly chunks: Buffer[] = [];
  private length = 0;

  /** Answers whether there is room for more. */
  add(chunk: Buffer): boolean {
    const room = outputCap - this.length;
    if (room > 0) this.chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
    this.length += chunk.length;
    return this.length <= outputCap;
  }

  text(): string {
    return Buffer.concat(this.chunks).toString("utf8");
  }
}

/** How much of a program's words is shown. */
const shownCharacters = 300;

/** What a program said, as one line for people: without its name, without control characters, not too long. */
export function wordsOf(run: Pick<BriefRun, "stdout" | "stderr">): string | undefined {
  const lines = (run.stderr.trim() === "" ? run.stdout : run.stderr)
    .slice(0, 64 * shownCharacters)
    .split("\n")
    .map((line) => line.replace(/^\S*qemu-system-\S+: /, "").replace(/[\p{C}\s]+/gu, " ").trim())
    .filter((line) => line !== "");
  // Warnings come before what it is about.
  const words = (lines.find((line) => !/^warning:/i.test(line)) ?? lines[0])?.slice(0, shownCharacters);
  return words === undefined ? undefined : words.replace(/\.$/, "");
}
