import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { processStart } from "../../../core/base/processes";
import { machineSockets } from "../../../core/engine/engine";
import { QmpClient } from "../../../core/engine/qmp";
import type { RunRecord } from "../../../core/machine/runRecord";
import { machineRunDir } from "../../../core/machine/runDir";
import { SavedState } from "../../../core/machine/saved";
import { fakeRuntime, TestHost } from "../../support/host";

describe("a machine whose surroundings fail", () => {
  let folder: string;
  let test: TestHost;
  const monitors: QmpClient[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-fake-"));
    test = await TestHost.open({ runtime: await fakeRuntime(folder) });
  });
  afterEach(async () => {
    for (const monitor of monitors.splice(0)) monitor.dispose();
    await test.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  /** A second client of a machine's monitor, which only the pretended machine allows. */
  async function monitor(id: string): Promise<QmpClient> {
    const client = await QmpClient.connect(machineSockets(machineRunDir(test.host.runDir, id)).monitor);
    monitors.push(client);
    return client;
  }
  const set = (id: string, patch: object) => test.host.call("machine.set", { id, patch });
  const record = async (machine: { folder: string }): Promise<RunRecord> => JSON.parse(await readFile(join(machine.folder, "run.json"), "utf8")) as RunRecord;
  const change = async (machine: { folder: string }, patch: Partial<RunRecord>): Promise<void> => writeFile(join(machine.folder, "run.json"), JSON.stringify({ ...(await record(machine)), ...patch }));
  const state = (machine: { folder: string }): string => join(machine.folder, "saved", "state");

  /** A machine that runs, and how it answers from its next start on. */
  async function saved(name: string): Promise<{ id: string; folder: string }> {
    const { id } = await test.create("a machine");
    await test.start(id);
    await test.untilAnswering(id);
    await test.succeed((await test.host.call("machine.save", { id })).job);
    return set(id, { name });
  }

  /** The start of a machine whose process lets the guest run without saying so, at the moment when it runs. */
  async function beginning(id: string): Promise<{ job: string }> {
    const { job } = await test.host.call("machine.start", { id });
    await test.until(id, (machine) => machine.startedFrom === "saved");
    const client = await monitor(id);
    while (((await client.execute("x-told")) as { status: string }).status !== "running") await new Promise((resolve) => setImmediate(resolve));
    return { job: job.id };
  }

  it("has no saved state any more when its start is cancelled while its guest begins to run", async () => {
    const machine = await saved("speechless");
    const { job } = await beginning(machine.id);
    await test.host.call("job.cancel", { id: job });
    expect(existsSync(state(machine))).toBe(false);
    expect(await test.get(machine.id)).toMatchObject({ state: "off" });
    expect(test.events).toContainEqual(expect.objectContaining({ type: "notice", notice: expect.objectContaining({ level: "warning", message: expect.stringContaining("used up") as string }) as object }));
  });

  it("has no saved state any more when the host service and its process end while its guest begins to run", async () => {
    const machine = await saved("speechless");
    const { job } = await beginning(machine.id);
    const { savedAt, pid, ...rest } = await record(machine);
    expect(rest).toMatchObject({ startedFrom: "saved", ran: true });
    const memory = await readFile(state(machine));
    const facts = await readFile(join(machine.folder, "saved", "saved.json"));
    await test.host.call("job.cancel", { id: job });
    await test.close();
    // As a host service that had no time for anything would have left it.
    await new SavedState(machine.folder).begin();
    await writeFile(state(machine), memory);
    await writeFile(join(machine.folder, "saved", "saved.json"), facts);
    await writeFile(join(machine.folder, "run.json"), JSON.stringify({ ...rest, pid, savedAt }));
    await test.reopen();
    expect(existsSync(state(machine))).toBe(false);
    expect(await test.get(machine.id)).toMatchObject({ state: "off" });
  });

  it("is taken over without its saved state when its host service ended while its guest began to run", async () => {
    const machine = await saved("a machine");
    const memory = await readFile(state(machine));
    const facts = await readFile(join(machine.folder, "saved", "saved.json"));
    await test.start(machine.id);
    await test.host.call("machine.pause", { id: machine.id });
    await test.close();
    await new SavedState(machine.folder).begin();
    await writeFile(join(machine.folder, "saved", "saved.json"), facts);
    await writeFile(state(machine), memory);
    await test.reopen();
    expect(existsSync(state(machine))).toBe(false);
    expect(await test.get(machine.id)).toMatchObject({ state: "paused" });
    expect((await test.host.call("machine.log", { id: machine.id, log: "events" })).text).not.toContain("used up");
  });

  it("keeps a state that was saved since the start it was restored by", async () => {
    const machine = await saved("a machine");
    await test.start(machine.id);
    const { pid, savedAt } = await record(machine);
    await test.succeed((await test.host.call("machine.save", { id: machine.id })).job);
    await test.close();
    // Saved, and ended by a power cut before anybody could write down how.
    const { end, ...open } = await record(machine);
    expect(end).toBeDefined();
    expect(open).toMatchObject({ startedFrom: "saved", ran: true, pid, savedAt });
    await writeFile(join(machine.folder, "run.json"), JSON.stringify(open));
    await test.reopen();
    expect(await test.get(machine.id)).toMatchObject({ state: "saved" });
    expect(existsSync(state(machine))).toBe(true);
  });

  it("keeps its saved state when its process does not come so far that the guest runs", async () => {
    const machine = await saved("refuses");
    const { job } = await test.host.call("machine.start", { id: machine.id });
    expect(await test.host.call("job.wait", { id: job.id })).toMatchObject({ state: "failed" });
    expect(await test.get(machine.id)).toMatchObject({ state: "saved" });
    expect(existsSync(state(machine))).toBe(true);
  });

  it("goes on from its saved state although its cables cannot be plugged, and says so", async () => {
    const machine = await saved("cableless");
    expect(await test.start(machine.id)).toMatchObject({ state: "running", startedFrom: "saved" });
    expect(existsSync(state(machine))).toBe(false);
    expect(test.events).toContainEqual(expect.objectContaining({ type: "notice", notice: expect.objectContaining({ level: "warning", message: expect.stringContaining("cables") as string, machineId: machine.id }) as object }));
  });

  it("takes two changes of settings at once, each in addition to the other", async () => {
    const { id } = await test.create("wanted", { adapters: [{ attachment: { mode: "none" } }, { attachment: { mode: "none" } }] });
    await Promise.all([0, 1].map((adapter) => test.host.call("machine.setLink", { id, adapter, up: true })));
    await Promise.all([0, 1].map((adapter) => test.host.call("machine.setLink", { id, adapter, up: false })));
    expect((await test.get(id)).config?.adapters.map(({ plugged }) => plugged)).toEqual([false, false]);
    await Promise.all([set(id, { notes: "noted" }), set(id, { group: "lab" })]);
    expect((await test.get(id)).config).toMatchObject({ notes: "noted", group: "lab" });
  });

  it("ends a process that was started by a host service which died before it could write that down", async () => {
    const { id, folder: machineFolder } = await test.create("left behind");
    await test.start(id);
    const machine = { folder: machineFolder };
    const { pid } = await record(machine);
    await test.close();
    await rm(join(machineFolder, "run.json"));
    await test.reopen();
    expect(await processStart(pid)).toBeUndefined();
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect(await test.start(id)).toMatchObject({ state: "running" });
  });

  it("ends such a process before a start too, and never one that is somebody else's", async () => {
    const { id, folder: machineFolder } = await test.create("left behind");
    await test.start(id);
    const { pid } = await record({ folder: machineFolder });
    const { pidFile } = machineSockets(machineRunDir(test.host.runDir, id));
    const stranger = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    try {
      await test.close();
      await rm(join(machineFolder, "run.json"));
      await writeFile(pidFile, `${stranger.pid}\n`);
      await test.reopen();
      expect(await processStart(pid)).toBeDefined();
      await writeFile(pidFile, `${pid}\n`);
      expect(await test.start(id)).toMatchObject({ state: "running" });
      expect(await processStart(pid)).toBeUndefined();
      expect(await processStart(stranger.pid ?? 0)).toBeDefined();
    } finally {
      stranger.kill("SIGKILL");
    }
  });

  it("has crashed when its process does not tell the next host service what it does, and leaves no process", async () => {
    const machine = await test.create("sullen");
    await test.start(machine.id);
    const { pid } = await record(machine);
    await test.close();
    await test.reopen();
    expect(await test.get(machine.id)).toMatchObject({ state: "crashed" });
    expect(await processStart(pid)).toBeUndefined();
    expect(await test.start(machine.id)).toMatchObject({ state: "running" });
  });

  it("runs a command for the next host service at once, although its agent loses what is said first", async () => {
    const { id } = await test.create("forgetful");
    await test.start(id);
    await test.untilAnswering(id);
    await test.close();
    await test.reopen();
    expect(await test.host.call("machine.exec", { id, command: "/bin/true" })).toMatchObject({ exitCode: 0 });
  }, 30_000);

  it("runs on while its file cannot be read, and is broken when it has stopped", async () => {
    const { id, folder: machineFolder } = await test.create("misspelt");
    await test.start(id);
    await test.untilAnswering(id);
    await writeFile(join(machineFolder, "machine.json"), "{ oops");
    await expect(test.host.call("machine.start", { id })).rejects.toMatchObject({ code: "illegal-state" });
    await test.host.call("machine.pause", { id });
    await test.host.call("machine.resume", { id });
    expect(await test.get(id)).toMatchObject({ state: "running" });
    await test.host.call("machine.reset", { id });
    await test.host.call("machine.powerOff", { id });
    await test.until(id, (machine) => machine.state === "broken");
  });

  it("tells what its guest does after it could not be saved", async () => {
    const { id } = await test.create("jammed");
    await test.start(id);
    const { job } = await test.host.call("machine.save", { id });
    expect(await test.host.call("job.wait", { id: job.id })).toMatchObject({ state: "failed" });
    expect(await test.get(id)).toMatchObject({ state: "paused" });
    await (await monitor(id)).execute("x-event", { name: "RESUME", data: {} });
    await test.until(id, (machine) => machine.state === "running");
  });

  it("goes on when its host service died while it was being saved, and says that it was not", async () => {
    const machine = await test.create("slow");
    await test.start(machine.id);
    await test.untilAnswering(machine.id);
    const client = await monitor(machine.id);
    await test.close();
    await change(machine, { saving: true });
    await client.execute("stop");
    await new SavedState(machine.folder).begin();
    await client.execute("migrate", { uri: `file:${join(machine.folder, "saved", "state.tmp")}` });
    await test.reopen();
    expect(await test.get(machine.id)).toMatchObject({ state: "running" });
    expect(await client.execute("query-migrate")).toMatchObject({ status: "failed" });
    expect(existsSync(join(machine.folder, "saved"))).toBe(false);
    expect(await record(machine)).toMatchObject({ saving: false });
    expect(await readFile(join(machine.folder, "logs", "events.log"), "utf8")).toContain("was undone, and the guest goes on");
    // One that was paused before stays so.
    await test.host.call("machine.pause", { id: machine.id });
    await test.close();
    await test.reopen();
    expect(await test.get(machine.id)).toMatchObject({ state: "paused", pauseReason: "user" });
  });

  it("notes that it is being saved before its guest stands still, and that this is over", async () => {
    const machine = await test.create("slow");
    await test.start(machine.id);
    const saving = new Promise<void>((resolve) => test.host.onDidChange((event) => event.type === "job" && event.job.detail === "Writing memory and devices" && resolve()));
    const { job } = await test.host.call("machine.save", { id: machine.id });
    await saving;
    expect(await record(machine)).toMatchObject({ saving: true });
    await test.host.call("job.cancel", { id: job.id });
    expect(await record(machine)).toMatchObject({ saving: false });
  });

  it("copies images into a machine as a job, which holds it and can be cancelled", async () => {
    const machine = await test.create("a machine");
    const image = join(folder, "image");
    await writeFile(image, Buffer.alloc(8 << 20, 1));
    const heard: string[] = [];
    let whenCopying: ((job: string) => Promise<unknown>) | undefined;
    let meanwhile: Promise<unknown> | undefined;
    test.host.onDidChange((event) => {
      if (event.type !== "job" || event.job.kind !== "add-disks") return;
      heard.push(event.job.state);
      const once = event.job.state === "running" ? whenCopying : undefined;
      if (once) whenCopying = undefined;
      meanwhile = once?.(event.job.id) ?? meanwhile;
    });
    whenCopying = (job) => test.host.call("job.cancel", { id: job });
    const adding = { addDisks: [{ image, mode: "copy" as const }] };
    await expect(set(machine.id, adding)).rejects.toMatchObject({ code: "cancelled" });
    await meanwhile;
    expect(await readdir(join(machine.folder, "disks"))).toEqual(["disk0"]);
    expect((await test.get(machine.id)).config?.disks).toHaveLength(1);

    whenCopying = () => Promise.all([expect(test.host.call("machine.start", { id: machine.id })).rejects.toMatchObject({ code: "busy" }), set(machine.id, { notes: "written meanwhile" })]);
    const { config } = await set(machine.id, adding);
    await meanwhile;
    expect(config?.disks.map(({ id, sizeBytes }) => [id, sizeBytes])).toEqual([["disk0", 64 << 20], ["disk1", 8 << 20]]);
    expect((await test.get(machine.id)).config).toMatchObject({ notes: "written meanwhile", disks: [{}, {}] });
    expect(new Set(heard)).toEqual(new Set(["running", "cancelled", "done"]));

    // What somebody has written into its file meanwhile stays.
    await writeFile(image, Buffer.alloc(64 << 20, 1));
    const { disks } = (await test.get(machine.id)).config ?? {};
    const edited = disks?.map((disk) => ({ ...disk, limits: { operationsPerSecond: 50 } }));
    whenCopying = async () => {
      const file = join(machine.folder, "machine.json");
      await writeFile(`${file}.new`, JSON.stringify({ ...(JSON.parse(await readFile(file, "utf8")) as object), disks: edited }));
      await rename(`${file}.new`, file);
      // A start that is refused has read the file.
      await expect(test.host.call("machine.start", { id: machine.id })).rejects.toMatchObject({ code: "busy" });
    };
    await expect(set(machine.id, adding)).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("changed in its file") as string });
    await meanwhile;
    expect((await test.get(machine.id)).config?.disks).toEqual(edited);
    expect((await readdir(join(machine.folder, "disks"))).sort()).toEqual(["disk0", "disk1"]);
  });

  it("has written down everything when its host service is closed", async () => {
    const { id, folder: machineFolder } = await test.create("written");
    await test.start(id);
    await test.untilAnswering(id);
    // A guest that stands still is not told again who it is.
    await test.host.call("machine.pause", { id });
    const resets = 100;
    let heard = 0;
    const all = new Promise<void>((resolve) => test.host.onDidChange((event) => event.type === "machine" && event.machine.guest.agent === "waiting" && ++heard === resets && resolve()));
    const client = await monitor(id);
    await Promise.all(Array.from({ length: resets }, () => client.execute("x-event", { name: "RESET", data: {} })));
    await all;
    await test.close();
    expect(await record({ folder: machineFolder })).toMatchObject({ identified: false });
    expect((await readFile(join(machineFolder, "logs", "events.log"), "utf8")).match(/the guest was reset\n/g)).toHaveLength(resets);
  });

  it("is as it was saved when its host service dies between the saving and the end of its process", async () => {
    const machine = await saved("a machine");
    const memory = await readFile(state(machine));
    const facts = await readFile(join(machine.folder, "saved", "saved.json"));
    await test.start(machine.id);
    const { pid } = await record(machine);
    await test.host.call("machine.pause", { id: machine.id });
    await test.close();
    await change(machine, { startedFrom: "cold", savedAt: undefined });
    await new SavedState(machine.folder).begin();
    await writeFile(join(machine.folder, "saved", "saved.json"), facts);
    await writeFile(state(machine), memory);
    await test.reopen();
    expect(await test.get(machine.id)).toMatchObject({ state: "saved" });
    expect(await processStart(pid)).toBeUndefined();
    expect(existsSync(state(machine))).toBe(true);
  });
});
