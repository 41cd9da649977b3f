import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLog } from "../../core/base/log";
import { Display } from "../../core/emulator/framebuffer";
import type { InputSink } from "../../core/emulator/inputSink";
import { createRfbServer, type RfbServer } from "../../core/emulator/rfb";
import { RfbClient } from "../support/rfbClient";

const run = promisify(execFile);

let directory: string;
let socketPath: string;
let display: Display;
let server: RfbServer;
let log: string[];
let scancodes: number[];
const releases: (() => void | Promise<unknown>)[] = [];

const input: InputSink = {
  scancodes: (bytes) => scancodes.push(...bytes),
  pointer: () => undefined,
  relative: () => undefined,
  buttons: () => undefined,
  wheel: () => undefined,
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "rfb-"));
  socketPath = join(directory, "display.sock");
  display = new Display();
  log = [];
  scancodes = [];
  server = createRfbServer({ display, name: "picture", input, log: createLog((line) => log.push(line)) });
  await server.listen(socketPath);
});

afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
  server.dispose();
  display.dispose();
  await rm(directory, { recursive: true });
});

/** A picture of moving squares of plain colours, which survive a JPEG; `step` says where they are. */
function draw(step: number): void {
  const { width, height, words } = display.frame;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const square = Math.floor((x + step * 8) / 40) * 7 + Math.floor((y + step * 4) / 40) * 13;
      words[y * width + x] = (0xff000000 | ((square * 29) & 0xff) | (((square * 53) & 0xff) << 8) | (((square * 97) & 0xff) << 16)) >>> 0;
    }
  }
  display.apply({ type: "screen-update", rectangles: Uint16Array.of(0, 0, width, height) });
}

