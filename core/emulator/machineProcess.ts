import { join } from "node:path";
import { systemClock, type Clock } from "../base/clock";
import { DisposableStore } from "../base/disposable";
import { Emitter } from "../base/emitter";
import type { Log } from "../base/log";
import type { MachineArguments } from "./argv";
import { writeReport, dumpFiles } from "./crashDump";
import { Display } from "./framebuffer";
import { InputFile } from "./inputFile";
import type { DiskFailure, StateProgress, Statistics, ToWorker, WorkerStart } from "./messages";
import { NetChannel } from "./netChannel";
import { encodePng } from "./png";
import type { InputSink } from "./inputSink";
import { SerialChannel } from "./serialChannel";
import { WorkerHandle, type WorkerNews } from "./workerHandle";

/**
 * The machine as its process sees it, whatever worker runs it.
 *
 * Run states, under QEMU's names:
 *
 *   prelaunch ──cont──> running <──cont── paused, io-error, postmigrate
 *   inmigrate ──migrate-incoming──> paused
 *   running ──stop──> paused   ──write error──> io-error   ──migrate──> finish-migrate ──> postmigrate
 *   any ──guest powers off, quit──> shutdown (the process ends)   ──emulator fails──> internal-error (it ends too)
 *
 * A reset keeps the state but for `postmigrate` and `io-error`, which become `paused`: it ends the worker and starts a
 * new one, while sockets and clients stay. There is one reset at a time: who asks for another while a worker is being
 * replaced gets the machine that is being made. A machine that cannot be made again has failed, and the process ends.
 */
export type RunState =
  | "prelaunch" | "inmigrate" | "running" | "paused" | "io-error" | "finish-migrate" | "postmigrate" | "shutdown" | "internal-error";

export interface MachineEvent {
  readonly event: string;
  readonly data?: object;
}

/** A migration as `query-migrate` tells it. */
export interface Migration {
  status: "none" | "setup" | "active" | "completed" | "failed" | "cancelling" | "cancelled";
  reason?: string;
  done: number;
  total: number;
  result?: StateProgress;
}

/** Why the process ends; QEMU's words. */
export type ShutdownReason = "guest-shutdown" | "host-qmp-quit" | "host-signal" | "host-error";

/** A command that the machine's state forbids, or that failed; the message is for people. */
export class CommandFailure extends Error {}

export const exitCodes = { ok: 0, failed: 1, crashed: 70 };

/** How long a worker may take to bring its disks to rest before it is ended anyway, milliseconds. */
const closeTimeout = 10_000;

export interface Files {
  /** Where the worker's script, the core's compiler and `v86.wasm` lie. */
  readonly directory: string;
}

export class MachineProcess {
  readonly display = new Display();
  readonly serial: SerialChannel;
  readonly agent: SerialChannel;
  readonly nets: readonly NetChannel[];
  readonly input: InputSink;
  readonly migration: Migration = { status: "none", done: 0, total: 0 };
  readonly diskFailures = new Map<string, DiskFailure>();

  private readonly events = new Emitter<MachineEvent>();
  /** QMP events. */
  readonly onDidEvent = this.events.event;
  private readonly ended = new Emitter<number>();
  /** The machine is over; the value is the exit code. Fires once. */
  readonly onDidEnd = this.ended.event;

  private readonly store = new DisposableStore();
  private state: RunState;
  private worker: WorkerHandle | undefined;
  private ready: Promise<void> = Promise.resolve();
  /** The reset that is replacing the worker. */
  private respawning: Promise<void> | undefined;
  /** The worker's end that is under way. */
  private closing: Promise<void> | undefined;
  private inputs: Inputs | undefined;
  private readonly links: boolean[];
  private cdMedium: string | null;
  private absolutePointer = false;
  private isOver = false;

