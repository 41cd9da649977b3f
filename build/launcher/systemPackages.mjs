// Finds out which system packages are missing, and installs them or says how.

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { findProgram, lastLines, run } from "./commands.mjs";
import { electronLibraries } from "./debianPackages.mjs";
import { readTextIfThere, writeFileAtomically } from "./files.mjs";
import { localCache } from "./paths.mjs";
import { SetupError } from "./progress.mjs";

/** The libraries that `ldd` could not find, from its output. */
export function missingLibraries(lddOutput) {
  return [...lddOutput.matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name);
}

/** What the executable needs and this system lacks. */
export async function missingElectronLibraries(executable) {
  if (process.platform !== "linux" || findProgram("ldd") === undefined) return [];
  // Libraries come and go with packages only, so a good answer stays good until the package database changes.
  const stamp = join(localCache, "electron", "libraries-found");
  const state = [executable, statSync(executable).mtimeMs, changeTime("/var/lib/dpkg/status"), changeTime("/etc/ld.so.cache")].join("\n");
  if (readTextIfThere(stamp) === state) return [];
  const { output } = await run("ldd", [executable]);
  const missing = missingLibraries(output).map(
    (library) =>
      electronLibraries.find((need) => need.library === library) ?? {
        library,
        names: [],
        reason: "Electron is linked against it",
      },
  );
  if (missing.length === 0) writeFileAtomically(stamp, state);
  return missing;
}

/** Those of `needs` whose program is not on the path, or whose file is in none of its places. */
export function missingPrograms(needs) {
  return needs.filter((need) => (need.files === undefined ? findProgram(need.program) === undefined : !need.files.some((file) => existsSync(file))));
}

/**
 * Sees to it that nothing is missing: installs when allowed, root and on apt; otherwise throws with the exact command.
 * @param {import("./debianPackages.mjs").Need[]} missing
 * @param {{ install: boolean, what: string }} options `what` needs them, for the message
 */
export async function provide(missing, progress, { install, what }) {
  if (missing.length === 0) return;
  const apt = findProgram("apt-get") !== undefined;
  const list = unique(missing.map((need) => need.reason))
    .map((reason) => {
      const names = missing.filter((need) => need.reason === reason).map((need) => need.program ?? need.files?.[0] ?? need.library);
      return `${names.join(", ")} (${reason})`;
    })
    .join("; ");
  if (!apt) {
    throw new SetupError(
      `${what} needs what is not on this system: ${list}.`,
      `Install it with this system's package manager; on Debian the packages are called ${unique(missing.map((need) => need.names.at(-1) ?? need.library)).join(" ")}.`,
    );
  }
  const unknown = missing.filter((need) => need.names.length === 0);
  if (unknown.length > 0) {
    throw new SetupError(
      `${what} needs ${unknown.map((need) => need.library).join(", ")}, and no package is known here that brings it.`,
      "`apt-file search LIBRARY` (package apt-file) finds the package.",
    );
  }
  const root = process.getuid?.() === 0;
  if (!install || !root) {
    const names = await chooseNames(missing);
    throw new SetupError(
      `${what} needs what is not on this system: ${list}.`,
      `Install it with:\n${root ? "" : "sudo "}apt-get update && ${root ? "" : "sudo "}apt-get install -y --no-install-recommends ${names.join(" ")}`,
    );
  }
  await progress.during(`Installing Debian packages: ${unique(missing.flatMap((need) => need.names.at(-1))).join(" ")}`, async () => {
    // A machine that never asked for the package lists knows no package at all.
    await aptGet(["update", "-q"]);
    await aptGet(["install", "-y", "-q", "--no-install-recommends", ...(await chooseNames(missing))]);
  });
}

async function aptGet(args) {
  const result = await run("apt-get", args, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    seconds: 15 * 60,
  });
  if (result.code === 0) return;
  throw new SetupError(
    `apt-get ${args.join(" ")} failed${result.timedOut ? " (15 minutes were not enough)" : ""}:\n${lastLines(result.errors || result.output)}`,
    "Run that command by hand to see all of it.",
  );
}

/** For each need the first name that apt can install here. */
async function chooseNames(needs) {
  const names = unique(needs.flatMap((need) => need.names));
  const { output } = await run("apt-cache", ["policy", ...names], { env: { ...process.env, LC_ALL: "C" } });
  const available = availablePackages(output);
  return unique(needs.map((need) => need.names.find((name) => available.has(name)) ?? need.names.at(-1)));
}

/** The packages with an installation candidate, from the output of `apt-cache policy`. */
export function availablePackages(policyOutput) {
  const available = new Set();
  let name = "";
  for (const line of policyOutput.split("\n")) {
    const heading = /^(\S+):$/.exec(line);
    if (heading !== null) name = heading[1];
    else if (/^\s+Candidate: (?!\(none\))/.test(line)) available.add(name);
  }
  return available;
}

function unique(items) {
  return [...new Set(items)];
}

function changeTime(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
