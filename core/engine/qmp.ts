import { connect, type Socket } from "node:net";
import { systemClock, type Clock } from "../base/clock";
import { Emitter, type Event } from "../base/emitter";
import type { Disposable } from "../base/disposable";
import { TerrariumError } from "../contract/errors";

/**
 * A client of the QEMU Machine Protocol: JSON values, one a line, over a Unix socket. The server greets, the client
 * negotiates with `qmp_capabilities`, and then each command is answered with `return` or `error` carrying the command's
 * id, with events in between (QEMU's qmp-spec).
 *
 * The other side is a machine process that a guest may have taken over: lines are capped, anything that is not the
 * protocol closes the connection, and every command has a time limit.
 */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** Milliseconds since the Unix epoch by the machine process's clock, or undefined when it did not say. */
  readonly at: number | undefined;
}

const maxLineBytes = 4 * 1024 * 1024;
const defaultTimeoutMs = 10_000;

interface Pending {
  readonly command: string;
  resolve(value: unknown): void;
  reject(error: TerrariumError): void;
  timer: Disposable | undefined;
}

/** The machine process refused a command; `qmpClass` is QEMU's error class. */
export class QmpError extends TerrariumError {
  constructor(
    readonly command: string,
    readonly qmpClass: string,
    readonly description: string,
  ) {
    super("engine-failed", `The machine process refused ${command}: ${description}`);
  }
}

export class QmpClient implements Disposable {
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private received = "";
  private closedBecause: TerrariumError | undefined;
  private heardAt: number;
  private readonly eventEmitter = new Emitter<QmpEvent>();
  private readonly closeEmitter = new Emitter<TerrariumError>();

  /** Events of the machine process, in order. */
  readonly onDidEvent: Event<QmpEvent> = this.eventEmitter.event;
  /** The connection has ended, with the reason. Fires once. */
  readonly onDidClose: Event<TerrariumError> = this.closeEmitter.event;

  private constructor(
    private readonly socket: Socket,
    private readonly clock: Clock,
  ) {
    this.heardAt = clock.monotonic();
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.take(text));
    socket.on("error", (error) => this.close(`The connection to the machine process failed: ${error.message}`));
    socket.on("close", () => this.close("The machine process closed its monitor."));
  }

  /** Takes over a connected socket and negotiates. */
  static async over(socket: Socket, clock: Clock = systemClock()): Promise<QmpClient> {
    const client = new QmpClient(socket, clock);
    try {
      await client.execute("qmp_capabilities");
    } catch (error) {
      client.dispose();
      throw error;
    }
    return client;
  }

  /** Connects to a monitor that already listens. */
  static async connect(path: string, clock: Clock = systemClock()): Promise<QmpClient> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", (error) => reject(new TerrariumError("engine-failed", `The machine process does not answer on its monitor: ${error.message}`, undefined, { cause: error })));
    });
    return QmpClient.over(socket, clock);
  }

  get isClosed(): boolean {
    return this.closedBecause !== undefined;
  }

  /** When the machine process was last heard of, monotonic milliseconds. */
  get lastHeard(): number {
    return this.heardAt;
  }

  /**
   * Sends a command and answers with its `return` value.
   * @throws QmpError when the machine process refuses it; TerrariumError `timeout` or `disconnected` else.
   */
  execute(command: string, args?: Record<string, unknown>, timeoutMs = defaultTimeoutMs): Promise<unknown> {
    if (this.closedBecause) return Promise.reject(this.closedBecause);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const entry: Pending = { command, resolve, reject, timer: undefined };
      entry.timer = this.clock.schedule(timeoutMs, () => {
        this.pending.delete(id);
        reject(new TerrariumError("timeout", `The machine process did not answer ${command} within ${Math.round(timeoutMs / 1000)} seconds.`, "If the machine stays silent, power it off."));
      });
      this.pending.set(id, entry);
      this.socket.write(`${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id })}\n`);
    });
  }

  /** Resolves with the first event that `matches`; rejects when the connection ends or `signal` aborts. */
  waitFor(matches: (event: QmpEvent) => boolean, signal?: AbortSignal): Promise<QmpEvent> {
    if (this.closedBecause) return Promise.reject(this.closedBecause);
    return new Promise((resolve, reject) => {
      const release = (): void => {
        heard.dispose();
        closed.dispose();
        signal?.removeEventListener("abort", aborted);
      };
      const aborted = (): void => {
        release();
        reject(new TerrariumError("cancelled", "Cancelled."));
      };
      const heard = this.onDidEvent((event) => {
        if (!matches(event)) return;
        release();
        resolve(event);
      });
      const closed = this.onDidClose((error) => {
        release();
        reject(error);
      });
      if (signal?.aborted) aborted();
      else signal?.addEventListener("abort", aborted);
    });
  }

  dispose(): void {
    this.close("The connection to the machine process was closed.");
  }

  private close(reason: string): void {
    if (this.closedBecause) return;
    this.closedBecause = new TerrariumError("disconnected", reason);
    this.socket.destroy();
    for (const entry of this.pending.values()) {
      entry.timer?.dispose();
      entry.reject(this.closedBecause);
    }
    this.pending.clear();
    this.closeEmitter.fire(this.closedBecause);
    this.closeEmitter.dispose();
    this.eventEmitter.dispose();
  }

  private take(text: string): void {
    this.heardAt = this.clock.monotonic();
    this.received += text;
    for (;;) {
      const end = this.received.indexOf("\n");
      if (end < 0) break;
      const line = this.received.slice(0, end).trim();
      this.received = this.received.slice(end + 1);
      if (line !== "") this.takeLine(line);
      if (this.closedBecause) return;
    }
    if (this.received.length > maxLineBytes) this.close("The machine process sent a line without an end on its monitor.");
  }

  private takeLine(line: string): void {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch (error) {
      this.close(`The machine process sent something that is not QMP: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    if (!isRecord(message)) {
      this.close("The machine process sent something that is not QMP.");
      return;
    }
    if (typeof message["event"] === "string") {
      this.eventEmitter.fire({ event: message["event"], data: isRecord(message["data"]) ? message["data"] : {}, at: timestamp(message["timestamp"]) });
      return;
    }
    const entry = typeof message["id"] === "number" ? this.pending.get(message["id"]) : undefined;
    if (!entry) return; // the greeting, or the answer to a command that was given up
    this.pending.delete(message["id"] as number);
    entry.timer?.dispose();
    const failure = message["error"];
    if (failure === undefined) entry.resolve(message["return"]);
    else {
      const { class: qmpClass, desc } = isRecord(failure) ? failure : {};
      entry.reject(new QmpError(entry.command, typeof qmpClass === "string" ? qmpClass : "GenericError", typeof desc === "string" ? desc : "no reason given"));
    }
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function timestamp(value: unknown): number | undefined {
  if (!isRecord(value)) return undefined;
  const { seconds, microseconds } = value;
  return typeof seconds === "number" && typeof microseconds === "number" ? seconds * 1000 + microseconds / 1000 : undefined;
}
