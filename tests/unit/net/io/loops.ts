import { afterEach } from "vitest";
import { createLog } from "../../../../core/base/log";
import { openEpollIo, openPortableIo, type Io } from "../../../../core/net/io";
import type { HostTcp, HostTcpHandler } from "../../../../core/net/nat/hostSockets";
import { parseIpv4 } from "../../../../core/net/wire/addresses";

/** What the loops have to complain about. */
export const complaints: string[] = [];
const log = createLog((line) => complaints.push(line));

/** The peers of the tests live in the same thread, and wait by immediates. */
const shared = { longestWaitMs: 1 };

/** Every loop under one roof: what holds for one holds for the other. */
export const loops: [name: string, open: () => Io][] = [
  ["portable", () => openPortableIo(log)],
  ["epoll", () => openEpollIo(log, shared)],
];

export const loopback = parseIpv4("127.0.0.1") as number;

const cleanups: (() => void)[] = [];

/** Runs `release` when the test is over. */
export function after(release: () => void): void {
  cleanups.push(release);
}

export function opened(open: () => Io): Io {
  const io = open();
  after(() => io.stop());
  io.run();
  return io;
}

afterEach(() => {
  for (const release of cleanups.splice(0).reverse()) release();
});

/** Waits until `condition` holds; the test's own time limit is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** A handler that notes what it hears, and reads everything while it is told to. */
export class Listening implements HostTcpHandler {
  readonly heard: string[] = [];
  readonly chunks: Buffer[] = [];
  received = 0;
  ended = false;
  socket: HostTcp | undefined;
  private readonly target = new Uint8Array(100_000);

  /** @param each bytes taken per call of `readable` */
  constructor(private readonly each = 64 * 1024) {}

  connected(): void {
    this.heard.push("connected");
  }

  readable(): void {
    const count = this.socket?.read(this.target, 7, 7 + this.each) ?? 0;
    if (count < 0) {
      this.ended = true;
      return;
    }
    this.received += count;
    this.chunks.push(Buffer.from(this.target.slice(7, 7 + count)));
  }

  writable(): void {
    this.heard.push("writable");
    this.onWritable?.();
  }

  onWritable: (() => void) | undefined;

  failed(failure: string): void {
    this.heard.push(failure);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

/** Writes all of `bytes` as fast as they are taken, then the end of the stream. */
export function writeAll(listening: Listening, bytes: Uint8Array): void {
  let at = 0;
  const more = (): void => {
    const socket = listening.socket;
    if (!socket || at === bytes.length) return;
    at += socket.write(bytes, at, bytes.length);
    if (at === bytes.length) socket.shutdown();
  };
  listening.onWritable = more;
  more();
}
