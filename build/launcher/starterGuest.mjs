// The starter guest and its pre-booted state: made when missing or when their sources changed.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { spawn } from "node:child_process";
import { readTextIfThere, writeFileAtomically } from "./files.mjs";
import { checkout, guestDirectory, localCache } from "./paths.mjs";
import { whileHolding } from "./setupLock.mjs";

const builder = join(checkout, "build", "starter", "build.mjs");

/**
 * Builds the guest when it is not there as its sources say. A failure is told and not fatal: the app works without, and
 * its wizard says what is missing.
 * @returns {Promise<boolean>} whether the guest is there
 */
export async function buildStarterGuest(progress) {
  if (isBuilt()) return true;
  if (process.env.TERRARIUM_GUEST_DIR !== undefined) {
    progress.warn(`There is no starter guest in ${guestDirectory} (TERRARIUM_GUEST_DIR); starter machines cannot be made.`);
    return false;
  }
  return whileHolding(join(localCache, "starter.lock"), progress, async () => {
    if (isBuilt()) return true;
    progress.say("Building the starter guest (a small Linux out of Debian packages; once) ...");
    const began = performance.now();
    const code = await runBuilder();
    if (code !== 0 || !existsSync(join(guestDirectory, "guest.json"))) {
      progress.warn("The starter guest could not be built (the reason is above). Terrarium works without it, with images of your own.");
      return false;
    }
    writeFileAtomically(stampFile(), sourcesHash());
    progress.say(`Building the starter guest: done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    return true;
  });
}

/** Whether the guest is there, and made from the sources as they are now. */
export function isBuilt() {
  if (!existsSync(join(guestDirectory, "guest.json"))) return false;
  return process.env.TERRARIUM_GUEST_DIR !== undefined || readTextIfThere(stampFile()) === sourcesHash();
}

function stampFile() {
  return join(localCache, "starter.sources");
}

/** Everything that goes into the guest from this checkout, beside what the builder fetches. */
function sourcesHash() {
  const hash = createHash("sha256");
  for (const folder of ["build/starter", "assets/starter"]) {
    for (const path of filesBelow(join(checkout, folder))) {
      hash.update(relative(checkout, path)).update("\0").update(readFileSync(path)).update("\0");
    }
  }
  return hash.digest("hex");
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath ?? item.path, item.name))
    .sort();
}

function runBuilder() {
  return new Promise((resolve) => {
    // Its progress goes to our standard error: the command line's standard output belongs to its answer.
    const child = spawn(process.execPath, [builder], { cwd: checkout, stdio: ["ignore", process.stderr, process.stderr] });
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
}
