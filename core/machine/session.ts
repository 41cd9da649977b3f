import { readFile, rm } from "node:fs/promises";
import { systemClock, type Clock } from "../base/clock";
import { DisposableStore, type Disposable } from "../base/disposable";
import type { ProcessIdentity } from "../base/processes";
import { TerrariumError } from "../contract/errors";
import type { LaunchPlan, MachineSockets } from "../engine/engine";
import { adopt, connectWhenReady, launch, type MachineProcess, type ProcessEnd } from "../engine/machineProcess";
import { QmpClient, type QmpEvent } from "../engine/qmp";
import { isMissing } from "../storage/fileErrors";
import { AgentClient } from "./agentClient";
import { SerialHub } from "./serial";

/** How long a process that has closed its connections may take to end. */
const givingUpMs = 3000;

/** How a run of a machine ended. */
export type SessionEnd =
  /** The guest powered itself off. */
  | { readonly kind: "guest" }
  /** The machine process ended because it was told to. */
  | { readonly kind: "asked" }
  /** Nobody asked. */
  | { readonly kind: "crashed"; readonly reason: string };

const openSocketsMs = 20_000;
/** The first `cont` is answered when the machine has been made, and a slow host may have to compile the emulator's core before. */
const beginMs = 120_000;
/** Longer than the machine process gives its disks to come to rest. */
const quitMs = 20_000;

/**
 * One run of a machine: its process with the connections the host service is the only holder of. It begins with `launch`,
 * or with `attach` when the process was there before us, and it is over when `ended` resolves.
 */
export class Session implements Disposable {
  private readonly store = new DisposableStore();
  private shutdown: QmpEvent | undefined;
  private quitting = false;
  /** Resolves once, when the machine process is gone. */
  readonly ended: Promise<SessionEnd>;

  private constructor(
    readonly process: MachineProcess,
    readonly qmp: QmpClient,
    readonly agent: AgentClient,
    readonly serial: SerialHub,
    clock: Clock,
  ) {
    this.store.add(qmp);
    this.store.add(agent);
    this.store.add(serial);
    this.store.add(
      qmp.onDidEvent((event) => {
        if (event.event !== "SHUTDOWN" || this.shutdown) return;
        this.shutdown = event;
        // A machine process may stop at this point and wait to be ended; one that ends by itself is gone before it can answer.
        if (!this.quitting) void this.endProcess(clock);
      }),
    );
    this.store.add(qmp.onDidClose(() => process.monitorClosed()));
    this.ended = process.ended.then((end) => this.explain(end));
  }

  /**
   * Starts the machine process and connects to it. When it fails or `signal` aborts, no process is left. `serialLog`: the
   * guest goes on where it was saved, and what it wrote to its serial port before is still there to be read.
   * @throws TerrariumError with the reason the process gave up, if it did.
   */
  static async launch(plan: LaunchPlan, sockets: MachineSockets, options: { engineLog: string; signal?: AbortSignal; clock?: Clock; onPid?: (identity: ProcessIdentity) => void; serialLog?: string | undefined }): Promise<Session> {
    const { serialLog } = options;
    await removeSockets(sockets);
    const process = await launch(plan, options.engineLog);
    options.onPid?.(process.identity);
    const gone = process.ended.then((end) => {
      throw new TerrariumError("engine-failed", `The machine process ended before it was ready (${describeEnd(end)}).`, "Its engine log says why.");
    });
    // When the process ends later, nobody waits for this any more.
    gone.catch(() => undefined);
    try {
      return await Session.connect(process, sockets, { ...options, gone }, async (hub) => (serialLog === undefined ? undefined : hub.readLog(serialLog)));
    } catch (error) {
      // A process that gives up closes its connections first; that it gave up says more.
      const isSymptom = error instanceof TerrariumError && error.code === "disconnected";
      const reason = isSymptom ? await untilLate(gone, givingUpMs, options.clock ?? systemClock(), error) : error;
      await process.kill();
      throw reason;
    }
  }

  /**
   * Connects to a machine process that is already there; undefined when it is not.
   * @throws TerrariumError when it does not let itself be reached; it has been ended then.
   */
  static async attach(identity: ProcessIdentity, sockets: MachineSockets, serialLog: string, clock?: Clock): Promise<Session | undefined> {
    const process = await adopt(identity, clock);
    if (!process) return undefined;
    try {
      return await Session.connect(process, sockets, clock ? { clock } : {}, (hub) => hub.readLog(serialLog));
    } catch (error) {
      // A machine that nobody can reach must not go on writing to its disks.
      await process.kill();
      throw error;
    }
  }

