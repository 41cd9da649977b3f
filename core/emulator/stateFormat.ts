import { err, ok, type Result } from "../base/result";
import { isDescription, type StateDescription, type StateHardware } from "./stateShape";

export type { StateDescription, StateHardware, StateRegion } from "./stateShape";

/**
 * A saved machine in one file. Layout, all numbers little-endian:
 *
 *   0    header, 64 bytes: magic, format version, flags, bytes of the file, place and bytes of the description,
 *        checksum of the description, checksum of the header
 *   4096 pages of the regions, in chunks of at most 1 MiB, one after another; pages of zeroes are left out
 *   ...  the description: JSON with the hardware, the versions, the devices' states and, for each region (the guest's
 *        memory, v86's own state), which pages are there and each chunk's bytes and checksum
 *
 * The header is written last, so a file that was cut short has none. Everything is checked before it is used:
 * lengths against the file's, the description against its checksum, each chunk against its own.
 */
export const stateMagic = "TERRASTA";
export const stateVersion = 1;
export const headerBytes = 64;
export const firstChunkAt = 4096;
export const pageBytes = 4096;
export const chunkPages = 256;
/** The largest machine with every other page zero, which is the longest description there is, stays below half of this. */
export const maxDescriptionBytes = 16 * 1024 * 1024;

export interface StateHeader {
  readonly compressed: boolean;
  readonly fileBytes: number;
  readonly descriptionAt: number;
  readonly descriptionBytes: number;
  readonly descriptionChecksum: number;
}

/** v86's own state is the screen's memory of 8 MiB and little else. */
export const maxOwnBytes = 64 * 1024 * 1024;
/** More than v86 can address. */
export const maxMemoryBytes = 4 * 1024 * 1024 * 1024;

export function emitHeader(header: StateHeader): Uint8Array {
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  new TextEncoder().encodeInto(stateMagic, bytes);
  view.setUint32(8, stateVersion, true);
  view.setUint32(12, header.compressed ? 1 : 0, true);
  view.setBigUint64(16, BigInt(header.fileBytes), true);
  view.setBigUint64(24, BigInt(header.descriptionAt), true);
  view.setUint32(32, header.descriptionBytes, true);
  view.setUint32(36, header.descriptionChecksum, true);
  view.setUint32(60, checksum(bytes.subarray(0, 60)), true);
  return bytes;
}

/** `fileBytes` is what the file really has. */
export function parseHeader(bytes: Uint8Array, fileBytes: number): Result<StateHeader> {
  const magic = new TextDecoder("latin1").decode(bytes.subarray(0, 8));
  if (bytes.length < headerBytes || magic !== stateMagic) return err("it is not a saved state");
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  if (view.getUint32(60, true) !== checksum(bytes.subarray(0, 60))) return err("its header is damaged");
  const version = view.getUint32(8, true);
  if (version !== stateVersion) return err(`it has format ${version}, and this emulator reads format ${stateVersion}`);
  const header = {
    compressed: view.getUint32(12, true) === 1,
    fileBytes: Number(view.getBigUint64(16, true)),
    descriptionAt: Number(view.getBigUint64(24, true)),
    descriptionBytes: view.getUint32(32, true),
    descriptionChecksum: view.getUint32(36, true),
  };
  if (header.fileBytes !== fileBytes) return err(`it has ${fileBytes} bytes and should have ${header.fileBytes}: it was cut short or changed`);
  if (
    header.descriptionBytes > maxDescriptionBytes ||
    header.descriptionAt < firstChunkAt ||
    header.descriptionAt + header.descriptionBytes !== fileBytes
  ) {
    return err("its header is damaged");
  }
  return ok(header);
}

/** Checks a description: its checksum, its shape, and that its chunks are what lies before it in the file. */
export function parseDescription(bytes: Uint8Array, header: StateHeader): Result<StateDescription> {
  if (checksum(bytes) !== header.descriptionChecksum) return err("its description is damaged");
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return err("its description is damaged");
  }
  if (!isDescription(value)) return err("its description is damaged");
  let at = firstChunkAt;
  for (const region of value.regions) {
    if (region.bytes > (region.name === "v86" ? maxOwnBytes : maxMemoryBytes)) return err("its description is damaged");
    let end = 0;
    let pages = 0;
    for (const [first, count] of region.runs) {
      if (first < end || count < 1 || (first + count - 1) * pageBytes >= region.bytes) return err("its description is damaged");
      end = first + count;
      pages += count;
    }
    if (region.chunks.length !== Math.ceil(pages / chunkPages)) return err("its description is damaged");
    for (const [length] of region.chunks) {
      if (!(length > 0 && length <= 2 * chunkPages * pageBytes)) return err("its description is damaged");
      at += length;
    }
  }
  return at === header.descriptionAt ? ok(value) : err("its description is damaged");
}

/** Why a state cannot be restored on a machine, or undefined when it can. */
export function hardwareDifference(saved: StateHardware, machine: StateHardware): string | undefined {
  if (saved.emulator !== machine.emulator) return `it was saved by emulator ${saved.emulator}, and this one is ${machine.emulator}`;
  if (saved.devices !== machine.devices) return `it was saved with device model ${saved.devices}, and this one is ${machine.devices}`;
  if (saved.memory !== machine.memory) {
    return `it was saved with ${saved.memory / 2 ** 20} MiB of memory, and the machine has ${machine.memory / 2 ** 20} MiB`;
  }
  if (saved.adapters !== machine.adapters) return `it was saved with ${saved.adapters} adapters, and the machine has ${machine.adapters}`;
  if (saved.disks.length !== machine.disks.length) {
    return `it was saved with ${saved.disks.length} disks, and the machine has ${machine.disks.length}`;
  }
  for (const [index, disk] of saved.disks.entries()) {
    const now = machine.disks[index];
    // A disk that no driver has looked at yet may be another one: this is how one state serves many machines.
    if (!now || !disk.inUse) continue;
    if (disk.size !== now.size) return `${disk.id} had ${disk.size} bytes when it was saved and has ${now.size}`;
    if (disk.readOnly !== now.readOnly) return `${disk.id} was ${disk.readOnly ? "read-only" : "writable"} when it was saved`;
  }
  return undefined;
}

/**
 * A checksum for damage, not for malice: four lanes of multiply and add over 32-bit words, so that it runs at memory
 * speed. A change of any one word changes it for certain.
 */
export function checksum(bytes: Uint8Array, seed = 0): number {
  let a = 0x811c9dc5 ^ seed;
  let b = 0x01000193 ^ bytes.length;
  let c = 0x2545f491;
  let d = 0x9e3779b1;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2);
  const quads = words.length & ~3;
  for (let i = 0; i < quads; i += 4) {
    a = Math.imul(a ^ (words[i] as number), 0x85ebca6b);
    b = Math.imul(b ^ (words[i + 1] as number), 0xc2b2ae35);
    c = Math.imul(c ^ (words[i + 2] as number), 0x27d4eb2f);
    d = Math.imul(d ^ (words[i + 3] as number), 0x165667b1);
    // Multiplying only carries upwards: the high half must reach the low one.
    a ^= a >>> 15;
    b ^= b >>> 15;
    c ^= c >>> 15;
    d ^= d >>> 15;
  }
  for (let i = quads * 4; i < aligned.length; i++) {
    a = Math.imul(a ^ (aligned[i] as number), 0x01000193);
    a ^= a >>> 15;
  }
  return (Math.imul(a, 31) ^ Math.imul(b, 0x1f35) ^ Math.imul(c, 0x27d5) ^ d) >>> 0;
}
