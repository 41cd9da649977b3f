import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, readFileSync } from "node:fs";
import { lstat, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { silentLog } from "../../core/base/log";
import { systemClock } from "../../core/base/clock";
import type { MachineConfig, MachineState } from "../../core/contract/model";
import { Jobs } from "../../core/machine/jobs";
import type { Machine } from "../../core/machine/machine";
import { Registry } from "../../core/machine/registry";
import { savedFacts } from "../../core/machine/saved";
import { Snapshots } from "../../core/machine/snapshots";
import { readSnapshots } from "../../core/machine/snapshotFile";
import { Steps, type NumberedStep, type StepHook } from "../../core/storage/steps";
import { makeConfig } from "./machineConfig";

/*
 * A home with one machine that never runs, and its snapshots, without a host service around them: for stopping the world at
 * every step. What disks hold is told by qemu-img, which follows the names in the images, and by their hash.
 */

export const machineId = "0123abcd-1111-4111-8111-1122334455ff";
const diskBytes = 256 * 1024;
const engine = { id: "qemu", live: {}, info: { id: "qemu", label: "QEMU", available: true, capabilities: { snapshots: "live" } } };

export class SnapshotWorld {
  readonly jobs = new Jobs(systemClock());
  private constructor(
    readonly home: string,
    readonly registry: Registry,
    readonly snapshots: Snapshots,
    readonly machine: Machine,
  ) {}

  /** Opens the home as a host service does: what a crash has left is put in order. */
  static async open(home: string, hook?: StepHook): Promise<SnapshotWorld> {
    for (const name of ["machines", "trash", "kept-disks"]) await mkdir(join(home, name), { recursive: true });
    const steps = new Steps(hook);
    const registry = new Registry({ machinesDir: join(home, "machines"), trashDir: join(home, "trash"), keptDisksDir: join(home, "kept-disks"), log: silentLog, now: () => 5000, ...(steps.faults ? { faults: steps.faults } : {}) });
    await registry.open();
    const machine = stillMachine(registry);
    const jobs = new Jobs(systemClock());
    const snapshots = new Snapshots({ registry, jobs, clock: systemClock(), log: silentLog, steps, machine: () => machine, enginesKnown: async () => undefined, changed: () => undefined });
    const world = new SnapshotWorld(home, registry, snapshots, machine);
    Object.assign(world, { jobs });
    if (registry.has(machineId)) await snapshots.recover(machine);
    await snapshots.recoverTrash();
    return world;
  }

  get folder(): string {
    return this.registry.get(machineId).folder;
  }

  get config(): MachineConfig {
    const { config, problem } = this.registry.get(machineId);
    if (!config) throw new Error(problem?.message);
    return config;
  }

  /** Makes the machine: two disks, variables, a picture. */
  async make(): Promise<void> {
    const disks = ["disk0", "disk1"].map((id) => ({ id, sizeBytes: diskBytes, layers: [{ file: `disks/${id}/0.raw`, format: "raw" as const }] }));
    await this.registry.create(makeConfig({ id: machineId, name: "m", engine: "qemu", disks }), async (folder) => {
      for (const { id } of disks) {
        await mkdir(join(folder, "disks", id), { recursive: true });
        await writeFile(join(folder, "disks", id, "0.raw"), Buffer.alloc(diskBytes, id));
      }
      await mkdir(join(folder, "nvram"));
      await writeFile(join(folder, "screenshot.png"), "a picture");
    });
    await this.write(1);
  }

  /** Makes the machine hold something else: on both disks, in its variables, and in its memory when it has any. */
  async write(value: number): Promise<void> {
    for (const { layers } of this.config.disks) {
      const top = layers[layers.length - 1];
      if (top) execFileSync("qemu-io", ["-f", top.format, "-c", `write -P ${value} ${value * 4096} 4096`, join(this.folder, top.file)]);
    }
    await writeFile(join(this.folder, "nvram", "variables.qcow2"), `variables ${value}`);
  }

  /** Saves the machine, with this as its memory. */
  async save(memory: string): Promise<void> {
    await mkdir(join(this.folder, "saved"), { recursive: true });
    await writeFile(join(this.folder, "saved", "saved.json"), JSON.stringify(savedFacts(this.config, { id: "qemu", facts: {} }, { savedAt: 1, identified: true })));
    await writeFile(join(this.folder, "saved", "state"), memory);
  }

  async take(name: string): Promise<void> {
    await this.jobs.finish((await this.snapshots.take({ id: machineId, name })).job.id);
  }

  async restore(name: string, keep?: string): Promise<void> {
    await this.jobs.finish((await this.snapshots.restore({ id: machineId, snapshot: await this.idOf(name), ...(keep === undefined ? {} : { keep }) })).job.id);
  }

  async delete(name: string): Promise<void> {
    await this.snapshots.remove({ id: machineId, snapshot: await this.idOf(name) });
  }

  async undelete(): Promise<void> {
    for (const entry of await this.registry.listTrash()) await this.snapshots.undelete(entry);
  }

  async purge(): Promise<void> {
    for (const entry of await this.registry.listTrash()) await this.snapshots.purge(entry, new AbortController().signal);
  }

  async idOf(name: string): Promise<string> {
    const found = (await this.snapshots.tree(machineId)).snapshots.find((snapshot) => snapshot.name === name);
    if (!found) throw new Error(`there is no snapshot ${name}`);
    return found.id;
  }

  /** What each snapshot, also in the trash, and the machine as it is now hold: disks, variables, memory. */
  async contents(): Promise<Map<string, string>> {
    const found = new Map<string, string>([["now", await this.contentOf(this.config, this.folder, "saved/state")]]);
    for (const { record, folder } of await readSnapshots(this.folder)) if (record) found.set(record.name, await this.contentOf(record.config, folder, "state"));
    return found;
  }

  private async contentOf(config: MachineConfig, place: string, state: string): Promise<string> {
    const disks = config.disks.map(({ layers }) => {
      const top = layers[layers.length - 1];
      return once(layers.map(({ file }) => join(this.folder, file)), "content", () => {
        const raw = join(this.home, "converted");
        execFileSync("qemu-img", ["convert", "-f", top?.format ?? "raw", "-O", "raw", join(this.folder, top?.file ?? ""), raw]);
        return createHash("sha256").update(readFileSync(raw)).digest("hex").slice(0, 16);
      });
    });
    return JSON.stringify({ disks, variables: await textOf(join(place, "nvram", "variables.qcow2")), memory: await textOf(join(place, state)) });
  }

  /** What is wrong with the home's files: layers that nothing names, or that are named and missing, or not whole, and what should not lie there. */
  async faults(): Promise<string[]> {
    const faults: string[] = [];
    const named = new Set<string>();
    const name = (config: MachineConfig): void => config.disks.forEach(({ layers }) => layers.forEach(({ file }) => named.add(resolve(this.folder, file))));
    name(this.config);
    for (const { record, id } of await readSnapshots(this.folder)) {
      if (record) name(record.config);
      else faults.push(`the snapshot ${id} cannot be used`);
    }
    for (const entry of await this.registry.listTrash()) {
      const read: unknown = JSON.parse(await readFile(join(entry.folder, "snapshot.json"), "utf8"));
      name((read as { config: MachineConfig }).config);
    }
    for (const file of await filesBelow(join(this.folder, "disks"))) if (!named.has(file)) faults.push(`nothing names ${file}`);
    for (const file of named) {
      try {
        if (file.endsWith(".qcow2")) once([file], "check", () => execFileSync("qemu-img", ["check", "-q", file], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
        else await lstat(file);
      } catch (error) {
        faults.push(`${file}: ${String(error)}`);
      }
    }
    for (const top of await readdir(this.folder)) if (!["machine.json", "disks", "snapshots", "nvram", "saved", "screenshot.png", "logs"].includes(top)) faults.push(`${top} lies in the machine's folder`);
    for (const entry of await readdir(join(this.home, "trash"))) if (entry.startsWith(".")) faults.push(`${entry} lies in the trash`);
    return faults;
  }
}

const judged = new Map<string, string>();

/** Asks qemu-img about files once: they are copied again and again, and most are the same each time. */
function once(files: readonly string[], question: string, ask: () => string): string {
  const key = JSON.stringify([question, ...files.map((file) => [file, lstatSync(file).mtimeMs, lstatSync(file).size])]);
  const answer = judged.get(key) ?? ask();
  judged.set(key, answer);
  return answer;
}

/** A hook that stops the world at the step of this number: it does not happen, nor does any after it. */
export function stoppingAt(number: number): { readonly hook: StepHook; readonly steps: NumberedStep[] } {
  const steps: NumberedStep[] = [];
  return {
    steps,
    hook: (step) => {
      if (step.number >= number) throw new Error("the world has stopped");
      steps.push(step);
    },
  };
}

function stillMachine(registry: Registry): Machine {
  const state = (): MachineState => "off";
  return {
    id: machineId,
    isLive: false,
    get state() {
      return state();
    },
    get folder() {
      return registry.get(machineId).folder;
    },
    get name() {
      return registry.get(machineId).name;
    },
    get config() {
      return registry.get(machineId).config;
    },
    inTurn: async <T>(_: unknown, work: () => Promise<T>) => work(),
    require: () => undefined,
    info: () => ({}),
    engineOf: () => engine,
    stateFacts: () => ({ engine, facts: {} }),
    reconsider: async () => undefined,
    log: { event: () => undefined },
  } as unknown as Machine;
}

async function textOf(path: string): Promise<string> {
  try {
    return createHash("sha256").update(await readFile(path)).digest("hex").slice(0, 16);
  } catch {
    return "none"; // It says so: there is none.
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) found.push(...(entry.isDirectory() ? await filesBelow(join(folder, entry.name)) : [join(folder, entry.name)]));
  return found;
}
