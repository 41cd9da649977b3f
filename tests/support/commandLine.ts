import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MachineInfo } from "../../core/contract/model";
import { readLock } from "../../core/machine/lock";
import { checkout } from "./emulatorProcess";

const script = join(checkout, "out/cli.cjs");

export interface Outcome {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** The real `terrarium` command on a home of its own, and the headless host service it starts there. */
export class CommandLine {
  private readonly children: ChildProcess[] = [];

  private constructor(
    readonly home: string,
    private readonly folder: string,
    private readonly env: NodeJS.ProcessEnv,
    private readonly prefix: readonly string[],
  ) {}

  /** @param prefix the words in front of each command, as those that run it in a network namespace. */
  static async open(prefix: readonly string[] = []): Promise<CommandLine> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "tc-")));
    const home = join(folder, "home");
    return new CommandLine(home, folder, { ...process.env, TERRARIUM_HOME: home, TMPDIR: folder, XDG_RUNTIME_DIR: "" }, prefix);
  }

  /** Runs a command to its end. */
  run(args: readonly string[], input = "", env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    return new Promise((resolve) => {
      const [program, ...words] = this.words(args);
      const child = execFile(program, words, { env: { ...this.env, ...env }, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : (child.exitCode ?? child.signalCode ?? "unknown"), stdout, stderr });
      });
      child.stdin?.end(input);
    });
  }

  /** Runs a command that must succeed, and answers what it printed. */
  async text(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    if (code !== 0) throw new Error(`terrarium ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  }

  async data<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.text(args[0]!, "--json", ...args.slice(1))) as T;
  }

  async machine(name: string): Promise<MachineInfo> {
    return await this.data<MachineInfo>("show", name);
  }

  /** Starts a command that goes on. It is killed at the end. */
  spawn(...args: string[]): ChildProcess {
    const [program, ...words] = this.words(args);
    const child = spawn(program, words, { env: this.env, stdio: ["pipe", "pipe", "pipe"] });
    this.children.push(child);
    return child;
  }

  private words(args: readonly string[]): [string, ...string[]] {
    return [...this.prefix, process.execPath, script, ...args] as [string, ...string[]];
  }

  /** Who serves the home now. */
  async servicePid(): Promise<number | undefined> {
    return (await readLock(this.home))?.pid;
  }

  /** Ends the machines, the service and everything started here, and removes the home. */
  async close(): Promise<void> {
    const service = await this.servicePid();
    if (service !== undefined) {
      for (const machine of await this.data<MachineInfo[]>("list")) {
        if (["starting", "running", "paused", "stopping"].includes(machine.state)) await this.text("poweroff", machine.id);
      }
      await this.text("serve", "--stop");
    }
    for (const child of this.children) child.kill("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }

  async serviceLog(): Promise<string> {
    return await readFile(join(this.home, "logs", "host.log"), "utf8");
  }
}
