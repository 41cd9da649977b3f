import { dirname, join } from "node:path";
import { version } from "../../package.json";
import type { Log } from "../base/log";
import { findQemu, type QemuLookup } from "../engine/qemuHost";
import type { StepHook } from "../storage/steps";

/** What the host service needs to know about the program it is part of. */
export interface Runtime {
  /** The executable that runs our JavaScript: Node, or Electron told to be Node. */
  readonly node: string;
  /** What must be in the environment of every process started with `node`. */
  readonly env: Record<string, string>;
  /** The bundle of the machine process. */
  readonly emulator: string;
  /** The bundle of the network fabric. */
  readonly fabric: string;
  /** The bundle of the command line, which is also the headless host service. */
  readonly cli: string;
  /** Where the starter guest lies. It may be missing. */
  readonly guestDir: string;
  /** Where machine processes keep compiled code for each other. */
  readonly codeCache: string;
  readonly version: string;
  /** Looks for QEMU on this host. */
  findQemu(looking: QemuSearch): Promise<QemuLookup>;
  /** Called before each step that changes disks or snapshots; tests stop the world there. */
  readonly onStep?: StepHook;
}

export interface QemuSearch {
  /** A folder that is gone when the computer starts again: the answer is kept there. */
  readonly runDir: string;
  readonly log: Log;
  /** Asks anew although an answer is kept. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal;
}

/** What of the running process the answer depends on; `process` itself is one. */
export interface RunningProcess {
  readonly execPath: string;
  readonly env: NodeJS.ProcessEnv;
  readonly versions: { readonly [name: string]: string | undefined };
}

/**
 * Finds the program's own parts from where its bundles lie.
 *
 * Processes outlive the app, so they are started with the very executable that runs now: what a person has installed
 * is then all they need. Electron becomes Node by an environment variable, which its children inherit on purpose.
 *
 * @param bundleDirectory the directory of the bundles (`out`); the app's root is above it
 */
export function resolveRuntime(bundleDirectory: string, running: RunningProcess): Runtime {
  const root = dirname(bundleDirectory);
  return {
    node: running.execPath,
    env: running.versions.electron === undefined ? {} : { ELECTRON_RUN_AS_NODE: "1" },
    emulator: join(bundleDirectory, "emulator.cjs"),
    fabric: join(bundleDirectory, "fabric.cjs"),
    cli: join(bundleDirectory, "cli.cjs"),
    guestDir: running.env.TERRARIUM_GUEST_DIR || join(root, ".cache", "starter"),
    codeCache: join(root, ".cache", "emulator"),
    version,
    findQemu: ({ runDir, ...options }) => findQemu({ env: running.env, platform: process.platform, cacheFile: join(runDir, "qemu.json"), ...options }),
  };
}
