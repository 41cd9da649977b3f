import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  emitColourMap,
  emitExtendedDesktopSize,
  emitPixelFormat,
  emitServerInit,
  maximumCutText,
  parseClientMessage,
  parsePixelFormat,
  parseVersion,
  serverPixelFormat,
  type PixelFormat,
} from "../../../core/emulator/rfbProtocol";

const bytesOf = (...parts: (number | number[] | Uint8Array)[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [part] : [...part])));
const u16 = (value: number): number[] => [value >> 8, value & 0xff];
const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];

/** Every message a client can send, with what it says. */
const messages: [string, Uint8Array, object][] = [
  ["SetPixelFormat", bytesOf(0, [0, 0, 0], emitPixelFormat(serverPixelFormat)), { type: "setPixelFormat", format: serverPixelFormat }],
  ["SetEncodings", bytesOf(2, 0, u16(3), u32(16), u32(-239), u32(0x574d5664)), { type: "setEncodings", encodings: [16, -239, 0x574d5664] }],
  ["FramebufferUpdateRequest", bytesOf(3, 1, u16(1), u16(2), u16(3), u16(4)), { type: "updateRequest", incremental: true, area: { x: 1, y: 2, width: 3, height: 4 } }],
  ["KeyEvent", bytesOf(4, 1, [0, 0], u32(0xff0d)), { type: "key", down: true, keysym: 0xff0d }],
  ["PointerEvent", bytesOf(5, 4, u16(700), u16(300)), { type: "pointer", buttons: 4, x: 700, y: 300 }],
  ["ClientCutText", bytesOf(6, [0, 0, 0], u32(5)), { type: "cutText", length: 5 }],
  ["SetDesktopSize", bytesOf(251, 0, u16(800), u16(600), 1, 0, new Uint8Array(16)), { type: "setDesktopSize", width: 800, height: 600 }],
  ["QEMU extended key event", bytesOf(255, 0, u16(1), u32(0x61), u32(0x1e)), { type: "extendedKey", down: true, keysym: 0x61, keycode: 0x1e }],
  ["QEMU audio message", bytesOf(255, 1, u16(1)), { type: "ignored" }],
  ["QEMU audio format", bytesOf(255, 1, u16(2), [3, 2], u32(44100)), { type: "ignored" }],
];

