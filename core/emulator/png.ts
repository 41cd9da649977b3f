import { deflateSync } from "node:zlib";

/**
 * A picture as PNG (ISO/IEC 15948): palette colours where there are at most 256 of them, as on every text screen, else
 * red, green and blue. `pixels` are `width * height` times four bytes: red, green, blue and one that is left out.
 */
export function encodePng(width: number, height: number, pixels: Uint8Array): Uint8Array {
  if (width < 1 || height < 1 || pixels.byteLength < width * height * 4) {
    throw new RangeError(`${pixels.byteLength} bytes are no picture of ${width} x ${height} pixels`);
  }
  const indexed = indexColours(width, height, pixels);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  // 11.2.2: bit depth, colour type 3 (palette) or 2 (red, green, blue), deflate, adaptive filters, not interlaced.
  header.set([8, indexed ? 3 : 2, 0, 0, 0], 8);
  const scanlines = indexed ? indexed.scanlines : trueColourScanlines(width, height, pixels);
  const chunks = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), chunk("IHDR", header)];
  if (indexed) chunks.push(chunk("PLTE", indexed.palette));
  chunks.push(chunk("IDAT", deflateSync(scanlines, { level: 3 })), chunk("IEND", new Uint8Array(0)));
  return Buffer.concat(chunks);
}

/** Scanlines of palette indices, each after its filter byte (0: none), or undefined when there are too many colours. */
function indexColours(width: number, height: number, pixels: Uint8Array): { palette: Uint8Array; scanlines: Uint8Array } | undefined {
  const colours = new Map<number, number>();
  const scanlines = new Uint8Array((width + 1) * height);
  let lastColour = -1;
  let lastIndex = 0;
  for (let y = 0, at = 0, to = 0; y < height; y++) {
    to++;
    for (let x = 0; x < width; x++, at += 4) {
      const colour = ((pixels[at] ?? 0) << 16) | ((pixels[at + 1] ?? 0) << 8) | (pixels[at + 2] ?? 0);
      if (colour !== lastColour) {
        const index = colours.get(colour) ?? colours.size;
        if (index === colours.size) {
          if (index === 256) return undefined;
          colours.set(colour, index);
        }
        lastColour = colour;
        lastIndex = index;
      }
      scanlines[to++] = lastIndex;
    }
  }
  const palette = new Uint8Array(colours.size * 3);
  for (const [colour, index] of colours) palette.set([colour >> 16, (colour >> 8) & 0xff, colour & 0xff], index * 3);
  return { palette, scanlines };
}

/** Scanlines with filter 1 (9.2: the difference to the pixel on the left), which suits drawn surfaces and costs little. */
function trueColourScanlines(width: number, height: number, pixels: Uint8Array): Uint8Array {
  const scanlines = new Uint8Array((width * 3 + 1) * height);
  for (let y = 0, at = 0, to = 0; y < height; y++) {
    scanlines[to++] = 1;
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let x = 0; x < width; x++, at += 4) {
      scanlines[to++] = (pixels[at] ?? 0) - red;
      scanlines[to++] = (pixels[at + 1] ?? 0) - green;
      scanlines[to++] = (pixels[at + 2] ?? 0) - blue;
      red = pixels[at] ?? 0;
      green = pixels[at + 1] ?? 0;
      blue = pixels[at + 2] ?? 0;
    }
  }
  return scanlines;
}

/** 5.3: length, name, data and the CRC of name and data. */
function chunk(name: string, data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(name, 4, "latin1");
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** Annex D. node:zlib has a crc32 only from Node 20.15 on. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
