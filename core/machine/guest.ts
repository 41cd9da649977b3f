import type { Clock } from "../base/clock";
import { DisposableStore, type Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError } from "../contract/errors";
import type { AdapterConfig, GuestInfo } from "../contract/model";
import { isRecord } from "../engine/qmp";
import { AgentError, type AgentClient } from "./agentClient";
import type { GuestIdentity } from "./identity";

/** Between attempts to reach the agent of a guest that is coming up, milliseconds; the last one goes on. An answer to any of them counts. */
const attemptsMs = [500, 1000, 1000, 2000, 3000];
/** The same for a guest whose agent may not exist at all: it is asked ever more rarely. */
const strangerPausesMs = [2000, 5000, 10_000, 20_000, 40_000, 60_000];
/** Pauses between looks at a guest whose agent answers; the last one goes on. Addresses come soon after the start. */
const refreshPausesMs = [1000, 2000, 4000, 8000, 15_000, 30_000];
const answerMs = 10_000;
/** More steps than an identity has, and few enough to be logged one by one. */
const maxFailedSteps = 32;
/** Output of one stream of a command that is passed on, bytes. */
const maxOutputBytes = 1024 * 1024;
const execPausesMs = [10, 20, 40, 80, 150, 250];

export interface ExecResult {
  readonly exitCode: number | null;
  readonly signal: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
}

/** What came of applying an identity. */
export interface IdentityOutcome {
  readonly hostname: string;
  /** What became of the first disk, in the guest's words: none, mounted, formatted, foreign, failed. */
  readonly data: string;
  /** Why it is not at /data, if it is not. */
  readonly reason: string | undefined;
  /** Milliseconds of the guest's time by step, for the log. */
  readonly spent: string;
  /** Steps that failed. */
  readonly failed: readonly string[];
}

/** The guest of one run of a machine, as its agent tells of it. */
export class Guest implements Disposable {
  private readonly store = new DisposableStore();
  private state: GuestInfo;
  private watching: Disposable | undefined;
  private round = 0;
  private readonly changeEmitter = new Emitter<GuestInfo>();
  readonly onDidChange: Event<GuestInfo> = this.changeEmitter.event;

  /** @param expected whether this guest is known to have an agent. */
  constructor(
    private readonly agent: AgentClient,
    private readonly expected: boolean,
    private adapters: readonly AdapterConfig[],
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.state = { agent: expected ? "waiting" : "none", addresses: [] };
    this.store.add(this.changeEmitter);
  }

  get info(): GuestInfo {
    return this.state;
  }

  setAdapters(adapters: readonly AdapterConfig[]): void {
    this.adapters = adapters;
  }

  /** Resolves when the agent answers. */
  async waitUntilAnswering(signal: AbortSignal, limitMs: number): Promise<void> {
    const deadline = this.clock.monotonic() + limitMs;
    for (let attempt = 0; ; attempt++) {
      if (signal.aborted) throw new TerrariumError("cancelled", "Cancelled.");
      if (this.agent.isClosed) throw new TerrariumError("agent-silent", "The machine process has closed the line to the guest agent.");
      const attemptMs = attemptsMs[Math.min(attempt, attemptsMs.length - 1)] ?? 1000;
      const began = this.clock.monotonic();
      try {
        await this.agent.ready(attemptMs);
        return;
      } catch (error) {
        if (!(error instanceof TerrariumError) || error.code !== "agent-silent") throw error;
        if (this.clock.monotonic() >= deadline) throw error;
      }
      // A refused attempt comes back at once; the next one waits its turn.
      const left = attemptMs - (this.clock.monotonic() - began);
      if (left > 0) await this.pause(left, signal);
    }
  }

  /** Waits for an agent that has not answered so far. @throws TerrariumError `agent-silent`. */
  async requireAgent(limitMs: number): Promise<void> {
    if (this.state.agent === "answering") return;
    try {
      await this.agent.ready(limitMs);
    } catch (error) {
      throw new TerrariumError("agent-silent", "The guest agent does not answer.", this.expected ? "The guest may be busy; look at its console." : "Commands need a guest agent, which the starter guest has.", { cause: error });
    }
    this.change({ agent: "answering" });
  }

