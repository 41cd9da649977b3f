import type { Duplex } from "node:stream";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { Display } from "../../../core/emulator/framebuffer";
import { Keyboard } from "../../../core/emulator/keyboard";
import type { InputSink } from "../../../core/emulator/inputSink";
import { RfbSession } from "../../../core/emulator/rfbSession";
import { RfbClient } from "../../support/rfbClient";
import { duplexPair } from "../../support/duplexPair";

interface Connection {
  client: RfbClient;
  session: RfbSession;
  /** The server's end. */
  stream: Duplex;
  /** Resolves with the reason when the session has ended. */
  ended: Promise<string | undefined>;
}

class Machine {
  readonly display = new Display();
  readonly input: unknown[][] = [];
  relative = false;
  readonly sink: InputSink = {
    scancodes: (bytes) => this.input.push(["scancodes", ...bytes]),
    pointer: (...position) => this.input.push(["pointer", ...position]),
    relative: (dx, dy) => this.input.push(["relative", dx, dy]),
    buttons: (...buttons) => this.input.push(["buttons", ...buttons]),
    wheel: (delta) => this.input.push(["wheel", delta]),
    wantsRelative: () => this.relative,
  };
  private readonly keyboard = new Keyboard((bytes) => this.sink.scancodes(bytes));

  connect(): Connection {
    const [server, stream] = duplexPair();
    const client = new RfbClient(stream);
    let end: (reason: string | undefined) => void;
    const ended = new Promise<string | undefined>((resolve) => {
      end = resolve;
    });
    const session = new RfbSession({
      stream: server,
      display: this.display,
      name: "m",
      input: this.sink,
      keyboard: this.keyboard,
      onDidEnd: (reason) => end(reason),
    });
    open.push(session);
    return { client, session, stream: server, ended };
  }

  resize(width: number, height: number, colour = 0): void {
    const pixels = new SharedArrayBuffer(width * height * 4);
    new Uint32Array(pixels).fill(colour);
    this.display.apply({ type: "screen-size", width, height, pixels, text: false });
  }

  draw(x: number, y: number, width: number, height: number, colour: number): void {
    const { frame } = this.display;
    for (let row = y; row < y + height; row++) frame.words.fill(colour, row * frame.width + x, row * frame.width + x + width);
    this.display.apply({ type: "screen-update", rectangles: Uint16Array.of(x, y, width, height) });
  }
}

const open: RfbSession[] = [];
afterEach(() => {
  for (const session of open.splice(0)) session.dispose();
});

