import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { randomBytes } from "node:crypto";
import { formatSize, MiB } from "../base/bytes";
import { systemClock, type Clock } from "../base/clock";
import { Emitter, type Event } from "../base/emitter";
import type { Log } from "../base/log";
import type { EngineNeeds } from "../contract/engineChoice";
import { TerrariumError, toErrorData } from "../contract/errors";
import { inputInWords } from "../contract/inputWords";
import { leastGuestMemoryMiB, type FileInspection, type HostInfo, type JobInfo, type MachineConfig, type MachineInfo, type MachinePatch, type Notice } from "../contract/model";
import type { networkProcedures } from "../contract/networkProcedures";
import type { snapshotProcedures } from "../contract/snapshotProcedures";
import { isProcedureName, procedures, type HostEvent, type ProcedureName, type ProcedureOutput, type ProcedureParsed, type StreamRequest } from "../contract/procedures";
import { adapterSlots } from "../engine/engine";
import { Steps } from "../storage/steps";
import { doctorChecks } from "../engine/qemuHost";
import { v86Info } from "../engine/v86Argv";
import { changeMachine, copiesImages, makeAddedDisks, pullCables, requireChange } from "./change";
import { checkPatch, checkSpec, checkStart, firstError, type CheckContext } from "./checks";
import { planMachine, type DiskChange } from "./creation";
import { runDoctor } from "./doctor";
import { Equipment } from "./equipment";
import { FolderWatch } from "./folderWatch";
import type { Home } from "./home";
import { isNeeded } from "./homeLayers";
import { readHostFacts } from "./hostFacts";
import { homeKey } from "./identity";
import { Jobs } from "./jobs";
import { chordsForText, keyName } from "./keyboard";
import { liveCards } from "./liveCards";
import { newMac } from "./macAddress";
import { Machine } from "./machine";
import type { RegisteredMachine } from "./machineFolders";
import { inspectFile, withoutConverter } from "./media";
import { networkCalls, type Trial } from "./networkCalls";
import { Networking } from "./networking";
import { Registry } from "./registry";
import { machineRunDir } from "./runDir";
import type { Runtime } from "./runtime";
import { patched } from "./settings";
import type { Surroundings } from "./surroundings";
import { Snapshots } from "./snapshots";
import { snapshotCalls } from "./snapshotCalls";
import { systems } from "./systems";
import { withoutFolder } from "./trash";

type Handlers = { [N in ProcedureName]: (input: ProcedureParsed<N>) => Promise<ProcedureOutput<N>> };

/** Between two chords of typed text, milliseconds: what a guest without a buffer still takes in. */
const typingPauseMs = 15;
const keyHoldMs = 40;
/** How long a command waits for an agent that has not answered so far, milliseconds. */
const agentLimitMs = 5000;

