import type { Socket } from "node:net";
import type { Log } from "../base/log";

/**
 * The QEMU Machine Protocol, server side: one JSON object per line, a greeting, capabilities negotiation, commands with
 * optional ids, errors with QEMU's classes and words, events for everyone who has negotiated.
 */
export type ErrorClass = "GenericError" | "CommandNotFound" | "DeviceNotFound" | "DeviceNotActive" | "KVMMissingCap";

/** What a command fails with. */
export class QmpError extends Error {
  constructor(
    message: string,
    readonly errorClass: ErrorClass = "GenericError",
  ) {
    super(message);
  }
}

export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  readonly package: string;
}

/** Runs a command and returns what belongs into `return`. */
export type QmpCommand = (parameters: Parameters) => Promise<unknown> | unknown;

/** A line may have this many bytes; no command of ours comes near. */
const maxLineBytes = 1024 * 1024;
/** Events are not kept for a client that does not read them beyond this many bytes. */
const maxBacklog = 16 * 1024 * 1024;

export class QmpServer {
  private readonly sessions = new Set<Session>();

  constructor(
    private readonly version: QmpVersion,
    private readonly commands: ReadonlyMap<string, QmpCommand>,
    private readonly log: Log,
  ) {}

  readonly accept = (socket: Socket): void => {
    const session = new Session(socket, this.version, this.commands, this.log);
    this.sessions.add(session);
    socket.on("close", () => this.sessions.delete(session));
  };

  event(event: string, data?: object): void {
    const now = Date.now();
    const timestamp = { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 };
    const line = { timestamp, event, ...(data ? { data } : {}) };
    for (const session of this.sessions) session.event(line);
  }

  /** Settles when everything said has left, or the clients have, or after `milliseconds`. */
  async finish(milliseconds: number): Promise<void> {
    const closing = [...this.sessions].map((session) => session.finish());
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([Promise.all(closing), new Promise((resolve) => (timer = setTimeout(resolve, milliseconds)))]);
    clearTimeout(timer);
  }
}

class Session {
  private negotiated = false;
  private chunks: Buffer[] = [];
  private pendingBytes = 0;
  /** Commands run one after another, as QEMU does without out-of-band execution. */
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly socket: Socket,
    version: QmpVersion,
    private readonly commands: ReadonlyMap<string, QmpCommand>,
    private readonly log: Log,
  ) {
    const { package: name, ...qemu } = version;
    this.write({ QMP: { version: { qemu, package: name }, capabilities: [] } });
    socket.on("data", (data: Buffer) => this.receive(data));
    // `echo ... | socat` closes its side at once and still wants its answers.
    socket.on("end", () => {
      this.queue = this.queue.then(() => void socket.end());
    });
  }

  event(line: object): void {
    if (this.negotiated) this.write(line);
  }

  finish(): Promise<void> {
    return this.queue.then(() => new Promise<void>((resolve) => (this.socket.destroyed ? resolve() : this.socket.end(() => resolve()))));
  }

  private receive(data: Buffer): void {
    let from = 0;
    for (;;) {
      const end = data.indexOf(10, from);
      if (end < 0) break;
      this.chunks.push(data.subarray(from, end));
      this.pendingBytes += end - from;
      if (this.pendingBytes > maxLineBytes) break;
      const line = Buffer.concat(this.chunks).toString("utf8").trim();
      this.chunks = [];
      this.pendingBytes = 0;
      from = end + 1;
      if (line !== "") this.queue = this.queue.then(() => this.answer(line));
    }
    if (from < data.length) {
      this.chunks.push(data.subarray(from));
      this.pendingBytes += data.length - from;
    }
    if (this.pendingBytes > maxLineBytes) {
      this.fail(undefined, new QmpError(`JSON token size limit exceeded: a line may have ${maxLineBytes} bytes`));
      this.socket.end();
      this.chunks = [];
      this.pendingBytes = 0;
      this.socket.removeAllListeners("data");
      this.socket.resume();
    }
  }

  private async answer(line: string): Promise<void> {
    let id: unknown;
    try {
      const request = parseRequest(line);
      id = request.id;
      const value = await this.execute(request);
      this.write({ return: value ?? {}, ...(id === undefined ? {} : { id }) });
    } catch (error) {
      this.fail(id, error);
    }
  }

  private async execute(request: QmpRequest): Promise<unknown> {
    const { name } = request;
    if (!this.negotiated) {
      if (name !== "qmp_capabilities") throw new QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound");
      new Parameters(request.parameters, ["enable"]);
      this.negotiated = true;
      return {};
    }
    if (name === "qmp_capabilities") throw new QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound");
    const command = this.commands.get(name);
    if (!command) throw new QmpError(`The command ${name} has not been found`, "CommandNotFound");
    return command(new Parameters(request.parameters));
  }

  private fail(id: unknown, error: unknown): void {
    const known = error instanceof QmpError;
    if (!known) this.log.error("a QMP command failed", error);
    const description = error instanceof Error ? error.message : String(error);
    this.write({ error: { class: known ? error.errorClass : "GenericError", desc: description }, ...(id === undefined ? {} : { id }) });
  }

  private write(value: object): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    if (this.socket.writableLength > maxBacklog) {
      this.log.warn("a QMP client does not read; it is cut off");
      this.socket.destroy();
      return;
    }
    this.socket.write(`${JSON.stringify(value)}\r\n`);
  }
}

