/*
 * noVNC's raw encoding (its core/decoders/raw.js) draws line by line: 400 calls for a text screen. A display on this
 * computer is sent nothing but raw pixels, so it gets a decoder that draws as much as it may wait for at a time.
 */

/** What is used of noVNC's receive queue (core/websock.js). */
export interface ReceiveQueue {
  /** True when fewer than `count` bytes have arrived. */
  rQwait(what: string, count: number): boolean;
  rQshiftBytes(count: number, copy: boolean): Uint8Array;
}

/** What is used of noVNC's display (core/display.js). */
export interface BlitTarget {
  blitImage(x: number, y: number, width: number, height: number, pixels: Uint8Array, offset: number): void;
}

/** Bytes drawn at a stretch: the queue has to hold them all. */
const stretch = 512 * 1024;
const bytesPerPixel = 4;

export class RawDecoder {
  /** Lines of the rectangle that are drawn; it is asked again with the same rectangle until all of it has come. */
  private done = 0;

  /** True when the rectangle is complete. Pixels have 32 bits, red first, as noVNC asks for them. */
  decodeRect(x: number, y: number, width: number, height: number, queue: ReceiveQueue, display: BlitTarget): boolean {
    const lineBytes = width * bytesPerPixel;
    while (lineBytes > 0 && this.done < height) {
      const lines = Math.min(height - this.done, Math.max(1, Math.floor(stretch / lineBytes)));
      if (queue.rQwait("RAW", lines * lineBytes)) return false;
      const pixels = queue.rQshiftBytes(lines * lineBytes, false);
      // The fourth byte means nothing on the wire; on a canvas it is the opacity.
      for (let at = 3; at < pixels.length; at += bytesPerPixel) pixels[at] = 255;
      display.blitImage(x, y + this.done, width, lines, pixels, 0);
      this.done += lines;
    }
    this.done = 0;
    return true;
  }
}

/** Puts the decoder into a connection of noVNC 1.7.0, whose decoders are its own affair. */
export function drawInStretches(connection: object): void {
  const { _decoders: decoders } = connection as { _decoders?: Record<number, object> };
  if (decoders?.[rawEncoding] === undefined) throw new Error("this version of noVNC keeps its decoders elsewhere");
  decoders[rawEncoding] = new RawDecoder();
}

const rawEncoding = 0;
