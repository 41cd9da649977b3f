import { colourMask, type Frame, type Rectangle } from "./framebuffer";
import type { PixelWriter } from "./rfbPixels";

/**
 * ZRLE (RFC 6143 7.7.6) before its compression: an area in tiles of 64 pixels, each in the form that takes the fewest
 * bytes. Text has two colours a tile, one bit a pixel.
 */

const side = 64;
const maximumPacked = 16;
const maximumPalette = 127;

/** The most bytes an area can take: a byte and all pixels for each tile. */
export function zrleBound(area: Rectangle, compressedSize: number): number {
  return Math.ceil(area.width / side) * Math.ceil(area.height / side) + area.width * area.height * compressedSize;
}

/** Keeps what a tile's encoding needs between tiles, so that none of it is allocated for each. */
export class ZrleEncoder {
  /** The tile's pixels row by row: a copy, because the guest may draw while we encode and two passes must see the same. */
  private readonly colour = new Uint32Array(side * side);
  /** The same as indices into `palette`. */
  private readonly indices = new Uint8Array(side * side);
  private readonly palette = new Uint32Array(maximumPalette);
  private colours = 0;
  private count = 0;
  /** Runs of one pixel, and longer ones with the bytes their lengths take. */
  private singles = 0;
  private runs = 0;
  private lengthBytes = 0;
  /** Finds a colour's index: 256 slots, open addressing. */
  private readonly slots = new Uint8Array(256);

  constructor(private readonly pixels: PixelWriter) {}

  /** Writes the area's tiles into `target`, which has room for `zrleBound`; returns the offset behind them. */
  encode(frame: Frame, area: Rectangle, target: Uint8Array, at: number): number {
    for (let y = area.y; y < area.y + area.height; y += side) {
      for (let x = area.x; x < area.x + area.width; x += side) {
        const tile = { x, y, width: Math.min(side, area.x + area.width - x), height: Math.min(side, area.y + area.height - y) };
        at = this.encodeTile(frame, tile, target, at);
      }
    }
    return at;
  }

  private encodeTile(frame: Frame, tile: Rectangle, target: Uint8Array, at: number): number {
    const single = uniformColour(frame, tile);
    if (single >= 0) {
      target[at] = 1;
      return this.pixels.writeCompressed(single, target, at + 1);
    }
    const cpixel = this.pixels.compressedSize;
    const raw = tile.width * tile.height * cpixel;
    const hasPalette = this.scan(frame, tile);
    if (hasPalette && this.colours === 1) {
      target[at] = 1;
      return this.pixels.writeCompressed(this.palette[0] ?? 0, target, at + 1);
    }
    const plainRuns = (this.singles + this.runs) * cpixel + this.singles + this.lengthBytes;
    if (!hasPalette) {
      if (plainRuns < raw) return this.writePlainRuns(target, at);
      target[at] = 0;
      return this.writeRaw(target, at + 1);
    }
    const bits = this.colours <= 2 ? 1 : this.colours <= 4 ? 2 : 4;
    const packed = this.colours <= maximumPacked ? this.colours * cpixel + Math.ceil((tile.width * bits) / 8) * tile.height : Infinity;
    const paletteRuns = this.colours * cpixel + this.singles + this.runs + this.lengthBytes;
    const least = Math.min(packed, paletteRuns, plainRuns, raw);
    if (least === packed) return this.writePacked(tile, bits, target, at);
    if (least === paletteRuns) return this.writePaletteRuns(target, at);
    if (least === plainRuns) return this.writePlainRuns(target, at);
    target[at] = 0;
    return this.writeRaw(target, at + 1);
  }