interface QmpRequest {
  readonly name: string;
  readonly parameters: Record<string, unknown>;
  readonly id: unknown;
}

function parseRequest(line: string): QmpRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new QmpError("JSON parse error, expecting value");
  }
  if (!isObject(value)) throw new QmpError("QMP input must be a JSON object");
  const unexpected = Object.keys(value).find((key) => !["execute", "arguments", "id", "exec-oob"].includes(key));
  if (unexpected !== undefined) throw new QmpError(`QMP input member '${unexpected}' is unexpected`);
  if ("exec-oob" in value) throw new QmpError("Out-of-band capability is not available");
  const { execute, arguments: parameters = {}, id } = value;
  if (execute === undefined) throw new QmpError("QMP input lacks member 'execute'");
  if (typeof execute !== "string") throw new QmpError("QMP input member 'execute' must be a string");
  if (!isObject(parameters)) throw new QmpError("QMP input member 'arguments' must be an object");
  return { name: execute, parameters, id };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A command's arguments, read one by one; what is wrong with them is said in QEMU's words. */
export class Parameters {
  constructor(
    private readonly values: Record<string, unknown>,
    known?: readonly string[],
  ) {
    if (known) this.only(...known);
  }

  only(...names: readonly string[]): this {
    const unexpected = Object.keys(this.values).find((name) => !names.includes(name));
    if (unexpected !== undefined) throw new QmpError(`Parameter '${unexpected}' is unexpected`);
    return this;
  }

  has(name: string): boolean {
    return this.values[name] !== undefined;
  }

  string(name: string): string {
    return this.typed(name, "string", (value): value is string => typeof value === "string");
  }

  boolean(name: string): boolean {
    return this.typed(name, "boolean", (value): value is boolean => typeof value === "boolean");
  }

  integer(name: string): number {
    return this.typed(name, "integer", (value): value is number => Number.isInteger(value));
  }

  list(name: string): unknown[] {
    return this.typed(name, "array", (value): value is unknown[] => Array.isArray(value));
  }

  /** The fields of an object in a list or an argument. */
  object(name: string): Parameters {
    return new Parameters(this.typed(name, "object", isObject));
  }

  static of(value: unknown, name: string): Parameters {
    if (!isObject(value)) throw new QmpError(`Invalid parameter type for '${name}', expected: object`);
    return new Parameters(value);
  }

  private typed<T>(name: string, type: string, check: (value: unknown) => value is T): T {
    const value = this.values[name];
    if (value === undefined) throw new QmpError(`Parameter '${name}' is missing`);
    if (!check(value)) throw new QmpError(`Invalid parameter type for '${name}', expected: ${type}`);
    return value;
  }
}
