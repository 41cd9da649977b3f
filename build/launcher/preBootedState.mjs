// The state that starter machines start from: made once for each build of the guest and of the emulator.

import { spawn } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkout, guestDirectory, localCache } from "./paths.mjs";
import { whileHolding } from "./setupLock.mjs";

const out = join(checkout, "out");
const stamp = join(guestDirectory, "states", ".prepared");

/**
 * Boots the starter guest once in the background of the set-up and keeps its state. A failure is told and not fatal:
 * machines then boot from cold. Needs the guest and the bundles.
 * @returns {Promise<boolean>} whether the state is there
 */
export async function prepareStarterState(progress) {
  if (isPrepared()) return true;
  return whileHolding(join(localCache, "state.lock"), progress, async () => {
    if (isPrepared()) return true;
    progress.say("Booting the starter guest once, so that machines start from its state in a moment ...");
    const began = performance.now();
    const code = await new Promise((resolve) => {
      const environment = { ...process.env, TERRARIUM_GUEST_DIR: guestDirectory };
      const child = spawn(process.execPath, [join(out, "cli.cjs"), "starter", "prepare"], { env: environment, stdio: ["ignore", "ignore", process.stderr] });
      child.once("error", () => resolve(null));
      child.once("close", resolve);
    });
    if (code !== 0) {
      progress.warn("The starter guest's state could not be made (the reason is above). Its machines start all the same, only slower.");
      return false;
    }
    writeFileSync(stamp, fingerprint());
    progress.say(`Booting the starter guest: done in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    return true;
  });
}

function isPrepared() {
  try {
    return readFileSync(stamp, "utf8") === fingerprint();
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
}

/** What a state depends on, as far as it can be told without reading it all: whoever starts a machine checks again. */
function fingerprint() {
  const files = [join(guestDirectory, "guest.json"), join(out, "emulator.cjs"), join(out, "emulatorWorker.cjs"), join(out, "v86.wasm")];
  return files.map((file) => statSync(file)).map(({ size, mtimeMs }) => `${size}:${mtimeMs}`).join("\n");
}
