import { spawn } from "node:child_process";
import { getEventListeners, once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import { isRunning, ownIdentity, processStart } from "../../../core/base/processes";
import { EngineTable, type Engine } from "../../../core/engine/engine";
import { connectWhenReady } from "../../../core/engine/machineProcess";
import { QmpClient } from "../../../core/engine/qmp";
import { qemuEngine } from "../../../core/engine/qemu";
import { v86Engine } from "../../../core/engine/v86Argv";
import { prepareDefaultState } from "../../../core/machine/index";
import { PreBootedStates } from "../../../core/machine/preBooted";
import type { Runtime } from "../../../core/machine/runtime";
import { fakeRuntime } from "../../support/host";
import { makeConfig, oneDisk } from "../../support/machineConfig";
import { SkippingClock } from "../../support/skippingClock";

const never = new AbortController().signal;
const quiet = (): void => undefined;

describe("pre-booted states", () => {
  let folder: string;
  let runtime: Runtime;
  let states: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-fake-"));
    runtime = await fakeRuntime(folder);
    states = join(folder, "states");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const engines = (): EngineTable => new EngineTable(v86Engine(runtime), qemuEngine());
  const open = (patch: { guestBuild?: string; emulator?: string; folders?: string[]; engine?: Engine; clock?: SkippingClock } = {}): PreBootedStates =>
    new PreBootedStates({
      folders: [states],
      target: states,
      engine: engines().resolve({ engine: "v86", memoryMiB: 256, cpus: 1 }),
      runsOn: (config) => engines().resolve(config),
      guest: { firmware: { bios: "b", vgabios: "v" }, starter: { kernel: "k", initrd: "i", cmdline: "c" } },
      guestBuild: "build 1",
      emulator: "emulator 1",
      background: false,
      log: silentLog,
      ...patch,
    });

  it("have one key for machines with the same hardware, whatever they are called and wherever their disks lie", () => {
    const key = (patch: Parameters<typeof makeConfig>[0]): string | undefined => open().keyFor(makeConfig(patch));
    const same = key({ disks: oneDisk });
    expect(same).toMatch(/^[0-9a-f]{20}$/);
    expect(key({ name: "other", notes: "n", disks: [{ id: "disk0", sizeBytes: 512, layers: [{ file: "/elsewhere", format: "raw" }] }] })).toBe(same);
    for (const other of [key({ disks: [] }), key({ disks: oneDisk, memoryMiB: 64 }), open({ guestBuild: "build 2" }).keyFor(makeConfig({ disks: oneDisk })), open({ emulator: "emulator 2" }).keyFor(makeConfig({ disks: oneDisk }))]) {
      expect(other).toBeDefined();
      expect(other).not.toBe(same);
    }
    expect(key({ boot: { kind: "firmware", order: "disk" } })).toBeUndefined();
    // What another engine runs has no use for the memory of this one.
    expect(key({ disks: oneDisk, engine: "qemu" })).toBeUndefined();
  });

  it("are made from a machine that is nobody, has no link and none of anyone's disks, and leave no process, no other file and nobody who listens", async () => {
    const store = open();
    const config = makeConfig({ disks: oneDisk });
    const details: string[] = [];
    const { signal } = new AbortController();
    await store.prepare(config, signal, (detail) => details.push(detail));
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect(details).toEqual(["Booting the starter guest once", "Making the guest anonymous", "Saving its memory"]);
    const key = store.keyFor(config) ?? "";
    expect(await store.find(key)).toBe(join(states, key, "state"));
    expect(await readdir(states)).toEqual([key]);
    expect((await readdir(join(states, key))).sort()).toEqual(["about.json", "state"]);
    expect(JSON.parse(await readFile(join(states, key, "state"), "utf8"))).toMatchObject({ memory: { identity: null } });
  });

  it("are made once when two host services make the same one", async () => {
    const config = makeConfig();
    const [one, two] = [open(), open()];
    await Promise.all([one.prepare(config, never, quiet), two.prepare(config, never, quiet), one.prepare(config, never, quiet)]);
    expect(await readdir(states)).toEqual([one.keyFor(config)]);
  });

  it("leave nothing when their making is cancelled or fails", async () => {
    const abort = new AbortController();
    const making = open().prepare(makeConfig(), abort.signal, () => abort.abort());
    await expect(making).rejects.toMatchObject({ code: "cancelled" });
    expect(await readdir(states)).toEqual([]);
    await expect(open().prepare(makeConfig({ boot: { kind: "firmware", order: "cd" } }), never, quiet)).rejects.toMatchObject({ code: "unsupported" });
  });

  it("are waited for while the machine process is slow to begin", async () => {
    const clock = new SkippingClock();
    const engine = new EngineTable(v86Engine(runtime), qemuEngine()).resolve({ engine: "v86", memoryMiB: 256, cpus: 1 });
    let monitor = "";
    const speechless: Engine = {
      ...engine,
      plan: (config, context) => {
        monitor = context.sockets.monitor;
        return engine.plan({ ...config, name: "speechless" }, context);
      },
    };
    const abort = new AbortController();
    let failed: unknown;
    const making = open({ engine: speechless, clock })
      .prepare(makeConfig(), abort.signal, quiet)
      .catch((error: unknown) => (failed = error));
    while (monitor === "") await new Promise((resolve) => setImmediate(resolve));
    const client = await QmpClient.over(await connectWhenReady(monitor, { timeoutMs: 10_000 }));
    while (((await client.execute("x-told")) as { status: string }).status !== "running") await new Promise((resolve) => setImmediate(resolve));
    await clock.skip(60_000);
    expect(failed).toBeUndefined();
    abort.abort();
    await making;
    expect(failed).toMatchObject({ code: "cancelled" });
    client.dispose();
  });

  it("of other builds are removed, and what dead preparations left, with their machine process", async () => {
    const config = makeConfig();
    await open().prepare(config, never, quiet);
    const orphan = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    const ended = once(orphan, "exit");
    const identity = { pid: orphan.pid ?? 0, start: await processStart(orphan.pid ?? 0) };
    const mine = await ownIdentity();
    const dead = join(states, ".staging-999999999-1-abcd0123");
    const alive = join(states, `.staging-${mine.pid}-${mine.start}-abcd0123`);
    for (const path of [dead, alive, join(states, "something else")]) await mkdir(path);
    await writeFile(join(dead, "process.json"), JSON.stringify(identity));
    await open().removeStale();
    await ended;
    expect(await isRunning(identity)).toBe(false);
    expect((await readdir(states)).sort()).toEqual([`.staging-${mine.pid}-${mine.start}-abcd0123`, open().keyFor(config), "something else"].sort());
    await open({ guestBuild: "build 2" }).removeStale();
    expect((await readdir(states)).sort()).toEqual([`.staging-${mine.pid}-${mine.start}-abcd0123`, "something else"].sort());
  });

  it("are thrown away when damaged, and when their guest does not answer for the second time", async () => {
    const store = open();
    const config = makeConfig();
    const key = store.keyFor(config) ?? "";
    await store.prepare(config, never, quiet);
    await store.failed(key, false);
    expect(await store.find(key)).toBeDefined();
    await store.failed(key, false);
    expect(await store.find(key)).toBeUndefined();
    await store.prepare(config, never, quiet);
    await store.failed(key, true);
    expect(await store.find(key)).toBeUndefined();
  });

  it("for the usual starter machine are made beside the guest at set-up", async () => {
    await prepareDefaultState(runtime, silentLog);
    const made = await readdir(join(runtime.guestDir, "states"));
    expect(made).toHaveLength(1);
    await prepareDefaultState(runtime, silentLog);
    expect(await readdir(join(runtime.guestDir, "states"))).toEqual(made);
  });
});
