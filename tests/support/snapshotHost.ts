import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { MachineInfo, MachinePatch, TrashEntry } from "../../core/contract/model";
import type { SnapshotInfo, SnapshotTree } from "../../core/contract/snapshot";
import type { StepHook } from "../../core/storage/steps";
import { realRuntime, TestHost } from "./host";

/** A host service with one machine on QEMU, and what is done with its snapshots. */
export class SnapshotHost {
  private constructor(
    readonly test: TestHost,
    readonly id: string,
  ) {}

  static async open(name: string, spec: Parameters<TestHost["create"]>[1] = {}, onStep?: StepHook): Promise<SnapshotHost> {
    const test = await TestHost.open(onStep ? { runtime: { ...realRuntime, onStep } } : {});
    const { id } = await test.create(name, { engine: "qemu", ...spec });
    return new SnapshotHost(test, id);
  }

  tree(): Promise<SnapshotTree> {
    return this.test.host.call("snapshot.list", { id: this.id });
  }

  async named(name: string): Promise<SnapshotInfo> {
    const found = (await this.tree()).snapshots.find((snapshot) => snapshot.name === name);
    if (!found) throw new Error(`there is no snapshot ${name}`);
    return found;
  }

  async take(name: string): Promise<SnapshotInfo> {
    const { job } = await this.test.host.call("snapshot.take", { id: this.id, name });
    await this.test.succeed(job);
    return this.named(name);
  }

  async restore(name: string, options: { keep?: string; start?: boolean } = {}): Promise<MachineInfo> {
    const { job } = await this.test.host.call("snapshot.restore", { id: this.id, snapshot: (await this.named(name)).id, ...options });
    await this.test.succeed(job);
    return this.test.get(this.id);
  }

  async delete(name: string): Promise<TrashEntry> {
    return this.test.host.call("snapshot.delete", { id: this.id, snapshot: (await this.named(name)).id });
  }

  async emptyTrash(id?: string): Promise<void> {
    await this.test.succeed((await this.test.host.call("trash.empty", id === undefined ? {} : { id })).job);
  }

  set(patch: MachinePatch): Promise<MachineInfo> {
    return this.test.host.call("machine.set", { id: this.id, patch });
  }

  async boot(): Promise<void> {
    await this.test.start(this.id);
    await this.test.untilAnswering(this.id);
  }

  async shutDown(): Promise<void> {
    await this.test.succeed((await this.test.host.call("machine.shutdown", { id: this.id })).job);
  }

  /** Writes a file of noise to the guest's disk, and answers with its hash. */
  async write(name: string): Promise<string> {
    return this.test.shell(this.id, `dd if=/dev/urandom of=/data/${name} bs=64k count=32 2>/dev/null; sync; md5sum < /data/${name}`);
  }

  hash(name: string): Promise<string> {
    return this.test.shell(this.id, `if [ -e /data/${name} ]; then md5sum < /data/${name}; else echo gone; fi`);
  }

  /** Files of the machine's disks, and whether qemu-img finds every layer whole. */
  async layers(): Promise<string[]> {
    const { folder } = await this.test.get(this.id);
    const files: string[] = [];
    for (const disk of await readdir(join(folder, "disks"))) for (const name of await readdir(join(folder, "disks", disk))) files.push(join("disks", disk, name));
    for (const file of files) if (file.endsWith(".qcow2")) execFileSync("qemu-img", ["check", "-q", "-U", join(folder, file)]);
    return files.sort();
  }
}
