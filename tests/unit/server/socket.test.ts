import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { Duplex, PassThrough } from "node:stream";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../../core/base/log";
import { TerrariumError } from "../../../core/contract/errors";
import { maxLineBytes } from "../../../core/contract/protocol";
import { serveSocket, type ServedSocket, type SocketLimits } from "../../../core/server/socket";
import { FakeHost, notice, someMachine, until } from "./fakeHost";

async function served(host = new FakeHost(), limits?: SocketLimits): Promise<{ host: FakeHost; socket: ServedSocket }> {
  const socket = await serveSocket(host, silentLog, limits);
  onTestFinished(() => socket.dispose());
  return { host, socket };
}

/** A client that says bytes and keeps what it hears. */
class Raw {
  heard = Buffer.alloc(0);
  closed = false;
  readonly socket: Socket;

  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on("data", (chunk) => (this.heard = Buffer.concat([this.heard, chunk])));
    this.socket.on("end", () => this.socket.end());
    // A service that turns a client away may do so while the client is still speaking.
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("close", () => (this.closed = true));
    onTestFinished(() => void this.socket.destroy());
  }

  say(...values: unknown[]): this {
    for (const value of values) this.socket.write(typeof value === "string" || Buffer.isBuffer(value) ? value : `${JSON.stringify(value)}\n`);
    return this;
  }

  get messages(): Record<string, unknown>[] {
    return this.heard.toString().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async hears(count: number): Promise<Record<string, unknown>[]> {
    await until(() => this.heard.toString().split("\n").length > count || this.closed);
    return this.messages;
  }

  async ends(): Promise<void> {
    await until(() => this.closed);
  }
}

describe("the host service's socket", () => {
  it("belongs to its owner alone", async () => {
    const { socket } = await served();
    expect(statSync(socket.path).mode & 0o777).toBe(0o600);
  });

  it("takes the place of one that was left behind, and of nothing else", async () => {
    const host = new FakeHost();
    const path = join(host.runDir, "host.sock");
    const first = createServer();
    await new Promise<void>((resolve) => first.listen(path, resolve));
    const { socket } = await served(host);
    const client = new Raw(socket.path).say({ id: 1, call: "nope", input: {} });
    expect(await client.hears(1)).toHaveLength(1);
    first.close();

    const other = new FakeHost();
    mkdirSync(join(other.runDir, "host.sock"));
    writeFileSync(join(other.runDir, "host.sock", "file"), "");
    await expect(serveSocket(other, silentLog)).rejects.toMatchObject({ code: "io" });
  });

  it("answers calls, each with its id, in whatever order they end", async () => {
    const { host, socket } = await served();
    let release: (value: unknown) => void = () => undefined;
    host.answer = (name) => (name === "job.wait" ? new Promise((resolve) => (release = resolve)) : [name]);
    const client = new Raw(socket.path).say({ id: 7, call: "job.wait", input: { id: "x" } }, { id: 8, call: "machine.list", input: {} });
    expect(await client.hears(1)).toEqual([{ id: 8, result: ["machine.list"] }]);
    release({ late: true });
    expect(await client.hears(2)).toContainEqual({ id: 7, result: { late: true } });
    expect(host.calls).toEqual([
      { name: "job.wait", input: { id: "x" } },
      { name: "machine.list", input: {} },
    ]);
  });

  it("passes a refusal on with its code and remedy, and a fault as internal", async () => {
    const { host, socket } = await served();
    host.answer = (name) => {
      throw name === "machine.list" ? new TerrariumError("busy", "It is busy.", "Wait.") : new Error("oops");
    };
    const client = new Raw(socket.path).say({ id: 1, call: "machine.list", input: {} }, { id: 2, call: "job.list", input: {} });
    const [first, second] = await client.hears(2);
    expect(first).toEqual({ id: 1, error: { code: "busy", message: "It is busy.", remedy: "Wait." } });
    expect(second).toMatchObject({ id: 2, error: { code: "internal" } });
  });

  it("refuses a call that is not in the contract and goes on", async () => {
    const { host, socket } = await served();
    host.answer = () => [];
    const client = new Raw(socket.path).say({ id: 1, call: "toString", input: {} }, { id: 2, call: "machine.list", input: {} });
    expect(await client.hears(2)).toMatchObject([{ id: 1, error: { code: "invalid-input" } }, { id: 2, result: [] }]);
    expect(host.calls).toHaveLength(1);
  });

  it("tells subscribers what happens, and nobody else", async () => {
    const { host, socket } = await served();
    host.answer = () => [];
    const listener = new Raw(socket.path).say({ id: 1, subscribe: true }, { id: 2, subscribe: true });
    const other = new Raw(socket.path).say({ id: 1, call: "job.list", input: {} });
    await listener.hears(2);
    await other.hears(1);
    host.changes.fire(notice("news"));
    expect(await listener.hears(3)).toEqual([{ id: 1, result: {} }, { id: 2, result: {} }, { event: notice("news") }]);
    other.say({ id: 2, call: "job.list", input: {} });
    expect(await other.hears(2)).toHaveLength(2);
  });

  it("counts its clients and lets go of those that leave", async () => {
    const { host, socket } = await served();
    const client = new Raw(socket.path).say({ id: 1, subscribe: true });
    await client.hears(1);
    expect(socket.clientCount).toBe(1);
    expect(host.changes.hasListeners).toBe(true);
    client.socket.destroy();
    await until(() => socket.clientCount === 0);
    expect(host.changes.hasListeners).toBe(false);
  });

  it("finishes the answers of a client that has stopped speaking", async () => {
    const { host, socket } = await served();
    let release: (value: unknown) => void = () => undefined;
    host.answer = () => new Promise((resolve) => (release = resolve));
    const client = new Raw(socket.path).say({ id: 1, call: "job.list", input: {} });
    client.socket.end();
    await until(() => host.calls.length === 1);
    release([1]);
    await client.ends();
    expect(client.messages).toEqual([{ id: 1, result: [1] }]);
  });
});

