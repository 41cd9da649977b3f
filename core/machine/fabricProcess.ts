import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { Clock } from "../base/clock";
import { DisposableStore, type Disposable } from "../base/disposable";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { TerrariumError, toErrorData, type ErrorData } from "../contract/errors";
import { adopt, connectWhenReady, launch, type MachineProcess } from "../engine/machineProcess";
import type { FabricEvent, FabricHello, FabricState, FabricStatus } from "../net/control";
import { writeFileAtomically } from "../storage/atomicFile";
import { isMissing } from "../storage/fileErrors";
import { FabricClient } from "./fabricClient";
import { isIdle } from "./fabricState";
import { capLog } from "./logCap";
import type { Runtime } from "./runtime";

/*
 * Theory of operation. The fabric is a process that outlives us: it is found again by its socket, and while nobody is
 * there it goes on with what it was told last. Here it is told how everything is to be, each time something changes, and
 * started when there is something to do and none runs. When it dies it is started again, after ever longer pauses, and
 * told the same word: every machine is plugged again, and only what passed the NAT is lost. When there is nothing to do
 * any more it is told to end.
 */

const startMs = 20_000;
/** A fabric that is asked something has other work; this is generous. */
const answerMs = 30_000;
const heartbeatMs = 20_000;
const backOffMs = { first: 250, longest: 30_000 };
/** A fabric that lived this long was a good one. */
const steadyMs = 60_000;

export interface FabricOptions {
  readonly runtime: Pick<Runtime, "node" | "env" | "fabric">;
  /** Where sockets lie. */
  readonly runDir: string;
  /** The home's path. */
  readonly home: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The connection, with what the fabric said of itself. */
interface Held {
  readonly client: FabricClient;
  readonly hello: FabricHello;
  readonly since: number;
}

export class FabricProcess implements Disposable {
  private readonly store = new DisposableStore();
  private held: Held | undefined;
  private wanted: FabricState | undefined;
  /** What the fabric was told last, as text. */
  private applied = "";
  private lastStatus: FabricStatus | undefined;
  private lastProblem: ErrorData | undefined;
  private running: Promise<unknown> = Promise.resolve();
  private next: Promise<void> | undefined;
  private retry: Disposable | undefined;
  private retryMs = backOffMs.first;
  private heart: Disposable | undefined;
  private process: MachineProcess | undefined;
  private readonly changeEmitter = new Emitter<void>();
  private readonly refusedEmitter = new Emitter<Extract<FabricEvent, { event: "refused" }>>();
  private readonly restartEmitter = new Emitter<void>();
  /** `status` or `problem` would answer something else now. */
  readonly onDidChange: Event<void> = this.changeEmitter.event;
  /** Somebody knocked in vain at a port forward. */
  readonly onDidRefuse: Event<Extract<FabricEvent, { event: "refused" }>> = this.refusedEmitter.event;
  /** A fabric that had died was replaced, and everything is plugged again. */
  readonly onDidRestart: Event<void> = this.restartEmitter.event;

  constructor(private readonly options: FabricOptions) {
    this.store.add({ dispose: () => this.retry?.dispose() });
    this.store.add({ dispose: () => this.heart?.dispose() });
    for (const emitter of [this.changeEmitter, this.refusedEmitter, this.restartEmitter]) this.store.add(emitter);
  }

  /** How everything is; undefined while no fabric is there. */
  get status(): FabricStatus | undefined {
    return this.lastStatus;
  }

  /** Why there is no fabric although there should be one. */
  get problem(): ErrorData | undefined {
    return this.lastProblem;
  }

  /** What the fabric that is there said of itself. */
  get hello(): FabricHello | undefined {
    return this.held?.hello;
  }

  get pid(): number | undefined {
    return this.held?.hello.pid;
  }

  private get socketPath(): string {
    return fabricSocketPath(this.options.runDir);
  }

  private get identityPath(): string {
    return join(this.options.runDir, "fabric.json");
  }

  private get logFile(): string {
    return join(this.options.home, "logs", "fabric.log");
  }

  /** Looks for a fabric that an earlier host service has left; answers how it was told everything should be. */
  async find(): Promise<FabricState | undefined> {
    const held = await this.attach();
    if (!held) return undefined;
    this.hold(held);
    return held.hello.state;
  }

