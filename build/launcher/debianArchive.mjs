// Fetches Debian packages through the host's apt with a state of our own: own lists, own cache, own (empty) package
// database, an architecture of our choice. The host's sources, keyrings and proxy settings are read; nothing of it is
// changed, and nothing is installed: packages are only unpacked.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJsonIfValid, writeFileAtomically } from "./files.mjs";

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** What the user has to do something about: printed without a stack, exit code 3. */
export class PackagesUnavailable extends Error {}

/**
 * @typedef {{ what: string, architecture: string, release: string, wanted: (string | string[])[], megabytes: number, insteadOfApt: string,
 *   choose: (ask: (command: string, ...args: string[]) => Promise<string>) => Promise<{ versions: Record<string, string> }> }} Request
 *   `what` is made of the packages, for messages; `release` is Debian's name of the one that has them; `choose` asks apt
 *   for names and versions and throws when they are not to be had, and what else it answers is kept with them;
 *   `insteadOfApt` says what can be done on a computer without apt
 */

/**
 * Unpacked packages: `{ root, versions }` and what `choose` answered, where `root` holds the files of all of them. What
 * was fetched earlier is used again unless `update` is set.
 * @param {string} folder  the unpacked files, kept between builds
 * @param {Request} request
 * @param {{ aptFolder?: string, update?: boolean, report: (line: string) => void }} options `aptFolder`: where apt's state lies
 */
export async function unpackedPackages(folder, request, { aptFolder = folder, update = false, report }) {
  const root = join(folder, "root");
  const there = update ? undefined : recordOf(folder, request);
  if (there !== undefined) {
    report(`Debian packages: ${Object.keys(there.versions).length} already here`);
    return { root, ...there };
  }
  await requireTools(request);
  const apt = await privateApt(aptFolder, request.architecture);
  report("Debian packages: reading the lists");
  const chosen = await resolve(apt, request, report);
  const { versions } = chosen;
  const names = Object.keys(versions);
  report(`Debian packages: fetching ${names.length} (about ${request.megabytes} MB)`);
  const archives = join(folder, "archives");
  rmSync(archives, { recursive: true, force: true });
  mkdirSync(archives, { recursive: true });
  await run("apt-get", ["-q", "download", ...names.map((name) => `${name}=${versions[name]}`)], {
    environment: apt,
    cwd: archives,
  }).catch((error) => {
    throw new PackagesUnavailable(`The Debian packages of the ${request.what} could not be fetched.\n${error.message}\n${retryAdvice}`);
  });
  report("Debian packages: unpacking");
  const fresh = `${root}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  for (const archive of readdirSync(archives).sort()) {
    await run("dpkg-deb", ["-x", join(archives, archive), fresh]);
  }
  rmSync(root, { recursive: true, force: true });
  renameSync(fresh, root);
  rmSync(archives, { recursive: true, force: true });
  writeFileAtomically(join(folder, "packages.json"), JSON.stringify({ wanted: hashOf(request), ...chosen }, undefined, 2));
  return { root, ...chosen };
}

/** What was chosen for the packages that lie unpacked in `folder`, if they are those of `request`. */
export function recordOf(folder, request) {
  const record = readJsonIfValid(join(folder, "packages.json"));
  return record?.wanted === hashOf(request) && existsSync(join(folder, "root")) ? record : undefined;
}

function hashOf({ release, wanted }) {
  return createHash("sha256").update(JSON.stringify([release, ...wanted])).digest("hex");
}

const retryAdvice = "Check that this computer reaches its Debian mirror (`apt-get update`), then run the same command again.";

async function requireTools({ what, insteadOfApt }) {
  for (const [tool, debianPackage] of [
    ["apt-get", "apt"],
    ["dpkg-deb", "dpkg"],
    ["xz", "xz-utils"],
  ]) {
    const there = await run(tool, ["--version"]).then(
      () => true,
      (error) => {
        if (error.code === "ENOENT") return false;
        throw error;
      },
    );
    if (!there) {
      throw new PackagesUnavailable(
        `The ${what} is built from Debian packages, and this computer has no \`${tool}\`.\n` +
          `Install it (on Debian and Ubuntu: apt-get install ${debianPackage}), or ${insteadOfApt}`,
      );
    }
  }
}

