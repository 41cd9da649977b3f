import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import { processStart } from "../../../core/base/processes";
import { EngineTable } from "../../../core/engine/engine";
import { qemuEngine } from "../../../core/engine/qemu";
import { v86Engine } from "../../../core/engine/v86Argv";
import { Jobs } from "../../../core/machine/jobs";
import { Machine } from "../../../core/machine/machine";
import { fakeRuntime } from "../../support/host";
import { makeConfig } from "../../support/machineConfig";
import { SkippingClock } from "../../support/skippingClock";
import { useTemporaryFolder } from "../../support/temporaryFolder";

describe("pulling the plug of a machine process that does not answer", () => {
  const temporary = useTemporaryFolder();
  const clock = new SkippingClock();
  let machine: Machine;
  let jobs: Jobs;

  /** A machine that runs, and the pid of its process. */
  async function run(name: string): Promise<number> {
    const folder = join(temporary.path, "machine");
    await mkdir(folder);
    const runtime = await fakeRuntime(temporary.path);
    jobs = new Jobs(clock);
    const config = makeConfig({ name, boot: { kind: "firmware", order: "disk" } });
    machine = new Machine(
      { id: config.id, folder, folderName: "machine", name, config },
      {
        engines: new EngineTable(v86Engine(runtime), qemuEngine()),
        jobs,
        clock,
        log: silentLog,
        runDir: () => join(temporary.path, "run"),
        guestFiles: () => ({ firmware: { bios: "b", vgabios: "v" } }),
        enginesKnown: async () => undefined,
        imageTool: () => undefined,
        states: () => undefined,
        authorizedKeys: async () => [],
        checkStart: async () => undefined,
        network: () => undefined,
        notify: () => undefined,
        prepareForNextTime: () => undefined,
      },
    );
    expect(await jobs.wait((await machine.start()).id)).toMatchObject({ state: "done" });
    return (JSON.parse(await readFile(join(folder, "run.json"), "utf8")) as { pid: number }).pid;
  }
  afterEach(() => machine.release());

  it("takes no more than ten seconds", async () => {
    const pid = await run("stopped");
    process.kill(pid, "SIGSTOP");
    const off = machine.powerOff();
    await clock.skip(10_000);
    await off;
    expect(machine.info()).toMatchObject({ state: "off" });
    expect(await processStart(pid)).toBeUndefined();
  });

  it("takes no more than that in the middle of a job that waits for the process", async () => {
    const pid = await run("slow");
    const writing = new Promise<void>((resolve) => jobs.onDidChange((job) => job.detail === "Writing memory and devices" && resolve()));
    const saving = await machine.save();
    await writing;
    process.kill(pid, "SIGSTOP");
    const off = machine.powerOff();
    await clock.skip(10_000);
    await off;
    expect(machine.info()).toMatchObject({ state: "off" });
    expect((await jobs.wait(saving.id)).state).not.toBe("running");
    expect(await processStart(pid)).toBeUndefined();
  });

  it("gives one that answers its time to close its disks", async () => {
    const pid = await run("lingers");
    const { qmp } = machine.live().session;
    const ending = qmp.waitFor(({ event }) => event === "SHUTDOWN");
    const off = machine.powerOff();
    await ending;
    // Answers come in order: when this one is there, the one before it is too.
    await qmp.execute("x-told");
    await clock.skip(15_000);
    expect(await processStart(pid)).toBeDefined();
    process.kill(pid, "SIGTERM");
    await off;
    expect(machine.info()).toMatchObject({ state: "off" });
  });
});
