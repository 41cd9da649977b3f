import { crc32, inflateSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodePng } from "../../../core/emulator/png";

/** A reader of exactly the PNGs that are written here, from the specification. */
function decodePng(bytes: Uint8Array): { width: number; height: number; colourType: number; rgb: Uint8Array } {
  const file = Buffer.from(bytes);
  expect([...file.subarray(0, 8)]).toEqual([137, 80, 78, 71, 13, 10, 26, 10]);
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const body = file.subarray(at + 4, at + 8 + length);
    expect(file.readUInt32BE(at + 8 + length)).toBe(crc32(body));
    chunks.set(body.toString("latin1", 0, 4), body.subarray(4));
    at += 12 + length;
  }
  const header = chunks.get("IHDR") ?? Buffer.alloc(0);
  const palette = chunks.get("PLTE");
  const width = header.readUInt32BE(0);
  const height = header.readUInt32BE(4);
  const colourType = header.readUInt8(9);
  expect(chunks.has("IEND")).toBe(true);
  const data = inflateSync(chunks.get("IDAT") ?? Buffer.alloc(0));
  const perPixel = colourType === 3 ? 1 : 3;
  expect(data.length).toBe((width * perPixel + 1) * height);
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const line = data.subarray(y * (width * perPixel + 1), (y + 1) * (width * perPixel + 1));
    for (let i = 1; i < line.length; i++) {
      const left = line[0] === 1 && i > perPixel ? (line[i - perPixel] ?? 0) : 0;
      line[i] = (line[i] ?? 0) + left;
    }
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        const value = palette ? palette[(line[1 + x] ?? 0) * 3 + channel] : line[1 + x * 3 + channel];
        rgb[(y * width + x) * 3 + channel] = value ?? 0;
      }
    }
  }
  return { width, height, colourType, rgb };
}

const withoutFourth = (pixels: Uint8Array): number[] => [...pixels].filter((_, i) => i % 4 !== 3);

describe("a screenshot", () => {
  it("has the same pixels when it is read back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.infiniteStream(fc.nat({ max: 255 })), (width, height, stream) => {
        const pixels = Uint8Array.from({ length: width * height * 4 }, () => Number(stream.next().value));
        const decoded = decodePng(encodePng(width, height, pixels));
        expect([decoded.width, decoded.height]).toEqual([width, height]);
        expect([...decoded.rgb]).toEqual(withoutFourth(pixels));
      }),
    );
  });

  it("uses a palette up to 256 colours and true colours beyond", () => {
    const pixels = new Uint8Array(257 * 4);
    for (let i = 0; i < 257; i++) pixels.set([i & 0xff, i >> 8, 7, 255], i * 4);
    expect(decodePng(encodePng(256, 1, pixels)).colourType).toBe(3);
    const full = decodePng(encodePng(257, 1, pixels));
    expect(full.colourType).toBe(2);
    expect([...full.rgb]).toEqual(withoutFourth(pixels));
  });

  it("refuses pixels that do not fill the picture", () => {
    expect(() => encodePng(2, 2, new Uint8Array(15))).toThrow(RangeError);
    expect(() => encodePng(0, 2, new Uint8Array(16))).toThrow(RangeError);
  });
});
