import { TerrariumError, toErrorData } from "../contract/errors";
import { resolveHome, type Runtime } from "../machine/access";
import { connectHost, type HostConnection } from "../server/client";
import { connectOrStart } from "./connect";
import { helpFor, overview, readCommand, verbsOfNoun, type Command } from "./usage";
import { describeError, UsageError, type Context, type Terminal, type Verb } from "./verb";
import { consoleVerbs } from "./verbs/console";
import { hostVerbs } from "./verbs/host";
import { machineVerbs } from "./verbs/machine";
import { networkVerbs } from "./verbs/network";
import { powerVerbs } from "./verbs/power";
import { snapshotVerbs } from "./verbs/snapshot";
import { starterVerbs } from "./verbs/starter";

export const verbs: readonly Verb[] = [...machineVerbs.filter((verb) => !verb.name.startsWith("trash")), ...powerVerbs, ...consoleVerbs, ...networkVerbs, ...snapshotVerbs, ...machineVerbs.filter((verb) => verb.name.startsWith("trash")), ...hostVerbs, ...starterVerbs];

/** Exit codes: done, failed, written wrongly. `exec` alone has others, those of the command it runs. */
export const exitCode = { done: 0, failed: 1, usage: 2 } as const;

/** Runs one command line. Nothing is thrown: what goes wrong is printed. */
export async function run(args: readonly string[], terminal: Terminal, runtime: Runtime, env: NodeJS.ProcessEnv): Promise<number> {
  const ofNoun = verbsOfNoun(verbs, args);
  if (ofNoun) {
    terminal.stdout.write(`${overview(ofNoun, args[0])}\n`);
    return exitCode.done;
  }
  let command: Command | undefined;
  try {
    command = readCommand(verbs, args);
  } catch (error) {
    return wrongUsage(terminal, error);
  }
  if (command === undefined || command.help) {
    const text = command === undefined ? overview(verbs) : helpFor(command.verb, verbs);
    // Asked for, it is the result; otherwise it says what was missing.
    if (args.length === 0) terminal.stderr.write(`${text}\n`);
    else terminal.stdout.write(`${text}\n`);
    return args.length === 0 ? exitCode.usage : exitCode.done;
  }
  const connections: HostConnection[] = [];
  try {
    return (await command.verb.run(contextFor(command, terminal, runtime, resolveHome(env), connections), command.operands, command.values)) ?? exitCode.done;
  } catch (error) {
    if (error instanceof UsageError) return wrongUsage(terminal, error);
    const data = toErrorData(error);
    terminal.stderr.write(`${command.json ? JSON.stringify({ error: data }) : describeError(data)}\n`);
    if (!(error instanceof TerrariumError) && error instanceof Error && error.stack !== undefined) terminal.stderr.write(`${error.stack}\n`);
    return exitCode.failed;
  } finally {
    for (const connection of connections) connection.close();
  }
}

function wrongUsage(terminal: Terminal, error: unknown): number {
  if (!(error instanceof UsageError)) throw error;
  terminal.stderr.write(`terrarium: ${error.message}\n`);
  return exitCode.usage;
}

function contextFor({ json }: Command, terminal: Terminal, runtime: Runtime, home: string, connections: HostConnection[]): Context {
  return {
    home,
    runtime,
    terminal,
    json,
    async connect() {
      const connection = await connectOrStart(home, runtime);
      connections.push(connection);
      return connection;
    },
    async connectIfRunning() {
      const connection = await connectHost(home);
      if (connection) connections.push(connection);
      return connection;
    },
    print(data, text) {
      terminal.stdout.write(`${json ? JSON.stringify(data, undefined, 2) : text}\n`);
    },
    note(text) {
      terminal.stderr.write(`${text}\n`);
    },
    async interruptible(work, whenAsked) {
      const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
      for (const signal of signals) process.on(signal, whenAsked);
      try {
        return await work;
      } finally {
        for (const signal of signals) process.off(signal, whenAsked);
      }
    },
  };
}
