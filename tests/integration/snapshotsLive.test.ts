import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MachineConfig } from "../../core/contract/model";
import { endings, readCounts, writeBootDisk } from "../support/bootSector";
import { SnapshotHost } from "../support/snapshotHost";

/*
 * Snapshots of machines that run. The first guest is a few bytes that wait, on three disks: enough to see what the machine
 * process and its files do. The second counts.
 */

describe("snapshots of a machine that runs", () => {
  let folder = "";
  let on: SnapshotHost;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-live-"));
    writeBootDisk(join(folder, "boot.raw"), "up", endings.wait);
    on = await SnapshotHost.open("live", { memoryMiB: 64, boot: { kind: "firmware", order: "disk" }, disks: [{ image: join(folder, "boot.raw"), mode: "copy" }, { sizeBytes: 1024 * 1024, bus: "sata" }, { sizeBytes: 1024 * 1024, bus: "scsi" }] });
    await on.test.start(on.id);
  });
  afterAll(async () => {
    await on.test.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  it("are taken while it goes on, of all its disks, with its memory, which gets smaller afterwards", async () => {
    expect((await on.test.host.call("snapshot.plan", { operation: "take", id: on.id })).costBytes).toBeGreaterThan(64 * 1024 * 1024);
    const one = await on.take("one");
    expect(one).toMatchObject({ was: "running", hasMemory: true, hasScreenshot: true, parent: null });
    expect((await on.test.get(on.id)).state).toBe("running");
    const { folder: machine, config } = await on.test.get(on.id);
    expect(config?.disks.map((disk) => disk.layers.length)).toEqual([2, 2, 2]);
    expect((await readdir(join(machine, "snapshots", one.id))).sort()).toEqual(["screenshot.png", "snapshot.json", "state.gz"]);
    expect((await stat(join(machine, "snapshots", one.id, "state.gz"))).size).toBeLessThan(8 * 1024 * 1024);
    expect(await on.layers()).toHaveLength(6);
    // Nobody was told of a pause.
    expect(on.test.events.filter((event) => event.type === "machine" && event.machine.state === "paused")).toEqual([]);
  });

  it("are restored with their memory, and the machine runs as it did", async () => {
    await on.take("two");
    const pid = (await on.test.host.call("machine.commandLine", { id: on.id })).command.join(" ");
    expect(await on.restore("one")).toMatchObject({ state: "running", startedFrom: "saved" });
    expect((await on.test.host.call("machine.commandLine", { id: on.id })).command.join(" ")).not.toBe(pid);
    expect((await on.tree()).current.parent).toBe((await on.named("one")).id);
    expect((await on.test.host.call("trash.list", {})).map(({ name }) => name)).toContainEqual(expect.stringContaining("Before restoring “one”"));
    expect(await on.restore("two", { start: false })).toMatchObject({ state: "saved" });
    await on.test.start(on.id);
  });

  it("are taken of what runs before another one is restored", async () => {
    expect(await on.restore("one", { keep: "three" })).toMatchObject({ state: "running" });
    expect(await on.named("three")).toMatchObject({ was: "running", hasMemory: true, parent: (await on.named("two")).id });
  });

  it("are taken of a machine that is paused, which stays so, and goes on when it is told to", async () => {
    await on.test.host.call("machine.pause", { id: on.id });
    expect(await on.take("still")).toMatchObject({ was: "paused", hasMemory: true });
    expect(await on.test.get(on.id)).toMatchObject({ state: "paused", pauseReason: "user" });
    await on.take("still again");
    await on.test.host.call("machine.resume", { id: on.id });
    expect((await on.test.get(on.id)).state).toBe("running");
    expect(await on.restore("still")).toMatchObject({ state: "saved" });
    await on.test.start(on.id);
  });

  it("leave a machine that can be given disks, saved and started as before", async () => {
    const added = await on.set({ addDisks: [{ sizeBytes: 1024 * 1024 }] });
    expect(added.config?.disks).toHaveLength(4);
    const four = await on.take("four disks");
    expect((await on.test.get(on.id)).config?.disks.map((disk) => disk.layers.length).slice(-1)).toEqual([2]);
    await on.test.succeed((await on.test.host.call("machine.save", { id: on.id })).job);
    await on.test.start(on.id);
    expect((await on.tree()).current.parent).toBe(four.id);
  });

  it("are taken over with the machine by the next host service", async () => {
    const before = await on.tree();
    await on.test.close();
    await on.test.reopen();
    expect((await on.test.get(on.id)).state).toBe("running");
    expect(await on.tree()).toEqual(before);
    await on.take("by the next one");
  });
});

