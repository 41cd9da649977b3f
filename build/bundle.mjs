// Bundles every process of the app into out/. What has not changed is not built again.
//
//   node build/bundle.mjs [--force] [NAME...]
//
// Main, preload, command line and machine processes are CommonJS for Node 18.15 (Electron 25 is the oldest runtime
// that has to run them); the windows are ES modules for Chromium 114, because noVNC awaits at the top of a module.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readJsonIfValid, writeFileAtomically } from "./launcher/files.mjs";
import { checkout, outDirectory } from "./launcher/paths.mjs";
import { reportFailure, SetupError } from "./launcher/progress.mjs";

const nodeProcess = {
  platform: "node",
  format: "cjs",
  target: "node18.15",
  external: ["electron", "koffi", "node-pty"],
  // A dependency that is published as an ES module may ask where it lies; a CommonJS bundle has to be told.
  define: { "import.meta.url": "bundleUrl" },
  banner: { js: 'const bundleUrl = require("node:url").pathToFileURL(__filename).href;' },
};

const browserWindow = {
  platform: "browser",
  format: "esm",
  splitting: true,
  minify: true,
  target: "chrome114",
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  chunkNames: "chunks/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  loader: { ".woff2": "file", ".woff": "file", ".png": "file", ".svg": "file" },
};

/**
 * Every bundle: `entries` maps the output's name (without extension) to its source and `copies` is what lies beside it
 * unchanged. `folder` is a folder of out/ of its own, in which nothing but this bundle's files stays.
 */
export const bundles = [
  { name: "main", entries: { main: "electron/main.ts" }, options: nodeProcess },
  {
    name: "preload",
    entries: { preload: "electron/preload.ts" },
    // A sandboxed preload script has no __filename and only a few modules; it must not need the banner.
    options: { ...nodeProcess, define: {}, banner: {} },
  },
  { name: "cli", entries: { cli: "core/cli/main.ts" }, options: nodeProcess },
  { name: "netHelper", entries: { netHelper: "core/net/link/privileged.ts" }, options: nodeProcess },
  { name: "fabric", entries: { fabric: "core/net/fabric.ts" }, options: nodeProcess },
  { name: "emulator", entries: { emulator: "core/emulator/main.ts" }, options: nodeProcess },
  {
    name: "emulatorWorker",
    entries: { emulatorWorker: "core/emulator/worker.ts", emulatorCore: "core/emulator/coreCompiler.ts" },
    options: nodeProcess,
    copies: { "v86.wasm": "node_modules/v86/build/v86.wasm" },
  },
  {
    name: "renderer",
    folder: "renderer",
    entries: { main: "renderer/main.tsx", console: "renderer/console.tsx" },
    options: browserWindow,
    copies: { "index.html": "renderer/index.html", "console.html": "renderer/console.html" },
  },
];

/**
 * Builds what has changed.
 * @param {{ names?: string[], force?: boolean, report?: (line: string) => void }} options
 * @returns {Promise<string[]>} the names that were built
 */
export async function bundle({ names, force = false, report = () => {} } = {}) {
  const wanted = bundles.filter((entry) => names === undefined || names.length === 0 || names.includes(entry.name));
  const recipe = recipeHash();
  const stale = wanted.filter((entry) => presentEntries(entry).length > 0 && (force || !isCurrent(entry, recipe)));
  // A mistake in one bundle must not cut another off in the middle of its files.
  const results = await Promise.allSettled(stale.map((entry) => build(entry, recipe, report)));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw explain(failed.reason);
  return stale.map((entry) => entry.name);
}

/** esbuild has shown each mistake with its place already; what is left to say is that there are some. */
function explain(error) {
  if (error.errors === undefined) return error;
  return new SetupError(
    `The sources could not be bundled: ${error.errors.length} mistake(s), shown above.`,
    "`npm test -- types` shows what the compiler says to it.",
  );
}

/** Bundles one TypeScript file for Node into `outfile`, as the benches need it. */
export async function bundleForNode(source, outfile) {
  const { build: esbuild } = await import("esbuild");
  await esbuild({
    ...nodeProcess,
    external: [...nodeProcess.external, "playwright-core"],
    entryPoints: [source],
    outfile,
    bundle: true,
    sourcemap: "inline",
    logLevel: "warning",
    absWorkingDir: checkout,
  });
}