/** The host service: every procedure of the contract, over the machines of one home. */
export class Service {
  private readonly machines = new Map<string, Machine>();
  private readonly registry: Registry;
  private readonly jobs: Jobs;
  private readonly equipment: Equipment;
  private readonly networking: Networking;
  private readonly snapshots: Snapshots;
  private readonly surroundings: Surroundings;
  private readonly clock: Clock = systemClock();
  private readonly edits: FolderWatch;
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
    this.equipment = new Equipment(home, runtime, this.jobs, log);
    this.edits = new FolderWatch(this.clock, log, (id) => this.didEdit(id));
    const steps = new Steps(runtime.onStep);
    this.registry = new Registry({ machinesDir: home.machinesDir, trashDir: home.trashDir, keptDisksDir: home.keptDisksDir, log: log.child("registry"), now: () => this.clock.now(), ...(steps.faults ? { faults: steps.faults } : {}) });
    this.networking = new Networking({
      ...{ home: home.path, runDir: home.runDir, runtime, clock: this.clock, log },
      machines: () => [...this.machines.values()],
      statusChanged: (id) => this.tellMachine(id),
      notify: (notice) => this.notify(notice),
    });
    this.snapshots = new Snapshots({
      ...{ registry: this.registry, jobs: this.jobs, clock: this.clock, log, steps },
      machine: (id) => this.machine(id),
      enginesKnown: (config) => this.equipment.enginesKnown(config),
      changed: (id, tree) => this.eventEmitter.fire({ type: "snapshots", id, tree }),
    });
    this.surroundings = this.makeSurroundings();
    this.handlers = { ...this.ownHandlers, ...snapshotCalls(this.snapshots), ...networkCalls(this.networking, { set: (id, patchOf, trial) => this.set(id, patchOf, trial), nextMac: (id, config) => this.nextMac(id, config), isLive: (id) => this.machine(id).isLive, askAgain: (id, adapters) => this.askAgain(id, adapters) }) };
  }

  /** Reads the home and takes over the machines that live. */
  async open(): Promise<void> {
    await Promise.all([this.registry.open(), this.networking.open()]);
    this.equipment.engines.onDidChange(() => this.didFindEngines());
    // Nobody waits for this but who needs it: the first look after the computer has started takes a second or two.
    void this.equipment.lookForQemu();
    await this.equipment.readStarter();
    this.equipment.onDidChangeStarter(() => this.tellHost());
    for (const registered of this.registry.list()) this.adopt(registered);
    await Promise.all([...this.machines.values()].map((machine) => this.recover(machine)));
    await this.snapshots.recoverTrash().catch((error: unknown) => this.log.error("what was being deleted for good could not be gone on with", error));
    this.registry.onDidChange((change) => {
      if (change.type === "machine") this.didRegister(change.machine);
      else if (change.type === "removed") this.didRemove(change.id);
      else this.tellTrash();
    });
    this.jobs.onDidChange((job) => this.didChangeJob(job));
    this.networking.machinesChanged();
    this.networking.onDidChange(() => this.eventEmitter.fire({ type: "networks", networks: this.networking.list() }));
    void this.equipment.states?.removeStale();
  }

  liveMachines(): { id: string; name: string }[] {
    return [...this.machines.values()].filter((machine) => machine.isLive).map(({ id, name }) => ({ id, name }));
  }

  /** Checks the input and does what the procedure says. */
  async call(name: string, input: unknown): Promise<unknown> {
    if (!isProcedureName(name)) throw new TerrariumError("not-found", `There is no call named “${name}”.`, "Both sides must be of the same version of Terrarium.");
    const parsed = procedures[name].input.safeParse(input ?? {});
    if (!parsed.success) {
      throw new TerrariumError("invalid-input", inputInWords(parsed.error.issues[0]));
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
    await this.equipment.close();
    await this.jobs.settle();
    await Promise.all([this.recovering, this.releasing]);
    await Promise.all([...this.machines.values()].map((machine) => machine.release()));
    this.machines.clear();
    await this.networking.close();
    this.jobs.dispose();
    this.eventEmitter.dispose();
    this.stopEmitter.dispose();
  }

  private readonly handlers: Handlers;

  private readonly ownHandlers: Omit<Handlers, keyof typeof networkProcedures | keyof typeof snapshotProcedures> = {
    "host.info": () => this.hostInfo(),
    "host.doctor": async () => {
      await Promise.all([this.equipment.readStarter(), this.equipment.lookForQemu(true)]);
      const { qemu } = this.equipment;
      return runDoctor({ ...(await this.checkContext()), home: this.home.path, runDir: this.home.runDir, engines: [v86Info], qemu: qemu ? doctorChecks(qemu) : [], fabric: this.networking.check() });
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
    "machine.delete": async ({ id, keepDisks }) => withoutFolder(await this.machine(id).inTurn("delete", () => this.registry.moveToTrash(id, { keepDisks }))),
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
      await this.equipment.qemuKnown;
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

    "trash.list": async () => (await this.registry.listTrash()).map(withoutFolder),
    "trash.restore": async ({ id }) => {
      const entry = await this.registry.trashEntry(id);
      if (entry.snapshot !== undefined) {
        await this.snapshots.undelete(entry);
        return this.machine(entry.machineId).info();
      }
      const restored = await this.registry.restore(id);
      await this.recovering;
      return this.machine(restored.id).info();
    },
    "trash.empty": async ({ id }) => this.emptyTrash(id),

    "media.inspect": ({ path }) => this.inspect(path),
  };

  private async inspect(path: string): Promise<FileInspection> {
    await this.equipment.qemuKnown;
    const { installImageTool } = this.equipment;
    const found = await inspectFile(path);
    return installImageTool === undefined ? found : withoutConverter(found, installImageTool);
  }

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
      this.networking.machinesChanged();
      if (this.machines.get(machine.id) === machine) this.eventEmitter.fire({ type: "machine", machine: machine.info() });
    });
    return machine;
  }

  private tellMachine(id: string): void {
    const machine = this.machines.get(id);
    if (machine) this.eventEmitter.fire({ type: "machine", machine: machine.info() });
  }

  private async recover(machine: Machine): Promise<void> {
    try {
      await this.snapshots.recover(machine);
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
    this.networking.machinesChanged();
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
    await this.networking.registry.createInternal(spec.adapters.map(({ attachment }) => attachment));
    const id = this.registry.newId();
    const planned = await planMachine(spec, { id, now: this.clock.now(), macs: this.registry.macs(), images: this.equipment.imageTools(this.equipment.engines.resolve(spec as EngineNeeds)) });
    const config = this.equipment.fixed(planned.config);
    const job = this.jobs.run({ kind: "create", title: `Create ${spec.name}`, cancellable: true }, async (control) => {
      await this.registry.create(config, (folder, signal) => planned.fill(folder, { signal, progress: control.progress }), control.signal);
    });
    return { id, job };
  }

  /** Changes settings, one change after another: `patchOf` is given what the changes before have led to. */
  private async set(id: string, patchOf: (config: MachineConfig) => MachinePatch | Promise<MachinePatch>, trial?: Trial): Promise<MachineInfo> {
    const machine = this.machine(id);
    const job = await machine.inTurn(undefined, async () => {
      const context = await this.checkContext();
      const { config, registered } = this.configured(id);
      const patch = await patchOf(config);
      const engine = machine.engineOf(config);
      const kind = requireChange(machine, config, patch, engine);
      const refused = firstError(await checkPatch({ ...registered, config }, patch, context));
      if (refused) throw refused;
      if (patch.adapters) await this.networking.registry.createInternal(patch.adapters.map(({ attachment }) => attachment));
      const images = this.equipment.imageTools(engine);
      const needed = (path: string): Promise<boolean> => isNeeded(this.registry, path);
      const apply = (now: MachineConfig, disks: DiskChange | undefined): Promise<void> =>
        changeMachine(machine, now, patch, kind, disks, {
          engine,
          save: async (next) => void (await this.registry.update(id, this.equipment.fixed(next))),
          rewire: () => this.networking.update(),
        });
      if (!copiesImages(patch)) {
        const quick = { signal: new AbortController().signal, progress: () => undefined };
        try {
          await trial?.begin(patched(config, patch, config.disks));
          return void (await apply(config, await makeAddedDisks(machine, config, patch, kind, images, quick, needed)));
        } finally {
          trial?.end();
        }
      }
      return this.jobs.run({ kind: "add-disks", title: `Copy disks into ${machine.name}`, machineId: id, cancellable: true }, async (control) => {
        const disks = await makeAddedDisks(machine, config, patch, kind, images, control, needed);
        // Its name and notes may have been changed meanwhile; the job has held the rest.
        await machine.inTurn(undefined, async () => {
          let now: MachineConfig;
          try {
            control.signal.throwIfAborted();
            now = this.configured(id).config;
            if (JSON.stringify(now.disks) !== JSON.stringify(config.disks)) throw new TerrariumError("illegal-state", `The disks of ${now.name} were changed in its file while images were copied into it.`, "Look at the settings as they are now, and repeat your change.");
          } catch (error) {
            await disks?.undo();
            throw error;
          }
          await apply(now, disks);
        });
      });
    });
    if (job) await this.jobs.finish(job.id);
    return machine.info();
  }

  /** Has a guest ask for the addresses of these adapters again, by their cables. */
  private async askAgain(id: string, adapters: readonly number[]): Promise<void> {
    const machine = this.machines.get(id);
    if (!machine) return;
    try {
      await machine.inTurn("setLink", () => pullCables(machine, adapters, () => this.networking.update()));
    } catch (error) {
      machine.log.event(`its guest keeps its addresses until it renews them, since its cables could not be pulled: ${toErrorData(error).message}`);
    }
  }

  /** The address for the adapter that a machine gets next: the one of the card that waits for it, or a new one. */
  private async nextMac(id: string, config: MachineConfig): Promise<string> {
    const machine = this.machine(id);
    const engine = machine.engineOf(config);
    const waiting = machine.current && engine.live.adapters && config.adapters.length < adapterSlots ? await liveCards(machine, engine).nextMac(config) : undefined;
    return waiting ?? newMac(this.registry.macs());
  }

  /** Presses the keys together, and answers when the machine process has taken the next ones. */
  private async press(machine: Machine, keys: readonly string[], holdMs: number): Promise<void> {
    await machine.live().session.qmp.execute("send-key", { keys: keys.map((data) => ({ type: "qcode", data })), "hold-time": holdMs });
    await new Promise<void>((resolve) => this.clock.schedule(holdMs, resolve));
  }

  private emptyTrash(id: string | undefined): { job: JobInfo } {
    const job = this.jobs.run({ kind: "empty-trash", title: id === undefined ? "Empty the trash" : "Delete from the trash", cancellable: true }, async (control) => {
      // Snapshots first: those of a machine that is deleted for good go with it.
      const entries = id === undefined ? (await this.registry.listTrash()).sort((a, b) => Number(a.snapshot === undefined) - Number(b.snapshot === undefined)) : [await this.registry.trashEntry(id)];
      for (const [index, entry] of entries.entries()) {
        control.signal.throwIfAborted();
        control.progress(index / entries.length, `Deleting ${entry.name} (${formatSize(entry.bytes)})`);
        if (entry.snapshot !== undefined) {
          await this.snapshots.purge(entry, control.signal);
          continue;
        }
        await this.registry.deleteFromTrash(entry.id, control.signal);
        await this.snapshots.purgeOf(entry.machineId, control.signal);
      }
    });
    return { job };
  }

  private tellTrash(): void {
    this.registry.listTrash().then(
      (entries) => this.eventEmitter.fire({ type: "trash", entries: entries.map(withoutFolder) }),
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
    return { version: this.runtime.version, home: this.home.path, servedBy: this.servedBy, pid: process.pid, ...facts, engines: this.equipment.engines.list(), starter: this.equipment.starter.info, networkModes: this.networking.modes() };
  }

  private async checkContext(): Promise<CheckContext> {
    await this.equipment.qemuKnown;
    return this.contextNow();
  }

  private async contextNow(): Promise<CheckContext> {
    const { engines, starter, imageTool, installImageTool } = this.equipment;
    return {
      canConvert: imageTool !== undefined,
      installConverter: installImageTool,
      facts: await readHostFacts(this.home.path),
      machines: this.registry.list(),
      starter,
      networkModes: this.networking.modes(),
      networks: this.networking.registry.list(),
      beyondBuiltIn: (machine) => engines.beyondBuiltIn(machine),
      resolveEngine: (machine) => engines.resolve(machine).info,
    };
  }

  private didFindEngines(): void {
    for (const machine of this.machines.values()) this.eventEmitter.fire({ type: "machine", machine: machine.info() });
    this.tellHost();
  }

  private tellHost(): void {
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

  private makeSurroundings(): Surroundings {
    const { equipment, jobs, clock, log, home } = this;
    return {
      engines: equipment.engines,
      jobs,
      clock,
      log,
      runDir: (id) => machineRunDir(home.runDir, id),
      guestFiles: () => equipment.guestFiles,
      enginesKnown: (config) => equipment.enginesKnown(config),
      imageTool: () => equipment.imageTool,
      states: () => equipment.states,
      authorizedKeys: () => (this.authorizedKeys ??= homeKey(home.path).then((line) => [line])),
      checkStart: async (machine, config) => {
        const refused = firstError(await checkStart({ ...machine, config }, await this.contextNow()));
        if (refused) throw refused;
        await this.snapshots.finishRestoring(machine.folder, config);
        await this.networking.registry.createInternal(config.adapters.map(({ attachment }) => attachment));
      },
      notify: (notice) => this.notify(notice),
      network: (machine) => this.networking.statusOf(machine),
      prepareForNextTime: (config) => equipment.prepareForNextTime(config),
    };
  }

  private notify(notice: Pick<Notice, "level" | "message" | "remedy" | "machineId">): void {
    this.log.info(`notice: ${notice.message}`);
    this.eventEmitter.fire({ type: "notice", notice: { ...notice, id: randomBytes(6).toString("hex"), at: this.clock.now() } });
  }

}

async function done(work: Promise<void>): Promise<Record<string, never>> {
  await work;
  return {};
}