  constructor(
    readonly machine: MachineArguments,
    private readonly files: Files,
    private readonly log: Log,
    private readonly clock: Clock = systemClock(),
  ) {
    this.state = machine.incoming ? "inmigrate" : "prelaunch";
    this.links = machine.adapters.map((adapter) => adapter.link);
    this.cdMedium = machine.cdrom?.file ?? null;
    const post = (message: ToWorker, transfer?: readonly ArrayBuffer[]): void => this.worker?.post(message, transfer);
    this.serial = this.store.add(new SerialChannel(0, post, log, machine.serialLog));
    this.agent = this.store.add(new SerialChannel(1, post, log));
    this.nets = machine.adapters.map((_, index) => new NetChannel(index, post, log));
    this.input = {
      scancodes: (bytes) => post({ type: "scancodes", bytes }),
      pointer: (x, y, width, height) => post({ type: "pointer", x, y, width, height }),
      relative: (dx, dy) => post({ type: "relative", dx, dy }),
      buttons: (left, middle, right) => post({ type: "buttons", left, middle, right }),
      wheel: (delta) => post({ type: "wheel", delta }),
      wantsRelative: () => !this.absolutePointer,
    };
  }

  get runState(): RunState {
    return this.state;
  }

  get medium(): string | null {
    return this.cdMedium;
  }

  linkOf(adapter: number): boolean {
    return this.links[adapter] ?? false;
  }

  /** Makes the machine, stopped. Rejects with a reason for people. */
  async begin(): Promise<void> {
    await this.prepare(async () => {
      this.inputs = this.openInputs();
      await this.spawn({ again: false });
    });
  }

  private openInputs(): Inputs {
    const { bios, vgaBios, kernel, initrd } = this.machine;
    const open = (what: string, path: string): InputFile => this.store.add(new InputFile(what, path));
    return {
      bios: open("firmware", bios),
      vgaBios: open("VGA firmware", vgaBios),
      kernel: kernel === undefined ? undefined : open("kernel", kernel),
      initrd: initrd === undefined ? undefined : open("initrd", initrd),
    };
  }

  /** Runs what makes a worker; commands that need one wait for it. */
  private prepare(work: () => Promise<void>): Promise<void> {
    this.ready = work();
    return this.ready;
  }

  async cont(): Promise<void> {
    if (this.state === "inmigrate") throw new CommandFailure("Guest is waiting for an incoming migration");
    if (this.state === "finish-migrate") throw new CommandFailure("The machine is being saved");
    this.requireLiving();
    if (this.state === "running") return;
    await this.ready;
    await this.current().request("run", null);
    this.state = "running";
    this.emit("RESUME");
  }

  async stop(): Promise<void> {
    this.requireLiving();
    if (this.state !== "running") return;
    this.state = "paused";
    await this.ready;
    await this.current().request("stop", null);
    this.emit("STOP");
  }

  async reset(): Promise<void> {
    this.requireLiving();
    if (this.state === "inmigrate" || this.state === "finish-migrate") throw new CommandFailure("The machine is being saved or restored");
    await this.respawn(false);
  }

  async powerButton(): Promise<void> {
    this.requireLiving();
    await this.ready;
    await this.current().request("powerButton", null);
    this.emit("POWERDOWN");
  }

  /** Begins to save the machine into the file; it is left stopped. Progress and outcome are in `migration`. */
  startSave(path: string, compress: boolean): void {
    this.requireLiving();
    if (this.state === "inmigrate") throw new CommandFailure("Guest is waiting for an incoming migration");
    if (this.state === "finish-migrate") throw new CommandFailure("There's a migration process in progress");
    this.save(path, compress).catch((error: unknown) => this.log.error("saving failed", error));
  }

  private async save(path: string, compress: boolean): Promise<void> {
    const before = this.state === "running" ? "paused" : this.state;
    if (this.state === "running") this.emit("STOP");
    this.state = "finish-migrate";
    this.setMigration("setup");
    await this.ready;
    this.setMigration("active");
    try {
      this.migration.result = await this.current().request("save", { path, compress });
      this.state = "postmigrate";
      this.setMigration("completed");
    } catch (error) {
      this.state = before;
      const reason = (error as Error).message;
      if (this.migration.status === "cancelling") this.setMigration("cancelled");
      else this.setMigration("failed", reason);
    }
  }

  cancelSave(): void {
    if (this.migration.status !== "active" && this.migration.status !== "setup") return;
    this.setMigration("cancelling");
    this.worker?.post({ type: "cancelSave" });
  }

  async load(path: string): Promise<void> {
    if (this.state !== "inmigrate") throw new CommandFailure("'-incoming' was not specified on the command line");
    await this.ready;
    this.setMigration("setup");
    this.setMigration("active");
    try {
      this.migration.result = await this.current().request("load", { path });
    } catch (error) {
      this.setMigration("failed", (error as Error).message);
      throw new CommandFailure((error as Error).message);
    }
    this.state = "paused";
    this.setMigration("completed");
  }