async function build(entry, recipe, report) {
  const began = performance.now();
  const { build: esbuild } = await import("esbuild");
  const result = await esbuild({
    ...entry.options,
    entryPoints: Object.fromEntries(presentEntries(entry)),
    outdir: folderOf(entry),
    outExtension: entry.options.format === "cjs" ? { ".js": ".cjs" } : {},
    bundle: true,
    metafile: true,
    sourcemap: true,
    write: false,
    logLevel: "warning",
    legalComments: "none",
    absWorkingDir: checkout,
  });
  const outputs = [];
  for (const file of result.outputFiles) {
    writeFileAtomically(file.path, file.contents);
    outputs.push(relative(folderOf(entry), file.path));
  }
  const copies = presentCopies(entry);
  for (const [to, from] of copies) {
    writeFileAtomically(join(folderOf(entry), to), readFileSync(join(checkout, from)));
    outputs.push(to);
  }
  if (entry.folder !== undefined) removeOthers(entry, outputs);

  // What npm installed is covered by the lock file in the recipe, so only our own sources are looked at each time.
  const sources = Object.keys(result.metafile.inputs).filter((path) => !path.startsWith("node_modules/"));
  const inputs = {};
  for (const path of [...sources, ...copies.map(([, from]) => from)]) inputs[path] = fingerprint(path);
  writeFileAtomically(stampFile(entry), JSON.stringify({ recipe, entries: presentEntries(entry), inputs, outputs }));

  const bytes = result.outputFiles.reduce((sum, file) => (file.path.endsWith(".map") ? sum : sum + file.contents.length), 0);
  report(`${entry.name}: ${Math.round(bytes / 1024)} KiB in ${Math.round(performance.now() - began)} ms`);
}

function isCurrent(entry, recipe) {
  const stamp = readJsonIfValid(stampFile(entry));
  if (stamp === undefined || stamp.recipe !== recipe) return false;
  if (JSON.stringify(stamp.entries) !== JSON.stringify(presentEntries(entry))) return false;
  if (presentCopies(entry).some(([to]) => !stamp.outputs.includes(to))) return false;
  return (
    Object.entries(stamp.inputs).every(([path, seen]) => fingerprint(path) === seen) &&
    stamp.outputs.every((path) => existsSync(join(folderOf(entry), path)))
  );
}

/** Bundles are remade when this file, the tsconfigs or the installed packages change. */
function recipeHash() {
  const hash = createHash("sha256");
  for (const path of ["build/bundle.mjs", "package-lock.json", "tsconfig.json", "renderer/tsconfig.json"]) {
    const file = join(checkout, path);
    hash.update(existsSync(file) ? readFileSync(file) : "missing").update("\0");
  }
  return hash.digest("hex");
}

function presentEntries(entry) {
  return Object.entries(entry.entries).filter(([, source]) => existsSync(join(checkout, source)));
}

function presentCopies(entry) {
  return Object.entries(entry.copies ?? {}).filter(([, source]) => existsSync(join(checkout, source)));
}

function stampFile(entry) {
  return join(outDirectory, ".stamps", `${entry.name}.json`);
}

/** Size and time of change: enough to see an edit, and free of reading. */
function fingerprint(path) {
  const stats = statSync(resolve(checkout, path), { throwIfNoEntry: false });
  return stats === undefined ? "missing" : `${stats.size}:${stats.mtimeMs}`;
}

function folderOf(entry) {
  return join(outDirectory, entry.folder ?? "");
}

function removeOthers(entry, outputs) {
  const keep = new Set(outputs.map((path) => join(folderOf(entry), path)));
  for (const item of readdirSync(folderOf(entry), { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath ?? item.path, item.name);
    if (item.isFile() && !keep.has(path) && !path.endsWith(".tmp")) rmSync(path, { force: true });
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const unknown = args.filter((arg) => arg !== "--force" && !bundles.some((entry) => entry.name === arg));
  if (unknown.length > 0) {
    console.error(`bundle: no bundle is called ${unknown.join(", ")}; there are ${bundles.map((b) => b.name).join(", ")}`);
    process.exit(2);
  }
  const began = performance.now();
  try {
    const built = await bundle({
      names: args.filter((arg) => arg !== "--force"),
      force: args.includes("--force"),
      report: (line) => console.log(`bundle: ${line}`),
    });
    if (built.length === 0) console.log(`bundle: nothing changed (${Math.round(performance.now() - began)} ms)`);
  } catch (error) {
    process.exitCode = reportFailure(error);
  }
}