/** Lets everything that is under way in memory come to an end, the thread pool's work included. */
async function settled(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits until the server has taken in all that was sent to it so far, by an answer that comes after it. */
async function synchronize(client: RfbClient): Promise<void> {
  client.request(false, 0, 0, 1, 1);
  await client.update();
}

describe("the handshake", () => {
  for (const version of ["RFB 003.003\n", "RFB 003.007\n", "RFB 003.008\n"]) {
    it(`works with a client of ${version.trim()}`, async () => {
      const machine = new Machine();
      const { client } = machine.connect();
      await client.handshake(version);
      expect([client.width, client.height, client.name]).toEqual([720, 400, "m"]);
      client.request(false);
      await client.update();
      expect(client.updates).toBe(1);
    });
  }

  it("refuses a client that wants a security type that was not offered, and says so", async () => {
    const { client, ended } = new Machine().connect();
    client.stream.write(Buffer.from("RFB 003.008\n"));
    client.stream.write(Uint8Array.of(2));
    expect(await ended).toBe("security type 2 was not offered");
  });

  it("refuses what is no RFB client", async () => {
    const { client, ended } = new Machine().connect();
    client.stream.write(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    expect(await ended).toBe("no RFB version");
  });
});

describe("updates", () => {
  it("answer the first request with the whole screen and the next ones only when something changes", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    client.setEncodings(16);
    machine.draw(10, 10, 30, 20, 0x0000ff);
    client.request(false);
    await client.update();
    expect(client.picture[10 * 720 + 10]).toBe(0xff0000);
    const before = client.bytesRead;
    client.request();
    const next = client.update();
    machine.draw(700, 390, 20, 10, 0x00ff00);
    await next;
    expect(client.picture[399 * 720 + 719]).toBe(0x00ff00);
    expect(client.bytesRead - before).toBeLessThan(100);
    expect(client.encodings).toEqual(new Map([[16, client.encodings.get(16)]]));
  });

  it("use the first encoding of the client's list that the server has", async () => {
    for (const [list, expected] of [[[7, 6, 16, 0], 6], [[5, 16, 6], 16], [[5, 7], 0], [[0, 16], 0]] as const) {
      const { client } = new Machine().connect();
      await client.handshake();
      client.setEncodings(...list);
      client.request(false);
      await client.update();
      expect([...client.encodings.keys()]).toEqual([expected]);
    }
  });

  it("keep what lies outside the requested area for a later request", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    client.request(false);
    await client.update();
    machine.draw(0, 0, 720, 400, 0xffffff);
    client.request(true, 100, 100, 10, 10);
    await client.update();
    expect(client.picture[100 * 720 + 100]).toBe(0xffffff);
    expect(client.picture[0]).toBe(0);
    client.request();
    await client.update();
    expect(client.picture.every((pixel) => pixel === 0xffffff)).toBe(true);
  });

  it("are one at a time for a client that does not read, and carry the newest picture when it does", async () => {
    const machine = new Machine();
    const { client, session } = machine.connect();
    await client.handshake();
    client.request(false);
    client.stream.pause();
    await settled(() => session.waitingBytes > 0);
    const stuck = session.waitingBytes;
    for (let i = 0; i < 50; i++) {
      machine.draw(0, 0, 720, 400, i);
      client.request(false);
    }
    machine.draw(0, 0, 720, 400, 0x123456);
    await new Promise((resolve) => setImmediate(resolve));
    expect(session.waitingBytes).toBe(stuck);
    // One band of pixels with its head.
    expect(stuck).toBeLessThanOrEqual(128 * 1024 * 4 + 4096);
    client.stream.resume();
    await client.update();
    await client.update();
    expect(client.picture.every((pixel) => pixel === 0x563412)).toBe(true);
  });

  it("reach a quick client while another one is stuck", async () => {
    const machine = new Machine();
    const stuck = machine.connect();
    await stuck.client.handshake();
    stuck.client.request(false);
    stuck.client.stream.pause();
    const quick = machine.connect();
    await quick.client.handshake();
    quick.client.setEncodings(16);
    quick.client.request(false);
    await quick.client.update();
    for (let i = 1; i <= 20; i++) {
      quick.client.request();
      const update = quick.client.update();
      machine.draw(i, i, 5, 5, i);
      await update;
      expect(quick.client.picture[i * 720 + i]).toBe(i << 16);
    }
  });

  it("always end with the guest's picture, whatever is drawn and asked for in between", async () => {
    const step = fc.record({
      x: fc.nat({ max: 79 }),
      y: fc.nat({ max: 49 }),
      width: fc.integer({ min: 1, max: 80 }),
      height: fc.integer({ min: 1, max: 50 }),
      colour: fc.nat({ max: 0xffffff }),
      request: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), fc.constantFrom(0, 6, 16), async (steps, how) => {
        const machine = new Machine();
        machine.resize(80, 50);
        const { client, session } = machine.connect();
        await client.handshake();
        client.setEncodings(how);
        for (const { x, y, width, height, colour, request } of steps) {
          machine.draw(x, y, Math.min(width, 80 - x), Math.min(height, 50 - y), colour);
          client.request();
          await client.update();
          if (request) await synchronize(client);
        }
        client.request(false);
        await client.update();
        const words = machine.display.frame.words;
        client.picture.forEach((pixel, i) => {
          const word = words[i] ?? 0;
          if (pixel !== (((word & 0xff) << 16) | (word & 0xff00) | ((word >>> 16) & 0xff))) throw new Error(`pixel ${i} differs`);
        });
        session.dispose();
      }),
      { numRuns: 25 },
    );
  });

  it("give a client without true colours indices and the colours they mean", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    const received: Buffer[] = [];
    client.stream.on("data", (bytes: Buffer) => received.push(bytes));
    const message = Buffer.alloc(20);
    message.set([8, 8, 0, 0], 4);
    client.stream.write(message);
    machine.draw(0, 0, 1, 1, 0xffffff);
    client.request(false, 0, 0, 1, 1);
    await settled(() => Buffer.concat(received).length >= 6 + 256 * 6 + 4 + 12 + 1);
    const bytes = Buffer.concat(received);
    expect([...bytes.subarray(0, 6)]).toEqual([1, 0, 0, 0, 1, 0]);
    expect(bytes.length).toBe(6 + 256 * 6 + 4 + 12 + 1);
    expect(bytes.at(-1)).toBe(255);
  });
});

