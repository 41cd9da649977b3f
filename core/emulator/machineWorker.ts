import { DisposableStore } from "../base/disposable";
import { describeRegisters, writeDump } from "./crashDump";
import { createHardware, type Hardware } from "./hardware";
import type { DiskFailure, FromWorker, InputMessage, Requests, Statistics, ToWorker, WorkerStart } from "./messages";
import { createScreen, type Screen } from "./screen";
import { loadMachine, saveMachine } from "./machineState";
import { VirtualClock } from "./virtualClock";
import type { WorkerPort } from "./workerPort";

/** How often the screen is looked at while the guest runs, milliseconds. */
const screenInterval = 25;
/** An idle guest draws nothing: one that has run fewer instructions than this since the last look is looked at less often, */
const idleInstructions = 20_000;
/** namely after this many milliseconds. */
const idleInterval = 100;

/** A kernel may tick 250 times a second for nothing. A guest whose processor has run fewer instructions a millisecond than this */
const idlePace = 2000;
/** over so many milliseconds */
const restWindow = 250;
/** sleeps so long at least, milliseconds, unless a device wakes it; its kernel then counts two ticks at once. */
const idleSleep = 8;

/** Runs one machine in this thread until it is told to close. */
export function runMachine(start: WorkerStart, port: WorkerPort): void {
  new MachineWorker(start, port).begin();
}

/**
 * The emulator's thread. The guest runs in slices of about a millisecond (v86's `main_loop`); between two of them the
 * thread takes messages and the answers of disks, and sends on what the guest has put out.
 */
class MachineWorker {
  private readonly clock = new VirtualClock(() => performance.now());
  private readonly screen: Screen;
  private readonly store = new DisposableStore();
  private hardware: Hardware | undefined;
  private running = false;
  private over = false;
  private cancelled = false;
  /** Why v86's own code gave up, when it did. */
  private panic = "";
  private buttons = [false, false, false] as [boolean, boolean, boolean];
  private absolutePointer = false;
  private lastPointer: { x: number; y: number } | undefined;

  constructor(
    private readonly start: WorkerStart,
    private readonly port: WorkerPort,
  ) {
    this.clock.stop();
    this.screen = createScreen({ post: (message) => port.send({ type: "screen", message }) });
  }

  begin(): void {
    process.on("uncaughtException", (error) => this.crash(error));
    process.on("unhandledRejection", (error) => this.crash(error));
    const waiting: ToWorker[] = [];
    this.port.onMessage((message) => (this.hardware ? this.take(this.hardware, message) : waiting.push(message)));
    const setUp = async (): Promise<void> => {
      const created = await createHardware(this.start, this.screen, this.clock, {
        serialOutput: (port) => ({
          send: (data) => this.send({ type: "serialOutput", port, data }, data),
          taken: (bytes) => this.port.send({ type: "serialTaken", port, bytes }),
          overrun: () => {
            const message = `the guest writes to serial port ${port} faster than it is read and does not wait: some of its output is lost`;
            this.port.send({ type: "log", level: "warn", message });
          },
        }),
        adapterLine: (adapter) => ({
          send: (batch) => this.send({ type: "frames", adapter, batch }, batch),
          taken: (bytes) => this.port.send({ type: "framesTaken", adapter, bytes }),
        }),
        isRunning: () => this.running,
        didFailDisk: (failure) => this.diskFailed(failure),
        didRequestReset: () => this.end({ type: "reset" }),
        didPowerOff: () => this.end({ type: "powerOff" }),
        didPanic: (reason) => (this.panic = reason),
        didLog: (level, message) => this.port.send({ type: "log", level, message }),
      });
      if (!created.ok) {
        this.port.send({ type: "failed", message: created.error });
        return;
      }
      this.hardware = created.value;
      this.replaceYield(created.value);
      created.value.emulator.add_listener("vmware-absolute-mouse", (enabled: boolean) => {
        this.absolutePointer = enabled;
        this.port.send({ type: "absolutePointer", enabled });
      });
      this.port.send({ type: "ready", medium: created.value.cd.file });
      for (const message of waiting) this.take(created.value, message);
    };
    setUp().catch((error: unknown) => this.port.send({ type: "failed", message: (error as Error).stack ?? String(error) }));
  }

  /**
   * v86's own loop wakes far too often when the guest is idle. This one sleeps as long as the guest's next timer allows
   * (an interrupt wakes it earlier), and is where everything collected in a slice is sent on.
   */
  private replaceYield(hardware: Hardware): void {
    const { v86 } = hardware.emulator;
    const { cpu } = hardware;
    const slice = (tick: number): void => {
      try {
        v86.yield_callback(tick);
        // Not in `yield`: an interrupt that a device raises calls it too, from the middle of what is flushed here.
        this.flush(hardware);
      } catch (error) {
        this.crash(error);
      }
    };
    v86.yield = (delay, tick) => {
      if (delay < 1 && !(delay > 0 && cpu.in_hlt[0])) setImmediate(slice, tick);
      else setTimeout(slice, Math.max(this.rest.isIdle(cpu.instruction_counter[0] ?? 0) ? idleSleep : 1, Math.ceil(delay)), tick);
    };
    hardware.emulator.add_listener("emulator-stopped", () => {
      this.flush(hardware);
      for (const resolve of this.stopWaiters.splice(0)) resolve();
    });
  }

