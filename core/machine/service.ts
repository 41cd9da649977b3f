import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { randomBytes } from "node:crypto";
import { formatSize, MiB } from "../base/bytes";
import { systemClock, type Clock } from "../base/clock";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import type { EngineNeeds } from "../contract/engineChoice";
import { TerrariumError, toErrorData } from "../contract/errors";
import { leastGuestMemoryMiB, type HostInfo, type JobInfo, type MachineConfig, type MachineInfo, type MachinePatch, type Notice } from "../contract/model";
import { isProcedureName, procedures, type HostEvent, type ProcedureName, type ProcedureOutput, type ProcedureParsed, type StreamRequest } from "../contract/procedures";
import { EngineTable, type Engine, type GuestFiles } from "../engine/engine";
import { qemuEngine } from "../engine/qemu";
import { doctorChecks, type QemuLookup } from "../engine/qemuHost";
import { v86Engine, v86Info } from "../engine/v86Argv";
import { changeMachine, requireChange } from "./change";
import { checkPatch, checkSpec, checkStart, firstError, type CheckContext } from "./checks";
import { planMachine, type ImageTools } from "./creation";
import { runDoctor } from "./doctor";
import { FolderWatch } from "./folderWatch";
import type { Home } from "./home";
import { readHostFacts } from "./hostFacts";
import { homeKey } from "./identity";
import { Jobs } from "./jobs";
import { chordsForText, keyName } from "./keyboard";
import { Machine } from "./machine";
import type { RegisteredMachine } from "./machineFolders";
import { inspectFile } from "./media";
import { emulatorHash, PreBootedStates } from "./preBooted";
import { Registry } from "./registry";
import { machineRunDir } from "./runDir";
import type { Runtime } from "./runtime";
import { readStarter, requireStarter, type Starter } from "./starter";
import type { Surroundings } from "./surroundings";
import { systems } from "./systems";

type Handlers = { [N in ProcedureName]: (input: ProcedureParsed<N>) => Promise<ProcedureOutput<N>> };

/** Between two chords of typed text, milliseconds: what a guest without a buffer still takes in. */
const typingPauseMs = 15;
const keyHoldMs = 40;
/** How long a command waits for an agent that has not answered so far, milliseconds. */
const agentLimitMs = 5000;

const noNetworksYet = "Networks come with a later version of Terrarium. Until then machines have no cable plugged in.";
const networkModes: HostInfo["networkModes"] = [
  { mode: "none", available: true },
  ...(["nat", "nat-network", "internal", "host-only", "bridged"] as const).map((mode) => ({ mode, available: false, reason: noNetworksYet })),
];

/** The host service: every procedure of the contract, over the machines of one home. */
export class Service {
  private readonly machines = new Map<string, Machine>();
  private readonly registry: Registry;
  private readonly jobs: Jobs;
  private readonly engines: EngineTable;
  /** What was found of QEMU; absent while nobody has looked. */
  private qemu: QemuLookup | undefined;
  private lookingForQemu: Promise<void> | undefined;
  private readonly closing = new AbortController();
  private readonly clock: Clock = systemClock();
  private readonly edits: FolderWatch;
  private starter: Starter = { info: { ready: false } };
  private states: PreBootedStates | undefined;
  /** Every machine that came into the registry has been looked at. */
  private recovering: Promise<void> = Promise.resolve();
  /** Every machine that left the registry has been let go of. */
  private releasing: Promise<void> = Promise.resolve();
  private authorizedKeys: Promise<readonly string[]> | undefined;
  private readonly eventEmitter = new Emitter<HostEvent>();
  private readonly stopEmitter = new Emitter<void>();
  readonly onDidChange: Event<HostEvent> = this.eventEmitter.event;
  readonly onStopRequested: Event<void> = this.stopEmitter.event;

