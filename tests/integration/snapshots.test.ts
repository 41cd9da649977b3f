import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SnapshotHost } from "../support/snapshotHost";

/*
 * Snapshots with real guests: what was written is told by its hash, in the guest, and qemu-img judges the layers.
 */

describe("snapshots of a machine that is off", () => {
  let on: SnapshotHost;
  beforeAll(async () => {
    on = await SnapshotHost.open("snapped");
  });
  afterAll(() => on.test.dispose());

  it("bring back what was on its disk, and keep what was there instead", async () => {
    await on.boot();
    const a = await on.write("a");
    await on.shutDown();
    const one = await on.take("one");
    expect(one).toMatchObject({ name: "one", parent: null, was: "off", hasMemory: false, hasScreenshot: true });
    expect((await on.tree()).current).toMatchObject({ parent: one.id });
    await on.boot();
    const b = await on.write("b");
    await on.shutDown();
    const plan = await on.test.host.call("snapshot.plan", { operation: "restore", id: on.id, snapshot: one.id });
    expect(plan.loses).toContain("trash");
    expect(plan.freesBytes.most).toBeGreaterThan(2 * 1024 * 1024);

    const restored = await on.restore("one");
    expect(restored).toMatchObject({ state: "off", name: "snapped" });
    await on.boot();
    expect(await on.hash("a")).toBe(a);
    expect(await on.hash("b")).toBe("gone");
    await on.shutDown();

    // What it was lies in the trash as a snapshot, and comes back from there.
    const [entry] = await on.test.host.call("trash.list", {});
    expect(entry).toMatchObject({ machineId: on.id, name: expect.stringContaining("Before restoring “one”") as string });
    expect((await on.tree()).snapshots.map(({ name }) => name)).toEqual(["one"]);
    await on.test.host.call("trash.restore", { id: entry?.id ?? "" });
    const kept = await on.named("Before restoring “one”");
    expect(kept.parent).toBe(one.id);
    await on.restore(kept.name, { keep: "branch" });
    expect((await on.tree()).snapshots.map(({ name, parent }) => [name, parent])).toEqual([["one", null], [kept.name, one.id], ["branch", one.id]]);
    await on.boot();
    expect(await on.hash("a")).toBe(a);
    expect(await on.hash("b")).toBe(b);
    await on.shutDown();
    expect(await on.layers()).toHaveLength(4);
  });

  it("go to the trash, come back, and leave no layer behind that nothing needs", async () => {
    const before = await on.layers();
    const branch = await on.named("branch");
    const entry = await on.delete("branch");
    expect((await on.tree()).snapshots.map(({ name }) => name)).not.toContain("branch");
    expect(await on.layers()).toEqual(before);
    await on.test.host.call("trash.restore", { id: entry.id });
    expect(await on.named("branch")).toMatchObject({ id: branch.id, parent: branch.parent });
    const again = await on.delete("branch");
    const { folder } = await on.test.get(on.id);
    const own = (await readdir(join(folder, "snapshots"))).length;
    await on.emptyTrash(again.id);
    expect(await on.layers()).toHaveLength(before.length - 1);
    expect((await readdir(join(folder, "snapshots"))).length).toBe(own);
    expect(await on.test.host.call("trash.list", {})).toEqual([]);
  });

  it("hold the memory of a saved machine, whose programs go on", async () => {
    await on.boot();
    await on.test.shell(on.id, "echo kept > /tmp/in-memory; (while :; do echo x >> /tmp/count; sleep 0.2; done) >/dev/null 2>&1 &");
    const c = await on.write("c");
    await on.test.succeed((await on.test.host.call("machine.save", { id: on.id })).job);
    const counted = await on.take("with memory");
    expect(counted).toMatchObject({ was: "saved", hasMemory: true });
    expect((await on.test.get(on.id)).state).toBe("saved");
    // The saved machine goes on as it was, on its new layer.
    await on.boot();
    expect(await on.test.shell(on.id, "cat /tmp/in-memory")).toBe("kept");
    await on.test.shell(on.id, "rm /tmp/in-memory; rm /data/c; sync; kill %1 2>/dev/null; true");
    await on.shutDown();
    expect(await on.restore("with memory")).toMatchObject({ state: "saved" });
    await on.boot();
    expect(await on.test.shell(on.id, "cat /tmp/in-memory")).toBe("kept");
    expect(await on.hash("c")).toBe(c);
    const count = Number(await on.test.shell(on.id, "wc -l < /tmp/count"));
    await on.test.shell(on.id, `while [ $(wc -l < /tmp/count) -le ${count} ]; do usleep 50000; done`);
    await on.test.host.call("machine.powerOff", { id: on.id });
  });

  it("keep the files of a disk that is taken out of the machine, and bring the disk back", async () => {
    await on.test.host.call("machine.set", { id: on.id, patch: { addDisks: [{ sizeBytes: 1024 * 1024 }] } });
    const { folder } = await on.test.get(on.id);
    await on.take("two disks");
    const removed = await on.test.host.call("machine.set", { id: on.id, patch: { removeDisks: ["disk1"] } });
    expect(removed.config?.disks.map((disk) => disk.id)).toEqual(["disk0"]);
    expect((await stat(join(folder, "disks", "disk1", "0.raw"))).size).toBe(1024 * 1024);
    const back = await on.restore("two disks");
    expect(back.config?.disks.map((disk) => disk.id)).toEqual(["disk0", "disk1"]);
    await on.test.host.call("machine.set", { id: on.id, patch: { removeDisks: ["disk1"] } });
    await on.delete("two disks");
    await on.emptyTrash();
    await expect(stat(join(folder, "disks", "disk1"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("are as they were for the next host service", async () => {
    const before = await on.tree();
    await on.test.close();
    await on.test.reopen();
    expect(await on.tree()).toEqual(before);
    await on.test.host.call("snapshot.set", { id: on.id, snapshot: (await on.named("one")).id, name: "first", description: "a fresh disk" });
    expect(await on.named("first")).toMatchObject({ description: "a fresh disk" });
    expect(JSON.parse(await readFile(join((await on.test.get(on.id)).folder, "snapshots", (await on.named("first")).id, "snapshot.json"), "utf8"))).toMatchObject({ version: 1, name: "first" });
  });

  it("go with their machine to the trash and back", async () => {
    const before = await on.tree();
    await on.delete("first");
    const entry = await on.test.host.call("machine.delete", { id: on.id, keepDisks: false });
    const snapshot = (await on.test.host.call("trash.list", {})).find((each) => each.snapshot !== undefined);
    await expect(on.test.host.call("trash.restore", { id: snapshot?.id ?? "" })).rejects.toMatchObject({ code: "not-found", remedy: expect.stringContaining("machine") as string });
    await on.test.host.call("trash.restore", { id: entry.id });
    await on.test.host.call("trash.restore", { id: snapshot?.id ?? "" });
    expect(await on.tree()).toEqual(before);
    await on.test.host.call("machine.delete", { id: on.id, keepDisks: false });
    await on.emptyTrash();
    expect(await readdir(join(on.test.home, "trash"))).toEqual([]);
  });
});

describe("an engine that cannot do it", () => {
  it("says so before anything is done", async () => {
    const on = await SnapshotHost.open("built in", { engine: "v86" });
    try {
      expect((await on.test.get(on.id)).engine?.capabilities.snapshots).toBe("none");
      await expect(on.take("one")).rejects.toMatchObject({ code: "unsupported" });
      expect(await on.test.host.call("snapshot.plan", { operation: "take", id: on.id })).toMatchObject({ refusal: { code: "unsupported" } });
      expect(await on.layers()).toEqual([join("disks", "disk0", "0.raw")]);
    } finally {
      await on.test.dispose();
    }
  });
});
