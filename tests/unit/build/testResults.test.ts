import { describe, expect, it } from "vitest";
import { countResults } from "../../../build/launcher/testResults.mjs";

const file = (status: string, ...tests: string[]) => ({
  name: "a.test.ts",
  status,
  assertionResults: tests.map((test, index) => ({ status: test, fullName: `test ${index}` })),
});

describe("counting a test run", () => {
  it("counts what passed and what failed", () => {
    const count = countResults({ testResults: [file("failed", "passed", "failed"), file("passed", "passed")] }, 1);
    expect(count).toEqual({ passed: 2, failed: 1, remarks: [] });
  });

  it("counts a skipped test and one left to do as failed", () => {
    const count = countResults({ testResults: [file("passed", "passed", "skipped", "todo", "pending")] }, 0);
    expect(count).toMatchObject({ passed: 1, failed: 3 });
    expect(count.remarks).toHaveLength(3);
  });

  it("counts a file that could not be loaded", () => {
    expect(countResults({ testResults: [file("failed"), file("passed", "passed")] }, 1)).toMatchObject({ passed: 1, failed: 1 });
  });

  it("counts a file whose set-up failed after its tests passed", () => {
    expect(countResults({ testResults: [file("failed", "passed")] }, 1)).toMatchObject({ passed: 1, failed: 1 });
  });

  it("counts a runner that died, wrote nothing, or ran nothing", () => {
    expect(countResults(undefined, null)).toMatchObject({ passed: 0, failed: 1 });
    expect(countResults({ testResults: [] }, 0)).toMatchObject({ passed: 0, failed: 1 });
    expect(countResults({ testResults: [file("passed", "passed")] }, 1)).toMatchObject({ passed: 1, failed: 1 });
    expect(countResults({ testResults: [file("passed", "passed")] }, null)).toMatchObject({ passed: 1, failed: 1 });
  });
});
