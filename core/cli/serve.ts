import { systemClock, type Clock } from "../base/clock";
import { DisposableStore, toDisposable, type Disposable } from "../base/disposable";
import type { Event } from "../base/emitter";
import { createLog, type Log } from "../base/log";
import { TerrariumError, toErrorData } from "../contract/errors";
import type { Runtime } from "../machine/access";
import type { Readiness } from "../server/spawn";
import { endTemporary } from "./connect";

export interface ServeOptions {
  readonly home: string;
  readonly runtime: Runtime;
  readonly stderr: NodeJS.WritableStream;
  /** End by itself after so long with nothing to do. */
  readonly idleMs?: number;
}

/**
 * Runs a headless host service until it is told to end: by a signal, by `serve --stop`, or by having had nothing to do.
 * Whoever started it as a child with a message channel is told when it listens, or why it does not.
 */
export async function serve(options: ServeOptions): Promise<void> {
  const log = createLog((line) => options.stderr.write(`${line}\n`));
  const resources = new DisposableStore();
  // Whoever read the log, a terminal or a parent, may be gone: machines are not let down for that.
  options.stderr.on("error", () => undefined);
  const ended = endings(resources);
  try {
    // Loaded here, because every other verb is a client and starts quicker without it.
    const [{ createHost }, { serveSocket }] = await Promise.all([import("../machine/index"), import("../server/socket")]);
    const host = await inPlaceOfTemporary(options, log, ended.reason, () =>
      createHost({ home: options.home, servedBy: "headless", endsWhenIdle: options.idleMs !== undefined, runtime: options.runtime, log: log.child("host") }),
    );
    try {
      const socket = resources.add(await serveSocket(host, log.child("socket")));
      resources.add(host.onStopRequested(() => ended.because("it was told to")));
      if (options.idleMs !== undefined) {
        resources.add(
          whenIdle({
            idleMs: options.idleMs,
            onDidChange: [host.onDidChange, socket.onDidChangeClients],
            isBusy: async () => socket.clientCount > 0 || host.liveMachines().length > 0 || (await host.call("job.list", {})).some((job) => job.state === "running"),
            onIdle: () => ended.because("nothing was left to do"),
          }),
        );
      }
      tellStarter({ ready: true });
      log.info(`Serving ${host.home} on ${socket.path}.`);
      log.info(`Ending: ${await ended.reason}.`);
      // The answer to the call that asked for the end is on its way first.
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      resources.dispose();
      await host.close();
    }
  } catch (error) {
    tellStarter({ error: toErrorData(error) });
    throw error;
  } finally {
    resources.dispose();
  }
}

/**
 * Opens the home. One that stays does not stand back for one that was started for a command and would soon end by itself:
 * it asks that one to end, and again when another command was faster.
 */
async function inPlaceOfTemporary<T>({ home, idleMs }: ServeOptions, log: Log, ended: Promise<unknown>, open: () => Promise<T>): Promise<T> {
  for (let turn = 0; ; turn++) {
    try {
      return await open();
    } catch (error) {
      const mayAsk = idleMs === undefined && turn < 5 && error instanceof TerrariumError && error.code === "locked";
      // Who was told to end in the meantime does not go on waiting for another one's jobs.
      if (!mayAsk || !(await Promise.race([endTemporary(home, (line) => log.info(line)), ended.then(() => false)]))) throw error;
    }
  }
}

function tellStarter(readiness: Readiness): void {
  if (process.send === undefined || !process.connected) return;
  process.send(readiness, () => process.connected && process.disconnect());
}

function endings(resources: DisposableStore): { reason: Promise<string>; because(reason: string): void } {
  let because: (reason: string) => void = () => undefined;
  const reason = new Promise<string>((resolve) => (because = resolve));
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    const listener = (): void => because(`${signal} came`);
    process.on(signal, listener);
    resources.add(toDisposable(() => process.off(signal, listener)));
  }
  return { reason, because };
}

export interface IdleWatch {
  readonly idleMs: number;
  /** What may begin or end being busy. */
  readonly onDidChange: readonly Event<unknown>[];
  isBusy(): Promise<boolean>;
  onIdle(): void;
}

/** Calls `onIdle` once nothing was busy for `idleMs` on end. */
export function whenIdle(watch: IdleWatch, clock: Clock = systemClock()): Disposable {
  const resources = new DisposableStore();
  let countdown: Disposable | undefined;
  let turn = 0;
  const look = async (): Promise<void> => {
    const mine = ++turn;
    // A service that cannot be asked is not idle.
    const busy = await watch.isBusy().catch(() => true);
    // A later look has newer news.
    if (mine !== turn || resources.isDisposed) return;
    if (busy) {
      countdown?.dispose();
      countdown = undefined;
    } else countdown ??= clock.schedule(watch.idleMs, () => watch.onIdle());
  };
  const lookSoon = (): void => void look();
  for (const event of watch.onDidChange) resources.add(event(lookSoon));
  resources.add(toDisposable(() => countdown?.dispose()));
  lookSoon();
  return resources;
}
