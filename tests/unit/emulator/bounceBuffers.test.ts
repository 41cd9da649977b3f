import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BounceBuffers } from "../../../core/emulator/bounceBuffers";

describe("bounce buffers", () => {
  it("never have more out than is allowed, nor keep more, whatever is asked for", () => {
    const most = 64 * 1024;
    const keep = 32 * 1024;
    // A number above zero asks for so many bytes, any other gives the oldest buffer back.
    const steps = fc.array(fc.integer({ min: -20_000, max: most }), { maxLength: 200 });
    fc.assert(
      fc.property(steps, (wanted) => {
        const buffers = new BounceBuffers(most, keep);
        const out: Uint8Array[] = [];
        for (const length of wanted) {
          if (length <= 0) {
            const oldest = out.shift();
            if (oldest) buffers.giveBack(oldest);
          } else if (buffers.hasRoom(length)) {
            const buffer = buffers.take(length);
            expect(buffer.length).toBeGreaterThanOrEqual(length);
            expect(out).not.toContain(buffer);
            out.push(buffer);
          }
          expect(buffers.out).toBe(out.reduce((sum, { length: bytes }) => sum + bytes, 0));
          expect(buffers.out).toBeLessThanOrEqual(most);
          expect(buffers.kept).toBeLessThanOrEqual(keep);
        }
      }),
    );
  });

  it("let a request larger than all of them through when it is alone", () => {
    const buffers = new BounceBuffers(8192, 8192);
    expect(buffers.hasRoom(20_000)).toBe(true);
    const large = buffers.take(20_000);
    expect(buffers.hasRoom(1)).toBe(false);
    buffers.giveBack(large);
    expect([buffers.hasRoom(1), buffers.kept]).toEqual([true, 0]);
  });
});
