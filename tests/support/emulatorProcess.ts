import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Disposable } from "../../core/base/disposable";

export const checkout = resolve(__dirname, "../..");
export const emulatorScript = join(checkout, "out/emulator.cjs");
/** Where the starter guest lies; tests that need it fail with this in their message when it was not built. */
export const guestDirectory = process.env.TERRARIUM_GUEST_DIR ?? join(checkout, ".cache/starter");

export interface EmulatorOptions {
  /** MiB. */
  readonly memory?: number;
  /** The starter's kernel and initrd, none (boot from a disk or a CD), or others. */
  readonly kernel?: "starter" | "none" | { readonly kernel: string; readonly initrd?: string; readonly append?: string };
  readonly append?: string;
  readonly disks?: readonly { readonly file: string; readonly readOnly?: boolean }[];
  readonly cd?: string | null;
  readonly boot?: "c" | "d";
  /** MAC address and link of the adapters; all four exist anyway. */
  readonly adapters?: readonly { readonly mac: string; readonly link: boolean }[];
  readonly incoming?: boolean;
  /** Use this directory (for a second start of the same machine) instead of a new one. */
  readonly directory?: string;
  readonly codeCache?: string;
  readonly extra?: readonly string[];
  /** Runs the process under another command, such as `prlimit`. */
  readonly wrapper?: readonly string[];
  readonly script?: string;
  readonly nodeArguments?: readonly string[];
}

/** A real emulator process of `out/` in a directory of its own. Disposing kills it and removes the directory it made. */
export class EmulatorProcess implements Disposable {
  private readonly sockets: Socket[] = [];
  private output = "";
  private qmpClient: Promise<QmpClient> | undefined;
  private serialText: Promise<TextSocket> | undefined;
  private agentText: Promise<TextSocket> | undefined;
  /** The exit code, or the signal's name. */
  readonly exit: Promise<number | string>;

  constructor(
    readonly process: ChildProcess,
    readonly directory: string,
    private readonly ownsDirectory: boolean,
  ) {
    process.stderr?.setEncoding("utf8").on("data", (text: string) => (this.output += text));
    this.exit = new Promise((resolve) => process.on("exit", (code, signal) => resolve(code ?? signal ?? "unknown")));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** What the process wrote to standard error. */
  get log(): string {
    return this.output;
  }

  /** A negotiated QMP client, the same one each time. */
  qmp(): Promise<QmpClient> {
    return (this.qmpClient ??= this.connect("monitor.sock").then(async (socket) => {
      const client = new QmpClient(socket);
      await client.execute("qmp_capabilities");
      return client;
    }));
  }

  /** The text of serial port 0 from the first call on. */
  serial(): Promise<TextSocket> {
    return (this.serialText ??= this.text("serial.sock"));
  }

  agent(): Promise<TextSocket> {
    return (this.agentText ??= this.text("agent.sock"));
  }

  private async text(name: string): Promise<TextSocket> {
    return new TextSocket(await this.connect(name), "latin1", () => this.output);
  }

  /** Connects as soon as the process listens; fails when the process ends before. */
  async connect(name: string): Promise<Socket> {
    const path = this.path(name);
    for (;;) {
      const socket = existsSync(path) ? await tryConnect(path) : undefined;
      if (socket) {
        this.sockets.push(socket);
        return socket;
      }
      const ended = await Promise.race([this.exit, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 10))]);
      if (ended !== undefined) throw new Error(`the emulator ended with ${ended} before it listened on ${name}\n${this.output}`);
    }
  }

  /** Lets the guest run and waits for the starter's shell on serial port 0. */
  async bootToShell(): Promise<Shell> {
    const serial = await this.serial();
    await (await this.qmp()).execute("cont");
    await serial.until(/\w+@\w+:\S*# /);
    return this.shell();
  }

  async shell(): Promise<Shell> {
    const shell = new Shell(await this.serial());
    // An editor redraws its line with every key; none of that is wanted here.
    await shell.run("set +o emacs; stty -echo");
    return shell;
  }

  /** Ends the machine by `quit` and waits for the process. */
  async quit(): Promise<number | string> {
    await (await this.qmp()).execute("quit");
    return this.exit;
  }

  dispose(): void {
    for (const socket of this.sockets) socket.destroy();
    if (this.process.exitCode === null) this.process.kill("SIGKILL");
    if (this.ownsDirectory) rmSync(this.directory, { recursive: true, force: true });
  }
}