  private readonly rest = new Rest();
  private readonly stopWaiters: (() => void)[] = [];

  private flush(hardware: Hardware): void {
    hardware.serial[0].flush();
    hardware.serial[1].flush();
    for (const adapter of hardware.adapters) adapter.flush();
  }

  private take(hardware: Hardware, message: ToWorker): void {
    switch (message.type) {
      case "request":
        if (message.name === "stop") this.cancelled = true;
        this.queue = this.queue.then(() => this.answer(hardware, message));
        return;
      case "serialInput":
        return hardware.serial[message.port].receive(message.data);
      case "serialDrained":
        return hardware.serial[message.port].drained(message.bytes);
      case "frames":
        return hardware.adapters[message.adapter]?.receive(message.batch);
      case "framesDrained":
        return hardware.adapters[message.adapter]?.drained(message.bytes);
      case "peer":
        return hardware.adapters[message.adapter]?.setPeer(message.present);
      case "link":
        return hardware.adapters[message.adapter]?.setLink(message.up);
      case "cancelSave":
        this.cancelled = true;
        return;
      default:
        return this.input(hardware, message);
    }
  }

  private input(hardware: Hardware, message: InputMessage): void {
    const { bus } = hardware.emulator;
    switch (message.type) {
      case "scancodes":
        for (const byte of message.bytes) bus.send("keyboard-code", byte);
        return;
      case "pointer": {
        const { x, y, width, height } = message;
        const last = this.lastPointer ?? { x, y };
        this.lastPointer = { x, y };
        // A guest without a driver for the absolute pointer has a plain PS/2 mouse, which knows movements only.
        if (this.absolutePointer) bus.send("mouse-absolute", [x, y, width, height]);
        else if (x !== last.x || y !== last.y) bus.send("mouse-delta", [x - last.x, last.y - y]);
        return;
      }
      case "relative":
        return bus.send("mouse-delta", [message.dx, -message.dy]);
      case "buttons":
        this.buttons = [message.left, message.middle, message.right];
        return bus.send("mouse-click", this.buttons);
      case "wheel":
        return bus.send("mouse-wheel", [message.delta, 0]);
    }
  }

  /** Requests are answered one after another. */
  private queue: Promise<void> = Promise.resolve();

  private async answer(hardware: Hardware, message: Extract<ToWorker, { type: "request" }>): Promise<void> {
    const { id } = message;
    try {
      this.port.send({ type: "reply", id, ok: true, value: await this.perform(hardware, message) });
    } catch (error) {
      this.port.send({ type: "reply", id, ok: false, message: error instanceof Error ? error.message : String(error) });
    }
  }

  private async perform(hardware: Hardware, message: Extract<ToWorker, { type: "request" }>): Promise<Requests[keyof Requests]["output"]> {
    switch (message.name) {
      case "run":
        this.run(hardware);
        return null;
      case "stop":
        await this.stop(hardware);
        return null;
      case "close":
        return this.close(hardware);
      case "save": {
        this.cancelled = false;
        await this.stop(hardware);
        const control = {
          progress: (done: number, total: number) => this.port.send({ type: "stateProgress", done, total }),
          isCancelled: () => this.cancelled,
        };
        return saveMachine(hardware, this.clock, message.input.path, message.input.compress, control);
      }
      case "load": {
        const loaded = await loadMachine(hardware, this.clock, message.input.path);
        this.screen.invalidate();
        this.drawScreen(hardware);
        return loaded;
      }
      case "medium": {
        const changed = await hardware.cd.change(message.input.path, hardware.cpu.devices.cdrom);
        if (!changed.ok) throw new Error(changed.error);
        return null;
      }
      case "powerButton":
        // ACPI 4.8.3.1: power button status, told by interrupt 9.
        hardware.cpu.devices.acpi.pm1_status |= 0x100;
        hardware.cpu.device_raise_irq(9);
        return null;
      case "statistics":
        return this.statistics(hardware);
      case "refreshScreen":
        this.drawScreen(hardware);
        return null;
      case "dump":
        await writeDump(hardware, this.clock, message.input.directory);
        return null;
    }
  }

  private run(hardware: Hardware): void {
    if (this.running || this.over) return;
    this.running = true;
    this.clock.run();
    for (const disk of hardware.disks) disk.retry();
    hardware.emulator.v86.run();
    for (const adapter of hardware.adapters) adapter.resume();
    const timer = setInterval(() => this.drawIfBusy(hardware), screenInterval);
    this.store.add({ dispose: () => clearInterval(timer) });
    this.stopDrawing = () => clearInterval(timer);
  }

