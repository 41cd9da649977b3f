import { describe, expect, it } from "vitest";
import { TerrariumError, toErrorData } from "../../../core/contract/errors";
import { MacAddress, MachineName, MachinePatch, maxNameLength } from "../../../core/contract/model";
import { isProcedureName, procedures } from "../../../core/contract/procedures";

describe("a machine's name", () => {
  it("may be in any script", () => {
    for (const name of ["web-01", "Büro", "实验室", "مختبر", "🌱 garden", "a/b\\c:d*"]) expect(MachineName.parse(name)).toBe(name.normalize("NFC"));
  });

  it("is trimmed and composed, so that two names that look the same are the same", () => {
    expect(MachineName.parse("  Bu\u0308ro ")).toBe("B\u00fcro");
  });

  it("counts characters, not code units", () => {
    expect(MachineName.safeParse("🌱".repeat(maxNameLength)).success).toBe(true);
    expect(MachineName.safeParse("🌱".repeat(maxNameLength + 1)).success).toBe(false);
  });

  it("is refused when blank or with control characters or line breaks", () => {
    for (const name of ["", "   ", "a\nb", "a\u0000b", "a\u001b[31m", "a\u2028b", "a\u0085b"]) expect(MachineName.safeParse(name).success, JSON.stringify(name)).toBe(false);
  });
});

describe("a MAC address", () => {
  it("is of a single station: the group bit is refused", () => {
    expect(MacAddress.safeParse("52:54:00:12:34:56").success).toBe(true);
    expect(MacAddress.safeParse("53:54:00:12:34:56").success).toBe(false);
    expect(MacAddress.safeParse("52:54:00:12:34").success).toBe(false);
    expect(MacAddress.safeParse("52:54:00:12:34:5G").success).toBe(false);
  });
});

describe("a patch", () => {
  it("refuses settings it does not know, so that a typing error is not lost", () => {
    expect(MachinePatch.safeParse({ memory: 12 }).success).toBe(false);
  });
});

describe("errors", () => {
  it("cross a process with code, message and remedy", () => {
    const data = toErrorData(new TerrariumError("disk-full", "No room.", "Make some."));
    expect(data).toEqual({ code: "disk-full", message: "No room.", remedy: "Make some." });
    expect(TerrariumError.fromData(data).toData()).toEqual(data);
  });

  it("are a fault of ours when nobody expected them", () => {
    expect(toErrorData(new TypeError("x is undefined")).code).toBe("internal");
    expect(toErrorData("odd").code).toBe("internal");
  });
});

describe("procedures", () => {
  it("are known by their own names only", () => {
    expect(isProcedureName("machine.list")).toBe(true);
    for (const name of ["toString", "__proto__", "constructor", "machine", 1, null]) expect(isProcedureName(name)).toBe(false);
  });

  it("each say what they do", () => {
    for (const [name, procedure] of Object.entries(procedures)) expect(procedure.doc, name).toMatch(/^[A-Z].{10,}\.$/s);
  });
});
