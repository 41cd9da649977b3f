import { join } from "node:path";
import { parseArgs } from "node:util";
import { isMainThread, Worker } from "node:worker_threads";
import { systemClock } from "../base/clock";
import { createLog } from "../base/log";
import { TerrariumError } from "../contract/errors";
import type { FabricState } from "./control";
import { serveControl, type ControlServer, type FabricHandlers } from "./controlServer";
import { runDataPlane, type DataPlaneCall, type DataPlaneStart, type FromDataPlane, type ToDataPlane } from "./dataPlaneThread";
import { LeaseFile } from "./leaseFile";

/*
 * The fabric's process. Its main thread serves the control socket and keeps the leases on the disk; a thread beside it,
 * the data plane, carries every frame and waits for nothing else. The process outlives the host service that started it
 * and goes on with what it was told last. It ends when it is told to, or when for a while neither a host service nor a
 * machine was there.
 */

/** Between two looks whether anybody needs the fabric, and how many of them must say no. */
const lookMs = 10_000;
const looksBeforeEnd = 3;
const endMs = 5000;

/** The data plane's thread, as the main thread sees it. */
class DataPlaneHandle {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  private lastId = 0;
  readonly ready: Promise<{ fast: boolean }>;

  constructor(start: DataPlaneStart, hear: (message: FromDataPlane) => void, failed: (error: unknown) => void) {
    this.worker = new Worker(__filename, { workerData: start });
    let isReady: (value: { fast: boolean }) => void = () => undefined;
    this.ready = new Promise((resolve) => (isReady = resolve));
    this.worker.on("message", (message: FromDataPlane) => {
      if (message.type === "ready") isReady(message);
      else if (message.type === "answer") this.settle(message);
      else hear(message);
    });
    this.worker.on("error", failed);
    this.worker.on("exit", (code) => failed(new Error(`the data plane ended with code ${code}`)));
  }

  ask(call: DataPlaneCall | "connected" | "end", input: unknown): Promise<unknown> {
    const id = ++this.lastId;
    const message = { id, call, input } as ToDataPlane;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage(message);
    });
  }

  private settle(message: Extract<FromDataPlane, { type: "answer" }>): void {
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if ("error" in message) waiting?.reject(TerrariumError.fromData(message.error));
    else waiting?.resolve(message.output);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { "run-dir": { type: "string" }, leases: { type: "string" }, build: { type: "string" } } });
  const { "run-dir": runDir, leases: leasesPath, build } = values;
  if (runDir === undefined || leasesPath === undefined || build === undefined) throw new Error("the fabric is started with --run-dir, --leases and --build");
  const log = createLog((line) => process.stdout.write(`${line}\n`));
  const clock = systemClock();
  const leases = new LeaseFile(leasesPath, clock, log);
  let control: ControlServer | undefined = undefined;
  let ending = false;
  const plane = new DataPlaneHandle(
    { runDir, leases: await leases.load() },
    (message) => {
      if (message.type === "log") process.stdout.write(`${message.line}\n`);
      else if (message.type === "leases") leases.save(message.segment, message.leases);
      else if (message.type === "event") control?.tell(message.event);
    },
    (error) => {
      if (ending) return;
      log.error("the data plane has failed", error);
      process.exit(1);
    },
  );
  const { fast } = await plane.ready;
  let state: FabricState = { segments: [], ports: [], forwards: [] };
  const ask = <N extends DataPlaneCall>(call: N): FabricHandlers[N] => ((input: unknown) => plane.ask(call, input)) as FabricHandlers[N];
  const end = async (because: string): Promise<void> => {
    if (ending) return;
    ending = true;
    log.info(`ending: ${because}`);
    clock.schedule(endMs, () => process.exit(1));
    await plane.ask("end", {});
    await leases.settled();
    control?.dispose();
    process.exit(0);
  };
  const handlers: FabricHandlers = {
    hello: async () => ({ build, pid: process.pid, fast, state }),
    apply: async (wanted) => {
      state = wanted;
      return ask("apply")(wanted);
    },
    leases: ask("leases"),
    flows: ask("flows"),
    cutFlow: ask("cutFlow"),
    counters: ask("counters"),
    cards: ask("cards"),
    stop: async () => {
      // The answer is on its way first.
      clock.schedule(0, () => void end("it was told to"));
      return {};
    },
  };
  const server = await serveControl(join(runDir, "fabric.sock"), handlers, log.child("control"), (here) => log.info(here ? "a host service has come" : "the host service has gone"));
  control = server;
  log.info(`the fabric is there${fast ? "" : ", without its fast loop"}`);
  // A terminal that is closed is no reason to let guests down.
  process.on("SIGHUP", () => undefined);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void end(`${signal} came`));
  let unneeded = 0;
  const look = (): void => {
    clock.schedule(lookMs, () => {
      void (async () => {
        unneeded = server.isAttended || (await plane.ask("connected", {})) !== 0 ? 0 : unneeded + 1;
        if (unneeded >= looksBeforeEnd) await end("nobody needs it");
        else look();
      })();
    });
  };
  look();
}

if (isMainThread) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  });
} else runDataPlane();