async function attach(): Promise<RfbClient> {
  const socket = connect(socketPath);
  releases.push(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  const client = new RfbClient(socket);
  await client.handshake();
  client.setEncodings(16, -308, -239, -258);
  return client;
}

/** Viewers of the old kind connect to a TCP port: this one leads to the display's socket. */
async function bridge(): Promise<{ port: number; sent: () => number }> {
  const sockets = new Set<Socket>();
  let sent = 0;
  const bridgeServer = createServer((viewer) => {
    const upstream = connect(socketPath);
    for (const [from, to] of [[viewer, upstream], [upstream, viewer]] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
    upstream.on("data", (bytes: Buffer) => {
      sent += bytes.length;
    });
  });
  bridgeServer.listen(0, "127.0.0.1");
  await once(bridgeServer, "listening");
  releases.push(() => {
    for (const socket of sockets) socket.destroy();
    bridgeServer.close();
  });
  return { port: (bridgeServer.address() as AddressInfo).port, sent: () => sent };
}

async function until(what: string, condition: () => boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Red, green and blue of each pixel. */
function parsePpm(file: Buffer): { width: number; height: number; pixels: Buffer } {
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(file.toString("latin1", 0, 100));
  if (!header) throw new Error("no PPM");
  return { width: Number(header[1]), height: Number(header[2]), pixels: file.subarray(header[0].length) };
}

describe("vncsnapshot", () => {
  it.each([["raw"], ["zlib"], ["hextile"]])("takes the picture that is on the screen (encodings %s)", async (encodings) => {
    let step = 0;
    draw(step);
    // The picture moves before and while the viewer comes; the last one stays.
    const timer = setInterval(() => step < 10 && draw(++step), 5);
    releases.push(() => clearInterval(timer));
    await until("the picture has moved", () => step === 10);
    const { port, sent } = await bridge();
    const file = join(directory, "picture.jpg");
    await run("vncsnapshot", ["-quality", "100", "-encodings", encodings, `127.0.0.1:${port - 5900}`, file]);
    // Hextile is not spoken here, and raw always is.
    if (encodings === "zlib") expect(sent()).toBeLessThan(400_000);
    else expect(sent()).toBeGreaterThan(display.pixels.length);
    const { stdout } = await run("djpeg", ["-ppm", file], { encoding: "buffer", maxBuffer: 1 << 24 });
    const { width, height, pixels } = parsePpm(stdout);
    expect([width, height]).toEqual([display.width, display.height]);
    const { words } = display.frame;
    let worst = 0;
    // A JPEG stores colour in blocks of 16 pixels, so the edges of the squares run into each other: look inside them.
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [left, top] = [(x + 80) % 40, (y + 40) % 40];
        if (left < 17 || left > 22 || top < 17 || top > 22) continue;
        const word = words[y * width + x] ?? 0;
        for (let channel = 0; channel < 3; channel++) {
          worst = Math.max(worst, Math.abs((pixels[(y * width + x) * 3 + channel] ?? 0) - ((word >>> (8 * channel)) & 0xff)));
        }
      }
    }
    expect(worst).toBeLessThanOrEqual(8);
  });
});

describe("gvncviewer", () => {
  it("stays and takes one update after another", async () => {
    draw(0);
    const { port, sent } = await bridge();
    const viewer = spawn("gvncviewer", [`127.0.0.1:${port - 5900}`], { stdio: "ignore", env: { ...process.env, GDK_BACKEND: "x11" } });
    releases.push(async () => {
      viewer.kill("SIGKILL");
      if (viewer.exitCode === null && viewer.signalCode === null) await once(viewer, "exit");
    });
    await until("the first picture has gone out", () => sent() > 1000);
    for (let step = 1; step <= 5; step++) {
      const before = sent();
      draw(step);
      await until(`picture ${step} has gone out`, () => sent() > before + 200);
    }
    expect(server.clientCount).toBe(1);
    expect(log.filter((line) => line.includes("warn"))).toEqual([]);
  });
});

describe("several viewers", () => {
  it("of a still screen get 0 bytes in 5 seconds", async () => {
    draw(0);
    const clients = await Promise.all([attach(), attach(), attach()]);
    for (const client of clients) {
      client.request(false);
      await client.update();
      client.request();
    }
    const before = clients.map((client) => client.bytesRead);
    // The length of the window is what is measured here.
    await new Promise((resolve) => setTimeout(resolve, 5000));
    expect(clients.map((client) => client.bytesRead)).toEqual(before);
    // And the requests are still open: a change is answered.
    const updates = clients.map((client) => client.update());
    draw(1);
    await Promise.all(updates);
  });

  it("come and go while the picture moves, and each has all of it", async () => {
    let step = 0;
    const timer = setInterval(() => draw(++step), 10);
    releases.push(() => clearInterval(timer));
    for (let round = 0; round < 4; round++) {
      const clients = await Promise.all([attach(), attach(), attach()]);
      await until("three viewers are there", () => server.clientCount === 3);
      await Promise.all(
        clients.map(async (client, index) => {
          client.request(false);
          for (let i = 0; i < 3 + index; i++) {
            await client.update();
            client.request();
          }
          // One of them leaves in the middle of an update.
          client.stream.destroy();
        }),
      );
      await until("all viewers are gone", () => server.clientCount === 0);
    }
    clearInterval(timer);
    const last = await attach();
    last.request(false);
    await last.update();
    const { words } = display.frame;
    const differs = last.picture.findIndex((pixel, i) => {
      const word = words[i] ?? 0;
      return pixel !== (((word & 0xff) << 16) | (word & 0xff00) | ((word >>> 16) & 0xff));
    });
    expect(differs).toBe(-1);
    expect(log.filter((line) => line.includes("warn"))).toEqual([]);
  });

  it("are not slowed by one that does not read", async () => {
    const stuck = await attach();
    stuck.setEncodings(0);
    stuck.request(false);
    stuck.stream.pause();
    const quick = await attach();
    quick.request(false);
    await quick.update();
    const memory = process.memoryUsage().rss;
    for (let step = 0; step < 100; step++) {
      stuck.request(false);
      quick.request();
      const update = quick.update();
      draw(step);
      await update;
    }
    expect(quick.updates).toBeGreaterThanOrEqual(100);
    // A hundred pictures that nobody reads would take 110 MB.
    expect(process.memoryUsage().rss - memory).toBeLessThan(60 << 20);
    stuck.stream.destroy();
    await until("it is gone", () => server.clientCount === 1);
  });

  it("that send nonsense are sent away with the reason in the log, and nobody else is", async () => {
    const good = await attach();
    const bad = await attach();
    bad.stream.write(Uint8Array.of(200));
    await until("it is gone", () => server.clientCount === 1);
    expect(log.some((line) => line.includes("viewer 2: closed: message type 200, which does not exist"))).toBe(true);
    good.request(false);
    await good.update();
    good.key(0x61, true);
    good.stream.destroy();
    await until("its key is released", () => scancodes.includes(0x9e));
    expect(scancodes).toEqual([0x1e, 0x9e]);
  });

  it("are turned away beyond 32", async () => {
    await Promise.all(Array.from({ length: 32 }, attach));
    const socket = connect(socketPath);
    await once(socket, "close");
    expect(server.clientCount).toBe(32);
    expect(log.some((line) => line.includes("turned away"))).toBe(true);
  });
});

describe("the display's socket", () => {
  it("is for its owner only", async () => {
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
  });

  it("replaces one that a killed process left behind", async () => {
    const stale = join(directory, "stale.sock");
    const listener = spawn(process.execPath, ["-e", `require("node:net").createServer().listen(${JSON.stringify(stale)}, () => process.stdout.write("ready"))`], { stdio: ["ignore", "pipe", "inherit"] });
    await once(listener.stdout, "data");
    listener.kill("SIGKILL");
    await once(listener, "exit");
    const heir = createRfbServer({ display, name: "heir", input, log: createLog(() => undefined) });
    await heir.listen(stale);
    const socket = connect(stale);
    const client = new RfbClient(socket);
    await client.handshake();
    expect(client.name).toBe("heir");
    socket.destroy();
    heir.dispose();
  });

  it("does not take the place of a file", async () => {
    const path = join(directory, "file");
    await writeFile(path, "precious");
    const other = createRfbServer({ display, name: "other", input, log: createLog(() => undefined) });
    await expect(other.listen(path)).rejects.toThrow();
    expect((await stat(path)).size).toBe(8);
    other.dispose();
  });
});
