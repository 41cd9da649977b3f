import { chmod, lstat, unlink } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { DisposableStore, toDisposable, type Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError, toErrorData, type ErrorData } from "../contract/errors";
import { isProcedureName, type HostEvent, type ProcedureName, type ProcedureOutput } from "../contract/procedures";
import { Request, StreamRequest, maxLineBytes, type ServerLine, type StreamAnswer } from "../contract/protocol";
import { hostSocketPath } from "../machine/access";
import { joinStreams } from "./join";
import { LineReader } from "../base/lines";

/*
 * The host service on a Unix socket (contract/protocol.ts says what is on the wire).
 *
 * Whoever can open the socket may do everything: the directory (0700) and the socket (0600) are the only gate. Still
 * nothing a client sends may harm another client or the service. A line that is no request is answered and costs that
 * client its connection, because what follows cannot be trusted to be in step. A client that does not read is cut off
 * once `maxQueuedBytes` wait for it, and one that sends faster than it reads answers is not read from meanwhile.
 */

/** The part of the host service that is served. */
export interface ServedHost {
  readonly runDir: string;
  call<N extends ProcedureName>(name: N, input: unknown): Promise<ProcedureOutput<N>>;
  readonly onDidChange: Event<HostEvent>;
  openStream(request: StreamRequest): Promise<Duplex>;
}

export interface ServedSocket extends Disposable {
  readonly path: string;
  /** Clients that are connected now, streams among them. */
  readonly clientCount: number;
  readonly onDidChangeClients: Event<void>;
}

export interface SocketLimits {
  /** Bytes that may wait for a client that does not read. */
  readonly maxQueuedBytes: number;
  /** Bytes waiting for a client above which no more of its requests are read. */
  readonly pauseReadingBytes: number;
  /** Calls of one connection that may be under way at the same time. */
  readonly maxCallsAtOnce: number;
  readonly maxClients: number;
}

const defaultLimits: SocketLimits = { maxQueuedBytes: 16 << 20, pauseReadingBytes: 1 << 20, maxCallsAtOnce: 256, maxClients: 256 };

/** The id in the answer to a line that has no id of its own. */
const noRequest = -1;

/**
 * Serves `host` on `<run directory>/host.sock` until disposed. The caller holds the home's lock, so a socket that is
 * already there was left behind and is replaced.
 * @throws TerrariumError `io` when the socket cannot be made
 */
export async function serveSocket(host: ServedHost, log: Log, limits: SocketLimits = defaultLimits): Promise<ServedSocket> {
  const path = hostSocketPath(host.runDir);
  await removeLeftover(path);
  const connections = new Set<Connection>();
  const changed = new Emitter<void>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = new Connection(socket, host, log, limits);
    connections.add(connection);
    changed.fire();
    socket.once("close", () => {
      connections.delete(connection);
      changed.fire();
    });
  });
  server.maxConnections = limits.maxClients;
  await listen(server, path);
  await chmod(path, 0o600);
  server.on("error", (error) => log.error("The host service's socket failed.", error));
  const disposal = toDisposable(() => {
    server.close();
    for (const connection of connections) connection.finish();
    changed.dispose();
  });
  return {
    path,
    get clientCount() {
      return connections.size;
    },
    onDidChangeClients: changed.event,
    dispose: () => disposal.dispose(),
  };
}

/** One client: first it says whether it wants to call or to have a stream, then it stays with that. */
class Connection {
  private readonly lines = new LineReader(maxLineBytes);
  private readonly resources = new DisposableStore();
  private role: "unknown" | "caller" | "stream" = "unknown";
  private subscribed = false;
  private callsUnderWay = 0;

