import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FrameBatch, forEachFrame } from "../../../../core/net/link/stream";
import type { FrameSink } from "../../../../core/net/port";
import { useTemporaryFolder } from "../../../support/temporaryFolder";
import { after, loops, opened, until } from "./loops";

const folder = useTemporaryFolder();
let machines = 0;

/** A machine's process as far as its socket goes. */
class Machine {
  readonly path = join(folder.path, `net${machines++}.sock`);
  readonly sockets: Socket[] = [];
  readonly arrived: Buffer[] = [];
  /** Whether it reads what comes. */
  reads = true;
  private server: Server | undefined;

  async listen(): Promise<void> {
    const server = createServer((socket) => {
      this.sockets.push(socket);
      socket.on("error", () => socket.destroy());
      socket.on("data", (chunk) => this.arrived.push(chunk));
      if (!this.reads) socket.pause();
    });
    this.server = server;
    after(() => this.end());
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  end(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server?.close();
  }

  get socket(): Socket {
    return this.sockets.at(-1) as Socket;
  }
}

class Taken implements FrameSink {
  readonly list: Buffer[] = [];
  runs = 0;

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.runs++;
    forEachFrame(bytes.subarray(at, end), (frame) => this.list.push(Buffer.from(frame)));
  }
}

function run(frames: readonly Uint8Array[]): Uint8Array {
  const batch = new FrameBatch();
  for (const frame of frames) batch.append(frame.length).set(frame);
  return batch.drain();
}

const numbered = (count: number, length: number): Buffer[] =>
  Array.from({ length: count }, (_, index) => {
    const frame = Buffer.alloc(length, index & 255);
    frame.writeUInt32BE(index, 0);
    return frame;
  });

describe.each(loops)("a machine's socket as a port over the %s loop", (_name, open) => {
  async function plugged(machine = new Machine()): Promise<{ machine: Machine; port: ReturnType<ReturnType<typeof opened>["connectMachine"]>; taken: Taken; closed: string[] }> {
    await machine.listen();
    const port = opened(open).connectMachine(machine.path);
    after(() => port.dispose());
    const taken = new Taken();
    port.connect(taken);
    const closed: string[] = [];
    port.onDidClose(({ reason }) => closed.push(reason));
    await until(() => port.connected && machine.sockets.length === 1);
    return { machine, port, taken, closed };
  }

  it("carries frames both ways in order, a burst of them as few runs", async () => {
    const { machine, port, taken } = await plugged();
    const frames = numbered(2000, 1514);
    machine.socket.write(run(frames));
    await until(() => taken.list.length === frames.length);
    expect(Buffer.concat(taken.list).equals(Buffer.concat(frames))).toBe(true);
    expect(taken.runs).toBeLessThan(500);
    expect(port.counters).toMatchObject({ receivedFrames: 2000, receivedBytes: 2000 * 1514, dropped: {} });

    const sent = run(numbered(300, 1514));
    port.frames(sent, 0, sent.length);
    const small = run(numbered(5, 60));
    const padded = Buffer.concat([Buffer.from("abc"), small]);
    port.frames(padded, 3, padded.length);
    port.frames(padded, 3, padded.length);
    const expected = Buffer.concat([sent, small, small]);
    sent.fill(0xee);
    padded.fill(0xee);
    await until(() => Buffer.concat(machine.arrived).length === expected.length);
    const got: Buffer[] = [];
    forEachFrame(Buffer.concat(machine.arrived), (frame) => got.push(Buffer.from(frame)));
    expect(got.length).toBe(310);
    expect(Buffer.concat(got).equals(Buffer.concat([...numbered(300, 1514), ...numbered(5, 60), ...numbered(5, 60)]))).toBe(true);
    expect(port.counters).toMatchObject({ sentFrames: 310, sentBytes: 300 * 1514 + 10 * 60, dropped: {} });
  });

  it("waits for the rest of half a frame, and holds nobody else up meanwhile", async () => {
    const { machine, taken } = await plugged();
    const other = await plugged();
    const bytes = run(numbered(2, 9000));
    machine.socket.write(bytes.subarray(0, 12_000));
    await until(() => taken.list.length === 1);
    other.machine.socket.write(run(numbered(10, 60)));
    await until(() => other.taken.list.length === 10);
    machine.socket.write(bytes.subarray(12_000));
    await until(() => taken.list.length === 2);
    expect(taken.list[1]?.equals(numbered(2, 9000)[1] as Buffer)).toBe(true);
  });

  it("passes on what came before a length that cannot be, then connects anew", async () => {
    for (const lie of [0, 13, 65_551, 0xffff_ffff]) {
      const { machine, port, taken, closed } = await plugged();
      const header = Buffer.alloc(4);
      header.writeUInt32BE(lie);
      machine.socket.write(Buffer.concat([run(numbered(3, 60)), header, Buffer.alloc(70_000)]));
      await until(() => machine.sockets.length === 2 && port.connected);
      expect(taken.list.length).toBe(3);
      expect(closed).toEqual([expect.stringContaining(`a frame of ${lie} bytes`)]);
      expect(port.counters.dropped).toEqual({ malformed: 1 });
      machine.socket.write(run(numbered(1, 60)));
      await until(() => taken.list.length === 4);
      port.dispose();
    }
  });

  it("drops whole frames and counts them when the machine never reads, and goes on when it reads again", async () => {
    const silent = new Machine();
    silent.reads = false;
    const { machine, port } = await plugged(silent);
    const frames = run(numbered(500, 1514));
    let offered = 0;
    while ((port.counters.dropped["queue-full"] ?? 0) < 5000) {
      port.frames(frames, 0, frames.length);
      offered += 500;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(port.writable).toBe(false);
    const { sentFrames, dropped } = port.counters;
    expect(sentFrames + (dropped["queue-full"] ?? 0)).toBe(offered);
    // The queue, and what the kernel and the runtime hold.
    expect(port.counters.sentBytes).toBeLessThan(4_000_000);
    machine.socket.resume();
    await until(() => Buffer.concat(machine.arrived).length === sentFrames * 1518);
    await until(() => port.writable);
    let whole = 0;
    forEachFrame(Buffer.concat(machine.arrived), (frame) => {
      expect(frame.length).toBe(1514);
      whole++;
    });
    expect(whole).toBe(sentFrames);
  });

  it("comes back when the machine does, and drops what nobody takes until then", async () => {
    const { machine, port, closed } = await plugged();
    machine.end();
    await until(() => !port.connected);
    expect(closed.length).toBe(1);
    const frames = run(numbered(7, 60));
    port.frames(frames, 0, frames.length);
    expect(port.counters.dropped).toEqual({ "no-peer": 7 });
    let connects = 0;
    port.onDidConnect(() => connects++);
    await machine.listen();
    await until(() => port.connected && machine.sockets.length === 2);
    expect(connects).toBe(1);
    port.frames(frames, 0, frames.length);
    await until(() => Buffer.concat(machine.arrived).length === frames.length);
  });

  it("lets go of the machine when it is disposed, after what was sent", async () => {
    const { machine, port } = await plugged();
    let ended = false;
    machine.socket.on("end", () => (ended = true));
    const frames = run(numbered(7, 60));
    port.frames(frames, 0, frames.length);
    port.dispose();
    await until(() => ended);
    expect(Buffer.concat(machine.arrived).equals(frames)).toBe(true);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(machine.sockets.length).toBe(1);
  });
});
