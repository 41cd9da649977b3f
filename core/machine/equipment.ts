import { formatSize, MiB } from "../base/bytes";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import { toErrorData } from "../contract/errors";
import type { MachineConfig } from "../contract/model";
import { EngineTable, type Engine, type GuestFiles } from "../engine/engine";
import { qemuEngine } from "../engine/qemu";
import type { QemuLookup } from "../engine/qemuHost";
import { v86Engine } from "../engine/v86Argv";
import type { ImageTools } from "./creation";
import type { Home } from "./home";
import type { Jobs } from "./jobs";
import { emulatorHash, PreBootedStates } from "./preBooted";
import type { Runtime } from "./runtime";
import { readStarter, requireStarter, type Starter } from "./starter";

/** What this host has for machines: engines, with what was found of QEMU, firmware, the starter guest, and its pre-booted states. */
export class Equipment {
  readonly engines: EngineTable;
  private lookup: QemuLookup | undefined;
  private looking: Promise<void> | undefined;
  private found: Starter = { info: { ready: false } };
  private preBooted: PreBootedStates | undefined;
  private readonly closing = new AbortController();
  private readonly starterEmitter = new Emitter<void>();
  /** The starter guest has come, gone, or become another one. */
  readonly onDidChangeStarter: Event<void> = this.starterEmitter.event;

  constructor(
    private readonly home: Home,
    private readonly runtime: Runtime,
    private readonly jobs: Jobs,
    private readonly log: Log,
  ) {
    this.engines = new EngineTable(v86Engine(runtime), qemuEngine());
  }

  /** What was found of QEMU; absent while nobody has looked. */
  get qemu(): QemuLookup | undefined {
    return this.lookup;
  }

  /** The path of qemu-img, if there is one. */
  get imageTool(): string | undefined {
    return this.lookup?.ok ? this.lookup.value.img : undefined;
  }

  /** How to get qemu-img, where there is none that can be used. */
  get installImageTool(): string | undefined {
    if (this.imageTool !== undefined || this.lookup === undefined) return undefined;
    return this.lookup.ok ? this.lookup.value.install.img : (this.lookup.error.remedy ?? "`terrarium doctor` says what is wrong with QEMU.");
  }

  /** Resolves when the look for QEMU that goes on now is over. */
  get qemuKnown(): Promise<void> {
    return this.looking ?? Promise.resolve();
  }

  get starter(): Starter {
    return this.found;
  }

  get states(): PreBootedStates | undefined {
    return this.preBooted;
  }

  /** Firmware and the starter guest, as far as they are there. */
  get guestFiles(): GuestFiles {
    return guestFiles(this.found);
  }

  /** What images can become on an engine here. */
  imageTools(engine: Engine): ImageTools {
    return { formats: engine.info.capabilities.diskFormats, qemuImg: this.imageTool };
  }

  /** The configuration with what must not change any more when the engine does. */
  fixed(config: MachineConfig): MachineConfig {
    return this.engines.resolve(config).defaults?.(config) ?? config;
  }

  /** Looks for QEMU; `fresh`: tries anew what works. Never rejects: what is wrong with it is the engine's problem. */
  lookForQemu(fresh = false): Promise<void> {
    const look = async (): Promise<void> => {
      try {
        this.lookup = await this.runtime.findQemu({ runDir: this.home.runDir, log: this.log.child("qemu"), fresh, signal: this.closing.signal });
      } catch (error) {
        this.log.error("looking for QEMU failed", error);
        this.lookup = { ok: false, error: toErrorData(error) };
      }
      if (!this.closing.signal.aborted) this.engines.setQemu(qemuEngine(this.lookup));
    };
    return (this.looking = look());
  }

  /** Resolves when it is known which engine this host has for the machine; at once for one that every host has. */
  async enginesKnown(config: MachineConfig): Promise<void> {
    if (!this.engines.mayNeedQemu(config)) return;
    // One that was missing may have been installed since.
    if (this.lookup?.ok === false) await this.lookForQemu();
    else await this.looking;
  }

  /** Looks for the starter guest, and with it for its pre-booted states. */
  async readStarter(): Promise<void> {
    const before = this.found.info;
    this.found = await readStarter(this.runtime.guestDir);
    if (JSON.stringify(before) === JSON.stringify(this.found.info)) return;
    this.preBooted = undefined;
    if (this.found.guest) this.preBooted = await preBootedStates(this.runtime, this.found, this.engines, { target: this.home.statesDir, background: true }, this.log.child("states"));
    this.starterEmitter.fire();
  }

  /** Makes the pre-booted state for machines like this one, for the next time. */
  prepareForNextTime(config: MachineConfig): void {
    const states = this.preBooted;
    const key = states?.keyFor(config);
    if (!states || key === undefined) return;
    states.find(key).then(
      (file) => {
        if (file !== undefined || states.isMaking(key)) return;
        this.jobs.run({ kind: "prepare-state", title: `Prepare instant starts with ${formatSize(config.memoryMiB * MiB)} of memory`, cancellable: true }, (job) =>
          states.prepare(config, job.signal, (detail) => job.progress(undefined, detail)),
        );
      },
      (error: unknown) => this.log.error("the pre-booted states could not be looked at", error),
    );
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.looking;
    this.starterEmitter.dispose();
  }
}

/** Firmware and the starter guest for the engine, as far as they are there. */
export function guestFiles({ guest }: Starter): GuestFiles {
  if (!guest) return {};
  return {
    firmware: { bios: guest.bios, vgabios: guest.vgabios },
    // The guest waits to be told who it is before it takes a disk or shows a prompt.
    starter: { kernel: guest.kernel, initrd: guest.initrd, cmdline: `${guest.cmdline} terrarium.hold` },
  };
}

/** The pre-booted states for a starter guest that is ready; new ones are put into `target`, in the background or while somebody waits for them. */
export async function preBootedStates(runtime: Runtime, starter: Starter, engines: EngineTable, making: { target: string; background: boolean }, log: Log): Promise<PreBootedStates> {
  const guest = requireStarter(starter);
  return new PreBootedStates({
    folders: [...new Set([guest.statesDir, making.target])],
    ...making,
    engine: engines.resolve({ engine: "v86", memoryMiB: 0, cpus: 1 }),
    guest: guestFiles(starter),
    guestBuild: guest.build,
    emulator: await emulatorHash(runtime.emulator),
    runsOn: (config) => engines.resolve(config),
    log,
  });
}
