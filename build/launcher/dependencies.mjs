// The npm packages: installed when missing or when the lock file asks for others than are there.

import { join } from "node:path";
import { lastLines, runNpm } from "./commands.mjs";
import { readJsonIfValid } from "./files.mjs";
import { checkout, localCache } from "./paths.mjs";
import { SetupError } from "./progress.mjs";
import { whileHolding } from "./setupLock.mjs";

const oldestNode = [20, 19];

/** Throws when this Node is too old for the tools we depend on. Plain syntax above so that an old Node gets this far. */
export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return;
  throw new SetupError(
    `Terrarium is built with Node ${oldestNode.join(".")} or later; this is Node ${version}.`,
    "Install a current Node (for example with your package manager or a Node version manager), then run this again.",
  );
}

/**
 * Why the installed packages are not what the lock file asks for, or undefined when they are. npm itself writes what it
 * installed to node_modules/.package-lock.json, last of all, so an interrupted installation is seen too.
 * @param {{ packages: Record<string, { version?: string, integrity?: string, optional?: boolean }> } | undefined} wanted
 * @param {{ packages: Record<string, { version?: string, integrity?: string }> } | undefined} installed
 */
export function whyInstall(wanted, installed) {
  if (installed?.packages === undefined) return "not installed yet";
  for (const [path, entry] of Object.entries(wanted?.packages ?? {})) {
    if (path === "") continue;
    const there = installed.packages[path];
    if (there === undefined) {
      // Packages for other platforms are in the lock file and never installed.
      if (entry.optional) continue;
      return `${path.replace(/^node_modules\//, "")} is missing`;
    }
    if (there.version !== entry.version || there.integrity !== entry.integrity) {
      return `${path.replace(/^node_modules\//, "")} has changed`;
    }
  }
  for (const path of Object.keys(installed.packages)) {
    if (wanted?.packages?.[path] === undefined) return `${path.replace(/^node_modules\//, "")} is no longer wanted`;
  }
  return undefined;
}

/** Installs the packages when needed. */
export async function installDependencies(progress) {
  if (reasonToInstall() === undefined) return;
  await whileHolding(join(localCache, "dependencies.lock"), progress, async () => {
    // Whoever held it before may have installed them.
    const reason = reasonToInstall();
    if (reason !== undefined) await progress.during(`Installing npm packages (${reason})`, npmInstall);
  });
}

function reasonToInstall() {
  return whyInstall(
    readJsonIfValid(join(checkout, "package-lock.json")),
    readJsonIfValid(join(checkout, "node_modules", ".package-lock.json")),
  );
}

async function npmInstall() {
  // Only errors: the current Electron asks for a newer Node than the tools need, which would look like a fault here.
  const result = await runNpm(["ci", "--loglevel=error"], { cwd: checkout, seconds: 15 * 60 });
  if (result.code === 0) return;
  throw new SetupError(
    `npm could not install the packages${result.timedOut ? " within 15 minutes" : ""}:\n${lastLines(result.errors || result.output)}`,
    "Check the network connection and run this again; `npm ci` shows everything npm has to say.",
  );
}
