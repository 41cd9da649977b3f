// `npm test`: sets up what a fresh machine lacks, then runs the suites and counts.
//
//   npm test [-- [--long] [SUITE...] [FILE FILTER...]]
//
// Suites: types lint rules bundle unit state integration e2e, with --long also long. Words that name no suite choose test files.
// Exit code 1 on any failure; a test that was skipped, a suite that found no test and a runner that died are failures.

import { checkNode, installDependencies } from "./launcher/dependencies.mjs";
import { fetchDebianGuests } from "./launcher/debianGuests.mjs";
import { testPrograms } from "./launcher/debianPackages.mjs";
import { electronRuntime } from "./launcher/electronRuntime.mjs";
import { createProgress, reportFailure, SetupError } from "./launcher/progress.mjs";
import { buildStarterGuest } from "./launcher/starterGuest.mjs";
import { suites } from "./launcher/suites.mjs";
import { missingElectronLibraries, missingPrograms, provide } from "./launcher/systemPackages.mjs";

const given = process.argv.slice(2);
const unknown = given.filter((word) => word.startsWith("-") && word !== "--long");
const long = given.includes("--long");
const named = given.filter((word) => suites.some((suite) => suite.name === word));
const filters = given.filter((word) => !word.startsWith("-") && !named.includes(word));
const chosen = choose();
const progress = createProgress();

function choose() {
  const wanted = suites.filter((suite) => (named.length > 0 ? named.includes(suite.name) : long || !suite.long));
  const bundled = wanted.some((suite) => suite.needs.includes("bundle"));
  return suites.filter((suite) => wanted.includes(suite) || (bundled && (suite.name === "bundle" || suite.name === "state")));
}

async function setUp() {
  checkNode();
  if (unknown.length > 0) {
    throw new SetupError(`npm test knows no option ${unknown.join(", ")}.`, "It knows --long, names of suites, and parts of test file names.");
  }
  await installDependencies(progress);
  const needs = new Set(chosen.flatMap((suite) => suite.needs));
  const missing = needs.has("programs") ? missingPrograms(testPrograms) : [];
  if (needs.has("runtime")) {
    const runtime = await electronRuntime({ progress });
    for (const note of runtime.notes) progress.say(note);
    missing.push(...(await missingElectronLibraries(runtime.executable)));
  }
  await provide(missing, progress, { install: true, what: "`npm test`" });
  // The machine suites would only fail one by one without it; the reason is told once.
  if (needs.has("guest") && !(await buildStarterGuest(progress))) {
    throw new SetupError("The tests boot the starter guest, and it could not be built.", "The lines above say why.");
  }
  await fetchDebianGuests(["cloud", "cloud-init", "installer"].filter((name) => needs.has(name)), progress);
}

async function runSuites() {
  let passed = 0;
  let failed = 0;
  const lines = [];
  for (const suite of chosen) {
    console.log(`\n── ${suite.name} ──`);
    const began = performance.now();
    const count = await suite.run(filters);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    for (const remark of count.remarks) console.log(`  ${remark}`);
    lines.push(`  ${suite.name.padEnd(12)} ${seconds.padStart(7)} s  ${count.failed === 0 ? `${count.passed} ok` : `${count.failed} FAILED, ${count.passed} ok`}`);
    passed += count.passed;
    failed += count.failed;
  }
  console.log(`\n${lines.join("\n")}\n  in all       ${(performance.now() / 1000).toFixed(1).padStart(7)} s with set-up\n`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

try {
  await setUp();
  process.exitCode = await runSuites();
} catch (error) {
  process.exitCode = reportFailure(error);
  // Who only reads the last line must not take a set-up that failed for a run without failures.
  console.log("0 passed, 1 failed");
}
