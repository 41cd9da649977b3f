import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { processStart } from "../../../core/base/processes";
import { QmpClient } from "../../../core/engine/qmp";
import { machineSockets } from "../../../core/engine/engine";
import type { QemuLookup } from "../../../core/engine/qemuHost";
import { machineRunDir } from "../../../core/machine/runDir";
import type { MachineInfo } from "../../../core/contract/model";
import { fakeRuntime, TestHost } from "../../support/host";

/** What a machine was told, beside what its host service did not need to know. */
interface Told {
  links: Record<string, boolean>;
  order: string[];
  keys: string[];
  agent: string[];
  medium?: string | null;
  time?: number;
  memory: { identity: { hostname: string; machineId: string; seed: string; hostKey: string; authorizedKeys: string; macs: string[] } | null; booted: boolean; note: string };
  status: string;
  environment: string | null;
}

/** A host that has QEMU, as far as machines on the built-in emulator notice. */
const foundQemu = {
  ok: true,
  value: { binary: "/nowhere/qemu", version: { text: "7.2" }, machineTypes: { q35: "pc-q35-7.2", pc: "pc-i440fx-7.2" }, allMachineTypes: ["pc-q35-7.2", "pc-i440fx-7.2"], maxCpus: 8, install: { img: "Install it." }, accelerators: [], accelerator: { id: "tcg", label: "TCG", argument: "tcg", cpuModel: "max", works: true, fast: false } },
} as unknown as QemuLookup;

