import { err, ok, type Result } from "../base/result";
import type { Rectangle } from "./framebuffer";

/**
 * The messages of the Remote Framebuffer protocol as bytes: RFC 6143, and for what it does not have the community's
 * document (rfbproto). Numbers are big-endian. Parsers get what has arrived so far; they never throw.
 */

export const serverVersion = "RFB 003.008\n";

/** RFC 6143 7.7 and rfbproto, "Encodings" and "Pseudo-encodings". */
export const encoding = {
  raw: 0,
  zlib: 6,
  zrle: 16,
  desktopSize: -223,
  cursor: -239,
  qemuExtendedKey: -258,
  extendedDesktopSize: -308,
} as const;

/** RFC 6143 7.4. */
export interface PixelFormat {
  readonly bitsPerPixel: 8 | 16 | 32;
  readonly depth: number;
  readonly bigEndian: boolean;
  /** False: pixels are indices into a colour map, which the server sets. */
  readonly trueColour: boolean;
  readonly redMax: number;
  readonly greenMax: number;
  readonly blueMax: number;
  readonly redShift: number;
  readonly greenShift: number;
  readonly blueShift: number;
}

/** What a client gets that asks for nothing else: the layout of a frame's own words. */
export const serverPixelFormat: PixelFormat = {
  bitsPerPixel: 32,
  depth: 24,
  bigEndian: false,
  trueColour: true,
  redMax: 255,
  greenMax: 255,
  blueMax: 255,
  redShift: 0,
  greenShift: 8,
  blueShift: 16,
};

/** The colours of a client with a colour map: 3 bits red, 3 bits green, 2 bits blue, from the lowest bit. */
export const colourMapFormat: PixelFormat = {
  bitsPerPixel: 8,
  depth: 8,
  bigEndian: false,
  trueColour: true,
  redMax: 7,
  greenMax: 7,
  blueMax: 3,
  redShift: 0,
  greenShift: 3,
  blueShift: 6,
};

export type ClientMessage =
  | { readonly type: "setPixelFormat"; readonly format: PixelFormat }
  | { readonly type: "setEncodings"; readonly encodings: readonly number[] }
  | { readonly type: "updateRequest"; readonly incremental: boolean; readonly area: Rectangle }
  | { readonly type: "key"; readonly down: boolean; readonly keysym: number }
  | { readonly type: "pointer"; readonly buttons: number; readonly x: number; readonly y: number }
  /** `length` bytes of text follow the message. */
  | { readonly type: "cutText"; readonly length: number }
  | { readonly type: "setDesktopSize"; readonly width: number; readonly height: number }
  | { readonly type: "extendedKey"; readonly down: boolean; readonly keysym: number; readonly keycode: number }
  | { readonly type: "ignored" };

/** A message and the bytes it took; `incomplete` when more have to arrive first. */
export type Parsed = Result<{ readonly message: ClientMessage; readonly size: number } | "incomplete">;

/** The longest text a client may put on the guest's clipboard, bytes. Nobody reads it: the bytes are skipped. */
export const maximumCutText = 1 << 20;

/** The most bytes of one message that have to be kept until it is complete: SetEncodings with 65,535 of them. */
export const maximumMessage = 4 + 4 * 0xffff;

const incomplete: Parsed = ok("incomplete");

