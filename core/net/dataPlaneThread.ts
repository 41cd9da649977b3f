import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../base/clock";
import { createLog, type Log } from "../base/log";
import { TerrariumError, toErrorData, type ErrorData } from "../contract/errors";
import type { FabricCallName, FabricEvent, FabricInput, FabricOutput } from "./control";
import { DataPlane } from "./dataPlane";
import { openHostPorts } from "./hostPorts";
import { openReactor } from "./io";
import type { SavedLeases } from "./leaseFile";
import { followHostNetworks, hostCards } from "./link/hostCards";
import { rationLines } from "./logRation";
import type { SavedLease } from "./services/dhcp";
import { ResolverFile } from "./services/hostResolver";
import type { Subnet } from "./wire/addresses";

/** What the thread is started with. */
export interface DataPlaneStart {
  readonly runDir: string;
  readonly leases: SavedLeases;
}

/** Calls that the thread answers. */
export type DataPlaneCall = Exclude<FabricCallName, "hello" | "stop">;
type Handlers = { readonly [N in DataPlaneCall]: (input: FabricInput<N>) => Promise<FabricOutput<N>> | FabricOutput<N> };

/** From the main thread. */
export type ToDataPlane = { readonly id: number; readonly call: DataPlaneCall | "connected" | "end"; readonly input: unknown };

/** To the main thread. */
export type FromDataPlane =
  | { readonly type: "ready"; readonly fast: boolean }
  | { readonly type: "log"; readonly line: string }
  | { readonly type: "event"; readonly event: FabricEvent }
  | { readonly type: "leases"; readonly segment: string; readonly leases: readonly SavedLease[] }
  | { readonly type: "answer"; readonly id: number; readonly output: unknown }
  | { readonly type: "answer"; readonly id: number; readonly error: ErrorData };

/** The thread that carries every frame: the wiring of the data plane, and its mailbox. */
export function runDataPlane(): void {
  const port = parentPort;
  if (!port) throw new Error("the data plane runs in a thread of the fabric's");
  const { runDir, leases } = workerData as DataPlaneStart;
  const say = (message: FromDataPlane): void => port.postMessage(message);
  const log: Log = createLog(rationLines((line) => say({ type: "log", line }), systemClock()));
  const io = openReactor({ log: log.child("io") });
  const known = new Map(Object.entries(leases));
  let hostNetworks: readonly Subnet[] = [];
  const following = followHostNetworks(
    io.reactor,
    ({ networks }) => (hostNetworks = networks.map(({ subnet }) => subnet)),
    (error) => log.error("the host's networks cannot be told, and count as they were", error),
  );
  const hostPorts = openHostPorts(io, runDir, log.child("host"));
  const plane = new DataPlane({
    io,
    log,
    hostPorts,
    resolver: new ResolverFile(io.reactor),
    leases: {
      load: (segment) => known.get(segment) ?? [],
      save: (segment, saved) => {
        known.set(segment, saved);
        say({ type: "leases", segment, leases: saved });
      },
    },
    hostNetworks: () => hostNetworks,
    tell: (event) => say({ type: "event", event }),
  });
  const handlers: Handlers = {
    apply: (state) => plane.apply(state),
    leases: ({ segment }) => plane.leases(segment),
    flows: ({ segment }) => plane.flows(segment),
    cutFlow: ({ segment, flow }) => {
      plane.cutFlow(segment, flow);
      return {};
    },
    counters: () => plane.counters(),
    cards: () => hostCards(),
  };
  const perform = async (message: ToDataPlane): Promise<unknown> => {
    if (message.call === "connected") return plane.connectedPorts;
    if (message.call === "end") {
      following.dispose();
      plane.dispose();
      hostPorts.dispose();
      // Resets and last frames are still on their way out.
      await new Promise<void>((resolve) => io.reactor.schedule(0, resolve));
      return {};
    }
    return (handlers[message.call] as (input: unknown) => unknown)(message.input);
  };
  port.on("message", (message: ToDataPlane) => {
    perform(message).then(
      (output) => say({ type: "answer", id: message.id, output }),
      (error: unknown) => {
        if (!(error instanceof TerrariumError)) log.error(`the call ${message.call} failed`, error);
        say({ type: "answer", id: message.id, error: toErrorData(error) });
      },
    );
  });
  io.run();
  say({ type: "ready", fast: io.fast });
}
