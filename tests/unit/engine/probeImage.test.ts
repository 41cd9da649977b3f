import { describe, expect, it } from "vitest";
import { imageBytes, parseListing, probeImage } from "../../../core/engine/probeImage";

describe("the probe's image", () => {
  it("is a whole firmware whose processor begins with a jump to the code, and holds hlt where nothing is", () => {
    const image = Buffer.from(probeImage());
    expect(image.length).toBe(imageBytes);
    expect(image.subarray(0xfff0, 0xfff5).toString("hex")).toBe("ea00fe00f0");
    expect(image[0xfe00]).toBe(0xfa);
    expect(new Set(image.subarray(0, 0xfe00))).toEqual(new Set([0xf4]));
  });

  it("expects the millionth value of its generator", () => {
    const image = Buffer.from(probeImage());
    const [factor, step, expected] = [0xfe92, 0xfe9c, 0xfeba].map((offset) => image.readBigUInt64LE(offset));
    let value = 0n;
    for (let round = image.readUInt32LE(0xfea7); round > 0; round--) value = BigInt.asUintN(64, value * (factor ?? 0n) + (step ?? 0n));
    expect(image.readUInt32LE(0xfea7)).toBe(1_000_000);
    expect(value).toBe(expected);
  });
});

describe("a listing", () => {
  const reset = "fff0 | f4 | hlt |";

  it("is put together from its lines", () => {
    const image = parseListing(["; remark", "", "0010 | 31 c0   | xor ax, ax | zero", "0012 | f8 | clc |", reset]);
    expect(image.ok && Buffer.from(image.value.subarray(0x0f, 0x14)).toString("hex")).toBe("f431c0f8f4");
  });

  it("is refused with the place and the reason", () => {
    expect(parseListing(["0010 | 31 c0 | xor ax, ax |", "0011 | f8 | clc |", reset])).toEqual({ ok: false, error: "line 2: offset 0011 is taken, the line before reaches to 12" });
    expect(parseListing([reset, "ffff | 31 c0 | xor ax, ax |"])).toEqual({ ok: false, error: "line 2: reaches beyond the image" });
    for (const line of ["10 | f8 | clc |", "0010 f8 clc", "0010 | f | clc |", "0010 | f8f8 | clc |", "001g | f8 | clc |", "0010 | | clc |"]) {
      expect(parseListing([line, reset])).toEqual({ ok: false, error: expect.stringMatching(/^line 1: expected/) as string });
    }
    expect(parseListing(["0010 | f8 | clc |"])).toEqual({ ok: false, error: "nothing is at fff0, where the processor begins" });
  });
});
