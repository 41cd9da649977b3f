// Debian's kernels that the tests boot as guests nobody here wrote. Fetched as packages, unpacked, never installed.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { candidateVersion, candidateVersions, PackagesUnavailable, recordOf, resolvedMetapackage, unpackedPackages } from "./debianArchive.mjs";
import { localCache } from "./paths.mjs";
import { SetupError } from "./progress.mjs";
import { whileHolding } from "./setupLock.mjs";

const folder = join(localCache, "debian-guests");
const shared = {
  architecture: "amd64",
  release: "bookworm",
  insteadOfApt: "run these tests on a computer that has it.",
};
const cloudKernel = "linux-image-cloud-amd64";
const busybox = "busybox-static";
const installerPackage = "debian-installer-12-netboot-amd64";
/** cloud-init and apt with what they call and are linked against; the rest of a system is busybox. */
const cloudInitPackages = [
  ...["cloud-init", "apt", "dpkg", "tar", "bash", "coreutils", "passwd", "mount", "util-linux", "libc-bin", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"],
  ...["attr", "certifi", "chardet", "configobj", "idna", "jinja2", "json-pointer", "jsonpatch", "jsonschema", "markupsafe", "netifaces", "oauthlib", "pkg-resources", "pyrsistent", "requests", "serial", "six", "urllib3", "yaml"].map((name) => `python3-${name}`),
  ...["acl1", "apt-pkg6.0", "audit1", "blkid1", "bz2-1.0", "c6", "cap-ng0", "cap2", "crypt1", "expat1", "ffi8", "gcc-s1", "gcrypt20", "gmp10", "gnutls30", "gpg-error0", "hogweed6", "idn2-0", "lz4-1", "lzma5", "md0", "mount1", "nettle8"].map((name) => `lib${name}`),
  ...["p11-kit0", "pam0g", "pam-modules", "pcre2-8-0", "seccomp2", "selinux1", "semanage2", "sepol2", "smartcols1", "sqlite3-0", "ssl3", "stdc++6", "systemd0", "tasn1-6", "tinfo6", "udev1", "unistring2", "uuid1", "xxhash0", "yaml-0-2", "zstd1"].map((name) => `lib${name}`),
  "zlib1g",
];

/** @type {Record<"cloud" | "cloud-init" | "installer", import("./debianArchive.mjs").Request>} */
const requests = {
  cloud: {
    ...shared,
    what: "tests' cloud guest",
    wanted: [cloudKernel, busybox],
    megabytes: 28,
    async choose(ask) {
      const kernel = await resolvedMetapackage(ask, cloudKernel, /^linux-image-\d\S*-cloud-amd64$/);
      return { versions: { [kernel.name]: kernel.version, [busybox]: await candidateVersion(ask, busybox) }, kernelVersion: kernel.name.replace(/^linux-image-/, "") };
    },
  },
  "cloud-init": {
    ...shared,
    what: "tests' guest with cloud-init",
    wanted: cloudInitPackages,
    megabytes: 33,
    choose: async (ask) => ({ versions: await candidateVersions(ask, cloudInitPackages) }),
  },
  installer: {
    ...shared,
    what: "tests' Debian installer",
    wanted: [installerPackage],
    megabytes: 133,
    choose: async (ask) => ({ versions: { [installerPackage]: await candidateVersion(ask, installerPackage) } }),
  },
};

/**
 * Fetches what is not there yet.
 * @param {("cloud" | "cloud-init" | "installer")[]} names
 */
export async function fetchDebianGuests(names, progress) {
  const missing = () => names.filter((name) => recordOf(join(folder, name), requests[name]) === undefined);
  if (missing().length === 0) return;
  await whileHolding(join(localCache, "debian-guests.lock"), progress, async () => {
    for (const name of missing()) {
      const { what, megabytes } = requests[name];
      try {
        await progress.during(`Fetching the ${what} from Debian (${megabytes} MB)`, () =>
          unpackedPackages(join(folder, name), requests[name], { aptFolder: join(folder, "apt"), report: progress.detail }),
        );
      } catch (error) {
        if (!(error instanceof PackagesUnavailable)) throw error;
        const [message, ...remedy] = error.message.split("\n");
        throw new SetupError(message, remedy.join("\n"));
      }
    }
  });
}

/**
 * Debian's kernel for clouds: it has drivers for virtual hardware only.
 * @returns {{ kernel: string, modules: string, busybox: string }} a kernel image, a folder with modules, a static program
 */
export function cloudGuestFiles() {
  const root = join(folder, "cloud", "root");
  const { kernelVersion } = recordOf(join(folder, "cloud"), requests.cloud) ?? {};
  return {
    kernel: mustExist(join(root, "boot", `vmlinuz-${kernelVersion}`)),
    modules: mustExist(join(root, "lib", "modules", String(kernelVersion))),
    busybox: mustExist(join(root, "bin", "busybox")),
  };
}

/** @returns {string} a folder with the files of cloud-init, apt and what they need, unpacked and not configured */
export function cloudInitFiles() {
  return mustExist(join(folder, "cloud-init", "root"));
}

/** @returns {{ kernel: string, initrd: string }} Debian's installer for starting over a network, with a text screen */
export function installerFiles() {
  const images = join(folder, "installer", "root/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64");
  return { kernel: mustExist(join(images, "linux")), initrd: mustExist(join(images, "initrd.gz")) };
}

function mustExist(path) {
  if (existsSync(path)) return path;
  throw new SetupError(`${path} is not there.`, "Run the tests with `npm test`, which fetches it.");
}
