import { constants, createDeflate, type Deflate } from "node:zlib";
import type { Disposable } from "../base/disposable";
import type { Frame, Rectangle } from "./framebuffer";
import { createPixelWriter, type PixelWriter } from "./rfbPixels";
import { emitRectangleHeader, encoding, type PixelFormat } from "./rfbProtocol";
import { ZrleEncoder, zrleBound } from "./rfbZrle";

/** The encodings of pixels that a client can choose from. */
export type PixelEncoding = typeof encoding.raw | typeof encoding.zlib | typeof encoding.zrle;

export function isPixelEncoding(number: number): number is PixelEncoding {
  return number === encoding.raw || number === encoding.zlib || number === encoding.zrle;
}

/** About as many pixels are encoded at a stretch; in between the process answers whoever else wants something. */
const pixelsAtOnce = 128 * 1024;

/** Cuts a rectangle into bands that can each be encoded at a stretch; their height is a multiple of ZRLE's tiles. */
export function bands(area: Rectangle): Rectangle[] {
  const height = Math.max(64, Math.floor(pixelsAtOnce / area.width / 64) * 64);
  const result: Rectangle[] = [];
  for (let y = area.y; y < area.y + area.height; y += height) {
    result.push({ ...area, y, height: Math.min(height, area.y + area.height - y) });
  }
  return result;
}

/**
 * Encodes rectangles for one client. The compressed encodings have one stream each that lasts as long as the client
 * (RFC 6143 7.7.6), so rectangles have to be encoded one after another and sent in that order.
 */
export class RectangleEncoder implements Disposable {
  private writer: PixelWriter;
  private zrle: ZrleEncoder;
  private zlibStream: CompressionStream | undefined;
  private zrleStream: CompressionStream | undefined;
  private scratch = new Uint8Array(0);

  constructor(format: PixelFormat) {
    this.writer = createPixelWriter(format);
    this.zrle = new ZrleEncoder(this.writer);
  }

  /** Not while a rectangle is being encoded. */
  setFormat(format: PixelFormat): void {
    this.writer = createPixelWriter(format);
    this.zrle = new ZrleEncoder(this.writer);
  }

  /** A rectangle of an update with its head, ready to be sent. `area` lies within the frame. */
  async encode(frame: Frame, area: Rectangle, how: PixelEncoding): Promise<Uint8Array> {
    const header = emitRectangleHeader(area, how);
    if (how === encoding.raw) {
      const bytes = new Uint8Array(header.length + area.width * area.height * this.writer.size);
      bytes.set(header);
      this.writer.writeArea(frame, area, bytes, header.length);
      return bytes;
    }
    if (how === encoding.zlib) {
      const target = this.room(area.width * area.height * this.writer.size);
      const end = this.writer.writeArea(frame, area, target, 0);
      this.zlibStream ??= new CompressionStream();
      return withLength(header, await this.zlibStream.compress(target.subarray(0, end)));
    }
    const target = this.room(zrleBound(area, this.writer.compressedSize));
    const end = this.zrle.encode(frame, area, target, 0);
    this.zrleStream ??= new CompressionStream();
    return withLength(header, await this.zrleStream.compress(target.subarray(0, end)));
  }

  /** The rectangle that sets the viewer's pointer (RFC 6143 7.8.1): an arrow, or none at all. */
  cursor(visible: boolean): Uint8Array {
    if (!visible) return emitRectangleHeader({ x: 0, y: 0, width: 0, height: 0 }, encoding.cursor);
    const { width, height, frame, mask } = arrow;
    const header = emitRectangleHeader({ x: 0, y: 0, width, height }, encoding.cursor);
    const pixels = new Uint8Array(width * height * this.writer.size);
    this.writer.writeArea(frame, { x: 0, y: 0, width, height }, pixels, 0);
    return Buffer.concat([header, pixels, mask]);
  }

  dispose(): void {
    this.zlibStream?.dispose();
    this.zrleStream?.dispose();
  }

  private room(size: number): Uint8Array {
    if (this.scratch.length < size) this.scratch = new Uint8Array(size);
    return this.scratch;
  }
}

function withLength(header: Uint8Array, data: readonly Uint8Array[]): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, data.reduce((sum, part) => sum + part.length, 0));
  return Buffer.concat([header, length, ...data]);
}

/** A zlib stream (RFC 1950) that is flushed after each piece. The work is done in Node's thread pool. */
class CompressionStream implements Disposable {
  // The fastest level: pixels are on their way to the same computer.
  private readonly deflate: Deflate = createDeflate({ level: constants.Z_BEST_SPEED, chunkSize: 64 * 1024 });
  private parts: Uint8Array[] = [];
  private fail: ((reason: Error) => void) | undefined;

  constructor() {
    this.deflate.on("data", (part: Uint8Array) => this.parts.push(part));
    this.deflate.on("error", (failure) => this.fail?.(failure));
    this.deflate.on("close", () => this.fail?.(new Error("the client is gone")));
  }

  /** One piece at a time. `bytes` must stay as they are until it is done. */
  compress(bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    return new Promise((resolve, reject) => {
      this.fail = reject;
      this.deflate.write(bytes);
      this.deflate.flush(constants.Z_SYNC_FLUSH, () => {
        const { parts } = this;
        this.parts = [];
        this.fail = undefined;
        resolve(parts);
      });
    });
  }

  dispose(): void {
    this.deflate.destroy();
  }
}

/** A pointer in black with a white edge; its tip is the upper left corner. */
const arrow = drawArrow(12, 17);

function drawArrow(width: number, height: number): { width: number; height: number; frame: Frame; mask: Uint8Array } {
  const words = new Uint32Array(width * height);
  const pitch = Math.ceil(width / 8);
  const mask = new Uint8Array(pitch * height);
  const shoulder = width;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const head = y < shoulder && x <= y;
      // Below the head a shaft leans to the right.
      const lean = Math.floor((y - shoulder) / 2);
      const shaft = y >= shoulder && x >= 4 + lean && x <= 7 + lean;
      if (!head && !shaft) continue;
      const edge = head ? x === 0 || x === y || y === shoulder - 1 : x === 4 + lean || x === 7 + lean || y === height - 1;
      words[y * width + x] = edge ? 0xffffff : 0;
      mask[y * pitch + (x >> 3)] = (mask[y * pitch + (x >> 3)] ?? 0) | (0x80 >> (x & 7));
    }
  }
  return { width, height, frame: { width, height, words }, mask };
}
