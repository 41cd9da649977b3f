import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Display, type Rectangle } from "../../../core/emulator/framebuffer";
import { createScreen, type Screen, type ScreenMessage } from "../../../core/emulator/screen";

const grey = 0xaaaaaa;
const blue = 0x0000aa;

/** A font plane whose glyph of character c has the bits of c in each line of font 0, and their complement in font 1. */
function createFont(): Uint8Array {
  const plane = new Uint8Array(65536);
  for (let character = 0; character < 256; character++) {
    plane.fill(character, character * 32, character * 32 + 32);
    plane.fill(~character, 8192 + character * 32, 8192 + character * 32 + 32);
  }
  return plane;
}

function createTextScreen(options: { height?: number; nine?: boolean; double?: boolean; columns?: number; rows?: number } = {}): {
  screen: Screen;
  display: Display;
  messages: ScreenMessage[];
  put: (row: number, column: number, character: number, flags?: number) => void;
} {
  const messages: ScreenMessage[] = [];
  const display = new Display();
  const screen = createScreen({
    post: (message) => {
      messages.push(message);
      display.apply(message);
    },
  });
  const { adapter } = screen;
  adapter.set_mode(false);
  adapter.set_font_bitmap(options.height ?? 16, options.nine ?? true, options.double ?? false, true, createFont(), true);
  adapter.set_size_text(options.columns ?? 80, options.rows ?? 25);
  const put = (row: number, column: number, character: number, flags = 0): void => adapter.put_char(row, column, character, flags, blue, grey);
  return { screen, display, messages, put };
}

/** A pixel as 0xRRGGBB. */
function pixel(display: Display, x: number, y: number): number {
  const at = (y * display.width + x) * 4;
  const [red = 0, green = 0, blue_ = 0] = display.pixels.subarray(at, at + 3);
  return (red << 16) | (green << 8) | blue_;
}

function cellLine(display: Display, row: number, column: number, line: number, width: number, height: number): string {
  return Array.from({ length: width }, (_, x) => (pixel(display, column * width + x, row * height + line) === grey ? "#" : ".")).join("");
}

const updates = (messages: readonly ScreenMessage[]): Rectangle[] =>
  messages.flatMap((message) => {
    if (message.type !== "screen-update") return [];
    const numbers = [...message.rectangles];
    const rectangles: Rectangle[] = [];
    while (numbers.length > 0) {
      const [x = 0, y = 0, width = 0, height = 0] = numbers.splice(0, 4);
      rectangles.push({ x, y, width, height });
    }
    return rectangles;
  });

