import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Disposable } from "../base/disposable";
import { errorCode } from "../storage/blockDevice";
import type { Log } from "../base/log";

/** Clients that wait for the one before them to leave; more are turned away. */
const maxWaiting = 4;

/**
 * Listens on a Unix socket that this user alone may use. A socket file left by a process that died is overwritten;
 * anything else in its place is not ours to remove and fails the start.
 */
export async function listenOn(path: string, log: Log, onConnection: (socket: Socket) => void): Promise<Disposable> {
  removeStaleSocket(path);
  const sockets = new Set<Socket>();
  // Half-open, so that whoever serves the socket can still answer a client that has said its last word.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client that goes away in the middle of a write is everyday life; its close event follows.
    socket.on("error", (error) => log.info(`a client of ${path} left: ${error.message}`));
    onConnection(socket);
  });
  await listen(server, path);
  chmodSync(path, 0o600);
  return {
    dispose() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`The socket ${path} cannot be opened: ${error.message}`)));
    server.listen(path, () => resolve());
  });
}

function removeStaleSocket(path: string): void {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  if (!isSocket) throw new Error(`The socket ${path} cannot be opened: another file is in its place`);
  unlinkSync(path);
}

/**
 * Lets one client in at a time, as a QEMU character device does: the next one is served, with what it has said in the
 * meantime, when the one before has left.
 */
export class OneClient {
  private current: Socket | undefined;
  private readonly waiting: Socket[] = [];

  constructor(private readonly serve: (socket: Socket | undefined) => void) {}

  readonly accept = (socket: Socket): void => {
    if (this.waiting.length >= maxWaiting) {
      socket.destroy();
      return;
    }
    socket.pause();
    socket.on("end", () => socket.end());
    this.waiting.push(socket);
    socket.on("close", () => this.left(socket));
    if (!this.current) this.next();
  };

  private left(socket: Socket): void {
    const place = this.waiting.indexOf(socket);
    if (place >= 0) this.waiting.splice(place, 1);
    if (socket !== this.current) return;
    this.current = undefined;
    this.serve(undefined);
    this.next();
  }

  private next(): void {
    const socket = this.waiting.shift();
    if (!socket) return;
    this.current = socket;
    this.serve(socket);
    socket.resume();
  }
}
