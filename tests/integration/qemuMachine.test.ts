import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MiB } from "../../core/base/bytes";
import { isRunning, processStart } from "../../core/base/processes";
import type { MachineInfo, MachinePatch } from "../../core/contract/model";
import { machineSockets } from "../../core/engine/engine";
import { QmpClient } from "../../core/engine/qmp";
import { machineRunDir } from "../../core/machine/runDir";
import { TestHost } from "../support/host";

/*
 * What machines on QEMU do beyond the life of every machine (host.test.ts): changes while they run, guests that panic or
 * power off unseen, disks that fill up, a QEMU that hangs. One guest serves most of it; each test leaves it running.
 */

async function pidOf(machine: Pick<MachineInfo, "folder">): Promise<number> {
  return (JSON.parse(await readFile(join(machine.folder, "run.json"), "utf8")) as { pid: number }).pid;
}

const lastEvents = async (test: TestHost, id: string): Promise<string> => (await test.host.call("machine.log", { id, log: "events" })).text;

describe("a machine that runs on QEMU", () => {
  let test: TestHost;
  let id = "";
  const set = (patch: MachinePatch): Promise<MachineInfo> => test.host.call("machine.set", { id, patch });
  const boot = async (): Promise<void> => {
    await test.start(id);
    await test.untilAnswering(id);
  };

  beforeAll(async () => {
    test = await TestHost.open();
    ({ id } = await test.create("on qemu", { engine: "qemu", adapters: [{ attachment: { mode: "none" } }, { attachment: { mode: "none" }, model: "e1000" }] }));
    await boot();
  });
  afterAll(() => test.dispose());

  it("tells what runs it, and its exact command line, which the log has too", async () => {
    const { engine, config } = await test.get(id);
    expect(engine).toMatchObject({ id: "qemu", available: true, version: expect.stringMatching(/^\d+\.\d+/) as string, accelerator: { label: expect.any(String) as string } });
    if (engine?.accelerator?.fast === false) expect(engine.accelerator).toMatchObject({ reason: expect.any(String) as string });
    expect(config?.hardware?.machineVersion).toMatch(/^\d+\.\d+$/);
    const { live, command } = await test.host.call("machine.commandLine", { id });
    expect(live).toBe(true);
    const { folder } = await test.get(id);
    expect((await readFile(`/proc/${await pidOf({ folder })}/cmdline`, "utf8")).split("\0").slice(0, -1)).toEqual(command);
    expect((await test.host.call("machine.log", { id, log: "engine" })).text).toContain(` -name 'guest=on qemu' `);
    expect(command.join(" ")).not.toMatch(/-netdev (user|tap|bridge)|-nic|"type":"(user|tap|bridge)"/);
  });

  it("takes memory from the guest and gives it back", async () => {
    const total = async (): Promise<number> => Number(await test.shell(id, "awk '/MemTotal/ { print $2 }' /proc/meminfo"));
    await test.shell(id, "while ! grep -q virtio_balloon /proc/modules; do usleep 50000; done");
    const before = await total();
    await test.host.call("machine.setBalloon", { id, memoryMiB: 160 });
    const squeezed = await test.until(id, (machine) => machine.balloonMiB === 160);
    expect(squeezed.balloonMiB).toBe(160);
    expect(await total()).toBeLessThan(before - 80 * 1024);
    await test.host.call("machine.setBalloon", { id, memoryMiB: 256 });
    await test.until(id, (machine) => machine.balloonMiB === undefined);
    expect(await total()).toBe(before);
    await expect(test.host.call("machine.setBalloon", { id, memoryMiB: 512 })).rejects.toMatchObject({ code: "invalid-input" });
    await expect(test.host.call("machine.setBalloon", { id, memoryMiB: 16 })).rejects.toMatchObject({ code: "invalid-input", message: expect.stringContaining("64 MB") as string });
  });

  it("is given another disk while it runs, and lets go of it again", async () => {
    const added = await set({ addDisks: [{ sizeBytes: 8 * MiB }] });
    expect(added.config?.disks.map((disk) => disk.id)).toEqual(["disk0", "disk1"]);
    await test.shell(id, "while [ ! -b /dev/vdb ]; do usleep 50000; done");
    expect(await test.shell(id, "cat /sys/block/vdb/size /sys/block/vdb/serial")).toBe(`${(8 * MiB) / 512}\ndisk1`);
    await test.shell(id, "echo written > /dev/vdb; sync");
    expect((await readFile(join(added.folder, added.config?.disks[1]?.layers[0]?.file ?? ""), "utf8")).slice(0, 7)).toBe("written");
    const removed = await set({ removeDisks: ["disk1"] });
    expect(removed.config?.disks.map((disk) => disk.id)).toEqual(["disk0"]);
    expect(await test.shell(id, "ls /dev/vd*")).toBe("/dev/vda");
    // The place is free again.
    await set({ addDisks: [{ sizeBytes: MiB }] });
    await set({ removeDisks: ["disk1"] });
  });

  it("refuses to plug what cannot be plugged while it runs, with the reason", async () => {
    await expect(set({ addDisks: [{ sizeBytes: MiB, bus: "sata" }] })).rejects.toMatchObject({ code: "unsupported", message: expect.stringContaining("SATA") as string });
    await expect(set({ cpus: 2 })).rejects.toMatchObject({ code: "illegal-state" });
    await expect(set({ hardware: { firmware: "uefi" } })).rejects.toMatchObject({ code: "illegal-state" });
  });

  it("holds a disk back, and lets it go", async () => {
    const bytes = 3 * MiB;
    const seconds = async (): Promise<number> => Number(await test.shell(id, `echo 3 > /proc/sys/vm/drop_caches; a=$(cut -d' ' -f1 /proc/uptime); dd if=/dev/vda of=/dev/null bs=64k count=${bytes / 65536} 2>/dev/null; b=$(cut -d' ' -f1 /proc/uptime); awk "BEGIN { print $b - $a }"`));
    await set({ disks: [{ id: "disk0", limits: { bytesPerSecond: MiB } }] });
    // Not a speed: with three megabytes at one a second, less than one second is impossible.
    expect(await seconds()).toBeGreaterThan(1);
    const lifted = await set({ disks: [{ id: "disk0", limits: null }] });
    expect(lifted.config?.disks[0]).not.toHaveProperty("limits");
    const { text } = await test.host.call("machine.log", { id, log: "events" });
    expect(text).toContain("settings changed: disks");
  });

  it("is given a disc, and loses it", async () => {
    const iso = join(test.folder, "disc.iso");
    await writeFile(iso, Buffer.alloc(64 * 1024));
    execFileSync("genisoimage", ["-quiet", "-V", "HELLO", "-o", iso, "package.json"], { cwd: join(__dirname, "../..") });
    await test.host.call("machine.changeMedium", { id, drive: "cd0", medium: iso });
    expect(await test.shell(id, "while ! dd if=/dev/sr0 bs=2048 skip=16 count=1 2>/dev/null | grep -q HELLO; do usleep 100000; done; echo there")).toBe("there");
    await test.host.call("machine.changeMedium", { id, drive: "cd0", medium: null });
    expect(await test.shell(id, "while dd if=/dev/sr0 of=/dev/null bs=2048 count=1 2>/dev/null; do usleep 100000; done; echo gone")).toBe("gone");
  });

  it("loses a cable and gets it back", async () => {
    const { config } = await test.get(id);
    await set({ adapters: config?.adapters.map((adapter) => ({ ...adapter, attachment: { mode: "none" }, plugged: false })) });
    expect(await test.shell(id, "cat /sys/class/net/eth0/carrier")).toBe("0");
  });

  it("is paused when its guest panics, says so, and boots again by a reset", async () => {
    await test.host.call("machine.setBalloon", { id, memoryMiB: 160 });
    await test.until(id, (machine) => machine.balloonMiB === 160);
    await test.shell(id, "while ! grep -q pvpanic /proc/modules; do usleep 50000; done; (sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &");
    const panicked = await test.until(id, (machine) => machine.state === "paused");
    expect(panicked.pauseReason).toBe("guest-panic");
    expect(test.events.filter((event) => event.type === "notice").map((event) => event.notice.message)).toContainEqual(expect.stringContaining("panicked"));
    // What a host service learns that was not there when it happened.
    await test.close();
    await test.reopen();
    expect(await test.get(id)).toMatchObject({ state: "paused", pauseReason: "guest-panic" });
    // A kernel that has given up is not let run into a machine that looks alive.
    await expect(test.host.call("machine.resume", { id })).rejects.toMatchObject({ code: "illegal-state", message: expect.stringContaining("panicked") as string });
    await test.host.call("machine.reset", { id });
    const again = await test.untilAnswering(id);
    // It boots with all of its memory.
    expect(again.balloonMiB).toBeUndefined();
    expect(Number(await test.shell(id, "awk '/MemTotal/ { print $2 }' /proc/meminfo"))).toBeGreaterThan(220 * 1024);
    expect(await lastEvents(test, id)).toContain("the guest panicked");
  });

  it("is seen not to answer when QEMU hangs, and is powered off all the same", async () => {
    const pid = await pidOf(await test.get(id));
    const start = await processStart(pid);
    process.kill(pid, "SIGSTOP");
    await test.until(id, (machine) => machine.unresponsive);
    await test.host.call("machine.powerOff", { id });
    expect(await test.get(id)).toMatchObject({ state: "off" });
    expect(await isRunning({ pid, start })).toBe(false);
    await boot();
  });

  it("is off, not crashed, when its guest powers itself off while no host service is there", async () => {
    const pid = await pidOf(await test.get(id));
    const start = await processStart(pid);
    const { monitor } = machineSockets(machineRunDir(test.host.runDir, id));
    await test.close();
    const qmp = await QmpClient.connect(monitor);
    const poweredOff = qmp.waitFor((event) => event.event === "SHUTDOWN");
    const stopped = qmp.waitFor((event) => event.event === "STOP");
    await qmp.execute("system_powerdown");
    expect((await poweredOff).data).toMatchObject({ guest: true, reason: "guest-shutdown" });
    await stopped;
    // It waits, stopped, for whoever comes.
    expect(await qmp.execute("query-status")).toMatchObject({ running: false, status: "shutdown" });
    qmp.dispose();
    await test.reopen();
    const off = await test.until(id, (machine) => machine.state === "off");
    expect(off.problem).toBeUndefined();
    // Not by a signal: this test is the parent of the process, which is a zombie until it is waited for.
    expect(await isRunning({ pid, start })).toBe(false);
  });

  it("goes on where it was saved only on the same hardware", async () => {
    await boot();
    await test.succeed((await test.host.call("machine.save", { id })).job);
    const file = join((await test.get(id)).folder, "saved", "saved.json");
    const facts = JSON.parse(await readFile(file, "utf8")) as { engineFacts: Record<string, string> };
    expect(facts.engineFacts).toMatchObject({ "machine type": expect.stringMatching(/^pc-q35-/) as string, accelerator: expect.any(String) as string });
    await writeFile(file, JSON.stringify({ ...facts, engineFacts: { ...facts.engineFacts, "CPU model": "pentium" } }));
    const job = (await test.host.call("machine.start", { id })).job;
    expect((await test.host.call("job.wait", { id: job.id })).error?.message).toContain("its CPU model was pentium");
    await writeFile(file, JSON.stringify(facts));
    await boot();
    await test.host.call("machine.powerOff", { id });
    expect(await lastEvents(test, id)).toContain("started where it was saved");
  });
});

