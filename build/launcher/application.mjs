// Starts the app and stays with it until it ends.

import { spawn } from "node:child_process";
import { constants } from "node:os";

/**
 * @param {{ executable: string, args: string[] }} runtime
 * @param {string[]} given the app's own arguments
 * @param {() => void} started called when the process runs
 * @returns {Promise<number>} the exit code, as a shell would give it
 */
export function runApplication(runtime, given, started) {
  const environment = { ...process.env };
  // Set by whatever started us, it would make Electron a plain Node without a window.
  delete environment.ELECTRON_RUN_AS_NODE;
  return new Promise((resolve, reject) => {
    const child = spawn(runtime.executable, [...runtime.args, ...given], { stdio: "inherit", env: environment });
    // A terminal sends Ctrl+C to the app as well; this only keeps us here until it has finished. A signal that was sent
    // to us alone is passed on.
    const stay = () => undefined;
    const passOn = () => child.kill("SIGTERM");
    process.on("SIGINT", stay).on("SIGTERM", passOn).on("SIGHUP", passOn);
    child.once("spawn", started);
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