  /** Makes the guest who it is: after this it may have its disk, its links and its logins. */
  async applyIdentity(identity: GuestIdentity, timeoutMs: number): Promise<IdentityOutcome> {
    const answer = await this.agent.execute(
      "terrarium-identity",
      {
        hostname: identity.hostname,
        machineId: identity.machineId,
        seed: identity.seed.toString("base64"),
        hostKey: identity.hostKey.toString("base64"),
        authorizedKeys: identity.authorizedKeys.map((line) => `${line}\n`).join(""),
        macs: identity.macs,
        blankDisk: identity.blankDisk,
        time: Math.round(this.clock.now()),
      },
      timeoutMs,
    );
    const fields = isRecord(answer) ? answer : {};
    const data = isRecord(fields["data"]) ? fields["data"] : {};
    return {
      hostname: text(fields["hostname"], 64) ?? identity.hostname,
      data: text(data["state"], 32) ?? "unknown",
      spent: isRecord(fields["milliseconds"]) ? (text(JSON.stringify(fields["milliseconds"]), 300) ?? "") : "",
      reason: text(data["reason"], 300),
      failed: Array.isArray(fields["failed"]) ? fields["failed"].slice(0, maxFailedSteps).map((entry) => text(entry, 300) ?? "a step without a name") : [],
    };
  }

  /** The guest is up and somebody: commands may be run in it. */
  isUp(hostname: string): void {
    this.change({ agent: "answering", hostname });
    // It has just told all there is; its addresses come in a moment, and until then whoever waited for it goes first.
    this.watching?.dispose();
    this.round = 0;
    this.lookLater();
  }

  /** Sets the guest's clock; the one thing a guest that was saved has lost. */
  async setTime(): Promise<void> {
    await this.agent.execute("guest-set-time", { time: Math.round(this.clock.now()) * 1_000_000 }, answerMs);
  }

  /** Starts to look at the guest at gentle intervals. */
  watch(): void {
    this.watching?.dispose();
    this.round = 0;
    this.look();
  }

  /** Stops looking: a guest that is paused cannot answer. */
  rest(): void {
    this.watching?.dispose();
    this.watching = undefined;
  }

  /** The guest has been restarted: what was known of it is old. */
  restarted(): void {
    this.rest();
    this.agent.restart();
    this.state = { agent: this.expected ? "waiting" : "none", addresses: [] };
    this.changeEmitter.fire(this.state);
  }

  /** Asks the guest to power itself off. */
  async requestShutdown(): Promise<void> {
    await this.agent.tell("guest-shutdown", { mode: "powerdown" });
  }

  /** Runs a command in the guest. After `timeoutMs` it is given up; it may go on in the guest. */
  async exec(command: { path: string; args: readonly string[]; input: string | undefined; timeoutMs: number }): Promise<ExecResult> {
    const deadline = this.clock.monotonic() + command.timeoutMs;
    const answer = await this.execute(
      "guest-exec",
      { path: command.path, arg: command.args, "capture-output": true, ...(command.input === undefined ? {} : { "input-data": Buffer.from(command.input, "utf8").toString("base64") }) },
      Math.min(command.timeoutMs, 30_000),
    );
    const pid = isRecord(answer) ? answer["pid"] : undefined;
    if (typeof pid !== "number") throw new TerrariumError("engine-failed", "The guest agent started the command but did not say which process it is.");
    for (let round = 0; ; round++) {
      const status = await this.execute("guest-exec-status", { pid }, answerMs);
      if (isRecord(status) && status["exited"] === true) return execResult(status);
      const left = deadline - this.clock.monotonic();
      if (left <= 0) {
        throw new TerrariumError("timeout", `The command “${command.path}” did not end within ${Math.round(command.timeoutMs / 1000)} seconds. It may still run in the guest.`, "Give it more time, or run it in the background.");
      }
      await this.pause(Math.min(left, execPausesMs[round] ?? execPausesMs[execPausesMs.length - 1] ?? 250));
    }
  }

  dispose(): void {
    this.rest();
    this.store.dispose();
  }

  private async execute(command: string, args: Record<string, unknown>, timeoutMs: number): Promise<unknown> {
    try {
      return await this.agent.execute(command, args, timeoutMs);
    } catch (error) {
      if (error instanceof AgentError) throw new TerrariumError("invalid-input", `The guest could not do that: ${error.description}`, "Check the command's name and arguments in the guest.");
      throw error;
    }
  }

