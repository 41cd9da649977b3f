import { describe, expect, it } from "vitest";
import { drawInStretches, RawDecoder, type ReceiveQueue } from "../../../../renderer/ui/rawDecoder";

/** A receive queue into which bytes come bit by bit. */
class Queue implements ReceiveQueue {
  private taken = 0;
  constructor(private readonly all: Uint8Array, public arrived = 0) {}
  rQwait(_what: string, count: number): boolean {
    return this.arrived - this.taken < count;
  }
  rQshiftBytes(count: number): Uint8Array {
    this.taken += count;
    return this.all.subarray(this.taken - count, this.taken);
  }
}

function screen(width: number, height: number) {
  const pixels = new Uint8Array(width * height * 4);
  let calls = 0;
  return {
    pixels,
    calls: () => calls,
    blitImage(x: number, y: number, w: number, h: number, data: Uint8Array, offset: number) {
      calls++;
      for (let line = 0; line < h; line++) pixels.set(data.subarray(offset + line * w * 4, offset + (line + 1) * w * 4), ((y + line) * width + x) * 4);
    },
  };
}

describe("raw pixels", () => {
  it("are drawn opaque, in their place, a whole text screen in a few calls", () => {
    const [width, height] = [720, 400];
    const sent = Uint8Array.from({ length: width * height * 4 }, (_, index) => (index % 4 === 3 ? 0 : index % 251));
    const expected = sent.map((byte, index) => (index % 4 === 3 ? 255 : byte));
    const display = screen(width, height);
    expect(new RawDecoder().decodeRect(0, 0, width, height, new Queue(sent, sent.length), display)).toBe(true);
    expect(Buffer.compare(display.pixels, expected)).toBe(0);
    expect(display.calls()).toBeLessThan(5);
  });

  it("wait for what has not come, and go on where they were", () => {
    const [width, height] = [1024, 300];
    const sent = new Uint8Array(width * height * 4).fill(7);
    const display = screen(width, height);
    const decoder = new RawDecoder();
    const queue = new Queue(sent);
    let answers = 0;
    for (; queue.arrived < sent.length; queue.arrived = Math.min(sent.length, queue.arrived + 100_000)) {
      expect(decoder.decodeRect(0, 0, width, height, queue, display)).toBe(false);
      answers++;
    }
    expect(answers).toBeGreaterThan(2);
    expect(decoder.decodeRect(0, 0, width, height, queue, display)).toBe(true);
    expect(display.pixels.every((byte, index) => byte === (index % 4 === 3 ? 255 : 7))).toBe(true);
    // The next rectangle begins at its own first line.
    expect(decoder.decodeRect(5, 6, 1, 1, new Queue(Uint8Array.of(1, 2, 3, 4), 4), display)).toBe(true);
    expect([...display.pixels.subarray((6 * width + 5) * 4, (6 * width + 5) * 4 + 4)]).toEqual([1, 2, 3, 255]);
  });

  it("of an empty rectangle are drawn at once", () => {
    const display = screen(1, 1);
    for (const [width, height] of [[0, 5], [5, 0]] as const) expect(new RawDecoder().decodeRect(0, 0, width, height, new Queue(new Uint8Array(0)), display)).toBe(true);
    expect(display.calls()).toBe(0);
  });

  it("refuse a noVNC that has no place for them", () => {
    expect(() => drawInStretches({})).toThrow(/keeps its decoders elsewhere/);
  });
});
