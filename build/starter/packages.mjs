// The Debian packages that the guest is made of.

import { resolvedMetapackage, unpackedPackages } from "../launcher/debianArchive.mjs";

const kernelPackage = "linux-image-686";
const programs = ["busybox-static", "mksh", "dropbear-bin", "iperf3", "perl-base", "e2fsprogs", "seabios"];
/** Of what the programs depend on, only libraries go into the guest; not those of the full perl. */
const isLibrary = (name) => /^(lib|zlib)/.test(name) && !/^libperl|-perl$|-common$/.test(name);

/** @type {import("../launcher/debianArchive.mjs").Request} */
const request = {
  what: "starter guest",
  architecture: "i386",
  // The last release with a kernel for 32-bit PCs.
  release: "bookworm",
  wanted: [kernelPackage, programs],
  megabytes: 60,
  insteadOfApt: "build the guest on a computer that has it\n(node build/starter/build.mjs) and point TERRARIUM_GUEST_DIR at a copy of its .cache/starter.",
  async choose(ask) {
    const kernel = await resolvedMetapackage(ask, kernelPackage, /^linux-image-\d\S*-686$/);
    const plan = await ask("apt-get", "-s", "install", ...programs);
    const versions = { [kernel.name]: kernel.version };
    for (const [, name, version] of plan.matchAll(/^Inst (\S+) \((\S+) /gm)) {
      if (programs.includes(name) || isLibrary(name)) versions[name] = version;
    }
    const missing = programs.filter((name) => versions[name] === undefined);
    if (missing.length > 0) throw new Error(`not to be had: ${missing.join(", ")}`);
    return { versions, kernelVersion: kernel.name.replace(/^linux-image-/, "") };
  },
};

/**
 * The guest's packages, unpacked: `{ root, versions, kernelVersion }`.
 * @param {string} folder  our apt state and the unpacked files, kept between builds
 * @param {{ update?: boolean, report: (line: string) => void }} options
 */
export function guestPackages(folder, options) {
  return unpackedPackages(folder, request, options);
}
