import type { SystemArch } from "./systems";

/** What the partition table of a disk tells of the system on it. */
export interface PartitionHints {
  /** A family of `systems.ts`. */
  readonly family?: string;
  readonly arch?: SystemArch;
  /** What the disk is laid out to be started by. */
  readonly firmwares: readonly ("bios" | "uefi")[];
}

interface Meaning {
  readonly family?: string;
  readonly arch?: SystemArch;
  readonly firmware?: "bios" | "uefi";
}

/** UEFI specification 2.10, 5.3.3, and each system's own list of types. */
const gptTypes: Readonly<Record<string, Meaning>> = {
  "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": { firmware: "uefi" }, // EFI system partition
  "21686148-6449-6e6f-744e-656564454649": { firmware: "bios" }, // where GRUB keeps its core for the BIOS
  "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": { family: "linux", arch: "x86_64" }, // root, Discoverable Partitions Specification
  "44479540-f297-41b2-9af7-d131d5f0458a": { family: "linux", arch: "i386" },
  "0fc63daf-8483-4772-8e79-3d69d8477de4": { family: "linux" },
  "e6d6d379-f507-44c2-a23c-238f2a3df928": { family: "linux" }, // LVM
  "e3c9e316-0b5c-4db8-817d-f92df00215ae": { family: "windows-10-or-11", arch: "x86_64" }, // Microsoft reserved
  "83bd6b9d-7f41-11dc-be0b-001560b84f0f": { family: "freebsd", firmware: "bios" }, // boot
  "516e7cb6-6ecf-11d6-8ff8-00022d09712b": { family: "freebsd" }, // UFS
  "516e7cba-6ecf-11d6-8ff8-00022d09712b": { family: "freebsd" }, // ZFS
  "824cc7a0-36a8-11e3-890a-952519ad3f61": { family: "openbsd" },
  "49f48d5a-b10e-11dc-b99b-0019d1879648": { family: "netbsd" }, // FFS
};

/** Types that only one family uses; 0x07 (NTFS, exFAT) and 0x0c (FAT) say nothing. */
const mbrTypes: Readonly<Record<number, Meaning>> = { 0x83: { family: "linux" }, 0x8e: { family: "linux" }, 0xa5: { family: "freebsd" }, 0xa6: { family: "openbsd" }, 0xa9: { family: "netbsd" } };

const mostEntries = 128;

/** From the first bytes of a raw disk; safe on any. */
export function partitionHints(head: Uint8Array): PartitionHints {
  const view = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const meanings = [...gptMeanings(view)];
  if (meanings.length === 0) meanings.push(...mbrMeanings(view));
  const family = meanings.find((meaning) => meaning.family !== undefined)?.family;
  const arch = meanings.find((meaning) => meaning.arch !== undefined)?.arch;
  const firmwares = new Set(meanings.map((meaning) => meaning.firmware));
  // Code in the first sector is run by a BIOS, whatever the partitions are.
  if (view.length >= 512 && view.readUInt16LE(510) === 0xaa55 && view.subarray(0, 440).some((byte) => byte !== 0)) firmwares.add("bios");
  return { ...(family === undefined ? {} : { family }), ...(arch === undefined ? {} : { arch }), firmwares: (["bios", "uefi"] as const).filter((firmware) => firmwares.has(firmware)) };
}

/** UEFI specification 2.10, 5.3.2: the header in the second sector says where the entries are. */
function* gptMeanings(head: Buffer): Generator<Meaning> {
  for (const sectorBytes of [512, 4096]) {
    if (head.length < sectorBytes + 92 || head.toString("latin1", sectorBytes, sectorBytes + 8) !== "EFI PART") continue;
    const start = Number(head.readBigUInt64LE(sectorBytes + 72)) * sectorBytes;
    const count = Math.min(head.readUInt32LE(sectorBytes + 80), mostEntries);
    const entryBytes = head.readUInt32LE(sectorBytes + 84);
    if (entryBytes < 128) continue;
    for (let index = 0; index < count; index++) {
      const at = start + index * entryBytes;
      if (!Number.isSafeInteger(at) || at + 16 > head.length) break;
      const meaning = gptTypes[guid(head.subarray(at, at + 16))];
      if (meaning) yield meaning;
    }
  }
}

function* mbrMeanings(head: Buffer): Generator<Meaning> {
  if (head.length < 512 || head.readUInt16LE(510) !== 0xaa55) return;
  for (let entry = 0; entry < 4; entry++) {
    const meaning = mbrTypes[head[446 + entry * 16 + 4] ?? 0];
    if (meaning) yield meaning;
  }
}

/** The first three fields are little-endian (UEFI specification 2.10, appendix A). */
export function guid(bytes: Buffer): string {
  const hex = (from: number, to: number, reversed = false): string => (reversed ? Buffer.from(bytes.subarray(from, to)).reverse() : bytes.subarray(from, to)).toString("hex");
  return [hex(0, 4, true), hex(4, 6, true), hex(6, 8, true), hex(8, 10), hex(10, 16)].join("-");
}
