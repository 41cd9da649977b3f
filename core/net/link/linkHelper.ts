import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import { TerrariumError } from "../../contract/errors";
import { DescriptorMessages } from "./descriptorMessages";
import type { DescriptorWatcher, WatchedDescriptor } from "./descriptorWatcher";
import { Errno, errnoName, type KernelCalls } from "./kernelCalls";
import { LinkAnswer, maxMessageBytes, type LinkRequest } from "./linkRequests";

/** How the privileged helper is started. */
export interface HelperProgram {
  /** The executable that runs our JavaScript, and what it needs in its environment. */
  readonly node: string;
  readonly env: Readonly<Record<string, string>>;
  /** The helper's bundle. */
  readonly script: string;
}

export interface HelperSurroundings {
  readonly kernel: KernelCalls;
  readonly watcher: DescriptorWatcher;
  readonly clock: Clock;
  /** Whether this process may do it all itself. */
  readonly isRoot: boolean;
  /** The search path of programs. */
  readonly path: string;
}

export const withoutPrivileges = "NAT and internal networks need no such right: with NAT, port forwards make a guest reachable, also from the LAN.";

/** The command line that starts the helper with the rights it needs. @throws TerrariumError `unavailable` when there is none. */
export function helperCommand(program: HelperProgram, isRoot: boolean, path: string): { readonly command: string; readonly args: string[] } {
  if (isRoot) return { command: program.node, args: [program.script] };
  const pkexec = path.split(delimiter).filter((folder) => folder.startsWith("/")).map((folder) => join(folder, "pkexec")).find((file) => existsSync(file));
  if (pkexec === undefined) {
    throw new TerrariumError("unavailable", "Opening an interface of the host takes an administrator's right, and pkexec, which asks for it, is not installed.", `Install pkexec (Debian, Ubuntu: pkexec; Fedora, Arch: polkit). ${withoutPrivileges}`);
  }
  // pkexec empties the environment, so what Electron has to be told goes through env(1). Its own way of asking, on a
  // terminal, is no use to a process without one: the desktop's dialog is what is wanted.
  const settings = Object.entries(program.env).map(([name, value]) => `${name}=${value}`);
  return { command: pkexec, args: ["--disable-internal-agent", ...(settings.length > 0 ? ["/usr/bin/env", ...settings] : []), program.node, program.script] };
}

interface Pending {
  resolve(descriptor: number | undefined): void;
  reject(error: Error): void;
}

const unixFamily = 1;
const keepsBounds = 5 | 0o2000000; // SOCK_SEQPACKET, closed in other programs
const maxComplaint = 2000;
/** How often it is looked whether a helper that has closed its socket has ended, milliseconds. */
const lookAgainMs = 20;

/**
 * The privileged helper as seen from the fabric: started when something is asked of it for the first time, so that nobody
 * is asked for a password before it is needed, and ended with this. A refusal is remembered: nobody is asked twice for
 * something they declined, until `forgetRefusal`.
 */
export class LinkHelper implements Disposable {
  private running: RunningHelper | undefined;
  private refusal: TerrariumError | undefined;
  private disposed = false;

  constructor(
    private readonly program: HelperProgram,
    private readonly around: HelperSurroundings,
  ) {}

  /** Asks for a descriptor, or for something to be done. @throws TerrariumError */
  async request(request: LinkRequest): Promise<number | undefined> {
    if (this.refusal) throw this.refusal;
    if (this.disposed) throw closedError();
    this.running ??= this.start();
    return this.running.request(request);
  }

  /** Asks for a descriptor. @throws TerrariumError */
  async open(request: Exclude<LinkRequest, { do: "route" }>): Promise<number> {
    const descriptor = await this.request(request);
    if (descriptor === undefined) throw new TerrariumError("internal", "The helper that opens interfaces gave none.");
    if (!this.disposed) return descriptor;
    this.around.kernel.close(descriptor);
    throw closedError();
  }

  /** Asks only a helper that runs: what a guest did must not make a dialog appear. @throws TerrariumError */
  async requestIfRunning(request: LinkRequest): Promise<void> {
    if (!this.running) throw new TerrariumError("unavailable", "The helper that opens interfaces does not run.");
    await this.running.request(request);
  }

  /** The process of the helper while it runs. */
  get pid(): number | undefined {
    return this.running?.pid;
  }

  forgetRefusal(): void {
    this.refusal = undefined;
  }

  dispose(): void {
    this.disposed = true;
    this.running?.dispose();
  }

  private start(): RunningHelper {
    const { command, args } = helperCommand(this.program, this.around.isRoot, this.around.path);
    const running = new RunningHelper(command, args, this.around.isRoot ? this.program.env : {}, this.around, (error, refused) => {
      if (this.running === running) this.running = undefined;
      if (refused) this.refusal = error;
    });
    return running;
  }
}

/** One run of the helper. */
class RunningHelper implements Disposable {
  private readonly socket: number;
  private readonly messages: DescriptorMessages;
  private readonly watch: WatchedDescriptor;
  private readonly child: ChildProcess;
  private readonly pending: Pending[] = [];
  private complaint = "";
  private closed: { readonly code: number | undefined } | undefined;
  private answered = false;
  private ended = false;

