// guest.json: what was built from what. The quick check that decides whether there is anything to build reads only our
// own sources and the sizes of the files made.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { readJsonIfValid } from "../launcher/files.mjs";

/** A hash over the names and contents of every file below the folders, independent of where they lie. */
export function hashSources(folders) {
  const hash = createHash("sha256");
  for (const [label, folder] of Object.entries(folders)) {
    const paths = readdirSync(folder, { recursive: true }).map(String).sort();
    for (const path of paths) {
      const file = join(folder, path);
      if (!statSync(file).isFile()) continue;
      const content = readFileSync(file);
      hash.update(`${label}/${path.replaceAll("\\", "/")}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest("hex");
}

/** The build's identity: it changes with our sources and with the version of any package. */
export function buildHash(sources, versions) {
  const sorted = Object.entries(versions).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify([sources, sorted])).digest("hex");
}

/** `{ sha256, size }` of a file's bytes. */
export function describeFile(bytes) {
  return { sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length };
}

/** The manifest in `folder` if that guest was built from sources with this hash and all its files are there, else undefined. */
export function builtManifest(folder, sources) {
  const manifest = readJsonIfValid(join(folder, "guest.json"));
  if (manifest?.sources !== sources) return undefined;
  const whole = Object.entries(manifest.files).every(
    ([name, { size }]) => statSync(join(folder, name), { throwIfNoEntry: false })?.size === size,
  );
  return whole ? manifest : undefined;
}
