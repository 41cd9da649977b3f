import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * A web server on the host's loopback with one file, `/file`, of which it sends the first half and then waits until it is
 * told to go on: so that something can happen in the middle of a download for certain.
 */
export class HeldDownload {
  private readonly content = randomBytes(4 * 1024 * 1024);
  readonly sha256 = createHash("sha256").update(this.content).digest("hex");
  /** The first half has left the server. */
  readonly isHalfway: Promise<void>;
  /** Whoever asked for the file has read it to its end, and both have closed the connection. */
  readonly isOver: Promise<void>;
  private goOn: () => void = () => undefined;

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {
    const held = new Promise<void>((resolve) => (this.goOn = resolve));
    const half = this.content.length / 2;
    let over: (value: Promise<void>) => void = () => undefined;
    this.isOver = new Promise((resolve) => (over = resolve));
    this.isHalfway = new Promise((resolve) => {
      server.on("request", ({ url, socket }: IncomingMessage, response: ServerResponse) => {
        if (url !== "/file") return void response.end("from the host\n");
        over(once(socket, "close").then(() => undefined));
        response.setHeader("connection", "close");
        response.write(this.content.subarray(0, half), () => resolve());
        void held.then(() => response.end(this.content.subarray(half)));
      });
    });
  }

  static async open(): Promise<HeldDownload> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new HeldDownload(server, (server.address() as AddressInfo).port);
  }

  /** Sends the other half. */
  release(): void {
    this.goOn();
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
