import { access, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import type { TerminalRequest } from "../core/contract/desktop";
import { TerrariumError, type ErrorData } from "../core/contract/errors";
import type { MachineInfo } from "../core/contract/model";
import type { ProcedureInput, ProcedureName, ProcedureOutput } from "../core/contract/procedures";
import { sshPort, sshRoute } from "../core/contract/sshRoute";
import { PtyStream, type Pty } from "./pseudoTerminal";
import { findProgram, sshArguments } from "./ssh";

/** What the terminals need of the rest of the app. */
export interface TerminalSurroundings {
  readonly home: string;
  /** Where the host keys of machines are kept. */
  readonly userData: string;
  readonly env: NodeJS.ProcessEnv;
  ask<N extends ProcedureName>(name: N, input: ProcedureInput<N>): Promise<ProcedureOutput<N>>;
  /** Begins a program in a pseudoterminal. */
  spawn(program: string, args: string[], options: { columns: number; rows: number; cwd: string; env: Record<string, string> }): Promise<Pty>;
}

interface Reached {
  readonly address: string;
  readonly port: number;
  readonly starter: boolean;
}

/** A port may be taken by somebody between finding it free and listening on it. */
const portTries = 3;

/** Logins to guests by the host's ssh. */
export class Terminals {
  constructor(private readonly around: TerminalSurroundings) {}

  /** @throws TerrariumError when there is no ssh, no way to the guest, or no key to it */
  async open({ id, user, columns, rows }: TerminalRequest): Promise<PtyStream> {
    const { home, userData, env } = this.around;
    const program = await findProgram("ssh", env);
    if (program === undefined) throw new TerrariumError("unavailable", "There is no ssh on this computer.", "Install the OpenSSH client (Debian, Ubuntu: openssh-client), or use the serial terminal.");
    const { address, port, starter } = await this.reach(await this.around.ask("machine.get", { id }));
    const key = starter ? await starterKey(home) : undefined;
    const folder = join(userData, "ssh");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const args = sshArguments({ machineId: id, user, address, port, key, knownHosts: join(folder, `known_hosts-${id}`) });
    let pty: Pty;
    try {
      pty = await this.around.spawn(program, args, { columns, rows, cwd: homedir(), env: terminalEnvironment(env) });
    } catch (error) {
      throw new TerrariumError("unavailable", `No terminal can be opened on this computer: ${(error as Error).message}.`, `Log in from a terminal of your own: ssh -p ${port} ${key === undefined ? "" : `-i ${key} `}${user}@${address}`, { cause: error });
    }
    return new PtyStream(pty);
  }

  /** Where the guest's port 22 is reached. Makes the forward that this takes. */
  private async reach(machine: MachineInfo): Promise<Reached> {
    const route = sshRoute(machine);
    if ("refused" in route) throw new TerrariumError("illegal-state", route.refused, route.remedy);
    if (route.by !== "new-forward") return route;
    const { adapter, starter } = route;
    let problem: ErrorData = { code: "locked", message: "Every one was taken." };
    for (let tried = 0; tried < portTries; tried++) {
      const forward = { protocol: "tcp" as const, hostAddress: "127.0.0.1", hostPort: await freePort(), guestPort: sshPort };
      const { guestPort: _guestPort, ...door } = forward;
      try {
        const after = await this.around.ask("forward.add", { id: machine.id, adapter, forward });
        const known = after.network?.find((status) => status.adapter === adapter)?.forwards.find((other) => other.forward.hostPort === forward.hostPort);
        if (known?.problem === undefined) return { address: forward.hostAddress, port: forward.hostPort, starter };
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
