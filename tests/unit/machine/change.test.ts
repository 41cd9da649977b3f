import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Emitter } from "../../../core/base/emitter";
import { TerrariumError } from "../../../core/contract/errors";
import type { MachineConfig, MachinePatch } from "../../../core/contract/model";
import type { Engine, MonitorCommand } from "../../../core/engine/engine";
import { qemuEngine } from "../../../core/engine/qemu";
import { QmpError, type QmpEvent } from "../../../core/engine/qmp";
import { changeMachine, makeAddedDisks } from "../../../core/machine/change";
import type { Machine } from "../../../core/machine/machine";
import { kindOfChange } from "../../../core/machine/settings";
import { makeConfig } from "../../support/machineConfig";
import { SkippingClock } from "../../support/skippingClock";

/** QEMU as far as disks and the drive go: what it has, and what it refuses. */
class PretendQemu {
  readonly devices = new Set<string>();
  /** Open images: the file of each node. */
  readonly nodes = new Map<string, string>();
  medium: string | null = null;
  mediumOptions: Record<string, unknown> = {};
  /** Devices whose guest does not let go when it is asked. */
  readonly held = new Set<string>();
  readonly limits: Record<string, unknown>[] = [];
  isClosed = false;
  /** Lets go of no device any more. */
  isStuck = false;
  /** Resolves when a device was asked for that its guest does not let go of. */
  readonly asked: Promise<void>;
  private readonly didAsk: () => void;
  private readonly events = new Emitter<QmpEvent>();

  constructor() {
    let didAsk = (): void => undefined;
    this.asked = new Promise((resolve) => (didAsk = resolve));
    this.didAsk = didAsk;
  }

  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const name = String(args["node-name"]);
    const id = String(args["id"]);
    switch (command) {
      case "blockdev-add":
        if (this.nodes.has(name)) throw new QmpError(command, "GenericError", `Duplicate nodes with node-name='${name}'`);
        this.nodes.set(name, (args["file"] as { filename: string }).filename);
        return {};
      case "blockdev-del":
        if (!this.nodes.has(name)) throw new QmpError(command, "GenericError", `Failed to find node with node-name='${name}'`);
        if (this.devices.has(name.split("-")[0] ?? "")) throw new QmpError(command, "GenericError", `Node ${name} is in use`);
        this.nodes.delete(name);
        return {};
      case "device_add":
        this.devices.add(id);
        return {};
      case "device_del":
        if (this.isStuck) throw new QmpError(command, "GenericError", "it is stuck");
        if (!this.devices.has(id)) throw new QmpError(command, "DeviceNotFound", `Device '${id}' not found`);
        if (this.held.has(id)) this.didAsk();
        else setImmediate(() => this.letGo(id));
        return {};
      case "query-named-block-nodes":
        return [...this.nodes.keys()].map((node) => ({ "node-name": node }));
      case "blockdev-change-medium":
        this.medium = String(args["filename"]);
        this.mediumOptions = args;
        return {};
      case "eject":
        this.medium = null;
        return {};
      case "block_set_io_throttle":
        this.limits.push(args);
        return {};
      default:
        throw new Error(`nobody expected ${command}`);
    }
  }

  /** The file that is open for a disk. */
  fileOf(disk: string): string | undefined {
    return [...this.nodes].find(([node]) => node.split("-")[0] === disk)?.[1];
  }

  letGo(device: string): void {
    this.devices.delete(device);
    this.events.fire({ event: "DEVICE_DELETED", data: { device }, at: undefined });
  }

  waitFor(matches: (event: QmpEvent) => boolean, signal: AbortSignal): Promise<QmpEvent> {
    return new Promise((resolve, reject) => {
      this.events.event((event) => matches(event) && resolve(event));
      signal.addEventListener("abort", () => reject(new TerrariumError("cancelled", "Cancelled.")));
    });
  }
}

