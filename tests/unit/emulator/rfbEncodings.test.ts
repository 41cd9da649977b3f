import ZrleDecoder from "../../../node_modules/@novnc/novnc/core/decoders/zrle.js";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import type { Frame, Rectangle } from "../../../core/emulator/framebuffer";
import { RectangleEncoder } from "../../../core/emulator/rfbEncodings";
import { createPixelWriter } from "../../../core/emulator/rfbPixels";
import { encoding, serverPixelFormat, type PixelFormat } from "../../../core/emulator/rfbProtocol";
import { ZrleEncoder, zrleBound } from "../../../core/emulator/rfbZrle";
import { RfbClient } from "../../support/rfbClient";
import { duplexPair } from "../../support/duplexPair";

const encoders: RectangleEncoder[] = [];
afterEach(() => {
  for (const encoder of encoders.splice(0)) encoder.dispose();
});

/** A picture of `colours` colours in runs of about `run` pixels. */
function createFrame(width: number, height: number, colours: number, run: number, seed: number): Frame {
  let state = seed | 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const palette = Array.from({ length: colours }, () => random(0x1000000));
  const words = new Uint32Array(width * height);
  for (let i = 0; i < words.length; ) {
    const colour = palette[random(colours)] ?? 0;
    // The fourth byte says nothing, so it may be anything.
    for (let length = 1 + random(run * 2); length > 0 && i < words.length; length--) words[i++] = (colour | (random(256) << 24)) >>> 0;
  }
  return { width, height, words };
}

const frames = fc
  .record({
    width: fc.integer({ min: 1, max: 150 }),
    height: fc.integer({ min: 1, max: 150 }),
    colours: fc.constantFrom(1, 2, 3, 4, 5, 16, 17, 100, 127, 128, 5000),
    run: fc.constantFrom(1, 2, 30, 600, 5000),
    seed: fc.nat(),
  })
  .map((shape) => createFrame(shape.width, shape.height, shape.colours, shape.run, shape.seed));

/** The part of the frame as 0xRRGGBB. */
function expected(frame: Frame, area: Rectangle): number[] {
  const pixels: number[] = [];
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++) {
      const word = frame.words[y * frame.width + x] ?? 0;
      pixels.push(((word & 0xff) << 16) | (word & 0xff00) | ((word >>> 16) & 0xff));
    }
  }
  return pixels;
}

/** What our test client wants: blue lowest. */
const clientFormat: PixelFormat = { ...serverPixelFormat, redShift: 16, blueShift: 0 };

async function roundTrip(frame: Frame, area: Rectangle, how: 0 | 6 | 16): Promise<number[]> {
  const encoder = new RectangleEncoder(clientFormat);
  encoders.push(encoder);
  const [server, stream] = duplexPair();
  const client = new RfbClient(stream);
  client.width = frame.width;
  client.height = frame.height;
  client.picture = new Uint32Array(frame.width * frame.height);
  // Twice: the second rectangle goes on in the stream of the first.
  for (let i = 0; i < 2; i++) {
    client.picture.fill(0xffffffff);
    server.write(Buffer.concat([Buffer.from([0, 0, 0, 1]), await encoder.encode(frame, area, how)]));
    await client.update();
  }
  const pixels: number[] = [];
  for (let y = area.y; y < area.y + area.height; y++) pixels.push(...client.picture.subarray(y * frame.width + area.x, y * frame.width + area.x + area.width));
  return pixels;
}

describe.each([
  ["raw", encoding.raw],
  ["zlib", encoding.zlib],
  ["ZRLE", encoding.zrle],
] as const)("%s", (_name, how) => {
  it("shows a client the same pixels", async () => {
    await fc.assert(
      fc.asyncProperty(frames, fc.nat(), fc.nat(), async (frame, left, top) => {
        const x = left % frame.width;
        const y = top % frame.height;
        const area = { x, y, width: frame.width - x, height: frame.height - y };
        expect(await roundTrip(frame, area, how)).toEqual(expected(frame, area));
      }),
      { numRuns: 30 },
    );
  });
});

/** What noVNC's decoder reads of a socket. */
class Queue {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}
  rQwait(): boolean {
    return false;
  }
  rQshift32(): number {
    this.at += 4;
    return Buffer.from(this.bytes).readUInt32BE(this.at - 4);
  }
  rQshiftBytes(count: number): Uint8Array {
    this.at += count;
    return this.bytes.slice(this.at - count, this.at);
  }
}

describe("ZRLE in noVNC's decoder", () => {
  it("gives the same pixels", async () => {
    await fc.assert(
      fc.asyncProperty(frames, async (frame) => {
        // The format that noVNC asks for is that of our frames.
        const encoder = new RectangleEncoder(serverPixelFormat);
        encoders.push(encoder);
        const decoder = new ZrleDecoder();
        const area = { x: 0, y: 0, width: frame.width, height: frame.height };
        const pixels = new Array<number>(frame.width * frame.height).fill(-1);
        const display = {
          fillRect(x: number, y: number, width: number, height: number, [r = 0, g = 0, b = 0]: number[]): void {
            for (let i = 0; i < width * height; i++) pixels[(y + Math.floor(i / width)) * frame.width + x + (i % width)] = (r << 16) | (g << 8) | b;
          },
          blitImage(x: number, y: number, width: number, height: number, data: Uint8Array, offset: number): void {
            for (let i = 0; i < width * height; i++) {
              const [r = 0, g = 0, b = 0] = data.subarray(offset + i * 4, offset + i * 4 + 3);
              pixels[(y + Math.floor(i / width)) * frame.width + x + (i % width)] = (r << 16) | (g << 8) | b;
            }
          },
        };
        const bytes = await encoder.encode(frame, area, encoding.zrle);
        expect(decoder.decodeRect(0, 0, frame.width, frame.height, new Queue(bytes.subarray(12)), display, 24)).toBe(true);
        expect(pixels).toEqual(expected(frame, area));
      }),
      { numRuns: 30 },
    );
  });
});

