import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHost, HomeLockedError } from "../../../core/machine/index";
import { silentLog } from "../../../core/base/log";
import { procedures, type ProcedureName } from "../../../core/contract/procedures";
import { kindOfChange, patched } from "../../../core/machine/settings";
import { savedDifference, savedFacts } from "../../../core/machine/saved";
import { fakeRuntime, TestHost } from "../../support/host";
import { makeConfig, oneDisk } from "../../support/machineConfig";

describe("the host service", () => {
  let folder: string;
  let test: TestHost;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-fake-"));
    test = await TestHost.open({ runtime: await fakeRuntime(folder) });
  });
  afterEach(async () => {
    await test.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  it("serves a home that no other host service has", async () => {
    const second = createHost({ home: test.home, servedBy: "app", runtime: test.runtime, log: silentLog });
    await expect(second).rejects.toBeInstanceOf(HomeLockedError);
    await test.close();
    const third = await createHost({ home: test.home, servedBy: "app", runtime: test.runtime, log: silentLog });
    await expect(third.call("host.stop", {})).rejects.toMatchObject({ code: "illegal-state" });
    await third.close();
  });

  it("says what the host has, and answers as the contract says", async () => {
    const info = await test.host.call("host.info", {});
    expect(info).toMatchObject({ servedBy: "headless", starter: { ready: true, build: "fake" }, pid: process.pid });
    expect(info.engines.map(({ id, available }) => [id, available])).toEqual([
      ["v86", true],
      ["qemu", false],
    ]);
    expect(info.networkModes.find(({ mode }) => mode === "nat")).toEqual({ mode: "nat", available: true });
    const { id } = await test.create("one");
    const inputs: Partial<Record<ProcedureName, object>> = { "host.info": {}, "host.doctor": {}, "machine.list": {}, "machine.get": { id }, "machine.screenshot": { id }, "machine.log": { id, log: "events" }, "job.list": {}, "network.list": {}, "network.freeSubnet": {}, "network.cards": {}, "trash.list": {}, "media.inspect": { path: __filename } };
    for (const [name, input] of Object.entries(inputs) as [ProcedureName, object][]) {
      expect(procedures[name].output.safeParse(await test.host.call(name, input)), name).toMatchObject({ success: true });
    }
  });

  it("announces machines, jobs and the trash as they change", async () => {
    const { id } = await test.create("seen");
    await test.host.call("machine.delete", { id });
    await test.host.call("trash.list", {});
    const kinds = new Set(test.events.map(({ type }) => type));
    for (const kind of ["machine", "job", "machineRemoved"]) expect(kinds).toContain(kind);
  });

  it("creates nothing that the checks refuse, and tells the same in a check", async () => {
    const spec = { name: "too much", engine: "v86" as const, memoryMiB: 4096, boot: { kind: "starter" as const } };
    const findings = await test.host.call("machine.check", { spec });
    const error = findings.find(({ level }) => level === "error");
    expect(error).toMatchObject({ field: "memoryMiB" });
    await expect(test.host.call("machine.create", { spec })).rejects.toMatchObject({ message: error?.message });
    expect(await test.host.call("machine.list", {})).toEqual([]);
  });

  it("is asked to stop when it is headless", async () => {
    let asked = 0;
    test.host.onStopRequested(() => asked++);
    await test.host.call("host.stop", {});
    expect(asked).toBe(1);
  });

  it("opens no console of a machine that is off", async () => {
    const { id } = await test.create("dark");
    await expect(test.host.openStream({ stream: "display", id })).rejects.toMatchObject({ code: "illegal-state" });
    await test.start(id);
    const display = await test.host.openStream({ stream: "display", id });
    expect(await new Promise<string>((resolve) => display.once("data", (data: Buffer) => resolve(data.toString())))).toBe("RFB 003.008\n");
    display.destroy();
  });
});

