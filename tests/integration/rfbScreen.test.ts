import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { V86 } from "v86";
import { guestDirectory } from "../../build/launcher/paths.mjs";
import { Display } from "../../core/emulator/framebuffer";
import { createScreen, type Screen } from "../../core/emulator/screen";

/**
 * The screen on the real v86: it guards the names and the behaviour of v86's internals that `screen.ts` relies on. The
 * guests are boot sectors of a few bytes, so that every pixel is known.
 */

interface Vga {
  screen_fill_buffer(): void;
}

interface Machine {
  emulator: V86;
  display: Display;
  screen: Screen;
  /** Draws what the guest has drawn. */
  refresh(): void;
  until(what: string, condition: () => boolean): Promise<void>;
}

const machines: Machine[] = [];
afterEach(async () => {
  for (const { emulator } of machines.splice(0)) await emulator.destroy();
});

/** v86 makes its pictures of this; Node has none. */
class Picture {
  constructor(
    readonly data: Uint8ClampedArray,
    readonly width: number,
    readonly height: number,
  ) {}
}

/** Boots the machine code in `code` at 0000:7c00, in 16-bit real mode; without it the BIOS finds nothing to boot. */
async function boot(code?: readonly number[], state?: ArrayBuffer): Promise<Machine> {
  (globalThis as { ImageData?: unknown }).ImageData ??= Picture;
  const file = (name: string): { buffer: ArrayBuffer } => {
    const bytes = readFileSync(join(guestDirectory, name));
    return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
  };
  const floppy = new Uint8Array(1440 * 1024);
  floppy.set(code ?? []);
  floppy.set([0x55, 0xaa], 510);
  const display = new Display();
  const screen = createScreen({ post: (message) => display.apply(message) });
  const emulator = new V86({
    wasm_path: join(import.meta.dirname, "../../node_modules/v86/build/v86.wasm"),
    memory_size: 32 << 20,
    vga_memory_size: 8 << 20,
    bios: file("bios.bin"),
    vga_bios: file("vgabios.bin"),
    ...(code && { fda: { buffer: floppy.buffer } }),
    // Floppy first.
    boot_order: 0x231,
    autostart: false,
    disable_speaker: true,
  });
  Object.defineProperty(emulator, "screen_adapter", { get: () => screen.adapter, set: () => undefined });
  await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
  const internals = emulator as unknown as { v86: { cpu: { devices: { vga: Vga } } } };
  const refresh = (): void => {
    internals.v86.cpu.devices.vga.screen_fill_buffer();
    screen.refresh();
  };
  const machine: Machine = {
    emulator,
    display,
    screen,
    refresh,
    async until(what, condition) {
      const end = Date.now() + 20_000;
      for (;;) {
        refresh();
        if (condition()) return;
        if (Date.now() > end) throw new Error(`never saw ${what}; the screen says:\n${screen.textRows().join("\n")}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
  machines.push(machine);
  if (state) {
    await emulator.restore_state(state);
    screen.invalidate();
  } else {
    await emulator.run();
  }
  return machine;
}

/** A pixel as 0xRRGGBB. */
function pixel(display: Display, x: number, y: number): number {
  const at = (y * display.width + x) * 4;
  return Buffer.from(display.pixels.subarray(at, at + 3)).readUIntBE(0, 3);
}

/** Runs a video mode's call of the BIOS, fills 64 KB from a000:0000 with bytes counting up, and stops. */
const fillAfter = (setMode: readonly number[]): number[] => [
  ...setMode,
  0xb8, 0x00, 0xa0, // mov ax, 0xa000
  0x8e, 0xc0, // mov es, ax
  0x31, 0xff, // xor di, di
  0x31, 0xc0, // xor ax, ax
  0xfc, // cld
  0xaa, // again: stosb
  0xfe, 0xc0, // inc al
  0x85, 0xff, // test di, di
  0x75, 0xf9, // jnz again
  0xf4, // hlt
  0xeb, 0xfd, // jmp back to hlt
];

describe("the screen of a real v86", () => {
  it("shows the BIOS's text in the BIOS's font", async () => {
    const { screen, display, until } = await boot();
    await until("the BIOS's last message", () => screen.textRows().some((row) => row.startsWith("No bootable device")));
    expect([display.width, display.height]).toEqual([720, 400]);
    expect(screen.textRows()[0]).toMatch(/^SeaBIOS \(version /);
    // The S of SeaBIOS in the first cell: grey on black, and not filled. v86 makes 0xa8 of two thirds (42 of 63).
    const cell = Array.from({ length: 16 * 9 }, (_, i) => pixel(display, i % 9, Math.floor(i / 9)));
    expect(new Set(cell)).toEqual(new Set([0x000000, 0xa8a8a8]));
    // An "e" looks the same wherever it stands: columns 1 of "SeaBIOS" and 9 of "(version".
    const glyph = (column: number): string => Array.from({ length: 16 * 9 }, (_, i) => pixel(display, column * 9 + (i % 9), Math.floor(i / 9))).join();
    expect(glyph(10)).toBe(glyph(1));
    expect(glyph(10)).not.toBe(glyph(0));
  });

  it("posts nothing while the guest draws nothing", async () => {
    const { screen, display, refresh, until } = await boot();
    await until("the BIOS's last message", () => screen.textRows().some((row) => row.startsWith("No bootable device")));
    let changes = 0;
    display.onDidChange(() => changes++);
    for (let i = 0; i < 30; i++) {
      refresh();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(changes).toBe(0);
  });

  it("shows VGA's mode of 320 x 200 in 256 colours", async () => {
    const { display, until } = await boot(fillAfter([0xb8, 0x13, 0x00, 0xcd, 0x10]));
    await until("the last pixel", () => display.width === 320 && pixel(display, 100, 199) !== 0);
    expect([display.width, display.height]).toEqual([320, 200]);
    // The BIOS's palette: 1 is blue, 4 is red, 15 is white; each line of 320 begins 64 colours later.
    expect([1, 4, 15].map((x) => pixel(display, x, 0))).toEqual([0x0000a8, 0xa80000, 0xffffff]);
    expect(pixel(display, 256 - 64 + 4, 1)).toBe(0xa80000);
  });

  it("shows VGA's mode of 640 x 480 in 16 colours", async () => {
    // All four planes get the bytes, so that set bits are white.
    const { display, until } = await boot(fillAfter([0xb8, 0x12, 0x00, 0xcd, 0x10]));
    await until("the last pixel", () => display.width === 640 && pixel(display, 639, 400) !== 0);
    expect([display.width, display.height]).toEqual([640, 480]);
    const line = Array.from({ length: 32 }, (_, x) => (pixel(display, x, 0) ? "#" : "."));
    expect(line.join("")).toBe("...............#......#.......##");
    expect(pixel(display, 31, 0)).toBe(0xffffff);
  });

  it("shows a VESA mode of 800 x 600 in true colours", async () => {
    // Mode 0x115 through the window at a000: blue, green, red and, in 32 bits, one more byte a pixel.
    const { display, until } = await boot(fillAfter([0xb8, 0x02, 0x4f, 0xbb, 0x15, 0x01, 0xcd, 0x10]));
    await until("the last pixel of the window", () => display.width === 800 && pixel(display, 100, 20) !== 0);
    expect([display.width, display.height]).toEqual([800, 600]);
    const first = pixel(display, 0, 0);
    const second = pixel(display, 1, 0);
    expect(first).toBe(0x020100);
    expect([0x050403, 0x060504]).toContain(second);
    expect(pixel(display, 0, 599)).toBe(0);
  });

  it("is the same after its state was loaded into another machine, in text and in graphics", async () => {
    for (const code of [undefined, fillAfter([0xb8, 0x13, 0x00, 0xcd, 0x10]), fillAfter([0xb8, 0x02, 0x4f, 0xbb, 0x15, 0x01, 0xcd, 0x10])]) {
      const first = await boot(code);
      await first.until("its picture", () =>
        code === undefined
          ? first.screen.textRows().some((row) => row.startsWith("No bootable device"))
          : !first.screen.textRows().length && pixel(first.display, 100, 20) !== 0,
      );
      await first.emulator.stop();
      first.refresh();
      const state = await first.emulator.save_state();
      const second = await boot(code, state);
      second.refresh();
      expect([second.display.width, second.display.height]).toEqual([first.display.width, first.display.height]);
      expect(second.screen.textRows()).toEqual(first.screen.textRows());
      expect(Buffer.from(second.display.pixels).equals(Buffer.from(first.display.pixels))).toBe(true);
    }
  });
});
