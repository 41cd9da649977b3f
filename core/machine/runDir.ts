import { createHash } from "node:crypto";
import { chmod, lstat, mkdir, stat } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { isAbsolute, join } from "node:path";
import { TerrariumError } from "../contract/errors";
import { errno, fileError } from "../storage/fileErrors";

/*
 * Sockets and pid files lie in a short private folder: `$XDG_RUNTIME_DIR/terrarium-<hash of the home's real path>`, else
 * `<temporary folder>/terrarium-<user id>-<hash>`. It is ours alone (mode 0700, our own, no symbolic link) or it is not
 * used: whoever owned it could put his socket where we look for ours.
 */

/** sun_path has 104 bytes on macOS and 108 on Linux, with the closing zero. */
export const maxSocketPath = 103;

/** The longest thing below the run directory: `/m/<8 digits>/serial0.sock`. */
const longestTail = "/m/00000000/serial0.sock".length;

/** The folder of one machine's sockets. Registered machines differ in the first eight digits of their ids. */
export function machineRunDir(runDir: string, machineId: string): string {
  return join(runDir, "m", machineId.slice(0, 8));
}

/** Where the host service listens. */
export function hostSocketPath(runDir: string): string {
  return join(runDir, "host.sock");
}

function userId(): number | undefined {
  return process.getuid?.();
}

async function isOurFolder(path: string): Promise<boolean> {
  try {
    const entry = await stat(path);
    return entry.isDirectory() && (userId() === undefined || entry.uid === userId());
  } catch {
    return false; // Whatever is wrong with it, it is no place for sockets.
  }
}

/** The places the run directory may lie, best first. `home` is a real path. */
async function candidates(home: string, env: NodeJS.ProcessEnv): Promise<string[]> {
  const hash = createHash("sha256").update(home).digest("hex").slice(0, 12);
  const places: string[] = [];
  const runtime = env["XDG_RUNTIME_DIR"];
  // XDG base directory specification: it must be absolute and owned by the user, otherwise another place is taken.
  if (runtime && isAbsolute(runtime) && (await isOurFolder(runtime))) places.push(join(runtime, `terrarium-${hash}`));
  const owner = String(userId() ?? userInfo().username);
  for (const base of new Set([env["TMPDIR"] && isAbsolute(env["TMPDIR"]) ? env["TMPDIR"] : tmpdir(), "/tmp"])) places.push(join(base, `terrarium-${owner}-${hash}`));
  return places;
}

/**
 * Chooses the run directory of a home, makes it when it is missing, and makes sure that it is private.
 * @param home the home's real path.
 * @throws TerrariumError when it belongs to someone else or no place is short enough for a socket.
 */
export async function openRunDir(home: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const places = await candidates(home, env);
  const fitting = places.filter((place) => Buffer.byteLength(place) + longestTail <= maxSocketPath);
  const path = fitting[0];
  if (path === undefined) {
    throw new TerrariumError("unavailable", `There is no place for sockets: ${places.join(" and ")} are too long for the path of a socket (${maxSocketPath} bytes).`, "Set XDG_RUNTIME_DIR to a folder of your own with a short path.");
  }
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (failure) {
    if (errno(failure) !== "EEXIST") throw fileError(failure, "The folder for sockets could not be made", path);
  }
  await requirePrivate(path);
  try {
    await mkdir(join(path, "m"), { mode: 0o700, recursive: true });
  } catch (failure) {
    throw fileError(failure, "The folder for the machines' sockets could not be made", path);
  }
  return path;
}

async function requirePrivate(path: string): Promise<void> {
  const remedy = `Remove ${path}, or set XDG_RUNTIME_DIR to a folder of your own.`;
  const entry = await lstat(path);
  if (entry.isSymbolicLink()) throw new TerrariumError("unavailable", `The folder for sockets, ${path}, is a symbolic link. It is not used, because it may lead into someone else's hands.`, remedy);
  if (!entry.isDirectory()) throw new TerrariumError("unavailable", `${path} is in the way: a folder for sockets is needed there.`, remedy);
  const user = userId();
  if (user === undefined) return;
  if (entry.uid !== user) throw new TerrariumError("unavailable", `The folder for sockets, ${path}, belongs to another user (id ${entry.uid}). It is not used.`, remedy);
  // Others could have put something in: a folder that they could write to is not trusted again.
  if ((entry.mode & 0o022) !== 0) throw new TerrariumError("unavailable", `The folder for sockets, ${path}, can be written by other users. It is not used.`, remedy);
  if ((entry.mode & 0o077) !== 0) await chmod(path, 0o700);
}
