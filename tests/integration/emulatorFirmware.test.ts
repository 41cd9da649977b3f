import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DisposableStore } from "../../core/base/disposable";
import { endings, writeBootCd, writeBootDisk } from "../support/bootSector";
import { QmpClient, startEmulator, type EmulatorOptions, type EmulatorProcess } from "../support/emulatorProcess";

/** Machines without an operating system: a boot sector says a word on the serial port and does one thing. */
let store: DisposableStore;
let directory: string;
beforeEach(() => {
  store = new DisposableStore();
  directory = mkdtempSync(join(tmpdir(), "emu-disk-"));
  store.add({ dispose: () => rmSync(directory, { recursive: true, force: true }) });
});
afterEach(() => store.dispose());

function boot(ending: readonly number[], options: EmulatorOptions = {}): EmulatorProcess {
  const file = join(directory, "boot.img");
  writeBootDisk(file, "hello", ending);
  return store.add(startEmulator({ kernel: "none", memory: 32, disks: [{ file }], ...options }));
}

/** What a descriptor of a process is open on; nothing when it was closed since it was listed. */
function linkOf(pid: number | undefined, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return "";
  }
}

describe("a machine without an operating system", () => {
  it("boots from its first disk through the firmware", async () => {
    const machine = boot(endings.wait);
    const serial = await machine.serial();
    await (await machine.qmp()).execute("cont");
    await serial.until(/hello/);
    expect(await machine.quit()).toBe(0);
    expect(existsSync(machine.path("monitor.sock"))).toBe(false);
    expect(existsSync(machine.path("pid"))).toBe(false);
    expect(readFileSync(machine.path("serial.log"), "latin1")).toContain("hello");
  });

  it("boots from a CD when it is told to", async () => {
    const cd = join(directory, "boot.iso");
    writeBootCd(cd, "from the CD", endings.wait);
    const machine = boot(endings.wait, { boot: "d", cd });
    const serial = await machine.serial();
    await (await machine.qmp()).execute("cont");
    await serial.until(/from the CD/);
    expect(serial.text).not.toContain("hello");
  });

  it("boots from its disk when the CD drive is empty", async () => {
    const machine = boot(endings.wait, { boot: "d", cd: null });
    const serial = await machine.serial();
    await (await machine.qmp()).execute("cont");
    await serial.until(/hello/);
  });

  it("talks to socat, which no one here wrote", async () => {
    const machine = boot(endings.wait);
    await machine.connect("monitor.sock");
    const ask = (socket: string, input: string): string => {
      const run = spawnSync("socat", ["-t", "5", "-", `UNIX-CONNECT:${machine.path(socket)}`], { input, encoding: "utf8" });
      expect(run.error).toBeUndefined();
      return run.stdout;
    };
    const answer = ask("monitor.sock", '{"execute":"qmp_capabilities"}\n{"execute":"cont"}\n{"execute":"query-status"}\n');
    expect(answer.trim().split(/\r\n/).map((line) => Object.keys(JSON.parse(line) as object))).toContainEqual(["return"]);
    expect(answer).toContain('"status":"running"');
    const serial = await machine.serial();
    await (await machine.qmp()).execute("system_reset");
    await serial.until(/hello/);
  });

  it("ends with a SHUTDOWN event when the guest powers off", async () => {
    const machine = boot(endings.powerOff);
    const qmp = await machine.qmp();
    await qmp.execute("cont");
    expect((await qmp.event("SHUTDOWN")).data).toEqual({ guest: true, reason: "guest-shutdown" });
    expect(await machine.exit).toBe(0);
    // Its processor was busy when it lost its power; that must not keep the disks from coming to rest.
    expect(machine.log).not.toMatch(/did not/);
  });

  it("boots again after a reset by the guest, with its clients still there", async () => {
    const machine = boot(endings.reset);
    const qmp = await machine.qmp();
    const serial = await machine.serial();
    await qmp.execute("cont");
    expect((await qmp.event("RESET")).data).toEqual({ guest: true, reason: "guest-reset" });
    await serial.until(/hello[\s\S]*hello/);
    expect(await qmp.execute("query-status")).toMatchObject({ status: "running" });
  });

  it("boots again after a triple fault", async () => {
    const machine = boot(endings.tripleFault);
    const qmp = await machine.qmp();
    const serial = await machine.serial();
    await qmp.execute("cont");
    await qmp.event("RESET");
    await serial.until(/hello[\s\S]*hello/);
  });

  it("boots again on system_reset, and stays stopped when it was", async () => {
    const machine = boot(endings.wait);
    const qmp = await machine.qmp();
    const serial = await machine.serial();
    await qmp.execute("cont");
    await serial.until(/hello/);
    await qmp.execute("system_reset");
    expect((await qmp.event("RESET")).data).toMatchObject({ guest: false });
    await serial.until(/hello[\s\S]*hello/);
    await qmp.execute("stop");
    await qmp.execute("system_reset");
    expect(await qmp.execute("query-status")).toEqual({ status: "paused", running: false });
  });

  it("boots once for two resets at once, answers both, and runs on", async () => {
    const machine = boot(endings.wait);
    const serial = await machine.serial();
    const one = await machine.qmp();
    const other = new QmpClient(await machine.connect("monitor.sock"));
    await other.execute("qmp_capabilities");
    await one.execute("cont");
    await serial.until(/hello/);
    await Promise.all([one.execute("system_reset"), other.execute("system_reset")]);
    await serial.until(/hello[\s\S]*hello/);
    const open = readdirSync(`/proc/${machine.process.pid}/fd`).filter((fd) => linkOf(machine.process.pid, fd).endsWith("boot.img"));
    expect(open.length).toBe(1);
    for (const monitor of [one, other]) expect(await monitor.execute("query-status")).toMatchObject({ status: "running" });
    expect(await machine.quit()).toBe(0);
    expect(serial.text.match(/hello/g)?.length).toBe(2);
  });

  it("boots again with an empty drive when its CD has gone", async () => {
    const cd = join(directory, "boot.iso");
    writeBootCd(cd, "from the CD", endings.wait);
    const machine = boot(endings.wait, { boot: "d", cd });
    const serial = await machine.serial();
    const qmp = await machine.qmp();
    await qmp.execute("cont");
    await serial.until(/from the CD/);
    rmSync(cd);
    await qmp.execute("system_reset");
    await serial.until(/from the CD[\s\S]*hello/);
    expect((await qmp.event("DEVICE_TRAY_MOVED")).data).toMatchObject({ device: "cd0", "tray-open": true });
    const drives = (await qmp.execute("query-block")) as { device: string; inserted?: object }[];
    expect(drives.find(({ device }) => device === "cd0")).not.toHaveProperty("inserted");
    expect(machine.log).toMatch(/boot\.iso does not exist: the CD drive is empty from now on/);
    expect(await machine.quit()).toBe(0);
  });

  it("ends with the reason when its disk has gone at a reset", async () => {
    const machine = boot(endings.wait);
    const serial = await machine.serial();
    const qmp = await machine.qmp();
    await qmp.execute("cont");
    await serial.until(/hello/);
    rmSync(join(directory, "boot.img"));
    await expect(qmp.execute("system_reset")).rejects.toThrow(/The machine cannot be reset: The image .* does not exist/);
    expect((await qmp.event("SHUTDOWN")).data).toEqual({ guest: false, reason: "host-error" });
    expect(await machine.exit).toBe(70);
    expect(machine.log).not.toMatch(/did not/);
  });

  it("answers at once while the guest does nothing but run", async () => {
    const machine = boot(endings.spin);
    const qmp = await machine.qmp();
    const serial = await machine.serial();
    await qmp.execute("cont");
    await serial.until(/hello/);
    for (let count = 0; count < 20; count++) await qmp.execute("query-status");
    await qmp.execute("screendump", { filename: machine.path("screen.png"), format: "png" });
    expect(readFileSync(machine.path("screen.png")).subarray(1, 4).toString()).toBe("PNG");
    await qmp.execute("stop");
    expect((await qmp.event("STOP")).timestamp.seconds).toBeGreaterThan(1_600_000_000);
  });

  it("leaves a dump and says so when the emulator itself fails", async () => {
    const machine = boot(endings.crash);
    const qmp = await machine.qmp();
    await qmp.execute("cont");
    expect((await qmp.event("SHUTDOWN")).data).toEqual({ guest: false, reason: "host-error" });
    expect(await machine.exit).toBe(70);
    const report = readFileSync(machine.path("dump/crash.txt"), "utf8");
    expect(report).toMatch(/The emulator failed: .*undefined/);
    expect(report).toMatch(/eip [0-9a-f]{8}/);
    expect(report).toContain("hello");
    expect(existsSync(machine.path("dump/crash.state"))).toBe(true);
  });

  it("takes over from a process that was killed, and refuses to run twice", async () => {
    const first = boot(endings.wait);
    await first.qmp();
    const file = join(directory, "boot.img");
    const second = store.add(startEmulator({ kernel: "none", memory: 32, disks: [{ file }], directory: first.directory }));
    expect(await second.exit).toBe(1);
    expect(second.log).toContain("running already");
    const elsewhere = store.add(startEmulator({ kernel: "none", memory: 32, disks: [{ file }] }));
    expect(await elsewhere.exit).toBe(1);
    expect(elsewhere.log).toMatch(/in use by process \d+/);
    first.process.kill("SIGKILL");
    await first.exit;
    expect(existsSync(first.path("monitor.sock"))).toBe(true);
    const third = store.add(startEmulator({ kernel: "none", memory: 32, disks: [{ file }], directory: first.directory }));
    expect(await (await third.qmp()).execute("query-status")).toMatchObject({ status: "prelaunch" });
    expect(await third.quit()).toBe(0);
  });

  it("ends in order on SIGTERM", async () => {
    const machine = boot(endings.wait);
    const qmp = await machine.qmp();
    machine.process.kill("SIGTERM");
    expect((await qmp.event("SHUTDOWN")).data).toEqual({ guest: false, reason: "host-signal" });
    expect(await machine.exit).toBe(0);
    expect(existsSync(join(directory, "boot.img.lock"))).toBe(false);
  });

  it.each([
    ["a missing disk", { disks: [{ file: "/nonexistent/disk.img" }] }, /cannot be locked|does not exist/],
    ["a missing CD", { cd: "/nonexistent/cd.iso" }, /does not exist/],
    ["an empty disk", { disks: [{ file: "EMPTY" }] }, /is empty/],
    ["a directory as disk", { disks: [{ file: "DIRECTORY" }] }, /is a directory/],
    ["too little memory", { memory: 4 }, /-m must be a whole number of MiB/],
    ["a wrong option", { extra: ["-frobnicate", "1"] }, /Unknown option "-frobnicate"/],
  ] as const)("refuses %s with a reason", async (_, options, reason) => {
    const empty = join(directory, "empty.img");
    writeFileSync(empty, "");
    const disks = "disks" in options ? options.disks.map(({ file }) => ({ file: file === "EMPTY" ? empty : file === "DIRECTORY" ? directory : file })) : [];
    const machine = store.add(startEmulator({ kernel: "none", memory: 32, ...options, disks }));
    expect(await machine.exit).toBe(1);
    expect(machine.log).toMatch(reason);
    expect(existsSync(machine.path("pid"))).toBe(false);
  });
});