/** Parses the client's message at the start of `bytes` (RFC 6143 7.5). An error is a client that cannot be understood. */
export function parseClientMessage(bytes: Uint8Array): Parsed {
  if (bytes.length === 0) return incomplete;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = view.getUint8(0);
  switch (type) {
    case 0: {
      if (bytes.length < 20) return incomplete;
      const format = parsePixelFormat(bytes.subarray(4, 20));
      return format.ok ? done({ type: "setPixelFormat", format: format.value }, 20) : format;
    }
    case 2: {
      if (bytes.length < 4) return incomplete;
      const count = view.getUint16(2);
      if (bytes.length < 4 + 4 * count) return incomplete;
      const encodings = Array.from({ length: count }, (_, i) => view.getInt32(4 + 4 * i));
      return done({ type: "setEncodings", encodings }, 4 + 4 * count);
    }
    case 3: {
      if (bytes.length < 10) return incomplete;
      const area = { x: view.getUint16(2), y: view.getUint16(4), width: view.getUint16(6), height: view.getUint16(8) };
      return done({ type: "updateRequest", incremental: view.getUint8(1) !== 0, area }, 10);
    }
    case 4:
      if (bytes.length < 8) return incomplete;
      return done({ type: "key", down: view.getUint8(1) !== 0, keysym: view.getUint32(4) }, 8);
    case 5:
      if (bytes.length < 6) return incomplete;
      return done({ type: "pointer", buttons: view.getUint8(1), x: view.getUint16(2), y: view.getUint16(4) }, 6);
    case 6: {
      if (bytes.length < 8) return incomplete;
      const length = view.getUint32(4);
      if (length > maximumCutText) return err(`a clipboard text of ${length} bytes, more than ${maximumCutText}`);
      return done({ type: "cutText", length }, 8);
    }
    case 251: {
      // rfbproto, "SetDesktopSize": a screen takes 16 bytes.
      if (bytes.length < 8) return incomplete;
      const size = 8 + 16 * view.getUint8(6);
      if (bytes.length < size) return incomplete;
      return done({ type: "setDesktopSize", width: view.getUint16(2), height: view.getUint16(4) }, size);
    }
    case 255:
      return parseQemuMessage(bytes, view);
    default:
      return err(`message type ${type}, which does not exist`);
  }
}

function parseQemuMessage(bytes: Uint8Array, view: DataView): Parsed {
  if (bytes.length < 2) return incomplete;
  const subtype = view.getUint8(1);
  if (subtype === 0) {
    if (bytes.length < 12) return incomplete;
    return done({ type: "extendedKey", down: view.getUint16(2) !== 0, keysym: view.getUint32(4), keycode: view.getUint32(8) }, 12);
  }
  if (subtype === 1) {
    // "QEMU Audio Client Message": there is no sound, so the client may say what it likes about it.
    if (bytes.length < 4) return incomplete;
    const size = view.getUint16(2) === 2 ? 10 : 4;
    return bytes.length < size ? incomplete : done({ type: "ignored" }, size);
  }
  return err(`message type 255 of QEMU's kind ${subtype}, which does not exist`);
}

function done(message: ClientMessage, size: number): Parsed {
  return ok({ message, size });
}

/** Parses 16 bytes of a pixel format and checks that pixels can be made of it. */
export function parsePixelFormat(bytes: Uint8Array): Result<PixelFormat> {
  if (bytes.length < 16) return err("a pixel format of less than 16 bytes");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bitsPerPixel = view.getUint8(0);
  if (bitsPerPixel !== 8 && bitsPerPixel !== 16 && bitsPerPixel !== 32) return err(`${bitsPerPixel} bits per pixel`);
  const format: PixelFormat = {
    bitsPerPixel,
    depth: view.getUint8(1),
    bigEndian: view.getUint8(2) !== 0,
    trueColour: view.getUint8(3) !== 0,
    redMax: view.getUint16(4),
    greenMax: view.getUint16(6),
    blueMax: view.getUint16(8),
    redShift: view.getUint8(10),
    greenShift: view.getUint8(11),
    blueShift: view.getUint8(12),
  };
  if (!format.trueColour) return bitsPerPixel === 8 ? ok(format) : err(`a colour map with ${bitsPerPixel} bits per pixel`);
  const channels: [string, number, number][] = [
    ["red", format.redMax, format.redShift],
    ["green", format.greenMax, format.greenShift],
    ["blue", format.blueMax, format.blueShift],
  ];
  for (const [name, max, shift] of channels) {
    if (max * 2 ** shift >= 2 ** bitsPerPixel) return err(`${name} up to ${max} shifted by ${shift} in ${bitsPerPixel} bits`);
  }
  return ok(format);
}

