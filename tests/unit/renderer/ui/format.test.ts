import { describe, expect, it } from "vitest";
import { formatSize } from "../../../../core/base/bytes";
import { formatBytes, formatDuration, formatWhen, plural } from "../../../../renderer/ui/format";

const minute = 60_000;
const hour = 60 * minute;

describe("words for people", () => {
  it("writes sizes as the command line does", () => {
    for (const bytes of [0, 1, 1023, 1024, 1536, 10 * 1024, 812 * 1024 ** 2, 2 * 1024 ** 3, 1.5 * 1024 ** 3, 3 * 1024 ** 4]) {
      expect(formatBytes(bytes)).toBe(formatSize(bytes));
    }
  });

  it("writes how long something lasts", () => {
    expect([-5, 12_300, 4 * minute, 2 * hour + 41 * minute, 3 * hour, 26 * hour, 75 * hour].map(formatDuration)).toEqual(["0 s", "12 s", "4 min", "2 h 41 min", "3 h", "1 day", "3 days"]);
  });

  it("writes when something was, the coarser the longer ago", () => {
    const now = new Date(2026, 10, 22, 15, 0).getTime();
    expect(formatWhen(now - 5_000, now)).toBe("just now");
    expect(formatWhen(now - 5 * minute, now)).toBe("5 min ago");
    expect(formatWhen(now - 20 * hour, now)).toBe("yesterday");
    expect(formatWhen(now - 10 * 24 * hour, now)).toContain("12");
    expect(formatWhen(now - 400 * 24 * hour, now)).toContain("2025");
  });

  it("counts", () => {
    expect([plural(1, "machine"), plural(3, "machine"), plural(0, "machine")]).toEqual(["1 machine", "3 machines", "0 machines"]);
  });
});