  constructor(
    private readonly socket: Socket,
    private readonly host: ServedHost,
    private readonly log: Log,
    private readonly limits: SocketLimits,
  ) {
    socket.on("data", this.onData);
    // A client that says nothing more gets its outstanding answers; `finishWhenAnswered` ends it after the last one.
    socket.on("end", this.onEnd);
    socket.on("drain", () => this.role !== "stream" && socket.resume());
    // A client that goes away in the middle is no news; the close that follows releases what it held.
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.resources.dispose());
  }

  /** Lets what was said reach the client, and ends. */
  finish(): void {
    this.socket.destroySoon();
  }

  private readonly onData = (chunk: Buffer): void => {
    this.lines.push(chunk);
    for (;;) {
      const next = this.lines.next();
      if (next === undefined) return;
      if (next === "too-long") return this.refuse(`A line of a client's request is longer than ${maxLineBytes} bytes.`);
      this.onLine(next.line);
      // A stream has taken over, or the client was turned away.
      if (this.role === "stream" || this.socket.writableEnded || this.socket.destroyed) return;
    }
  };

  private readonly onEnd = (): void => {
    if (this.role !== "stream") this.finishWhenAnswered();
  };

  private onLine(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return this.refuse("A client's request is not a line of JSON.");
    }
    if (this.role === "unknown" && typeof value === "object" && value !== null && "stream" in value) {
      const request = StreamRequest.safeParse(value);
      if (!request.success) return this.refuse(`A client asked for a stream in a form that is not understood: ${issues(request.error)}.`);
      this.role = "stream";
      void this.becomeStream(request.data);
      return;
    }
    const request = Request.safeParse(value);
    if (!request.success) return this.refuse(`A client's request is not understood: ${issues(request.error)}.`, idOf(value));
    this.role = "caller";
    if ("subscribe" in request.data) this.subscribe(request.data.id);
    else void this.answer(request.data.id, request.data.call, request.data.input);
  }

  private async answer(id: number, name: string, input: unknown): Promise<void> {
    if (!isProcedureName(name)) return this.send({ id, error: { code: "invalid-input", message: `There is no call named "${name.slice(0, 100)}".`, remedy: "The client and the host service may be of different versions; start both from the same one." } });
    if (this.callsUnderWay >= this.limits.maxCallsAtOnce) return this.send({ id, error: { code: "busy", message: `This client has ${this.limits.maxCallsAtOnce} calls under way already.`, remedy: "Wait for some of them to end." } });
    this.callsUnderWay++;
    try {
      this.send({ id, result: (await this.host.call(name, input)) as unknown });
    } catch (error) {
      if (!(error instanceof TerrariumError)) this.log.error(`The call ${name} failed.`, error);
      this.send({ id, error: toErrorData(error) });
    } finally {
      this.callsUnderWay--;
      if (this.socket.readableEnded) this.finishWhenAnswered();
    }
  }

  private subscribe(id: number): void {
    if (!this.subscribed) {
      this.subscribed = true;
      this.resources.add(this.host.onDidChange((event) => this.send({ event })));
    }
    this.send({ id, result: {} });
  }

  private async becomeStream(request: StreamRequest): Promise<void> {
    const { socket } = this;
    // Bytes that come before the stream is there wait in the socket.
    socket.pause();
    socket.off("data", this.onData);
    const early = this.lines.takeRest();
    let stream: Duplex;
    try {
      stream = await this.host.openStream(request);
    } catch (error) {
      if (!(error instanceof TerrariumError)) this.log.error(`The ${request.stream} stream could not be opened.`, error);
      socket.write(answerLine({ error: toErrorData(error) }));
      return socket.destroySoon();
    }
    if (socket.destroyed) return void stream.destroy();
    socket.write(answerLine({ ok: true }));
    if (early.length > 0) socket.unshift(early);
    joinStreams(socket, stream);
  }

  /** Says what is wrong with what the client sent and ends its connection. */
  private refuse(message: string, id = noRequest): void {
    this.log.warn(message);
    const error: ErrorData = { code: "invalid-input", message, remedy: "The client and the host service may be of different versions; start both from the same one." };
    // The form fits a refused stream too (`StreamAnswer`).
    this.send({ id, error });
    this.socket.off("data", this.onData);
    this.socket.resume();
    this.finish();
  }

  private send(message: ServerLine): void {
    const { socket, limits } = this;
    if (socket.destroyed || socket.writableEnded) return;
    const line = messageLine(message);
    if (line === undefined) {
      this.log.error("An event is too long to be passed on; the client that would miss it was cut off.");
      return void socket.destroy();
    }
    socket.write(line);
    if (socket.writableLength > limits.maxQueuedBytes) {
      this.log.warn(`A client does not read; it was cut off with ${socket.writableLength} bytes waiting for it.`);
      socket.destroy();
    } else if (socket.writableLength > limits.pauseReadingBytes) socket.pause();
  }

  private finishWhenAnswered(): void {
    if (this.callsUnderWay === 0) this.finish();
  }
}

/** The message as a line; an answer too long for one becomes an error, and an event too long for one is undefined. */
function messageLine(message: ServerLine): string | undefined {
  const line = JSON.stringify(message);
  if (Buffer.byteLength(line) <= maxLineBytes) return line + "\n";
  if ("event" in message) return undefined;
  const error: ErrorData = { code: "internal", message: "The answer is too long to be passed on.", remedy: "Ask for less at a time." };
  return JSON.stringify({ id: message.id, error }) + "\n";
}

function answerLine(answer: StreamAnswer): string {
  return JSON.stringify(answer) + "\n";
}

function issues(error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] }): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => (issue.path.length > 0 ? `${issue.path.join(".")}: ${issue.message}` : issue.message))
    .join("; ");
}

function idOf(value: unknown): number | undefined {
  return typeof value === "object" && value !== null && "id" in value && Number.isSafeInteger(value.id) ? (value.id as number) : undefined;
}

async function removeLeftover(path: string): Promise<void> {
  try {
    const found = await lstat(path);
    if (!found.isSocket()) throw new TerrariumError("io", `${path} is in the way: it is not a socket.`, "Move it away and start again.");
    await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(new TerrariumError("io", `The host service cannot listen on ${path}: ${error.message}.`, "Check that the directory can be written to.", { cause: error }));
    server.once("error", failed);
    server.listen(path, () => {
      server.off("error", failed);
      resolve();
    });
  });
}
