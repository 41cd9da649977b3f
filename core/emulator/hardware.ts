import { V86 } from "v86";
import { version as v86Version } from "v86/package.json";
import { err, ok, type Result } from "../base/result";
import { openFile } from "../storage/file";
import type { BlockDevice } from "../storage/blockDevice";
import { CdDrive } from "./cdrom";
import { loadCore } from "./compiledCore";
import { Disk } from "./disks";
import { GuestMemory } from "./guestMemory";
import type { DiskFailure, WorkerStart } from "./messages";
import { Adapter, type AdapterLine } from "./nics";
import type { Screen } from "./screen";
import { SerialPort, type SerialLine } from "./serialPort";
import type { StateHardware } from "./stateFormat";
import { missingInternals, type V86Cpu, type V86Emulator, type V86VirtioClass } from "./v86Internals";
import { SharedInterrupts } from "./virtio";
import type { VirtualClock } from "./virtualClock";
import { instantiateWasm, type WasmMemory, type WasmModule } from "./wasm";

/** Changes whenever a device of ours changes what it saves or shows to the guest. */
export const deviceModel = 1;

/**
 * PCI slots and I/O ports. Slots below and above are v86's own (0 host bridge, 1 ISA, 7 ACPI, 18 VGA, 30 IDE). The
 * firmware moves the ports to 0xC000 and up, so they start where nothing it moves can run into them.
 */
const adapterSlots = [10, 11, 12, 13];
const diskSlots = [20, 21, 22, 23];
const adapterPorts = 0xe000;
const diskPorts = 0xe400;

/** Boot order as v86 has it: the lowest digit first; 1 floppy, 2 hard disk, 3 CD. */
const bootOrders = { disk: 0x132, cd: 0x123 };

/** ACPI PM1 control: writing SLP_EN ends the machine, whatever the sleep type: S5 is the only one we have. */
const pm1Control = 0xb004;
const sleepEnable = 0x2000;
/** Two bytes of status of the general-purpose events; the two behind them enable. */
const generalEventStatus = 0xafe0;

export interface HardwareEvents {
  serialOutput(port: 0 | 1): SerialLine;
  adapterLine(index: number): AdapterLine;
  isRunning(): boolean;
  didFailDisk(failure: DiskFailure): void;
  didRequestReset(): void;
  didPowerOff(): void;
  /** v86's own code gave up, for the reason said; an exception follows. */
  didPanic(reason: string): void;
  didLog(level: "info" | "warn", message: string): void;
}

/** The machine's parts, wired up and stopped. */
export interface Hardware {
  readonly emulator: V86Emulator;
  readonly cpu: V86Cpu;
  readonly memory: GuestMemory;
  readonly disks: readonly Disk[];
  readonly adapters: readonly Adapter[];
  readonly serial: readonly [SerialPort, SerialPort];
  readonly cd: CdDrive;
  readonly interrupts: SharedInterrupts;
  describe(): StateHardware;
}

export async function createHardware(start: WorkerStart, screen: Screen, clock: VirtualClock, events: HardwareEvents): Promise<Result<Hardware>> {
  const { machine } = start;
  const core = loadCore(start.core, events);
  core.catch((error: unknown) => void error); // Awaited below, unless a disk cannot be opened.
  const storages: BlockDevice[] = [];
  for (const disk of machine.disks) {
    const opened = await openFile(disk.file, { readOnly: disk.readOnly });
    if (!opened.ok) return opened;
    storages.push(opened.value);
  }
  const cd = new CdDrive(machine.cdrom?.id ?? "cd0", (failure) => events.didFailDisk(failure));
  const medium = await cd.open(start.medium);
  if (!medium.ok) {
    if (!start.again) return medium;
    events.didLog("warn", `${medium.error}: the CD drive is empty from now on`);
  }

  const emulator = await createEmulator(start, await core, screen, clock, medium.ok ? medium.value : undefined, (reason) => events.didPanic(reason));
  const missing = missingInternals(emulator);
  if (missing.length > 0) return err(`v86 ${v86Version} lacks ${missing.join(", ")}`);

  const { cpu } = emulator.v86;
  const memory = new GuestMemory(cpu);
  const interrupts = new SharedInterrupts(cpu, cpu.devices.pci);
  const own = cpu.devices.virtio_net;
  const Virtio = own?.virtio.constructor as V86VirtioClass;
  // v86's adapter lends us its virtio class and then makes room for ours, in the same slot.
  cpu.devices.virtio_net = undefined;
  const adapters = machine.adapters.map(
    (adapter, index) =>
      new Adapter(
        adapter.id,
        adapterSlots[index] ?? 0,
        adapterPorts + index * 0x100,
        adapter.mac,
        start.links[index] ?? false,
        cpu,
        Virtio,
        memory,
        events.adapterLine(index),
        () => events.isRunning(),
      ),
  );
  const disks = storages.map(
    (storage, index) =>
      new Disk(`disk${index}`, diskSlots[index] ?? 0, diskPorts + index * 0x100, cpu, Virtio, memory, storage, (failure) =>
        events.didFailDisk(failure),
      ),
  );
  const running = (): boolean => events.isRunning();
  const serial: [SerialPort, SerialPort] = [
    new SerialPort(cpu.devices.uart0, events.serialOutput(0), running),
    new SerialPort(cpu.devices.uart1, events.serialOutput(1), running),
  ];
  emulator.add_listener("serial0-output-byte", (byte: number) => serial[0].put(byte));
  emulator.add_listener("serial1-output-byte", (byte: number) => serial[1].put(byte));
  // An in-place reboot cannot load the kernel again, and a crashed guest asks for it many times: a new worker boots.
  cpu.reboot_internal = () => events.didRequestReset();
  watchPowerOff(cpu, () => events.didPowerOff());
  clearEventsWhenTold(cpu);
  const describe = (): StateHardware => ({
    emulator: v86Version,
    devices: deviceModel,
    memory: memory.size,
    disks: disks.map((disk, index) => ({
      id: disk.id,
      size: disk.size,
      readOnly: machine.disks[index]?.readOnly ?? false,
      inUse: disk.inUse,
    })),
    adapters: adapters.length,
  });
  return ok({ emulator, cpu, memory, disks, adapters, serial, cd, interrupts, describe });
}

