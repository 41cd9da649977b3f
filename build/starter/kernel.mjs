// Makes the fast kernel for cold boots: the same kernel with its payload already unpacked. Unpacking 5 MB of xz takes an
// emulated processor seconds; copying the unpacked image takes the emulator nothing.
//
// A bzImage is the real-mode setup followed by the protected-mode part, which every loader copies to 1 MiB and enters at
// its first byte (Linux Documentation/arch/x86/boot.rst). So the new protected-mode part is: a stub at 1 MiB that jumps
// to the kernel's entry, zeros, and the segments of the unpacked ELF image, each at its physical address less 1 MiB. The
// loader's contract for the stub and for the kernel's own entry is the same: flat segments, paging off, ESI at the boot
// parameters.

import { readSegments } from "./elf.mjs";

const loadAddress = 0x100000;
const sectorBytes = 512;

/** Offsets into the setup header, boot.rst "Details of header fields". */
const field = {
  setupSectors: 0x1f1,
  sizeInParagraphs: 0x1f4,
  magic: 0x202,
  version: 0x206,
  loadFlags: 0x211,
  relocatable: 0x234,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
};

/** The compressed payload of a bzImage, without the four bytes of its unpacked size that the kernel build appends. */
export function compressedPayload(bzImage) {
  const protectedPart = setupBytes(bzImage);
  const start = protectedPart + bzImage.readUInt32LE(field.payloadOffset);
  const end = start + bzImage.readUInt32LE(field.payloadLength) - 4;
  if (end > bzImage.length || end <= start) throw new Error("the kernel image is cut off inside its payload");
  const payload = bzImage.subarray(start, end);
  if (payload.readUIntBE(0, 6) !== 0xfd377a585a00) throw new Error("the kernel's payload is not compressed with xz");
  return payload;
}

/**
 * The bzImage with the ELF image `unpacked` (what its payload unpacks to) in place of the compressed payload.
 * @param {Buffer} bzImage
 * @param {Buffer} unpacked
 */
export function withUnpackedPayload(bzImage, unpacked) {
  const setup = Buffer.from(bzImage.subarray(0, setupBytes(bzImage)));
  const { entry, segments } = readSegments(unpacked);
  if (segments.length === 0) throw new Error("the unpacked kernel has nothing to load");
  const entrySegment = segments.find((one) => within(entry, one.physical, one) || within(entry, one.virtual, one));
  if (entrySegment === undefined) throw new Error("the unpacked kernel's entry point lies in none of its segments");
  const physicalEntry = within(entry, entrySegment.physical, entrySegment)
    ? entry
    : entry - entrySegment.virtual + entrySegment.physical;

  const stub = Buffer.from([0xb8, 0, 0, 0, 0, 0xff, 0xe0]); // mov eax, physicalEntry; jmp eax
  stub.writeUInt32LE(physicalEntry, 1);
  const end = Math.max(...segments.map((one) => one.physical + one.fileSize));
  const length = Math.ceil((end - loadAddress) / 16) * 16;
  const image = Buffer.alloc(length);
  for (const one of segments) {
    if (one.physical < loadAddress + stub.length) throw new Error("a segment of the kernel lies where the stub must be");
    if (one.offset + one.fileSize > unpacked.length) throw new Error("the unpacked kernel is cut off");
    unpacked.copy(image, one.physical - loadAddress, one.offset, one.offset + one.fileSize);
  }
  stub.copy(image, 0);

  setup.writeUInt32LE(length / 16, field.sizeInParagraphs);
  setup.writeUInt8(0, field.relocatable); // the segments are at fixed addresses now
  setup.writeUInt32LE(0, field.payloadOffset);
  setup.writeUInt32LE(0, field.payloadLength);
  return Buffer.concat([setup, image]);
}

function within(address, start, segment) {
  return address >= start && address < start + segment.fileSize;
}

function setupBytes(bzImage) {
  const isKernel =
    bzImage.length > 0x260 && bzImage.toString("latin1", field.magic, field.magic + 4) === "HdrS";
  if (!isKernel) throw new Error("not a Linux kernel in bzImage form");
  if (bzImage.readUInt16LE(field.version) < 0x20a || (bzImage[field.loadFlags] & 1) === 0) {
    throw new Error("a kernel image of a form too old to be unpacked");
  }
  return ((bzImage[field.setupSectors] || 4) + 1) * sectorBytes;
}
