import { join } from "node:path";
import { tmpdir } from "node:os";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endings, writeBootDisk } from "../support/bootSector";
import { SnapshotHost } from "../support/snapshotHost";

/*
 * Snapshots of machines that run. The first guest is a few bytes that wait, on two disks: enough to see what the machine
 * process and its files do. The second is a whole system, whose programs go on.
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