describe("a change of size", () => {
  it("is told to a client that understands it, followed by the new picture", async () => {
    for (const number of [-223, -308]) {
      const machine = new Machine();
      const { client } = machine.connect();
      await client.handshake();
      client.setEncodings(16, number);
      client.request(false);
      await client.update();
      client.request();
      const update = client.update();
      machine.resize(1024, 768, 0x00ff00);
      // The first update of a client with -308 may be the announcement that was still due.
      await update;
      while (client.width !== 1024) {
        client.request();
        await client.update();
      }
      client.request();
      await client.update();
      expect([client.width, client.height]).toEqual([1024, 768]);
      expect(client.picture.every((pixel) => pixel === 0x00ff00)).toBe(true);
    }
  });

  it("keeps the size of a client that does not, cut off or with black around", async () => {
    const machine = new Machine();
    machine.resize(100, 100, 0xff);
    const { client } = machine.connect();
    await client.handshake();
    machine.resize(50, 200, 0xff00);
    client.request(false);
    await client.update();
    expect([client.width, client.height]).toEqual([100, 100]);
    expect(client.picture[99 * 100 + 49]).toBe(0xff00);
    expect(client.picture[50]).toBe(0);
  });

  it("is refused when a client asks for it", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    client.setEncodings(16, -308);
    client.request(false);
    await client.update();
    expect(client.statuses).toEqual([{ x: 0, y: 0, width: 720, height: 400 }]);
    const message = Buffer.alloc(8 + 16);
    message.set([251, 0, 4, 0, 3, 0, 1]);
    client.stream.write(message);
    client.request();
    await client.update();
    expect(client.statuses[1]).toEqual({ x: 1, y: 1, width: 720, height: 400 });
  });
});

describe("the pointer of a viewer", () => {
  it("is an arrow until the guest draws its own", async () => {
    const machine = new Machine();
    machine.resize(64, 64);
    const { client } = machine.connect();
    await client.handshake();
    client.setEncodings(16, -239);
    client.request(false);
    await client.update();
    expect(client.cursor?.width).toBeGreaterThan(0);
    client.request();
    const update = client.update();
    machine.display.setGuestPointer(true);
    await update;
    expect(client.cursor).toEqual({ width: 0, height: 0 });
  });

  it("reaches the guest with its buttons and each step of the wheel", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    client.pointer(10, 20, 0);
    client.pointer(10, 20, 1);
    client.pointer(11, 20, 5);
    client.pointer(11, 20, 8);
    client.pointer(11, 20, 0);
    client.pointer(11, 20, 16);
    client.pointer(60000, 60000, 0);
    await synchronize(client);
    expect(machine.input).toEqual([
      ["pointer", 10, 20, 720, 400],
      ["buttons", true, false, false],
      ["pointer", 11, 20, 720, 400],
      ["buttons", true, false, true],
      ["buttons", false, false, false],
      ["wheel", 1],
      ["wheel", -1],
      ["pointer", 719, 399, 720, 400],
    ]);
  });

  it("is told in distances to a guest that knows no places", async () => {
    const machine = new Machine();
    machine.relative = true;
    const { client } = machine.connect();
    await client.handshake();
    client.pointer(10, 20, 0);
    client.pointer(15, 18, 0);
    await synchronize(client);
    expect(machine.input.at(-1)).toEqual(["relative", 5, -2]);
  });
});

