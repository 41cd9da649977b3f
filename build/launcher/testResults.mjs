// Counts what a run of vitest did, so that nothing that went wrong can count as passed.

/**
 * @param {{ testResults: { name: string, status: string, message?: string, assertionResults: { status: string, fullName: string }[] }[] } | undefined} report
 *   vitest's JSON report; undefined when it wrote none
 * @param {number | null} exitCode of vitest; null when it was killed
 * @returns {{ passed: number, failed: number, remarks: string[] }} `remarks` tell of failures that vitest's own output
 *   does not show as failed tests
 */
export function countResults(report, exitCode) {
  const remarks = [];
  if (report === undefined) return { passed: 0, failed: 1, remarks: ["the test runner ended without a report"] };
  let passed = 0;
  let failed = 0;
  for (const file of report.testResults) {
    for (const test of file.assertionResults) {
      if (test.status === "passed") passed++;
      else failed++;
      if (test.status !== "passed" && test.status !== "failed") {
        remarks.push(`${test.status} counts as failed: ${test.fullName} (${file.name})`);
      }
    }
    if (file.status !== "passed" && file.assertionResults.every((test) => test.status === "passed")) {
      failed++;
      remarks.push(`the file failed outside of its tests: ${file.name}`);
    } else if (file.assertionResults.length === 0) {
      failed++;
      remarks.push(`the file has no tests: ${file.name}`);
    }
  }
  if (passed + failed === 0) {
    failed = 1;
    remarks.push("no test was run");
  }
  if (exitCode !== 0 && failed === 0) {
    failed = 1;
    remarks.push(`every test passed, but the test runner ended with ${exitCode === null ? "a signal" : `exit code ${exitCode}`}`);
  }
  return { passed, failed, remarks };
}
