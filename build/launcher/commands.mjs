// Running other programs: with a time limit, and without leaving children behind.

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * Runs a program to its end.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, seconds?: number }} options
 *   `seconds` is the limit, after which the program and its children are killed
 * @returns {Promise<{ code: number | null, output: string, errors: string, timedOut: boolean }>} `code` is null when it
 *   could not be started or was killed
 */
export function run(command, args, { cwd, env = process.env, seconds } = {}) {
  return new Promise((resolve) => {
    const ownGroup = seconds !== undefined && process.platform !== "win32";
    const child = spawn(command, args, {
      cwd,
      env,
      detached: ownGroup,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let errors = "";
    let timedOut = false;
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (errors += text));
    const stop = () => killGroup(child, ownGroup);
    // In its own group it does not get the terminal's Ctrl+C, so it has to be passed on.
    const interrupted = () => {
      stop();
      process.exit(130);
    };
    if (ownGroup) process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
    const timer =
      seconds === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            stop();
          }, seconds * 1000);
    const end = (code) => {
      clearTimeout(timer);
      process.removeListener("SIGINT", interrupted).removeListener("SIGTERM", interrupted);
      resolve({ code, output, errors, timedOut });
    };
    child.once("error", (error) => {
      errors += error.message;
      end(null);
    });
    child.once("close", end);
  });
}

/** Kills a child and, when it leads a group, everything that it started. */
export function killGroup(child, ownGroup) {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(ownGroup ? -child.pid : child.pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error; // it ended by itself in between
  }
}

/** Runs npm itself: the one that runs this script when there is one, else the one on the path. */
export function runNpm(args, options) {
  const ours = process.env.npm_execpath;
  if (ours !== undefined && /npm-cli\.c?js$/.test(ours)) return run(process.execPath, [ours, ...args], options);
  return process.platform === "win32" ? run("cmd.exe", ["/c", "npm", ...args], options) : run("npm", args, options);
}

/** The full path of a program, or undefined when it is not on the path. */
export function findProgram(name, environment = process.env) {
  for (const folder of (environment.PATH ?? "").split(delimiter)) {
    if (folder === "") continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch (error) {
      if (!["ENOENT", "EACCES", "ENOTDIR"].includes(error.code)) throw error;
    }
  }
  return undefined;
}

/** The last lines of what a program said, to be shown with its failure. */
export function lastLines(text, count = 6) {
  return text.trim().split("\n").slice(-count).join("\n");
}
