// `npm start`: everything from a fresh clone to the open window. What is done already costs nothing.
//
//   npm start [-- [--verbose] [--retry-electron] ARGUMENTS OF THE APP]

import { bundle } from "./bundle.mjs";
import { runApplication } from "./launcher/application.mjs";
import { checkNode, installDependencies } from "./launcher/dependencies.mjs";
import { checkDisplay, checkSandbox, checkScreenAnswers } from "./launcher/display.mjs";
import { electronRuntime } from "./launcher/electronRuntime.mjs";
import { prepareStarterState } from "./launcher/preBootedState.mjs";
import { createProgress, reportFailure } from "./launcher/progress.mjs";
import { buildStarterGuest } from "./launcher/starterGuest.mjs";
import { missingElectronLibraries, provide } from "./launcher/systemPackages.mjs";

const ownOptions = ["--verbose", "--retry-electron"];
const given = process.argv.slice(2);
const appArguments = given.filter((argument) => !ownOptions.includes(argument));
const progress = createProgress({ verbose: given.includes("--verbose") });

async function start() {
  checkNode();
  checkDisplay();
  await checkScreenAnswers();
  await installDependencies(progress);
  const runtime = await electronRuntime({ progress, retry: given.includes("--retry-electron"), given: appArguments });
  checkSandbox(runtime.executable, appArguments);
  await provide(await missingElectronLibraries(runtime.executable), progress, { install: false, what: "Electron" });
  const guestIsThere = await buildStarterGuest(progress);
  await bundle({ report: (line) => progress.say(`Bundled ${line}`) });
  if (guestIsThere) await prepareStarterState(progress);
  for (const note of runtime.notes) progress.say(note);
  return runApplication(runtime, appArguments, () => {
    const sinceStart = Math.round(performance.now());
    progress.detail(`Electron ${runtime.version} runs, ${sinceStart} ms after the launcher started.`);
  });
}

process.exitCode = await start().catch((error) => reportFailure(error));
