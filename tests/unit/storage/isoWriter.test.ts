import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsoImage } from "../../../core/machine/isoImage";
import { writeIso } from "../../../core/storage/formats/isoWriter";

const open = async (image: Buffer): Promise<IsoImage> => {
  const iso = await IsoImage.open((offset, length) => Promise.resolve(image.subarray(offset, offset + length)));
  if (!iso) throw new Error("our own image does not open");
  return iso;
};

describe("writeIso", () => {
  it("writes what reads back the same", async () => {
    const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/).filter((text) => !/^\.+$/.test(text));
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 5000 })), { selector: ([text]) => text.toLowerCase(), maxLength: 30 }), async (files) => {
        const image = writeIso({ label: "test", files: files.map(([text, content]) => ({ name: text, content })) });
        expect(image.length % 2048).toBe(0);
        const iso = await open(image);
        expect(new Set((await iso.list("/")).map((entry) => entry.name))).toEqual(new Set(files.map(([text]) => text)));
        for (const [text, content] of files) expect(Buffer.from((await iso.readFile(text, 10_000)) ?? []).equals(Buffer.from(content)), text).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("gives names that are alike in eight letters different short ones", async () => {
    const image = writeIso({ label: "test", files: ["configuration", "configurator", "config.yaml.old", "config.yaml.new"].map((name) => ({ name, content: Buffer.from(name) })) });
    // Plain ISO 9660, as a reader sees it that knows neither extension: SP and Joliet's descriptor taken away.
    const plain = Buffer.from(image);
    plain.fill(0, 17 * 2048, 17 * 2048 + 1);
    plain.write("XX", plain.indexOf("SP\x07\x01"));
    const names = (await (await open(plain)).list("/")).map((entry) => entry.name);
    expect(new Set(names).size).toBe(4);
    for (const name of names) expect(name).toMatch(/^[A-Z0-9_]{1,8}(\.[A-Z0-9_]{1,3})?$/);
  });

  it("refuses names that cannot be on a disc", () => {
    const write = (name: string, label = "test"): Buffer => writeIso({ label, files: [{ name, content: Buffer.alloc(0) }] });
    for (const name of ["", "a/b", "..", "ä", "a b", "x".repeat(65), "a;1"]) expect(() => write(name), name).toThrow(RangeError);
    for (const label of ["", "x".repeat(17), "a b"]) expect(() => write("a", label), label).toThrow(RangeError);
    expect(() => writeIso({ label: "test", files: [{ name: "a", content: Buffer.alloc(0) }, { name: "A", content: Buffer.alloc(0) }] })).toThrow(RangeError);
  });
});
