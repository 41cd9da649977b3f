import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DisposableStore } from "../../core/base/disposable";
import { startEmulator, TextSocket, type EmulatorOptions, type EmulatorProcess } from "../support/emulatorProcess";

/**
 * The emulator process with a Linux guest. The guest boots once; every test goes on from the state saved then, on a
 * copy of the disk as it was, which takes less than a second.
 */
const diskBytes = 48 * 1024 * 1024;
let base: string;
let baseStore: DisposableStore;
let store: DisposableStore;

beforeAll(async () => {
  baseStore = new DisposableStore();
  base = mkdtempSync(join(tmpdir(), "emu-base-"));
  baseStore.add({ dispose: () => rmSync(base, { recursive: true, force: true }) });
  writeFileSync(join(base, "disk.img"), "");
  truncateSync(join(base, "disk.img"), diskBytes);
  const machine = baseStore.add(startEmulator({ disks: [{ file: join(base, "disk.img") }], cd: null }));
  const shell = await machine.bootToShell();
  await shell.run("until grep -q ' /data ' /proc/mounts; do sleep 0.2; done; sync");
  await (await machine.qmp()).save(join(base, "booted.state"));
  expect(await machine.quit()).toBe(0);
});
afterAll(() => baseStore.dispose());

beforeEach(() => {
  store = new DisposableStore();
});
afterEach(() => store.dispose());

interface Booted {
  readonly machine: EmulatorProcess;
  readonly disk: string;
}

/** A machine that goes on from the booted state. */
async function resume(options: EmulatorOptions = {}, state = join(base, "booted.state"), disk?: string): Promise<Booted> {
  const directory = mkdtempSync(join(tmpdir(), "emu-"));
  store.add({ dispose: () => rmSync(directory, { recursive: true, force: true }) });
  const file = disk ?? join(directory, "disk.img");
  if (disk === undefined) copyFileSync(join(base, "disk.img"), file);
  const machine = store.add(startEmulator({ disks: [{ file }], cd: null, directory, incoming: true, ...options }));
  const qmp = await machine.qmp();
  expect(await qmp.execute("query-status")).toEqual({ status: "inmigrate", running: false });
  await qmp.execute("migrate-incoming", { uri: `file:${state}` });
  expect(await qmp.execute("query-status")).toEqual({ status: "paused", running: false });
  await machine.serial();
  await qmp.execute("cont");
  return { machine, disk: file };
}

