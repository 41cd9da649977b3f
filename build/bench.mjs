// `npm run bench -- NAME [ARGUMENTS]`: runs tests/bench/NAME.ts on a machine set up as for the tests and prints its figures
// as JSON on standard output. Never part of the tests: figures are to be read, not to fail.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bundle, bundleForNode } from "./bundle.mjs";
import { checkNode, installDependencies } from "./launcher/dependencies.mjs";
import { benchPrograms, testPrograms } from "./launcher/debianPackages.mjs";
import { electronRuntime } from "./launcher/electronRuntime.mjs";
import { checkout, localCache } from "./launcher/paths.mjs";
import { prepareStarterState } from "./launcher/preBootedState.mjs";
import { createProgress, reportFailure, SetupError } from "./launcher/progress.mjs";
import { buildStarterGuest } from "./launcher/starterGuest.mjs";
import { missingElectronLibraries, missingPrograms, provide } from "./launcher/systemPackages.mjs";
import { startVirtualScreen } from "./launcher/virtualScreen.mjs";

const [name, ...args] = process.argv.slice(2);
const folder = join(checkout, "tests", "bench");
const progress = createProgress({ stream: process.stderr });

async function bench() {
  checkNode();
  const source = join(folder, `${name}.ts`);
  if (name === undefined || !existsSync(source)) {
    const known = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".ts")) : [];
    throw new SetupError(
      name === undefined ? "Which bench?" : `There is no bench called ${name}.`,
      `There are: ${known.map((file) => file.replace(/\.ts$/, "")).join(", ") || "none"}`,
    );
  }
  await installDependencies(progress);
  const runtime = await electronRuntime({ progress });
  await provide([...missingPrograms([...testPrograms, ...(benchPrograms[name] ?? [])]), ...(await missingElectronLibraries(runtime.executable))], progress, {
    install: true,
    what: "The bench",
  });
  const guestIsThere = await buildStarterGuest(progress);
  await bundle({ report: (line) => progress.say(`Bundled ${line}`) });
  if (guestIsThere) await prepareStarterState(progress);

  // Inside the checkout, so that what stays outside of the bundle is found in node_modules; and as deep below it as
  // build/launcher, whose modules are bundled along and find the checkout from their own place.
  const temporary = mkdtempSync(join(localCache, "bench-"));
  const screen = await startVirtualScreen();
  try {
    const script = join(temporary, `${name}.cjs`);
    await bundleForNode(source, script);
    // Programs that the bench starts lie beside it.
    for (const piece of readdirSync(join(folder, "pieces"))) {
      if (piece.startsWith(name) && piece.endsWith("Process.ts")) await bundleForNode(join(folder, "pieces", piece), join(temporary, piece.replace(/\.ts$/, ".cjs")));
    }
    const environment = { ...process.env, DISPLAY: screen.display, TERRARIUM_CHECKOUT: checkout };
    delete environment.WAYLAND_DISPLAY;
    return await new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [script, ...args], { stdio: "inherit", cwd: checkout, env: environment });
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 1));
    });
  } finally {
    await screen.stop();
    rmSync(temporary, { recursive: true, force: true });
  }
}

process.exitCode = await bench().catch((error) => reportFailure(error));