  private look(): void {
    const next = (): void => {
      if (!this.store.isDisposed && this.watching === ticket) this.lookLater();
    };
    const ticket: Disposable = { dispose: () => undefined };
    this.watching = ticket;
    this.refresh().then(next, (error: unknown) => {
      if (this.store.isDisposed || this.watching !== ticket) return;
      // An agent that has answered before and does not now is silent; one that never did is still awaited.
      if (this.state.agent === "answering") this.change({ agent: "silent" });
      else if (!(error instanceof TerrariumError)) this.log.warn(`the guest could not be looked at: ${String(error)}`);
      next();
    });
  }

  private lookLater(): void {
    const pauses = this.state.agent === "none" ? strangerPausesMs : refreshPausesMs;
    this.watching = this.clock.schedule(pauses[Math.min(this.round++, pauses.length - 1)] ?? 30_000, () => this.look());
  }

  private async refresh(): Promise<void> {
    await this.agent.execute("guest-ping", undefined, answerMs);
    const interfaces = await this.agent.execute("guest-network-get-interfaces", undefined, answerMs);
    const hostname = await this.optional("guest-get-host-name");
    const patch: Partial<GuestInfo> = { agent: "answering", addresses: addressesByAdapter(interfaces, this.adapters) };
    if (isRecord(hostname)) patch.hostname = text(hostname["host-name"], 64);
    if (this.state.os === undefined) {
      const os = await this.optional("guest-get-osinfo");
      if (isRecord(os)) patch.os = text(os["pretty-name"], 100) ?? text(os["name"], 100);
    }
    this.change(patch);
  }

  /** A question that not every agent knows. */
  private async optional(command: string): Promise<unknown> {
    try {
      return await this.agent.execute(command, undefined, answerMs);
    } catch (error) {
      if (error instanceof AgentError) return undefined;
      throw error;
    }
  }

  private change(patch: Partial<GuestInfo>): void {
    const next = { ...this.state, ...patch };
    if (JSON.stringify(next) === JSON.stringify(this.state)) return;
    this.state = next;
    this.changeEmitter.fire(next);
  }

  private pause(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.dispose();
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = this.clock.schedule(ms, wake);
      signal?.addEventListener("abort", wake);
    });
  }
}

/** Text from the guest for people: no control characters, not longer than `length`. */
function text(value: unknown, length: number): string | undefined {
  if (typeof value !== "string") return undefined;
  // eslint-disable-next-line no-control-regex -- a guest must not write to people's terminals
  const clean = value.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim().slice(0, length);
  return clean === "" ? undefined : clean;
}

const addressShape = /^[0-9a-fA-F.:]{2,45}$/;

/** The addresses of `guest-network-get-interfaces`, found by their card's address. */
export function addressesByAdapter(interfaces: unknown, adapters: readonly AdapterConfig[]): GuestInfo["addresses"] {
  if (!Array.isArray(interfaces)) return [];
  const found: GuestInfo["addresses"] = [];
  for (const entry of interfaces.slice(0, 64)) {
    if (!isRecord(entry) || typeof entry["hardware-address"] !== "string" || !Array.isArray(entry["ip-addresses"])) continue;
    const mac = entry["hardware-address"].toLowerCase();
    const adapter = adapters.findIndex((candidate) => candidate.mac === mac);
    if (adapter < 0) continue;
    for (const item of entry["ip-addresses"].slice(0, 32)) {
      const address = isRecord(item) ? item["ip-address"] : undefined;
      if (typeof address !== "string" || !addressShape.test(address)) continue;
      if (/^(127\.|169\.254\.|::1$|fe[89ab])/i.test(address)) continue;
      found.push({ adapter, address });
    }
  }
  return found.sort((a, b) => a.adapter - b.adapter);
}

function execResult(status: Record<string, unknown>): ExecResult {
  const out = output(status["out-data"]);
  const error = output(status["err-data"]);
  return {
    exitCode: typeof status["exitcode"] === "number" ? status["exitcode"] : null,
    signal: typeof status["signal"] === "number" ? status["signal"] : null,
    stdout: out.text,
    stderr: error.text,
    truncated: out.cut || error.cut || status["out-truncated"] === true || status["err-truncated"] === true,
  };
}

/** Base64 of the guest as text. What is not UTF-8 becomes replacement characters. */
function output(value: unknown): { text: string; cut: boolean } {
  if (typeof value !== "string") return { text: "", cut: false };
  const bytes = Buffer.from(value, "base64");
  const cut = bytes.length > maxOutputBytes;
  return { text: bytes.subarray(0, maxOutputBytes).toString("utf8"), cut };
}