  private stopDrawing: () => void = () => undefined;

  /** Stops the guest at once; what its disks are doing goes on. */
  private halt(hardware: Hardware): Promise<void> {
    if (!this.running) return Promise.resolve();
    this.running = false;
    this.clock.stop();
    this.stopDrawing();
    const stopped = new Promise<void>((resolve) => this.stopWaiters.push(resolve));
    hardware.emulator.v86.stop();
    // A sleeping guest would notice only when its next timer falls due.
    hardware.emulator.v86.next_tick(0);
    return stopped;
  }

  /** Stops the guest and brings its disks to rest, everything it has written on the disk. */
  private async stop(hardware: Hardware): Promise<void> {
    await this.halt(hardware);
    await Promise.all([...hardware.disks, hardware.cd].map((disk) => disk.drain()));
    this.drawScreen(hardware);
    for (const disk of hardware.disks) {
      // What cannot be flushed now is flushed again when the guest asks: its own requests wait in the queue.
      await disk.flush().catch((error: unknown) => this.diskFailed(flushFailure(disk.id, error)));
    }
  }

  private async close(hardware: Hardware): Promise<null> {
    this.over = true;
    await this.stop(hardware);
    await Promise.all([...hardware.disks, hardware.cd].map((disk) => disk.close()));
    this.store.dispose();
    return null;
  }

  private drawIfBusy(hardware: Hardware): void {
    const instructions = hardware.cpu.instruction_counter[0] ?? 0;
    const done = (instructions - this.drawn.instructions) >>> 0;
    const now = performance.now();
    if (done < idleInstructions && now - this.drawn.at < idleInterval) return;
    this.drawn = { instructions, at: now };
    this.drawScreen(hardware);
  }

  private drawn = { instructions: 0, at: 0 };

  private drawScreen(hardware: Hardware): void {
    hardware.cpu.devices.vga.screen_fill_buffer();
    this.screen.refresh();
  }

  private diskFailed(failure: DiskFailure): void {
    if (failure.action === "stop" && this.hardware) this.halt(this.hardware).catch((error: unknown) => this.crash(error));
    this.port.send({ type: "diskFailure", failure });
  }

  /** The guest asked for its end (or a new beginning): it does not run any further. */
  private end(message: FromWorker): void {
    if (this.over || !this.hardware) return;
    this.over = true;
    this.running = false;
    // The clock goes on: the guest is in the middle of a slice, and v86 ends that when a millisecond is over.
    this.stopDrawing();
    this.hardware.emulator.v86.stop();
    this.flush(this.hardware);
    this.port.send(message);
  }

  private crash(error: unknown): void {
    if (this.over) return;
    if (isTripleFault(this.panic)) return this.end({ type: "reset" });
    this.over = true;
    this.running = false;
    this.clock.stop();
    this.stopDrawing();
    // The last words of a guest are often the reason.
    if (this.hardware) this.flush(this.hardware);
    this.port.send({
      type: "crashed",
      message: this.panic || (error instanceof Error ? error.message : String(error)),
      stack: error instanceof Error ? (error.stack ?? "") : "",
      registers: this.hardware ? describeRegisters(this.hardware) : "",
    });
  }

  private statistics(hardware: Hardware): Statistics {
    return {
      instructions: hardware.cpu.instruction_counter[0] ?? 0,
      guestMilliseconds: this.clock.now(),
      disks: hardware.disks.map((disk) => disk.report()),
      adapters: hardware.adapters.map((adapter) => adapter.report()),
      absolutePointer: this.absolutePointer,
    };
  }

  private send(message: FromWorker, bytes: Uint8Array): void {
    this.port.send(message, [bytes.buffer as ArrayBuffer]);
  }
}

/** Whether the guest has been doing nothing for a while, from how many instructions it has run. */
class Rest {
  private at = 0;
  private instructions = 0;
  private idle = false;

  isIdle(instructions: number): boolean {
    const now = performance.now();
    const passed = now - this.at;
    if (passed >= restWindow) {
      // The counter has 32 bits.
      this.idle = ((instructions - this.instructions) >>> 0) / passed < idlePace;
      this.at = now;
      this.instructions = instructions;
    }
    return this.idle;
  }
}

/**
 * A processor that cannot deliver an exception resets the machine. v86 gives up instead, in its code for delivering
 * interrupts, with one of these reasons: a vector beyond the table, or one without a code segment.
 */
function isTripleFault(panic: string): boolean {
  return /Unimplemented: (#(GP|TS) handler|CS selector is)/.test(panic);
}

function flushFailure(disk: string, error: unknown): DiskFailure {
  return { disk, operation: "write", action: "stop", noSpace: false, reason: error instanceof Error ? error.message : String(error) };
}