  /**
   * Says how everything is to be from now on. Resolves when it is so, as far as it can be; what cannot is in the status.
   * @throws TerrariumError when the fabric cannot be started or reached; it is tried again all the same
   */
  want(state: FabricState): Promise<void> {
    this.wanted = isIdle(state) ? undefined : state;
    // At most one works and one waits: the latest word counts.
    this.next ??= this.running.then(() => {
      this.next = undefined;
      return this.reconcile();
    });
    const mine = this.next;
    this.running = mine.catch(() => undefined); // Whoever asked hears of it, and `problem` says it.
    return mine;
  }

  /** Asks the fabric that is there. Undefined when there is none. */
  async ask<T>(question: (client: FabricClient) => Promise<T>): Promise<T | undefined> {
    return this.held ? question(this.held.client) : undefined;
  }

  /** Lets go of the fabric, which goes on. */
  dispose(): void {
    this.store.dispose();
    this.held?.client.dispose();
    this.held = undefined;
    this.process?.release();
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    await this.running;
  }

  private async reconcile(): Promise<void> {
    if (this.store.isDisposed) return;
    const { wanted } = this;
    if (wanted === undefined) return this.end();
    const text = JSON.stringify(wanted);
    try {
      const held = this.held ?? this.hold((await this.attach()) ?? (await this.start()));
      if (text !== this.applied) {
        const status = await held.client.call("apply", wanted, answerMs);
        if (this.held !== held) return;
        this.applied = text;
        this.changed(status, undefined);
      }
    } catch (error) {
      if (this.store.isDisposed) return;
      this.options.log.error("the network fabric could not be told what to do", error);
      this.changed(this.lastStatus, toErrorData(error));
      this.tryAgain();
      throw error;
    }
  }

  private changed(status: FabricStatus | undefined, problem: ErrorData | undefined): void {
    const differs = JSON.stringify([status, problem]) !== JSON.stringify([this.lastStatus, this.lastProblem]);
    this.lastStatus = status;
    this.lastProblem = problem;
    if (differs) this.changeEmitter.fire();
  }

  /** Later, and ever later while it does not work. */
  private tryAgain(): void {
    if (this.wanted === undefined || this.store.isDisposed) return;
    this.retry?.dispose();
    this.retry = this.options.clock.schedule(this.retryMs, () => {
      if (this.wanted) this.want(this.wanted).catch(() => undefined); // `problem` says it.
    });
    this.retryMs = Math.min(this.retryMs * 2, backOffMs.longest);
  }

  private hold(held: Held): Held {
    const { client } = held;
    if (this.store.isDisposed) {
      client.dispose();
      return held;
    }
    this.held = held;
    // Whatever it was told by others: it hears our word first.
    this.applied = "";
    client.onDidEvent((event) => {
      if (event.event === "refused") this.refusedEmitter.fire(event);
      else if (this.held === held) this.changed(event.status, this.lastProblem);
    });
    client.onDidClose((because) => this.lost(held, because));
    if (client.isClosed) this.lost(held, "it has ended");
    else this.beat(held);
    return held;
  }

  private lost(held: Held, because: string): void {
    if (this.held !== held) return;
    const { clock, log } = this.options;
    this.held = undefined;
    this.heart?.dispose();
    if (clock.monotonic() - held.since >= steadyMs) this.retryMs = backOffMs.first;
    log.warn(`the network fabric (process ${held.hello.pid}) is gone: ${because}`);
    const isNeeded = this.wanted !== undefined;
    this.changed(undefined, isNeeded ? { code: "disconnected", message: "The network fabric has ended unexpectedly and is started again.", remedy: "logs/fabric.log in the home says more." } : undefined);
    if (!isNeeded) return;
    this.tryAgain();
    this.restartEmitter.fire();
  }

  /** One that does not answer any more is ended, and another one takes its place. */
  private beat(held: Held): void {
    this.heart = this.options.clock.schedule(heartbeatMs, () => {
      const check = async (): Promise<void> => {
        await this.capLog();
        await held.client.call("counters", {}, answerMs);
      };
      check().then(
        () => this.held === held && this.beat(held),
        (error: unknown) => {
          if (this.held !== held) return;
          this.options.log.error("the network fabric does not answer", error);
          void this.endHung().finally(() => held.client.dispose());
          this.lost(held, "it does not answer");
        },
      );
    });
  }