describe("a machine on QEMU whose disk fills up", () => {
  let test: TestHost;
  let small = "";
  beforeAll(async () => {
    test = await TestHost.open();
    small = await mkdtemp(join(tmpdir(), "terrarium-small-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", small]);
  });
  afterAll(async () => {
    await test.dispose();
    execFileSync("umount", [small]);
    await rm(small, { recursive: true });
  });

  it("is paused with the reason, and resumes without loss once there is room", async () => {
    const image = join(small, "disk.raw");
    await writeFile(image, "");
    await truncate(image, 64 * MiB);
    const ballast = join(small, "ballast");
    const { id } = await test.create("full", { engine: "qemu", disks: [{ image, mode: "link" }] });
    await test.start(id);
    await test.untilAnswering(id);
    await mkdir(join(test.folder, "x"), { recursive: true });
    execFileSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=1M", "count=8"], { stdio: "ignore" });
    const writing = test.shell(id, "dd if=/dev/urandom of=/data/big bs=1M count=20 2>/dev/null; sha256sum < /data/big; sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum < /data/big");
    const paused = await test.until(id, (machine) => machine.state === "paused");
    expect(paused.pauseReason).toBe("disk-full");
    const notices = test.events.filter((event) => event.type === "notice").map((event) => event.notice);
    expect(notices).toContainEqual(expect.objectContaining({ level: "error", message: expect.stringContaining("disk is full") as string, remedy: expect.stringContaining("resume") as string }));
    await rm(ballast);
    execFileSync("mount", ["-o", "remount,size=80m", small]);
    await test.host.call("machine.resume", { id });
    const [before, after] = (await writing).split("\n");
    expect(after).toBe(before);
    expect(before).toMatch(/^[0-9a-f]{64}/);
  });
});

