import { createHash, randomBytes, randomUUID } from "node:crypto";
import { access, constants, mkdir, mkdtemp, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { setPriority, tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import * as z from "zod";
import { systemClock, type Clock } from "../base/clock";
import { DisposableStore, toDisposable } from "../base/disposable";
import type { Log } from "../base/log";
import { isRunning, ownIdentity, type ProcessIdentity } from "../base/processes";
import { TerrariumError } from "../contract/errors";
import type { MachineConfig } from "../contract/model";
import { adapterSlots, machineSockets, type Engine, type GuestFiles } from "../engine/engine";
import { syncFolder, writeFileAtomically } from "../storage/atomicFile";
import { errno, fileError, isMissing } from "../storage/fileErrors";
import { Guest } from "./guest";
import { saveState } from "./migration";
import { maxSocketPath } from "./runDir";
import { Session } from "./session";

/**
 * Pre-booted states of the starter guest: the memory of a scratch machine that has booted, owns no disk, has no link and
 * is nobody. A machine restored from it is up in a fraction of a second and is then told who it is.
 *
 * A state lies in `<folder>/<key>/` as `state` and `about.json`. The key is a hash of everything that must be the same:
 * hardware, guest build, emulator. The folder appears by one rename, so a state that exists is whole, and of two host
 * services that make the same one the second finds the first one's and throws its own away.
 */
const About = z.object({ guestBuild: z.string(), emulator: z.string(), memoryMiB: z.number(), disks: z.number() });
type About = z.infer<typeof About>;

const stagingName = /^\.staging-(\d+)-([0-9a-zA-Z]*)-[0-9a-f]+$/;
/** A busy host boots the emulated guest many times slower than an idle one. */
const bootLimitMs = 10 * 60_000;
const prepareLimitMs = 5 * 60_000;
/** Never used by a driver, so any size will do. */
const scratchDiskBytes = 1024 * 1024;
/** Below people's machines: someone may be waiting for one of those. */
const scratchPriority = 10;

export interface PreBootedOptions {
  /** Where states are looked for, best first. */
  readonly folders: readonly string[];
  /** Where new ones are put and old ones removed; one of `folders`. */
  readonly target: string;
  readonly engine: Engine;
  /** The engine that runs a machine. */
  readonly runsOn: (config: MachineConfig) => Engine;
  readonly guest: GuestFiles;
  readonly guestBuild: string;
  /** Changes with every change of the emulator. */
  readonly emulator: string;
  /** States are made beside people's machines, which go first. */
  readonly background: boolean;
  readonly log: Log;
  readonly clock?: Clock;
}

export class PreBootedStates {
  private readonly making = new Map<string, Promise<void>>();
  private readonly failures = new Set<string>();

  constructor(private readonly options: PreBootedOptions) {}

  /** The key of the state `config` could start from; undefined when no state can serve it. */
  keyFor(config: MachineConfig): string | undefined {
    if (config.boot.kind !== "starter" || !this.options.engine.info.capabilities.preBooted || this.options.guest.starter === undefined) return undefined;
    if (this.options.runsOn(config).id !== this.options.engine.id) return undefined;
    return createHash("sha256").update(JSON.stringify(this.about(config))).digest("hex").slice(0, 20);
  }

  /** The file of a state, if it is there. */
  async find(key: string): Promise<string | undefined> {
    for (const folder of this.options.folders) {
      const path = join(folder, key, "state");
      try {
        await access(path, constants.R_OK);
        return path;
      } catch (error) {
        if (!isMissing(error) && errno(error) !== "EACCES") throw error;
      }
    }
    return undefined;
  }

  isMaking(key: string): boolean {
    return this.making.has(key);
  }

  /**
   * A machine could not come up from a state. One that is damaged is thrown away at once, one whose guest did not answer
   * when that happens again: the host may have been too busy.
   */
  async failed(key: string, damaged: boolean): Promise<void> {
    const again = this.failures.has(key);
    this.failures.add(key);
    if (!damaged && !again) return;
    this.failures.delete(key);
    for (const folder of this.options.folders) {
      try {
        await rm(join(folder, key), { recursive: true, force: true });
      } catch (error) {
        this.options.log.warn(`the pre-booted state ${join(folder, key)} could not be removed: ${String(error)}`);
      }
    }
  }

  /** Makes the state for machines like `config`, unless it is there. Two callers share the work. */
  async prepare(config: MachineConfig, signal: AbortSignal, progress: (detail: string) => void): Promise<void> {
    const key = this.keyFor(config);
    if (key === undefined) throw new TerrariumError("unsupported", "Only machines that boot the starter guest can start from a pre-booted state.");
    if ((await this.find(key)) !== undefined) return;
    const running = this.making.get(key);
    if (running) return running;
    const made = this.make(key, config, signal, progress).finally(() => this.making.delete(key));
    this.making.set(key, made);
    return made;
  }

  /** Removes states of other builds and emulators, and what interrupted preparations left, from the folder of new ones. */
  async removeStale(): Promise<void> {
    const folder = this.options.target;
    for (const name of await listFolder(folder)) {
      try {
        await this.removeIfStale(folder, name);
      } catch (error) {
        this.options.log.warn(`the pre-booted state ${join(folder, name)} could not be removed: ${String(error)}`);
      }
    }
  }

  private async removeIfStale(folder: string, name: string): Promise<void> {
    const path = join(folder, name);
    const staged = stagingName.exec(name);
    if (staged) {
      const owner: ProcessIdentity = { pid: Number(staged[1]), ...(staged[2] ? { start: staged[2] } : {}) };
      if (await isRunning(owner)) return;
      await endScratchProcess(path);
      await rm(path, { recursive: true, force: true });
      return;
    }
    const about = await readAbout(path);
    if (about && about.guestBuild === this.options.guestBuild && about.emulator === this.options.emulator) return;
    if (about === undefined && !/^[0-9a-f]{20}$/.test(name)) return; // not ours
    await rm(path, { recursive: true, force: true });
    this.options.log.info(`removed the pre-booted state ${name}, which was made for another build`);
  }

  private about(config: MachineConfig): About {
    return { guestBuild: this.options.guestBuild, emulator: this.options.emulator, memoryMiB: config.memoryMiB, disks: config.disks.length };
  }

  private async make(key: string, config: MachineConfig, signal: AbortSignal, progress: (detail: string) => void): Promise<void> {
    const folder = this.options.target;
    await requireWritable(folder);
    const self = await ownIdentity();
    const staging = join(folder, `.staging-${self.pid}-${(self.start ?? "").replace(/[^0-9a-zA-Z]/g, "")}-${randomBytes(4).toString("hex")}`);
    await mkdir(staging, { mode: 0o700 });
    const runDir = await scratchRunDir();
    try {
      await this.bootAndSave(scratchConfig(config), staging, runDir, signal, progress);
      for (const name of await readdir(staging)) if (name !== "state") await rm(join(staging, name), { recursive: true, force: true });
      await writeFileAtomically(join(staging, "about.json"), `${JSON.stringify(this.about(config))}\n`);
      try {
        await rename(staging, join(folder, key));
      } catch (error) {
        // Another host service was quicker; its state is as good.
        if (errno(error) !== "ENOTEMPTY" && errno(error) !== "EEXIST") throw error;
      }
      await syncFolder(folder);
    } finally {
      await rm(staging, { recursive: true, force: true });
      await rm(runDir, { recursive: true, force: true });
    }
  }

  private async bootAndSave(config: MachineConfig, staging: string, runDir: string, signal: AbortSignal, progress: (detail: string) => void): Promise<void> {
    const { engine, guest: files, background, log, clock = systemClock() } = this.options;
    await mkdir(join(staging, "disks"));
    for (const disk of config.disks) await makeSparse(join(staging, "disks", `${disk.id}.raw`), scratchDiskBytes);
    const sockets = machineSockets(runDir);
    const plan = engine.plan(config, {
      folder: staging,
      sockets,
      serialLog: join(staging, "serial.log"),
      dumpDir: staging,
      guest: files,
      links: Array.from({ length: adapterSlots }, () => false),
      incoming: false,
    });
    progress("Booting the starter guest once");
    const engineLog = join(staging, "engine.log");
    const session = await Session.launch(plan, sockets, { engineLog, signal, clock, onPid: (identity) => didLaunch(identity, staging, background, log) });
    const guest = new Guest(session.agent, true, [], clock, log);
    const held = new DisposableStore();
    const cancelled = aborted(signal, held);
    // It is not always waited for.
    cancelled.catch(() => undefined);
    try {
      await Promise.race([session.begin(), endedEarly(session), cancelled]);
      await Promise.race([guest.waitUntilAnswering(signal, bootLimitMs), endedEarly(session)]);
      progress("Making the guest anonymous");
      await Promise.race([session.agent.execute("terrarium-prepare", undefined, prepareLimitMs), endedEarly(session), cancelled]);
      await session.qmp.execute("stop");
      progress("Saving its memory");
      await saveState(session.qmp, join(staging, "state"), { transport: engine.info.capabilities.stateTransport, runDir }, signal);
    } finally {
      held.dispose();
      guest.dispose();
      await session.quit();
    }
  }
}

async function endedEarly(session: Session): Promise<never> {
  const end = await session.ended;
  throw new TerrariumError("engine-failed", end.kind === "crashed" ? end.reason : "The scratch machine ended before its guest was up.");
}

/** Rejects when `signal` aborts; `held` takes the subscription. */
function aborted(signal: AbortSignal, held: DisposableStore): Promise<never> {
  return new Promise((_, reject) => {
    const cancel = (): void => reject(new TerrariumError("cancelled", "Cancelled."));
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel);
    held.add(toDisposable(() => signal.removeEventListener("abort", cancel)));
  });
}

function scratchConfig(config: MachineConfig): MachineConfig {
  return {
    ...config,
    id: randomUUID(),
    name: "scratch",
    disks: config.disks.map((disk) => ({ id: disk.id, sizeBytes: scratchDiskBytes, layers: [{ file: `disks/${disk.id}.raw`, format: "raw" as const }] })),
    drives: config.drives.map((drive) => ({ ...drive, medium: null })),
    adapters: [],
  };
}

/** Notes the process for whoever cleans up after a crash of ours. */
function didLaunch(identity: ProcessIdentity, staging: string, background: boolean, log: Log): void {
  if (background) {
    try {
      setPriority(identity.pid, scratchPriority);
    } catch (error) {
      log.warn(`the scratch machine runs with the usual priority: ${String(error)}`);
    }
  }
  writeFileAtomically(join(staging, "process.json"), JSON.stringify(identity)).catch((error: unknown) => log.warn(`the scratch machine's process could not be noted: ${String(error)}`));
}

/** The scratch machine of a preparation whose host service died. */
async function endScratchProcess(staging: string): Promise<void> {
  let text: string;
  try {
    text = await readFile(join(staging, "process.json"), "utf8");
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  const identity = z.object({ pid: z.number().int().positive(), start: z.string() }).safeParse(JSON.parse(text));
  if (identity.success && (await isRunning(identity.data))) process.kill(identity.data.pid, "SIGKILL");
}

async function readAbout(folder: string): Promise<About | undefined> {
  try {
    return About.parse(JSON.parse(await readFile(join(folder, "about.json"), "utf8")));
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    await access(folder, constants.W_OK);
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error) || errno(error) === "EACCES" || errno(error) === "EROFS") return [];
    throw error;
  }
}

async function requireWritable(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileError(error, "No pre-booted state can be kept", folder);
  }
}

/** A private folder whose sockets have short enough paths. */
async function scratchRunDir(): Promise<string> {
  const tail = "/terrarium-XXXXXX/serial0.sock".length;
  const base = [tmpdir(), "/tmp"].find((folder) => Buffer.byteLength(folder) + tail <= maxSocketPath) ?? tmpdir();
  return mkdtemp(join(base, "terrarium-"));
}

async function makeSparse(path: string, bytes: number): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.truncate(bytes);
  } finally {
    await file.close();
  }
}

/** A hash of the programs that decide what a saved memory means: the emulator's worker and its WebAssembly. */
export async function emulatorHash(emulator: string): Promise<string> {
  const folder = dirname(emulator);
  const worker = basename(emulator).replace(/^emulator/, "emulatorWorker");
  const hash = createHash("sha256");
  for (const name of [worker, "v86.wasm"]) hash.update(await readFile(join(folder, name)));
  return hash.digest("hex").slice(0, 20);
}