export function startEmulator(options: EmulatorOptions = {}): EmulatorProcess {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "emu-"));
  const at = (name: string): string => join(directory, name);
  const kernel = options.kernel ?? "starter";
  const adapters = [0, 1, 2, 3].map((index) => {
    const own = options.adapters?.[index];
    return { id: `net${index}`, mac: own?.mac ?? `52:54:00:12:34:0${index}`, link: own?.link ?? false, path: at(`net${index}.sock`) };
  });
  const args = [
    ...["-name", "test", "-uuid", "3c1f8a52-0000-4000-8000-000000000001", "-m", String(options.memory ?? 128), "-pidfile", at("pid"), "-S"],
    ...["-bios", guestFile("bios.bin"), "-vgabios", guestFile("vgabios.bin")],
    ...kernelArguments(kernel, options.append),
    ...["-boot", options.boot ?? "c"],
    ...["-monitor", at("monitor.sock"), "-vnc", at("display.sock"), "-serial", at("serial.sock"), "-serial-log", at("serial.log")],
    ...["-agent", at("agent.sock"), "-dump-dir", at("dump")],
    ...(options.disks ?? []).flatMap((disk, index) => [
      "-disk",
      JSON.stringify({ id: `disk${index}`, file: disk.file, readOnly: disk.readOnly ?? false }),
    ]),
    ...(options.cd === undefined ? [] : ["-cdrom", JSON.stringify({ id: "cd0", file: options.cd })]),
    ...adapters.flatMap((adapter) => ["-net", JSON.stringify(adapter)]),
    ...(options.incoming ? ["-incoming", "defer"] : []),
    ...["-code-cache", options.codeCache ?? join(checkout, ".cache/emulator")],
    ...(options.extra ?? []),
  ];
  const command = [...(options.wrapper ?? []), process.execPath, ...(options.nodeArguments ?? []), options.script ?? emulatorScript, ...args];
  const child = spawn(command[0] ?? "", command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
  return new EmulatorProcess(child, directory, options.directory === undefined);
}

export function guestFile(name: string): string {
  const path = join(guestDirectory, name);
  if (!existsSync(path)) throw new Error(`the starter guest is needed and not built: ${path} is missing`);
  return path;
}

function kernelArguments(kernel: NonNullable<EmulatorOptions["kernel"]>, append = ""): string[] {
  if (kernel === "none") return [];
  if (kernel !== "starter") {
    return ["-kernel", kernel.kernel, ...(kernel.initrd ? ["-initrd", kernel.initrd] : []), "-append", kernel.append ?? ""];
  }
  const manifest = JSON.parse(readFileSync(guestFile("guest.json"), "utf8")) as { cmdline: string };
  const text = `${manifest.cmdline} ${append}`.trim();
  return ["-kernel", guestFile("kernel-fast.bin"), "-initrd", guestFile("initrd.cpio"), "-append", text];
}

function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    // Refused means: not yet listening, or a stale file; the caller asks again as long as the process lives.
    socket.once("error", () => resolve(undefined));
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      socket.on("error", () => undefined);
      resolve(socket);
    });
  });
}

/** A socket's text so far, with ways to wait for more of it. */
export class TextSocket {
  text = "";
  private readonly looks = new Set<() => void>();
  private closed = false;

