import { PassThrough, Duplex } from "node:stream";
import { MessageChannel as NodeMessageChannel, type MessagePort as NodeMessagePort } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { flowWindow, readFlowMessage } from "../../../electron/flow";
import { pagePortFor } from "../../../electron/pagePort";
import { joinPort, type MainPort } from "../../../electron/streams";
import { until } from "../server/fakeHost";

/** Node's port in the manner of Electron's main process: messages come as `{ data }`. */
function asMainPort(port: NodeMessagePort): MainPort {
  return {
    postMessage: (message) => port.postMessage(message),
    on: (event: "message" | "close", listener: ((event: { data: unknown }) => void) & (() => void)) => (event === "message" ? port.on("message", (data: unknown) => listener({ data })) : port.on("close", () => listener())),
    start: () => port.start(),
    close: () => port.close(),
  };
}

/** The whole way: a machine's stream, main's port, the preload script's, the page's. */
function joined(stream: Duplex, farewell?: number): { page: MessagePort; heard: unknown[]; bytes(): number } {
  const { port1, port2 } = new NodeMessageChannel();
  joinPort(asMainPort(port1), stream, farewell);
  const page = pagePortFor(port2 as unknown as MessagePort);
  onTestFinished(() => {
    page.close();
    port1.close();
    port2.close();
    stream.destroy();
  });
  const heard: unknown[] = [];
  return { page, heard, bytes: () => heard.reduce<number>((sum, data) => sum + (data instanceof ArrayBuffer ? data.byteLength : 0), 0) };
}

function listen({ page, heard }: { page: MessagePort; heard: unknown[] }): void {
  page.onmessage = (event: MessageEvent<unknown>) => heard.push(event.data);
}

describe("a stream to a page", () => {
  it("carries bytes both ways unchanged", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 8 }), async (chunks) => {
        const way = joined(new PassThrough());
        listen(way);
        for (const chunk of chunks) way.page.postMessage(chunk.slice().buffer);
        const all = Buffer.concat(chunks);
        await until(() => way.bytes() >= all.length);
        expect(Buffer.concat(way.heard.map((data) => Buffer.from(data as ArrayBuffer)))).toEqual(all);
      }),
      { numRuns: 20 },
    );
  });

  it("tells the page when the machine's side has ended, and why when it broke", async () => {
    const ends = new PassThrough();
    const first = joined(ends);
    listen(first);
    ends.end();
    await until(() => first.heard.length === 1);
    expect(first.heard).toEqual([{ end: true }]);
    const breaks = new PassThrough();
    const second = joined(breaks);
    listen(second);
    breaks.destroy(new Error("cable cut"));
    await until(() => second.heard.length === 1);
    expect(second.heard).toMatchObject([{ end: true, error: { code: "internal" } }]);
  });

  it("lets the machine's side go when the page is done, after what it still said", async () => {
    const written: Buffer[] = [];
    const stream = new Duplex({
      read: () => undefined,
      write(chunk: Buffer, _encoding, done) {
        written.push(chunk);
        setImmediate(done);
      },
    });
    const way = joined(stream);
    listen(way);
    way.page.postMessage(new Uint8Array(200_000).buffer);
    way.page.postMessage({ end: true });
    await until(() => stream.destroyed);
    expect(Buffer.concat(written)).toHaveLength(200_000);
  });

  it("lets the machine's side go although the guest takes nothing any more", async () => {
    const stuck = new Duplex({ read: () => undefined, write: () => undefined, highWaterMark: 1 });
    const way = joined(stuck, 20);
    way.page.postMessage(Uint8Array.of(1, 2, 3).buffer);
    way.page.postMessage({ end: true });
    await until(() => stuck.destroyed);
  });

  it("holds the machine back when nobody acknowledges", async () => {
    let produced = 0;
    const stream = new Duplex({
      read() {
        produced += 1 << 16;
        this.push(Buffer.alloc(1 << 16));
      },
      write: (_chunk, _encoding, done) => done(),
    });
    const { port1, port2 } = new NodeMessageChannel();
    onTestFinished(() => {
      port1.close();
      port2.close();
      stream.destroy();
    });
    joinPort(asMainPort(port1), stream);
    let before = -1;
    for (let still = 0; still < 20; ) {
      await new Promise((resolve) => setImmediate(resolve));
      still = produced === before ? still + 1 : 0;
      before = produced;
    }
    expect(produced).toBeGreaterThanOrEqual(flowWindow);
    expect(produced).toBeLessThan(2 * flowWindow);
    port2.on("message", () => undefined);
    port2.postMessage({ ack: flowWindow });
    await until(() => produced > before);
  });

  it("holds a page back whose bytes the machine does not take", async () => {
    const stream = new Duplex({ read: () => undefined, write: () => undefined });
    const way = joined(stream);
    listen(way);
    for (let i = 0; i < 40; i++) way.page.postMessage(new Uint8Array(1 << 18).buffer);
    await until(() => stream.writableLength > flowWindow / 2);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(stream.writableLength).toBeLessThanOrEqual(flowWindow);
    expect(stream.destroyed).toBe(false);
  });

  it("is cut when a window sends more than it may", async () => {
    const stream = new Duplex({ read: () => undefined, write: () => undefined });
    const { port1, port2 } = new NodeMessageChannel();
    onTestFinished(() => {
      port1.close();
      port2.close();
    });
    joinPort(asMainPort(port1), stream);
    for (let i = 0; i < 3; i++) port2.postMessage(new ArrayBuffer(flowWindow));
    await until(() => stream.destroyed);
  });
});

describe("a message on a stream's port", () => {
  it("is data, an acknowledgement, an end, or nothing", () => {
    expect(readFlowMessage(new ArrayBuffer(2))).toMatchObject({ kind: "data" });
    expect(readFlowMessage({ ack: 5 })).toEqual({ kind: "ack", bytes: 5 });
    expect(readFlowMessage({ end: true })).toEqual({ kind: "end" });
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const message = readFlowMessage(value);
        return message === undefined || ["data", "ack", "end"].includes(message.kind);
      }),
    );
    for (const wrong of [{ ack: 0 }, { ack: -1 }, { ack: 1.5 }, { ack: "1" }, { end: 1 }, null, "x", new Uint8Array(1)]) expect(readFlowMessage(wrong)).toBeUndefined();
  });
});
