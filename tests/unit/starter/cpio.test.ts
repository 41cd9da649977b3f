import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { writeCpio } from "../../../build/starter/cpio.mjs";

interface Entry {
  readonly mode: number;
  readonly content: Buffer;
  readonly device: readonly [number, number];
}

/** Reads an archive as the kernel does (init/initramfs.c). */
function readCpio(archive: Buffer): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (let at = 0; ; ) {
    expect(archive.toString("latin1", at, at + 6)).toBe("070701");
    const field = (index: number): number => parseInt(archive.toString("latin1", at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const nameEnd = at + 110 + field(11);
    const name = archive.toString("utf8", at + 110, nameEnd - 1);
    expect(archive[nameEnd - 1]).toBe(0);
    const start = (nameEnd + 3) & ~3;
    if (name === "TRAILER!!!") return entries;
    entries.set(name, { mode: field(1), content: archive.subarray(start, start + field(6)), device: [field(9), field(10)] });
    at = (start + field(6) + 3) & ~3;
  }
}

describe("the initial ramdisk", () => {
  it("holds files, links, devices and folders as given, parents first", () => {
    const entries = readCpio(
      writeCpio(
        new Map([
          ["/bin/tool", { type: "file", content: Buffer.from("#!tool"), mode: 0o755 }],
          ["/bin/alias", { type: "link", target: "tool" }],
          ["/dev/console", { type: "character", mode: 0o600, major: 5, minor: 1 }],
          ["/tmp", { type: "directory", mode: 0o1777 }],
        ]),
      ),
    );
    expect([...entries.keys()]).toEqual(["bin", "bin/alias", "bin/tool", "dev", "dev/console", "tmp"]);
    expect(entries.get("bin")?.mode).toBe(0o40755);
    expect(entries.get("tmp")?.mode).toBe(0o41777);
    expect(entries.get("bin/tool")).toMatchObject({ mode: 0o100755, content: Buffer.from("#!tool") });
    expect(entries.get("bin/alias")).toMatchObject({ mode: 0o120777, content: Buffer.from("tool") });
    expect(entries.get("dev/console")).toMatchObject({ mode: 0o20600, device: [5, 1] });
  });

  it("reads back whatever was put in, and is the same for the same files in any order", () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9._ä-]{1,12}$/).filter((part) => part !== "." && part !== "..");
    const files = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 300 })), { selector: ([path]) => path, maxLength: 12 });
    fc.assert(
      fc.property(files, (given) => {
        const nodes = given.map(([path, bytes]) => [`/x/${path}`, { type: "file", content: Buffer.from(bytes), mode: 0o644 }] as const);
        const archive = writeCpio(new Map(nodes));
        const entries = readCpio(archive);
        for (const [path, bytes] of given) expect(entries.get(`x/${path}`)?.content).toEqual(Buffer.from(bytes));
        expect(archive.equals(writeCpio(new Map([...nodes].reverse())))).toBe(true);
      }),
    );
  });

  it("refuses a path that is not clean, and a file with something below it", () => {
    const file = { type: "file", content: Buffer.alloc(0), mode: 0o644 } as const;
    for (const path of ["relative", "/a//b", "/a/../b", "/a/"]) expect(() => writeCpio(new Map([[path, file]]))).toThrow(/clean/);
    expect(() =>
      writeCpio(
        new Map([
          ["/a", file],
          ["/a/b", file],
        ]),
      ),
    ).toThrow(/lies below/);
  });
});
