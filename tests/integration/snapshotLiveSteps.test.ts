import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { MachineConfig } from "../../core/contract/model";
import type { NumberedStep } from "../../core/storage/steps";
import { endings, readCounts, writeBootDisk } from "../support/bootSector";
import { SnapshotHost } from "../support/snapshotHost";

/*
 * The host service ends at every step of taking a snapshot of a machine that runs: from there on it changes nothing any more.
 * The next one finds a guest that goes on, every snapshot that was listed, and no file that nothing needs.
 */

let folder = "";
let on: SnapshotHost;
/** The step that does not happen any more, counted from when it was said. */
let stop = Infinity;
let steps: NumberedStep[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "terrarium-cuts-"));
  writeBootDisk(join(folder, "boot.raw"), "counting", endings.count);
  const spec = { memoryMiB: 32, boot: { kind: "firmware", order: "disk" }, disks: [{ image: join(folder, "boot.raw"), mode: "copy" }] } as const;
  on = await SnapshotHost.open("cut off", { ...spec, disks: [...spec.disks] }, (step) => {
    if (steps.length >= stop) throw new Error("the host service is gone");
    steps.push(step);
  });
  await on.test.start(on.id);
});
afterAll(async () => {
  stop = Infinity;
  await on.test.dispose();
  await rm(folder, { recursive: true, force: true });
});

function from(number: number): void {
  stop = number;
  steps = [];
}

/** Resolves when the guest has counted on from what it says now. */
async function countsOn(): Promise<void> {
  const last = async (): Promise<number> => readCounts((await on.test.host.call("machine.log", { id: on.id, log: "serial0" })).text).pop() ?? -1;
  const now = await last();
  while ((await last()) === now) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Layers on the disk that neither the machine nor a snapshot names. */
async function unnamed(): Promise<string[]> {
  const { folder: machine, config } = await on.test.get(on.id);
  const named = (of: MachineConfig | undefined): string[] => (of?.disks ?? []).flatMap(({ layers }) => layers.map(({ file }) => file));
  const known = named(config);
  for (const { id } of (await on.tree()).snapshots) known.push(...named((JSON.parse(await readFile(join(machine, "snapshots", id, "snapshot.json"), "utf8")) as { config: MachineConfig }).config));
  return (await on.layers()).filter((file) => !known.includes(file));
}

it("a host service that ends at any step of taking one leaves a guest that goes on, and what was listed", async () => {
  from(Infinity);
  const whole = await on.take("whole");
  const all = steps;
  expect(all.map(({ kind, what }) => (kind === "monitor" ? what : kind))).toEqual(expect.arrayContaining(["blockdev-add", "stop", "transaction", "migrate", "cont", "rename"]));
  for (let number = 0; number < all.length; number++) {
    const where = `${number}: ${all[number]?.kind} ${all[number]?.what}`;
    const before = (await on.tree()).snapshots.map(({ id }) => id);
    from(number);
    const name = `cut at ${number}`;
    const outcome = await on.take(name).then(() => "done", (error: unknown) => String(error));
    await on.test.close();
    from(Infinity);
    await on.test.reopen();
    expect((await on.test.get(on.id)).state, where).toBe("running");
    await countsOn();
    const { snapshots } = await on.tree();
    expect(snapshots.map(({ id }) => id), where).toEqual(expect.arrayContaining(before));
    expect(snapshots.filter(({ problem }) => problem !== undefined), where).toEqual([]);
    if (outcome === "done") expect(snapshots.map((snapshot) => snapshot.name), where).toContain(name);
    expect(await unnamed(), where).toEqual([]);
    const { folder: machine } = await on.test.get(on.id);
    expect((await readdir(join(machine, "snapshots"))).sort(), where).toEqual(snapshots.map(({ id }) => id).sort());
  }
  // What was taken in between, as far as it came to be, is whole.
  const last = (await on.tree()).snapshots.slice(-1)[0];
  for (const name of [whole.name, last?.name ?? ""]) {
    expect(await on.restore(name)).toMatchObject({ state: "running", startedFrom: "saved" });
    await countsOn();
  }
});
