import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Namespace } from "../namespaces";
import type { DriverWish } from "./gatewayDriver";

const checkout = join(__dirname, "../../..");
export const streamPeer = join(__dirname, "streamPeer.mjs");

/** A program that says JSON lines, and is told lines. */
export class Talker {
  private readonly heard: Record<string, unknown>[] = [];
  private waiting: (() => void)[] = [];
  private ended: number | null | undefined;
  complaint = "";

  constructor(private readonly child: ChildProcess) {
    child.stderr?.on("data", (chunk: Buffer) => (this.complaint += chunk.toString()));
    if (child.stdout) {
      createInterface(child.stdout).on("line", (line) => {
        this.heard.push(JSON.parse(line) as Record<string, unknown>);
        this.wake();
      });
    }
    child.once("close", (code) => {
      this.ended = code;
      this.wake();
    });
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** The next thing it says with one of these words. */
  async says<T = Record<string, unknown>>(...words: string[]): Promise<T> {
    for (;;) {
      const index = this.heard.findIndex((said) => words.some((word) => word in said));
      if (index >= 0) return this.heard.splice(index, 1)[0] as T;
      if (this.ended !== undefined) throw new Error(`it ended with ${this.ended} and never said ${words.join(" or ")}: ${this.complaint}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  async over(): Promise<number | null> {
    while (this.ended === undefined) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.ended;
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

/** What one end of a transfer says of it. */
export interface TransferEnd {
  readonly sent: { readonly bytes: number; readonly sha256: string; readonly error?: string };
  readonly got: { readonly bytes: number; readonly sha256: string; readonly error?: string };
}

/** A wish as streamPeer.mjs has it. */
export type StreamWish =
  | { readonly do: "transfer"; readonly up?: number; readonly down?: number; readonly first?: "up" | "down"; readonly pause?: "up" | "down"; readonly connections?: number }
  | { readonly do: "reset"; readonly by: "server" | "client" };

/** The kernel of a namespace as a guest: its card is the other end of a gateway's cable. */
export class KernelGuest {
  static readonly gateway = "10.9.0.2";
  static readonly nameServer = "10.9.0.3";
  static readonly address = "10.9.0.50";
  /** Where the server of streams is, on the loopback of the host. */
  static readonly streamPort = 7000;

  private constructor(
    readonly namespace: Namespace,
    private readonly driver: Talker,
    readonly server: Talker,
    private readonly port: number,
  ) {}

  /** @param driver the path of gatewayDriver.ts as a program */
  static async create(host: Namespace, driver: string, loop: "epoll" | "portable", mtu: number, tapName = "tt-guest", port = KernelGuest.streamPort): Promise<KernelGuest> {
    const namespace = await Namespace.create("g");
    try {
      const talker = new Talker(host.spawn("env", `NODE_PATH=${join(checkout, "node_modules")}`, process.execPath, driver, loop, tapName, String(mtu)));
      await talker.says("ready");
      await host.succeed("ip", "link", "set", tapName, "netns", namespace.name);
      await namespace.succeed("ip", "address", "add", `${KernelGuest.address}/24`, "dev", tapName);
      await namespace.succeed("ip", "link", "set", tapName, "up");
      await namespace.succeed("ip", "route", "add", "default", "via", KernelGuest.gateway);
      await namespace.setResolver(KernelGuest.nameServer);
      const server = new Talker(host.spawn(process.execPath, streamPeer, "serve", "127.0.0.1", String(port)));
      await server.says("ready");
      return new KernelGuest(namespace, talker, server, port);
    } catch (error) {
      await namespace.dispose();
      throw error;
    }
  }

  /** Has the gateway's program do something; what it answers. */
  async wish<T = unknown>(wish: DriverWish): Promise<T> {
    this.driver.tell(JSON.stringify(wish));
    return (await this.driver.says<{ answer: T }>("answer")).answer;
  }

  /** Connects from the guest, to the host's loopback if nothing else is said. */
  ask(wish: StreamWish, address = KernelGuest.gateway, port = this.port): Talker {
    return new Talker(this.namespace.spawn(process.execPath, streamPeer, "ask", address, String(port), JSON.stringify(wish)));
  }

  /** Carries bytes; what each end says of it. */
  async transfer(wish: Omit<Extract<StreamWish, { do: "transfer" }>, "do">): Promise<{ client: TransferEnd; server: TransferEnd }> {
    const client = this.ask({ do: "transfer", ...wish });
    const said = await client.says<TransferEnd & { readonly failed?: string }>("sent", "failed");
    if (said.failed !== undefined) throw new Error(`the guest could not connect: ${said.failed}`);
    return { client: said, server: await this.server.says<TransferEnd>("sent") };
  }

  /** Sends datagrams from the guest, one after the other as each is answered; the answers. */
  async datagrams(address: string, port: number, words: readonly string[]): Promise<string[]> {
    const client = new Talker(this.namespace.spawn(process.execPath, streamPeer, "datagrams", address, String(port), JSON.stringify(words)));
    const { answers, failed } = await client.says<{ answers?: string[]; failed?: string }>("answers", "failed");
    if (answers === undefined) throw new Error(failed);
    return answers;
  }

  /** Ends the gateway and the server; resolves with the gateway's exit code. */
  async dispose(): Promise<number | null> {
    await this.wish({ do: "close" });
    const code = await this.driver.over();
    await this.namespace.dispose();
    return code;
  }
}
