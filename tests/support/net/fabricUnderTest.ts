import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { systemClock } from "../../../core/base/clock";
import { FabricClient } from "../../../core/machine/fabricClient";
import type { SegmentSpec } from "../../../core/net/control";
import { headerBytes } from "../../../core/net/link/stream";
import { write32 } from "../../../core/net/wire/addresses";

const bundle = join(__dirname, "../../../out/fabric.cjs");
const answerMs = 30_000;

/** The real process, as bundled, with machines that are nothing but their sockets. */
export class FabricUnderTest {
  private readonly machines: Server[] = [];
  private readonly sockets: Socket[] = [];
  private ports: { id: string; socket: string; mac: string; macPolicy: "any" | "own" }[] = [];
  output = "";

  private constructor(
    private readonly folder: string,
    readonly process: ChildProcess,
    readonly client: FabricClient,
  ) {
    process.stdout?.on("data", (text: Buffer) => (this.output += text.toString()));
    process.stderr?.on("data", (text: Buffer) => (this.output += text.toString()));
  }

  /**
   * @param prelude what a shell does before it becomes the fabric, such as setting limits
   * @param runtime the words that start a program as Node
   */
  static async start(folder: string, prelude = ":", runtime: readonly string[] = [process.execPath]): Promise<FabricUnderTest> {
    const command = [...runtime, bundle, "--run-dir", folder, "--leases", join(folder, "leases.json"), "--build", "test"];
    const child = spawn("/bin/sh", ["-c", `${prelude}; exec "$@"`, "sh", ...command], { stdio: ["ignore", "pipe", "pipe"] });
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the fabric ended with ${child.exitCode}`);
      const client = await FabricClient.connect(join(folder, "fabric.sock"), systemClock());
      if (client) return new FabricUnderTest(folder, child, client);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** A machine's adapter; what it sends is what the test writes. Resolves when the fabric has connected to it. */
  async plug(segment: SegmentSpec, mac: string, macPolicy: "any" | "own" = "own"): Promise<MachineEnd> {
    const id = `machine:${this.ports.length}`;
    const socket = join(this.folder, `net${this.ports.length}.sock`);
    const server = createServer();
    this.machines.push(server);
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    this.ports.push({ id, socket, mac, macPolicy });
    const connected = once(server, "connection") as Promise<[Socket]>;
    await this.client.call("apply", { segments: [segment], forwards: [], ports: this.ports.map((port) => ({ ...port, segment: segment.id, plugged: true })) }, answerMs);
    const [end] = await connected;
    this.sockets.push(end);
    return new MachineEnd(end);
  }

  async dispose(): Promise<void> {
    const ended = this.process.exitCode === null ? once(this.process, "exit") : undefined;
    this.client.dispose();
    this.process.kill("SIGKILL");
    await ended;
    for (const socket of this.sockets) socket.destroy();
    for (const server of this.machines) server.close();
  }
}

/** A machine's end of its cable. */
export class MachineEnd {
  received = Buffer.alloc(0);

  constructor(readonly socket: Socket) {
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => (this.received = Buffer.concat([this.received, chunk])));
  }

  /** Sends frames; resolves when the fabric has room for more. */
  async send(...frames: readonly Uint8Array[]): Promise<void> {
    const run = Buffer.concat(
      frames.map((frame) => {
        const bytes = new Uint8Array(headerBytes + frame.length);
        write32(bytes, 0, frame.length);
        bytes.set(frame, headerBytes);
        return bytes;
      }),
    );
    if (!this.socket.write(run)) await once(this.socket, "drain");
  }
}
