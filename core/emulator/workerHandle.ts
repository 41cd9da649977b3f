import { Worker } from "node:worker_threads";
import type { FromWorker, RequestName, Requests, ToWorker, WorkerStart } from "./messages";

/** What a worker says by itself. */
export type WorkerNews = Exclude<FromWorker, { type: "ready" | "failed" | "reply" }>;

/** The main thread's side of one worker. */
export class WorkerHandle {
  /**
   * Settles when the machine is made, with the medium in its CD drive. Rejects with the worker's reason when it cannot be
   * made, or when the thread ends first, whoever ends it.
   */
  readonly ready: Promise<string | null>;
  private readonly worker: Worker;
  private readonly pending = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  private nextId = 1;
  private over = false;
  private settleReady!: { resolve(medium: string | null): void; reject(error: Error): void };

  /**
   * @param onMessage what the worker says, replies and the outcome of its beginning left out
   * @param onDidDie the thread ended although nobody ended it, or failed where it could not say so itself
   */
  constructor(
    script: string,
    start: WorkerStart,
    private readonly onMessage: (message: WorkerNews) => void,
    onDidDie: (reason: Error) => void,
  ) {
    this.ready = new Promise((resolve, reject) => (this.settleReady = { resolve, reject }));
    // Who ends a worker before it is ready need not have anybody wait for that.
    this.ready.catch(() => undefined);
    this.worker = new Worker(script, {
      workerData: start,
      // Guest memory is WebAssembly's; this bounds only what we keep ourselves.
      resourceLimits: { maxOldGenerationSizeMb: 1024 },
    });
    this.worker.on("message", (message: FromWorker) => this.receive(message));
    const die = (reason: Error): void => {
      if (this.over) return;
      this.end(reason);
      onDidDie(reason);
    };
    this.worker.on("error", die);
    this.worker.on("exit", (code) => die(new Error(`the emulator's thread ended with code ${code}`)));
  }

  /** Whether the thread has ended or could not make its machine: nothing is to be asked of it any more. */
  get hasEnded(): boolean {
    return this.over;
  }

  /** Asks and waits for the answer. Rejects with the worker's reason, or when the worker ends first. */
  request<Name extends RequestName>(name: Name, input: Requests[Name]["input"]): Promise<Requests[Name]["output"]> {
    if (this.over) return Promise.reject(new Error("the emulator has ended"));
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.worker.postMessage({ type: "request", id, name, input });
    });
  }

  post(message: ToWorker, transfer?: readonly ArrayBuffer[]): void {
    if (!this.over) this.worker.postMessage(message, transfer as ArrayBuffer[] | undefined);
  }

  /** Ends the thread at once. Requests that wait fail. */
  async terminate(): Promise<void> {
    this.end(new Error("the emulator has ended"));
    await this.worker.terminate();
  }

  private end(reason: Error): void {
    this.over = true;
    this.settleReady.reject(reason);
    for (const { reject } of this.pending.values()) reject(reason);
    this.pending.clear();
  }

  private receive(message: FromWorker): void {
    if (this.over) return;
    if (message.type === "ready") return this.settleReady.resolve(message.medium);
    if (message.type === "failed") return this.end(new Error(message.message));
    if (message.type !== "reply") return this.onMessage(message);
    const waiter = this.pending.get(message.id);
    this.pending.delete(message.id);
    if (message.ok) waiter?.resolve(message.value as never);
    else waiter?.reject(new Error(message.message));
  }
}