  constructor(
    private readonly home: Home,
    private readonly servedBy: "app" | "headless",
    private readonly runtime: Runtime,
    private readonly log: Log,
  ) {
    this.jobs = new Jobs(this.clock);
    this.engines = new EngineTable(v86Engine(runtime), qemuEngine());
    this.edits = new FolderWatch(this.clock, log, (id) => this.didEdit(id));
    this.registry = new Registry({ machinesDir: home.machinesDir, trashDir: home.trashDir, keptDisksDir: home.keptDisksDir, log: log.child("registry"), now: () => this.clock.now() });
  }

  /** Reads the home and takes over the machines that live. */
  async open(): Promise<void> {
    await this.registry.open();
    this.engines.onDidChange(() => this.didFindEngines());
    // Nobody waits for this but who needs it: the first look after the computer has started takes a second or two.
    void this.lookForQemu();
    await this.readStarter();
    for (const registered of this.registry.list()) this.adopt(registered);
    await Promise.all([...this.machines.values()].map((machine) => this.recover(machine)));
    this.registry.onDidChange((change) => {
      if (change.type === "machine") this.didRegister(change.machine);
      else if (change.type === "removed") this.didRemove(change.id);
      else this.tellTrash();
    });
    this.jobs.onDidChange((job) => this.didChangeJob(job));
    void this.states?.removeStale();
  }

  liveMachines(): { id: string; name: string }[] {
    return [...this.machines.values()].filter((machine) => machine.isLive).map(({ id, name }) => ({ id, name }));
  }