describe("client messages", () => {
  for (const [name, bytes, message] of messages) {
    it(`reads ${name}, takes its own bytes and waits for the last of them`, () => {
      const parsed = parseClientMessage(bytesOf(bytes, 77, 78));
      expect(parsed).toEqual({ ok: true, value: { message, size: bytes.length } });
      for (let length = 0; length < bytes.length; length++) {
        expect(parseClientMessage(bytes.subarray(0, length))).toEqual({ ok: true, value: "incomplete" });
      }
    });
  }

  it("reads as many encodings as a message can hold", () => {
    const parsed = parseClientMessage(bytesOf(2, 0, u16(0xffff), new Uint8Array(4 * 0xffff)));
    expect(parsed.ok && parsed.value !== "incomplete" && parsed.value.size).toBe(4 + 4 * 0xffff);
  });

  it("refuses types that do not exist, with the reason", () => {
    for (const type of [1, 7, 150, 248, 250, 254]) {
      expect(parseClientMessage(Uint8Array.of(type))).toEqual({ ok: false, error: `message type ${type}, which does not exist` });
    }
    expect(parseClientMessage(Uint8Array.of(255, 2)).ok).toBe(false);
  });

  it("refuses a clipboard text that is too long, before it arrives", () => {
    expect(parseClientMessage(bytesOf(6, [0, 0, 0], u32(maximumCutText))).ok).toBe(true);
    for (const length of [maximumCutText + 1, 0xffffffff, -4 >>> 0]) expect(parseClientMessage(bytesOf(6, [0, 0, 0], u32(length))).ok).toBe(false);
  });

  it("never throws, whatever the bytes, and takes no more of them than there are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const parsed = parseClientMessage(bytes);
        if (parsed.ok && parsed.value !== "incomplete") {
          expect(parsed.value.size).toBeGreaterThan(0);
          expect(parsed.value.size).toBeLessThanOrEqual(bytes.length);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

const formats = fc
  .record({
    bitsPerPixel: fc.constantFrom(8 as const, 16 as const, 32 as const),
    depth: fc.nat({ max: 32 }),
    bigEndian: fc.boolean(),
    redMax: fc.nat({ max: 255 }),
    greenMax: fc.nat({ max: 255 }),
    blueMax: fc.nat({ max: 255 }),
    redShift: fc.nat({ max: 24 }),
    greenShift: fc.nat({ max: 24 }),
    blueShift: fc.nat({ max: 24 }),
  })
  .map((format): PixelFormat => ({ ...format, trueColour: true }));

describe("pixel formats", () => {
  it("are the same when they are read back, or refused because a channel does not fit", () => {
    fc.assert(
      fc.property(formats, (format) => {
        const fits = (max: number, shift: number): boolean => max * 2 ** shift < 2 ** format.bitsPerPixel;
        const legal = fits(format.redMax, format.redShift) && fits(format.greenMax, format.greenShift) && fits(format.blueMax, format.blueShift);
        const parsed = parsePixelFormat(emitPixelFormat(format));
        if (legal) expect(parsed).toEqual({ ok: true, value: format });
        else expect(parsed.ok).toBe(false);
      }),
    );
  });

  it("are refused with a number of bits that no pixel has", () => {
    for (const bits of [0, 1, 15, 24, 64, 255]) expect(parsePixelFormat(bytesOf(bits, emitPixelFormat(serverPixelFormat).subarray(1))).ok).toBe(false);
  });

  it("may have a colour map in 8 bits only", () => {
    const withMap = (bits: number): Uint8Array => bytesOf(bits, 8, 0, 0, new Uint8Array(12));
    expect(parsePixelFormat(withMap(8)).ok).toBe(true);
    expect(parsePixelFormat(withMap(16)).ok).toBe(false);
    expect(parsePixelFormat(withMap(32)).ok).toBe(false);
  });
});

describe("versions", () => {
  const versions: [string, 3 | 7 | 8 | undefined][] = [
    ["RFB 003.003\n", 3],
    ["RFB 003.005\n", 3],
    ["RFB 003.007\n", 7],
    ["RFB 003.008\n", 8],
    ["RFB 003.889\n", 3],
    ["RFB 004.001\n", 8],
    ["RFB 002.000\n", undefined],
    ["RFB 003.008\r", undefined],
    ["GET / HTTP/1", undefined],
  ];
  for (const [text, minor] of versions) {
    it(`takes ${JSON.stringify(text)} for ${minor === undefined ? "no version" : `3.${minor}`}`, () => {
      const parsed = parseVersion(Buffer.from(text));
      expect(parsed.ok ? parsed.value : undefined).toBe(minor);
    });
  }
});

describe("server messages", () => {
  it("say the size, the format and the name in UTF-8", () => {
    const bytes = Buffer.from(emitServerInit(720, 400, "Gerät"));
    expect([bytes.readUInt16BE(0), bytes.readUInt16BE(2)]).toEqual([720, 400]);
    expect(bytes.subarray(4, 20)).toEqual(Buffer.from(emitPixelFormat(serverPixelFormat)));
    expect(bytes.readUInt32BE(20)).toBe(6);
    expect(bytes.toString("utf8", 24)).toBe("Gerät");
  });

  it("describe one screen as large as the picture, and who is the reason", () => {
    const bytes = Buffer.from(emitExtendedDesktopSize(1024, 768, "refused"));
    expect([...bytes.subarray(0, 12)]).toEqual([...u16(1), ...u16(1), ...u16(1024), ...u16(768), ...u32(-308)]);
    expect([...bytes.subarray(12)]).toEqual([1, 0, 0, 0, ...u32(0), ...u16(0), ...u16(0), ...u16(1024), ...u16(768), ...u32(0)]);
    expect([...emitExtendedDesktopSize(1, 1, "server").subarray(0, 4)]).toEqual([0, 0, 0, 0]);
  });

  it("set a colour map from black to white", () => {
    const bytes = Buffer.from(emitColourMap());
    expect(bytes.length).toBe(6 + 256 * 6);
    expect([...bytes.subarray(0, 12)]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect([...bytes.subarray(-6)]).toEqual([255, 255, 255, 255, 255, 255]);
  });
});
