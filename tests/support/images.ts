/** Smallest files that are what they say, made here byte by byte. */

function at(size: number, ...parts: readonly (readonly [number, string | readonly number[]])[]): Buffer {
  const bytes = Buffer.alloc(size);
  for (const [offset, content] of parts) {
    if (typeof content === "string") bytes.write(content, offset, "latin1");
    else bytes.set(content, offset);
  }
  return bytes;
}

/** El Torito's platforms: 0 is the BIOS, 0xEF UEFI. */
export function isoImage(options: { label?: string; bootable?: boolean; platforms?: readonly number[] } = {}): Buffer {
  const sector = 2048;
  const { label = "DEBIAN 12", bootable = true, platforms = [0] } = options;
  const [first = 0, ...others] = platforms;
  const catalogue: (readonly [number, string | readonly number[]])[] = [
    [19 * sector, [1, first]],
    [19 * sector + 30, [0x55, 0xaa, 0x88]],
    ...others.flatMap((platform, index) => [[19 * sector + 64 + index * 64, [index === others.length - 1 ? 0x91 : 0x90, platform, 1]], [19 * sector + 96 + index * 64, [0x88]]] as const),
  ];
  return at(
    20 * sector,
    [16 * sector, [1]],
    [16 * sector + 1, "CD001\x01"],
    [16 * sector + 40, label.padEnd(32)],
    ...(bootable ? ([[17 * sector, [0]], [17 * sector + 1, "CD001\x01EL TORITO SPECIFICATION"], [17 * sector + 0x47, [19]], ...catalogue] as const) : ([[17 * sector, [2]], [17 * sector + 1, "CD001\x01"]] as const)),
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

/** Of a sparse VMDK; 0 sectors make it one that only points to other files. */
export function vmdkHeader(sectors: number, descriptor = ""): Buffer {
  return at(64 * 1024, [0, "KDMV"], [4, [1]], [12, [sectors & 255, (sectors >> 8) & 255, (sectors >> 16) & 255]], [28, [1]], [36, [20]], [512, descriptor]);
}