async function createEmulator(
  start: WorkerStart,
  core: WasmModule,
  screen: Screen,
  clock: VirtualClock,
  medium: object | undefined,
  panic: (reason: string) => void,
): Promise<V86Emulator> {
  const { machine } = start;
  // The adapter hands pictures over as ImageData, which only browsers have.
  const scope = globalThis as { ImageData?: unknown };
  scope.ImageData ??= class {
    constructor(
      readonly data: Uint8ClampedArray,
      readonly width: number,
      readonly height: number,
    ) {}
  };
  const options = {
    wasm_fn: async (imports: { env: Record<string, unknown> }) => {
      // Every clock of the machine is the virtual one: the processor's here, the devices' below.
      imports.env.microtick = clock.now;
      const instance: { memory?: WasmMemory } = {};
      imports.env.console_log_from_wasm = (at: number, length: number) => {
        if (instance.memory) panic(new TextDecoder().decode(new Uint8Array(instance.memory.buffer, at >>> 0, length).slice()));
      };
      const exports = (await instantiateWasm(core, imports)) as { memory: WasmMemory };
      instance.memory = exports.memory;
      return exports;
    },
    // v86 wants room for an initrd; asking for it in any case keeps the size the same when a state is restored.
    memory_size: Math.max(machine.memoryMiB, machine.initrd === undefined ? 1 : 64) * 1024 * 1024,
    bios: { buffer: exactBuffer(start.bios) },
    vga_bios: { buffer: exactBuffer(start.vgaBios) },
    ...(start.kernel ? { bzimage: { buffer: exactBuffer(start.kernel) }, cmdline: machine.append } : {}),
    ...(start.initrd ? { initrd: { buffer: exactBuffer(start.initrd) } } : {}),
    ...(medium ? { cdrom: medium } : {}),
    boot_order: bootOrders[machine.boot],
    acpi: true,
    uart1: true,
    net_device: { type: "virtio" },
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  };
  const emulator = new V86(options as never) as unknown as V86Emulator;
  Object.defineProperty(emulator, "screen_adapter", { get: () => screen.adapter, set: () => undefined });
  await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
  (emulator.v86.constructor as { microtick: () => number }).microtick = clock.now;
  return emulator;
}

function watchPowerOff(cpu: V86Cpu, powerOff: () => void): void {
  const port = cpu.io.ports[pm1Control];
  if (!port) return;
  const write = port.write16;
  port.write16 = function (this: unknown, value: number) {
    write.call(this, value);
    if ((value & sleepEnable) !== 0) powerOff();
  };
}

/**
 * ACPI 4.8.4.1: writing a one to a general-purpose event's status clears it. v86 stores what is written, so that the
 * guest's clearing of all events makes all of them happen: the one for PCI hot-plug then takes every device away.
 */
function clearEventsWhenTold(cpu: V86Cpu): void {
  for (const index of [0, 1]) {
    const port = cpu.io.ports[generalEventStatus + index];
    if (port) port.write8 = (value) => (cpu.devices.acpi.gpe[index] = (cpu.devices.acpi.gpe[index] ?? 0) & ~value);
  }
}

function exactBuffer(bytes: Uint8Array): ArrayBuffer {
  return bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength ? (bytes.buffer as ArrayBuffer) : (bytes.slice().buffer as ArrayBuffer);
}
