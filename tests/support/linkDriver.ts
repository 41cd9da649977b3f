/*
 * A program that has interfaces of the host as the fabric has them, to be run inside a network namespace:
 *
 *   host-only NAME ADDRESS PREFIX HELPER SOCKET    a host-only network's TAP
 *   bridged CARD HELPER SOCKET                     a card
 *   guest NAME ADDRESS PREFIX HELPER SOCKET        a guest: a TAP that the namespace's kernel uses as its card
 *
 * The first two listen on SOCKET and carry frames to the guests that connect there, and between these. Standard output
 * tells what happens as JSON lines; a line on standard input closes everything.
 */
import { createServer, connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { DisposableStore } from "../../core/base/disposable";
import { createLog } from "../../core/base/log";
import { toErrorData } from "../../core/contract/errors";
import { PortableReactor } from "../../core/net/io/portableReactor";
import { HostLinks } from "../../core/net/link/hostLinks";
import { forEachFrame, FrameBatch, FrameDecoder, headerBytes } from "../../core/net/link/stream";
import type { FramePort } from "../../core/net/port";
import { parseIpv4 } from "../../core/net/wire/addresses";

const [mode = "", ...rest] = process.argv.slice(2);
const socketPath = rest.pop() ?? "";
const helper = rest.pop() ?? "";
const say = (words: unknown): boolean => process.stdout.write(`${JSON.stringify(words)}\n`);
const log = createLog((line) => process.stderr.write(`${line}\n`));
const store = new DisposableStore();
const links = store.add(new HostLinks({ reactor: new PortableReactor(log), log, program: { node: process.execPath, env: {}, script: helper }, scope: socketPath }));

/** Frames from a stream go to `deliver`, one run each. */
function carry(socket: Socket, deliver: (run: Uint8Array) => void): void {
  const decoder = new FrameDecoder();
  socket.on("data", (chunk: Buffer) => {
    const batch = new FrameBatch();
    const wrong = decoder.push(chunk, (frame) => batch.append(frame.length).set(frame));
    if (wrong !== undefined) throw new Error(wrong);
    if (batch.bytes > 0) deliver(batch.drain());
  });
  socket.on("error", (error) => log.warn(error.message));
}

function serveGuests(port: FramePort): void {
  const guests = new Set<Socket>();
  port.connect({
    frames: (bytes, at, end) => {
      for (const guest of guests) guest.write(Uint8Array.prototype.slice.call(bytes, at, end));
    },
  });
  const server = createServer((socket) => {
    guests.add(socket);
    socket.on("close", () => guests.delete(socket));
    carry(socket, (run) => {
      for (const guest of guests) if (guest !== socket) guest.write(run);
      port.frames(run, 0, run.length);
    });
  });
  server.listen(socketPath, () => say({ listening: true }));
  store.add({
    dispose: () => {
      server.close();
      for (const guest of guests) guest.destroy();
    },
  });
}

async function main(): Promise<void> {
  if (mode === "bridged") {
    const port = store.add(await links.bridged(rest[0] ?? ""));
    store.add(port.onDidChange((problem) => say({ problem: problem ?? null })));
    serveGuests(port);
    say({ opened: rest[0] });
    counted(port);
    return;
  }
  const [name = "", address = "", prefix] = rest;
  const port = store.add(await links.hostOnly({ name, address: parseIpv4(address) ?? 0, prefix: Number(prefix), mtu: 1500 }));
  store.add(port.onDidVanish((problem) => say({ problem })));
  counted(port);
  if (mode === "host-only") serveGuests(port);
  else {
    const socket = connect(socketPath);
    store.add({ dispose: () => socket.destroy() });
    // In runs of one, which the port does not merge: a capture on this card is to show them as they came.
    carry(socket, (run) =>
      forEachFrame(run, (frame) => {
        const one = new FrameBatch(headerBytes + frame.length);
        one.append(frame.length).set(frame);
        port.frames(one.drain(), 0, headerBytes + frame.length);
      }),
    );
    port.connect({ frames: (bytes, at, end) => socket.write(Uint8Array.prototype.slice.call(bytes, at, end)) });
  }
  say({ opened: port.interfaceName });
}

let counters: FramePort["counters"] | undefined;
function counted(port: FramePort): void {
  counters = port.counters;
}

createInterface(process.stdin).on("line", (line) => {
  if (line === "counters") {
    say({ counters });
    return;
  }
  store.dispose();
  process.stdin.destroy();
});
main().catch((error: unknown) => {
  say({ failed: toErrorData(error) });
  store.dispose();
  process.stdin.destroy();
});
