import { mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "../../../core/base/log";
import type { MachineInfo, MachineSpecInput } from "../../../core/contract/model";
import { createHost, defaultStarterMemoryMiB, prepareDefaultState, resolveRuntime, type HostService, type Runtime } from "../../../core/machine/index";
import { checkout } from "../../support/emulatorProcess";
import { processorSeconds } from "./processes";
import { say } from "./report";

/** What the wizard makes when nothing is changed in it. */
export const starterSpec: Omit<MachineSpecInput, "name"> = {
  memoryMiB: defaultStarterMemoryMiB,
  boot: { kind: "starter" },
  disks: [{ sizeBytes: 2 * 1024 ** 3 }],
  adapters: [{ attachment: { mode: "none" } }],
};

export function benchRuntime(): Runtime {
  return resolveRuntime(join(checkout, "out"), process);
}

/** Makes the default pre-booted state when it is missing, as the set-up does. */
export async function prepareStarter(): Promise<void> {
  await prepareDefaultState(benchRuntime(), createLog((line) => say(line)));
}

/** How one start went, milliseconds since it was asked for. */
export interface StartTimes {
  /** The machine process runs and its sockets are connected. */
  readonly process: number | undefined;
  /** The state is loaded and the guest's processor runs. */
  readonly running: number | undefined;
  /** The start's job has ended: the guest knows who it is. */
  readonly job: number;
  readonly agent: number;
  /** A command has been answered through the agent. */
  readonly answered: number;
  readonly startedFrom: string | undefined;
  /** Processor time of the machine process until then: what a start costs where other programs take turns on the cores. */
  readonly processor: number;
}

/** A host service on a home of its own, and what benches do with its machines. */
export class BenchHost {
  private constructor(
    readonly service: HostService,
    private readonly folder: string,
    private readonly lines: string[],
  ) {}

  static async open(): Promise<BenchHost> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "tb-")));
    const lines: string[] = [];
    const service = await createHost({ home: join(folder, "home"), servedBy: "headless", runtime: benchRuntime(), log: createLog((line) => lines.push(line)) });
    return new BenchHost(service, folder, lines);
  }

  /** The host service's log so far. */
  get log(): string {
    return this.lines.join("\n");
  }

  async create(spec: MachineSpecInput): Promise<string> {
    const { id, job } = await this.service.call("machine.create", { spec });
    await this.finishJob(job.id);
    return id;
  }

  /** Starts a machine and waits until a command was answered in it. */
  async start(id: string): Promise<StartTimes> {
    const began = performance.now();
    const since = (): number => performance.now() - began;
    const seen: { process?: number; running?: number; startedFrom?: string } = {};
    const listening = this.service.onDidChange((event) => {
      if (event.type !== "machine" || event.machine.id !== id) return;
      if (event.machine.startedFrom !== undefined) {
        seen.process ??= since();
        seen.startedFrom = event.machine.startedFrom;
      }
      if (event.machine.state === "running") seen.running ??= since();
    });
    try {
      const { job } = await this.service.call("machine.start", { id });
      await this.finishJob(job.id);
      const ended = since();
      await this.until(id, (machine) => machine.guest.agent === "answering");
      const agent = since();
      const result = await this.service.call("machine.exec", { id, command: "true" });
      if (result.exitCode !== 0) throw new Error(`true ended with ${String(result.exitCode)} in the guest: ${result.stderr}`);
      const answered = since();
      const processor = processorSeconds(await this.pid(id)) * 1000;
      return { process: seen.process, running: seen.running, job: ended, agent, answered, startedFrom: seen.startedFrom, processor };
    } finally {
      listening.dispose();
    }
  }

  async shutdown(id: string): Promise<void> {
    const { job } = await this.service.call("machine.shutdown", { id });
    await this.finishJob(job.id);
  }

  async powerOff(id: string): Promise<void> {
    await this.service.call("machine.powerOff", { id });
    await this.until(id, (machine) => machine.state === "off");
  }

  /** Waits until the machine is as wanted; fails when it crashes before. */
  async until(id: string, accepts: (machine: MachineInfo) => boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (machine: MachineInfo): void => {
        if (machine.state === "crashed" && !accepts(machine)) {
          listening.dispose();
          reject(new Error(`the machine crashed: ${machine.problem?.message ?? "no reason given"}`));
        }
        if (!accepts(machine)) return;
        listening.dispose();
        resolve();
      };
      const listening = this.service.onDidChange((event) => {
        if (event.type === "machine" && event.machine.id === id) look(event.machine);
      });
      this.service.call("machine.get", { id }).then(look, reject);
    });
  }

  /** The process the machine runs in. */
  async pid(id: string): Promise<number> {
    return Number(await readFile(join(this.service.runDir, "m", id.slice(0, 8), "pid"), "utf8"));
  }

  /** Cancels the jobs of `kind`, such as work that the host service does for later and that would be measured along. */
  async cancel(kind: string): Promise<void> {
    for (const job of await this.service.call("job.list", {})) {
      if (job.kind !== kind || job.state !== "running") continue;
      await this.service.call("job.cancel", { id: job.id });
      await this.service.call("job.wait", { id: job.id });
    }
  }

  /** Waits for a job, and fails with what it failed with. */
  async finishJob(jobId: string): Promise<void> {
    const job = await this.service.call("job.wait", { id: jobId });
    if (job.state !== "done") throw new Error(`${job.title} ended as ${job.state}: ${job.error?.message ?? ""}\n${this.lines.slice(-30).join("\n")}`);
  }

  /** Ends every machine and removes the home. */
  async close(): Promise<void> {
    for (const { id } of this.service.liveMachines()) await this.powerOff(id);
    const { runDir } = this.service;
    await this.service.close();
    await rm(runDir, { recursive: true, force: true });
    await rm(this.folder, { recursive: true, force: true });
  }
}
