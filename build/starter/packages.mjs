// Fetches the guest's Debian packages through the host's apt with a state of our own: own lists, own cache, own (empty)
// package database, architecture i386. The host's sources, keyrings and proxy settings are read; nothing of it is changed.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJsonIfValid, writeFileAtomically } from "../launcher/files.mjs";

/** The release whose i386 kernel the guest uses; later ones have none. */
const guestRelease = "bookworm";
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const kernelPackage = "linux-image-686";
const programs = ["busybox-static", "mksh", "dropbear-bin", "iperf3", "perl-base", "e2fsprogs", "seabios"];
/** Of what the programs depend on, only libraries go into the guest; not those of the full perl. */
const isLibrary = (name) => /^(lib|zlib)/.test(name) && !/^libperl|-perl$|-common$/.test(name);

/** What the user has to do something about: printed without a stack, exit code 3. */
export class PackagesUnavailable extends Error {}

/**
 * Unpacked packages: `{ root, versions, kernelVersion }`, where `root` holds the files of all of them. What an earlier
 * build fetched is used again unless `update` is set.
 * @param {string} folder  our apt state and the unpacked files, kept between builds
 * @param {{ update?: boolean, report: (line: string) => void }} options
 */
export async function unpackedPackages(folder, { update = false, report }) {
  const root = join(folder, "root");
  const recordFile = join(folder, "packages.json");
  const record = readJsonIfValid(recordFile);
  const wanted = createHash("sha256").update(JSON.stringify([guestRelease, kernelPackage, programs])).digest("hex");
  if (!update && record?.wanted === wanted && existsSync(root)) {
    report(`Debian packages: ${Object.keys(record.versions).length} already here`);
    return { root, ...record };
  }
  await requireTools();
  const apt = await privateApt(folder);
  report("Debian packages: reading the lists");
  const { kernel, versions } = await resolve(apt, report);
  const names = Object.keys(versions);
  report(`Debian packages: fetching ${names.length} (about 60 MB)`);
  const archives = join(folder, "archives");
  rmSync(archives, { recursive: true, force: true });
  mkdirSync(archives, { recursive: true });
  await run("apt-get", ["-q", "download", ...names.map((name) => `${name}=${versions[name]}`)], {
    environment: apt,
    cwd: archives,
  }).catch((error) => {
    throw new PackagesUnavailable(`The starter guest's Debian packages could not be fetched.\n${error.message}\n${retryAdvice}`);
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
  const kernelVersion = kernel.replace(/^linux-image-/, "");
  writeFileAtomically(recordFile, JSON.stringify({ wanted, versions, kernelVersion }, undefined, 2));
  return { root, versions, kernelVersion };
}

const retryAdvice = "Check that this computer reaches its Debian mirror (`apt-get update`), then run the same command again.";

async function requireTools() {
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
        `The starter guest is built from Debian packages, and this computer has no \`${tool}\`.\n` +
          `Install it (on Debian and Ubuntu: apt-get install ${debianPackage}), or build the guest on a computer that has it\n` +
          "(node build/starter/build.mjs) and point TERRARIUM_GUEST_DIR at a copy of its .cache/starter.",
      );
    }
  }
}

/** Environment for apt with its whole configuration in one file of ours. */
async function privateApt(folder) {
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
    'APT::Architecture "i386";',
    'APT::Architectures { "i386"; };',
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

/** Names and versions to fetch. Tries the host's own sources, then the guest's release on the host's Debian mirrors. */
async function resolve(apt, report) {
  const failures = [];
  for (const useSources of [async () => apt, () => releaseSources(apt)]) {
    const environment = await useSources();
    if (environment === undefined) continue;
    // A list that cannot be had (a mirror in the middle of its sync) matters only if a package is missing then.
    const updated = await run("apt-get", ["-q", "update"], { environment }).then(
      () => undefined,
      (error) => error.message,
    );
    try {
      const found = await resolvePackages(environment);
      if (updated !== undefined) report("Debian packages: some lists could not be read; the others have all that is needed");
      Object.assign(apt, environment);
      return found;
    } catch (error) {
      failures.push(updated ?? error.message);
    }
  }
  throw new PackagesUnavailable(
    `The Debian packages of the starter guest (${kernelPackage}, ${programs.join(", ")}; i386) were not found.\n` +
      `${failures.join("\n")}\n${retryAdvice}\n` +
      `On a system that is not Debian, install debian-archive-keyring and add a source of Debian ${guestRelease}.`,
  );
}

async function resolvePackages(environment) {
  const dependencies = await run("apt-cache", ["depends", kernelPackage], { environment });
  const kernel = /Depends: (linux-image-\d\S*-686)$/m.exec(dependencies)?.[1];
  if (kernel === undefined) throw new Error(`${kernelPackage} depends on no kernel`);
  const policy = await run("apt-cache", ["show", "--no-all-versions", kernel], { environment });
  const kernelVersion = /^Version: (\S+)$/m.exec(policy)?.[1];
  if (kernelVersion === undefined) throw new Error(`${kernel} has no version`);
  const plan = await run("apt-get", ["-s", "install", ...programs], { environment });
  const versions = { [kernel]: kernelVersion };
  for (const [, name, version] of plan.matchAll(/^Inst (\S+) \((\S+) /gm)) {
    if (programs.includes(name) || isLibrary(name)) versions[name] = version;
  }
  const missing = programs.filter((name) => versions[name] === undefined);
  if (missing.length > 0) throw new Error(`not to be had: ${missing.join(", ")}`);
  return { kernel, versions };
}

/** apt with sources that name the guest's release on the Debian mirrors the host uses; undefined when it uses none. */
async function releaseSources(apt) {
  if (!existsSync(debianKeyring)) return undefined;
  const targets = await run("apt-get", ["indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(SUITE)"], { environment: apt });
  const mirrors = new Set();
  for (const [, uri, suite] of targets.matchAll(/^Debian (\S+) (\S+)$/gm)) {
    if (!suite.includes("security")) mirrors.add(uri);
  }
  if (mirrors.size === 0) return undefined;
  const folder = join(apt.APT_CONFIG, "..");
  const list = join(folder, "sources.list");
  const lines = [...mirrors].map((uri) => `deb [arch=i386 signed-by=${debianKeyring}] ${uri} ${guestRelease} main\n`);
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
