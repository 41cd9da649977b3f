import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { FrameBatch, FrameDecoder } from "../../core/net/link/stream";
import type { Namespace } from "./namespaces";

const checkout = join(__dirname, "../..");
export const helperBundle = join(checkout, "out", "netHelper.cjs");

/** A `linkDriver.ts` that runs in a namespace, and what it says. */
export class Link {
  private readonly heard: Record<string, unknown>[] = [];
  private readonly waiting: (() => void)[] = [];
  private complaint = "";
  private ended: number | null | undefined;

  private constructor(private readonly child: ChildProcess) {
    child.stderr?.on("data", (chunk: Buffer) => (this.complaint += chunk.toString()));
    if (child.stdout) {
      createInterface(child.stdout).on("line", (line) => {
        this.heard.push(JSON.parse(line) as Record<string, unknown>);
        this.wake();
      });
    }
    child.once("exit", (code) => {
      this.ended = code;
      this.wake();
    });
  }

  static async start(namespace: Namespace, driver: string, args: readonly string[], socket: string): Promise<Link> {
    const env = `NODE_PATH=${join(checkout, "node_modules")}`;
    const link = new Link(namespace.spawn("env", env, process.execPath, driver, ...args, helperBundle, socket));
    const words = await link.says("opened", "failed");
    if ("failed" in words) throw new Error(`${args.join(" ")}: ${JSON.stringify(words.failed)} ${link.complaint}`);
    if (args[0] !== "guest") await link.says("listening");
    link.name = String(words.opened);
    return link;
  }

  /** Of the interface it has. */
  name = "";

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The next thing it says that has one of these words, taken out of what it said. */
  async says(...words: string[]): Promise<Record<string, unknown>> {
    for (;;) {
      const index = this.heard.findIndex((said) => words.some((word) => word in said));
      if (index >= 0) return this.heard.splice(index, 1)[0] ?? {};
      if (this.ended !== undefined) throw new Error(`it ended with ${this.ended} and never said ${words.join(" or ")}: ${this.complaint}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  async counters(): Promise<{ receivedFrames: number; sentFrames: number; dropped: Record<string, number> }> {
    this.child.stdin?.write("counters\n");
    return (await this.says("counters")).counters as never;
  }

  /** Closes everything; resolves when the program has ended by itself. */
  async close(): Promise<number | null> {
    if (this.ended === undefined) {
      const ended = new Promise((resolve) => this.child.once("exit", resolve));
      this.child.stdin?.write("close\n");
      await ended;
    }
    return this.ended ?? null;
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

/** A guest of a link that says whatever a test has it say. */
export class RawGuest {
  private readonly received: Buffer[] = [];
  private wake: () => void = () => undefined;

  private constructor(private readonly socket: Socket) {
    const decoder = new FrameDecoder();
    socket.on("data", (chunk: Buffer) => {
      decoder.push(chunk, (frame) => this.received.push(Buffer.from(frame)));
      this.wake();
    });
  }

  static async connect(path: string): Promise<RawGuest> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new RawGuest(socket);
  }

  send(frame: Uint8Array): void {
    const batch = new FrameBatch();
    batch.append(frame.length).set(frame);
    this.socket.write(batch.drain());
  }

  /** The next frame from the station `source`. */
  async frameLike(source: Uint8Array): Promise<Buffer> {
    for (;;) {
      for (let frame = this.received.shift(); frame; frame = this.received.shift()) if (frame.subarray(6, 12).equals(source)) return frame;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  close(): void {
    this.socket.destroy();
  }
}
