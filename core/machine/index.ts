import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { Event } from "../base/emitter";
import type { Log } from "../base/log";
import type { MachineConfig } from "../contract/model";
import type { HostEvent, ProcedureName, ProcedureOutput, StreamRequest } from "../contract/procedures";
import { EngineTable } from "../engine/engine";
import { qemuEngine } from "../engine/qemu";
import { v86Engine } from "../engine/v86Argv";
import { preBootedStates } from "./equipment";
import { openHome } from "./home";
import type { Runtime } from "./runtime";
import { Service } from "./service";
import { readStarter } from "./starter";

export { HomeLockedError } from "./lock";
export { resolveHome } from "./home";
export { resolveRuntime, type Runtime } from "./runtime";

/** The process that owns the machines of a home, as those see it that serve it to others. */
export interface HostService {
  /** The home's real path. */
  readonly home: string;
  readonly runDir: string;
  readonly servedBy: "app" | "headless";
  /** Checks the input and answers. @throws TerrariumError. */
  call<N extends ProcedureName>(name: N, input: unknown): Promise<ProcedureOutput<N>>;
  readonly onDidChange: Event<HostEvent>;
  openStream(request: StreamRequest): Promise<Duplex>;
  liveMachines(): { id: string; name: string }[];
  /** Someone has asked a headless host service to end. */
  readonly onStopRequested: Event<void>;
  /** Gives the lock and the connections back; machine processes live on. */
  close(): Promise<void>;
}

/**
 * Opens a home and serves it.
 * @throws HomeLockedError when another host service has it; TerrariumError else.
 */
export async function createHost(options: { home: string; servedBy: "app" | "headless"; endsWhenIdle?: boolean; runtime: Runtime; log: Log }): Promise<HostService> {
  const { servedBy, endsWhenIdle = false, runtime, log } = options;
  const home = await openHome(options.home, { servedBy, endsWhenIdle });
  const service = new Service(home, servedBy, runtime, log);
  try {
    await service.open();
  } catch (error) {
    await service.close();
    await home.release();
    throw error;
  }
  return {
    home: home.path,
    runDir: home.runDir,
    servedBy,
    call: async <N extends ProcedureName>(name: N, input: unknown) => (await service.call(name, input)) as ProcedureOutput<N>,
    onDidChange: service.onDidChange,
    openStream: (request) => service.openStream(request),
    liveMachines: () => service.liveMachines(),
    onStopRequested: service.onStopRequested,
    async close() {
      await service.close();
      await home.release();
    },
  };
}

/** The hardware that the wizard and `terrarium create` give a machine with the starter guest; its state is made at set-up. */
export const defaultStarterMemoryMiB = 256;
const defaultStarterDisks = 1;

/**
 * Makes the pre-booted state for the default starter machine beside the guest, and removes states of other builds. Does
 * nothing when it is there. The guest must have been built.
 */
export async function prepareDefaultState(runtime: Runtime, log: Log, signal: AbortSignal = new AbortController().signal): Promise<void> {
  const starter = await readStarter(runtime.guestDir);
  const engines = new EngineTable(v86Engine(runtime), qemuEngine());
  const states = await preBootedStates(runtime, starter, engines, { target: join(runtime.guestDir, "states"), background: false }, log);
  await states.removeStale();
  const config: MachineConfig = {
    version: 1,
    id: "00000000-0000-4000-8000-000000000000",
    name: "starter",
    createdAt: 0,
    engine: "v86",
    memoryMiB: defaultStarterMemoryMiB,
    cpus: 1,
    boot: { kind: "starter" },
    disks: Array.from({ length: defaultStarterDisks }, (_, index) => ({ id: `disk${index}`, sizeBytes: 512, layers: [{ file: `disks/disk${index}.raw`, format: "raw" as const }] })),
    drives: [{ id: "cd0", medium: null }],
    adapters: [],
  };
  await states.prepare(config, signal, (detail) => log.info(detail));
}