  private static async connect(
    process: MachineProcess,
    sockets: MachineSockets,
    options: { timeoutMs?: number; signal?: AbortSignal; gone?: Promise<never>; clock?: Clock },
    beforeSerial: (hub: SerialHub) => Promise<void> = async () => undefined,
  ): Promise<Session> {
    const { timeoutMs = openSocketsMs, clock = systemClock(), ...rest } = options;
    const opened = new DisposableStore();
    try {
      const monitor = connectWhenReady(sockets.monitor, { timeoutMs, clock, ...rest }).then(async (socket) => opened.add(await QmpClient.over(socket, clock)));
      const agent = connectWhenReady(sockets.agent, { timeoutMs, clock, ...rest }).then((socket) => opened.add(new AgentClient(socket, clock)));
      const hub = opened.add(new SerialHub());
      const serial = connectWhenReady(sockets.serial, { timeoutMs, clock, ...rest }).then(async (socket) => {
        // The log first, and the socket paused meanwhile: so nothing is missed between the two.
        await beforeSerial(hub);
        hub.attach(socket);
      });
      const all = [monitor, agent, serial] as const;
      // One failure is reported, when nothing is being opened any more: the others' are the same event seen from other sockets.
      await Promise.allSettled(all);
      const [qmp, client] = await Promise.all(all);
      return new Session(process, qmp, client, hub, clock);
    } catch (error) {
      opened.dispose();
      throw error;
    }
  }

  /** Lets the guest run for the first time. */
  async begin(): Promise<void> {
    await this.qmp.execute("cont", undefined, beginMs);
  }

  /**
   * Ends the machine process in an orderly way: its disks are flushed and closed. It is killed when it does not answer
   * within `answerMs`, and when it has not ended long after it answered.
   */
  async quit(clock: Clock = systemClock(), answerMs = quitMs): Promise<void> {
    this.quitting = true;
    await this.endProcess(clock, answerMs);
  }

  /** The guest has powered off or was told to: nothing it does counts any more. */
  get isEnding(): boolean {
    return this.quitting || this.shutdown !== undefined;
  }

  private async endProcess(clock: Clock, answerMs = quitMs): Promise<void> {
    let limitMs = quitMs;
    try {
      await this.qmp.execute("quit", undefined, answerMs);
    } catch (error) {
      // Disconnected: it has gone already, or soon will. Anything else: it does not listen, and is given no more time.
      if (!(error instanceof TerrariumError)) throw error;
      if (error.code !== "disconnected") limitMs = 0;
    }
    let timer: Disposable | undefined;
    const late = new Promise<"late">((resolve) => (timer = clock.schedule(limitMs, () => resolve("late"))));
    const outcome = await Promise.race([this.ended, late]);
    timer?.dispose();
    if (outcome === "late") await this.process.kill();
    await this.ended;
  }

  /** Lets go of the machine process, which lives on. */
  dispose(): void {
    this.store.dispose();
    this.process.release();
  }

  private explain(end: ProcessEnd): SessionEnd {
    this.dispose();
    if (this.quitting) return { kind: "asked" };
    return this.shutdown ? endOf(this.shutdown.data["reason"]) : { kind: "crashed", reason: `The machine process ended unexpectedly (${describeEnd(end)}).` };
  }
}

/** What `failing` rejects with, or `otherwise` when that takes longer than `ms`. */
async function untilLate(failing: Promise<never>, ms: number, clock: Clock, otherwise: unknown): Promise<unknown> {
  let timer: Disposable | undefined;
  const late = new Promise<unknown>((resolve) => (timer = clock.schedule(ms, () => resolve(otherwise))));
  try {
    return await Promise.race([failing.catch((reason: unknown) => reason), late]);
  } finally {
    timer?.dispose();
  }
}

/** What the reason of QEMU's SHUTDOWN event means for the machine. */
export function endOf(reason: unknown): SessionEnd {
  switch (reason) {
    case "guest-shutdown":
      return { kind: "guest" };
    case "host-qmp-quit":
      return { kind: "asked" };
    case "host-signal":
      return { kind: "crashed", reason: "The machine process was told to end by a signal; its disks were closed, but its guest was not shut down." };
    default:
      return { kind: "crashed", reason: `The machine process gave up (${typeof reason === "string" ? reason.slice(0, 100) : "no reason given"}).` };
  }
}

/** How the last machine process of a run directory ended, as far as it could say; a process that was killed could not. */
export async function recordedEnd(sockets: MachineSockets): Promise<SessionEnd | undefined> {
  let text: string;
  try {
    text = await readFile(sockets.endFile, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const reason = /"reason":"([a-z-]{1,40})"/.exec(text)?.[1];
  return reason === undefined ? undefined : endOf(reason);
}

/** Removes what an earlier run left where the next one will listen. */
export async function removeSockets(sockets: MachineSockets): Promise<void> {
  const paths = [sockets.monitor, sockets.display, sockets.serial, sockets.agent, sockets.pidFile, sockets.endFile, ...sockets.nets];
  await Promise.all(paths.map((path) => rm(path, { force: true })));
}

export function describeEnd(end: ProcessEnd): string {
  if (end.signal !== undefined) return `ended by ${end.signal}`;
  return end.code === undefined ? "it is gone" : `exit code ${end.code}`;
}
