import type { EmulatorProcess, TextSocket } from "./emulatorProcess";

export interface AgentReply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly id?: unknown;
}

export interface ExecResult {
  readonly exitcode?: number;
  readonly signal?: number;
  readonly out: string;
  readonly err: string;
  readonly outTruncated: boolean;
}

/** Talks to the guest agent of a machine: one request at a time, on the machine process's agent socket. */
export class AgentClient {
  private read = 0;
  private lastSync = 0;

  constructor(readonly lines: TextSocket) {}

  static async connect(machine: EmulatorProcess): Promise<AgentClient> {
    return new AgentClient(await machine.agent());
  }

  /** Waits until the agent answers, and until nothing older than that is on its way. */
  async synchronise(): Promise<void> {
    const id = ++this.lastSync * 1000 + 7;
    const knock = setInterval(() => this.lines.send(`{"execute":"guest-sync","arguments":{"id":${id}}}\n`), 250);
    try {
      const match = await this.lines.until(new RegExp(`\\{"return":${id}\\}\n`), this.read);
      this.read += match.index + match[0].length;
    } finally {
      clearInterval(knock);
    }
    // Every knock is answered; a last one with a number of its own comes after all of them.
    const last = id + 1;
    this.lines.send(`{"execute":"guest-sync","arguments":{"id":${last}}}\n`);
    const match = await this.lines.until(new RegExp(`\\{"return":${last}\\}\n`), this.read);
    this.read += match.index + match[0].length;
  }

  /** Sends bytes as they are and waits for one line of answer. */
  async raw(request: string | Buffer): Promise<string> {
    this.lines.socket.write(request);
    const line = await this.lines.line(this.read);
    this.read += line.length;
    return line;
  }

  async request(execute: string, parameters?: object): Promise<AgentReply> {
    return JSON.parse(await this.raw(`${JSON.stringify({ execute, ...(parameters ? { arguments: parameters } : {}) })}\n`)) as AgentReply;
  }

  /** The command's result; an error reply throws. */
  async call<T = unknown>(execute: string, parameters?: object): Promise<T> {
    const reply = await this.request(execute, parameters);
    if (reply.error) throw new Error(`${execute}: ${reply.error.class}: ${reply.error.desc}`);
    return reply.return as T;
  }

  /** A command for which the agent gives no answer when it succeeds. */
  send(execute: string, parameters: object): void {
    this.lines.send(`${JSON.stringify({ execute, arguments: parameters })}\n`);
  }

  async exec(path: string, arg: readonly string[] = [], more: object = {}): Promise<ExecResult> {
    const { pid } = await this.call<{ pid: number }>("guest-exec", { path, arg, "capture-output": true, ...more });
    for (;;) {
      const status = await this.call<Record<string, unknown>>("guest-exec-status", { pid });
      if (status.exited !== true) continue;
      const text = (name: string): string => Buffer.from(typeof status[name] === "string" ? status[name] : "", "base64").toString();
      return {
        exitcode: status.exitcode as number | undefined,
        signal: status.signal as number | undefined,
        out: text("out-data"),
        err: text("err-data"),
        outTruncated: status["out-truncated"] === true,
      };
    }
  }

  /** Output of a shell command that must succeed. */
  async shell(command: string): Promise<string> {
    const { exitcode, out, err } = await this.exec("sh", ["-c", command]);
    if (exitcode !== 0) throw new Error(`${command} ended with ${exitcode}: ${out}${err}`);
    return out.trimEnd();
  }
}
