import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createLog, silentLog, type Log } from "../../core/base/log";
import type { JobInfo, MachineInfo, MachineSpecInput } from "../../core/contract/model";
import type { HostEvent } from "../../core/contract/procedures";
import { findQemu, type QemuLookup } from "../../core/engine/qemuHost";
import { createHost, type HostService, type Runtime } from "../../core/machine/index";

const checkout = resolve(__dirname, "../..");
/** Where the bundles and the starter guest of this checkout are. */
export const realRuntime: Runtime = {
  node: process.execPath,
  env: {},
  emulator: join(checkout, "out", "emulator.cjs"),
  fabric: join(checkout, "out", "fabric.cjs"),
  cli: join(checkout, "out", "cli.cjs"),
  guestDir: process.env["TERRARIUM_GUEST_DIR"] ?? join(checkout, ".cache", "starter"),
  codeCache: join(checkout, ".cache", "emulator"),
  version: "0.0.0-test",
  findQemu: ({ runDir, ...options }) => findQemu({ env: process.env, platform: process.platform, cacheFile: join(runDir, "qemu.json"), ...options }),
};

/** A home of its own, and a host service on it that can be closed and opened again. Disposing ends every machine. */
export class TestHost {
  /** What the host service announced since it was opened. */
  readonly events: HostEvent[] = [];

  private constructor(
    readonly folder: string,
    readonly runtime: Runtime,
    private readonly log: Log,
    private service: HostService | undefined,
  ) {}

  static async open(options: { runtime?: Runtime; verbose?: boolean } = {}): Promise<TestHost> {
    const folder = await mkdtemp(join(tmpdir(), "terrarium-test-"));
    const runtime = options.runtime ?? realRuntime;
    const host = new TestHost(folder, runtime, options.verbose ? createLog((line) => process.stderr.write(`${line}\n`)) : silentLog, undefined);
    await host.reopen();
    return host;
  }

  get home(): string {
    return join(this.folder, "home");
  }

  get host(): HostService {
    if (!this.service) throw new Error("the host service is closed");
    return this.service;
  }

  /** Closes the host service; machines live on. */
  async close(): Promise<void> {
    await this.service?.close();
    this.service = undefined;
  }

  async reopen(): Promise<void> {
    this.service = await createHost({ home: this.home, servedBy: "headless", runtime: this.runtime, log: this.log });
    this.events.length = 0;
    this.service.onDidChange((event) => this.events.push(event));
  }

  /** Creates a machine and answers with it; by default a small one with the starter guest, one disk and one adapter. */
  async create(name: string, spec: Partial<MachineSpecInput> = {}): Promise<MachineInfo> {
    const { id, job } = await this.host.call("machine.create", {
      spec: { name, memoryMiB: 256, boot: { kind: "starter" }, disks: [{ sizeBytes: 64 * 1024 * 1024 }], adapters: [{ attachment: { mode: "none" } }], ...spec },
    });
    await this.succeed(job);
    return this.get(id);
  }

  get(id: string): Promise<MachineInfo> {
    return this.host.call("machine.get", { id });
  }

  async start(id: string): Promise<MachineInfo> {
    const { job } = await this.host.call("machine.start", { id });
    await this.succeed(job);
    return this.get(id);
  }

  /** Waits for a job, and throws what it failed with. */
  async succeed(job: JobInfo): Promise<JobInfo> {
    const ended = await this.host.call("job.wait", { id: job.id });
    if (ended.state !== "done") throw new Error(`${job.title}: ${ended.state} ${ended.error?.message ?? ""}`);
    return ended;
  }

  /** Resolves when a machine's information is as wanted: now, or after an event. */
  async until(id: string, accepts: (machine: MachineInfo) => boolean): Promise<MachineInfo> {
    const now = await this.get(id);
    if (accepts(now)) return now;
    return new Promise((resolve) => {
      const subscription = this.host.onDidChange((event) => {
        if (event.type !== "machine" || event.machine.id !== id || !accepts(event.machine)) return;
        subscription.dispose();
        resolve(event.machine);
      });
    });
  }

  untilAnswering(id: string): Promise<MachineInfo> {
    return this.until(id, (machine) => machine.guest.agent === "answering" && machine.state === "running");
  }

  /** Runs a shell line in the guest and answers with what it printed; throws when it fails. */
  async shell(id: string, line: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.host.call("machine.exec", { id, command: "/bin/sh", args: ["-c", line] });
    if (exitCode !== 0) throw new Error(`${line}: exit code ${exitCode}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** Powers every machine off, closes the host service and removes the home. */
  async dispose(): Promise<void> {
    if (!this.service) await this.reopen();
    for (const { id } of this.host.liveMachines()) await this.host.call("machine.powerOff", { id });
    const { runDir } = this.host;
    await this.close();
    await rm(runDir, { recursive: true, force: true });
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** What a host without QEMU answers. */
export const noQemu: QemuLookup = { ok: false, error: { code: "unavailable", message: "QEMU is not installed on this computer.", remedy: "Install it." } };

/** A runtime whose machines are `fakeMachine.mjs`, with a guest directory that holds nothing real. */
export async function fakeRuntime(folder: string): Promise<Runtime> {
  const bundles = join(folder, "bundles");
  const guestDir = join(folder, "guest");
  await mkdir(bundles, { recursive: true });
  await mkdir(guestDir, { recursive: true });
  await symlink(join(__dirname, "fakeMachine.mjs"), join(bundles, "emulator.mjs"));
  await symlink(join(__dirname, "fakeFabric.mjs"), join(bundles, "fabric.mjs"));
  for (const name of ["emulatorWorker.mjs", "v86.wasm"]) await writeFile(join(bundles, name), name);
  const files: Record<string, { sha256: string; size: number }> = {};
  for (const name of ["kernel-fast.bin", "vmlinuz", "initrd.cpio", "bios.bin", "vgabios.bin"]) {
    await writeFile(join(guestDir, name), name);
    files[name] = { sha256: "0".repeat(64), size: name.length };
  }
  await writeFile(join(guestDir, "guest.json"), JSON.stringify({ build: "fake", kernelVersion: "6.1", cmdline: "quiet", files }));
  return { node: process.execPath, env: { TERRARIUM_TEST_MARK: dirname(bundles) }, emulator: join(bundles, "emulator.mjs"), fabric: join(bundles, "fabric.mjs"), cli: join(bundles, "cli.mjs"), guestDir, codeCache: join(folder, "code"), version: "0.0.0-test", findQemu: async () => noQemu };
}
