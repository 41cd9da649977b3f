import { access, constants } from "node:fs/promises";
import { posix, win32 } from "node:path";
import type { ErrorData } from "../contract/errors";
import type { Installation } from "./qemuPackages";
import { isFile, isSystemError } from "./smallFile";

/* Where QEMU's programs and files lie. */

/** The QEMU that machines use: the one that `TERRARIUM_QEMU` names, else the first there is. */
export async function findBinary(env: NodeJS.ProcessEnv, platform: NodeJS.Platform, install: Installation): Promise<string | ErrorData> {
  const own = env.TERRARIUM_QEMU;
  if (own !== undefined && own !== "") {
    if (!pathsOf(platform).isAbsolute(own)) return { code: "invalid-input", message: `TERRARIUM_QEMU is ${own}, which is not the whole path of a program.`, remedy: "Set TERRARIUM_QEMU to the absolute path of a qemu-system-x86_64, or unset it to use the QEMU of this system." };
    if (await isExecutable(own)) return own;
    return { code: "unavailable", message: `TERRARIUM_QEMU names ${own}, which is not there or cannot be executed.`, remedy: "Set TERRARIUM_QEMU to the absolute path of a qemu-system-x86_64, or unset it to use the QEMU of this system." };
  }
  const candidates = places("qemu-system-x86_64", env, platform);
  const usable = await Promise.all(candidates.map(isExecutable));
  return (
    candidates.find((_, index) => usable[index]) ?? {
      code: "unavailable",
      message: "QEMU is not installed on this computer: there is no qemu-system-x86_64. The built-in emulator works without it.",
      remedy: install.all,
    }
  );
}

/** Where `program` may lie: on the path, and where a platform's installers put it, which apps started from a desktop do not have on theirs. */
export function places(program: string, env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string[] {
  const path = pathsOf(platform);
  const usual: Partial<Record<NodeJS.Platform, string[]>> = {
    darwin: ["/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin"],
    win32: [path.join(env.ProgramFiles || "C:\\Program Files", "qemu")],
  };
  // A folder that is not absolute is another one in every process.
  const folders = (env.PATH ?? env.Path ?? "").split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  return [...folders, ...(usual[platform] ?? [])].map((folder) => path.join(folder, fileName(program, platform)));
}

/** Another program in the folder of `binary`. */
export function beside(binary: string, program: string, platform: NodeJS.Platform): string {
  return inFolder(pathsOf(platform).dirname(binary), fileName(program, platform), platform);
}

export function inFolder(folder: string, name: string, platform: NodeJS.Platform): string {
  return pathsOf(platform).join(folder, name);
}

/** The first of `paths` that is a file. */
export async function firstFile(paths: readonly string[]): Promise<string | undefined> {
  const there = await Promise.all(paths.map(isFile));
  return paths.find((_, index) => there[index]);
}

function pathsOf(platform: NodeJS.Platform): typeof posix {
  return platform === "win32" ? win32 : posix;
}

function fileName(program: string, platform: NodeJS.Platform): string {
  return platform === "win32" ? `${program}.exe` : program;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return await isFile(path);
  } catch (failure) {
    if (isSystemError(failure)) return false;
    throw failure;
  }
}
