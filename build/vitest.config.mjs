// The suites. `npm test` runs them one after another; `npx vitest run --config build/vitest.config.mjs --project unit`
// runs one by hand. Timeouts are ceilings for a hung test, not a way of waiting.

import { defineConfig } from "vitest/config";

const seconds = 1000;

export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    pool: "forks",
    // A machine takes a core: more tests at once than that only makes all of them slow.
    maxWorkers: 2,
    allowOnly: false,
    passWithNoTests: false,
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["tests/unit/**/*.test.{ts,tsx,mjs}"], testTimeout: 20 * seconds },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["tests/integration/**/*.test.ts"],
          testTimeout: 120 * seconds,
          hookTimeout: 120 * seconds,
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["tests/e2e/**/*.test.ts"],
          // One display and one app at a time: windows on the same screen would cover each other.
          fileParallelism: false,
          testTimeout: 180 * seconds,
          hookTimeout: 180 * seconds,
        },
      },
      {
        extends: true,
        test: {
          name: "long",
          include: ["tests/long/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 3600 * seconds,
          hookTimeout: 300 * seconds,
        },
      },
    ],
  },
});