  /** `latin1` keeps bytes apart that are no text; QMP is UTF-8. */
  constructor(
    readonly socket: Socket,
    encoding: "latin1" | "utf8" = "latin1",
    /** What is added to the message when the socket closes unexpectedly. */
    private readonly explain: () => string = () => "",
  ) {
    socket.setEncoding(encoding);
    socket.on("data", (text: string) => {
      this.text += text;
      for (const look of [...this.looks]) look();
    });
    socket.on("close", () => {
      this.closed = true;
      for (const look of [...this.looks]) look();
    });
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** Waits until the text from `from` on matches; rejects when the socket closes before. Returns the match. */
  until(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.text.slice(from));
        if (!match && !this.closed) return;
        this.looks.delete(look);
        if (match) resolve(match);
        else reject(new Error(`the socket closed before ${String(pattern)} came; the last text was\n${this.text.slice(-2000)}\n${this.explain()}`));
      };
      this.looks.add(look);
      look();
    });
  }

  /** The line that begins at `from`, with its line end; a long one is scanned only once however many pieces it comes in. */
  line(from: number): Promise<string> {
    let scanned = from;
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const end = this.text.indexOf("\n", scanned);
        scanned = this.text.length;
        if (end < 0 && !this.closed) return;
        this.looks.delete(look);
        if (end >= 0) resolve(this.text.slice(from, end + 1));
        else reject(new Error(`the socket closed before the line ended; the last text was\n${this.text.slice(-2000)}\n${this.explain()}`));
      };
      this.looks.add(look);
      look();
    });
  }

  /** Settles when the other side has closed the connection. */
  end(): Promise<void> {
    return this.closed ? Promise.resolve() : new Promise((resolve) => this.socket.once("close", () => resolve()));
  }
}

/** The guest's shell on a serial port. */
export class Shell {
  private count = 0;

  constructor(readonly serial: TextSocket) {}

  /** Runs a command line and returns its output without the echo; the exit code is checked. */
  async run(command: string, expected = 0): Promise<string> {
    const { output, code } = await this.try(command);
    if (code !== expected) throw new Error(`${command} ended with ${code}, not ${expected}:\n${output}`);
    return output;
  }

  async try(command: string): Promise<{ output: string; code: number }> {
    const mark = `mark${++this.count}x${Math.floor(performance.now())}`;
    const from = this.serial.text.length;
    // The quotes keep the echo of the command from looking like its end.
    this.serial.send(`echo "be"gin-${mark}; ${command}; echo "en"d-${mark}-$?\n`);
    const match = await this.serial.until(new RegExp(`begin-${mark}\\r?\\n([\\s\\S]*?)end-${mark}-(\\d+)`), from);
    return { output: (match[1] ?? "").replaceAll("\r", "").trim(), code: Number(match[2]) };
  }
}

export interface QmpEvent {
  readonly event: string;
  readonly data?: Record<string, unknown>;
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

export class QmpFailure extends Error {
  constructor(
    readonly errorClass: string,
    description: string,
  ) {
    super(description);
  }
}

/** A plain QMP client: one command at a time, and every event kept. */
export class QmpClient {
  readonly events: QmpEvent[] = [];
  readonly lines: TextSocket;
  private read = 0;
  private nextId = 1;

  constructor(socket: Socket) {
    this.lines = new TextSocket(socket, "utf8");
  }

  async execute(name: string, parameters?: object): Promise<unknown> {
    const id = this.nextId++;
    this.lines.send(`${JSON.stringify({ execute: name, ...(parameters ? { arguments: parameters } : {}), id })}\n`);
    for (;;) {
      const line = await this.nextLine();
      if (line.id !== id) continue;
      const error = line.error as { class: string; desc: string } | undefined;
      if (error) throw new QmpFailure(error.class, error.desc);
      return line.return;
    }
  }

  /** Waits for an event that has not been taken yet and takes it. */
  async event(name: string, accepts: (data: Record<string, unknown>) => boolean = () => true): Promise<QmpEvent> {
    for (;;) {
      const index = this.events.findIndex((event) => event.event === name && accepts(event.data ?? {}));
      if (index >= 0) return this.events.splice(index, 1)[0] as QmpEvent;
      await this.nextLine();
    }
  }

  /** Saves the machine and waits until that has ended well. */
  async save(path: string): Promise<void> {
    await this.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] });
    await this.execute("migrate", { uri: `file:${path}` });
    const { data } = await this.event("MIGRATION", ({ status }) => ["completed", "failed", "cancelled"].includes(String(status)));
    if (data?.status !== "completed") throw new Error(`saving ended as ${JSON.stringify(await this.execute("query-migrate"))}`);
  }

  private async nextLine(): Promise<Record<string, unknown>> {
    const text = await this.lines.line(this.read);
    this.read += text.length;
    const line = JSON.parse(text) as Record<string, unknown>;
    if (typeof line.event === "string") this.events.push(line as unknown as QmpEvent);
    return line;
  }
}