/** Environment for apt with its whole configuration in one file of ours. */
async function privateApt(folder, architecture) {
  for (const part of ["state/lists/partial", "cache/archives/partial", "empty"]) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  writeFileSync(join(folder, "state/status"), "");
  const hostConfiguration = await run("apt-config", ["dump"]);
  const acquire = hostConfiguration.split("\n").filter((line) => /^Acquire::(?!IndexTargets|Languages|Retries)/.test(line));
  const configuration = [
    ...acquire,
    // Hooks in the host's apt.conf.d clean the host's own cache; they have no business here.
    `Dir::Etc::parts "${join(folder, "empty")}";`,
    'Dir::Etc::main "/dev/null";',
    `Dir::State "${join(folder, "state")}";`,
    `Dir::State::lists "${join(folder, "state/lists")}";`,
    `Dir::State::status "${join(folder, "state/status")}";`,
    `Dir::Cache "${join(folder, "cache")}";`,
    `APT::Architecture "${architecture}";`,
    `APT::Architectures { "${architecture}"; };`,
    'APT::Install-Recommends "false";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    // The download user of the host may not read below a user's home.
    'APT::Sandbox::User "";',
  ];
  const file = join(folder, "apt.conf");
  writeFileSync(file, `${configuration.join("\n")}\n`);
  return { ...process.env, APT_CONFIG: file, LC_ALL: "C" };
}

/** Names and versions to fetch. Tries the host's own sources, then the release on the host's Debian mirrors. */
async function resolve(apt, request, report) {
  const failures = [];
  for (const useSources of [async () => apt, () => releaseSources(apt, request)]) {
    const environment = await useSources();
    if (environment === undefined) continue;
    // A list that cannot be had (a mirror in the middle of its sync) matters only if a package is missing then.
    const updated = await run("apt-get", ["-q", "update"], { environment }).then(
      () => undefined,
      (error) => error.message,
    );
    try {
      const found = await request.choose((command, ...args) => run(command, args, { environment }));
      if (updated !== undefined) report("Debian packages: some lists could not be read; the others have all that is needed");
      Object.assign(apt, environment);
      return found;
    } catch (error) {
      failures.push(updated ?? error.message);
    }
  }
  throw new PackagesUnavailable(
    `The Debian packages of the ${request.what} (${request.wanted.flat().join(", ")}; ${request.architecture}) were not found.\n` +
      `${failures.join("\n")}\n${retryAdvice}\n` +
      `On a system that is not Debian, install debian-archive-keyring and add a source of Debian ${request.release}.`,
  );
}

/** apt with sources that name the release on the Debian mirrors the host uses; undefined when it uses none. */
async function releaseSources(apt, { architecture, release }) {
  if (!existsSync(debianKeyring)) return undefined;
  const targets = await run("apt-get", ["indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(SUITE)"], { environment: apt });
  const mirrors = new Set();
  for (const [, uri, suite] of targets.matchAll(/^Debian (\S+) (\S+)$/gm)) {
    if (!suite.includes("security")) mirrors.add(uri);
  }
  if (mirrors.size === 0) return undefined;
  const folder = join(apt.APT_CONFIG, "..");
  const list = join(folder, "sources.list");
  const lines = [...mirrors].map((uri) => `deb [arch=${architecture} signed-by=${debianKeyring}] ${uri} ${release} main\n`);
  writeFileSync(list, lines.join(""));
  const file = join(folder, "apt-release.conf");
  const own = [`Dir::Etc::sourcelist "${list}";`, `Dir::Etc::sourceparts "${join(folder, "empty")}";`];
  writeFileSync(file, `${readFileSync(apt.APT_CONFIG, "utf8")}${own.join("\n")}\n`);
  return { ...apt, APT_CONFIG: file };
}

function run(command, args, { environment = process.env, cwd } = {}) {
  return new Promise((resolvePromise, reject) => {
    execFile(command, args, { env: environment, cwd, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) resolvePromise(stdout);
      else reject(Object.assign(new Error(`${command} ${args[0]}: ${stderr.trim() || error.message}`), { code: error.code }));
    });
  });
}

/** The package that the metapackage `name` stands for: the first it depends on that matches `pattern`, with its version. */
export async function resolvedMetapackage(ask, name, pattern) {
  const dependencies = await ask("apt-cache", "depends", name);
  const found = [...dependencies.matchAll(/Depends: (\S+)$/gm)].map(([, dependency]) => dependency).find((dependency) => pattern.test(dependency));
  if (found === undefined) throw new Error(`${name} depends on no kernel`);
  return { name: found, version: await candidateVersion(ask, found) };
}

/** The versions that apt would install, by name. */
export async function candidateVersions(ask, names) {
  const found = new Map();
  for (const paragraph of (await ask("apt-cache", "show", "--no-all-versions", ...names)).split("\n\n")) {
    const [, name] = /^Package: (\S+)$/m.exec(paragraph) ?? [];
    const [, version] = /^Version: (\S+)$/m.exec(paragraph) ?? [];
    if (name !== undefined && version !== undefined) found.set(name, version);
  }
  const missing = names.filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`there is no ${missing.join(", ")}`);
  return Object.fromEntries(names.map((name) => [name, found.get(name)]));
}

/** The version that apt would install. */
export async function candidateVersion(ask, name) {
  const version = /^Version: (\S+)$/m.exec(await ask("apt-cache", "show", "--no-all-versions", name))?.[1];
  if (version === undefined) throw new Error(`${name} has no version`);
  return version;
}
