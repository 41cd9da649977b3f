import { once } from "node:events";
import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openHome, type Home } from "../../core/machine/home";
import { readLock } from "../../core/machine/lock";
import type { Registry } from "../../core/machine/registry";
import { run, start, useDriver } from "../support/bundledDriver";
import { makeConfig, oneDisk } from "../support/machineConfig";
import { diskContent, fillDisk, openRegistry, type Operation } from "../support/registryDriver";
import { useTemporaryFolder } from "../support/temporaryFolder";

const folder = useTemporaryFolder();
const driver = useDriver(new URL("../support/registryDriver.ts", import.meta.url).pathname);
const environment = (): NodeJS.ProcessEnv => ({ XDG_RUNTIME_DIR: folder.path });

async function withRegistry<T>(home: string, use: (registry: Registry, home: Home) => Promise<T>): Promise<T> {
  const opened = await openHome(home, { servedBy: "headless", env: environment() });
  try {
    return await use(await openRegistry(opened), opened);
  } finally {
    await opened.release();
  }
}

/** Kills a process that carries out `operation` at every one of its steps in turn; `verify` looks at what it left. */
async function killAtEveryStep(operation: Operation, prepare: (registry: Registry) => Promise<void>, verify: (registry: Registry, home: Home) => Promise<void>): Promise<number> {
  for (let step = 0; ; step++) {
    const path = join(folder.path, `home-${step}`);
    await mkdir(path);
    await withRegistry(path, prepare);
    const outcome = await run(process.execPath, [driver.path, operation, path, String(step)], environment());
    if (outcome.signal !== "SIGKILL") expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    await withRegistry(path, async (registry, home) => {
      expect((await readdir(home.machinesDir)).filter((name) => name.startsWith("."))).toEqual([]);
      expect((await readdir(home.trashDir)).filter((name) => name.startsWith("."))).toEqual([]);
      expect(registry.list().filter((machine) => machine.problem !== undefined)).toEqual([]);
      await verify(registry, home);
    });
    await rm(path, { recursive: true });
    if (outcome.signal !== "SIGKILL") return step;
  }
}

const config = makeConfig({ name: "web", memoryMiB: 128, disks: oneDisk });
const makeWeb = async (registry: Registry): Promise<void> => void (await registry.create(config, fillDisk));
const deleteWeb = async (registry: Registry): Promise<void> => {
  await makeWeb(registry);
  await registry.moveToTrash(config.id, { keepDisks: true });
};

async function expectWhole(registry: Registry): Promise<void> {
  const machine = registry.get(config.id);
  expect(machine.config).toEqual(config);
  expect(await readFile(join(machine.folder, "disks", "disk0", "0.raw"), "utf8")).toBe(diskContent);
}

/** The machine is in its place or in the trash, from where it comes back whole. */
async function expectHereOrInTrash(registry: Registry): Promise<void> {
  const trash = await registry.listTrash();
  expect(registry.list().length + trash.length).toBe(1);
  if (trash[0]) await registry.restore(trash[0].id);
  await expectWhole(registry);
  expect(await registry.listTrash()).toEqual([]);
}

describe("a host service that is killed", () => {
  it("has made a machine or not, while it was creating one", async () => {
    const steps = await killAtEveryStep("create", makeWeb, async (registry, home) => {
      await expectWhole(registry);
      const made = registry.list().find((machine) => machine.name === "new");
      expect((await readdir(home.machinesDir)).sort()).toEqual(made ? ["new", "web"] : ["web"]);
      if (made) expect((await readFile(join(made.folder, "disks", "disk0", "0.raw"))).length).toBe(4096);
    });
    expect(steps).toBeGreaterThanOrEqual(9);
  });

  it("has saved the old settings or the new ones", async () => {
    const steps = await killAtEveryStep("update", makeWeb, async (registry) => {
      expect([128, 256]).toContain(registry.get(config.id).config?.memoryMiB);
      expect(await readdir(registry.get(config.id).folder)).toEqual(["disks", "machine.json"]);
    });
    expect(steps).toBeGreaterThanOrEqual(5);
  });

  it("has a machine here or in the trash, while it was deleting it", async () => {
    const steps = await killAtEveryStep("delete", makeWeb, expectHereOrInTrash);
    expect(steps).toBeGreaterThanOrEqual(9);
  });

  it("still has the disks that were to be kept", async () => {
    await killAtEveryStep("delete-keeping-disks", makeWeb, async (registry, home) => {
      const [entry] = await registry.listTrash();
      if (entry) {
        // Out of the entry, so that emptying the trash does not reach them.
        const [kept] = await readdir(home.keptDisksDir);
        expect(await readFile(join(home.keptDisksDir, kept ?? "", "disk0", "0.raw"), "utf8")).toBe(diskContent);
        expect(await readdir(entry.folder)).toEqual(["machine.json"]);
      }
      await expectHereOrInTrash(registry);
    });
  });

  it("has a machine here or in the trash, while it was restoring it", async () => {
    const steps = await killAtEveryStep("restore", deleteWeb, expectHereOrInTrash);
    expect(steps).toBeGreaterThanOrEqual(6);
  });

  it("has deleted a machine for good or can still restore it", async () => {
    await killAtEveryStep(
      "empty",
      async (registry) => {
        await makeWeb(registry);
        await registry.moveToTrash(config.id, { keepDisks: false });
      },
      async (registry, home) => {
        const [entry] = await registry.listTrash();
        if (!entry) return expect(await readdir(home.trashDir)).toEqual([]);
        await registry.restore(entry.id);
        await expectWhole(registry);
      },
    );
  });
});

describe("a second app on the same home", () => {
  it("is told who is there, and gets the home when that one was killed", async () => {
    const home = join(folder.path, "home");
    const holder = start(process.execPath, [driver.path, "hold", home], environment());
    const [line] = (await once(holder.stdout ?? process.stdin, "data")) as [Buffer];
    const { pid, runDir } = JSON.parse(line.toString()) as { pid: number; runDir: string };
    await expect(openHome(home, { servedBy: "app", env: environment() })).rejects.toMatchObject({ code: "locked", holder: { pid, runDir, servedBy: "app" }, message: expect.stringContaining(String(pid)) as string });
    expect(await readLock(home)).toMatchObject({ pid, runDir });
    holder.kill("SIGKILL");
    await once(holder, "close");
    expect(await readLock(home)).toBeUndefined();
    const mine = await openHome(home, { servedBy: "app", env: environment() });
    expect(mine.runDir).toBe(runDir);
    await mine.release();
  });
});
