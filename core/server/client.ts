import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Emitter, type Event } from "../base/emitter";
import { TerrariumError } from "../contract/errors";
import { procedures, type HostCalls, type HostEvent, type ProcedureInput, type ProcedureName, type ProcedureOutput } from "../contract/procedures";
import { ServerLine, StreamAnswer, maxLineBytes, type Request, type StreamRequest } from "../contract/protocol";
import { hostSocketPath, readLock } from "../machine/access";
import { LineReader } from "../base/lines";

/** A host service in another process, in the same shapes as one in this. */
export interface HostConnection extends HostCalls {
  readonly servedBy: "app" | "headless";
  readonly onDidChange: Event<HostEvent>;
  openStream(request: StreamRequest): Promise<Duplex>;
  /** The service ended, or what it sent was not understood. Calls under way fail with `disconnected`. */
  readonly onDidDisconnect: Event<void>;
  close(): void;
}

/**
 * Connects to the host service of a home.
 * @returns undefined when none serves it, or when the one that holds the home does not listen (yet, or any more)
 */
export async function connectHost(home: string): Promise<HostConnection | undefined> {
  const holder = await readLock(home);
  if (holder === undefined) return undefined;
  const path = hostSocketPath(holder.runDir);
  const socket = await tryConnect(path);
  return socket === undefined ? undefined : new Connection(socket, path, holder.servedBy);
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: TerrariumError): void;
}

class Connection implements HostConnection {
  private readonly lines = new LineReader(maxLineBytes);
  private readonly waiting = new Map<number, Waiting>();
  private readonly changes = new Emitter<HostEvent>();
  private readonly disconnects = new Emitter<void>();
  private lastId = 0;
  private subscribed = false;
  private ended: TerrariumError | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly path: string,
    readonly servedBy: "app" | "headless",
  ) {
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("error", (error) => this.end(`The connection to the host service failed: ${error.message}.`));
    socket.on("end", () => this.end("The host service has ended."));
    socket.on("close", () => this.end("The host service has ended."));
  }

  readonly onDidDisconnect = this.disconnects.event;

  /** The first listener subscribes; what happened before it listens is not told. */
  readonly onDidChange: Event<HostEvent> = (listener) => {
    const subscription = this.changes.event(listener);
    if (!this.subscribed) {
      this.subscribed = true;
      // A failure to subscribe is a connection that ended, which `onDidDisconnect` tells.
      this.request((id) => ({ id, subscribe: true })).catch(() => this.socket.destroy());
    }
    return subscription;
  };

  async call<N extends ProcedureName>(name: N, input: ProcedureInput<N>): Promise<ProcedureOutput<N>> {
    const result = await this.request((id) => ({ id, call: name, input }));
    const output = procedures[name].output.safeParse(result);
    if (!output.success) throw new TerrariumError("internal", `The host service's answer to ${name} is not understood.`, "The host service may be of another version. End it with: terrarium serve --stop", { cause: output.error });
    return output.data as ProcedureOutput<N>;
  }

  async openStream(request: StreamRequest): Promise<Duplex> {
    const socket = await tryConnect(this.path);
    if (socket === undefined) throw new TerrariumError("disconnected", "The host service does not answer.", "Try again.");
    socket.write(JSON.stringify(request) + "\n");
    return await streamAnswered(socket);
  }

  close(): void {
    this.end("The connection was closed.");
  }

  private request(form: (id: number) => Request): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.ended) return reject(this.ended);
      const id = ++this.lastId;
      this.waiting.set(id, { resolve, reject });
      this.socket.write(JSON.stringify(form(id)) + "\n");
    });
  }

  private onData(chunk: Buffer): void {
    this.lines.push(chunk);
    for (;;) {
      const next = this.lines.next();
      if (next === undefined) return;
      if (next === "too-long") return this.end("The host service sent a line that is too long.");
      const message = parseLine(ServerLine, next.line);
      if (message === undefined) return this.end("The host service sent something that is not understood.");
      this.onMessage(message);
      if (this.ended) return;
    }
  }

  private onMessage(message: ServerLine): void {
    if ("event" in message) return this.changes.fire(message.event);
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if ("error" in message) {
      const error = TerrariumError.fromData(message.error);
      if (waiting) waiting.reject(error);
      else this.end(error.message);
    } else waiting?.resolve(message.result);
  }

  private end(reason: string): void {
    if (this.ended) return;
    this.ended = new TerrariumError("disconnected", reason, "Try again; a host service is started when none runs.");
    this.socket.destroy();
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of waiting) reject(this.ended);
    this.disconnects.fire();
  }
}

function parseLine<T>(schema: { safeParse(value: unknown): { success: true; data: T } | { success: false } }, line: string): T | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** Waits for the one line that comes before the stream's bytes. */
function streamAnswered(socket: Socket): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const lines = new LineReader(maxLineBytes);
    const settle = (outcome: TerrariumError | undefined): void => {
      socket.off("readable", onReadable);
      socket.off("error", onEnd);
      socket.off("end", onEnd);
      socket.off("close", onEnd);
      if (outcome !== undefined) {
        // What still comes from this socket concerns nobody.
        socket.on("error", () => socket.destroy());
        socket.destroy();
        return reject(outcome);
      }
      const early = lines.takeRest();
      if (early.length > 0) socket.unshift(early);
      resolve(socket);
    };
    const onEnd = (): void => settle(new TerrariumError("disconnected", "The host service ended before the stream was open.", "Try again."));
    // Read and not listened to for data: whoever gets the socket finds it as a new one, neither flowing nor paused.
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      lines.push(chunk);
      const next = lines.next();
      if (next === undefined) return;
      const answer = next === "too-long" ? undefined : parseLine(StreamAnswer, next.line);
      if (answer === undefined) settle(new TerrariumError("disconnected", "The host service's answer is not understood.", "It may be of another version. End it with: terrarium serve --stop"));
      else settle("error" in answer ? TerrariumError.fromData(answer.error) : undefined);
    };
    socket.on("readable", onReadable);
    socket.on("error", onEnd);
    socket.on("end", onEnd);
    socket.on("close", onEnd);
  });
}

/** undefined when nothing listens there. */
function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once("connect", () => {
      socket.off("error", failed);
      resolve(socket);
    });
    const failed = (error: NodeJS.ErrnoException): void => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED" || error.code === "ECONNRESET") resolve(undefined);
      else reject(new TerrariumError("io", `The host service's socket ${path} cannot be reached: ${error.message}.`, "Check who owns it.", { cause: error }));
    };
    socket.once("error", failed);
  });
}
