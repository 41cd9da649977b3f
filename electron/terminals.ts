import { access, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { TerminalRequest } from "../core/contract/desktop";
import { TerrariumError, type ErrorData } from "../core/contract/errors";
import type { MachineInfo } from "../core/contract/model";
import type { ProcedureInput, ProcedureName, ProcedureOutput } from "../core/contract/procedures";
import { knownHostsFile, sshPort, sshRoute } from "../core/contract/sshRoute";
import { PtyStream, type Pty } from "./pseudoTerminal";
import { findProgram, sshArguments } from "./ssh";

/** What the terminals need of the rest of the app. */
export interface TerminalSurroundings {
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;
  ask<N extends ProcedureName>(name: N, input: ProcedureInput<N>): Promise<ProcedureOutput<N>>;
  /** Begins a program in a pseudoterminal. */
  spawn(program: string, args: string[], options: { columns: number; rows: number; cwd: string; env: Record<string, string> }): Promise<Pty>;
}

/** ssh(1), EXIT STATUS: the failures of ssh itself; else it is what the guest's shell ended with. */
const sshFailed = 255;

/** A port may be taken by somebody between finding it free and listening on it. */
const portTries = 3;

/** Logins to guests by the host's ssh. */
export class Terminals {
  constructor(private readonly around: TerminalSurroundings) {}

  /** @throws TerrariumError when there is no ssh, no way to the guest, no key to it, or none that it is known by */
  async open({ id, user, columns, rows }: TerminalRequest): Promise<PtyStream> {
    const { home, env } = this.around;
    const program = await findProgram("ssh", env);
    if (program === undefined) throw new TerrariumError("unavailable", "There is no ssh on this computer.", "Install the OpenSSH client (Debian, Ubuntu: openssh-client), or use the serial terminal.");
    const machine = await this.around.ask("machine.get", { id });
    const route = sshRoute(machine);
    if ("refused" in route) throw new TerrariumError("illegal-state", route.refused, route.remedy);
    const { starter } = route;
    const key = starter ? await starterKey(home) : undefined;
    const knownHosts = join(machine.folder, knownHostsFile);
    if (starter) await requireKnown(knownHosts, machine.name);
    else await mkdir(dirname(knownHosts), { recursive: true, mode: 0o700 });
    const { address, port } = route.by === "new-forward" ? await this.newForward(machine, route.adapter) : route;
    const args = sshArguments({ machineId: id, user, address, port, key, knownHosts, keyIsKnown: starter });
    let pty: Pty;
    try {
      pty = await this.around.spawn(program, args, { columns, rows, cwd: homedir(), env: terminalEnvironment(env) });
    } catch (error) {
      throw new TerrariumError("unavailable", `No terminal can be opened on this computer: ${(error as Error).message}.`, `Log in from a terminal of your own: ssh -p ${port} ${key === undefined ? "" : `-i ${key} `}${user}@${address}`, { cause: error });
    }
    return new PtyStream(pty, (exitCode) => (exitCode === sshFailed ? new TerrariumError("unavailable", `ssh could not reach ${machine.name}, or has lost it.`, "What it said stands in the terminal. The guest may still be starting, have no SSH server that runs, or answer with another key than before.") : undefined));
  }

  /** Makes a port of this computer lead to the guest's port 22, and answers which. */
  private async newForward(machine: MachineInfo, adapter: number): Promise<{ readonly address: string; readonly port: number }> {
    let problem: ErrorData = { code: "locked", message: "Every one was taken." };
    for (let tried = 0; tried < portTries; tried++) {
      const forward = { protocol: "tcp" as const, hostAddress: "127.0.0.1", hostPort: await freePort(), guestPort: sshPort };
      const { guestPort: _guestPort, ...door } = forward;
      try {
        const after = await this.around.ask("forward.add", { id: machine.id, adapter, forward });
        const known = after.network?.find((status) => status.adapter === adapter)?.forwards.find((other) => other.forward.hostPort === forward.hostPort);
        if (known?.problem === undefined) return { address: forward.hostAddress, port: forward.hostPort };
        problem = known.problem;
        await this.around.ask("forward.remove", { id: machine.id, adapter, forward: door });
      } catch (error) {
        if (!(error instanceof TerrariumError) || error.code !== "locked") throw error;
        problem = error.toData();
      }
    }
    throw new TerrariumError(problem.code, `No port of this computer could be made to lead to ${machine.name}: ${problem.message}`, problem.remedy);
  }
}

/** The starter guest lets in whoever has the home's key, which is made when a machine first starts. */
async function starterKey(home: string): Promise<string> {
  const key = join(home, "ssh", "id_ed25519");
  try {
    await access(key);
  } catch (error) {
    throw new TerrariumError("unavailable", `The key to this machine, ${key}, is missing: the starter guest lets nobody in without it.`, "Shut the machine down and start it again: a new key is made then. Until then use the serial terminal.", { cause: error });
  }
  return key;
}

/** A starter guest has the host key that it was given when it started, and no other is taken for it. */
async function requireKnown(knownHosts: string, name: string): Promise<void> {
  try {
    await access(knownHosts);
  } catch (error) {
    throw new TerrariumError("unavailable", `The key by which ${name} is known, in ${knownHosts}, is missing: somebody else could answer in its place.`, "Shut the machine down and start it again: the file is written then. Until then use the serial terminal.", { cause: error });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const found = server.address();
      server.close(() => (typeof found === "object" && found !== null ? resolve(found.port) : reject(new Error("a listening socket has no port"))));
    });
  });
}

/** What a program in a terminal is told about its surroundings. */
function terminalEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[0] !== "ELECTRON_RUN_AS_NODE");
  return { ...Object.fromEntries(kept), TERM: "xterm-256color" };
}

/** node-pty, when it is first needed: most windows never open a terminal. */
export const spawnPty: TerminalSurroundings["spawn"] = async (program, args, { columns, rows, cwd, env }) => {
  const { spawn } = await import("node-pty");
  // Bytes, not text: a letter may come in two pieces.
  return spawn(program, args, { name: "xterm-256color", cols: columns, rows, cwd, env, encoding: null });
};
