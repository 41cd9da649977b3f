import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SnapshotWorld, stoppingAt } from "../support/snapshotWorld";

/*
 * Every step of what is done with the snapshots of a machine that does not run: the world stops there, as when the power
 * fails, and the next host service finds everything that was there before, or all of what was to be, and no file too many.
 */

/** A home with a tree: one ─▶ two, the machine on a branch of its own from one, and a deleted snapshot in the trash. */
async function lay(home: string): Promise<void> {
  const world = await SnapshotWorld.open(home);
  await world.make();
  await world.take("one");
  await world.write(2);
  await world.save("memory of two");
  await world.take("two");
  await world.write(3);
  await world.take("three");
  await world.delete("three");
  await world.restore("one", "kept");
  await world.write(4);
}

const operations: readonly { readonly name: string; act(world: SnapshotWorld): Promise<void>; readonly gone?: string }[] = [
  { name: "taking one of a machine that is off", act: (world) => world.take("new") },
  { name: "restoring one, the machine as it was going to the trash", act: (world) => world.restore("one") },
  { name: "restoring one with memory, after one was taken of what was there", act: (world) => world.restore("two", "new") },
  { name: "deleting one", act: (world) => world.delete("two") },
  { name: "renaming one", act: async (world) => void (await world.snapshots.set({ id: world.machine.id, snapshot: await world.idOf("two"), description: "the second" })) },
  { name: "bringing a deleted one back", act: (world) => world.undelete() },
  { name: "deleting one for good", act: (world) => world.purge(), gone: "three" },
];

describe("a power cut at every step of", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-steps-"));
    await lay(join(folder, "laid"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const copied = async (): Promise<string> => {
    const home = join(folder, "home");
    await rm(home, { recursive: true, force: true });
    await cp(join(folder, "laid"), home, { recursive: true, preserveTimestamps: true });
    return home;
  };

  it.each(operations)("$name", async ({ act, gone }) => {
    const home = await copied();
    const before = await (await SnapshotWorld.open(home)).contents();
    const whole = stoppingAt(Infinity);
    const done = await SnapshotWorld.open(home, whole.hook);
    await act(done);
    const after = await done.contents();
    expect(await done.faults()).toEqual([]);
    expect(whole.steps.length).toBeGreaterThan(2);
    for (let stop = 0; stop < whole.steps.length; stop++) {
      const where = `${stop}: ${whole.steps[stop]?.kind} ${whole.steps[stop]?.what.slice(home.length)}`;
      const stopped = await SnapshotWorld.open(await copied(), stoppingAt(stop).hook);
      const outcome = await act(stopped).then(() => "done", (error: unknown) => String(error));
      // What only tidies up afterwards is told to the log, and left to the next time.
      if (outcome !== "done") expect(outcome, where).toContain("the world has stopped");
      const next = await SnapshotWorld.open(home);
      expect(await next.faults(), where).toEqual([]);
      const found = await next.contents();
      expect(outcome === "done" ? [after.get("now")] : [before.get("now"), after.get("now")], where).toContain(found.get("now"));
      for (const [name, content] of before) if (name !== "now" && name !== gone && after.has(name)) expect(found.get(name), `${where}, ${name}`).toBe(content);
      // One of what there was may lie there on its way to the trash.
      for (const [name, content] of found) if (name !== "now") expect([before.get(name), after.get(name), before.get("now")], `${where}, ${name}`).toContain(content);
      // What was to be done can still be done.
      if (found.size === before.size && found.get("now") === before.get("now") && gone === undefined) await act(next).then(() => expect(next.faults()).resolves.toEqual([]));
    }
  });
});