describe("what a client may send to the host service", () => {
  it.each([
    ["a line that is no JSON", "{]\n"],
    ["a line that is no request", "[1,2]\n"],
    ["a request without a call", '{"id":1}\n'],
    ["a request whose id is no number", '{"id":"x","call":"machine.list","input":{}}\n'],
    ["a stream of an unknown kind", '{"stream":"memory","id":"01234567-89ab-4cde-8f01-23456789abcd"}\n'],
    ["a stream of no machine", '{"stream":"serial","id":"../etc"}\n'],
    ["an empty line", "\n"],
  ])("%s is answered and costs it its connection, and no other", async (_what, line) => {
    const { host, socket } = await served();
    host.answer = () => [];
    const other = new Raw(socket.path).say({ id: 1, call: "job.list", input: {} });
    await other.hears(1);
    const client = new Raw(socket.path).say(line);
    await client.ends();
    expect(client.messages).toMatchObject([{ error: { code: "invalid-input" } }]);
    other.say({ id: 2, call: "job.list", input: {} });
    expect(await other.hears(2)).toHaveLength(2);
    expect(host.calls).toHaveLength(2);
  });

  it("a line without an end is refused at the limit", async () => {
    const { socket } = await served();
    const client = new Raw(socket.path);
    const piece = Buffer.alloc(1 << 18, 0x61);
    for (let sent = 0; sent <= maxLineBytes; sent += piece.length) client.say(piece);
    await client.ends();
    expect(client.messages).toMatchObject([{ error: { code: "invalid-input" } }]);
  });

  it("half a line waits for its other half", async () => {
    const { host, socket } = await served();
    host.answer = () => [];
    const client = new Raw(socket.path).say('{"id":1,"call":"job');
    await until(() => socket.clientCount === 1);
    client.say('.list","input":{}}\n');
    expect(await client.hears(1)).toEqual([{ id: 1, result: [] }]);
  });

  it("arbitrary bytes never harm the service", async () => {
    const { host, socket } = await served();
    host.answer = () => [];
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(`${text}\n`)),
      fc.record({ id: fc.anything(), call: fc.anything(), input: fc.anything() }).map((value) => Buffer.from(`${JSON.stringify(value)}\n`)),
      fc.record({ stream: fc.anything(), id: fc.anything() }).map((value) => Buffer.from(`${JSON.stringify(value)}\n`)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        const client = new Raw(socket.path).say(...pieces);
        client.socket.end();
        await client.ends();
      }),
      { numRuns: 150 },
    );
    const good = new Raw(socket.path).say({ id: 1, call: "job.list", input: {} });
    expect(await good.hears(1)).toEqual([{ id: 1, result: [] }]);
  });

  it("more calls at once than allowed are refused, the rest still answered", async () => {
    const { host, socket } = await served(new FakeHost(), { maxQueuedBytes: 1 << 20, pauseReadingBytes: 1 << 19, maxCallsAtOnce: 2, maxClients: 8 });
    const releases: ((value: unknown) => void)[] = [];
    host.answer = () => new Promise((resolve) => releases.push(resolve));
    const client = new Raw(socket.path).say(...[1, 2, 3].map((id) => ({ id, call: "job.list", input: {} })));
    expect(await client.hears(1)).toMatchObject([{ id: 3, error: { code: "busy" } }]);
    for (const release of releases) release([]);
    expect(await client.hears(3)).toHaveLength(3);
  });

  it("a client that does not read is cut off before much waits for it", async () => {
    const limits = { maxQueuedBytes: 1 << 20, pauseReadingBytes: 1 << 16, maxCallsAtOnce: 16, maxClients: 8 };
    const { host, socket } = await served(new FakeHost(), limits);
    const client = connect(socket.path);
    onTestFinished(() => void client.destroy());
    client.on("error", () => client.destroy());
    client.write('{"id":1,"subscribe":true}\n');
    client.pause();
    await until(() => host.changes.hasListeners);
    const event = notice("x".repeat(10_000));
    let fired = 0;
    while (host.changes.hasListeners) {
      host.changes.fire(event);
      if (++fired % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // What the kernel takes in addition is not ours.
    expect(fired * 10_000).toBeLessThan(3 * limits.maxQueuedBytes);
    await until(() => socket.clientCount === 0);
  });

  it("a client that sends without reading is not read from", async () => {
    const limits = { maxQueuedBytes: 8 << 20, pauseReadingBytes: 1 << 16, maxCallsAtOnce: 16, maxClients: 8 };
    const { host, socket } = await served(new FakeHost(), limits);
    host.answer = () => ["x".repeat(50_000)];
    const client = connect(socket.path);
    onTestFinished(() => void client.destroy());
    client.on("error", () => client.destroy());
    client.pause();
    const line = `${JSON.stringify({ id: 1, call: "job.list", input: { pad: "y".repeat(2_000) } })}\n`;
    let accepted = 0;
    for (; accepted < 5_000 && client.writableLength < 1 << 20; accepted++) {
      client.write(line);
      if (accepted % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(client.writableLength).toBeGreaterThanOrEqual(1 << 20);
    expect(host.calls.length).toBeLessThan(1_000);
    expect(socket.clientCount).toBe(1);
  });

  it("an answer that is too long for a line is an error", async () => {
    const { host, socket } = await served();
    host.answer = () => "x".repeat(maxLineBytes);
    const client = new Raw(socket.path).say({ id: 1, call: "job.list", input: {} });
    expect(await client.hears(1)).toMatchObject([{ id: 1, error: { code: "internal" } }]);
  });
});

describe("a stream through the host service's socket", () => {
  const request = { stream: "serial", id: someMachine };

  it("is answered once and then carries raw bytes both ways, also those sent with the request", async () => {
    const { socket } = await served();
    const client = new Raw(socket.path).say(`${JSON.stringify(request)}\nhello\n\u0000`);
    client.say(Buffer.from([255, 10, 13]));
    await until(() => client.heard.length >= '{"ok":true}\n'.length + 10);
    expect(client.heard).toEqual(Buffer.concat([Buffer.from('{"ok":true}\nhello\n\u0000'), Buffer.from([255, 10, 13])]));
  });

  it("that cannot be opened is answered with the reason", async () => {
    const { host, socket } = await served();
    host.stream = () => {
      throw new TerrariumError("illegal-state", "The machine is off.");
    };
    const client = new Raw(socket.path).say(request);
    await client.ends();
    expect(client.messages).toEqual([{ error: { code: "illegal-state", message: "The machine is off." } }]);
  });

  it("may be closed in one direction while the other goes on", async () => {
    const { host, socket } = await served();
    const machine = twoWay();
    host.stream = () => machine.outside;
    const client = new Raw(socket.path).say(request, "typed");
    client.socket.end();
    await until(() => machine.typed.readableEnded || machine.typed.readableLength > 0);
    machine.said.write("answer");
    await until(() => client.heard.includes("answer"));
    machine.said.end("!");
    await client.ends();
    expect(client.heard.toString()).toBe('{"ok":true}\nanswer!');
  });

  it("ends for the client when the machine's side breaks, and for the machine when the client does", async () => {
    const { host, socket } = await served();
    const first = new Raw(socket.path).say(request);
    await first.hears(1);
    host.streams[0]!.destroy(new Error("gone"));
    await first.ends();
    const second = new Raw(socket.path).say(request);
    await second.hears(1);
    second.socket.destroy();
    await until(() => host.streams[1]!.destroyed);
  });

  it("holds the machine back when the client does not read", async () => {
    const { host, socket } = await served();
    let produced = 0;
    host.stream = () =>
      new Duplex({
        read() {
          produced += 1 << 16;
          this.push(Buffer.alloc(1 << 16));
        },
        write: (_chunk, _encoding, done) => done(),
      });
    const client = connect(socket.path);
    onTestFinished(() => void client.destroy());
    client.write(`${JSON.stringify(request)}\n`);
    client.pause();
    let before = -1;
    for (let still = 0; still < 20; ) {
      await new Promise((resolve) => setImmediate(resolve));
      still = produced === before ? still + 1 : 0;
      before = produced;
    }
    expect(produced).toBeGreaterThan(0);
    expect(produced).toBeLessThan(2 << 20);
  });
});

function twoWay(): { outside: Duplex; typed: PassThrough; said: PassThrough } {
  const typed = new PassThrough();
  const said = new PassThrough();
  return { outside: Duplex.from({ readable: said, writable: typed }), typed, said };
}
