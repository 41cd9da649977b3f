import { gunzipSync, constants } from "node:zlib";
import type { FileInspection } from "../contract/model";

/*
 * Recognises what people may offer as an image, a kernel or an initial RAM disk, by content. Pure, and safe on any bytes:
 * it reads at fixed places within the pieces it is given and answers undefined where they are too short.
 */

/** The pieces of a file that are looked at. */
export interface Sample {
  /** The first bytes: up to `headBytes`. */
  readonly head: Uint8Array;
  /** The last 512 bytes, or fewer of a shorter file. */
  readonly tail: Uint8Array;
}

/** Through the btrfs superblock (64 KiB) and the ISO volume descriptors (sectors 16 to 31). */
export const headBytes = 128 * 1024;

export type Recognised = Pick<FileInspection, "kind" | "format" | "label" | "bootable"> & {
  /** What it is, for people: "a QCOW2 disk image". */
  readonly noun: string;
  /** A kernel that needs a 64-bit processor. */
  readonly needs64Bit?: boolean;
};

/** Bytes of plain text in Latin-1, so that signatures with high bytes can be written down. */
function has(bytes: Uint8Array, offset: number, signature: string): boolean {
  if (offset < 0 || offset + signature.length > bytes.length) return false;
  for (let i = 0; i < signature.length; i++) if (bytes[offset + i] !== signature.charCodeAt(i)) return false;
  return true;
}

export function recognise(sample: Sample): Recognised {
  return container(sample) ?? kernel(sample.head) ?? iso(sample.head) ?? initrd(sample.head) ?? document(sample.head) ?? rawDisk(sample.head) ?? { kind: "unknown", format: "unknown", noun: "nothing that Terrarium knows" };
}

/** Disk images of other programs. */
function container({ head, tail }: Sample): Recognised | undefined {
  const disk = (format: string, noun: string): Recognised => ({ kind: "disk", format, noun });
  if (has(head, 0, "QFI\xfb")) return disk("qcow2", "a QCOW2 disk image");
  if (has(head, 0, "KDMV") || has(head, 0, "COWD") || has(head, 0, "# Disk DescriptorFile")) return disk("vmdk", "a VMware disk image (VMDK)");
  if (has(head, 0x40, "\x7f\x10\xda\xbe")) return disk("vdi", "a VirtualBox disk image (VDI)");
  if (has(head, 0, "vhdxfile")) return disk("vhdx", "a Hyper-V disk image (VHDX)");
  if (has(head, 0, "conectix") || has(tail, tail.length - 512, "conectix")) return disk("vhd", "a Virtual PC disk image (VHD)");
  if (has(tail, tail.length - 512, "koly")) return disk("dmg", "an Apple disk image (DMG)");
  if (has(head, 0, "WithoutFreeSpace") || has(head, 0, "WithouFreSpacExt")) return disk("parallels", "a Parallels disk image");
  return undefined;
}

/** Linux boot protocol (Documentation/arch/x86/boot.rst): boot_flag at 0x1fe, "HdrS" at 0x202. */
function kernel(head: Uint8Array): Recognised | undefined {
  if (has(head, 0x1fe, "\x55\xaa") && has(head, 0x202, "HdrS")) {
    // xloadflags at 0x236 exist since protocol 2.12; bit 0 is XLF_KERNEL_64.
    const protocol = (head[0x207] ?? 0) * 256 + (head[0x206] ?? 0);
    const needs64Bit = protocol >= 0x20c && ((head[0x236] ?? 0) & 1) !== 0;
    return { kind: "kernel", format: "bzImage", bootable: true, noun: needs64Bit ? "a 64-bit Linux kernel" : "a Linux kernel", needs64Bit };
  }
  if (has(head, 0, "\x7fELF")) return { kind: "unknown", format: "elf", noun: "an ELF program or an unpacked kernel" };
  return undefined;
}

const sectorBytes = 2048;

/** ECMA-119 8: volume descriptors from sector 16; El Torito 1.0, 2.0: the boot record volume descriptor. */
function iso(head: Uint8Array): Recognised | undefined {
  let label: string | undefined;
  let bootable = false;
  let format: string | undefined;
  for (let sector = 16; sector < 32; sector++) {
    const at = sector * sectorBytes;
    if (has(head, at + 1, "NSR02") || has(head, at + 1, "NSR03")) format ??= "udf";
    if (!has(head, at + 1, "CD001")) {
      if (has(head, at + 1, "BEA01") || has(head, at + 1, "TEA01") || format === "udf") continue;
      break;
    }
    const type = head[at];
    if (type === 255) continue;
    if (type === 0 && has(head, at + 7, "EL TORITO SPECIFICATION")) bootable = true;
    if (type === 1) {
      format = "iso9660";
      label = volumeLabel(head.subarray(at + 40, at + 72));
    }
  }
  if (format === undefined) return undefined;
  return { kind: "iso", format, bootable, noun: "a CD or DVD image", ...(label ? { label } : {}) };
}

