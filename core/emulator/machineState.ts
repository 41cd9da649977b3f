import { err, type Result } from "../base/result";
import type { Hardware } from "./hardware";
import type { StateProgress } from "./messages";
import { hardwareDifference, pageBytes, type StateDescription } from "./stateFormat";
import { openState, writeState, type OpenedState, type RegionSource, type SaveControl } from "./stateFile";
import { virtioFields, type VirtioState } from "./stateShape";
import type { V86Virtio } from "./v86Internals";
import type { VirtualClock } from "./virtualClock";

/** The firmware writes itself there before a state is loaded; all other memory of a new emulator is zero. */
const firmwareEnd = 1024 * 1024;

/**
 * Saves a stopped machine whose disks are at rest: v86's own state without the memory, the memory, and the devices that
 * v86 knows nothing of (disks, adapters, what waits in the serial ports, the clock).
 */
export async function saveMachine(
  hardware: Hardware,
  clock: VirtualClock,
  path: string,
  compress: boolean,
  control: SaveControl,
): Promise<StateProgress> {
  const began = performance.now();
  const serial = hardware.serial.map((port) => port.save());
  const own = new Uint8Array(saveWithoutMemory(hardware));
  const description: Omit<StateDescription, "regions"> = {
    hardware: hardware.describe(),
    clock: clock.now(),
    disks: hardware.disks.map((disk) => disk.save()),
    adapters: hardware.adapters.map((adapter) => adapter.save()),
    serial,
  };
  const memory: RegionSource = {
    name: "memory",
    bytes: hardware.memory.bytes,
    isZero: (page) => hardware.cpu.is_memory_zeroed(page * pageBytes, pageBytes) !== 0,
  };
  const rest: RegionSource = { name: "v86", bytes: own, isZero: (page) => isZero(own.subarray(page * pageBytes, (page + 1) * pageBytes)) };
  const written = await writeState(path, description, [rest, memory], compress, control);
  if (!written.ok) throw new Error(written.error);
  return { memory: hardware.memory.size, ...written.value, milliseconds: performance.now() - began };
}

/** Loads a state into a machine that has not run yet. Throws with a reason for people. */
export async function loadMachine(hardware: Hardware, clock: VirtualClock, path: string): Promise<StateProgress> {
  const began = performance.now();
  const opened = openState(path);
  if (!opened.ok) throw new Error(refusal(path, opened.error));
  try {
    const stored = await load(hardware, clock, opened.value);
    if (!stored.ok) throw new Error(refusal(path, stored.error));
    return { memory: hardware.memory.size, stored: stored.value, file: opened.value.header.fileBytes, milliseconds: performance.now() - began };
  } finally {
    opened.value.close();
  }
}

async function load(hardware: Hardware, clock: VirtualClock, state: OpenedState): Promise<Result<number>> {
  const { description } = state;
  const difference = hardwareDifference(description.hardware, hardware.describe());
  if (difference) return err(difference);
  const own = description.regions.find((region) => region.name === "v86");
  const memory = description.regions.find((region) => region.name === "memory");
  const { disks, adapters, serial } = description;
  const isComplete =
    memory?.bytes === hardware.memory.size &&
    disks.length === hardware.disks.length &&
    adapters.length === hardware.adapters.length &&
    serial.length === hardware.serial.length &&
    hardware.disks.every((disk, index) => hasQueues(disks[index]?.virtio, disk.device)) &&
    hardware.adapters.every((adapter, index) => hasQueues(adapters[index]?.virtio, adapter.device));
  if (!own || !memory || !isComplete) return err("its description is damaged");

  // Everything is read and checked before any device is touched.
  const rest = new Uint8Array(own.bytes);
  const restRead = await state.readRegion(own, rest);
  if (!restRead.ok) return restRead;
  clearForLoad(hardware);
  const memoryRead = await state.readRegion(memory, hardware.memory.bytes);
  if (!memoryRead.ok) return memoryRead;

  // Before anything else: v86 keeps the processor's time stamps relative to this clock, and a guest whose processor jumps
  // ahead of its timers takes itself for stuck.
  clock.set(description.clock);
  try {
    restoreWithoutMemory(hardware, rest.buffer as ArrayBuffer);
  } catch (error) {
    return err(`its contents are no state of a machine: ${(error as Error).message}`);
  }
  disks.forEach((state, index) => hardware.disks[index]?.restore(state));
  adapters.forEach((state, index) => hardware.adapters[index]?.restore(state));
  serial.forEach((state, index) => hardware.serial[index]?.restore(state));
  const asserting = [...hardware.disks, ...hardware.adapters].filter(({ device }) => device.isr_status !== 0);
  hardware.interrupts.reset(asserting.map(({ device }) => device.pci_id));
  return { ok: true, value: [...own.runs, ...memory.runs].reduce((sum, [, count]) => sum + count * pageBytes, 0) };
}

function hasQueues(state: VirtioState | undefined, device: V86Virtio): boolean {
  return state?.length === virtioFields + device.queues.length;
}

const loadedBefore = new WeakSet<Hardware>();

/** Memory of a new emulator is zero but for the firmware; after a load that failed half-way it may be anything. */
function clearForLoad(hardware: Hardware): void {
  const end = loadedBefore.has(hardware) ? hardware.memory.size : Math.min(firmwareEnd, hardware.memory.size);
  loadedBefore.add(hardware);
  hardware.cpu.zero_memory(0, end);
}

/** v86 would copy the memory twice; it is written from where it lies instead. */
function saveWithoutMemory(hardware: Hardware): ArrayBuffer {
  const { cpu } = hardware;
  const pack = cpu.pack_memory;
  cpu.pack_memory = () => ({ bitmap: { get_buffer: () => new ArrayBuffer(0) }, packed_memory: new Uint8Array(0) });
  try {
    return hardware.emulator.v86.save_state();
  } finally {
    cpu.pack_memory = pack;
  }
}

function restoreWithoutMemory(hardware: Hardware, state: ArrayBuffer): void {
  const { cpu } = hardware;
  const unpack = cpu.unpack_memory;
  cpu.unpack_memory = () => undefined;
  try {
    hardware.emulator.v86.restore_state(state);
  } finally {
    cpu.unpack_memory = unpack;
  }
}

function isZero(bytes: Uint8Array): boolean {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  for (const word of words) if (word !== 0) return false;
  return bytes.subarray(words.length * 4).every((byte) => byte === 0);
}

function refusal(path: string, reason: string): string {
  return `The state ${path} cannot be loaded: ${reason}`;
}