  /** The fabric that listens already, if it is one to be used. */
  private async attach(): Promise<Held | undefined> {
    const { clock, log } = this.options;
    const client = await FabricClient.connect(this.socketPath, clock);
    if (!client) return undefined;
    try {
      const hello = await client.call("hello", {}, answerMs);
      const isOurs = hello.build === (await this.build());
      // One of another build goes on while guests depend on it.
      if (isOurs || hello.state.ports.length > 0) return { client, hello, since: clock.monotonic() };
      log.info(`the network fabric (process ${hello.pid}) is of another build and is replaced`);
      await client.call("stop", {}, answerMs);
    } catch (error) {
      log.warn(`the network fabric that is there cannot be used: ${toErrorData(error).message}`);
      await this.endHung();
    }
    client.dispose();
    await this.gone();
    return undefined;
  }

  private async start(): Promise<Held> {
    const { runtime, runDir, home, clock, log } = this.options;
    // One that runs without its socket file, as when somebody has cleaned the folder, would keep its ports and its machines.
    await this.endHung();
    await rm(this.socketPath, { force: true });
    const args = [runtime.fabric, "--run-dir", runDir, "--leases", join(home, "leases.json"), "--build", await this.build()];
    await this.capLog();
    const env: Record<string, string> = { ...runtime.env };
    // How it is to be run is for people to choose, beside what every process of ours may know.
    const { TERRARIUM_FABRIC: kind } = process.env;
    if (kind !== undefined) env.TERRARIUM_FABRIC = kind;
    const started = await launch({ command: runtime.node, args, env }, this.logFile);
    this.process = started;
    await writeFileAtomically(this.identityPath, JSON.stringify(started.identity));
    const gone = started.ended.then((end) => {
      throw new TerrariumError("engine-failed", `The network fabric ended before it was ready (${end.signal ?? `exit code ${end.code}`}).`, "logs/fabric.log in the home says why.");
    });
    gone.catch(() => undefined); // When it ends later, its connection says so.
    try {
      const client = new FabricClient(await connectWhenReady(this.socketPath, { timeoutMs: startMs, gone, clock }), clock);
      const hello = await client.call("hello", {}, answerMs);
      log.info(`the network fabric is process ${hello.pid}${hello.fast ? "" : ", without its fast loop"}`);
      return { client, hello, since: clock.monotonic() };
    } catch (error) {
      await started.kill();
      throw error;
    }
  }

  private async end(): Promise<void> {
    const { held } = this;
    if (!held) return;
    this.held = undefined;
    this.heart?.dispose();
    this.changed(undefined, undefined);
    try {
      await held.client.call("stop", {}, answerMs);
      await this.gone();
    } catch (error) {
      // It has ended before it could answer, or will not: both end the same way.
      this.options.log.info(`the network fabric was told to end: ${toErrorData(error).message}`);
      await this.endHung();
    }
    held.client.dispose();
  }

  /** Never rejects: a log that is too long, on a disk that is full, is no reason to be without the fabric. */
  private async capLog(): Promise<void> {
    try {
      await capLog(this.logFile);
    } catch (error) {
      this.options.log.warn(`the network fabric's log has grown too long and could not be begun anew: ${toErrorData(error).message}`);
    }
  }

  /** Ends the fabric that was started last, whoever started it. */
  private async endHung(): Promise<void> {
    const process = await this.recorded();
    await process?.kill();
  }

  /** Waits until the fabric that was told to end is gone. */
  private async gone(): Promise<void> {
    const process = await this.recorded();
    process?.monitorClosed();
    await process?.ended;
  }

  private async recorded(): Promise<MachineProcess | undefined> {
    try {
      return await adopt(Identity.parse(JSON.parse(await readFile(this.identityPath, "utf8"))), this.options.clock);
    } catch (error) {
      if (isMissing(error)) return undefined;
      this.options.log.warn(`the record of the network fabric's process cannot be read: ${String(error)}`);
      return undefined;
    }
  }

  private buildText: Promise<string> | undefined;

  private build(): Promise<string> {
    return (this.buildText ??= buildOf(this.options.runtime.fabric));
  }
}

const Identity = z.object({ pid: z.number().int().positive(), start: z.string().optional() });

/** Where the fabric listens. */
export function fabricSocketPath(runDir: string): string {
  return join(runDir, "fabric.sock");
}

/** What tells one build of the fabric from another. */
async function buildOf(bundle: string): Promise<string> {
  return createHash("sha256").update(await readFile(bundle)).digest("hex").slice(0, 16);
}
