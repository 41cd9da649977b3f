import { connect, type Socket } from "node:net";
import type { Clock } from "../base/clock";
import type { Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import { LineReader } from "../base/lines";
import { TerrariumError } from "../contract/errors";
import { FabricAnswer, FabricEvent, fabricCalls, maxControlLine, type FabricCallName, type FabricInput, type FabricOutput } from "../net/control";

interface Waiting {
  answer(value: FabricAnswer): void;
  fail(error: TerrariumError): void;
}

/** A connection to the fabric's control socket. What comes from there is checked like what comes from anywhere. */
export class FabricClient implements Disposable {
  private readonly lines = new LineReader(maxControlLine);
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private closed = false;
  private readonly eventEmitter = new Emitter<FabricEvent>();
  private readonly closeEmitter = new Emitter<string>();
  readonly onDidEvent: Event<FabricEvent> = this.eventEmitter.event;
  /** The connection is over, and why. Not told after `dispose`. */
  readonly onDidClose: Event<string> = this.closeEmitter.event;

  constructor(
    private readonly socket: Socket,
    private readonly clock: Clock,
  ) {
    socket.on("data", (chunk: Buffer) => this.take(chunk));
    socket.on("error", (error) => this.close(error.message));
    socket.on("close", () => this.close("it has ended"));
  }

  /** Connects to a fabric that listens there; undefined when none does. */
  static connect(path: string, clock: Clock): Promise<FabricClient | undefined> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(undefined);
        else reject(new TerrariumError("io", `The network fabric cannot be reached: ${error.message}`, undefined, { cause: error }));
      });
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        resolve(new FabricClient(socket, clock));
      });
    });
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** @throws TerrariumError what the fabric says; `disconnected`; `timeout` */
  call<N extends FabricCallName>(name: N, input: FabricInput<N>, timeoutMs: number): Promise<FabricOutput<N>> {
    if (this.closed) return Promise.reject(gone("it has ended"));
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = this.clock.schedule(timeoutMs, () => settle(() => reject(new TerrariumError("timeout", `The network fabric did not answer within ${Math.round(timeoutMs / 1000)} seconds.`, "Look at logs/fabric.log in the home."))));
      const settle = (how: () => void): void => {
        timer.dispose();
        this.waiting.delete(id);
        how();
      };
      this.waiting.set(id, {
        fail: (error) => settle(() => reject(error)),
        answer: (value) =>
          settle(() => {
            if ("error" in value) return reject(TerrariumError.fromData(value.error));
            const parsed = fabricCalls[name].output.safeParse(value.output);
            if (parsed.success) resolve(parsed.data as FabricOutput<N>);
            else reject(new TerrariumError("internal", `The network fabric answered ${name} with something that is not understood.`, "It may be of another version; it is replaced when no machine runs."));
          }),
      });
      this.socket.write(`${JSON.stringify({ id, call: name, input })}\n`);
    });
  }

  dispose(): void {
    this.closeEmitter.dispose();
    this.close("it was let go");
    this.eventEmitter.dispose();
  }

  private take(chunk: Buffer): void {
    this.lines.push(chunk);
    for (;;) {
      const next = this.lines.next();
      if (next === undefined || this.closed) return;
      if (next === "too-long" || !this.hear(next.line)) return this.close("it says what is not understood");
    }
  }

  private hear(line: string): boolean {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return false; // No line of a fabric.
    }
    const event = FabricEvent.safeParse(value);
    if (event.success) {
      this.eventEmitter.fire(event.data);
      return true;
    }
    const answer = FabricAnswer.safeParse(value);
    // One that nobody waits for any more came too late.
    if (answer.success) this.waiting.get(answer.data.id)?.answer(answer.data);
    return answer.success;
  }

  private close(because: string): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.destroy();
    for (const waiting of [...this.waiting.values()]) waiting.fail(gone(because));
    this.closeEmitter.fire(because);
  }
}

function gone(because: string): TerrariumError {
  return new TerrariumError("disconnected", `The connection to the network fabric ended: ${because}.`, "It is started again; try again in a moment.");
}