describe("a machine on QEMU that cannot start", () => {
  let test: TestHost;
  beforeAll(async () => {
    test = await TestHost.open();
  });
  afterAll(() => test.dispose());

  const failure = async (id: string) => {
    const { job } = await test.host.call("machine.start", { id });
    const { error } = await test.host.call("job.wait", { id: job.id });
    expect(await test.get(id)).toMatchObject({ state: "off" });
    return error;
  };

  it("says which argument QEMU refused, and that extra ones are not supported", async () => {
    const { id } = await test.create("extra", { engine: "qemu", hardware: { extraArguments: ["-nonsense"] } });
    expect(await failure(id)).toMatchObject({ code: "invalid-input", message: expect.stringContaining("-nonsense") as string, remedy: expect.stringContaining("extra arguments") as string });
    await test.host.call("machine.set", { id, patch: { hardware: { cpuModel: "pentium9" } } });
    expect(await failure(id)).toMatchObject({ code: "invalid-input", message: expect.stringContaining("pentium9") as string });
  });

  it("says that a disk is in use elsewhere, and leaves it alone", async () => {
    const image = join(test.folder, "used.raw");
    await writeFile(image, "");
    await truncate(image, MiB);
    const first = await test.create("first", { engine: "qemu", disks: [{ image, mode: "link" }] });
    await test.start(first.id);
    // Another home knows nothing of the first machine; QEMU's lock does.
    const other = await TestHost.open();
    try {
      const { id } = await other.create("second", { engine: "qemu", disks: [{ image, mode: "link" }] });
      const { job } = await other.host.call("machine.start", { id });
      expect((await other.host.call("job.wait", { id: job.id })).error).toMatchObject({ code: "locked", message: expect.stringContaining("in use by another program") as string });
    } finally {
      await other.dispose();
    }
    expect(await test.get(first.id)).toMatchObject({ state: "running" });
    await test.host.call("machine.powerOff", { id: first.id });
  });

  it("says that a disk is damaged, and does not write to it", async () => {
    const image = join(test.folder, "damaged.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", image, "8M"]);
    const { id } = await test.create("damaged", { engine: "qemu", disks: [{ image, mode: "link" }] });
    const bytes = await readFile(image);
    bytes.writeUInt8(bytes.readUInt8(79) | 2, 79); // The corrupt bit of incompatible_features (qcow2 spec, byte 72 to 79).
    await writeFile(image, bytes);
    expect(await failure(id)).toMatchObject({ code: "image-unusable", message: expect.stringContaining("damaged") as string });
    expect(await readFile(image)).toEqual(bytes);
  });
});
