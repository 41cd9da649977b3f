import { cp, mkdir, readFile, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import type { MachineConfig } from "../../../core/contract/model";
import { formatConfig } from "../../../core/machine/configFile";
import { Registry, type Fill, type RegistryChange } from "../../../core/machine/registry";
import type { FaultHook } from "../../../core/storage/atomicFile";
import { failingAfter, systemError } from "../../support/faults";
import { makeConfig, oneDisk } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const home = useTemporaryFolder();
const place = (...parts: string[]): string => join(home.path, ...parts);

beforeEach(async () => {
  for (const name of ["machines", "trash", "kept-disks"]) await mkdir(place(name));
});

async function openRegistry(faults?: FaultHook): Promise<Registry> {
  const registry = new Registry({ machinesDir: place("machines"), trashDir: place("trash"), keptDisksDir: place("kept-disks"), log: silentLog, now: () => 5000, faults });
  await registry.open();
  return registry;
}

const fillDisk: Fill = async (folder) => {
  await mkdir(join(folder, "disks", "disk0"), { recursive: true });
  await writeFile(join(folder, "disks", "disk0", "0.raw"), "precious".padEnd(4096, "\0"));
};
const nothing: Fill = () => Promise.resolve();

async function listing(): Promise<{ machines: string[]; trash: string[] }> {
  return { machines: (await readdir(place("machines"))).sort(), trash: await readdir(place("trash")) };
}

describe("creating", () => {
  it("makes a folder that is found again", async () => {
    const registry = await openRegistry();
    const changes: RegistryChange[] = [];
    registry.onDidChange((change) => changes.push(change));
    const config = makeConfig({ name: "Web 01", disks: oneDisk });
    const machine = await registry.create(config, fillDisk);
    expect(machine).toMatchObject({ id: config.id, folder: place("machines", "web-01"), folderName: "web-01", config });
    expect(changes).toEqual([{ type: "machine", machine }]);
    expect((await openRegistry()).list()).toEqual([machine]);
    expect(await readFile(place("machines", "web-01", "disks", "disk0", "0.raw"), "utf8")).toContain("precious");
  });

  it("sorts as people do", async () => {
    const registry = await openRegistry();
    for (const name of ["web 10", "Web 2", "älter", "alt"]) await registry.create(makeConfig({ name }), nothing);
    expect(registry.list().map((machine) => machine.name)).toEqual(["alt", "älter", "Web 2", "web 10"]);
  });

  it("takes any name in any script and of any length", async () => {
    const registry = await openRegistry();
    const names = ["日本語のマシン", "Сервер", "🦎🦎🦎", "../../../etc", "CON", "x".repeat(120), "𝔘".repeat(120), "x".repeat(119) + "y", "خادم الويب", 'a"b\'c$(rm -rf /)`'];
    for (const name of names) await registry.create(makeConfig({ name }), nothing);
    const found = (await openRegistry()).list().map((machine) => machine.name);
    expect(found.sort()).toEqual([...names].sort());
    for (const folderName of (await listing()).machines) expect(folderName).not.toMatch(/[./\\\s$"'`]/);
  });

  it("refuses a name that another machine has, or looks to have", async () => {
    const registry = await openRegistry();
    await registry.create(makeConfig({ name: "Web" }), nothing);
    for (const name of ["Web", "web", "Ｗｅｂ"]) await expect(registry.create(makeConfig({ name }), nothing)).rejects.toMatchObject({ code: "name-taken", message: expect.stringContaining('"Web"') as string });
    expect(await listing()).toEqual({ machines: ["web"], trash: [] });
  });

  it("takes the name from the moment the creation begins until it fails", async () => {
    const registry = await openRegistry();
    let fail = (): void => undefined;
    const first = registry.create(makeConfig({ name: "web" }), () => new Promise((_, reject) => (fail = () => reject(systemError("EIO")))));
    await expect(registry.create(makeConfig({ name: "web" }), nothing)).rejects.toMatchObject({ code: "name-taken" });
    await Promise.resolve();
    while ((await listing()).machines.length === 0) await new Promise((resolve) => setImmediate(resolve));
    fail();
    await expect(first).rejects.toMatchObject({ code: "io" });
    await registry.create(makeConfig({ name: "web" }), nothing);
  });

  it("leaves nothing when filling the folder fails", async () => {
    const registry = await openRegistry();
    const fill: Fill = async (folder, signal) => {
      await fillDisk(folder, signal);
      throw systemError("ENOSPC");
    };
    await expect(registry.create(makeConfig(), fill)).rejects.toMatchObject({ code: "disk-full", remedy: expect.any(String) as string });
    expect(await listing()).toEqual({ machines: [], trash: [] });
    expect(registry.list()).toEqual([]);
  });

  it("leaves nothing when it is cancelled, and then says so", async () => {
    const registry = await openRegistry();
    const abort = new AbortController();
    const reason = new Error("cancelled");
    const fill: Fill = async (folder, signal) => {
      await fillDisk(folder, signal);
      abort.abort(reason);
    };
    await expect(registry.create(makeConfig(), fill, abort.signal)).rejects.toBe(reason);
    expect(await listing()).toEqual({ machines: [], trash: [] });
  });

  it("leaves nothing whichever step fails", async () => {
    for (let step = 0; ; step++) {
      const { hook, steps } = failingAfter(step);
      const registry = await openRegistry();
      const faulty = await openRegistry(hook);
      const made = await faulty.create(makeConfig({ name: "web" }), fillDisk).then(
        () => true,
        (error: unknown) => {
          expect(error).toMatchObject({ code: "disk-full" });
          return false;
        },
      );
      if (made) {
        expect(steps.length).toBeGreaterThan(5);
        break;
      }
      expect(faulty.list()).toEqual([]);
      await registry.rescan();
      expect(registry.list()).toEqual([]);
      expect(await listing()).toEqual({ machines: [], trash: [] });
    }
  });

  it("gives ids that differ in the digits that name the run directory", async () => {
    const registry = await openRegistry();
    const ids = new Set(Array.from({ length: 100 }, () => registry.newId().slice(0, 8)));
    expect(ids.size).toBe(100);
  });
});

describe("opening", () => {
  it("removes what a crash left of a creation or a write, and nothing else", async () => {
    const registry = await openRegistry();
    await registry.create(makeConfig({ name: "web", disks: oneDisk }), fillDisk);
    await mkdir(place("machines", ".staging-0123456789ab", "disks"), { recursive: true });
    const disksBefore = await readdir(place("machines", "web", "disks"));
    await mkdir(place("machines", "web", "disks", ".staging-01234567", "disks", "disk1"), { recursive: true });
    await writeFile(place("machines", "web", ".machine.json.0123456789ab.tmp"), "{");
    await writeFile(place("machines", "web", "notes.txt"), "mine");
    await writeFile(place("machines", "stray file"), "mine");
    await mkdir(place("machines", "lost+found"));
    await mkdir(place("machines", "empty"));
    const again = await openRegistry();
    expect(again.list().map((machine) => machine.name)).toEqual(["web"]);
    expect((await listing()).machines).toEqual(["empty", "lost+found", "stray file", "web"]);
    expect((await readdir(place("machines", "web"))).sort()).toEqual(["disks", "machine.json", "notes.txt"]);
    expect(await readdir(place("machines", "web", "disks"))).toEqual(disksBefore);
  });

  it("lists a machine that cannot be used as broken, with reason and remedy, and all the others", async () => {
    const registry = await openRegistry();
    const good = await registry.create(makeConfig({ name: "good" }), nothing);
    for (const name of ["corrupt", "newer", "empty", "missing"]) await registry.create(makeConfig({ name, disks: oneDisk }), fillDisk);
    await writeFile(place("machines", "corrupt", "machine.json"), '{"version": 1, "id"');
    const future = makeConfig({ name: "The future" });
    await writeFile(place("machines", "newer", "machine.json"), JSON.stringify({ ...future, version: 2 }));
    await writeFile(place("machines", "empty", "machine.json"), "");
    await rm(place("machines", "missing", "machine.json"));
    const again = await openRegistry();
    const byFolder = Object.fromEntries(again.list().map((machine) => [machine.folderName, machine]));
    expect(byFolder["good"]).toEqual(good);
    for (const name of ["corrupt", "newer", "empty", "missing"]) {
      expect(byFolder[name]?.config).toBeUndefined();
      expect(byFolder[name]?.problem).toMatchObject({ code: "broken", message: expect.stringContaining("machine.json") as string, remedy: expect.any(String) as string });
    }
    expect(byFolder["newer"]).toMatchObject({ id: future.id, name: "The future" });
    expect(byFolder["corrupt"]?.name).toBe("corrupt");
    expect((await openRegistry()).list().map((machine) => machine.id)).toEqual(again.list().map((machine) => machine.id));
    expect(await readFile(place("machines", "corrupt", "machine.json"), "utf8")).toBe('{"version": 1, "id"');
  });

  it("knows a mended machine again when it is looked at", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    await registry.create(config, nothing);
    await writeFile(place("machines", "web", "machine.json"), JSON.stringify({ ...config, memoryMiB: "much" }));
    const again = await openRegistry();
    expect(again.get(config.id).problem?.message).toContain("memoryMiB");
    await writeFile(place("machines", "web", "machine.json"), formatConfig(config));
    expect(await again.refresh(config.id)).toMatchObject({ config });
    expect(again.get(config.id).problem).toBeUndefined();
  });

  it("makes a copied folder a machine of its own, and leaves the original alone", async () => {
    const registry = await openRegistry();
    const original = await registry.create(makeConfig({ name: "web", disks: oneDisk }), fillDisk);
    await cp(original.folder, place("machines", "a copy"), { recursive: true, preserveTimestamps: true });
    await utimes(place("machines", "a copy"), 0, 0);
    const again = await openRegistry();
    expect(again.get(original.id)).toEqual(original);
    const copy = again.list().find((machine) => machine.folderName === "a copy");
    expect(copy?.name).toBe("web (2)");
    expect(copy?.id).not.toBe(original.id);
    expect(copy?.config?.adapters[0]?.mac).toMatch(/^52:54:00:/);
    expect(copy?.config?.adapters[0]?.mac).not.toBe(original.config?.adapters[0]?.mac);
    expect((await openRegistry()).list()).toEqual(again.list());
  });

  it("leaves a copy with a saved state its addresses, because the guest remembers them", async () => {
    const registry = await openRegistry();
    const original = await registry.create(makeConfig({ name: "web" }), async (folder) => {
      await mkdir(join(folder, "saved"));
      await writeFile(join(folder, "saved", "state"), "memory");
    });
    await cp(original.folder, place("machines", "copy"), { recursive: true });
    const copy = (await openRegistry()).list().find((machine) => machine.folderName === "copy");
    expect(copy?.id).not.toBe(original.id);
    expect(copy?.config?.adapters).toEqual(original.config?.adapters);
  });

  it("lists a copy that cannot be changed as broken", async () => {
    const registry = await openRegistry();
    const original = await registry.create(makeConfig({ name: "web" }), nothing);
    await cp(original.folder, place("machines", "copy"), { recursive: true });
    const faults: FaultHook = (step, path) => {
      if (step === "create" && path.includes("copy")) throw systemError("EROFS");
    };
    const again = await openRegistry(faults);
    expect(again.get(original.id)).toEqual(original);
    const copy = again.list().find((machine) => machine.folderName === "copy");
    expect(copy).toMatchObject({ problem: { code: "broken", message: expect.stringContaining("copy of another machine") as string } });
    const changes: RegistryChange[] = [];
    again.onDidChange((change) => changes.push(change));
    await again.rescan();
    expect(again.list().find((machine) => machine.folderName === "copy")).toEqual(copy);
    expect(changes).toEqual([]);
  });
});

describe("changing", () => {
  it("saves, keeps the folder, and announces it", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    const { folder } = await registry.create(config, nothing);
    const changes: RegistryChange[] = [];
    registry.onDidChange((change) => changes.push(change));
    const renamed = await registry.update(config.id, { ...config, name: "shop" });
    expect(renamed).toMatchObject({ folder, name: "shop" });
    expect(changes).toEqual([{ type: "machine", machine: renamed }]);
    expect((await openRegistry()).get(config.id)).toEqual(renamed);
  });

  it("refuses another machine's name, but not a new spelling of its own", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    await registry.create(config, nothing);
    await registry.create(makeConfig({ name: "db" }), nothing);
    await expect(registry.update(config.id, { ...config, name: "DB" })).rejects.toMatchObject({ code: "name-taken" });
    expect((await registry.update(config.id, { ...config, name: "WEB" })).name).toBe("WEB");
  });

  it("keeps the old configuration, whole, whichever step fails", async () => {
    const config = makeConfig({ name: "web", memoryMiB: 128 });
    await (await openRegistry()).create(config, nothing);
    for (let step = 0; step < 4; step++) {
      const registry = await openRegistry(failingAfter(step).hook);
      await expect(registry.update(config.id, { ...config, memoryMiB: 256 })).rejects.toMatchObject({ code: "disk-full" });
      expect(registry.get(config.id).config?.memoryMiB).toBe(128);
      expect((await openRegistry()).get(config.id).config).toEqual(config);
      expect(await readdir(place("machines", "web"))).toEqual(["machine.json"]);
    }
  });

  it("says what the file says when only the folder's sync failed", async () => {
    const config = makeConfig({ name: "web", memoryMiB: 128 });
    await (await openRegistry()).create(config, nothing);
    const registry = await openRegistry(failingAfter(4, "EIO").hook);
    await expect(registry.update(config.id, { ...config, memoryMiB: 256 })).rejects.toMatchObject({ code: "io" });
    expect(registry.get(config.id).config?.memoryMiB).toBe(256);
  });

  it("does not write over what someone edited by hand, and takes it in", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    await registry.create(config, nothing);
    await writeFile(place("machines", "web", "machine.json"), formatConfig({ ...config, memoryMiB: 512 }));
    await expect(registry.update(config.id, { ...config, cpus: 2 })).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("changed in its file") as string });
    expect(registry.get(config.id).config).toEqual({ ...config, memoryMiB: 512 });
    await registry.update(config.id, { ...config, memoryMiB: 512, cpus: 2 });
    expect((await openRegistry()).get(config.id).config).toMatchObject({ memoryMiB: 512, cpus: 2 });
  });

  it("does not write over a configuration that it cannot read", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    await registry.create(config, nothing);
    await writeFile(place("machines", "web", "machine.json"), "{ half an edit");
    await expect(registry.update(config.id, config)).rejects.toMatchObject({ code: "broken" });
    expect(await readFile(place("machines", "web", "machine.json"), "utf8")).toBe("{ half an edit");
  });

  it("forgets a machine whose folder is gone, and says so", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    await registry.create(config, nothing);
    await rename(place("machines", "web"), place("elsewhere"));
    await expect(registry.update(config.id, config)).rejects.toMatchObject({ code: "not-found" });
    expect(registry.list()).toEqual([]);
    await rename(place("elsewhere"), place("machines", "web"));
    await registry.rescan();
    expect(registry.get(config.id).config).toEqual(config);
  });

  it("applies changes that come together one after the other", async () => {
    const registry = await openRegistry();
    const config = makeConfig({ name: "web" });
    await registry.create(config, nothing);
    await Promise.all(Array.from({ length: 10 }, (_, index) => registry.update(config.id, { ...config, memoryMiB: 100 + index })));
    expect((await openRegistry()).get(config.id).config?.memoryMiB).toBe(109);
  });
});