describe("a change of settings", () => {
  const config = makeConfig({ disks: oneDisk, group: "lab" });

  it("is hardware only where hardware really changes", () => {
    expect(kindOfChange(config, { memoryMiB: config.memoryMiB, boot: config.boot, name: "new", adapters: config.adapters })).toEqual({ hardware: false, adapters: undefined, disks: false, medium: false, links: false, limits: false });
    for (const patch of [{ memoryMiB: 64 }, { cpus: 2 }, { adapters: config.adapters.map((adapter) => ({ ...adapter, mac: "52:54:00:00:00:98" })) }, { hardware: { firmware: "uefi" as const } }, { disks: [{ id: "disk0", bus: "sata" as const }] }, { boot: { kind: "firmware" as const, order: "cd" as const } }]) expect(kindOfChange(config, patch).hardware).toBe(true);
  });

  it("of a cable or a medium is none of hardware", () => {
    const adapters = config.adapters.map((adapter) => ({ ...adapter, plugged: false }));
    expect(kindOfChange(config, { adapters, medium: "/a.iso" })).toEqual({ hardware: false, adapters: undefined, disks: false, medium: true, links: true, limits: false });
  });

  it("of adapters that come behind the others, or of last ones that go, is known as such", () => {
    const more = [...config.adapters, { mac: "52:54:00:00:00:99", attachment: { mode: "none" as const }, plugged: true }];
    expect(kindOfChange(config, { adapters: more })).toMatchObject({ hardware: false, adapters: "more", links: true });
    expect(kindOfChange({ ...config, adapters: more }, { adapters: config.adapters })).toMatchObject({ hardware: false, adapters: "fewer", links: true });
    expect(kindOfChange({ ...config, adapters: more }, { adapters: more.slice(1) })).toMatchObject({ hardware: true, adapters: undefined });
  });

  it("of disks that come or go, or of their limits, is known as such", () => {
    for (const patch of [{ removeDisks: ["disk0"] }, { addDisks: [{ sizeBytes: 512 }] }]) expect(kindOfChange(config, patch)).toMatchObject({ hardware: false, disks: true });
    expect(kindOfChange(config, { disks: [{ id: "disk0", limits: { operationsPerSecond: 100 } }] })).toMatchObject({ hardware: false, disks: false, limits: true });
    expect(kindOfChange(config, { disks: [{ id: "disk0", bus: "virtio", limits: null }] })).toMatchObject({ hardware: false, limits: false });
  });

  it("leaves what it does not name", () => {
    expect(patched(config, { name: "new" }, config.disks)).toEqual({ ...config, name: "new" });
    expect(patched(config, { group: null, medium: "/a.iso" }, [])).toMatchObject({ drives: [{ id: "cd0", medium: "/a.iso" }], disks: [] });
    expect(patched(config, { group: null }, config.disks)).not.toHaveProperty("group");
  });
});

describe("what a machine was saved on", () => {
  const moment = { savedAt: 1, identified: true };
  const config = makeConfig({ disks: oneDisk });
  const v86 = { id: "v86" as const, facts: {} };
  const saved = savedFacts(config, v86, moment);

  it("fits the machine that it was", () => {
    expect(savedDifference(saved, savedFacts({ ...config, name: "renamed", notes: "n" }, v86, { savedAt: 9, identified: true }))).toBeUndefined();
  });

  it.each([
    [{ memoryMiB: 256 }, "it had 128 MB of memory and has 256 MB now"],
    [{ disks: [] }, "it had 1 disks and has 0 now"],
    [{ disks: [{ ...oneDisk[0], id: "disk0", sizeBytes: 8192, layers: [{ file: "disks/disk0/0.raw", format: "raw" as const }] }] }, "its disk disk0 had 4 KB and has 8 KB now"],
    [{ drives: [{ id: "cd0" as const, medium: "/a.iso" }] }, "its CD drive held nothing and holds /a.iso now"],
    [{ boot: { kind: "firmware" as const, order: "cd" as const } }, "it had booted starter and is set to firmware now"],
    [{ adapters: [] }, "it had 1 adapter and has 0 now"],
    [{ adapters: [...config.adapters, { mac: "52:54:00:00:00:99", attachment: { mode: "none" as const }, plugged: true }] }, "it had 1 adapter and has 2 now"],
    [{ drives: [] }, "it had a CD drive and has none now"],
  ])("does not fit after %j", (patch, difference) => {
    expect(savedDifference(saved, savedFacts({ ...config, ...patch }, v86, moment))).toBe(difference);
  });

  it("does not fit another engine or another address", () => {
    expect(savedDifference(saved, savedFacts(config, { id: "qemu", facts: {} }, moment))).toContain("engine v86");
    const adapters = config.adapters.map((adapter) => ({ ...adapter, mac: "52:54:00:ff:ff:ff" }));
    expect(savedDifference(saved, savedFacts({ ...config, adapters }, v86, moment))).toContain("its adapter 0 had the address");
  });

  it("does not fit when the engine would make other hardware of the same settings", () => {
    const on = (cpu: string): ReturnType<typeof savedFacts> => savedFacts(config, { id: "qemu", facts: { "CPU model": cpu, accelerator: "tcg" } }, moment);
    expect(savedDifference(on("max"), on("max"))).toBeUndefined();
    expect(savedDifference(on("max"), on("host"))).toBe("its CPU model was max and is host now");
  });
});
