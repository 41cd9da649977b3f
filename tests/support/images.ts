/** Smallest files that are what they say, made here byte by byte. */

function at(size: number, ...parts: readonly (readonly [number, string | readonly number[]])[]): Buffer {
  const bytes = Buffer.alloc(size);
  for (const [offset, content] of parts) {
    if (typeof content === "string") bytes.write(content, offset, "latin1");
    else bytes.set(content, offset);
  }
  return bytes;
}

export function isoImage(options: { label?: string; bootable?: boolean } = {}): Buffer {
  const sector = 2048;
  const { label = "DEBIAN 12", bootable = true } = options;
  return at(
    20 * sector,
    [16 * sector, [1]],
    [16 * sector + 1, "CD001\x01"],
    [16 * sector + 40, label.padEnd(32)],
    ...(bootable ? ([[17 * sector, [0]], [17 * sector + 1, "CD001\x01EL TORITO SPECIFICATION"]] as const) : ([[17 * sector, [2]], [17 * sector + 1, "CD001\x01"]] as const)),
    [18 * sector, [255]],
    [18 * sector + 1, "CD001\x01"],
  );
}

export function mbrDisk(sizeBytes = 1024 * 1024, bootable = true): Buffer {
  return at(sizeBytes, ...(bootable ? ([[0, [0xeb, 0x63, 0x90]]] as const) : []), [0x1fe, [0x55, 0xaa]]);
}

export function gptDisk(): Buffer {
  return at(1024 * 1024, [0x1fe, [0x55, 0xaa]], [512, "EFI PART"]);
}

export function kernelImage(options: { is64Bit?: boolean } = {}): Buffer {
  return at(64 * 1024, [0x1fe, [0x55, 0xaa]], [0x202, "HdrS"], [0x206, [0x0f, 0x02]], [0x236, [options.is64Bit ? 1 : 0]]);
}

export function cpioArchive(): Buffer {
  return Buffer.from(`070701${"0".repeat(8 * 13)}TRAILER!!!\0`.padEnd(512, "\0"), "latin1");
}

export function qcow2Image(): Buffer {
  return at(64 * 1024, [0, "QFI\xfb"], [4, [0, 0, 0, 3]]);
}
