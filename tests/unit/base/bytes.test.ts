import { describe, expect, it } from "vitest";
import { formatSize, GiB, MiB, parseSize } from "../../../core/base/bytes";

describe("parseSize", () => {
  it("reads sizes as people write them", () => {
    expect(parseSize("2G")).toBe(2 * GiB);
    expect(parseSize(" 1.5 GiB ")).toBe(1.5 * GiB);
    expect(parseSize("256mb")).toBe(256 * MiB);
    expect(parseSize("512")).toBe(512);
  });

  it("counts a bare number in the unit it is given", () => {
    expect(parseSize("256", MiB)).toBe(256 * MiB);
    expect(parseSize("1G", MiB)).toBe(GiB);
  });

  it("refuses what is no size", () => {
    for (const text of ["", "G", "-1", "1.0001", "1e3", "two", "0x10", "1 2", "9".repeat(30)]) expect(parseSize(text), text).toBeUndefined();
  });
});

describe("formatSize", () => {
  it("keeps a digit after the point below ten only", () => {
    expect(formatSize(0)).toBe("0 bytes");
    expect(formatSize(1536 * MiB)).toBe("1.5 GB");
    expect(formatSize(812 * MiB)).toBe("812 MB");
    expect(formatSize(2 * GiB)).toBe("2 GB");
  });
});
