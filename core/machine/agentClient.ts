import type { Socket } from "node:net";
import { systemClock, type Clock } from "../base/clock";
import { Emitter, type Event } from "../base/emitter";
import type { Disposable } from "../base/disposable";
import { TerrariumError } from "../contract/errors";
import { isRecord } from "../engine/qmp";

/**
 * A client of the guest-agent protocol (QEMU's qga): JSON commands a line each, answered in order and without ids, over
 * a serial line of the guest.
 *
 * The line has no beginning and no end: the agent may be in the middle of an answer to someone who is gone, or not there
 * at all. So a conversation starts with `guest-sync-delimited`: the client's 0xFF byte makes the agent forget half a
 * command, and the agent's own 0xFF before its answer tells the client to forget everything older. After a command that
 * was not answered in time the conversation is started again before the next one. A guest on a busy host may answer an
 * attempt only after the next was made: any of them will do, and because their answers alone are marked with 0xFF, the
 * later ones are never taken for the answer to a command.
 *
 * The guest is hostile: lines are capped, and what does not parse counts as no answer.
 */
const maxAnswerBytes = 32 * 1024 * 1024;
const delimiter = 0xff;

interface Waiting {
  readonly command: string;
  /** `marked`: 0xFF came before it. */
  take(message: Record<string, unknown>, marked: boolean): void;
  fail(error: TerrariumError): void;
}

/** The agent refused a command. */
export class AgentError extends TerrariumError {
  constructor(
    readonly command: string,
    readonly description: string,
  ) {
    super("engine-failed", `The guest agent refused ${command}: ${description}`);
  }
}

/** How long the first attempts to synchronise are waited for, milliseconds; the one after them takes what is left. */
const syncAttemptsMs = [1000, 2000, 4000];

export class AgentClient implements Disposable {
  private chunks: Buffer[] = [];
  private size = 0;
  private waiting: Waiting | undefined;
  private inSync = false;
  /** The attempts to synchronise of this conversation. */
  private readonly attempts = new Set<number>();
  private marked = false;
  private queue: Promise<unknown> = Promise.resolve();
  private closedBecause: TerrariumError | undefined;
  private sequence = Math.floor(Math.random() * 0x3fffffff);
  private readonly closeEmitter = new Emitter<TerrariumError>();
  readonly onDidClose: Event<TerrariumError> = this.closeEmitter.event;

  constructor(
    private readonly socket: Socket,
    private readonly clock: Clock = systemClock(),
  ) {
    socket.on("data", (data: Buffer) => this.take(data));
    socket.on("error", (error) => this.close(`The connection to the guest agent failed: ${error.message}`));
    socket.on("close", () => this.close("The connection to the guest agent ended."));
  }

  get isClosed(): boolean {
    return this.closedBecause !== undefined;
  }

  /** Commands are sent one after another; each starts its own time when it is sent. */
  execute(command: string, args?: Record<string, unknown>, timeoutMs = 10_000): Promise<unknown> {
    const run = this.queue.then(async () => {
      if (!this.inSync) await this.synchronise(timeoutMs);
      return this.exchange(command, args, timeoutMs);
    });
    this.queue = run.then(
      () => undefined,
      () => undefined,
    );
    return run;
  }

  /** Starts the conversation if it has not begun. @throws TerrariumError `agent-silent` when nobody answers in time. */
  ready(timeoutMs: number): Promise<void> {
    const run = this.queue.then(() => (this.inSync ? undefined : this.synchronise(timeoutMs)));
    this.queue = run.then(
      () => undefined,
      () => undefined,
    );
    return run;
  }

  /** Sends a command that is not answered when it works, like `guest-shutdown`. */
  async tell(command: string, args?: Record<string, unknown>): Promise<void> {
    // The conversation is known to work first, so that the command is not lost.
    await this.execute("guest-ping", undefined, 5000);
    if (this.closedBecause) throw this.closedBecause;
    this.socket.write(`${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) })}\n`);
  }

  /** Forgets the conversation: the guest has been restarted or replaced by a restored one. */
  restart(): void {
    this.inSync = false;
    this.attempts.clear();
    this.waiting?.fail(new TerrariumError("agent-silent", "The guest was restarted before its agent answered."));
  }

