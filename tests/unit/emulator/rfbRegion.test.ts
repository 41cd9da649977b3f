import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Rectangle } from "../../../core/emulator/framebuffer";
import { bands } from "../../../core/emulator/rfbEncodings";
import { Region } from "../../../core/emulator/rfbRegion";

const side = 24;
const rectangle = fc
  .tuple(fc.nat({ max: side - 1 }), fc.nat({ max: side - 1 }), fc.integer({ min: 1, max: side }), fc.integer({ min: 1, max: side }))
  .map(([x, y, width, height]): Rectangle => ({ x, y, width: Math.min(width, side - x), height: Math.min(height, side - y) }));

function paint(pixels: Uint8Array, area: Rectangle, value: (before: number) => number): void {
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++) pixels[y * side + x] = value(pixels[y * side + x] ?? 0);
  }
}

describe("a region", () => {
  it("gives back exactly the pixels that were added and not taken yet, each once", () => {
    const step = fc.oneof(rectangle.map((area) => ({ add: area })), rectangle.map((area) => ({ take: area })));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const region = new Region();
        const model = new Uint8Array(side * side);
        for (const one of steps) {
          if ("add" in one) {
            region.add(one.add);
            paint(model, one.add, () => 1);
          } else {
            const taken = new Uint8Array(side * side);
            for (const area of region.take(one.take)) paint(taken, area, (before) => before + 1);
            const expected = new Uint8Array(side * side);
            paint(expected, one.take, () => 1);
            for (let i = 0; i < expected.length; i++) expected[i] = (expected[i] ?? 0) & (model[i] ?? 0);
            expect(taken).toEqual(expected);
            paint(model, one.take, () => 0);
          }
          expect(region.isEmpty).toBe(!model.includes(1));
        }
      }),
    );
  });

  it("stays small however scattered the changes are, and loses none", () => {
    const region = new Region();
    for (let i = 0; i < 3000; i++) region.add({ x: (i * 37) % 1000, y: (i * 91) % 1000, width: 1, height: 1 });
    const taken = region.take({ x: 0, y: 0, width: 2000, height: 2000 });
    expect(taken.length).toBeLessThanOrEqual(128);
    for (let i = 0; i < 3000; i++) {
      const [x, y] = [(i * 37) % 1000, (i * 91) % 1000];
      expect(taken.some((area) => x >= area.x && x < area.x + area.width && y >= area.y && y < area.y + area.height)).toBe(true);
    }
    expect(region.isEmpty).toBe(true);
  });

  it("ignores rectangles without pixels", () => {
    const region = new Region();
    region.add({ x: 1, y: 1, width: 0, height: 5 });
    region.add({ x: 1, y: 1, width: 5, height: -1 });
    expect(region.isEmpty).toBe(true);
  });
});

describe("bands", () => {
  it("cover a rectangle without overlap, none of them with too many pixels", () => {
    const area = fc.record({ x: fc.nat({ max: 4000 }), y: fc.nat({ max: 4000 }), width: fc.integer({ min: 1, max: 4096 }), height: fc.integer({ min: 1, max: 4096 }) });
    fc.assert(
      fc.property(area, (whole) => {
        let y = whole.y;
        for (const band of bands(whole)) {
          expect([band.x, band.y, band.width]).toEqual([whole.x, y, whole.width]);
          expect(band.width * band.height).toBeLessThanOrEqual(Math.max(128 * 1024, band.width * 64));
          y += band.height;
        }
        expect(y).toBe(whole.y + whole.height);
      }),
    );
  });
});