describe("a snapshot of a program that counts, in memory and on its disk", () => {
  let folder = "";
  let on: SnapshotHost;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-count-"));
    writeBootDisk(join(folder, "boot.raw"), "counting", endings.count);
    on = await SnapshotHost.open("counting", { memoryMiB: 64, boot: { kind: "firmware", order: "disk" }, disks: [{ image: join(folder, "boot.raw"), mode: "copy" }] });
    await on.test.start(on.id);
  });
  afterAll(async () => {
    await on.test.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const serial = async (): Promise<string> => (await on.test.host.call("machine.log", { id: on.id, log: "serial0" })).text;
  /** The last count, when it has got as far. */
  const counted = async (least: number): Promise<number> => {
    for (;;) {
      const last = readCounts(await serial()).pop() ?? -1;
      if (last >= least) return last;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  /** The first count after it was one that is behind us. */
  const fallen = async (): Promise<number> => {
    for (;;) {
      const counts = readCounts(await serial());
      const back = counts.findIndex((count, place) => place > 0 && count < (counts[place - 1] ?? 0));
      if (back >= 0) return counts[back] ?? -1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  /** The count on a disk: of the machine as it is when it does not run, or of a snapshot. */
  const onDisk = async (snapshot?: string): Promise<number> => {
    const { folder: machine, config } = await on.test.get(on.id);
    const layers = snapshot === undefined ? config?.disks[0]?.layers : (JSON.parse(await readFile(join(machine, "snapshots", snapshot, "snapshot.json"), "utf8")) as { config: MachineConfig }).config.disks[0]?.layers;
    const top = layers?.[layers.length - 1];
    execFileSync("qemu-img", ["convert", "-U", "-f", top?.format ?? "", "-O", "raw", join(machine, top?.file ?? ""), join(folder, "read.raw")]);
    return (await readFile(join(folder, "read.raw"))).readUInt16LE(512);
  };

  it("has both at the same moment, and goes on from there", async () => {
    const before = await counted(5);
    const one = await on.take("one");
    const after = await counted(before + 1);
    expect(await onDisk(one.id)).toBeGreaterThanOrEqual(before);
    expect(await onDisk(one.id)).toBeLessThanOrEqual(after);
    await counted(after + 20);
    const two = await on.take("two");
    await on.restore("one");
    const first = await fallen();
    expect(first).toBeGreaterThanOrEqual(before);
    expect(first).toBeLessThanOrEqual(after + 1);
    expect(first - (await onDisk(one.id))).toBeLessThanOrEqual(1);
    // It counts on, and what is frozen does not.
    const frozen = await onDisk(two.id);
    await counted(first + 3);
    expect(await onDisk(two.id)).toBe(frozen);
    expect(await onDisk(two.id)).toBeGreaterThan(after + 19);
    expect(await on.restore("two")).toMatchObject({ state: "running" });
    await on.test.host.call("machine.powerOff", { id: on.id });
    expect(await onDisk()).toBeGreaterThanOrEqual(frozen);
  });
});

describe("snapshots of a whole system that runs", () => {
  let on: SnapshotHost;
  beforeAll(async () => {
    on = await SnapshotHost.open("system");
    await on.boot();
  });
  afterAll(() => on.test.dispose());

  it("bring back its disk and its programs, which go on where they were, with the right time", async () => {
    await on.test.shell(on.id, "(while :; do echo x >> /tmp/count; usleep 100000; done) >/dev/null 2>&1 &");
    const a = await on.write("a");
    await on.take("one");
    const b = await on.write("b");
    const count = Number(await on.test.shell(on.id, "wc -l < /tmp/count"));
    await on.take("two");
    expect(await on.restore("one")).toMatchObject({ state: "running" });
    await on.test.untilAnswering(on.id);
    expect(Number(await on.test.shell(on.id, "wc -l < /tmp/count"))).toBeGreaterThan(0);
    expect([await on.hash("a"), await on.hash("b")]).toEqual([a, "gone"]);
    await on.test.shell(on.id, `while [ $(wc -l < /tmp/count) -le ${count} ]; do usleep 50000; done`);
    const now = Number(await on.test.shell(on.id, "while [ $(date +%s) -lt 1000000 ]; do usleep 50000; done; date +%s"));
    expect(Math.abs(now - Date.now() / 1000)).toBeLessThan(60);
    await on.take("branch");
    expect(await on.restore("two")).toMatchObject({ state: "running" });
    await on.test.untilAnswering(on.id);
    expect([await on.hash("a"), await on.hash("b")]).toEqual([a, b]);
    expect((await on.tree()).snapshots.map(({ name, parent }) => [name, parent])).toEqual([["one", null], ["two", (await on.named("one")).id], ["branch", (await on.named("one")).id]]);
    await on.test.host.call("machine.powerOff", { id: on.id });
    expect((await on.layers()).length).toBeGreaterThan(3);
  });
});