describe("changing a machine that runs", () => {
  let folder = "";
  let qemu: PretendQemu;
  let config: MachineConfig;
  let saved: MachineConfig | undefined;
  const clock = new SkippingClock();
  const engine: Engine = qemuEngine({ ok: true, value: { version: { text: "7.2" }, machineTypes: { q35: "pc-q35-7.2", pc: "pc-i440fx-7.2" }, accelerators: [], accelerator: {} } } as never);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "terrarium-change-"));
    qemu = new PretendQemu();
    config = makeConfig();
    saved = undefined;
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const tell = async (commands: readonly MonitorCommand[]): Promise<void> => {
    for (const command of commands) await qemu.execute(command.execute, command.arguments);
  };
  const run = (): unknown => ({ tell, session: { qmp: qemu }, applyLinks: async () => undefined });
  const machine = (): Machine => ({ folder, isLive: true, clock, live: run, get current() { return run(); }, log: { event: () => undefined } }) as never;
  const set = async (patch: MachinePatch, save: (next: MachineConfig) => Promise<void> = async (next) => void (saved = config = next)): Promise<void> =>
    changeMachine(machine(), config, patch, kindOfChange(config, patch), await makeAddedDisks(machine(), config, patch, kindOfChange(config, patch), { formats: ["raw", "qcow2"], qemuImg: undefined }, control, async () => false), { engine, save, rewire: async () => undefined });
  const control = { signal: new AbortController().signal, progress: () => undefined };
  const layer = (id: string): string => join(folder, config.disks.find((disk) => disk.id === id)?.layers[0]?.file ?? "");

  it("gives a disk's place to another one at once: the guest gets the new file, and the old one goes when nobody uses it", async () => {
    await set({ addDisks: [{ sizeBytes: 4096 }] });
    const former = layer("disk0");
    await set({ removeDisks: ["disk0"], addDisks: [{ sizeBytes: 8192 }] });
    expect(qemu.fileOf("disk0")).toBe(layer("disk0"));
    expect(layer("disk0")).not.toBe(former);
    expect(await readdir(join(folder, "disks"))).toEqual(["disk0-2"]);
  });

  it("takes a disk out that its guest has let go of too late, after it had been given up", async () => {
    await set({ addDisks: [{ sizeBytes: 4096 }] });
    qemu.held.add("disk0");
    const refused = set({ removeDisks: ["disk0"] });
    refused.catch(() => undefined);
    await qemu.asked;
    await clock.skip(31_000);
    await expect(refused).rejects.toMatchObject({ code: "timeout", message: expect.stringContaining("disk0") as string });
    expect(config.disks).toHaveLength(1);
    qemu.letGo("disk0");
    await set({ removeDisks: ["disk0"] });
    expect(saved?.disks).toEqual([]);
    expect(qemu.nodes.size).toBe(0);
  });

  it("takes a disk out that a killed host service had taken out of QEMU already", async () => {
    await set({ addDisks: [{ sizeBytes: 4096 }] });
    qemu.devices.clear();
    qemu.nodes.clear();
    await set({ removeDisks: ["disk0"] });
    expect(saved?.disks).toEqual([]);
  });

  it.each(["disk0-01234567", "disk0"])("plugs a disk in where a killed host service has left one that nobody knows of, as %s", async (node) => {
    qemu.nodes.set(node, "/left/behind.raw");
    qemu.devices.add("disk0");
    await set({ addDisks: [{ sizeBytes: 4096 }] });
    expect(qemu.fileOf("disk0")).toBe(layer("disk0"));
    expect([...qemu.devices]).toEqual(["disk0"]);
    expect(qemu.nodes.size).toBe(1);
  });

  it("changes nothing when one part of it cannot be done", async () => {
    await set({ medium: "/discs/one.iso", addDisks: [{ sizeBytes: 4096 }] });
    qemu.held.add("disk0");
    const refused = set({ medium: "/discs/two.iso", removeDisks: ["disk0"] });
    refused.catch(() => undefined);
    await qemu.asked;
    await clock.skip(31_000);
    await expect(refused).rejects.toMatchObject({ code: "timeout" });
    expect(qemu.medium).toBe("/discs/one.iso");

    const unwritable = set({ medium: null, addDisks: [{ sizeBytes: 4096 }], disks: [{ id: "disk0", limits: { bytesPerSecond: 4096 } }] }, () => Promise.reject(new TerrariumError("disk-full", "The disk is full.")));
    await expect(unwritable).rejects.toMatchObject({ code: "disk-full" });
    expect(qemu.medium).toBe("/discs/one.iso");
    expect([...qemu.nodes.values()]).toEqual([layer("disk0")]);
    expect(qemu.limits.at(-1)).toMatchObject({ bps: 0 });
    expect(await readdir(join(folder, "disks"))).toEqual(["disk0"]);
  });

  it("says why a change failed before it says that it could not be taken back, and leaves the files that are in use", async () => {
    const failing = set({ medium: "/discs/one.iso", addDisks: [{ sizeBytes: 4096 }], disks: [] }, async () => {
      qemu.isStuck = true;
      throw new TerrariumError("disk-full", "The disk is full.", "Free some space.");
    });
    await expect(failing).rejects.toMatchObject({ code: "disk-full", message: "The disk is full. What had been changed could not be taken back: The machine process refused device_del: it is stuck", remedy: expect.stringContaining("Free some space.") as string });
    // What could be taken back was.
    expect(qemu.medium).toBeNull();
    expect(await readdir(join(folder, "disks"))).toEqual(["disk0"]);
  });

  it("says why a change failed, and leaves no file, when the machine process is gone before it could be taken back", async () => {
    const failing = set({ addDisks: [{ sizeBytes: 4096 }] }, async () => {
      qemu.isClosed = true;
      throw new TerrariumError("disk-full", "The disk is full.");
    });
    await expect(failing).rejects.toMatchObject({ code: "disk-full" });
    expect(await readdir(join(folder, "disks"))).toEqual([]);
  });

  it("opens a disc for reading only, so that other machines can have it too", async () => {
    await writeFile(join(folder, "disc.iso"), "");
    await set({ medium: join(folder, "disc.iso") });
    expect(qemu.mediumOptions).toMatchObject({ "read-only-mode": "read-only", format: "raw" });
  });
});