  async changeMedium(path: string | null): Promise<void> {
    this.requireLiving();
    await this.ready;
    const hadMedium = this.cdMedium !== null;
    try {
      await this.current().request("medium", { path });
    } catch (error) {
      throw new CommandFailure((error as Error).message);
    }
    this.cdMedium = path;
    if (hadMedium || path !== null) this.trayMoved(true);
    if (path !== null) this.trayMoved(false);
  }

  private trayMoved(open: boolean): void {
    const id = this.machine.cdrom?.id ?? "cd0";
    this.emit("DEVICE_TRAY_MOVED", { device: id, id, "tray-open": open });
  }

  setLink(adapter: number, up: boolean): void {
    this.links[adapter] = up;
    this.worker?.post({ type: "link", adapter, up });
  }

  async statistics(): Promise<Statistics> {
    await this.ready;
    return this.current().request("statistics", null);
  }

  async screenshot(): Promise<Uint8Array> {
    await this.ready;
    await this.current().request("refreshScreen", null);
    return encodePng(this.display.width, this.display.height, this.display.pixels);
  }

  /** Brings the disks to rest and ends the machine. */
  async quit(reason: ShutdownReason): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    this.state = "shutdown";
    this.emit("SHUTDOWN", { guest: reason === "guest-shutdown", reason });
    await this.closeWorker();
    this.finish(exitCodes.ok);
  }

  private requireLiving(): void {
    if (this.isOver || this.state === "shutdown" || this.state === "internal-error") throw new CommandFailure("The machine has ended");
  }

  private current(): WorkerHandle {
    if (!this.worker) throw new CommandFailure("The machine has ended");
    return this.worker;
  }

  /** Starts a worker and waits until it has made the machine; `again` is for a reset. */
  private async spawn({ again }: { again: boolean }): Promise<void> {
    if (!this.inputs) throw new Error("the machine was not begun");
    const { machine, inputs } = this;
    const { directory } = this.files;
    const start: WorkerStart = {
      machine,
      bios: inputs.bios.read(),
      vgaBios: inputs.vgaBios.read(),
      // A state that is about to be loaded brings its kernel along.
      ...(machine.incoming && !again ? {} : { kernel: inputs.kernel?.read(), initrd: inputs.initrd?.read() }),
      core: { wire: join(directory, "v86.wasm"), compiler: join(directory, "emulatorCore.cjs"), cache: machine.codeCache },
      links: this.links,
      medium: this.cdMedium,
      again,
    };
    const script = join(directory, "emulatorWorker.cjs");
    const worker = new WorkerHandle(
      script,
      start,
      (message) => {
        if (this.worker === worker) this.hear(message);
      },
      (reason) => {
        if (this.worker === worker) this.crashed(reason.message, reason.stack ?? "", "");
      },
    );
    this.worker = worker;
    this.serial.reset();
    this.agent.reset();
    for (const net of this.nets) net.reset();
    const medium = await worker.ready;
    if (medium === this.cdMedium) return;
    this.cdMedium = medium;
    this.trayMoved(true);
  }

  private hear(message: WorkerNews): void {
    switch (message.type) {
      case "log":
        return this.log[message.level](message.message);
      case "serialOutput":
        return (message.port === 0 ? this.serial : this.agent).output(message.data);
      case "serialTaken":
        return (message.port === 0 ? this.serial : this.agent).taken(message.bytes);
      case "frames":
        return this.nets[message.adapter]?.output(message.batch);
      case "framesTaken":
        return this.nets[message.adapter]?.taken(message.bytes);
      case "screen":
        return this.display.apply(message.message);
      case "absolutePointer":
        this.absolutePointer = message.enabled;
        return this.display.setGuestPointer(message.enabled);
      case "diskFailure":
        return this.diskFailed(message.failure);
      case "stateProgress":
        this.migration.done = message.done;
        this.migration.total = message.total;
        return;
      case "reset":
        this.respawn(true).catch((error: unknown) => this.log.error("the guest's reset was not finished", error));
        return;
      case "powerOff":
        this.quit("guest-shutdown").catch((error: unknown) => this.crashed((error as Error).message, (error as Error).stack ?? "", ""));
        return;
      case "crashed":
        this.crashed(message.message, message.stack, message.registers);
        return;
    }
  }

  private diskFailed(failure: DiskFailure): void {
    this.diskFailures.set(failure.disk, failure);
    this.log.warn(`${failure.disk}: ${failure.operation} failed: ${failure.reason}`);
    this.emit("BLOCK_IO_ERROR", {
      device: failure.disk,
      "node-name": failure.disk,
      operation: failure.operation,
      action: failure.action,
      nospace: failure.noSpace,
      reason: failure.reason,
    });
    if (failure.action !== "stop" || this.state !== "running") return;
    this.state = "io-error";
    this.emit("STOP");
  }

  private respawn(guest: boolean): Promise<void> {
    return (this.respawning ??= this.replaceWorker(guest));
  }

  private async replaceWorker(guest: boolean): Promise<void> {
    const wasRunning = this.state === "running";
    if (this.state === "postmigrate" || this.state === "io-error") this.state = "paused";
    this.diskFailures.clear();
    this.absolutePointer = false;
    this.emit("RESET", { guest, reason: guest ? "guest-reset" : "host-qmp-system-reset" });
    await this.prepare(async () => {
      try {
        await this.closeWorker();
        // Who ends the machine meanwhile must not get another worker on its disks.
        this.requireLiving();
        await this.spawn({ again: true });
      } catch (error) {
        const { message, stack } = error as Error;
        this.crashed(message, stack ?? "", "");
        throw new CommandFailure(`The machine cannot be reset: ${message}`);
      } finally {
        // Before the new worker runs: its guest may ask for a reset of its own at once.
        this.respawning = undefined;
      }
    });
    if (wasRunning && this.state === "running") await this.current().request("run", null);
  }

  /** Ends the worker with its disks at rest. Whoever else wants that meanwhile waits for the same end. */
  private closeWorker(): Promise<void> {
    const worker = this.worker;
    if (!worker) return Promise.resolve();
    return (this.closing ??= this.close(worker).finally(() => (this.closing = undefined)));
  }

  private async close(worker: WorkerHandle): Promise<void> {
    const late = this.clock.schedule(closeTimeout, () => {
      this.log.error(`the disks did not come to rest in ${closeTimeout / 1000} seconds; the emulator is ended anyway`);
      worker.terminate().catch((error: unknown) => this.log.error("the emulator's thread cannot be ended", error));
    });
    try {
      if (!worker.hasEnded) await worker.request("close", null);
    } catch (error) {
      this.log.error("the emulator did not close its disks", error);
    }
    late.dispose();
    await worker.terminate();
    if (this.worker === worker) this.worker = undefined;
  }

  /** The emulator failed: what can be known is written down, and the process ends. */
  private crashed(message: string, stack: string, registers: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.state = "internal-error";
    this.log.error(`the emulator failed: ${message}`);
    const end = async (): Promise<void> => {
      const directory = this.machine.dumpDirectory;
      if (directory !== undefined) {
        writeReport(directory, { message, stack, registers, serial: this.serial.lastOutput });
        await this.dumpState(directory);
      }
      this.emit("SHUTDOWN", { guest: false, reason: "host-error" satisfies ShutdownReason });
      await this.closeWorker();
      this.finish(exitCodes.crashed);
    };
    end().catch((error: unknown) => {
      this.log.error("the crash could not be written down", error);
      this.finish(exitCodes.crashed);
    });
  }

  private async dumpState(directory: string): Promise<void> {
    try {
      await this.worker?.request("dump", { directory });
    } catch (error) {
      this.log.warn(`no ${dumpFiles.state} was written: ${(error as Error).message}`);
    }
  }

  private finish(code: number): void {
    this.store.dispose();
    this.ended.fire(code);
  }

  private setMigration(status: Migration["status"], reason?: string): void {
    if (status === "setup") Object.assign(this.migration, { done: 0, total: 0, result: undefined, reason: undefined });
    this.migration.status = status;
    if (reason !== undefined) this.migration.reason = reason;
    if (this.migrationEvents) this.emit("MIGRATION", { status });
  }

  /** Whether MIGRATION events are wanted (`migrate-set-capabilities`, capability `events`). */
  migrationEvents = false;

  private emit(event: string, data?: object): void {
    this.events.fire(data ? { event, data } : { event });
  }
}

interface Inputs {
  readonly bios: InputFile;
  readonly vgaBios: InputFile;
  readonly kernel: InputFile | undefined;
  readonly initrd: InputFile | undefined;
}
