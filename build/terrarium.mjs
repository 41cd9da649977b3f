#!/usr/bin/env node
// `npm run -s terrarium -- ARGUMENTS`: the command line out of a checkout. Builds what it needs first, and talks about that
// on standard error only.

import { createRequire } from "node:module";
import { join } from "node:path";
import { bundle } from "./bundle.mjs";
import { checkNode, installDependencies } from "./launcher/dependencies.mjs";
import { outDirectory } from "./launcher/paths.mjs";
import { createProgress, reportFailure } from "./launcher/progress.mjs";
import { buildStarterGuest } from "./launcher/starterGuest.mjs";

/** Only these can come to boot a guest; the others must not wait for one to be built. */
const verbsThatBoot = new Set(["create", "start", "serve"]);

const args = process.argv.slice(2);
const progress = createProgress({ stream: process.stderr });

async function prepare() {
  checkNode();
  await installDependencies(progress);
  await bundle({
    names: ["cli", "emulator", "emulatorWorker"],
    report: (line) => progress.say(`Bundled ${line}`),
  });
  if (verbsThatBoot.has(args[0])) await buildStarterGuest(progress);
}

try {
  await prepare();
  // In this process, so that a command costs one start of Node and keeps its terminal, signals and exit code.
  const cli = join(outDirectory, "cli.cjs");
  process.argv = [process.execPath, cli, ...args];
  createRequire(import.meta.url)(cli);
} catch (error) {
  process.exitCode = reportFailure(error);
}
