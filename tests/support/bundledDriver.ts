import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll } from "vitest";

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A TypeScript file as a program that plain Node runs, for the length of the suite. */
export function useDriver(source: string): { readonly path: string } {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tt-driver-"));
    await build({
      ...{ entryPoints: [source], outfile: join(folder, "driver.cjs"), bundle: true, platform: "node", format: "cjs", target: "node18", logLevel: "error" },
      // As the app's bundles have it (build/bundle.mjs).
      define: { "import.meta.url": "bundleUrl" },
      banner: { js: 'const bundleUrl = require("node:url").pathToFileURL(__filename).href;' },
    });
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return {
    get path() {
      return join(folder, "driver.cjs");
    },
  };
}

export function start(command: string, args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(command, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
}

/** Runs a program to its end. */
export async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const child = start(command, args, env);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/**
 * Runs a program where it may mount without anyone outside seeing it: in a mount namespace of its own, and in a user namespace
 * too for people who are not the superuser.
 */
export function runWithMounts(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const namespaces = process.getuid?.() === 0 ? ["-m"] : ["-U", "-r", "-m"];
  return run("unshare", [...namespaces, "--", command, ...args], env);
}
