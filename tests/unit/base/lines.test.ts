import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineReader } from "../../../core/base/lines";

function readAll(reader: LineReader): string[] {
  const lines: string[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next()) {
    if (next === "too-long") throw new Error("too long");
    lines.push(next.line);
  }
  return lines;
}

describe("lines of a byte stream", () => {
  it("come out the same however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\n"))), fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), fc.uint8Array(), (lines, cuts, rest) => {
        const tail = Buffer.from(rest.filter((byte) => byte !== 0x0a));
        const bytes = Buffer.concat([...lines.map((line) => Buffer.from(`${line}\n`)), tail]);
        const reader = new LineReader(1 << 20);
        const seen: string[] = [];
        for (let at = 0, i = 0; at < bytes.length; at += cuts[i++ % cuts.length]!) {
          reader.push(bytes.subarray(at, at + cuts[i % cuts.length]!));
          seen.push(...readAll(reader));
        }
        expect(seen).toEqual(lines);
        expect(reader.takeRest()).toEqual(tail);
      }),
    );
  });

  it("are refused when they pass the limit, whole or not", () => {
    const whole = new LineReader(10);
    whole.push(Buffer.from("12345678901\n"));
    expect(whole.next()).toBe("too-long");
    const coming = new LineReader(10);
    coming.push(Buffer.from("1234567890"));
    expect(coming.next()).toBeUndefined();
    coming.push(Buffer.from("1"));
    expect(coming.next()).toBe("too-long");
  });

  it("leave what follows the last one taken to a raw stream", () => {
    const reader = new LineReader(100);
    reader.push(Buffer.from("first\nraw\nbytes"));
    expect(reader.next()).toEqual({ line: "first" });
    expect(reader.takeRest().toString()).toBe("raw\nbytes");
    expect(reader.next()).toBeUndefined();
  });
});
