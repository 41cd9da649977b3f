import { describe, expect, it } from "vitest";
import { createLog } from "../../../core/base/log";

describe("a log", () => {
  it("writes time, level, scope and message on one line", () => {
    const lines: string[] = [];
    createLog((line) => lines.push(line), () => 0)
      .child("registry")
      .child("trash")
      .warn("cannot read");
    expect(lines).toEqual(["1970-01-01T00:00:00.000Z warn  registry/trash: cannot read"]);
  });

  it("prints the stack of a cause for developers", () => {
    const lines: string[] = [];
    createLog((line) => lines.push(line), () => 0).error("failed", new Error("why"));
    expect(lines).toHaveLength(2);
    expect(lines[1]).toContain("Error: why");
    expect(lines[1]).toContain("log.test.ts");
  });
});