describe("a text screen", () => {
  it("is 720 x 400 pixels with 80 columns of 9 and 25 rows of 16", () => {
    const { screen, display } = createTextScreen();
    screen.refresh();
    expect([display.width, display.height]).toEqual([720, 400]);
  });

  it("draws the guest's own glyphs, eight dots and a gap, in the cell's colours", () => {
    const { screen, display, put } = createTextScreen();
    put(1, 2, 0b01000010);
    screen.refresh();
    for (const line of [0, 15]) expect(cellLine(display, 1, 2, line, 9, 16)).toBe(".#....#..");
    expect(pixel(display, 2 * 9, 16)).toBe(blue);
    expect(pixel(display, 0, 0)).toBe(0);
  });

  it("repeats the eighth dot of line-drawing characters in the ninth column, and of no other", () => {
    const { screen, display, put } = createTextScreen();
    put(0, 0, 0xc1);
    put(0, 1, 0x41);
    screen.refresh();
    expect(cellLine(display, 0, 0, 0, 9, 16)).toBe("##.....##");
    expect(cellLine(display, 0, 1, 0, 9, 16)).toBe(".#.....#.");
  });

  it("draws glyphs of 8 dots and of double width", () => {
    const eight = createTextScreen({ nine: false, height: 8, rows: 50 });
    eight.put(49, 79, 0x81);
    eight.screen.refresh();
    expect([eight.display.width, eight.display.height]).toEqual([640, 400]);
    expect(cellLine(eight.display, 49, 79, 7, 8, 8)).toBe("#......#");
    const double = createTextScreen({ nine: false, double: true, columns: 40 });
    double.put(0, 0, 0xa0);
    double.screen.refresh();
    expect(double.display.width).toBe(640);
    expect(cellLine(double.display, 0, 0, 0, 16, 16)).toBe("##..##..........");
  });

  it("takes glyphs of the second font for cells that say so", () => {
    const { screen, display, put } = createTextScreen();
    screen.adapter.set_font_page(0, 1);
    put(0, 0, 0x0f, screen.adapter.FLAG_FONT_PAGE_B);
    put(0, 1, 0x0f);
    screen.refresh();
    expect(cellLine(display, 0, 0, 0, 9, 16)).toBe("####.....");
    expect(cellLine(display, 0, 1, 0, 9, 16)).toBe("....####.");
  });

  it("shows blinking text all the time", () => {
    const { screen, display, put } = createTextScreen();
    put(0, 0, 0xff, screen.adapter.FLAG_BLINKING);
    screen.refresh();
    expect(cellLine(display, 0, 0, 0, 9, 16)).toBe("########.");
  });

  it("draws the cursor on its scanlines and takes it away where it was", () => {
    const { screen, display, put } = createTextScreen();
    for (let column = 0; column < 3; column++) put(0, column, 0);
    screen.adapter.update_cursor_scanline(13, 14, true);
    screen.adapter.update_cursor(0, 1);
    screen.refresh();
    expect([12, 13, 14, 15].map((line) => cellLine(display, 0, 1, line, 9, 16))).toEqual([".........", "#########", "#########", "........."]);
    screen.adapter.update_cursor(0, 2);
    screen.refresh();
    expect(cellLine(display, 0, 1, 13, 9, 16)).toBe(".........");
    expect(cellLine(display, 0, 2, 13, 9, 16)).toBe("#########");
    screen.adapter.update_cursor_scanline(13, 14, false);
    screen.refresh();
    expect(cellLine(display, 0, 2, 13, 9, 16)).toBe(".........");
  });

  it("posts nothing while nothing changes, and only what changed when something does", () => {
    const { screen, messages, put } = createTextScreen();
    for (let column = 0; column < 80; column++) put(3, column, 0x41);
    screen.refresh();
    messages.length = 0;
    screen.refresh();
    // The guest writes what is there already, as scrolling an empty screen does.
    for (let column = 0; column < 80; column++) put(3, column, 0x41);
    screen.refresh();
    expect(messages).toEqual([]);
    put(3, 10, 0x42);
    screen.refresh();
    const [changed, ...more] = updates(messages);
    expect(more).toEqual([]);
    expect(changed).toEqual({ x: 80, y: 48, width: 32, height: 16 });
  });

  it("draws everything again after a state was loaded", () => {
    const { screen, display, messages, put } = createTextScreen();
    put(24, 79, 0xff);
    screen.refresh();
    messages.length = 0;
    screen.invalidate();
    screen.refresh();
    expect(updates(messages)).toEqual([{ x: 0, y: 0, width: display.width, height: display.height }]);
  });

  it("tells its text, with the line-drawing characters of the PC's font", () => {
    const { screen, put } = createTextScreen();
    Array.from("a~").forEach((character, column) => put(0, column, character.charCodeAt(0)));
    [0xc9, 0xcd, 0xb0, 0x01, 0xe1, 0x00].forEach((character, column) => put(1, column, character));
    expect(screen.textRows()).toHaveLength(25);
    expect(screen.textRows()[0]).toBe("a~".padEnd(80));
    expect(screen.textRows()[1]).toBe("╔═░☺ß".padEnd(80));
  });

  it("survives whatever a guest in between two modes says", () => {
    const number = fc.integer({ min: -5, max: 5000 });
    const call = fc.oneof(
      fc.record({ kind: fc.constant("size" as const), a: number, b: number }),
      fc.record({ kind: fc.constant("put" as const), a: number, b: number }),
      fc.record({ kind: fc.constant("cursor" as const), a: number, b: number }),
      fc.record({ kind: fc.constant("shape" as const), a: number, b: number }),
      fc.record({ kind: fc.constant("font" as const), a: fc.nat({ max: 33 }), b: fc.nat({ max: 3 }) }),
      fc.record({ kind: fc.constant("refresh" as const), a: number, b: number }),
    );
    fc.assert(
      fc.property(fc.array(call, { maxLength: 40 }), (calls) => {
        const { screen, display, put } = createTextScreen();
        const { adapter } = screen;
        for (const { kind, a, b } of [...calls, { kind: "refresh" as const, a: 0, b: 0 }]) {
          if (kind === "size") adapter.set_size_text(a, b);
          else if (kind === "put") put(a, b, a & 0xff);
          else if (kind === "cursor") adapter.update_cursor(a, b);
          else if (kind === "shape") adapter.update_cursor_scanline(a, b, true);
          else if (kind === "font") adapter.set_font_bitmap(a, b === 1, b === 2, true, createFont(), b === 3);
          else screen.refresh();
        }
        expect(display.width).toBeLessThanOrEqual(4096);
        expect(display.pixels.length).toBe(display.width * display.height * 4);
      }),
      { numRuns: 40 },
    );
  });
});