export function emitPixelFormat(format: PixelFormat): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  bytes.set([format.bitsPerPixel, format.depth, Number(format.bigEndian), Number(format.trueColour)]);
  view.setUint16(4, format.redMax);
  view.setUint16(6, format.greenMax);
  view.setUint16(8, format.blueMax);
  bytes.set([format.redShift, format.greenShift, format.blueShift], 10);
  return bytes;
}

/** The minor version both sides speak (RFC 6143 7.1.1), from the client's 12 bytes. */
export function parseVersion(bytes: Uint8Array): Result<3 | 7 | 8> {
  const match = /^RFB (\d{3})\.(\d{3})\n$/.exec(Buffer.from(bytes.subarray(0, 12)).toString("latin1"));
  if (!match) return err("no RFB version");
  const major = Number(match[1]);
  const minor = Number(match[2]);
  if (major < 3) return err(`RFB version ${major}.${minor}`);
  if (major > 3) return ok(8);
  // Other numbers have been seen (Apple's 3.889); RFC 6143 has them taken as 3.3.
  return ok(minor === 7 ? 7 : minor === 8 ? 8 : 3);
}

/** RFC 6143 7.3.2. */
export function emitServerInit(width: number, height: number, name: string): Uint8Array {
  const text = Buffer.from(name, "utf8");
  const bytes = Buffer.alloc(24 + text.length);
  bytes.writeUInt16BE(width, 0);
  bytes.writeUInt16BE(height, 2);
  bytes.set(emitPixelFormat(serverPixelFormat), 4);
  bytes.writeUInt32BE(text.length, 20);
  bytes.set(text, 24);
  return bytes;
}

/** RFC 6143 7.1.3 and 7.1.2: a failure with its reason, as SecurityResult or as the list of security types. */
export function emitFailure(reason: string): Uint8Array {
  const text = Buffer.from(reason, "utf8");
  const bytes = Buffer.alloc(8 + text.length);
  bytes.writeUInt32BE(1, 0);
  bytes.writeUInt32BE(text.length, 4);
  bytes.set(text, 8);
  return bytes;
}

/** The head of FramebufferUpdate (RFC 6143 7.6.1). */
export function emitUpdateHeader(rectangles: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint16(2, rectangles);
  return bytes;
}

/** The head of a rectangle of an update. */
export function emitRectangleHeader(area: Rectangle, encodingNumber: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, area.x);
  view.setUint16(2, area.y);
  view.setUint16(4, area.width);
  view.setUint16(6, area.height);
  view.setInt32(8, encodingNumber);
  return bytes;
}

/** Why a size is told (rfbproto, "ExtendedDesktopSize"): the guest changed it, or the client asked and was refused. */
export type SizeReason = "server" | "refused";

/** The rectangle that tells the size and that there is one screen. */
export function emitExtendedDesktopSize(width: number, height: number, reason: SizeReason): Uint8Array {
  const bytes = Buffer.alloc(12 + 4 + 16);
  // As x: who asked (0: nobody, 1: this client). As y: the outcome (0: done, 1: prohibited).
  const code = reason === "refused" ? 1 : 0;
  bytes.set(emitRectangleHeader({ x: code, y: code, width, height }, encoding.extendedDesktopSize));
  bytes[12] = 1;
  bytes.writeUInt16BE(width, 12 + 4 + 8);
  bytes.writeUInt16BE(height, 12 + 4 + 10);
  return bytes;
}

/** SetColourMapEntries (RFC 6143 7.6.2) with the 256 colours of `colourMapFormat`. */
export function emitColourMap(): Uint8Array {
  const bytes = Buffer.alloc(6 + 256 * 6);
  bytes[0] = 1;
  bytes.writeUInt16BE(256, 4);
  for (let index = 0; index < 256; index++) {
    const at = 6 + index * 6;
    bytes.writeUInt16BE(Math.round(((index & 7) * 0xffff) / 7), at);
    bytes.writeUInt16BE(Math.round((((index >> 3) & 7) * 0xffff) / 7), at + 2);
    bytes.writeUInt16BE(Math.round(((index >> 6) * 0xffff) / 3), at + 4);
  }
  return bytes;
}
