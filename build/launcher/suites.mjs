// The suites of `npm test`, in the order in which they find faults fastest. Each returns what it counted.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bundle } from "../bundle.mjs";
import { killGroup } from "./commands.mjs";
import { readJsonIfValid } from "./files.mjs";
import { checkout, localCache } from "./paths.mjs";
import { prepareStarterState } from "./preBootedState.mjs";
import { createProgress, SetupError } from "./progress.mjs";
import { countResults } from "./testResults.mjs";
import { startVirtualScreen } from "./virtualScreen.mjs";

const modules = join(checkout, "node_modules");
const work = join(localCache, "test");

/** @typedef {{ passed: number, failed: number, remarks: string[] }} Count */

/**
 * @type {{ name: string, needs: ("bundle" | "runtime" | "guest" | "programs" | "cloud" | "cloud-init" | "installer")[], long?: boolean,
 *   run: (filters: string[]) => Promise<Count> }[]}
 */
export const suites = [
  { name: "types", needs: [], run: checkTypes },
  { name: "lint", needs: [], run: () => asOne("eslint", [join(modules, "eslint/bin/eslint.js"), "--config", "build/eslint.config.mjs", "."], 240) },
  { name: "rules", needs: [], run: () => asOne("dependency rules", ["build/dependencyCheck.mjs"], 60) },
  { name: "bundle", needs: [], run: makeBundles },
  { name: "unit", needs: [], run: (filters) => vitest("unit", filters, 900) },
  { name: "state", needs: ["bundle", "guest"], run: makeState },
  { name: "integration", needs: ["bundle", "runtime", "guest", "programs", "cloud"], run: (filters) => onVirtualScreen((env) => vitest("integration", filters, 2400, env)) },
  { name: "e2e", needs: ["bundle", "runtime", "guest", "programs"], run: (filters) => onVirtualScreen((env) => vitest("e2e", filters, 1200, env)) },
  { name: "long", long: true, needs: ["bundle", "runtime", "guest", "programs", "cloud", "cloud-init", "installer"], run: (filters) => onVirtualScreen((env) => vitest("long", filters, 7200, env)) },
];

/** Every layer is compiled with its own tsconfig, so that a window sees no Node and the core no window. */
async function checkTypes() {
  const layers = [".", "electron", "renderer", "tests"];
  const counts = [];
  // Two at a time: that is what two cores can do.
  for (let index = 0; index < layers.length; index += 2) {
    const pair = layers.slice(index, index + 2).map((layer) => {
      const name = layer === "." ? "core" : layer;
      const cache = join(work, `${name}.tsbuildinfo`);
      const args = [join(modules, "typescript/bin/tsc"), "--noEmit", "--incremental", "--tsBuildInfoFile", cache, "-p", layer];
      return asOne(`types of ${name}`, args, 300);
    });
    counts.push(...(await Promise.all(pair)));
  }
  const failed = counts.some((count) => count.failed > 0) ? 1 : 0;
  return { passed: 1 - failed, failed, remarks: counts.flatMap((count) => count.remarks) };
}

async function makeBundles() {
  try {
    await bundle({ report: (line) => console.log(`  ${line}`) });
    return { passed: 1, failed: 0, remarks: [] };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return { passed: 0, failed: 1, remarks: [error.message] };
  }
}

/** Machines of the suites that follow start from it; a guest that cannot boot fails here, and says so. */
async function makeState() {
  const progress = createProgress();
  const made = await prepareStarterState(progress);
  return made ? { passed: 1, failed: 0, remarks: [] } : { passed: 0, failed: 1, remarks: ["the starter guest's pre-booted state could not be made"] };
}

/** A check that passes or fails as a whole. */
async function asOne(name, args, seconds) {
  const { code, timedOut } = await runShown(args, process.env, seconds);
  if (code === 0) return { passed: 1, failed: 0, remarks: [] };
  return { passed: 0, failed: 1, remarks: [`${name}: ${timedOut ? `not finished after ${seconds} s` : "failed, see above"}`] };
}

/** @param {number} seconds the limit of a run that hangs, not of a slow one */
async function vitest(project, filters, seconds, env = process.env) {
  const report = join(work, `${project}.json`);
  mkdirSync(work, { recursive: true });
  // A report of an earlier run must not stand in for one that this run could not write.
  rmSync(report, { force: true });
  const args = [
    join(modules, "vitest/vitest.mjs"),
    "run",
    "--config",
    "build/vitest.config.mjs",
    "--project",
    project,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...filters,
  ];
  // A test that forgot to make a home of its own must not come near the machines of whoever runs it.
  const home = join(work, "home");
  rmSync(home, { recursive: true, force: true });
  const { code, timedOut } = await runShown(args, { ...env, TERRARIUM_HOME: home }, seconds);
  const count = countResults(readJsonIfValid(report), code);
  if (timedOut) count.remarks.push(`${project}: not finished after ${seconds} s, ended`);
  return count;
}

async function onVirtualScreen(work) {
  const screen = await startVirtualScreen();
  try {
    const env = { ...process.env, DISPLAY: screen.display };
    // Else a toolkit would prefer the screen in front of the person who runs the tests.
    delete env.WAYLAND_DISPLAY;
    return await work(env);
  } finally {
    await screen.stop();
  }
}

/** Runs a Node script in a group of its own, with its output shown; after `seconds` the whole group is killed. */
function runShown(args, env, seconds) {
  if (!existsSync(args[0].startsWith("/") ? args[0] : join(checkout, args[0]))) throw new Error(`${args[0]} is missing`);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: checkout, env, detached: true, stdio: ["ignore", "inherit", "inherit"] });
    let timedOut = false;
    const stop = () => killGroup(child, true);
    const interrupted = () => {
      stop();
      process.exit(130);
    };
    process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
    const timer = setTimeout(() => {
      timedOut = true;
      stop();
    }, seconds * 1000);
    child.once("close", (code) => {
      clearTimeout(timer);
      process.removeListener("SIGINT", interrupted).removeListener("SIGTERM", interrupted);
      resolve({ code, timedOut });
    });
  });
}
