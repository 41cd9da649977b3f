import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { toDisposable, type Disposable } from "../base/disposable";
import { LineReader } from "../base/lines";
import type { Log } from "../base/log";
import { TerrariumError, toErrorData } from "../contract/errors";
import { FabricRequest, fabricCalls, isFabricCall, maxControlLine, type FabricCallName, type FabricEvent, type FabricInput, type FabricOutput } from "./control";

/*
 * The fabric's control socket. One host service is served at a time: a newcomer takes the place of the one before, which
 * may hang, or be gone without its connection having ended. Only the user's own processes can open the socket; still
 * nothing that comes through it can make the fabric grow or fall. A line that is no request ends the connection.
 */

export type FabricHandlers = { readonly [N in FabricCallName]: (input: FabricInput<N>) => Promise<FabricOutput<N>> };

/** Calls under way at the same time. */
const maxCalls = 64;
/** Bytes that may wait for a host service that does not read. */
const maxQueuedBytes = 16 * 1024 * 1024;

export interface ControlServer extends Disposable {
  /** A host service is connected. */
  readonly isAttended: boolean;
  tell(event: FabricEvent): void;
}

/**
 * Serves the control socket until disposed.
 * @param attended is told when a host service comes, and when the last one has gone
 * @throws when another fabric listens there, or the socket cannot be made
 */
export async function serveControl(path: string, handlers: FabricHandlers, log: Log, attended: (here: boolean) => void = () => undefined): Promise<ControlServer> {
  let current: Connection | undefined;
  const server = createServer((socket) => {
    current?.end("another host service has come");
    const mine = new Connection(socket, handlers, log, () => {
      if (current !== mine) return;
      current = undefined;
      attended(false);
    });
    current = mine;
    attended(true);
  });
  removeLeftover(path);
  await listen(server, path);
  chmodSync(path, 0o600);
  const disposal = toDisposable(() => {
    server.close();
    current?.finish();
  });
  return {
    get isAttended() {
      return current !== undefined;
    },
    tell: (event) => current?.send(event),
    dispose: () => disposal.dispose(),
  };
}

class Connection {
  private readonly lines = new LineReader(maxControlLine);
  private underWay = 0;

  constructor(
    private readonly socket: Socket,
    private readonly handlers: FabricHandlers,
    private readonly log: Log,
    gone: () => void,
  ) {
    socket.on("data", this.onData);
    // That a host service goes away in the middle of a line is everyday life.
    socket.on("error", (error) => log.info(`the host service's connection failed: ${error.message}`));
    socket.once("close", gone);
  }

  send(message: unknown): void {
    const { socket } = this;
    if (socket.destroyed || socket.writableEnded) return;
    socket.write(`${JSON.stringify(message)}\n`);
    if (socket.writableLength > maxQueuedBytes) this.end("it does not read");
  }

  /** Lets what was said reach the other side, and ends. */
  finish(): void {
    this.socket.destroySoon();
  }

  end(because: string): void {
    this.log.info(`a host service is let go: ${because}`);
    this.socket.off("data", this.onData);
    this.socket.destroy();
  }

  private readonly onData = (chunk: Buffer): void => {
    this.lines.push(chunk);
    for (;;) {
      const next = this.lines.next();
      if (next === undefined) return;
      if (next === "too-long") return this.end("a line of it is too long");
      const request = parseRequest(next.line);
      if (request === undefined) return this.end("a line of it is no request");
      if (this.underWay >= maxCalls) return this.end("it has too many calls under way");
      void this.answer(request);
    }
  };

  private async answer({ id, call, input }: FabricRequest): Promise<void> {
    this.underWay++;
    try {
      this.send({ id, output: await this.perform(call, input) });
    } catch (error) {
      if (!(error instanceof TerrariumError)) this.log.error(`the call ${call} failed`, error);
      this.send({ id, error: toErrorData(error) });
    } finally {
      this.underWay--;
    }
  }

  private async perform(call: string, input: unknown): Promise<unknown> {
    if (!isFabricCall(call)) throw new TerrariumError("invalid-input", `The fabric knows no call "${call.slice(0, 50)}".`, "The host service and the fabric are of different versions.");
    const parsed = fabricCalls[call].input.safeParse(input);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new TerrariumError("invalid-input", `The call ${call} is not understood: ${issue?.path.join(".")}: ${issue?.message}.`, "The host service and the fabric are of different versions.");
    }
    // The table and the handlers have the same keys, which the compiler cannot follow through a variable.
    return (this.handlers[call] as (input: unknown) => Promise<unknown>)(parsed.data);
  }
}

type FabricRequest = ReturnType<typeof FabricRequest.parse>;

function parseRequest(line: string): FabricRequest | undefined {
  try {
    return FabricRequest.parse(JSON.parse(line));
  } catch {
    return undefined; // Whatever it is, it is no request.
  }
}

function removeLeftover(path: string): void {
  try {
    if (!lstatSync(path).isSocket()) throw new Error(`${path} is in the way: it is not a socket`);
    unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      server.on("error", () => undefined);
      resolve();
    });
  });
}
