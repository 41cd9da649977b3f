// Builds the starter guest into .cache/starter (or TERRARIUM_GUEST_DIR). Nothing to do costs nothing.
//
//   node build/starter/build.mjs [--update] [--quiet]
//
// --update asks apt for newer packages. Exit codes: 0 built or already there, 1 a defect, 3 something is missing on this
// computer, with what to do about it.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkout, guestDirectory, localCache } from "../launcher/paths.mjs";
import { commandLine } from "./commandLine.mjs";
import { writeCpio } from "./cpio.mjs";
import { compressedPayload, withUnpackedPayload } from "./kernel.mjs";
import { buildHash, builtManifest, describeFile, hashSources } from "./manifest.mjs";

const assets = join(checkout, "assets", "starter");
const sourceFolders = {
  assets,
  build: fileURLToPath(new URL(".", import.meta.url)),
};

async function build() {
  const update = process.argv.includes("--update");
  const report = process.argv.includes("--quiet") ? () => undefined : (line) => console.log(`starter guest: ${line}`);
  const sources = hashSources(sourceFolders);
  if (!update && builtManifest(guestDirectory, sources) !== undefined) {
    report("already built");
    return;
  }
  // Loaded only now: deciding that there is nothing to do must be quick.
  const { guestPackages } = await import("./packages.mjs");
  const { guestFiles } = await import("./rootfs.mjs");
  const packages = await guestPackages(join(localCache, "starter-packages"), { update, report });
  const { root, versions, kernelVersion } = packages;

  report(`kernel ${kernelVersion}: unpacking its image`);
  const vmlinuz = readFileSync(join(root, "boot", `vmlinuz-${kernelVersion}`));
  const unpacked = execFileSync("xz", ["-dc"], { input: compressedPayload(vmlinuz), maxBuffer: 256 << 20 });
  report("initial ramdisk: writing");
  const seabios = join(root, "usr/share/seabios");
  const files = {
    "vmlinuz": vmlinuz,
    "kernel-fast.bin": withUnpackedPayload(vmlinuz, unpacked),
    "initrd.cpio": writeCpio(guestFiles({ packages: root, kernelVersion, assets })),
    "bios.bin": readFileSync(join(seabios, "bios.bin")),
    "vgabios.bin": readFileSync(join(seabios, "vgabios-stdvga.bin")),
  };
  const manifest = {
    build: buildHash(sources, versions),
    sources,
    kernelVersion,
    cmdline: commandLine,
    packages: versions,
    files: Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, describeFile(bytes)])),
  };
  install(files, manifest);
  const megabytes = Object.values(files).reduce((sum, bytes) => sum + bytes.length, 0) / 1e6;
  report(`built, ${megabytes.toFixed(0)} MB`);
}

/** Puts a whole new folder in the old one's place: a reader finds the old guest or the new one, never a mixture. */
function install(files, manifest) {
  const parent = dirname(guestDirectory);
  mkdirSync(parent, { recursive: true });
  removeLeftovers(parent);
  const fresh = mkdtempSync(join(parent, `.${basename(guestDirectory)}-`));
  try {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(fresh, name), bytes);
    writeFileSync(join(fresh, "guest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
    const old = `${fresh}.old`;
    replaceFolder(guestDirectory, fresh, old);
    // Pre-booted states know which build they belong to; whoever made them removes them.
    if (existsSync(join(old, "states"))) renameSync(join(old, "states"), join(guestDirectory, "states"));
    rmSync(old, { recursive: true, force: true });
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
}

function replaceFolder(target, fresh, old) {
  try {
    renameSync(target, old);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  renameSync(fresh, target);
}

/** Removes folders of builds that were killed half way: no build takes an hour. */
function removeLeftovers(parent) {
  const own = `.${basename(guestDirectory)}-`;
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    if (name.startsWith(own) && Date.now() - statSync(path).mtimeMs > 3_600_000) rmSync(path, { recursive: true, force: true });
  }
}

build().catch((error) => {
  const expected = error.constructor.name === "PackagesUnavailable";
  console.error(`starter guest: ${expected ? error.message : error.stack}`);
  process.exitCode = expected ? 3 : 1;
});