describe("keys", () => {
  it("arrive as scancodes, and are released when the viewer goes away", async () => {
    const machine = new Machine();
    const { client, ended } = machine.connect();
    await client.handshake();
    client.key(0x61, true);
    client.key(0xffe3, true);
    client.pointer(0, 0, 2);
    await synchronize(client);
    machine.input.length = 0;
    client.stream.destroy();
    expect(await ended).toBeUndefined();
    expect(machine.input).toEqual([
      ["scancodes", 0x9e],
      ["scancodes", 0x9d],
      ["buttons", false, false, false],
    ]);
  });

  it("of a viewer with extended key events are its scancodes, or the keysym where there is none", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    client.setEncodings(16, -258);
    const send = (down: number, keysym: number, keycode: number): void => {
      const message = Buffer.alloc(12);
      message.set([255, 0, 0, down]);
      message.writeUInt32BE(keysym, 4);
      message.writeUInt32BE(keycode, 8);
      client.stream.write(message);
    };
    // A German keyboard: the key right of T types "z" and is a US keyboard's Y.
    send(1, 0x7a, 0x15);
    send(0, 0x7a, 0x15);
    send(1, 0xffff, 0xd3);
    send(0, 0xffff, 0xd3);
    send(1, 0x62, 0);
    send(0, 0x62, 0);
    await synchronize(client);
    expect(machine.input.flatMap(([, ...bytes]) => bytes)).toEqual([0x15, 0x95, 0xe0, 0x53, 0xe0, 0xd3, 0x30, 0xb0]);
    expect(client.encodings.get(-258)).toBe(1);
  });
});

describe("a hostile client", () => {
  const cases: [string, Buffer, string][] = [
    ["an unknown message", Buffer.from([99]), "message type 99, which does not exist"],
    ["a clipboard text of 4 GB", Buffer.from([6, 0, 0, 0, 255, 255, 255, 255]), "a clipboard text of 4294967295 bytes, more than 1048576"],
    ["a pixel format of 24 bits", Buffer.from([0, 0, 0, 0, 24, ...new Array<number>(15).fill(0)]), "24 bits per pixel"],
  ];
  for (const [name, bytes, reason] of cases) {
    it(`is sent away with the reason for ${name}`, async () => {
      const { client, ended } = new Machine().connect();
      await client.handshake();
      client.stream.write(bytes);
      expect(await ended).toBe(reason);
    });
  }

  it("may list 65,535 encodings and send them byte by byte", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    const list = new Array<number>(0xffff).fill(12345);
    list[0xfffe] = 6;
    client.setEncodings(...list);
    const message = Buffer.alloc(10);
    message[0] = 3;
    message.writeUInt16BE(0xffff, 6);
    message.writeUInt16BE(0xffff, 8);
    for (const byte of message) client.stream.write(Uint8Array.of(byte));
    await client.update();
    expect([...client.encodings.keys()]).toEqual([6]);
  });

  it("may send a clipboard text, of which nothing is kept", async () => {
    const machine = new Machine();
    const { client } = machine.connect();
    await client.handshake();
    client.stream.write(Buffer.from([6, 0, 0, 0, 0, 15, 255, 255]));
    for (let sent = 0; sent < 0xfffff; ) {
      const part = Math.min(50_000, 0xfffff - sent);
      client.stream.write(Buffer.alloc(part, 99));
      sent += part;
    }
    await synchronize(client);
    expect(client.updates).toBe(1);
  });

  it("never makes the server throw, whatever it sends in whatever pieces", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 20 }), async (pieces) => {
        const machine = new Machine();
        machine.resize(16, 16);
        const { client, session, ended } = machine.connect();
        await client.handshake();
        for (const piece of pieces) if (!client.stream.destroyed) client.stream.write(piece);
        client.stream.end();
        await ended;
        session.dispose();
        // The next client finds everything in order.
        const next = machine.connect();
        await next.client.handshake();
        next.client.request(false);
        await next.client.update();
        next.session.dispose();
      }),
      { numRuns: 60 },
    );
  });
});
