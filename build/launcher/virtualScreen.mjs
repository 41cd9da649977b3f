// A screen without a monitor, for tests that open windows.

import { spawn } from "node:child_process";
import { SetupError } from "./progress.mjs";

/**
 * Starts Xvfb on a display that it finds free itself.
 * @returns {Promise<{ display: string, stop: () => Promise<void> }>} `display` as DISPLAY wants it, like ":99"
 */
export function startVirtualScreen() {
  return new Promise((resolve, reject) => {
    const child = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    let errors = "";
    let number = "";
    const ended = new Promise((done) => child.once("close", done));
    const stop = async () => {
      child.kill("SIGTERM");
      await ended;
    };
    child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    child.stdio[3].setEncoding("utf8").on("data", (text) => {
      number += text;
      // It writes the number and a newline once it takes connections.
      if (number.includes("\n")) resolve({ display: `:${number.trim()}`, stop });
    });
    const failed = () => reject(new SetupError(`Xvfb could not start: ${errors.trim() || "no reason given"}`, "See that the Debian package xvfb is whole."));
    child.once("error", failed);
    child.once("close", failed);
  });
}