  /** Checks the input and does what the procedure says. */
  async call(name: string, input: unknown): Promise<unknown> {
    if (!isProcedureName(name)) throw new TerrariumError("not-found", `There is no call named “${name}”.`, "Both sides must be of the same version of Terrarium.");
    const parsed = procedures[name].input.safeParse(input ?? {});
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new TerrariumError("invalid-input", inWords(issue));
    }
    // The table and the handlers have the same keys, which the compiler cannot follow through a variable.
    const handler = this.handlers[name] as (input: unknown) => Promise<unknown>;
    return handler(parsed.data);
  }

  async openStream(request: StreamRequest): Promise<Duplex> {
    const machine = this.machine(request.id);
    machine.require("viewConsole");
    if (request.stream === "serial") return machine.live().session.serial.openViewer();
    const socket = connect(machine.displaySocket);
    return new Promise((resolve, reject) => {
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        resolve(socket);
      });
      socket.once("error", (error) => reject(new TerrariumError("engine-failed", `The screen of ${machine.name} cannot be reached: ${error.message}`, "The machine may just be starting or stopping; try again.", { cause: error })));
    });
  }

  /** Ends what runs here. Machine processes live on. */
  async close(): Promise<void> {
    this.edits.dispose();
    this.closing.abort();
    await this.lookingForQemu;
    await this.jobs.settle();
    await Promise.all([this.recovering, this.releasing]);
    await Promise.all([...this.machines.values()].map((machine) => machine.release()));
    this.machines.clear();
    this.jobs.dispose();
    this.eventEmitter.dispose();
    this.stopEmitter.dispose();
  }

  private readonly handlers: Handlers = {
    "host.info": () => this.hostInfo(),
    "host.doctor": async () => {
      await Promise.all([this.readStarter(), this.lookForQemu(true)]);
      return runDoctor({ ...(await this.checkContext()), home: this.home.path, runDir: this.home.runDir, engines: [v86Info], qemu: this.qemu ? doctorChecks(this.qemu) : [] });
    },
    "host.systems": async () => [...systems],
    "host.stop": async () => {
      if (this.servedBy === "app") throw new TerrariumError("illegal-state", "The host service runs in the Terrarium app.", "Quit the app to end it.");
      this.stopEmitter.fire();
      return {};
    },

    "machine.list": async () => this.registry.list().flatMap(({ id }) => this.machines.get(id)?.info() ?? []),
    "machine.get": async ({ id }) => this.machine(id).info(),
    "machine.check": async (input) => {
      const context = await this.checkContext();
      if ("spec" in input) return checkSpec(input.spec, context);
      const { config, registered } = this.configured(input.id);
      return checkPatch({ ...registered, config }, input.patch, context);
    },
    "machine.create": (input) => this.create(input),
    "machine.set": ({ id, patch }) => this.set(id, () => patch),
    "machine.start": async ({ id }) => {
      const machine = this.machine(id);
      await this.registry.refresh(id);
      return { job: await machine.start() };
    },
    "machine.pause": async ({ id }) => done(this.machine(id).pause()),
    "machine.resume": async ({ id }) => done(this.machine(id).resume()),
    "machine.reset": async ({ id }) => done(this.machine(id).reset()),
    "machine.shutdown": async ({ id }) => ({ job: await this.machine(id).shutdown() }),
    "machine.powerOff": async ({ id }) => done(this.machine(id).powerOff()),
    "machine.save": async ({ id }) => ({ job: await this.machine(id).save() }),
    "machine.discardSaved": async ({ id }) => done(this.machine(id).discardSaved()),
    "machine.delete": ({ id, keepDisks }) => this.machine(id).inTurn("delete", () => this.registry.moveToTrash(id, { keepDisks })),
    "machine.screenshot": ({ id, unless }) => this.machine(id).screenshot(unless),
    "machine.sendKeys": async ({ id, keys }) => {
      const machine = this.machine(id);
      machine.require("sendInput");
      await this.press(machine, keys.map(keyName), keyHoldMs);
      return {};
    },
    "machine.typeText": async ({ id, text }) => {
      const machine = this.machine(id);
      machine.require("sendInput");
      for (const chord of chordsForText(text)) {
        machine.require("sendInput");
        await this.press(machine, chord, typingPauseMs);
      }
      return {};
    },
    "machine.exec": async ({ id, command, args, input, timeoutMs }) => {
      const machine = this.machine(id);
      machine.require("exec");
      const { guest, identified } = machine.live();
      if (!identified) throw new TerrariumError("agent-silent", `The guest of ${machine.name} is still booting.`, "Try again in a moment.");
      await guest.requireAgent(Math.min(timeoutMs, agentLimitMs));
      return guest.exec({ path: command, args, input, timeoutMs });
    },
    "machine.changeMedium": async ({ id, medium }) => {
      await this.set(id, () => ({ medium }));
      return {};
    },
    "machine.setLink": async ({ id, adapter, up }) => {
      await this.set(id, ({ adapters }) => {
        if (adapters[adapter] === undefined) throw new TerrariumError("not-found", `The machine has no adapter ${adapter}.`, `It has ${adapters.length}.`);
        return { adapters: adapters.map((entry, index) => (index === adapter ? { ...entry, plugged: up } : entry)) };
      });
      return {};
    },
    "machine.setBalloon": async ({ id, memoryMiB }) => done(this.setBalloon(this.machine(id), memoryMiB)),
    "machine.commandLine": async ({ id }) => {
      await this.lookingForQemu;
      return this.machine(id).commandLine();
    },
    "machine.usage": async ({ id, since }) => this.machine(id).usage(since),
    "machine.log": ({ id, log, maxBytes }) => this.machine(id).log.read(log, maxBytes),

    "job.list": async () => this.jobs.list(),
    "job.cancel": async ({ id }) => {
      await this.jobs.cancel(id);
      return {};
    },
    "job.wait": ({ id }) => this.jobs.wait(id),

    "trash.list": () => this.registry.listTrash(),
    "trash.restore": async ({ id }) => {
      const restored = await this.registry.restore(id);
      await this.recovering;
      return this.machine(restored.id).info();
    },
    "trash.empty": async ({ id }) => this.emptyTrash(id),

    "media.inspect": ({ path }) => inspectFile(path),
  };

  // --- machines

  private machine(id: string): Machine {
    const machine = this.machines.get(id);
    if (machine) return machine;
    this.registry.get(id); // Says it better.
    throw new TerrariumError("not-found", `There is no machine ${id}.`);
  }

  private configured(id: string): { config: MachineConfig; registered: RegisteredMachine } {
    const registered = this.registry.get(id);
    if (!registered.config) throw new TerrariumError("broken", registered.problem?.message ?? "The machine's configuration cannot be used.", registered.problem?.remedy);
    return { config: registered.config, registered };
  }

  private adopt(registered: RegisteredMachine): Machine {
    const machine = new Machine(registered, this.surroundings);
    this.machines.set(registered.id, machine);
    this.edits.follow(registered.id, registered.folder);
    machine.onDidChange(() => {
      if (this.machines.get(machine.id) === machine) this.eventEmitter.fire({ type: "machine", machine: machine.info() });
    });
    return machine;
  }

  private async recover(machine: Machine): Promise<void> {
    try {
      await machine.recover();
    } catch (error) {
      this.log.error(`${machine.name} could not be taken over`, error);
      this.notify({ level: "error", message: `${machine.name} could not be looked at: ${toErrorData(error).message}`, machineId: machine.id });
    }
  }

  private didRegister(registered: RegisteredMachine): void {
    const known = this.machines.get(registered.id);
    if (known) {
      this.edits.follow(registered.id, registered.folder);
      known.update(registered);
      return;
    }
    const machine = this.adopt(registered);
    this.eventEmitter.fire({ type: "machine", machine: machine.info() });
    this.recovering = Promise.all([this.recovering, this.recover(machine)]).then(() => undefined);
  }

  private didRemove(id: string): void {
    this.edits.forget(id);
    const machine = this.machines.get(id);
    if (machine) this.releasing = Promise.all([this.releasing, machine.release()]).then(() => undefined);
    if (this.machines.delete(id)) this.eventEmitter.fire({ type: "machineRemoved", id });
  }

  /** Somebody has edited the machine's file. One that runs keeps to what it was started with; a start reads the file anyway. */
  private didEdit(id: string): void {
    const machine = this.machines.get(id);
    if (!machine || machine.isLive) return;
    this.registry.refresh(id).catch((error: unknown) => this.log.warn(`${machine.name} was edited and could not be read again: ${toErrorData(error).message}`));
  }

  private async create({ spec }: ProcedureParsed<"machine.create">): Promise<{ id: string; job: JobInfo }> {
    const context = await this.checkContext();
    const refused = firstError(await checkSpec(spec, context));
    if (refused) throw refused;
    const id = this.registry.newId();
    const planned = await planMachine(spec, { id, now: this.clock.now(), macs: this.registry.macs(), images: this.imageTools(this.engines.resolve(spec as EngineNeeds)) });
    const config = this.fixed(planned.config);
    const job = this.jobs.run({ kind: "create", title: `Create ${spec.name}`, cancellable: true }, async (control) => {
      await this.registry.create(config, (folder, signal) => planned.fill(folder, { signal, progress: control.progress }), control.signal);
    });
    return { id, job };
  }

  /** Changes settings, one change after another: `patchOf` is given what the changes before have led to. */
  private async set(id: string, patchOf: (config: MachineConfig) => MachinePatch): Promise<MachineInfo> {
    const machine = this.machine(id);
    await machine.inTurn(undefined, async () => {
      const context = await this.checkContext();
      const { config, registered } = this.configured(id);
      const patch = patchOf(config);
      const engine = machine.engineOf(config);
      const kind = requireChange(machine, config, patch, engine);
      const refused = firstError(await checkPatch({ ...registered, config }, patch, context));
      if (refused) throw refused;
      await changeMachine(machine, config, patch, kind, { engine, images: this.imageTools(engine), save: async (next) => void (await this.registry.update(id, this.fixed(next))) });
    });
    return machine.info();
  }

  /** The configuration with what must not change any more when the engine does. */
  private fixed(config: MachineConfig): MachineConfig {
    return this.engines.resolve(config).defaults?.(config) ?? config;
  }

  private imageTools(engine: Engine): ImageTools {
    return { formats: engine.info.capabilities.diskFormats, qemuImg: this.qemu?.ok ? this.qemu.value.img : undefined };
  }

  /** Presses the keys together, and answers when the machine process has taken the next ones. */
  private async press(machine: Machine, keys: readonly string[], holdMs: number): Promise<void> {
    await machine.live().session.qmp.execute("send-key", { keys: keys.map((data) => ({ type: "qcode", data })), "hold-time": holdMs });
    await new Promise<void>((resolve) => this.clock.schedule(holdMs, resolve));
  }

  private emptyTrash(id: string | undefined): { job: JobInfo } {
    const job = this.jobs.run({ kind: "empty-trash", title: id === undefined ? "Empty the trash" : "Delete from the trash", cancellable: true }, async (control) => {
      const entries = id === undefined ? await this.registry.listTrash() : [{ id, name: "", bytes: 0 }];
      for (const [index, entry] of entries.entries()) {
        control.signal.throwIfAborted();
        control.progress(index / entries.length, entry.name === "" ? undefined : `Deleting ${entry.name} (${formatSize(entry.bytes)})`);
        await this.registry.deleteFromTrash(entry.id, control.signal);
      }
    });
    return { job };
  }

  private tellTrash(): void {
    this.registry.listTrash().then(
      (entries) => this.eventEmitter.fire({ type: "trash", entries }),
      (error: unknown) => this.log.error("the trash could not be read", error),
    );
  }

  private didChangeJob(job: JobInfo): void {
    this.eventEmitter.fire({ type: "job", job });
    const machine = job.machineId === undefined ? undefined : this.machines.get(job.machineId);
    if (machine) this.eventEmitter.fire({ type: "machine", machine: machine.info() });
  }

  // --- the host

  private async hostInfo(): Promise<HostInfo> {
    const facts = await readHostFacts(this.home.path);
    return { version: this.runtime.version, home: this.home.path, servedBy: this.servedBy, pid: process.pid, ...facts, engines: this.engines.list(), starter: this.starter.info, networkModes };
  }

  private async checkContext(): Promise<CheckContext> {
    await this.lookingForQemu;
    return this.contextNow();
  }

  private async contextNow(): Promise<CheckContext> {
    return {
      canConvert: this.qemu?.ok === true && this.qemu.value.img !== undefined,
      facts: await readHostFacts(this.home.path),
      machines: this.registry.list(),
      starter: this.starter,
      networkModes,
      beyondBuiltIn: (machine) => this.engines.beyondBuiltIn(machine),
      resolveEngine: (machine) => this.engines.resolve(machine).info,
    };
  }

  /** Looks for QEMU; `fresh`: tries anew what works. Never rejects: what is wrong with it is the engine's problem. */
  private lookForQemu(fresh = false): Promise<void> {
    const look = async (): Promise<void> => {
      try {
        this.qemu = await this.runtime.findQemu({ runDir: this.home.runDir, log: this.log.child("qemu"), fresh, signal: this.closing.signal });
      } catch (error) {
        this.log.error("looking for QEMU failed", error);
        this.qemu = { ok: false, error: toErrorData(error) };
      }
      if (!this.closing.signal.aborted) this.engines.setQemu(qemuEngine(this.qemu));
    };
    return (this.lookingForQemu = look());
  }

  private didFindEngines(): void {
    for (const machine of this.machines.values()) this.eventEmitter.fire({ type: "machine", machine: machine.info() });
    this.hostInfo().then(
      (host) => this.eventEmitter.fire({ type: "host", host }),
      (error: unknown) => this.log.error("the host could not be looked at", error),
    );
  }

  private async setBalloon(machine: Machine, memoryMiB: number): Promise<void> {
    const { config } = this.configured(machine.id);
    const { info } = machine.engineOf(config);
    if (!info.capabilities.balloon) throw new TerrariumError("unsupported", `${info.label} cannot take memory from a running guest.`, "Shut the machine down and change its memory.");
    const least = leastGuestMemoryMiB(config.memoryMiB);
    if (memoryMiB < least) throw new TerrariumError("invalid-input", `The guest of “${config.name}” cannot be left with less than ${formatSize(least * MiB)}: it would run out of memory and crash.`, "Leave it more.");
    if (memoryMiB > config.memoryMiB) throw new TerrariumError("invalid-input", `“${config.name}” was given ${formatSize(config.memoryMiB * MiB)} of memory; it cannot have more while it runs.`, "Choose less, or shut it down and change its memory.");
    await machine.inTurn("setBalloon", () => machine.live().tell([{ execute: "balloon", arguments: { value: memoryMiB * MiB } }]));
    machine.log.event(`memory for the guest: ${formatSize(memoryMiB * MiB)}`);
  }

  /** Looks for the starter guest, and with it for its pre-booted states. */
  private async readStarter(): Promise<void> {
    const before = this.starter.info;
    this.starter = await readStarter(this.runtime.guestDir);
    if (JSON.stringify(before) === JSON.stringify(this.starter.info)) return;
    const { guest } = this.starter;
    this.states = undefined;
    if (guest) this.states = await preBootedStates(this.runtime, this.starter, this.engines, { target: this.home.statesDir, background: true }, this.log.child("states"));
    if (this.eventEmitter.hasListeners) this.eventEmitter.fire({ type: "host", host: await this.hostInfo() });
  }

  private readonly surroundings: Surroundings = this.makeSurroundings();

  private makeSurroundings(): Surroundings {
    const service = this; // The getters of the object below have a `this` of their own.
    return {
      get engines() {
        return service.engines;
      },
      get jobs() {
        return service.jobs;
      },
      clock: service.clock,
      get log() {
        return service.log;
      },
      runDir: (id) => machineRunDir(service.home.runDir, id),
      guestFiles: () => guestFiles(service.starter),
      enginesKnown: async (config) => {
        if (!service.engines.mayNeedQemu(config)) return;
        // One that was missing may have been installed since.
        if (service.qemu?.ok === false) await service.lookForQemu();
        else await service.lookingForQemu;
      },
      imageTool: () => (service.qemu?.ok ? service.qemu.value.img : undefined),
      states: () => service.states,
      authorizedKeys: () => (service.authorizedKeys ??= homeKey(service.home.path).then((line) => [line])),
      checkStart: async (machine, config) => {
        const refused = firstError(await checkStart({ ...machine, config }, await service.contextNow()));
        if (refused) throw refused;
      },
      notify: (notice) => service.notify(notice),
      prepareForNextTime: (config) => service.prepareForNextTime(config),
    };
  }

  private notify(notice: Pick<Notice, "level" | "message" | "remedy" | "machineId">): void {
    this.log.info(`notice: ${notice.message}`);
    this.eventEmitter.fire({ type: "notice", notice: { ...notice, id: randomBytes(6).toString("hex"), at: this.clock.now() } });
  }

  private prepareForNextTime(config: MachineConfig): void {
    const { states } = this;
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

/** What is wrong with a call's input. The schemas' own words stand for themselves; the checker's need the place. */
function inWords(issue: { readonly message: string; readonly path: readonly PropertyKey[] } | undefined): string {
  if (!issue) return "The input does not fit.";
  const place = /^(Invalid|Unrecognized|Too )/.test(issue.message) && issue.path.length > 0 ? ` (${issue.path.join(".")})` : "";
  return `${issue.message.charAt(0).toUpperCase()}${issue.message.slice(1)}${place}.`;
}

async function done(work: Promise<void>): Promise<Record<string, never>> {
  await work;
  return {};
}