  dispose(): void {
    this.close("The connection to the guest agent was closed.");
  }

  /** Asks until it is answered or the time is up: what is said on a line that has just been taken over may be lost. */
  private async synchronise(timeoutMs: number): Promise<void> {
    const deadline = this.clock.monotonic() + timeoutMs;
    for (let attempt = 0; ; attempt++) {
      const left = deadline - this.clock.monotonic();
      const attemptMs = Math.min(left, syncAttemptsMs[attempt] ?? left);
      try {
        await this.attemptToSynchronise(attemptMs);
        return;
      } catch (error) {
        if (this.isClosed || attemptMs === left) throw error;
      }
    }
  }

  private async attemptToSynchronise(timeoutMs: number): Promise<void> {
    const id = (this.sequence = (this.sequence + 1) & 0x3fffffff);
    this.attempts.add(id);
    const line = JSON.stringify({ execute: "guest-sync-delimited", arguments: { id } });
    const bytes = Buffer.concat([Buffer.from([delimiter]), Buffer.from(`${line}\n`)]);
    await this.send("guest-sync-delimited", bytes, timeoutMs, (message, marked) => marked && this.attempts.has(message["return"] as number));
    this.attempts.clear();
    this.inSync = true;
  }

  private exchange(command: string, args: Record<string, unknown> | undefined, timeoutMs: number): Promise<unknown> {
    const line = JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) });
    return this.send(command, Buffer.from(`${line}\n`), timeoutMs, (_, marked) => !marked);
  }

  private send(command: string, bytes: Buffer, timeoutMs: number, accepts: (message: Record<string, unknown>, marked: boolean) => boolean): Promise<unknown> {
    if (this.closedBecause) return Promise.reject(this.closedBecause);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.waiting = undefined;
        timer.dispose();
      };
      const timer = this.clock.schedule(timeoutMs, () => {
        end();
        this.inSync = false;
        reject(new TerrariumError("agent-silent", `The guest agent did not answer ${command} within ${formatSeconds(timeoutMs)}.`, "The guest may be busy, or its agent may not run."));
      });
      this.waiting = {
        command,
        take: (message, marked) => {
          if (!accepts(message, marked)) return;
          end();
          const failure = message["error"];
          if (failure === undefined) resolve(message["return"]);
          else reject(new AgentError(command, isRecord(failure) && typeof failure["desc"] === "string" ? failure["desc"] : "no reason given"));
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
      this.socket.write(bytes);
    });
  }

  private close(reason: string): void {
    if (this.closedBecause) return;
    this.closedBecause = new TerrariumError("agent-silent", reason);
    this.socket.destroy();
    this.waiting?.fail(this.closedBecause);
    this.closeEmitter.fire(this.closedBecause);
    this.closeEmitter.dispose();
  }

  private take(data: Buffer): void {
    let start = 0;
    for (let index = 0; index < data.length; index++) {
      const byte = data[index];
      if (byte === delimiter) {
        // Everything before it belongs to an older conversation. 0xFF never occurs in UTF-8.
        this.chunks = [];
        this.size = 0;
        this.marked = true;
        start = index + 1;
      } else if (byte === 0x0a) {
        this.keep(data.subarray(start, index));
        start = index + 1;
        const line = Buffer.concat(this.chunks).toString("utf8").trim();
        this.chunks = [];
        this.size = 0;
        const { marked } = this;
        this.marked = false;
        if (line !== "") this.takeLine(line, marked);
      }
    }
    this.keep(data.subarray(start));
    if (this.size > maxAnswerBytes) {
      this.chunks = [];
      this.size = 0;
      this.inSync = false;
      this.waiting?.fail(new TerrariumError("agent-silent", "The guest agent sent more than an answer may have.", "Ask the command for less output."));
    }
  }

  private keep(bytes: Buffer): void {
    if (bytes.length === 0) return;
    // A copy: the socket's buffer is larger than the part that is kept.
    this.chunks.push(Buffer.from(bytes));
    this.size += bytes.length;
  }

  private takeLine(line: string, marked: boolean): void {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      return; // Noise of the line (a kernel message, half an answer); the time limit of the command decides.
    }
    if (isRecord(message)) this.waiting?.take(message, marked);
  }
}

function formatSeconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${Math.round(ms / 1000)} seconds`;
}
