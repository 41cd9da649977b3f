import { chmod, mkdir, readFile, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MachineConfig, MachineSpec, type MachineSpecInput } from "../../../core/contract/model";
import { TerrariumError } from "../../../core/contract/errors";
import { changeDisks, planMachine, type FillControl, type PlanContext } from "../../../core/machine/creation";
import { newMac } from "../../../core/machine/macAddress";
import { failingAfter } from "../../support/faults";
import { mbrDisk, qcow2Image } from "../../support/images";
import { makeConfig } from "../../support/machineConfig";
import { useTemporaryFolder } from "../../support/temporaryFolder";

const folder = useTemporaryFolder();
const context: PlanContext = { id: "11111111-1111-4111-8111-111111111111", now: 1234, macs: ["52:54:00:00:00:01"], images: { formats: ["raw"], qemuImg: undefined } };
const control = (patch: Partial<FillControl> = {}): FillControl => ({ signal: new AbortController().signal, progress: () => undefined, ...patch });
const specOf = (patch: Partial<MachineSpecInput>): MachineSpec => MachineSpec.parse({ name: "web", memoryMiB: 128, boot: { kind: "starter" }, ...patch });

/** Nothing else needs a file. */
const unneeded = async (): Promise<boolean> => false;

describe("planMachine", () => {
  it("turns a specification into a complete configuration", async () => {
    const { config } = await planMachine(specOf({ disks: [{ sizeBytes: 1000 }], medium: "/a.iso", adapters: [{ attachment: { mode: "none" } }, { attachment: { mode: "nat" }, plugged: false, mac: "52:54:00:aa:bb:cc" }] }), context);
    expect(MachineConfig.parse(config)).toEqual(config);
    expect(config).toMatchObject({
      id: context.id,
      createdAt: 1234,
      disks: [{ id: "disk0", sizeBytes: 1024, layers: [{ file: "disks/disk0/0.raw", format: "raw" }] }],
      drives: [{ id: "cd0", medium: "/a.iso" }],
      adapters: [{ attachment: { mode: "none" }, plugged: true }, { mac: "52:54:00:aa:bb:cc", attachment: { mode: "nat" }, plugged: false }],
    });
    expect(config.adapters[0]?.mac).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/);
  });

  it("keeps who logs in first, and neither the password nor the keys", async () => {
    const seed = { user: "ada", password: "secret words", authorizedKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9 ada@garden"] };
    const { config } = await planMachine(specOf({ boot: { kind: "firmware", order: "disk" }, seed }), context);
    expect(MachineConfig.parse(config)).toMatchObject({ seed: "seed/seed.iso", login: { user: "ada" } });
    expect(JSON.stringify(config)).not.toMatch(/secret|AAAAC3/);
    expect((await planMachine(specOf({}), context)).config).not.toHaveProperty("login");
  });

  it("makes sparse disks and complete copies", async () => {
    const image = join(folder.path, "image");
    await writeFile(image, Buffer.concat([mbrDisk(1024 * 1024), Buffer.from("odd end")]));
    await chmod(image, 0o444);
    const { config, fill } = await planMachine(specOf({ disks: [{ sizeBytes: 1 << 30 }, { image, mode: "copy" }] }), context);
    const machine = join(folder.path, "machine");
    await mkdir(machine);
    const seen: (number | undefined)[] = [];
    await fill(machine, control({ progress: (fraction) => seen.push(fraction) }));
    expect((await stat(join(machine, "disks/disk0/0.raw"))).size).toBe(1 << 30);
    const copy = await readFile(join(machine, "disks/disk1/0.raw"));
    expect(copy.length).toBe(config.disks[1]?.sizeBytes);
    expect(copy.length % 512).toBe(0);
    expect(copy.subarray(0, 1024 * 1024 + 7).equals(await readFile(image))).toBe(true);
    expect((await stat(join(machine, "disks/disk1/0.raw"))).mode & 0o200).toBe(0o200);
    expect(seen.at(-1)).toBe(1);
  });

  it("uses a linked image where it is, by its real path", async () => {
    const image = join(folder.path, "image");
    await writeFile(image, mbrDisk(4096));
    await symlink(image, join(folder.path, "link"));
    const { config, fill } = await planMachine(specOf({ disks: [{ image: join(folder.path, "link"), mode: "link" }] }), context);
    expect(config.disks).toEqual([{ id: "disk0", sizeBytes: 4096, layers: [{ file: image, format: "raw" }] }]);
    await mkdir(join(folder.path, "machine"));
    await fill(join(folder.path, "machine"), control());
    expect(await readdir(join(folder.path, "machine"))).toEqual([]);
  });

  it("makes a copy as long as it is told, and not shorter than the image", async () => {
    const image = join(folder.path, "image");
    await writeFile(image, mbrDisk(1024 * 1024));
    const { config } = await planMachine(specOf({ disks: [{ image, mode: "copy", growTo: 4 * 1024 * 1024 }] }), context);
    expect(config.disks[0]?.sizeBytes).toBe(4 * 1024 * 1024);
    await expect(planMachine(specOf({ disks: [{ image, mode: "copy", growTo: 512 * 1024 }] }), context)).rejects.toMatchObject({ code: "invalid-input", message: expect.stringContaining("has 1 MB; it cannot be made 512 KB") as string });
  });

  it("refuses an image that is missing or that the engine does not read", async () => {
    await expect(planMachine(specOf({ disks: [{ image: "/nowhere.img", mode: "copy" }] }), context)).rejects.toMatchObject({ code: "image-unusable" });
    const image = join(folder.path, "image.qcow2");
    await writeFile(image, qcow2Image());
    await expect(planMachine(specOf({ disks: [{ image, mode: "copy" }] }), context)).rejects.toMatchObject({ code: "image-unusable", remedy: expect.stringContaining("qemu-img") as string });
  });

  it("reports a full disk as such", async () => {
    const { fill } = await planMachine(specOf({ disks: [{ sizeBytes: 512 }] }), context);
    await expect(fill(folder.path, control({ faults: failingAfter(1).hook }))).rejects.toMatchObject({ code: "disk-full", remedy: expect.any(String) as string });
  });
});

