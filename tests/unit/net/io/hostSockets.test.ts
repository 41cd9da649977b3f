import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { TerrariumError } from "../../../../core/contract/errors";
import type { HostTcp, HostUdpHandler } from "../../../../core/net/nat/hostSockets";
import { parseIpv4 } from "../../../../core/net/wire/addresses";
import { after, Listening, loopback, loops, opened, until, writeAll } from "./loops";

/** A server of the runtime's as the peer; it accepts half-open connections. */
async function serving(onSocket: (socket: Socket) => void): Promise<{ server: Server; port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => socket.destroy());
    onSocket(socket);
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", 4096, resolve));
  return { server, port: (server.address() as AddressInfo).port, sockets };
}

function client(port: number): Socket {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  after(() => socket.destroy());
  return socket;
}

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe.each(loops)("host sockets over the %s loop", (_name, open) => {
  const connecting = (port: number, listening = new Listening(), address = loopback): { listening: Listening; tcp: HostTcp; sockets: ReturnType<typeof opened>["sockets"] } => {
    const { sockets } = opened(open);
    const tcp = sockets.connectTcp(address, port, listening);
    listening.socket = tcp;
    return { listening, tcp, sockets };
  };

  it("carry ten million bytes each way at once, unharmed, and both ends of the stream", async () => {
    const there = randomBytes(10_000_000);
    const back = randomBytes(10_000_000);
    const arrived: Buffer[] = [];
    let ended = false;
    const { port } = await serving((socket) => {
      socket.on("data", (chunk) => arrived.push(chunk)).on("end", () => (ended = true));
      socket.end(back);
    });
    const { listening, tcp } = connecting(port);
    tcp.setReading(true);
    writeAll(listening, there);
    await until(() => listening.ended && ended);
    expect(listening.heard[0]).toBe("connected");
    expect(sha(Buffer.concat(arrived))).toBe(sha(there));
    expect(sha(listening.bytes)).toBe(sha(back));
    expect(listening.heard.filter((word) => word !== "connected" && word !== "writable")).toEqual([]);
  });

  it("go on one way when the other way has ended", async () => {
    const { port } = await serving((socket) => {
      let heard = "";
      socket.on("data", (chunk: Buffer) => (heard += chunk.toString())).on("end", () => socket.end(`heard ${heard}`));
    });
    const { listening, tcp } = connecting(port);
    tcp.setReading(true);
    writeAll(listening, Buffer.from("good day"));
    await until(() => listening.ended);
    expect(listening.bytes.toString()).toBe("heard good day");
  });

  it("tell of what was left unread again in the next turn, and of nothing while reading is off", async () => {
    const { port, sockets } = await serving((socket) => socket.write("0123456789"));
    const listening = new Listening(3);
    const { tcp } = connecting(port, listening);
    await until(() => sockets.length === 1 && sockets[0]?.writableLength === 0 && listening.heard.length > 0);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(listening.received).toBe(0);
    tcp.setReading(true);
    await until(() => listening.received === 10);
    expect(listening.chunks.filter((chunk) => chunk.length > 0).map(String)).toEqual(["012", "345", "678", "9"]);
  });

  it("name a connection that nobody takes refused", async () => {
    const { server, port } = await serving(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    const { listening } = connecting(port);
    await until(() => listening.heard.length > 0);
    expect(listening.heard).toEqual(["refused"]);
  });

  it("answer for port 0 and for addresses that no connection goes to", async () => {
    const zero = connecting(0).listening;
    const broadcast = connecting(9, new Listening(), 0xffff_ffff).listening;
    await until(() => zero.heard.length > 0 && broadcast.heard.length > 0);
    expect(zero.heard).toEqual(["refused"]);
    expect(["unreachable-network", "prohibited"]).toContain(broadcast.heard[0]);
  });

  it("tell of a reset by the peer once, and send one", async () => {
    let code: string | undefined;
    const { port, sockets } = await serving((socket) => socket.on("error", (failure: NodeJS.ErrnoException) => (code = failure.code)).resume());
    const { listening, tcp } = connecting(port);
    tcp.setReading(true);
    await until(() => sockets.length === 1 && listening.heard.includes("connected"));
    sockets[0]?.resetAndDestroy();
    await until(() => listening.heard.includes("reset"));
    expect(listening.heard).toEqual(["connected", "reset"]);

    const other = connecting(port);
    await until(() => other.listening.heard.includes("connected") && sockets.length === 2);
    other.tcp.reset();
    await until(() => code !== undefined);
    expect(code).toBe("ECONNRESET");
    expect(other.listening.heard).toEqual(["connected"]);
  });

  it("still send what was taken when they are closed, even with something unread", async () => {
    const arrived: Buffer[] = [];
    let ended = false;
    const { port, sockets } = await serving((socket) => {
      socket.write("never read");
      socket.on("data", (chunk) => arrived.push(chunk)).on("end", () => {
        ended = true;
        socket.end();
      });
      socket.pause();
    });
    const { listening, tcp } = connecting(port);
    await until(() => listening.heard.includes("connected") && sockets.length === 1);
    const bytes = randomBytes(3_000_000);
    let taken = 0;
    for (let count = -1; count !== 0; taken += count) count = tcp.write(bytes, taken, bytes.length);
    tcp.close();
    sockets[0]?.resume();
    await until(() => ended);
    expect(sha(Buffer.concat(arrived))).toBe(sha(bytes.subarray(0, taken)));
    expect(taken).toBeGreaterThan(0);
  });

  it("take a bounded amount from a writer whose peer does not read, and tell of room again", async () => {
    const { port, sockets } = await serving((socket) => socket.pause());
    const { listening, tcp } = connecting(port);
    await until(() => listening.heard.includes("connected") && sockets.length === 1);
    const block = new Uint8Array(1_000_000);
    let taken = 0;
    for (let turn = 0; turn < 200; turn++) {
      taken += tcp.write(block, 0, block.length);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // The kernel's own buffers, of both ends, are some megabytes.
    expect(taken).toBeLessThan(30_000_000);
    const full = listening.heard.length;
    let arrived = 0;
    sockets[0]?.on("data", (chunk) => (arrived += chunk.length)).resume();
    await until(() => arrived === taken && listening.heard.length > full);
    expect(listening.heard.at(-1)).toBe("writable");
  });

  it("hold a peer back that sends to a reader who does not read", async () => {
    const { port, sockets } = await serving(() => undefined);
    const { listening, tcp } = connecting(port);
    await until(() => listening.heard.includes("connected") && sockets.length === 1);
    const peer = sockets[0] as Socket;
    const block = Buffer.alloc(1_000_000, 5);
    let left = 40;
    let written = 0;
    const pump = (): void => {
      if (left-- > 0) peer.write(block, () => (written++, pump()));
    };
    pump();
    for (let stood = 0, before = 0; stood < 200; before = written) {
      await new Promise((resolve) => setImmediate(resolve));
      stood = written === before ? stood + 1 : 0;
    }
    expect(written).toBeLessThan(30);
    tcp.setReading(true);
    await until(() => listening.received === 40_000_000);
  });

  it("listen, and serve those that come or refuse them with a reset", async () => {
    const { sockets } = opened(open);
    const served: Listening[] = [];
    const peers: { address: number; port: number }[] = [];
    const listener = await sockets.listenTcp(loopback, 0, (socket, peer) => {
      peers.push(peer);
      if (peers.length > 1) return undefined;
      const listening = new Listening();
      listening.socket = socket;
      served.push(listening);
      socket.setReading(true);
      return listening;
    });
    expect(listener.address).toBe(loopback);
    const first = client(listener.port);
    let answer = "";
    first.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    first.end("hello");
    await until(() => served[0]?.ended === true);
    expect(served[0]?.bytes.toString()).toBe("hello");
    expect(peers[0]).toEqual({ address: loopback, port: first.localPort });
    writeAll(served[0] as Listening, Buffer.from("welcome"));
    await until(() => answer === "welcome");

    const second = client(listener.port);
    let code: string | undefined;
    second.on("error", (failure: NodeJS.ErrnoException) => (code = failure.code));
    await until(() => code !== undefined);
    expect(code).toBe("ECONNRESET");

    listener.dispose();
    const third = client(listener.port);
    code = undefined;
    third.on("error", (failure: NodeJS.ErrnoException) => (code = failure.code));
    await until(() => code !== undefined);
    expect(code).toBe("ECONNREFUSED");
  });

  it("name the process that holds a port, and say what is wrong with an address", async () => {
    const { port } = await serving(() => undefined);
    const { sockets } = opened(open);
    const accept = (): undefined => undefined;
    await expect(sockets.listenTcp(loopback, port, accept)).rejects.toMatchObject({ code: "locked", message: expect.stringContaining(`(process ${process.pid})`) });
    await expect(sockets.listenTcp(0, port, accept)).rejects.toMatchObject({ code: "locked", message: expect.stringContaining(`process ${process.pid}`) });
    const foreign = parseIpv4("192.0.2.7") as number;
    await expect(sockets.listenTcp(foreign, 0, accept)).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("192.0.2.7 is no address of this computer") });
    const udp = createSocket("udp4");
    after(() => udp.close());
    await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve));
    const refused = await sockets.bindUdp({ address: loopback, port: udp.address().port }, { datagram: () => undefined, failed: () => undefined }).catch((failure: unknown) => failure as TerrariumError);
    expect(refused).toMatchObject({ code: "locked", message: expect.stringContaining(`UDP port ${udp.address().port} of 127.0.0.1 is in use by`) });
    expect(refused).toMatchObject({ message: expect.stringContaining(`(process ${process.pid})`) });
  });

  it("carry datagrams both ways, the empty and the longest among them", async () => {
    const { sockets } = opened(open);
    const peer = createSocket("udp4", (bytes, from) => peer.send(bytes, from.port, from.address));
    after(() => peer.close());
    await new Promise<void>((resolve) => peer.bind(0, "127.0.0.1", resolve));
    const got: { bytes: Buffer; address: number; port: number }[] = [];
    const handler: HostUdpHandler = {
      datagram: (bytes, at, end, address, port) => got.push({ bytes: Buffer.from(bytes.slice(at, end)), address, port }),
      failed: (failure) => expect.unreachable(failure),
    };
    const udp = await sockets.bindUdp(undefined, handler);
    const datagrams = [randomBytes(5), Buffer.alloc(0), randomBytes(65_507), randomBytes(1400)];
    for (const [index, datagram] of datagrams.entries()) {
      const padded = Buffer.concat([Buffer.from("xxx"), datagram, Buffer.from("yy")]);
      expect(udp.send(padded, 3, 3 + datagram.length, loopback, peer.address().port)).toBe(true);
      padded.fill(0);
      await until(() => got.length === index + 1);
    }
    expect(got.map((one) => sha(one.bytes))).toEqual(datagrams.map(sha));
    expect(got[0]).toMatchObject({ address: loopback, port: peer.address().port });
    expect(udp.send(datagrams[0] as Buffer, 0, 5, loopback, 0)).toBe(false);
    udp.dispose();
    expect(udp.send(datagrams[0] as Buffer, 0, 5, loopback, peer.address().port)).toBe(false);
  });

  it("carry a thousand connections at a time", async () => {
    const { port } = await serving((socket) => socket.pipe(socket));
    const { sockets } = opened(open);
    const all = Array.from({ length: 1000 }, (_, index) => {
      const listening = new Listening();
      listening.socket = sockets.connectTcp(loopback, port, listening);
      listening.socket.setReading(true);
      writeAll(listening, Buffer.from(`number ${index}`));
      return listening;
    });
    await until(() => all.every((listening) => listening.ended));
    expect(all.map((listening) => listening.bytes.toString())).toEqual(all.map((_, index) => `number ${index}`));
    for (const listening of all) listening.socket?.close();
  });

  it("call nobody any more who has let go", async () => {
    const { port, sockets } = await serving((socket) => socket.write("something"));
    const { listening, tcp } = connecting(port);
    tcp.setReading(true);
    tcp.close();
    const other = connecting(port);
    await until(() => other.listening.heard.includes("connected") && sockets.length >= 1);
    other.tcp.close();
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(listening.heard).toEqual([]);
    expect(other.listening.heard).toEqual(["connected"]);
    expect(listening.received + other.listening.received).toBe(0);
  });
});