describe("the trash", () => {
  async function makeWeb(registry: Registry, patch: Partial<MachineConfig> = {}): Promise<MachineConfig> {
    const config = makeConfig({ name: "web", disks: oneDisk, ...patch });
    await registry.create(config, fillDisk);
    return config;
  }

  it("takes a machine and gives it back as it was", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const before = registry.get(config.id);
    const entry = await registry.moveToTrash(config.id, { keepDisks: false });
    expect(entry).toMatchObject({ name: "web", machineId: config.id, deletedAt: 5000 });
    expect(entry.bytes).toBeGreaterThan(4000);
    expect(registry.list()).toEqual([]);
    expect(await registry.listTrash()).toEqual([entry]);
    expect(await (await openRegistry()).listTrash()).toEqual([entry]);
    expect(await registry.restore(entry.id)).toEqual(before);
    expect(await readFile(place("machines", "web", "disks", "disk0", "0.raw"), "utf8")).toContain("precious");
    expect(await listing()).toEqual({ machines: ["web"], trash: [] });
  });

  it("gives a machine another name, id and address where its own is taken by now", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const entry = await registry.moveToTrash(config.id, { keepDisks: false });
    await registry.create(config, nothing);
    const restored = await registry.restore(entry.id);
    expect(restored).toMatchObject({ name: "web (2)", folderName: "web-2" });
    expect(restored.id).not.toBe(config.id);
    expect(restored.config?.adapters[0]?.mac).not.toBe(config.adapters[0]?.mac);
    expect(registry.get(config.id).config).toEqual(config);
  });

  it("takes and gives back a broken machine", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    await writeFile(place("machines", "web", "machine.json"), "{");
    const again = await openRegistry();
    const broken = again.list()[0];
    const entry = await again.moveToTrash(broken?.id ?? "", { keepDisks: false });
    expect(again.list()).toEqual([]);
    expect(await again.restore(entry.id)).toEqual(broken);
    await writeFile(place("machines", "web", "machine.json"), formatConfig(config));
    expect((await openRegistry()).get(config.id).config).toEqual(config);
  });

  it("keeps the disks in a folder that it names, also when the trash is emptied", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const entry = await registry.moveToTrash(config.id, { keepDisks: true });
    expect(entry.keptDisks).toBe(place("kept-disks", "web"));
    await registry.deleteFromTrash(entry.id);
    expect(await registry.listTrash()).toEqual([]);
    expect(await readFile(place("kept-disks", "web", "disk0", "0.raw"), "utf8")).toContain("precious");
    expect(await listing()).toEqual({ machines: [], trash: [] });
  });

  it("brings kept disks back with their machine", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const entry = await registry.moveToTrash(config.id, { keepDisks: true });
    await (await openRegistry()).restore(entry.id);
    expect(await readFile(place("machines", "web", "disks", "disk0", "0.raw"), "utf8")).toContain("precious");
    expect(await readdir(place("kept-disks"))).toEqual([]);
  });

  it("does not take kept disks from a machine that uses them now", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const entry = await registry.moveToTrash(config.id, { keepDisks: true });
    const image = join(entry.keptDisks ?? "", "disk0", "0.raw");
    const user = makeConfig({ name: "shop", disks: [{ id: "disk0", sizeBytes: 4096, layers: [{ file: image, format: "raw" }] }] });
    await registry.create(user, nothing);
    await expect(registry.restore(entry.id)).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("shop") as string });
    expect(await readFile(image, "utf8")).toContain("precious");
    expect(await registry.listTrash()).toHaveLength(1);
  });

  it("loses nothing whichever step of deleting fails: the machine is here or there, whole", async () => {
    const config = makeConfig({ name: "web", disks: oneDisk });
    await (await openRegistry()).create(config, fillDisk);
    for (const keepDisks of [false, true]) {
      for (let step = 0; ; step++) {
        const { hook } = failingAfter(step, "EIO");
        const registry = await openRegistry(hook);
        const failed = await registry.moveToTrash(config.id, { keepDisks }).then(
          () => false,
          (error: unknown) => {
            expect(error).toMatchObject({ code: "io" });
            return true;
          },
        );
        const after = await openRegistry();
        const trash = await after.listTrash();
        expect(after.list().length + trash.length).toBe(1);
        expect(registry.list().length).toBe(after.list().length);
        if (trash[0]) await after.restore(trash[0].id);
        expect(after.get(config.id).config).toEqual(config);
        expect(await readFile(place("machines", "web", "disks", "disk0", "0.raw"), "utf8")).toContain("precious");
        expect(await listing()).toEqual({ machines: ["web"], trash: [] });
        if (!failed) break;
      }
    }
  });

  it("loses nothing whichever step of restoring fails", async () => {
    const config = makeConfig({ name: "web", disks: oneDisk });
    await (await openRegistry()).create(config, fillDisk);
    for (let step = 0; ; step++) {
      const entry = await (await openRegistry()).moveToTrash(config.id, { keepDisks: true });
      const registry = await openRegistry(failingAfter(step, "EIO").hook);
      const failed = await registry.restore(entry.id).then(
        () => false,
        () => true,
      );
      const after = await openRegistry();
      const trash = await after.listTrash();
      expect(after.list().length + trash.length).toBe(1);
      if (trash[0]) await after.restore(trash[0].id);
      expect(after.get(config.id).config).toEqual(config);
      expect(await readFile(place("machines", "web", "disks", "disk0", "0.raw"), "utf8")).toContain("precious");
      if (!failed) break;
    }
  });

  it("does not begin to delete what was cancelled before, and finishes what a crash interrupted", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const entry = await registry.moveToTrash(config.id, { keepDisks: false });
    const reason = new Error("cancelled");
    await expect(registry.deleteFromTrash(entry.id, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await registry.listTrash()).toHaveLength(1);
    const faulty = await openRegistry((step, path) => {
      if (step === "remove" && path.includes(".deleting-")) throw systemError("EIO");
    });
    await expect(faulty.deleteFromTrash(entry.id)).rejects.toMatchObject({ code: "io" });
    expect(await faulty.listTrash()).toEqual([]);
    await openRegistry();
    expect(await readdir(place("trash"))).toEqual([]);
  });

  it("removes shells, but nothing that it does not know", async () => {
    await mkdir(place("trash", "0123456789ab"));
    await writeFile(place("trash", "0123456789ab", "entry.json"), "{}");
    await mkdir(place("trash", "my things"));
    await writeFile(place("trash", "my things", "photo"), "");
    await mkdir(place("trash", "aaaaaaaaaaaa"));
    await writeFile(place("trash", "aaaaaaaaaaaa", "photo"), "");
    const registry = await openRegistry();
    expect(await registry.listTrash()).toEqual([]);
    expect((await readdir(place("trash"))).sort()).toEqual(["aaaaaaaaaaaa", "my things"]);
  });

  it("restores an entry whose own file is damaged", async () => {
    const registry = await openRegistry();
    const config = await makeWeb(registry);
    const entry = await registry.moveToTrash(config.id, { keepDisks: false });
    await writeFile(place("trash", entry.id, "entry.json"), "{");
    expect(await registry.listTrash()).toMatchObject([{ id: entry.id, name: "web", machineId: config.id }]);
    expect(await registry.restore(entry.id)).toMatchObject({ id: config.id, folderName: "web" });
  });

  it.each(["nope", "../machines/web", "", "000000000000"])("knows no entry %j", async (id) => {
    const registry = await openRegistry();
    await expect(registry.restore(id)).rejects.toMatchObject({ code: "not-found" });
    await expect(registry.deleteFromTrash(id)).rejects.toMatchObject({ code: "not-found" });
  });
});