interface Picture {
  data: Uint8ClampedArray;
  width: number;
  height: number;
}

function createPicture(width: number, height: number, colour = 0): Picture {
  const data = new Uint8ClampedArray(width * height * 4);
  new Uint32Array(data.buffer).fill((0xff000000 | colour) >>> 0);
  return { data, width, height };
}

function layerOf(image_data: Picture, part: Partial<Record<"screen_x" | "screen_y" | "buffer_x" | "buffer_y" | "buffer_width" | "buffer_height", number>> = {}) {
  return { image_data, screen_x: 0, screen_y: 0, buffer_x: 0, buffer_y: 0, buffer_width: image_data.width, buffer_height: image_data.height, ...part };
}

function createGraphicsScreen(width: number, height: number): { screen: Screen; display: Display; messages: ScreenMessage[] } {
  const created = createTextScreen();
  created.screen.adapter.set_mode(true);
  created.screen.adapter.set_size_graphical(width, height, width, height);
  return created;
}

describe("a graphics screen", () => {
  it("shows the picture, and posts only the tiles in which it changes", () => {
    const { screen, display, messages } = createGraphicsScreen(320, 200);
    const picture = createPicture(320, 200, 0x112233);
    screen.adapter.update_buffer([layerOf(picture)]);
    screen.refresh();
    expect([display.width, display.height]).toEqual([320, 200]);
    expect(pixel(display, 319, 199)).toBe(0x332211);
    messages.length = 0;
    screen.adapter.update_buffer([layerOf(picture)]);
    screen.refresh();
    expect(messages).toEqual([]);
    picture.data.set([255, 0, 0], (100 * 320 + 319) * 4);
    screen.adapter.update_buffer([layerOf(picture)]);
    screen.refresh();
    expect(updates(messages)).toEqual([{ x: 304, y: 96, width: 16, height: 16 }]);
    expect(pixel(display, 319, 100)).toBe(0xff0000);
  });

  it("shows all of a picture whose first band is only a part of it", () => {
    const { screen, display } = createGraphicsScreen(64, 64);
    screen.adapter.update_buffer([layerOf(createPicture(64, 64, 0xabcdef), { screen_y: 10, buffer_y: 10, buffer_height: 4 })]);
    screen.refresh();
    expect(pixel(display, 0, 0)).toBe(0xefcdab);
    expect(pixel(display, 63, 63)).toBe(0xefcdab);
  });

  it("places layers of a panned and split screen, cutting off what lies outside", () => {
    const { screen, display } = createGraphicsScreen(32, 32);
    const picture = createPicture(64, 64);
    const words = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < words.length; i++) words[i] = (0xff000000 | i) >>> 0;
    screen.adapter.update_buffer([
      layerOf(picture, { screen_x: -8, screen_y: 0, buffer_y: 5, buffer_height: 20 }),
      layerOf(picture, { screen_x: -8, screen_y: 20, buffer_y: 0, buffer_height: 12 }),
      layerOf(picture, { screen_x: 0, screen_y: 32, buffer_height: 0 }),
    ]);
    screen.refresh();
    const swap = (i: number): number => ((i & 0xff) << 16) | (i & 0xff00);
    expect(pixel(display, 0, 0)).toBe(swap(5 * 64 + 8));
    expect(pixel(display, 31, 19)).toBe(swap(24 * 64 + 39));
    expect(pixel(display, 0, 20)).toBe(swap(8));
    expect(pixel(display, 31, 31)).toBe(swap(11 * 64 + 39));
  });

  it("passes over a view whose memory has moved", () => {
    const { screen, display } = createGraphicsScreen(16, 16);
    const picture = { ...createPicture(16, 16, 0xff), data: new Uint8ClampedArray(0) };
    screen.adapter.update_buffer([layerOf(picture)]);
    screen.refresh();
    expect(pixel(display, 0, 0)).toBe(0);
  });

  it("has no text, and shows the old text again in the next text mode", () => {
    const { screen, display } = createTextScreen();
    screen.adapter.put_char(0, 0, 0xff, 0, blue, grey);
    screen.refresh();
    screen.adapter.set_mode(true);
    screen.adapter.set_size_graphical(720, 400, 720, 400);
    screen.adapter.update_buffer([layerOf(createPicture(720, 400, 0xff00))]);
    screen.refresh();
    expect(screen.textRows()).toEqual([]);
    expect(pixel(display, 0, 0)).toBe(0x00ff00);
    screen.adapter.set_mode(false);
    screen.refresh();
    expect(cellLine(display, 0, 0, 0, 9, 16)).toBe("########.");
  });

  it("goes black when the guest blanks it, and comes back", () => {
    const { screen, display, messages } = createGraphicsScreen(32, 32);
    const picture = createPicture(32, 32, 0xffffff);
    screen.adapter.update_buffer([layerOf(picture)]);
    screen.refresh();
    messages.length = 0;
    screen.adapter.clear_screen();
    screen.refresh();
    expect(pixel(display, 5, 5)).toBe(0);
    expect(updates(messages)).toHaveLength(1);
    screen.adapter.update_buffer([layerOf(picture, { screen_y: 3, buffer_y: 3, buffer_height: 1 })]);
    screen.refresh();
    expect(pixel(display, 5, 30)).toBe(0xffffff);
  });

  it("always ends with the guest's picture, whatever bands it is told about", () => {
    const change = fc.record({ x: fc.nat({ max: 99 }), y: fc.nat({ max: 69 }), width: fc.integer({ min: 1, max: 60 }), height: fc.integer({ min: 1, max: 60 }), colour: fc.nat({ max: 0xffffff }) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), (changes) => {
        const { screen, display, messages } = createGraphicsScreen(100, 70);
        const picture = createPicture(100, 70);
        const words = new Uint32Array(picture.data.buffer);
        const seen = new Uint8Array(100 * 70 * 4);
        for (const { x, y, width, height, colour } of changes) {
          const bottom = Math.min(70, y + height);
          for (let row = y; row < bottom; row++) words.fill((0xff000000 | colour) >>> 0, row * 100 + x, row * 100 + Math.min(100, x + width));
          screen.adapter.update_buffer([layerOf(picture, { screen_y: y, buffer_y: y, buffer_height: bottom - y })]);
          screen.refresh();
        }
        // A viewer that copies what is announced, and nothing else, has the picture too.
        for (const area of updates(messages)) {
          for (let row = area.y; row < area.y + area.height; row++) {
            const from = (row * 100 + area.x) * 4;
            seen.set(display.pixels.subarray(from, from + area.width * 4), from);
          }
        }
        expect(Buffer.from(display.pixels).equals(Buffer.from(picture.data.buffer))).toBe(true);
        const shown = Buffer.from(display.pixels).filter((_, i) => i % 4 !== 3);
        expect(Buffer.from(seen.filter((_, i) => i % 4 !== 3)).equals(shown)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe("the display", () => {
  it("passes on no rectangle that lies outside the picture", () => {
    const display = new Display();
    const changes: Rectangle[] = [];
    display.onDidChange((change) => {
      if (change.type === "update") changes.push(...change.rectangles);
    });
    display.apply({ type: "screen-update", rectangles: Uint16Array.of(700, 390, 100, 100, 800, 0, 10, 10, 1, 2) });
    expect(changes).toEqual([{ x: 700, y: 390, width: 20, height: 10 }]);
  });

  it("needs a pointer drawn by the viewer unless the guest follows it in a graphics mode", () => {
    const display = new Display();
    const said: boolean[] = [];
    display.onDidChangePointer((needs) => said.push(needs));
    const size = (text: boolean): void => display.apply({ type: "screen-size", width: 1, height: 1, pixels: new SharedArrayBuffer(4), text });
    expect(display.needsPointer).toBe(true);
    size(false);
    display.setGuestPointer(true);
    size(true);
    expect(said).toEqual([false, true]);
  });
});
