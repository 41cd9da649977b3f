// Which kernel modules go into the guest and in which order they load. The package carries no modules.dep (depmod writes
// it at installation), so dependencies are read from the modules themselves.

import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { sectionNamed } from "./elf.mjs";

/**
 * Groups of modules, each loaded at its own moment (assets/starter says when). Names as in the kernel's tree.
 * `crc32c_generic` is what ext4 asks the crypto layer for; nothing loads it on demand here.
 */
export const moduleGroups = {
  boot: ["virtio_pci", "virtio_net", "virtio_console", "evdev", "button"],
  disk: ["crc32c_generic", "ext4"],
  blockDriver: ["virtio_blk"],
  later: ["ata_piix", "ata_generic", "ahci", "sr_mod", "isofs", "virtio-rng", "virtio_balloon", "pvpanic-pci"],
  // Only for whoever wants them: modprobe finds these, nothing loads them.
  available: ["psmouse", "bochs"],
};

/** All module files below `folder`: a map from module name (dashes as underscores, as the kernel does) to path. */
export function findModules(folder) {
  const found = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name.endsWith(".ko")) {
      found.set(moduleName(entry.name), join(entry.parentPath ?? entry.path, entry.name));
    }
  }
  return found;
}

/**
 * For each group the module names in load order, every dependency before what needs it and nothing twice; and
 * `dependencies`, each module's direct ones.
 * @param {Record<string, string[]>} groups
 * @param {(name: string) => string[] | undefined} dependenciesOf  undefined: there is no such module
 */
export function loadOrder(groups, dependenciesOf) {
  const dependencies = new Map();
  const order = {};
  const add = (name, list, path) => {
    if (dependencies.has(name)) return;
    if (path.includes(name)) throw new Error(`kernel modules depend on each other: ${[...path, name].join(" -> ")}`);
    const needed = dependenciesOf(name);
    if (needed === undefined) throw new Error(`the kernel has no module ${[...path, name].join(" -> ")}`);
    for (const one of needed) add(one, list, [...path, name]);
    dependencies.set(name, needed);
    list.push(name);
  };
  for (const [group, names] of Object.entries(groups)) {
    order[group] = [];
    for (const name of names) add(moduleName(name), order[group], []);
  }
  return { order, dependencies };
}

/** The direct dependencies that a module file names. */
export function moduleDependencies(bytes) {
  const information = sectionNamed(bytes, ".modinfo");
  if (information === undefined) throw new Error("a kernel module without its information section");
  const line = information.toString("latin1").split("\0").find((one) => one.startsWith("depends="));
  return (line ?? "depends=").slice("depends=".length).split(",").filter(Boolean).map(moduleName);
}

/** The modules for the guest: `{ order, files: Map<name, Buffer>, dependencyFile }` (modules.dep for modprobe). */
export function guestModules(folder) {
  const found = findModules(folder);
  const files = new Map();
  const { order, dependencies } = loadOrder(moduleGroups, (name) => {
    const path = found.get(name);
    if (path === undefined) return undefined;
    const bytes = readFileSync(path);
    files.set(name, withoutSignature(bytes));
    return moduleDependencies(bytes);
  });
  // modprobe loads a line from its end, so what everything needs comes last: the load order backwards.
  const closure = (name) => new Set(dependencies.get(name).flatMap((one) => [one, ...closure(one)]));
  const backwards = [...dependencies.keys()].reverse();
  const lines = [...files.keys()].map((name) => `${name}.ko: ${backwards.filter((one) => closure(name).has(one)).map((one) => `${one}.ko`).join(" ")}`.trimEnd());
  return { order, files, dependencyFile: `${lines.join("\n")}\n` };
}

const signatureMark = "~Module signature appended~\n";
const signatureInfoBytes = 12;

/**
 * The module without the signature at its end (struct module_signature, include/linux/module_signature.h). Checking it
 * costs an emulated processor more than loading the module, and the guest's kernel does not ask for one.
 */
export function withoutSignature(bytes) {
  const mark = bytes.length - signatureMark.length;
  if (mark < 0 || bytes.toString("latin1", mark) !== signatureMark) return bytes;
  const signatureBytes = bytes.readUInt32BE(mark - 4);
  const end = mark - signatureInfoBytes - signatureBytes;
  if (end < 0) throw new Error("a kernel module whose signature is longer than itself");
  return bytes.subarray(0, end);
}

function moduleName(file) {
  return basename(file, ".ko").replaceAll("-", "_");
}