describe("a machine", () => {
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
  const told = async (id: string): Promise<Told> => (await (await monitor(id)).execute("x-told")) as Told;
  const job = async (name: "machine.start" | "machine.save" | "machine.shutdown", id: string) => (await test.host.call(name, { id })).job;
  const failure = async (info: { id: string }) => (await test.host.call("job.wait", { id: info.id })).error;

  it("starts, tells the guest who it is, and only then plugs its cables", async () => {
    const { id } = await test.create("Große Kiste 7", { adapters: [{ attachment: { mode: "none" } }] });
    const started = await test.start(id);
    expect(started).toMatchObject({ state: "running", startedFrom: "cold", unresponsive: false });
    const answering = await test.untilAnswering(id);
    expect(answering.guest).toMatchObject({ hostname: "grosse-kiste-7" });
    const { order, memory } = await told(id);
    expect(order[0]).toBe("identity");
    expect(order.slice(1)).toEqual(["net0 down"]);
    expect(memory.identity?.machineId).toMatch(/^[0-9a-f]{32}$/);
    expect(memory.identity?.authorizedKeys).toMatch(/^ssh-ed25519 [A-Za-z0-9+/=]+ terrarium\n$/);
  });

  it("is looked at through its agent: addresses without local ones, and no control characters", async () => {
    const { id } = await test.create("seen");
    await test.start(id);
    const { guest } = await test.until(id, (machine) => machine.guest.os !== undefined);
    expect(guest).toMatchObject({ agent: "answering", os: "Pretend Linux 1 [2J", addresses: [{ adapter: 0, address: "10.0.2.15" }] });
  });

  it("makes the pre-booted state for the next time, and starts from it then", async () => {
    const { id } = await test.create("first");
    await test.start(id);
    await test.untilAnswering(id);
    const prepared = await untilEvent((event) => event.type === "job" && event.job.kind === "prepare-state" && event.job.state !== "running");
    expect(prepared).toMatchObject({ job: { state: "done" } });
    const second = await test.create("second");
    const started = await test.start(second.id);
    expect(started).toMatchObject({ state: "running", startedFrom: "pre-booted", guest: { agent: "answering", hostname: "second" } });
    const after = await told(second.id);
    expect(after.order.slice(0, 2)).toEqual(["restored", "identity"]);
    const first = await told(id);
    for (const field of ["hostname", "machineId", "seed", "hostKey"] as const) expect(after.memory.identity?.[field]).not.toBe(first.memory.identity?.[field]);
    expect(after.memory.identity?.authorizedKeys).toBe(first.memory.identity?.authorizedKeys);
  });

  it("boots from the beginning and says so when its pre-booted state is of no use", async () => {
    const { id } = await test.create("first");
    await test.start(id);
    await untilEvent((event) => event.type === "job" && event.job.kind === "prepare-state" && event.job.state === "done");
    const states = join(test.home, "states");
    const [key] = await readdir(states);
    await writeFile(join(states, key ?? "", "state"), "damaged");
    const second = await test.create("second");
    expect(await test.start(second.id)).toMatchObject({ state: "running", startedFrom: "cold" });
    expect(test.events).toContainEqual(expect.objectContaining({ type: "notice", notice: expect.objectContaining({ level: "warning", machineId: second.id, message: expect.stringContaining("boots from the beginning") as string }) as object }));
  });

  it("pauses and goes on, with the reason", async () => {
    const { id } = await test.create("pausing");
    await test.start(id);
    await test.host.call("machine.pause", { id });
    expect(await test.get(id)).toMatchObject({ state: "paused", pauseReason: "user" });
    await expect(test.host.call("machine.exec", { id, command: "/bin/true" })).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("paused") as string });
    await test.host.call("machine.resume", { id });
    expect(await test.get(id)).toMatchObject({ state: "running" });
  });

  it("is paused when the host's disk is full, and says what to do", async () => {
    const { id } = await test.create("full");
    await test.start(id);
    const qmp = await monitor(id);
    await qmp.execute("x-event", { name: "BLOCK_IO_ERROR", data: { device: "disk0", action: "stop", nospace: true } });
    await qmp.execute("x-event", { name: "STOP", data: {} });
    expect(await test.until(id, (machine) => machine.state === "paused")).toMatchObject({ pauseReason: "disk-full" });
    expect(test.events).toContainEqual(expect.objectContaining({ type: "notice", notice: expect.objectContaining({ level: "error", remedy: expect.stringContaining("resume") as string }) as object }));
  });

  it("saves, and goes on where it was with its identity, its clock set", async () => {
    const { id } = await test.create("saver");
    await test.start(id);
    await test.untilAnswering(id);
    const before = await told(id);
    await (await monitor(id)).execute("x-note", { text: "remember this" });
    const viewer = await test.host.openStream({ stream: "serial", id });
    viewer.write("typed before\r\n");
    await read(viewer, "typed before");
    await test.succeed(await job("machine.save", id));
    const saved = await test.get(id);
    expect(saved).toMatchObject({ state: "saved" });
    expect(existsSync(join(saved.folder, "saved", "state"))).toBe(true);
    await expect(test.host.call("machine.set", { id, patch: { memoryMiB: 128 } })).rejects.toMatchObject({ code: "illegal-state" });

    expect(await test.start(id)).toMatchObject({ state: "running", startedFrom: "saved" });
    await test.until(id, (machine) => machine.guest.agent === "answering");
    const after = await told(id);
    expect(after.memory.note).toBe("remember this");
    expect(after.memory.identity).toEqual(before.memory.identity);
    expect(after.order).not.toContain("identity");
    expect(after.time).toBeGreaterThan(1.6e18);
    expect(existsSync(join(saved.folder, "saved"))).toBe(false);
    // The guest has said nothing since.
    const again = await test.host.openStream({ stream: "serial", id });
    await read(again, "typed before");
    again.destroy();
  });

  it("lets the guest go on when saving is cancelled", async () => {
    const { id } = await test.create("slow saver");
    await test.start(id);
    const saving = await job("machine.save", id);
    await untilEvent((event) => event.type === "job" && event.job.id === saving.id && event.job.detail === "Writing memory and devices");
    await test.host.call("job.cancel", { id: saving.id });
    expect(await test.host.call("job.wait", { id: saving.id })).toMatchObject({ state: "cancelled" });
    const machine = await test.get(id);
    expect(machine).toMatchObject({ state: "running" });
    expect((await told(id)).status).toBe("running");
    expect(existsSync(join(machine.folder, "saved"))).toBe(false);
  });

  it("refuses a saved state that does not fit any more, names the difference, and lets it be discarded", async () => {
    const { id } = await test.create("changed");
    await test.start(id);
    await test.succeed(await job("machine.save", id));
    const { folder: machineFolder } = await test.get(id);
    await test.close();
    const path = join(machineFolder, "machine.json");
    await writeFile(path, (await readFile(path, "utf8")).replace('"memoryMiB": 256', '"memoryMiB": 128'));
    await test.reopen();
    const refused = await failure(await job("machine.start", id));
    expect(refused).toMatchObject({ code: "illegal-state", message: expect.stringContaining("256 MB of memory and has 128 MB now") as string, remedy: expect.stringContaining("discard") as string });
    expect(await test.get(id)).toMatchObject({ state: "saved" });
    await test.host.call("machine.discardSaved", { id });
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect(await test.start(id)).toMatchObject({ state: "running", startedFrom: "cold" });
  });

  it("shuts down by its agent", async () => {
    const { id } = await test.create("polite");
    await test.start(id);
    await test.untilAnswering(id);
    await test.succeed(await job("machine.shutdown", id));
    const machine = await test.get(id);
    expect(machine).toMatchObject({ state: "off" });
    expect(machine.problem).toBeUndefined();
  });

  it("shuts down by the power button when no agent answers", async () => {
    const { id } = await test.create("mute");
    await test.start(id);
    expect(await test.get(id)).toMatchObject({ guest: { agent: "waiting" } });
    await test.succeed(await job("machine.shutdown", id));
    expect(await test.get(id)).toMatchObject({ state: "off" });
  });

  it("stops waiting for a guest that does not shut down when that is cancelled, and runs on", async () => {
    const { id } = await test.create("deaf");
    await test.start(id);
    const stopping = await job("machine.shutdown", id);
    await test.until(id, (machine) => machine.state === "stopping");
    await expect(test.host.call("machine.pause", { id })).rejects.toMatchObject({ code: "illegal-state" });
    await test.host.call("job.cancel", { id: stopping.id });
    expect(await test.get(id)).toMatchObject({ state: "running" });
  });

  it("is powered off in the middle of a job", async () => {
    const { id } = await test.create("deaf");
    await test.start(id);
    const stopping = await job("machine.shutdown", id);
    await test.until(id, (machine) => machine.state === "stopping");
    await test.host.call("machine.powerOff", { id });
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect((await test.host.call("job.wait", { id: stopping.id })).state).toBe("cancelled");
  });

  it("has crashed when its process dies, with the reason, and starts again", async () => {
    const { id } = await test.create("victim");
    await test.start(id);
    const { folder: machineFolder } = await test.get(id);
    const { pid } = JSON.parse(await readFile(join(machineFolder, "run.json"), "utf8")) as { pid: number };
    process.kill(pid, "SIGKILL");
    const crashed = await test.until(id, (machine) => machine.state === "crashed");
    expect(crashed.problem).toMatchObject({ code: "engine-failed", message: expect.stringContaining("SIGKILL") as string, remedy: expect.stringContaining(join(machineFolder, "logs")) as string });
    expect(await test.start(id)).toMatchObject({ state: "running" });
    expect((await test.get(id)).problem).toBeUndefined();
  });

  it("tells why a machine process did not start, and is as it was", async () => {
    const { id } = await test.create("refuses");
    const error = await failure(await job("machine.start", id));
    expect(error).toMatchObject({ code: "engine-failed", message: expect.stringContaining("exit code 1") as string });
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect((await test.host.call("machine.log", { id, log: "engine" })).text).toContain("this machine refuses to start");
  });

  it("leaves no process when its start is cancelled or its process dies while it starts", async () => {
    const { id } = await test.create("dies");
    expect(await failure(await job("machine.start", id))).toMatchObject({ code: "engine-failed" });
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect(test.host.liveMachines()).toEqual([]);
  });

  it("is held by one job at a time", async () => {
    const { id } = await test.create("slow one");
    await test.start(id);
    const saving = await job("machine.save", id);
    await expect(test.host.call("machine.shutdown", { id })).rejects.toMatchObject({ code: "busy" });
    await expect(test.host.call("machine.pause", { id })).rejects.toMatchObject({ code: "busy" });
    await untilEvent((event) => event.type === "job" && event.job.id === saving.id && event.job.detail === "Writing memory and devices");
    await test.host.call("job.cancel", { id: saving.id });
  });

  it("is taken over by the next host service: state, serial history and guest", async () => {
    const { id } = await test.create("survivor");
    await test.start(id);
    await test.untilAnswering(id);
    const viewer = await test.host.openStream({ stream: "serial", id });
    viewer.write("typed before\r\n");
    await read(viewer, "typed before");
    viewer.destroy();
    await test.host.call("machine.pause", { id });
    await test.close();

    await test.reopen();
    expect(await test.get(id)).toMatchObject({ state: "paused", startedFrom: "cold" });
    await test.host.call("machine.resume", { id });
    await test.untilAnswering(id);
    const again = await test.host.openStream({ stream: "serial", id });
    await read(again, "typed before");
    again.destroy();
    expect((await told(id)).order.filter((step) => step === "identity")).toHaveLength(1);
  });

  it("stays on the engine its guest's memory is in, also when \"auto\" would choose another one now", async () => {
    const { id } = await test.create("settled", { boot: { kind: "firmware", order: "disk" } });
    expect(await test.start(id)).toMatchObject({ engine: { id: "v86" } });
    await test.close();
    Object.assign(test.runtime, { findQemu: async () => foundQemu });
    await test.reopen();
    // The host service has found QEMU by now.
    await test.host.call("machine.commandLine", { id });
    expect((await test.host.call("host.info", {})).engines.map((engine) => engine.available)).toEqual([true, true]);
    expect((await test.create("new", { boot: { kind: "firmware", order: "disk" } })).engine?.id).toBe("qemu");
    expect(await test.get(id)).toMatchObject({ state: "running", engine: { id: "v86" } });
    await expect(test.host.call("machine.setBalloon", { id, memoryMiB: 64 })).rejects.toMatchObject({ code: "unsupported" });
    await test.succeed(await job("machine.save", id));
    expect(await test.get(id)).toMatchObject({ state: "saved", engine: { id: "v86" } });
    await test.close();
    await test.reopen();
    expect(await test.get(id)).toMatchObject({ state: "saved", engine: { id: "v86" } });
    expect(await test.start(id)).toMatchObject({ state: "running", startedFrom: "saved", engine: { id: "v86" } });
    await test.host.call("machine.powerOff", { id });
    expect(await test.get(id)).toMatchObject({ state: "off", engine: { id: "qemu" } });
  });

  it("learns of an end it did not see: a shutdown is one, anything else is a crash", async () => {
    const quiet = await test.create("quiet end");
    const bad = await test.create("bad end");
    for (const { id } of [quiet, bad]) await test.start(id);
    const pids = await Promise.all([quiet, bad].map(async ({ folder: path }) => (JSON.parse(await readFile(join(path, "run.json"), "utf8")) as { pid: number }).pid));
    const client = await monitor(quiet.id);
    await test.close();
    const closed = new Promise((resolve) => client.onDidClose(resolve));
    await client.execute("system_powerdown");
    await closed;
    process.kill(pids[1] ?? 0, "SIGKILL");
    await Promise.all(pids.map(gone));

    await test.reopen();
    expect(await test.get(quiet.id)).toMatchObject({ state: "off" });
    expect((await test.get(bad.id)).problem).toMatchObject({ code: "engine-failed" });
    expect(await test.get(bad.id)).toMatchObject({ state: "crashed" });
  });

  it("runs commands in the guest", async () => {
    const { id } = await test.create("worker");
    await test.start(id);
    await test.untilAnswering(id);
    const run = (command: string, more: object = {}) => test.host.call("machine.exec", { id, command, ...more });
    expect(await run("/bin/echo", { args: ["a b"], input: "in" })).toEqual({ exitCode: 0, signal: null, stdout: "/bin/echo a b < in", stderr: "é", truncated: false });
    expect(await run("/bin/false")).toMatchObject({ exitCode: 1 });
    expect(await run("/bin/killed")).toMatchObject({ exitCode: null, signal: 9 });
    expect(await run("/bin/long")).toMatchObject({ truncated: true });
    await expect(run("/bin/nothing")).rejects.toMatchObject({ code: "invalid-input", message: expect.stringContaining("Failed to execute") as string });
    await expect(run("/bin/forever", { timeoutMs: 100 })).rejects.toMatchObject({ code: "timeout" });
  });

  it("types text and presses keys, and names the character a keyboard does not have", async () => {
    const { id } = await test.create("typist");
    await test.start(id);
    await test.host.call("machine.typeText", { id, text: "Hi!\n" });
    await test.host.call("machine.sendKeys", { id, keys: ["Ctrl", "Alt", "Del"] });
    expect((await told(id)).keys).toEqual(["shift+h", "i", "shift+1", "ret", "ctrl+alt+delete"]);
    await expect(test.host.call("machine.typeText", { id, text: "ok ü" })).rejects.toMatchObject({ code: "invalid-input", message: expect.stringContaining("“ü” (U+00FC)") as string });
  });

  it("shows its screen, keeps the last picture when it stops, and leaves out one that was seen", async () => {
    const { id } = await test.create("screen");
    expect(await test.host.call("machine.screenshot", { id })).toEqual({ live: false, revision: "none", png: null });
    await test.start(id);
    const live = await test.host.call("machine.screenshot", { id });
    expect(live).toMatchObject({ live: true });
    expect(Buffer.from(live.png ?? "", "base64").toString()).toContain("picture of screen running");
    expect(await test.host.call("machine.screenshot", { id, unless: live.revision })).toMatchObject({ revision: live.revision, png: null });
    await test.host.call("machine.powerOff", { id });
    const last = await test.host.call("machine.screenshot", { id });
    expect(last).toMatchObject({ live: false, revision: live.revision });
    expect(last.png).toBe(live.png);
  });

  it("changes names, notes and the medium while it runs, and hardware only while it is off", async () => {
    const { id } = await test.create("before");
    await test.start(id);
    const iso = join(folder, "some.iso");
    const image = Buffer.alloc(40 * 1024);
    image.write("\u0001CD001\u0001", 16 * 2048, "latin1");
    await writeFile(iso, image);
    const set = (patch: object): Promise<MachineInfo> => test.host.call("machine.set", { id, patch });
    expect(await set({ name: "after", notes: "n", group: "lab" })).toMatchObject({ name: "after", config: { notes: "n", group: "lab" } });
    expect(await set({ medium: iso })).toMatchObject({ config: { drives: [{ id: "cd0", medium: iso }] } });
    expect((await told(id)).medium).toBe(iso);
    await expect(set({ memoryMiB: 128 })).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("Shut it down first") as string });
    expect(await set({ memoryMiB: 256 })).toMatchObject({ state: "running" });
    await test.host.call("machine.powerOff", { id });
    expect(await set({ memoryMiB: 128, group: null })).toMatchObject({ config: { memoryMiB: 128 } });
    expect((await test.get(id)).config?.group).toBeUndefined();
  });

  it("is somebody again after a reset", async () => {
    const { id } = await test.create("resetter");
    await test.start(id);
    await test.untilAnswering(id);
    await test.host.call("machine.reset", { id });
    const { guest } = await test.until(id, (machine) => machine.guest.agent === "answering" && machine.guest.hostname === "resetter");
    expect(guest.hostname).toBe("resetter");
    const { order } = await told(id);
    expect(order.filter((step) => step === "identity")).toHaveLength(2);
    expect(order.slice(order.indexOf("net0 down"))).toContain("identity");
  });

  it("goes to the trash and comes back, but not while it runs", async () => {
    const { id } = await test.create("rubbish");
    await test.start(id);
    await expect(test.host.call("machine.delete", { id })).rejects.toMatchObject({ code: "illegal-state" });
    await test.host.call("machine.powerOff", { id });
    const entry = await test.host.call("machine.delete", { id });
    expect(await test.host.call("machine.list", {})).toEqual([]);
    expect(test.events).toContainEqual({ type: "machineRemoved", id });
    expect(await test.host.call("trash.restore", { id: entry.id })).toMatchObject({ id, state: "off", name: "rubbish" });
  });

  it("knows since when it runs or does not, over pauses and other host services", async () => {
    const { id } = await test.create("patient");
    const { startedAt } = await test.start(id);
    expect(startedAt).toBeDefined();
    await test.host.call("machine.pause", { id });
    await test.host.call("machine.resume", { id });
    await test.close();
    await test.reopen();
    expect(await test.until(id, ({ state }) => state === "running")).toMatchObject({ startedAt });
    await test.host.call("machine.powerOff", { id });
    const { folder } = await test.get(id);
    const { end } = JSON.parse(await readFile(join(folder, "run.json"), "utf8")) as { end: { at: number } };
    await test.close();
    await test.reopen();
    expect(await test.get(id)).toMatchObject({ state: "off", since: end.at });
    expect((await test.get(id)).startedAt).toBeUndefined();
  });

  it("keeps a log of what happened to it", async () => {
    const { id } = await test.create("historian");
    await test.start(id);
    await test.host.call("machine.powerOff", { id });
    const { text } = await test.host.call("machine.log", { id, log: "events" });
    // Its guest may have answered in between.
    expect(text).toMatch(/started from power on in \d+\.\d s\n[^]*powered off\n[^]*stopped\n$/);
  });

  it("refuses what is no call, and input that does not fit", async () => {
    await expect(test.host.call("machine.get", { id: "nonsense" })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(test.host.call("machine.fly" as "machine.get", {})).rejects.toMatchObject({ code: "not-found" });
    await expect(test.host.call("machine.get", { id: "00000000-0000-4000-8000-000000000000" })).rejects.toMatchObject({ code: "not-found" });
  });

  function untilEvent(accepts: (event: TestHost["events"][number]) => boolean): Promise<TestHost["events"][number]> {
    const past = test.events.find(accepts);
    if (past) return Promise.resolve(past);
    return new Promise((resolve) => {
      const subscription = test.host.onDidChange((event) => {
        if (!accepts(event)) return;
        subscription.dispose();
        resolve(event);
      });
    });
  }
});

function read(stream: NodeJS.ReadableStream, text: string): Promise<void> {
  let seen = "";
  return new Promise((resolve) =>
    stream.on("data", (data: Buffer) => {
      seen += data.toString();
      if (seen.includes(text)) resolve();
    }),
  );
}

/** Resolves when the process has ended. */
async function gone(pid: number): Promise<void> {
  while ((await processStart(pid)) !== undefined) await new Promise((resolve) => setImmediate(resolve));
}
