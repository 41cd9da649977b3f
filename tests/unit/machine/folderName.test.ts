import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { comparable, folderNameFor, uniqueFolderName, uniqueMachineName } from "../../../core/machine/folderName";

describe("folderNameFor", () => {
  it.each([
    ["web-01", "web-01"],
    ["My Web Server!", "my-web-server"],
    ["../../etc/passwd", "etc-passwd"],
    ["日本語サーバー", "日本語サーバー"],
    ["Сервер №1", "сервер-no1"],
    ["خادم", "خادم"],
    ["🦎", "machine"],
    ["...", "machine"],
    ["CON", "con-machine"],
    ["lpt1", "lpt1-machine"],
    ["lost+found", "lost-found"],
    ["a\u202Eb", "a-b"],
    ["-rf *", "rf"],
  ])("turns %j into %j", (name, folder) => {
    expect(folderNameFor(name)).toBe(folder);
  });

  it("is safe for any name at all", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (name) => {
        const folder = folderNameFor(name);
        expect(folder).toMatch(/^[\p{L}\p{N}][\p{L}\p{M}\p{N}-]*$/u);
        expect(folder).not.toMatch(/-$/);
        expect(Buffer.byteLength(folder)).toBeLessThanOrEqual(128);
        expect(folder.normalize("NFC")).toBe(folder);
      }),
      { numRuns: 150 },
    );
  });
});

describe("unique names", () => {
  it("counts up, also where only the case differs", () => {
    expect(uniqueFolderName("web", [])).toBe("web");
    expect(uniqueFolderName("web", ["WEB", "web-2"])).toBe("web-3");
    expect(uniqueMachineName("Web", ["web", "Web (2)"], 120)).toBe("Web (3)");
  });

  it("stays within the longest name", () => {
    const name = "字".repeat(120);
    const unique = uniqueMachineName(name, [name], 120);
    expect([...unique]).toHaveLength(120);
    expect(unique.endsWith(" (2)")).toBe(true);
  });

  it("takes names that look the same for the same", () => {
    expect(comparable("ﬁle Ａ")).toBe(comparable("FILE A"));
    expect(comparable("e\u0301")).toBe(comparable("É"));
  });
});