  constructor(
    command: string,
    args: string[],
    env: Readonly<Record<string, string>>,
    private readonly around: HelperSurroundings,
    private readonly onEnd: (error: TerrariumError, refused: boolean) => void,
  ) {
    const { kernel, watcher } = around;
    const memory = kernel.memory(8);
    const result = kernel.socketpair(unixFamily, keepsBounds, 0, memory.address);
    if (result < 0) throw new TerrariumError("unavailable", `The helper that opens interfaces cannot be spoken to: ${errnoName(result)}.`);
    this.socket = memory.view.getInt32(0, true);
    const theirs = memory.view.getInt32(4, true);
    try {
      this.child = spawn(command, args, { stdio: [theirs, "ignore", "pipe"], cwd: "/", env: { ...basics(process.env), ...env } });
    } catch (error) {
      kernel.close(this.socket);
      throw error;
    } finally {
      kernel.close(theirs);
    }
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.complaint = (this.complaint + text).slice(-maxComplaint)));
    this.child.once("error", (error) => {
      this.complaint = error.message;
      this.closed = { code: undefined };
    });
    this.child.once("close", (code) => (this.closed ??= { code: code ?? undefined }));
    this.messages = new DescriptorMessages(kernel, this.socket, maxMessageBytes, false);
    this.watch = watcher.watch(this.socket, { readable: () => this.receive(), writable: () => undefined });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  request(request: LinkRequest): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      this.pending.push({ resolve, reject });
      // That it is gone is heard when its end of the socket is read.
      this.messages.send(JSON.stringify(request));
    });
  }

  dispose(): void {
    if (this.ended) return;
    // Nobody is waiting for the password any more.
    if (!this.answered) this.child.kill();
    this.finish(closedError(), false);
  }

  private receive(): void {
    const { kernel } = this.around;
    while (!this.ended) {
      const message = this.messages.receive();
      if (message === -Errno.interrupted) continue;
      if (message === -Errno.again) return;
      if (typeof message !== "object") return this.lost();
      this.answered = true;
      const waiting = this.pending.shift();
      const answer = LinkAnswer.safeParse(JSON.parse(message.text));
      if (answer.success && answer.data.done && waiting) {
        waiting.resolve(message.descriptor);
        continue;
      }
      if (message.descriptor !== undefined) kernel.close(message.descriptor);
      waiting?.reject(answer.success && !answer.data.done ? stepError(answer.data) : new TerrariumError("internal", "The helper that opens interfaces gave an answer that makes no sense."));
    }
  }

  /** Its end of the socket is closed: what it ended with says why. */
  private lost(): void {
    this.watch.dispose();
    const look = (): void => {
      if (this.ended) return;
      if (this.closed === undefined) {
        this.around.clock.schedule(lookAgainMs, look);
        return;
      }
      const error = endError(this.closed.code, this.complaint.trim(), this.answered, this.around.isRoot);
      this.finish(error, !this.answered && !this.around.isRoot);
    };
    look();
  }

  private finish(error: TerrariumError, refused: boolean): void {
    if (this.ended) return;
    this.ended = true;
    this.watch.dispose();
    this.around.kernel.close(this.socket);
    this.child.unref();
    this.onEnd(error, refused);
    for (const waiting of this.pending.splice(0)) waiting.reject(error);
  }
}

/** What of our environment the helper gets when it is started directly; pkexec decides by itself. */
function basics(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => /^(PATH|LANG|LC_[A-Z]+|XDG_SESSION_ID|XDG_RUNTIME_DIR|DBUS_SESSION_BUS_ADDRESS|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY)$/.test(name)));
}

/** pkexec(1), RETURN VALUE: 126 when the dialog was dismissed, 127 when there is no right to it or nobody to ask. */
function endError(code: number | undefined, complaint: string, answered: boolean, isRoot: boolean): TerrariumError {
  if (answered) return new TerrariumError("unavailable", "The helper that opens interfaces of the host has ended.", "It is started again with the next change; interfaces that are open stay so.");
  if (!isRoot && code === 126) return new TerrariumError("unavailable", "The right to open an interface of the host was not given.", `Unplug the cable and plug it in again to be asked once more, and give an administrator's password. ${withoutPrivileges}`);
  if (!isRoot && code === 127) return new TerrariumError("unavailable", `The right to open an interface of the host could not be asked for${complaint === "" ? "" : `: ${essence(complaint)}`}`, `Start Terrarium from a desktop that can ask for an administrator's password (a polkit agent), or as root. ${withoutPrivileges}`);
  return new TerrariumError("unavailable", `The helper that opens interfaces of the host could not work: ${complaint === "" ? `it ended with ${code ?? "a signal"}` : essence(complaint)}`, withoutPrivileges);
}

function closedError(): TerrariumError {
  return new TerrariumError("cancelled", "The network was closed.");
}

/** The line that says it: the runtime prints an error with its place around it; others end with what is wrong. */
function essence(complaint: string): string {
  const lines = complaint.split("\n");
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? "";
}

function stepError({ step, reason }: { readonly step: string; readonly reason: string }): TerrariumError {
  switch (reason) {
    case "ENODEV":
      return new TerrariumError("not-found", `Could not ${step}: there is no such interface.`, "Choose a card that is there.");
    case "EBUSY":
      return new TerrariumError("locked", `Could not ${step}: there is one of that name already.`, "Remove it (`ip link delete`), or close the other Terrarium that made it.");
    case "EEXIST":
      return new TerrariumError("locked", `Could not ${step}: there is one already.`);
    case "EPERM":
    case "EACCES":
      return new TerrariumError("unavailable", `Could not ${step}: the system does not allow it here.`, `In a container, it needs NET_ADMIN and NET_RAW, and /dev/net/tun. ${withoutPrivileges}`);
    case "ENOENT":
      return new TerrariumError("unavailable", `Could not ${step}: the kernel's module for it is missing.`, "Load it (`modprobe tun`).");
    default:
      return new TerrariumError("unavailable", `Could not ${step}: ${reason}.`);
  }
}

