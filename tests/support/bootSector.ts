import { writeFileSync } from "node:fs";

/** What a boot sector does after it has said its word on serial port 0; 16-bit machine code. */
export const endings = {
  /** `hlt` for ever, interrupts on. */
  wait: [0xfb, 0xf4, 0xeb, 0xfd],
  /** ACPI power off: SLP_EN into PM1 control at port 0xB004. */
  powerOff: [0xba, 0x04, 0xb0, 0xb8, 0x00, 0x20, 0xef, 0xf4],
  /** The keyboard controller's reset line. */
  reset: [0xb0, 0xfe, 0xe6, 0x64, 0xf4],
  /** An interrupt in protected mode without an interrupt table: a triple fault. The table (of zeroes) is read from behind the code. */
  tripleFault: [0xfa, 0x0f, 0x01, 0x1e, 0xf8, 0x7d, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0xcc, 0xf4],
  /** A byte into the configuration of a PCI device that does not exist, which v86 0.5.462 fails on. */
  crash: [0xba, 0xf8, 0x0c, 0x66, 0xb8, 0x00, 0xf8, 0x00, 0x80, 0x66, 0xef, 0xba, 0xfc, 0x0c, 0xb0, 0x01, 0xee, 0xf4],
  /**
   * Counts the timer's ticks in memory, from 0, writes the sector with the count (16 bits, little endian) to the disk after its
   * own at each, and says it on the serial port: two characters of six bits, from the space on, and a new line (`readCounts`).
   */
  count: [0x1e, 0x07, 0xc7, 0x06, 0x00, 0x7e, 0x00, 0x00, 0xfb, 0xf4, 0xff, 0x06, 0x00, 0x7e, 0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7e, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd, 0x13, 0xa1, 0x00, 0x7e, 0x89, 0xc3, 0xba, 0xf8, 0x03, 0xc1, 0xe8, 0x06, 0x24, 0x3f, 0x04, 0x20, 0xee, 0x89, 0xd8, 0x24, 0x3f, 0x04, 0x20, 0xee, 0xb0, 0x0a, 0xee, 0xeb, 0xd1],
  /** A loop with interrupts off: a processor that is as busy as can be. */
  spin: [0xfa, 0xeb, 0xfe],
};

/** Makes a disk image whose boot sector prints `word` and then does `ending`. */
export function writeBootDisk(path: string, word: string, ending: readonly number[], bytes = 1024 * 1024): void {
  const image = Buffer.alloc(bytes);
  image.set(bootSector(word, ending), 0);
  writeFileSync(path, image);
}

/** Makes a CD image that boots without emulation (El Torito 1.0) and has nothing else on it. */
export function writeBootCd(path: string, word: string, ending: readonly number[]): void {
  const block = 2048;
  const image = Buffer.alloc(64 * block);
  image.write("\x01CD001\x01", 16 * block, "latin1");
  image.write("\x00CD001\x01EL TORITO SPECIFICATION", 17 * block, "latin1");
  image.writeUInt32LE(19, 17 * block + 0x47);
  image.write("\xffCD001\x01", 18 * block, "latin1");
  const catalog = 19 * block;
  image.set([0x01, 0x00], catalog);
  image.set([0x55, 0xaa], catalog + 0x1e);
  // Bootable, no emulation; four sectors of 512 bytes from block 20 on.
  image.set([0x88, 0x00], catalog + 0x20);
  image.writeUInt16LE(4, catalog + 0x26);
  image.writeUInt32LE(20, catalog + 0x28);
  image.set(bootSector(word, ending), 20 * block);
  writeFileSync(path, image);
}

function bootSector(word: string, ending: readonly number[]): Buffer {
  const image = Buffer.alloc(512);
  // cli's opposite first, then: mov si, text; lodsb; test al, al; jz end; mov dx, 0x3f8; out dx, al; jmp back
  const print = [0xbe, 0x00, 0x7d, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5];
  // The data segment is zero, so that the text is found at 0x7d00.
  const code = [0x31, 0xc0, 0x8e, 0xd8, ...print, ...ending];
  image.set(code, 0);
  image.write(`${word}\n\0`, 0x100, "latin1");
  image.set([0x55, 0xaa], 510);
  return image;
}

/** What `endings.count` says in these lines. */
export function readCounts(serial: string): number[] {
  return serial.split("\n").slice(0, -1).flatMap((line) => (line.length === 2 ? [(line.charCodeAt(0) - 32) * 64 + line.charCodeAt(1) - 32] : []));
}
