// The starter guest: made when it is missing or when its sources changed.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { builtManifest, hashSources } from "../starter/manifest.mjs";
import { checkout, guestDirectory, localCache } from "./paths.mjs";
import { whileHolding } from "./setupLock.mjs";

const builderFolder = join(checkout, "build", "starter");

/**
 * Builds the guest when it is not there as its sources say. A failure is told and not fatal: the app works without, and
 * its wizard says what is missing.
 * @returns {Promise<boolean>} whether the guest is there
 */
export async function buildStarterGuest(progress) {
  if (isBuilt()) return true;
  return whileHolding(join(localCache, "starter.lock"), progress, async () => {
    if (isBuilt()) return true;
    progress.say("Building the starter guest (a small Linux out of Debian packages; once) ...");
    const began = performance.now();
    const code = await runBuilder();
    if (code !== 0) {
      progress.warn("The starter guest could not be built (the reason is above). Terrarium works without it, with images of your own.");
      return false;
    }
    progress.say(`Building the starter guest: done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    return true;
  });
}

/** Whether the guest is there, and made from the sources as they are now. */
export function isBuilt() {
  // A folder that was named on purpose is taken as it is.
  if (process.env.TERRARIUM_GUEST_DIR !== undefined && existsSync(join(guestDirectory, "guest.json"))) return true;
  const sources = hashSources({ assets: join(checkout, "assets", "starter"), build: builderFolder });
  return builtManifest(guestDirectory, sources) !== undefined;
}

function runBuilder() {
  return new Promise((resolve) => {
    // Its progress goes to our standard error: the command line's standard output belongs to its answer.
    const child = spawn(process.execPath, [join(builderFolder, "build.mjs")], { cwd: checkout, stdio: ["ignore", process.stderr, process.stderr] });
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
}
