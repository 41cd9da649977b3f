import { execFileSync } from "node:child_process";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { silentLog } from "../../core/base/log";
import { toErrorData, type ErrorData } from "../../core/contract/errors";
import { MachineSpec } from "../../core/contract/model";
import { planMachine } from "../../core/machine/creation";
import { openHome, type Home } from "../../core/machine/home";
import { Registry, type Fill } from "../../core/machine/registry";
import type { FaultHook } from "../../core/storage/atomicFile";
import { makeConfig, oneDisk } from "./machineConfig";

/*
 * A process of its own that works on a home, so that tests can kill it or take its disk away. It prints one line of JSON.
 *   node driver.cjs hold HOME                  holds the home until it is killed
 *   node driver.cjs OPERATION HOME KILL_AT     kills itself at that step of the operation (from 0)
 *   node driver.cjs full-disk FOLDER           needs to be allowed to mount: runs out of space there
 *   node driver.cjs read-only FOLDER           likewise: loses the right to write
 */

export const diskContent = "precious".padEnd(4096, "\0");

export const fillDisk: Fill = async (folder) => {
  await mkdir(join(folder, "disks", "disk0"), { recursive: true });
  await writeFile(join(folder, "disks", "disk0", "0.raw"), diskContent);
};

export async function openRegistry(home: Home, faults?: FaultHook): Promise<Registry> {
  const registry = new Registry({ machinesDir: home.machinesDir, trashDir: home.trashDir, keptDisksDir: home.keptDisksDir, log: silentLog, now: () => 1_700_000_000_000, faults });
  await registry.open();
  return registry;
}

export const operations = {
  async create(registry: Registry, faults: FaultHook) {
    const spec = MachineSpec.parse({ name: "new", memoryMiB: 128, boot: { kind: "starter" }, disks: [{ sizeBytes: 4096 }] });
    const { config, fill } = await planMachine(spec, { id: registry.newId(), now: 1, macs: registry.macs(), images: { formats: ["raw"], qemuImg: undefined } });
    await registry.create(config, (folder, signal) => fill(folder, { signal, progress: () => undefined, faults }));
  },
  async update(registry: Registry) {
    const config = registry.list()[0]?.config;
    if (!config) throw new Error("no machine to change");
    await registry.update(config.id, { ...config, memoryMiB: 256 });
  },
  async delete(registry: Registry) {
    await registry.moveToTrash(registry.list()[0]?.id ?? "", { keepDisks: false });
  },
  async "delete-keeping-disks"(registry: Registry) {
    await registry.moveToTrash(registry.list()[0]?.id ?? "", { keepDisks: true });
  },
  async restore(registry: Registry) {
    await registry.restore((await registry.listTrash())[0]?.id ?? "");
  },
  async empty(registry: Registry) {
    await registry.deleteFromTrash((await registry.listTrash())[0]?.id ?? "");
  },
} satisfies Record<string, (registry: Registry, faults: FaultHook) => Promise<void>>;

export type Operation = keyof typeof operations;

async function runUntilKilled(operation: Operation, path: string, killAt: number): Promise<unknown> {
  const home = await openHome(path, { servedBy: "headless" });
  let armed = false;
  let step = 0;
  const faults: FaultHook = () => {
    if (armed && step++ === killAt) process.kill(process.pid, "SIGKILL");
  };
  const registry = await openRegistry(home, faults);
  armed = true;
  await operations[operation](registry, faults);
  await home.release();
  return { steps: step };
}

/** The error of an attempt, or null when it worked. */
async function errorOf(attempt: () => Promise<unknown>): Promise<ErrorData | null> {
  try {
    await attempt();
    return null;
  } catch (failure) {
    return toErrorData(failure);
  }
}

async function fillUp(path: string): Promise<void> {
  for (let size = 1 << 20; size >= 1; size >>= 1) {
    for (let count = 0; ; count++) {
      try {
        await writeFile(join(path, `filler-${size}-${count}`), Buffer.alloc(size, 1));
      } catch {
        break; // Full for this size; a smaller one may fit.
      }
    }
  }
}

async function empty(path: string): Promise<void> {
  for (const name of await readdir(path)) if (name.startsWith("filler-")) await rm(join(path, name));
}

