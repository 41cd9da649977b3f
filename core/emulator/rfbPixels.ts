import type { Frame, Rectangle } from "./framebuffer";
import type { PixelFormat } from "./rfbProtocol";

/** Turns a frame's words into the pixels a client wants. */
export interface PixelWriter {
  /** Bytes of a pixel, and of a compressed one (RFC 6143 7.7.5, CPIXEL). */
  readonly size: number;
  readonly compressedSize: number;
  /** Writes an area row by row; returns the offset behind it. */
  writeArea(frame: Frame, area: Rectangle, target: Uint8Array, at: number): number;
  /** Writes one pixel as a CPIXEL; returns the offset behind it. */
  writeCompressed(word: number, target: Uint8Array, at: number): number;
}

/** `format` is one in true colours. */
export function createPixelWriter(format: PixelFormat): PixelWriter {
  const red = channelTable(format.redMax, format.redShift);
  const green = channelTable(format.greenMax, format.greenShift);
  const blue = channelTable(format.blueMax, format.blueShift);
  const size = format.bitsPerPixel / 8;
  const value = (word: number): number =>
    ((red[word & 0xff] ?? 0) | (green[(word >>> 8) & 0xff] ?? 0) | (blue[(word >>> 16) & 0xff] ?? 0)) >>> 0;
  const isNative =
    size === 4 && !format.bigEndian && value(0x0000ff) === 0x0000ff && value(0x00ff00) === 0x00ff00 && value(0xff0000) === 0xff0000;

  const writeArea = (frame: Frame, area: Rectangle, target: Uint8Array, at: number): number => {
    const { words, width } = frame;
    if (isNative) {
      const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
      for (let y = area.y; y < area.y + area.height; y++) {
        const from = (y * width + area.x) * 4;
        target.set(bytes.subarray(from, from + area.width * 4), at);
        at += area.width * 4;
      }
      return at;
    }
    // Neighbours are mostly the same colour.
    let lastWord = words[area.y * width + area.x] ?? 0;
    let pixel = value(lastWord);
    for (let y = area.y; y < area.y + area.height; y++) {
      const end = y * width + area.x + area.width;
      for (let i = y * width + area.x; i < end; i++) {
        const word = words[i] ?? 0;
        if (word !== lastWord) {
          lastWord = word;
          pixel = value(word);
        }
        at = put(pixel, target, at);
      }
    }
    return at;
  };

  const put =
    size === 1
      ? (pixel: number, target: Uint8Array, at: number): number => {
          target[at] = pixel;
          return at + 1;
        }
      : size === 2
        ? (pixel: number, target: Uint8Array, at: number): number => {
            target[at] = format.bigEndian ? pixel >>> 8 : pixel;
            target[at + 1] = format.bigEndian ? pixel : pixel >>> 8;
            return at + 2;
          }
        : format.bigEndian
          ? (pixel: number, target: Uint8Array, at: number): number => {
              target[at] = pixel >>> 24;
              target[at + 1] = pixel >>> 16;
              target[at + 2] = pixel >>> 8;
              target[at + 3] = pixel;
              return at + 4;
            }
          : (pixel: number, target: Uint8Array, at: number): number => {
              target[at] = pixel;
              target[at + 1] = pixel >>> 8;
              target[at + 2] = pixel >>> 16;
              target[at + 3] = pixel >>> 24;
              return at + 4;
            };

  // RFC 6143 7.7.5: three bytes do when the colours fit in the lowest or in the highest three of four. Where both are
  // true the first three bytes are sent.
  const everything = value(0xffffff);
  const fitsLow = everything < 0x1000000;
  const fitsHigh = (everything & 0xff) === 0;
  const isShort = size === 4 && format.depth <= 24 && (fitsLow || fitsHigh);
  const skipsFirstByte = isShort && !(format.bigEndian ? fitsHigh : fitsLow);
  const scratch = new Uint8Array(4);
  const writeCompressed = (word: number, target: Uint8Array, at: number): number => {
    if (!isShort) return put(value(word), target, at);
    put(value(word), scratch, 0);
    const first = skipsFirstByte ? 1 : 0;
    target[at] = scratch[first] ?? 0;
    target[at + 1] = scratch[first + 1] ?? 0;
    target[at + 2] = scratch[first + 2] ?? 0;
    return at + 3;
  };
  return { size, compressedSize: isShort ? 3 : size, writeArea, writeCompressed };
}

/** What each of 256 intensities becomes in a channel of `max + 1` steps. */
function channelTable(max: number, shift: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, intensity) => Math.round((intensity * max) / 255) * 2 ** shift);
}