describe("a machine with a Linux guest", () => {
  it("goes on where it was saved: programs count on, memory and disk agree", async () => {
    const { machine, disk } = await resume();
    const shell = await machine.shell();
    await shell.run("(i=0; while true; do i=$((i+1)); echo $i > /tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.02; done) & sleep 0.5");
    await shell.run("dd if=/dev/urandom of=/data/blob bs=1k count=500 2>/dev/null; sync; md5sum /data/blob > /tmp/sum");
    const before = Number(await shell.run("cat /tmp/count"));
    const state = machine.path("mine.state");
    await (await machine.qmp()).save(state);
    expect(await (await machine.qmp()).execute("query-status")).toEqual({ status: "postmigrate", running: false });
    expect(await machine.quit()).toBe(0);

    const again = await resume({}, state, disk);
    const restored = await again.machine.shell();
    const first = Number(await restored.run("cat /tmp/count"));
    expect(first).toBeGreaterThanOrEqual(before);
    expect(await restored.run(`until [ $(cat /tmp/count) -gt ${first} ]; do :; done; echo more`)).toBe("more");
    expect(await restored.run("echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum")).toContain("OK");
  });

  it("keeps what was written to disk over a reset and over a power cut", async () => {
    const { machine, disk } = await resume();
    const shell = await machine.shell();
    await shell.run("echo kept > /data/file; sync");
    machine.process.kill("SIGKILL");
    await machine.exit;
    const cold = store.add(startEmulator({ disks: [{ file: disk }], cd: null }));
    const fresh = await cold.bootToShell();
    expect(await fresh.run("until [ -e /data/file ]; do sleep 0.1; done; cat /data/file")).toBe("kept");
    const from = (await cold.serial()).text.length;
    fresh.serial.send("reboot -f\n");
    await (await cold.qmp()).event("RESET");
    // The prompt alone could still be the old one: what is typed before the new shell is there is lost.
    await fresh.serial.until(/Terrarium starter[\s\S]*~# /, from);
    expect(await fresh.run("until [ -e /data/file ]; do sleep 0.1; done; cat /data/file")).toBe("kept");
  });

  it("counts what its disk does and gives the disk its name", async () => {
    const { machine } = await resume();
    const shell = await machine.shell();
    expect(await shell.run("cat /sys/block/vda/serial")).toBe("disk0");
    await shell.run("dd if=/dev/zero of=/data/zeroes bs=64k count=16 conv=fsync 2>/dev/null");
    const [disk] = (await (await machine.qmp()).execute("query-blockstats")) as { device: string; stats: Record<string, number> }[];
    expect(disk?.device).toBe("disk0");
    expect(disk?.stats.wr_bytes).toBeGreaterThanOrEqual(1024 * 1024);
    expect(disk?.stats.flush_operations).toBeGreaterThan(0);
    const block = (await (await machine.qmp()).execute("query-block")) as { device: string; inserted?: { file: string } }[];
    expect(block.map((entry) => entry.device)).toEqual(["disk0", "cd0"]);
  });

  it("swaps CDs while it runs", async () => {
    const { machine } = await resume();
    const shell = await machine.shell();
    const qmp = await machine.qmp();
    const first = machine.path("first.iso");
    const second = machine.path("second.iso");
    writeFileSync(first, Buffer.alloc(400 * 1024, "first CD. "));
    writeFileSync(second, Buffer.alloc(600 * 1024, "second CD. "));
    await shell.run("modprobe -a ata_piix sr_mod; until [ -e /dev/sr0 ]; do sleep 0.1; done");
    await qmp.execute("blockdev-change-medium", { id: "cd0", filename: first });
    expect((await qmp.event("DEVICE_TRAY_MOVED")).data).toMatchObject({ device: "cd0", "tray-open": true });
    expect((await qmp.event("DEVICE_TRAY_MOVED")).data).toMatchObject({ device: "cd0", "tray-open": false });
    const read = "until dd if=/dev/sr0 bs=2k count=1 2>/dev/null | head -c 8; do sleep 0.1; done";
    expect(await shell.run(read)).toBe("first CD");
    await qmp.execute("blockdev-change-medium", { id: "cd0", filename: second });
    expect(await shell.run("until dd if=/dev/sr0 bs=2k count=1 2>/dev/null | grep -q '^second'; do sleep 0.1; done; echo yes")).toBe("yes");
    expect(await shell.run("dd if=/dev/sr0 bs=2k 2>/dev/null | wc -c")).toBe(String(600 * 1024));
    await qmp.execute("eject", { id: "cd0" });
    await shell.run("while dd if=/dev/sr0 bs=2k count=1 of=/dev/null 2>/dev/null; do sleep 0.1; done");
    const block = (await qmp.execute("query-block")) as { device: string; inserted?: object }[];
    expect(block.find((entry) => entry.device === "cd0")?.inserted).toBeUndefined();
    await expect(qmp.execute("eject", { id: "cd7" })).rejects.toMatchObject({ errorClass: "DeviceNotFound" });
    await expect(qmp.execute("blockdev-change-medium", { id: "cd0", filename: "/nonexistent.iso" })).rejects.toThrow(/does not exist/);
  });

  it("shows its own MAC addresses after a restore, and cables that come and go", async () => {
    const mac = "52:54:00:fe:dc:ba";
    const { machine } = await resume({ adapters: [{ mac, link: false }] });
    const shell = await machine.shell();
    const qmp = await machine.qmp();
    // The driver read the address before; bound again it reads the one of this machine.
    await shell.run("d=$(basename $(readlink -f /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net; echo $d > unbind; echo $d > bind; cd /");
    expect(await shell.run("cat /sys/class/net/eth0/address")).toBe(mac);
    await shell.run("ip link set eth0 up");
    expect(await shell.run("cat /sys/class/net/eth0/carrier")).toBe("0");
    await qmp.execute("set_link", { name: "net0", up: true });
    await shell.run("until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.05; done");
    await qmp.execute("set_link", { name: "net0", up: false });
    await shell.run("until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.05; done");
    await expect(qmp.execute("set_link", { name: "net9", up: true })).rejects.toMatchObject({ errorClass: "DeviceNotFound" });
  });

  it("exchanges frames with another machine over a cable", async () => {
    const [one, two] = await Promise.all(
      ["52:54:00:00:01:01", "52:54:00:00:01:02"].map((mac) => resume({ adapters: [{ mac, link: true }] })),
    );
    if (!one || !two) throw new Error("two machines were asked for");
    const ends = await Promise.all([one.machine.connect("net0.sock"), two.machine.connect("net0.sock")]);
    splice(ends[0] as Socket, ends[1] as Socket);
    for (const [index, { machine }] of [one, two].entries()) {
      const shell = await machine.shell();
      await shell.run(
        "d=$(basename $(readlink -f /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net; echo $d > unbind; echo $d > bind; cd /",
      );
      await shell.run(`ip addr flush dev eth0; ip addr add 192.168.77.${index + 1}/24 dev eth0; ip link set eth0 up`);
    }
    const shell = await one.machine.shell();
    expect(await shell.run("until ping -c 1 -w 5 192.168.77.2 >/dev/null; do :; done; echo there")).toBe("there");
    const stats = (await (await two.machine.qmp()).execute("x-query-netstats")) as { name: string; "rx-frames": number; "tx-frames": number }[];
    expect(stats[0]?.["rx-frames"]).toBeGreaterThan(0);
    expect(stats[0]?.["tx-frames"]).toBeGreaterThan(0);
    // Hundreds of frames both ways through both queues, whole.
    const other = await two.machine.shell();
    await other.run("dd if=/dev/urandom of=/tmp/big bs=1k count=600 2>/dev/null; (nc -l -p 7777 < /tmp/big &) ; echo");
    const sum = await other.run("md5sum < /tmp/big");
    expect(await shell.run("until nc 192.168.77.2 7777 > /tmp/got && [ -s /tmp/got ]; do sleep 0.1; done; md5sum < /tmp/got")).toBe(sum);
  });

  it("cuts a peer off that does not speak in frames", async () => {
    const { machine } = await resume({ adapters: [{ mac: "52:54:00:00:02:01", link: true }] });
    const peer = new TextSocket(await machine.connect("net0.sock"));
    peer.socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
    await peer.end();
    expect(machine.log).toContain("cut off");
    // The next one is served.
    const next = await machine.connect("net0.sock");
    expect(next.destroyed).toBe(false);
    expect(await (await machine.qmp()).execute("query-status")).toMatchObject({ running: true });
  });

  it("ends in order when its power button is pressed", async () => {
    const { machine } = await resume();
    const qmp = await machine.qmp();
    // A button that is pressed before anyone in the guest listens to it is not heard.
    await (await machine.shell()).run("until ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q /dev/input/event; do sleep 0.2; done");
    await qmp.execute("system_powerdown");
    await qmp.event("POWERDOWN");
    expect((await qmp.event("SHUTDOWN")).data).toEqual({ guest: true, reason: "guest-shutdown" });
    expect(await machine.exit).toBe(0);
  });

  it("takes keys and shows them on its screen", async () => {
    const { machine } = await resume();
    const qmp = await machine.qmp();
    const shell = await machine.shell();
    await shell.run("rm -f /tmp/typed");
    for (const key of ["t", "o", "u", "c", "h", "spc", "slash", "t", "m", "p", "slash", "t", "y", "p", "e", "d", "ret"]) {
      await qmp.execute("send-key", { keys: [{ type: "qcode", data: key }], "hold-time": 5 });
    }
    expect(await shell.run("until [ -e /tmp/typed ]; do sleep 0.05; done; echo typed")).toBe("typed");
    await qmp.execute("screendump", { filename: machine.path("screen.png"), format: "png" });
    expect(statSync(machine.path("screen.png")).size).toBeGreaterThan(500);
    await expect(qmp.execute("send-key", { keys: [{ type: "qcode", data: "nokey" }] })).rejects.toThrow(/does not accept value 'nokey'/);
  });

  it("stops on a full disk, and goes on without loss when there is room again", async () => {
    const { machine } = await resume({ wrapper: ["prlimit", `--fsize=${limit()}:`] });
    const qmp = await machine.qmp();
    const shell = await machine.shell();
    shell.serial.send("dd if=/dev/zero of=/data/big bs=64k count=500 conv=fsync\n");
    const { data } = await qmp.event("BLOCK_IO_ERROR");
    expect(data).toMatchObject({ device: "disk0", operation: "write", action: "stop", nospace: true });
    await qmp.event("STOP");
    expect(await qmp.execute("query-status")).toEqual({ status: "io-error", running: false });
    // Without a cure it stops again.
    await qmp.execute("cont");
    await qmp.event("BLOCK_IO_ERROR");
    const { spawnSync } = await import("node:child_process");
    const cured = spawnSync("prlimit", ["--pid", readFileSync(machine.path("pid"), "utf8").trim(), "--fsize=unlimited:"]);
    expect(cured.status).toBe(0);
    await qmp.execute("cont");
    expect(await shell.run("sync; echo 3 > /proc/sys/vm/drop_caches; ls -l /data/big | awk '{print $5}'")).toBe(String(500 * 65536));
    expect(await shell.run("dmesg | grep -ci 'i/o error'", 1)).toBe("0");
  });

  it("refuses states that are damaged, cut short, foreign or of another machine, and lives on", async () => {
    const state = readFileSync(join(base, "booted.state"));
    const directory = mkdtempSync(join(tmpdir(), "emu-bad-"));
    store.add({ dispose: () => rmSync(directory, { recursive: true, force: true }) });
    const bad = (name: string, change: (bytes: Buffer) => Buffer): string => {
      const path = join(directory, name);
      writeFileSync(path, change(Buffer.from(state)));
      return path;
    };
    const flip = (at: number) => (bytes: Buffer) => {
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      return bytes;
    };
    const file = join(directory, "disk.img");
    copyFileSync(join(base, "disk.img"), file);
    const machine = store.add(startEmulator({ disks: [{ file }], cd: null, incoming: true }));
    const qmp = await machine.qmp();
    await expect(qmp.execute("cont")).rejects.toThrow("waiting for an incoming migration");
    const load = (path: string): Promise<unknown> => qmp.execute("migrate-incoming", { uri: `file:${path}` });
    await expect(load(join(directory, "missing"))).rejects.toThrow(/ENOENT/);
    await expect(load(bad("empty", () => Buffer.alloc(0)))).rejects.toThrow(/not a saved state/);
    await expect(load(bad("foreign", () => Buffer.alloc(100_000, "x")))).rejects.toThrow(/not a saved state/);
    await expect(load(bad("short", (bytes) => bytes.subarray(0, bytes.length - 5000)))).rejects.toThrow(/cut short/);
    await expect(load(bad("header", flip(20)))).rejects.toThrow(/header is damaged/);
    await expect(load(bad("description", flip(state.length - 100)))).rejects.toThrow(/description is damaged/);
    await expect(load(bad("contents", flip(Math.floor(state.length / 2))))).rejects.toThrow(/contents are damaged/);
    expect(await qmp.execute("query-status")).toMatchObject({ status: "inmigrate" });
    await load(join(base, "booted.state"));
    await machine.serial();
    await qmp.execute("cont");
    expect(await (await machine.shell()).run("echo well")).toBe("well");

    const other = store.add(startEmulator({ memory: 160, disks: [{ file: join(directory, "header") }], cd: null, incoming: true }));
    await expect((await other.qmp()).execute("migrate-incoming", { uri: `file:${join(base, "booted.state")}` })).rejects.toThrow(
      /saved with 128 MiB of memory, and the machine has 160 MiB/,
    );
  });

  it("saves compressed when asked, and can be told to give up saving", async () => {
    const { machine, disk } = await resume();
    const qmp = await machine.qmp();
    const state = machine.path("small.state");
    await qmp.execute("migrate-set-parameters", { "multifd-compression": "zlib" });
    await qmp.save(state);
    expect(statSync(state).size).toBeLessThan(statSync(join(base, "booted.state")).size * 0.6);
    // Saving leaves the machine as it was; it can go on.
    await qmp.execute("cont");
    expect(await (await machine.shell()).run("echo on")).toBe("on");
    await qmp.execute("migrate", { uri: `file:${machine.path("never.state")}` });
    await qmp.execute("migrate_cancel");
    const { data } = await qmp.event("MIGRATION", ({ status }) => ["completed", "failed", "cancelled"].includes(String(status)));
    expect(data?.status).toBe("cancelled");
    expect(() => statSync(machine.path("never.state"))).toThrow(/ENOENT/);
    await qmp.execute("cont");
    expect(await machine.quit()).toBe(0);
    const again = await resume({}, state, disk);
    expect(await (await again.machine.shell()).run("echo back")).toBe("back");
  });

  it("holds back a guest that writes faster than its serial port is read, and loses nothing", async () => {
    const { machine } = await resume();
    await machine.shell();
    const serial = await machine.serial();
    const from = serial.text.length;
    serial.socket.pause();
    serial.send("seq 1 150000 > /tmp/numbers; echo; cat /tmp/numbers; echo fin''ished\n");
    // The log has everything the guest has put out. It stops growing far below the whole, and the guest still answers.
    const qmp = await machine.qmp();
    const settled = async (): Promise<number> => {
      for (let before = -1; ; ) {
        const bytes = statSync(machine.path("serial.log")).size;
        if (bytes > 200_000 && bytes === before) return bytes;
        before = bytes;
        for (let count = 0; count < 200; count++) await qmp.execute("x-query-netstats");
      }
    };
    expect(await settled()).toBeLessThan(800_000);
    serial.socket.resume();
    await serial.until(/finished/, from);
    const numbers = serial.text.slice(from).match(/^\d+(?=\r?$)/gm) ?? [];
    expect(numbers).toEqual(Array.from({ length: 150_000 }, (_, index) => String(index + 1)));
  });
});

/** Connects two sockets both ways, as a cable does. */
function splice(a: Socket, b: Socket): void {
  a.pipe(b);
  b.pipe(a);
}

/** The file size in bytes that the disk may not be written beyond: somewhere in the middle of it. */
function limit(): number {
  return 24 * 1024 * 1024;
}