  /** Counts colours and runs. False when there are more colours than a palette holds; the runs are counted all the same. */
  private scan(frame: Frame, tile: Rectangle): boolean {
    const { words, width } = frame;
    const { colour, indices } = this;
    this.slots.fill(0xff);
    this.colours = 0;
    let singles = 0;
    let runs = 0;
    let lengthBytes = 0;
    let last = -1;
    let index = 0;
    // Text goes to and fro between two colours.
    let previous = -1;
    let previousIndex = 0;
    let start = 0;
    let to = 0;
    let fits = true;
    for (let y = tile.y; y < tile.y + tile.height; y++) {
      const end = y * width + tile.x + tile.width;
      for (let i = end - tile.width; i < end; i++, to++) {
        const word = (words[i] ?? 0) & colourMask;
        if (word !== last) {
          if (to - start === 1) singles++;
          else if (to > start) {
            runs++;
            lengthBytes += Math.floor((to - start - 1) / 255) + 1;
          }
          start = to;
          const lastIndex = index;
          if (word === previous) index = previousIndex;
          else if (fits) {
            index = this.indexOf(word);
            fits = index >= 0;
          }
          previous = last;
          previousIndex = lastIndex;
          last = word;
        }
        colour[to] = word;
        indices[to] = index;
      }
    }
    if (to - start === 1) singles++;
    else {
      runs++;
      lengthBytes += Math.floor((to - start - 1) / 255) + 1;
    }
    this.singles = singles;
    this.runs = runs;
    this.lengthBytes = lengthBytes;
    this.count = to;
    return fits;
  }

  private indexOf(word: number): number {
    let slot = (word ^ (word >>> 7) ^ (word >>> 15)) & 0xff;
    for (;;) {
      const index = this.slots[slot] ?? 0xff;
      if (index === 0xff) break;
      if (this.palette[index] === word) return index;
      slot = (slot + 1) & 0xff;
    }
    if (this.colours === maximumPalette) return -1;
    this.slots[slot] = this.colours;
    this.palette[this.colours] = word;
    return this.colours++;
  }

  private writeRaw(target: Uint8Array, at: number): number {
    for (let i = 0; i < this.count; i++) at = this.pixels.writeCompressed(this.colour[i] ?? 0, target, at);
    return at;
  }

  private writePalette(target: Uint8Array, at: number): number {
    for (let i = 0; i < this.colours; i++) at = this.pixels.writeCompressed(this.palette[i] ?? 0, target, at);
    return at;
  }

  private writePacked(tile: Rectangle, bits: number, target: Uint8Array, at: number): number {
    const { indices } = this;
    target[at] = this.colours;
    at = this.writePalette(target, at + 1);
    let from = 0;
    for (let y = 0; y < tile.height; y++) {
      let byte = 0;
      let filled = 0;
      for (const end = from + tile.width; from < end; from++) {
        byte = (byte << bits) | (indices[from] ?? 0);
        filled += bits;
        if (filled === 8) {
          target[at++] = byte;
          byte = 0;
          filled = 0;
        }
      }
      if (filled > 0) target[at++] = byte << (8 - filled);
    }
    return at;
  }

  private writePaletteRuns(target: Uint8Array, at: number): number {
    target[at] = 128 + this.colours;
    at = this.writePalette(target, at + 1);
    for (let i = 0; i < this.count; ) {
      const index = this.indices[i] ?? 0;
      let end = i + 1;
      while (end < this.count && this.indices[end] === index) end++;
      if (end - i === 1) target[at++] = index;
      else {
        target[at++] = index + 128;
        at = writeLength(end - i, target, at);
      }
      i = end;
    }
    return at;
  }

  private writePlainRuns(target: Uint8Array, at: number): number {
    target[at++] = 128;
    for (let i = 0; i < this.count; ) {
      const word = this.colour[i] ?? 0;
      let end = i + 1;
      while (end < this.count && this.colour[end] === word) end++;
      at = writeLength(end - i, target, this.pixels.writeCompressed(word, target, at));
      i = end;
    }
    return at;
  }
}

/** The one colour of a tile, as most of a screen has, or -1. */
function uniformColour(frame: Frame, tile: Rectangle): number {
  const { words, width } = frame;
  const first = (words[tile.y * width + tile.x] ?? 0) & colourMask;
  for (let y = tile.y; y < tile.y + tile.height; y++) {
    const end = y * width + tile.x + tile.width;
    for (let i = end - tile.width; i < end; i++) if (((words[i] ?? 0) & colourMask) !== first) return -1;
  }
  return first;
}

/** A run's length less one, in bytes of 255 and a last one below. */
function writeLength(length: number, target: Uint8Array, at: number): number {
  let rest = length - 1;
  for (; rest >= 255; rest -= 255) target[at++] = 255;
  target[at++] = rest;
  return at;
}