function volumeLabel(bytes: Uint8Array): string | undefined {
  // d-characters by the standard; real discs hold more, and hostile ones anything: only what prints is shown.
  const text = [...bytes].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : " ")).join("").trim();
  return text || undefined;
}

function isCpio(bytes: Uint8Array): boolean {
  return has(bytes, 0, "070701") || has(bytes, 0, "070702") || has(bytes, 0, "070707");
}

function initrd(head: Uint8Array): Recognised | undefined {
  if (isCpio(head)) return { kind: "initrd", format: "cpio", noun: "an initial RAM disk" };
  if (has(head, 0, "\x1f\x8b")) {
    const inside = unpackedStart(head);
    // Old initrds are compressed ext2 images, but so are compressed disks: only cpio is surely an initrd.
    return inside && isCpio(inside) ? { kind: "initrd", format: "gzip", noun: "an initial RAM disk" } : { kind: "unknown", format: "gzip", noun: "a gzip-compressed file" };
  }
  // Node cannot look into these; kernels take all of them as an initrd (usr/Kconfig).
  const packed: readonly (readonly [string, string])[] = [["\xfd7zXZ\0", "xz"], ["\x28\xb5\x2f\xfd", "zstd"], ["\x02\x21\x4c\x18", "lz4"], ["BZh", "bzip2"], ["\x5d\0\0", "lzma"], ["\x89LZO\0", "lzo"]];
  for (const [signature, format] of packed) if (has(head, 0, signature)) return { kind: "initrd", format, noun: `an initial RAM disk or another file compressed with ${format}` };
  return undefined;
}

/** The first bytes inside a gzip stream of which only the start is at hand; undefined when there is nothing to be had. */
function unpackedStart(head: Uint8Array): Uint8Array | undefined {
  try {
    // A stream that is cut off is no error with this flush; the cap keeps a bomb small.
    return gunzipSync(head.subarray(0, 16 * 1024), { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: 32 * 1024 * 1024 });
  } catch {
    return undefined; // Damaged, or a bomb: neither is an initrd.
  }
}

/** What people pick by mistake. */
function document(head: Uint8Array): Recognised | undefined {
  const known: readonly (readonly [string, string, string])[] = [
    ["%PDF", "pdf", "a PDF document"],
    ["\x89PNG", "png", "a picture"],
    ["\xff\xd8\xff", "jpeg", "a picture"],
    ["GIF8", "gif", "a picture"],
    ["PK\x03\x04", "zip", "a ZIP archive"],
    ["7z\xbc\xaf\x27\x1c", "7z", "a 7-Zip archive"],
    ["Rar!", "rar", "a RAR archive"],
    ["MZ", "exe", "a Windows program"],
    ["#!", "script", "a script"],
    ["<?xml", "xml", "an XML document"],
    ["<!DOCTYPE", "html", "a web page (perhaps a download that failed)"],
    ["<html", "html", "a web page (perhaps a download that failed)"],
  ];
  for (const [signature, format, noun] of known) if (has(head, 0, signature)) return { kind: "unknown", format, noun };
  if (has(head, 257, "ustar")) return { kind: "unknown", format: "tar", noun: "a TAR archive (an appliance, perhaps)" };
  return undefined;
}

/** A raw disk says what it is only through what was written on it. */
function rawDisk(head: Uint8Array): Recognised | undefined {
  const disk = (bootable: boolean, noun: string): Recognised => ({ kind: "disk", format: "raw", bootable, noun });
  if (has(head, 512, "EFI PART") || has(head, 4096, "EFI PART")) return disk(bootCode(head), "a raw disk image (GPT)");
  if (has(head, 0x1fe, "\x55\xaa")) return disk(bootCode(head), "a raw disk image");
  const fileSystems: readonly (readonly [number, string])[] = [[0x438, "\x53\xef"], [0, "XFSB"], [0x10040, "_BHRfS_M"], [4086, "SWAPSPACE2"], [0, "LUKS\xba\xbe"], [512, "LABELONE"], [0x410, "\x8f\x13"], [0, "hsqs"]];
  if (fileSystems.some(([offset, signature]) => has(head, offset, signature))) return disk(false, "a raw disk image without partitions");
  if (head.length >= 512 && head.every((byte) => byte === 0)) return disk(false, "an empty raw disk image");
  return undefined;
}

/** Whether the first sector holds code that a BIOS would run. */
function bootCode(head: Uint8Array): boolean {
  return has(head, 0x1fe, "\x55\xaa") && head.subarray(0, 440).some((byte) => byte !== 0);
}