describe("changeDisks", () => {
  const disk = (id: string): MachineConfig["disks"][number] => ({ id, sizeBytes: 512, layers: [{ file: `disks/${id}/0.raw`, format: "raw" }] });

  async function machineWith(...ids: string[]): Promise<MachineConfig> {
    for (const id of ids) {
      await mkdir(join(folder.path, "disks", id), { recursive: true });
      await writeFile(join(folder.path, "disks", id, "0.raw"), id.padEnd(512, "\0"));
    }
    return makeConfig({ disks: ids.map(disk) });
  }

  it("deletes a removed disk only when the change is committed", async () => {
    const config = await machineWith("disk0", "disk1");
    const change = await changeDisks(folder.path, config, { add: [], remove: ["disk0"] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded);
    expect(change.disks).toEqual([disk("disk1")]);
    expect((await readdir(join(folder.path, "disks"))).sort()).toEqual(["disk0", "disk1"]);
    await change.commit();
    expect(await readdir(join(folder.path, "disks"))).toEqual(["disk1"]);
  });

  it("takes an added disk back when the change is undone", async () => {
    const config = await machineWith("disk1");
    const change = await changeDisks(folder.path, config, { add: [{ sizeBytes: 1024 }], remove: [] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded);
    expect(change.disks.map(({ id }) => id)).toEqual(["disk0", "disk1"]);
    expect((await stat(join(folder.path, "disks/disk0/0.raw"))).size).toBe(1024);
    await change.undo();
    expect(await readdir(join(folder.path, "disks"))).toEqual(["disk1"]);
  });

  it("leaves a file that something else needs, and deletes the others", async () => {
    const config = makeConfig({ disks: [{ id: "disk0", sizeBytes: 512, layers: [{ file: "disks/disk0/0.raw", format: "raw" }, { file: "disks/disk0/01234567.qcow2", format: "qcow2" }] }] });
    await mkdir(join(folder.path, "disks/disk0"), { recursive: true });
    for (const name of ["0.raw", "01234567.qcow2"]) await writeFile(join(folder.path, "disks/disk0", name), name);
    const change = await changeDisks(folder.path, config, { add: [], remove: ["disk0"] }, { formats: ["raw"], qemuImg: undefined }, control(), async (path) => path.endsWith("0.raw"));
    await change.commit();
    expect(await readdir(join(folder.path, "disks/disk0"))).toEqual(["0.raw"]);
  });

  it("replaces a disk without touching its file before the commit", async () => {
    const config = await machineWith("disk0");
    const change = await changeDisks(folder.path, config, { add: [{ sizeBytes: 1024 }], remove: ["disk0"] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded);
    expect(change.disks).toEqual([{ id: "disk0", sizeBytes: 1024, layers: [{ file: "disks/disk0-2/0.raw", format: "raw" }] }]);
    expect(await readFile(join(folder.path, "disks/disk0/0.raw"), "utf8")).toContain("disk0");
    await change.commit();
    expect(await readdir(join(folder.path, "disks"))).toEqual(["disk0-2"]);
  });

  it("never deletes a linked image, nor a file that another disk needs", async () => {
    const linked = join(folder.path, "image");
    await writeFile(linked, mbrDisk(512));
    const config = makeConfig({ disks: [{ id: "disk0", sizeBytes: 512, layers: [{ file: linked, format: "raw" }] }] });
    await (await changeDisks(folder.path, config, { add: [], remove: ["disk0"] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded)).commit();
    expect((await stat(linked)).size).toBe(512);
    const shared = await machineWith("disk0");
    const both = { ...shared, disks: [disk("disk0"), { ...disk("disk0"), id: "disk1" }] };
    await (await changeDisks(folder.path, both, { add: [], remove: ["disk1"] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded)).commit();
    expect(await readFile(join(folder.path, "disks/disk0/0.raw"), "utf8")).toContain("disk0");
  });

  it("leaves nothing of an added disk when making it fails or is cancelled", async () => {
    const config = await machineWith("disk0");
    await expect(changeDisks(folder.path, config, { add: [{ sizeBytes: 1024 }, { sizeBytes: 1024 }], remove: [] }, { formats: ["raw"], qemuImg: undefined }, control({ faults: failingAfter(4).hook }), unneeded)).rejects.toMatchObject({ code: "disk-full" });
    const reason = new Error("cancelled");
    await expect(changeDisks(folder.path, config, { add: [{ sizeBytes: 1024 }], remove: [] }, { formats: ["raw"], qemuImg: undefined }, control({ signal: AbortSignal.abort(reason) }), unneeded)).rejects.toBe(reason);
    expect(await readdir(join(folder.path, "disks"))).toEqual(["disk0"]);
  });

  it("makes an added disk where a crash leaves nothing that could be taken for one, and writes over nothing", async () => {
    const config = await machineWith("disk0");
    const disks = join(folder.path, "disks");
    const mine = join(disks, "disk1");
    let seen: string[] = [];
    const faults = async (step: string): Promise<void> => {
      if (step !== "sync") return;
      seen = await readdir(disks);
      await mkdir(mine);
      await writeFile(join(mine, "0.raw"), "somebody's");
    };
    await expect(changeDisks(folder.path, config, { add: [{ sizeBytes: 1024 }], remove: [] }, { formats: ["raw"], qemuImg: undefined }, control({ faults }), unneeded)).rejects.toBeInstanceOf(TerrariumError);
    expect(seen.sort()).toEqual([expect.stringMatching(/^\.staging-[0-9a-f]{8}$/), "disk0"]);
    expect((await readdir(disks)).sort()).toEqual(["disk0", "disk1"]);
    expect(await readFile(join(mine, "0.raw"), "utf8")).toBe("somebody's");
  });

  it("refuses a fifth disk and a disk that is not there", async () => {
    const config = makeConfig({ disks: ["disk0", "disk1", "disk2", "disk3"].map(disk) });
    await expect(changeDisks(folder.path, config, { add: [{ sizeBytes: 512 }], remove: [] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded)).rejects.toMatchObject({ code: "unsupported" });
    await expect(changeDisks(folder.path, config, { add: [], remove: ["disk7"] }, { formats: ["raw"], qemuImg: undefined }, control(), unneeded)).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("newMac", () => {
  it("avoids addresses that are taken", () => {
    const sequence = [[0, 0, 1], [0, 0, 2]];
    expect(newMac(["52:54:00:00:00:01"], () => Uint8Array.from(sequence.shift() ?? []))).toBe("52:54:00:00:00:02");
  });
});
