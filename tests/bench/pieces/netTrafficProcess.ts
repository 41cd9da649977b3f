/*
 * Ends of many connections, to be run inside network namespaces:
 *
 *   serve                        says its port; what a connection sends is sent back, and one that ends is ended
 *   greet COUNT                  says its port; so many connections are ended by it as soon as they are there
 *   connects ADDRESS PORT COUNT  so many connections to one that greets, one after another, each to its end
 *   hold ADDRESS PORT COUNT      so many at once, each with a byte there and back; again when standard input says so
 *
 * Standard output tells what happened as JSON lines; the end of standard input ends the program. What is made in
 * thousands a second is made by calls of the system that wait: the runtime's sockets would be what is measured.
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { Family, loadLibc, SocketType } from "../../../core/net/io/libc";
import { LoopMemory } from "../../../core/net/io/loopMemory";
import { parseIpv4, read16, write16, write32 } from "../../../core/net/wire/addresses";

const [role, ...words] = process.argv.slice(2);
const say = (said: unknown): boolean => process.stdout.write(`${JSON.stringify(said)}\n`);
const input = createInterface(process.stdin);

function serve(): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    // What goes wrong is seen, and counted, at the other end.
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => say({ port: (server.address() as AddressInfo).port }));
}

/** Sockets of the system whose calls wait, and a place for one address. */
function waitingSockets() {
  const libc = loadLibc();
  const memory = new LoopMemory(libc);
  const name = memory.allocate(nameBytes);
  const at = memory.addressOf(name);
  return {
    libc,
    open: () => libc.socket(Family.inet, SocketType.stream, 0),
    /** struct sockaddr_in: the family as the machine writes numbers, the rest as on the wire. */
    put(address: string, port: number): number {
      new Uint16Array(name.buffer, name.byteOffset, 1)[0] = Family.inet;
      write16(name, 2, port);
      write32(name, 4, parseIpv4(address) ?? 0);
      return at;
    },
    portOf(socket: number): number {
      const size = memory.allocate(4);
      new Uint32Array(size.buffer, size.byteOffset, 1)[0] = nameBytes;
      libc.socketName(socket, at, memory.addressOf(size));
      return read16(name, 2);
    },
  };
}
const nameBytes = 16;
const backlog = 4096;

function greet(count: number): void {
  const { libc, open, put, portOf } = waitingSockets();
  const listener = open();
  const listens = libc.bind(listener, put("127.0.0.1", 0), nameBytes) === 0 && libc.listen(listener, backlog) === 0;
  if (!listens) throw new Error("nothing can be listened on");
  say({ port: portOf(listener) });
  // From here on nothing but connections is heard: it is the bench that ends us, should they not come.
  for (let greeted = 0; greeted < count; greeted++) libc.close(libc.accept(listener, 0, 0, 0));
  say({ greeted: count });
}

function connects(address: string, port: number, count: number): void {
  const { libc, open, put } = waitingSockets();
  const byte = new Uint8Array(1);
  const to = put(address, port);
  let failed = 0;
  const began = performance.now();
  for (let made = 0; made < count; made++) {
    const socket = open();
    if (libc.connect(socket, to, nameBytes) !== 0 || libc.readInto(socket, byte, 1) !== 0) failed++;
    libc.close(socket);
  }
  say({ seconds: (performance.now() - began) / 1000, failed });
}

/** A byte there and back. */
function echoed(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve(false);
    const ended = (): void => resolve(false);
    socket.once("close", ended);
    socket.once("data", () => {
      socket.off("close", ended);
      resolve(true);
    });
    socket.write("x");
  });
}

async function hold(address: string, port: number, count: number): Promise<void> {
  const failures: string[] = [];
  const sockets = Array.from({ length: count }, () => connect(port, address).on("error", (error) => failures.push(error.message)));
  const round = async (): Promise<void> => {
    const answers = await Promise.all(sockets.map(echoed));
    say({ echoed: answers.filter(Boolean).length, failures: failures.slice(0, 5) });
  };
  input.on("line", (line) => {
    if (line === "again") void round();
    else void endAll(sockets).then(() => process.exit(0));
  });
  await round();
}

/** In small groups: the queue of a card drops what a thousand say at once, and the end by a reset is said only once. */
async function endAll(sockets: readonly Socket[]): Promise<void> {
  for (let from = 0; from < sockets.length; from += endsAtOnce) {
    const group = sockets.slice(from, from + endsAtOnce).filter((socket) => !socket.destroyed);
    await Promise.all(group.map((socket) => new Promise<void>((resolve) => socket.once("close", () => resolve()).resume().end())));
  }
}
const endsAtOnce = 50;

if (role !== "hold") input.on("close", () => process.exit(0));
const [first = "", second = "0", third = "0"] = words;
if (role === "serve") serve();
else if (role === "greet") greet(Number(first));
else if (role === "connects") connects(first, Number(second), Number(third));
else void hold(first, Number(second), Number(third));