async function runOutOfSpace(folder: string): Promise<unknown> {
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
  const path = join(folder, "home");
  const home = await openHome(path, { servedBy: "headless" });
  const registry = await openRegistry(home);
  const config = makeConfig({ name: "web", disks: oneDisk });
  await registry.create(config, fillDisk);
  const entry = await registry.moveToTrash((await registry.create(makeConfig({ name: "old" }), fillDisk)).id, { keepDisks: false });
  const image = join(folder, "image");
  await writeFile(image, Buffer.alloc(300 * 1024, 7));
  const copying = await planMachine(MachineSpec.parse({ name: "copy", memoryMiB: 64, boot: { kind: "starter" }, disks: [{ image, mode: "copy" }] }), { id: registry.newId(), now: 1, macs: [], images: { formats: ["raw"], qemuImg: undefined } });
  await writeFile(join(folder, "filler-first"), Buffer.alloc(600 * 1024, 1));
  const noRoom = await errorOf(() => registry.create(copying.config, (staging, signal) => copying.fill(staging, { signal, progress: () => undefined })));
  const file = join(home.machinesDir, "web", "machine.json");
  const before = await readFile(file, "utf8");
  await fillUp(folder);
  const errors = {
    noRoom,
    update: await errorOf(() => registry.update(config.id, { ...config, memoryMiB: 512, notes: "x".repeat(20_000) })),
    create: await errorOf(() => registry.create(makeConfig({ name: "new" }), fillDisk)),
    delete: await errorOf(() => registry.moveToTrash(config.id, { keepDisks: false })),
  };
  const whole = (await readFile(file, "utf8")) === before && (await readFile(join(home.machinesDir, "web", "disks", "disk0", "0.raw"), "utf8")) === diskContent;
  const machines = await readdir(home.machinesDir);
  const trash = await readdir(home.trashDir);
  await home.release();
  await fillUp(folder);
  const reopened = await errorOf(() => openHome(path, { servedBy: "headless" }));
  const files = (await readdir(path)).sort();
  await empty(folder);
  const again = await openHome(path, { servedBy: "headless" });
  const after = await openRegistry(again);
  await after.update(config.id, { ...config, memoryMiB: 512 });
  await after.restore(entry.id);
  const names = after.list().map((machine) => machine.name);
  await again.release();
  return { errors, whole, machines, trash, reopened, files, names };
}

async function loseTheRightToWrite(folder: string): Promise<unknown> {
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]);
  const path = join(folder, "home");
  const home = await openHome(path, { servedBy: "headless" });
  const registry = await openRegistry(home);
  const config = makeConfig({ name: "web", disks: oneDisk });
  await registry.create(config, fillDisk);
  execFileSync("mount", ["-o", "remount,ro", folder]);
  const errors = {
    update: await errorOf(() => registry.update(config.id, { ...config, memoryMiB: 512 })),
    create: await errorOf(() => registry.create(makeConfig({ name: "new" }), fillDisk)),
    delete: await errorOf(() => registry.moveToTrash(config.id, { keepDisks: true })),
    open: await errorOf(() => openHome(join(folder, "another"), { servedBy: "headless" })),
  };
  const stillListed = registry.list().map((machine) => machine.name);
  execFileSync("mount", ["-o", "remount,rw", folder]);
  await home.release();
  execFileSync("mount", ["-o", "remount,ro", folder]);
  const reopened = await errorOf(() => openHome(path, { servedBy: "headless" }));
  execFileSync("mount", ["-o", "remount,rw", folder]);
  const again = await openHome(path, { servedBy: "headless" });
  const after = await openRegistry(again);
  const names = after.list().map((machine) => machine.name);
  const files = (await readdir(again.path)).sort();
  await again.release();
  return { errors, reopened, stillListed, names, files };
}

async function hold(path: string): Promise<unknown> {
  const home = await openHome(path, { servedBy: "app" });
  process.stdin.resume();
  return { pid: process.pid, runDir: home.runDir };
}

function isOperation(name: string | undefined): name is Operation {
  return name !== undefined && Object.hasOwn(operations, name);
}

async function main([command, path = "", killAt = ""]: readonly string[]): Promise<unknown> {
  if (command === "hold") return hold(path);
  if (command === "full-disk") return runOutOfSpace(path);
  if (command === "read-only") return loseTheRightToWrite(path);
  if (isOperation(command)) return runUntilKilled(command, path, Number(killAt));
  throw new Error(`unknown command ${command}`);
}

if (process.argv[1] === __filename) {
  main(process.argv.slice(2)).then(
    (result) => console.log(JSON.stringify(result)),
    (failure: unknown) => {
      console.error(failure);
      process.exit(1);
    },
  );
}