describe("ZRLE before its compression", () => {
  it("never takes more than its bound", () => {
    fc.assert(
      fc.property(frames, fc.constantFrom(8 as const, 16 as const, 32 as const), (frame, bitsPerPixel) => {
        const writer = createPixelWriter(bitsPerPixel === 32 ? serverPixelFormat : { ...serverPixelFormat, bitsPerPixel, redMax: 3, greenMax: 3, blueMax: 3, redShift: 0, greenShift: 2, blueShift: 4 });
        const area = { x: 0, y: 0, width: frame.width, height: frame.height };
        const bound = zrleBound(area, writer.compressedSize);
        const end = new ZrleEncoder(writer).encode(frame, area, new Uint8Array(bound), 0);
        expect(end).toBeLessThanOrEqual(bound);
      }),
      { numRuns: 60 },
    );
  });

  it("takes a bit a pixel for text, and four bytes for a tile of one colour", () => {
    const writer = createPixelWriter(serverPixelFormat);
    const frame = createFrame(64, 64, 2, 3, 7);
    const target = new Uint8Array(20_000);
    const area = { x: 0, y: 0, width: 64, height: 64 };
    expect(new ZrleEncoder(writer).encode(frame, area, target, 0)).toBe(1 + 2 * 3 + 512);
    expect(new ZrleEncoder(writer).encode({ ...frame, words: new Uint32Array(4096) }, area, target, 0)).toBe(4);
  });
});

describe("pixels", () => {
  const one = (format: Partial<PixelFormat>, word: number): number[] => {
    const writer = createPixelWriter({ ...serverPixelFormat, ...format });
    const target = new Uint8Array(writer.size);
    writer.writeArea({ width: 1, height: 1, words: Uint32Array.of(word) }, { x: 0, y: 0, width: 1, height: 1 }, target, 0);
    return [...target];
  };
  const compressed = (format: Partial<PixelFormat>, word: number): number[] => {
    const writer = createPixelWriter({ ...serverPixelFormat, ...format });
    const target = new Uint8Array(8);
    return [...target.subarray(0, writer.writeCompressed(word, target, 0))];
  };
  const bgr = { redShift: 16, greenShift: 8, blueShift: 0 };
  const rgb565 = { bitsPerPixel: 16 as const, depth: 16, redMax: 31, greenMax: 63, blueMax: 31, redShift: 11, greenShift: 5, blueShift: 0 };
  // Red 0x11, green 0x22, blue 0xff.
  const word = 0x00ff2211;

  it("are written in any order of bytes and channels", () => {
    expect(one({}, word).slice(0, 3)).toEqual([0x11, 0x22, 0xff]);
    expect(one(bgr, word)).toEqual([0xff, 0x22, 0x11, 0]);
    expect(one({ ...bgr, bigEndian: true }, word)).toEqual([0, 0x11, 0x22, 0xff]);
    expect(one({ redShift: 24, greenShift: 16, blueShift: 8 }, word)).toEqual([0, 0xff, 0x22, 0x11]);
  });

  it("are rounded to the steps a client has", () => {
    expect(one(rgb565, word)).toEqual([((8 << 5) | 31) & 0xff, ((2 << 11) | (8 << 5) | 31) >> 8]);
    expect(one({ ...rgb565, bigEndian: true }, 0xffffff)).toEqual([0xff, 0xff]);
    expect(one({ bitsPerPixel: 8, depth: 8, redMax: 7, greenMax: 7, blueMax: 3, redShift: 0, greenShift: 3, blueShift: 6 }, 0xffffff)).toEqual([0xff]);
    expect(one({ bitsPerPixel: 8, depth: 8, redMax: 0, greenMax: 0, blueMax: 0, redShift: 0, greenShift: 0, blueShift: 0 }, 0xffffff)).toEqual([0]);
  });

  it("leave out the byte of four that is always zero, at either end", () => {
    expect(compressed({}, word)).toEqual([0x11, 0x22, 0xff]);
    expect(compressed({ ...bgr, bigEndian: true }, word)).toEqual([0x11, 0x22, 0xff]);
    expect(compressed({ redShift: 8, greenShift: 16, blueShift: 24 }, word)).toEqual([0x11, 0x22, 0xff]);
    expect(compressed({ redShift: 8, greenShift: 16, blueShift: 24, bigEndian: true }, word)).toEqual([0xff, 0x22, 0x11]);
    expect(compressed({ depth: 32 }, word)).toHaveLength(4);
    expect(compressed(rgb565, word)).toHaveLength(2);
  });
});

describe("the viewer's pointer", () => {
  it("is an arrow with a mask, or nothing", () => {
    const encoder = new RectangleEncoder(clientFormat);
    encoders.push(encoder);
    const bytes = Buffer.from(encoder.cursor(true));
    const [width, height] = [bytes.readUInt16BE(4), bytes.readUInt16BE(6)];
    expect(bytes.length).toBe(12 + width * height * 4 + Math.ceil(width / 8) * height);
    const mask = bytes.subarray(12 + width * height * 4);
    expect((mask[0] ?? 0) & 0x80).toBe(0x80);
    expect(Buffer.from(encoder.cursor(false))).toEqual(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 17]));
  });
});
