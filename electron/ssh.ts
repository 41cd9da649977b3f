import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { hostKeyAlias } from "../core/contract/sshRoute";

/* The host's own ssh, and what it is told. */

export interface SshLogin {
  readonly machineId: string;
  readonly user: string;
  readonly address: string;
  readonly port: number;
  /** The one key that opens it; undefined where the person has their own ways in. */
  readonly key: string | undefined;
  /** The file with the host key of this machine. */
  readonly knownHosts: string;
  /** The file says which key the machine has, because Terrarium gave it that. Else its key is taken the first time, and has to be the same ever after. */
  readonly keyIsKnown: boolean;
}

export function sshArguments({ machineId, user, address, port, key, knownHosts, keyIsKnown }: SshLogin): string[] {
  const options = [
    `UserKnownHostsFile=${quoted(knownHosts)}`,
    "GlobalKnownHostsFile=none",
    `StrictHostKeyChecking=${keyIsKnown ? "yes" : "accept-new"}`,
    `HostKeyAlias=${hostKeyAlias(machineId)}`,
    "CheckHostIP=no",
    "ConnectTimeout=10",
    "ConnectionAttempts=3",
    "ServerAliveInterval=15",
    ...(key === undefined ? [] : [`IdentityFile=${quoted(key)}`, "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey"]),
  ];
  // What the person has set up for other hosts is not for the starter guest: it has one user and one key.
  return [...(key === undefined ? [] : ["-F", "none"]), ...options.flatMap((option) => ["-o", option]), "-p", String(port), "-l", user, "--", address];
}

/** A path as ssh reads one: quoted for its blanks, and without its own placeholders (ssh_config(5), TOKENS). */
function quoted(path: string): string {
  return `"${path.replaceAll("%", "%%")}"`;
}

/** Where a program lies on the search path; undefined when it is not there. */
export async function findProgram(name: string, { PATH = "" }: NodeJS.ProcessEnv, platform: NodeJS.Platform = process.platform): Promise<string | undefined> {
  for (const folder of PATH.split(delimiter).filter((part) => part !== "")) {
    const path = join(folder, platform === "win32" ? `${name}.exe` : name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      continue; // The next folder may have it.
    }
  }
  return undefined;
}
