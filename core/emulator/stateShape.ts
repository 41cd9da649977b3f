/** What a state can be restored on: the machine must have the same. */
export interface StateHardware {
  readonly emulator: string;
  readonly devices: number;
  readonly memory: number;
  readonly disks: readonly { readonly id: string; readonly size: number; readonly readOnly: boolean; readonly inUse: boolean }[];
  readonly adapters: number;
}

export interface StateRegion {
  readonly name: "memory" | "v86";
  /** Bytes of the region; a multiple of the page's for memory. */
  readonly bytes: number;
  /** Runs of pages that are there, as first page and count, in order. */
  readonly runs: readonly (readonly [number, number])[];
  /** For each chunk its bytes in the file and the checksum of its pages before compression. */
  readonly chunks: readonly (readonly [number, number])[];
}

/** A virtio device as v86 saves it: numbers, flags, lists of numbers and its queues' lists of the same. */
export type VirtioState = readonly unknown[];

export interface DiskState {
  readonly virtio: VirtioState;
  /** Heads of the requests that have failed and run again. */
  readonly stalled: readonly number[];
  readonly size: number;
}

export interface AdapterState {
  readonly virtio: VirtioState;
  readonly mac: readonly number[];
  readonly link: boolean;
}

/** Bytes of input that the guest has not read: in the port, and before it. */
export interface SerialState {
  readonly fifo: readonly number[];
  readonly waiting: readonly number[];
}

export interface StateDescription {
  readonly hardware: StateHardware;
  readonly clock: number;
  readonly disks: readonly DiskState[];
  readonly adapters: readonly AdapterState[];
  readonly serial: readonly SerialState[];
  readonly regions: readonly StateRegion[];
}

/**
 * The shape of a state's description. A state may come from anywhere, with whatever checksum: everything that is read
 * from it later is of the kind that is expected, and no number can be one that a loop or an allocation breaks on.
 */
export function isDescription(value: unknown): value is StateDescription {
  if (!isObject(value)) return false;
  const { hardware, clock, disks, adapters, serial, regions } = value;
  return (
    isHardware(hardware) &&
    isTime(clock) &&
    isListOf(disks, isDisk) &&
    isListOf(adapters, isAdapter) &&
    isListOf(serial, isSerial) &&
    isListOf(regions, isRegion) &&
    new Set(regions.map(({ name }) => name)).size === regions.length
  );
}

/** Places of v86's list for a virtio device before its queues. */
export const virtioFields = 10;
const queueFields = 10;
/** Of all our devices. A disk keeps no more requests than that either. */
const largestQueue = 1024;

type Check<T> = (value: unknown) => value is T;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isListOf<T>(value: unknown, check: Check<T>): value is T[] {
  return Array.isArray(value) && value.every(check);
}

/** A whole number from 0 on that is exact. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

function isByte(value: unknown): value is number {
  return isCount(value) && value <= 0xff;
}

function isPair(value: unknown): value is [number, number] {
  return isListOf(value, isCount) && value.length === 2;
}

function isHardware(value: unknown): value is StateHardware {
  if (!isObject(value)) return false;
  const { emulator, devices, memory, disks, adapters } = value;
  return typeof emulator === "string" && isCount(devices) && isCount(memory) && isCount(adapters) && isListOf(disks, isDiskHardware);
}

function isDiskHardware(value: unknown): value is StateHardware["disks"][number] {
  if (!isObject(value)) return false;
  const { id, size, readOnly, inUse } = value;
  return typeof id === "string" && isCount(size) && typeof readOnly === "boolean" && typeof inUse === "boolean";
}

function isDisk(value: unknown): value is DiskState {
  return isObject(value) && isVirtio(value.virtio) && isListOf(value.stalled, isCount) && value.stalled.length <= largestQueue && isCount(value.size);
}

function isAdapter(value: unknown): value is AdapterState {
  if (!isObject(value)) return false;
  const { virtio, mac, link } = value;
  return isVirtio(virtio) && isListOf(mac, isByte) && mac.length === 6 && typeof link === "boolean";
}

function isSerial(value: unknown): value is SerialState {
  return isObject(value) && isListOf(value.fifo, isByte) && isListOf(value.waiting, isByte);
}

function isRegion(value: unknown): value is StateRegion {
  if (!isObject(value)) return false;
  const { name, bytes, runs, chunks } = value;
  return (name === "memory" || name === "v86") && isCount(bytes) && isListOf(runs, isPair) && isListOf(chunks, isPair);
}

/** v86's `get_state`: two selectors, offered and accepted features, then numbers and flags, and each queue as a list. */
function isVirtio(value: unknown): value is VirtioState {
  if (!Array.isArray(value) || value.length < virtioFields) return false;
  const fields: readonly unknown[] = value;
  return fields.every((field, index) => {
    if (index === 2 || index === 3) return isListOf(field, isCount);
    return index < virtioFields ? isScalar(field) : isQueue(field);
  });
}

/** v86's size of a queue is a power of two, which its masks rely on. */
function isQueue(value: unknown): value is readonly unknown[] {
  if (!isListOf(value, isScalar) || value.length !== queueFields) return false;
  const [size, supported] = value;
  return [size, supported].every((count) => isCount(count) && count <= largestQueue && (count & (count - 1)) === 0);
}

/** v86 keeps addresses with a sign. */
function isScalar(value: unknown): value is number | boolean {
  return typeof value === "boolean" || Number.isSafeInteger(value);
}
