// Puts the guest's root file system together: programs and libraries from the Debian packages, our own scripts from
// assets/starter, kernel modules.

import { readFileSync, readdirSync, realpathSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { isElf32, neededLibraries } from "./elf.mjs";
import { guestModules } from "./modules.mjs";

/** Programs by the package file they come from and where they go. */
const programs = {
  "bin/busybox": "/bin/busybox",
  "bin/mksh": "/bin/mksh",
  "usr/bin/perl": "/usr/bin/perl",
  "usr/sbin/dropbear": "/usr/sbin/dropbear",
  "usr/bin/dropbearkey": "/usr/bin/dropbearkey",
  "usr/bin/dbclient": "/usr/bin/dbclient",
  "usr/bin/iperf3": "/usr/bin/iperf3",
  "sbin/mke2fs": "/sbin/mke2fs",
  "sbin/e2fsck": "/sbin/e2fsck",
};
const libraryFolders = ["lib/i386-linux-gnu", "usr/lib/i386-linux-gnu", "lib", "usr/lib"];
const perlFolder = "usr/lib/i386-linux-gnu/perl-base";
/** What our scripts use of perl's own library; the rest would only fill memory. */
const perlFiles = ["strict.pm", "warnings.pm", "warnings/register.pm", "Carp.pm", "Exporter.pm", "vars.pm", "integer.pm"];
const folders = ["dev", "proc", "sys", "run", "tmp", "data", "mnt", "var/log", "root/.ssh", "etc/dropbear"];
const privateFolders = new Map([
  ["/root", 0o700],
  ["/root/.ssh", 0o700],
  ["/tmp", 0o1777],
]);
/** Commands that our own scripts or e2fsprogs provide in place of busybox. */
const replacedApplets = new Set(["busybox", "poweroff", "reboot", "halt", "mke2fs", "linuxrc", "init"]);

/**
 * @param {{ packages: string, kernelVersion: string, assets: string }} source  unpacked packages; assets/starter
 * @returns {Map<string, import("./cpio.mjs").Node>}
 */
export function guestFiles({ packages, kernelVersion, assets }) {
  const tree = new Map();
  const file = (path, content, mode = 0o644) => tree.set(path, { type: "file", content, mode });
  for (const folder of folders) tree.set(`/${folder}`, { type: "directory", mode: 0o755 });
  for (const [path, mode] of privateFolders) tree.set(path, { type: "directory", mode });
  // The kernel opens it for the first process before anything is mounted.
  tree.set("/dev/console", { type: "character", mode: 0o600, major: 5, minor: 1 });

  for (const [from, to] of Object.entries(programs)) file(to, readFileSync(join(packages, from)), 0o755);
  addLibraries(tree, packages);
  for (const name of perlFiles) file(`/${perlFolder}/${name}`, readFileSync(join(packages, perlFolder, name)));
  for (const applet of busyboxApplets(tree.get("/bin/busybox").content)) {
    if (!replacedApplets.has(applet)) tree.set(`/bin/${applet}`, { type: "link", target: "busybox" });
  }
  tree.set("/sbin/init", { type: "link", target: "/bin/busybox" });
  tree.set("/usr/bin/ssh", { type: "link", target: "dbclient" });
  tree.set("/sbin/mkfs.ext4", { type: "link", target: "mke2fs" });
  tree.set("/sbin/fsck.ext4", { type: "link", target: "e2fsck" });

  const modules = guestModules(join(packages, "lib/modules", kernelVersion));
  const moduleFolder = `/lib/modules/${kernelVersion}`;
  for (const [name, bytes] of modules.files) file(`${moduleFolder}/${name}.ko`, bytes);
  file(`${moduleFolder}/modules.dep`, Buffer.from(modules.dependencyFile));
  for (const [group, names] of Object.entries(modules.order)) {
    const list = names.map((name) => `${moduleFolder}/${name}.ko\n`).join("");
    file(`/usr/lib/terrarium/modules/${group}`, Buffer.from(list));
  }
  addAssets(tree, assets);
  return tree;
}

/** The files of assets/starter/root, at the same places in the guest; a script (`#!`) is executable. */
function addAssets(tree, assets) {
  const root = join(assets, "root");
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const content = readFileSync(path);
    const mode = content.toString("latin1", 0, 2) === "#!" ? 0o755 : 0o644;
    tree.set(`/${relative(root, path)}`, { type: "file", content, mode });
  }
}

function addLibraries(tree, packages) {
  const waiting = [...tree.values()].filter((node) => node.type === "file" && isElf32(node.content));
  while (waiting.length > 0) {
    for (const name of neededLibraries(waiting.pop().content)) {
      const path = `/lib/${name}`;
      if (tree.has(path)) continue;
      const found = libraryFolders.map((folder) => join(packages, folder, name)).find((one) => isFile(one));
      if (found === undefined) throw new Error(`no package of the guest has the library ${name}`);
      const node = { type: "file", content: readFileSync(realpathSync(found)), mode: 0o755 };
      tree.set(path, node);
      waiting.push(node);
    }
  }
}

function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/**
 * The names busybox answers to, read from its own table: names in order, each ended by a zero byte, the first being "[".
 * It is i386 code, which not every host can run to be asked.
 */
export function busyboxApplets(busybox) {
  const start = busybox.indexOf("[\0[[\0acpid\0", 0, "latin1");
  if (start === -1) throw new Error("busybox has no table of its commands where one is expected");
  const names = [];
  for (let at = start; ; ) {
    const end = busybox.indexOf(0, at);
    const name = busybox.toString("latin1", at, end);
    const previous = names[names.length - 1];
    if (end === -1 || !/^[[\w.-]+$/.test(name) || (previous !== undefined && name <= previous)) break;
    names.push(name);
    at = end + 1;
  }
  if (!names.includes("sh") || !names.includes("udhcpc")) throw new Error("busybox lacks commands that the guest needs");
  return names;
}

