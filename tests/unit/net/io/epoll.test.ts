import { createSocket } from "node:dgram";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { silentLog } from "../../../../core/base/log";
import { openEpollIo, openReactor } from "../../../../core/net/io";
import { FileControl, loadLibc, openFilesLimit } from "../../../../core/net/io/libc";
import { LoopMemory } from "../../../../core/net/io/loopMemory";
import type { HostPingHandler, HostUdpHandler } from "../../../../core/net/nat/hostSockets";
import type { Reactor } from "../../../../core/net/reactor";
import { after, complaints, Listening, loopback, loops, opened, until } from "./loops";

const openEpoll = (loops.find(([name]) => name === "epoll") as (typeof loops)[number])[1];

/** Waits until the loop has found the runtime's descriptor, with descriptors of its own, and waits as long as it may. */
async function settled(reactor: Reactor): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await new Promise((resolve) => reactor.schedule(1, () => resolve(undefined)));
}

/** Allows this process no descriptor more than it has, until the returned function is called. */
function noMoreDescriptors(): () => void {
  const libc = loadLibc();
  const memory = new LoopMemory(libc);
  const limit = memory.allocate(16);
  const { view } = memory;
  expect(libc.getLimit(openFilesLimit, memory.addressOf(limit))).toBe(0);
  const before = view.getBigUint64(limit.byteOffset, true);
  // The limit is on numbers: the lowest that is free is the one that may not be given out.
  let lowest = 0;
  while (libc.fileControl(lowest, FileControl.getFlags, 0) >= 0) lowest++;
  const set = (value: bigint): void => {
    view.setBigUint64(limit.byteOffset, value, true);
    expect(libc.setLimit(openFilesLimit, memory.addressOf(limit))).toBe(0);
  };
  set(BigInt(lowest));
  return () => set(before);
}

describe("the epoll loop", () => {
  it("tells of datagrams that nobody took", async () => {
    const { sockets } = opened(openEpoll);
    const vacant = createSocket("udp4");
    await new Promise<void>((resolve) => vacant.bind(0, "127.0.0.1", resolve));
    const { port } = vacant.address();
    await new Promise<void>((resolve) => vacant.close(resolve));
    const failures: unknown[] = [];
    const handler: HostUdpHandler = { datagram: () => expect.unreachable(), failed: (...failure) => failures.push(failure) };
    const udp = await sockets.bindUdp({ address: loopback, port: 0 }, handler);
    expect(udp.address).toBe(loopback);
    expect(udp.send(Buffer.from("hello"), 0, 5, loopback, port)).toBe(true);
    await until(() => failures.length === 1);
    expect(failures).toEqual([["refused", loopback, port, { from: loopback, type: 3, code: 3 }]]);
    // The error of one datagram is not the next one's.
    expect(udp.send(Buffer.from("hello"), 0, 5, loopback, port)).toBe(true);
    expect(udp.send(Buffer.from("hello"), 0, 5, loopback, port)).toBe(true);
    await until(() => failures.length === 3);
  });

  it("tells of datagrams that the host does not send", async () => {
    const { sockets } = opened(openEpoll);
    const failures: unknown[] = [];
    const udp = await sockets.bindUdp(undefined, { datagram: () => undefined, failed: (...failure) => failures.push(failure) });
    // RFC 919: to everybody, which a socket may only when it asked for it.
    expect(udp.send(Buffer.from("hello"), 0, 5, 0x7fff_ffff, 9)).toBe(false);
    await until(() => failures.length === 1);
    // No ICMP error told of it.
    expect(failures).toEqual([["prohibited", 0x7fff_ffff, 9, undefined]]);
    expect(udp.send(Buffer.alloc(70_000), 0, 70_000, loopback, 9)).toBe(false);
  });

  it("pings where the host allows it, and says why where it does not", async () => {
    const { sockets } = opened(openEpoll);
    const replies: { text: string; address: number; sequence: number }[] = [];
    const handler: HostPingHandler = {
      reply: (bytes, at, end, address, sequence) => replies.push({ text: Buffer.from(bytes.slice(at, end)).toString(), address, sequence }),
      failed: () => expect.unreachable(),
    };
    const ping = sockets.openPing(handler);
    if ("refused" in ping) {
      expect(ping.refused).toContain("ping_group_range");
      return;
    }
    const other = sockets.openPing({ reply: () => expect.unreachable("a reply to somebody else's ping"), failed: () => undefined });
    expect(other).not.toHaveProperty("refused");
    expect(ping.send(Buffer.from("xxabcdefgyy"), 2, 9, loopback, 7, 64)).toBe(true);
    await until(() => replies.length === 1);
    expect(ping.send(Buffer.alloc(0), 0, 0, loopback, 65_535, 1)).toBe(true);
    await until(() => replies.length === 2);
    expect(replies).toEqual([
      { text: "abcdefg", address: loopback, sequence: 7 },
      { text: "", address: loopback, sequence: 65_535 },
    ]);
    ping.dispose();
    expect(ping.send(Buffer.alloc(0), 0, 0, loopback, 1, 64)).toBe(false);
  });

  it("tells of a ping that the host does not send, as a router does, and writes nothing about it", async () => {
    const { sockets } = opened(openEpoll);
    const failures: unknown[] = [];
    const ping = sockets.openPing({ reply: () => expect.unreachable(), failed: (...failure) => failures.push(failure) });
    if ("refused" in ping) return expect(ping.refused).toContain("ping_group_range");
    const said = complaints.length;
    expect(ping.send(Buffer.alloc(0), 0, 0, 0x7fff_ffff, 11, 64)).toBe(false);
    await until(() => failures.length === 1);
    expect(failures).toEqual([[0, 3, 13, 0x7fff_ffff, 11]]);
    expect(complaints).toHaveLength(said);
  });

  it("wakes for what the runtime has to do, however long it would wait", async () => {
    const { reactor } = opened(() => openEpollIo(silentLog, { longestWaitMs: 60_000 }));
    await settled(reactor);
    for (let time = 0; time < 3; time++) expect(await readFile("/proc/self/comm", "utf8")).not.toBe("");
    const server = createServer((socket) => socket.end("served"));
    after(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const peer = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const heard: string[] = [];
    peer.on("data", (chunk: Buffer) => heard.push(chunk.toString()));
    await new Promise((resolve) => peer.on("close", resolve));
    expect(heard).toEqual(["served"]);
  });

  it("calls timers in their order, between what else it does, and none that was cancelled", async () => {
    const { reactor } = opened(openEpoll);
    const called: number[] = [];
    const begin = reactor.monotonic();
    const cancelled = reactor.schedule(5, () => called.push(-1));
    reactor.schedule(20, () => called.push(reactor.monotonic() - begin >= 20 ? 20 : -20));
    reactor.schedule(10, () => called.push(10));
    reactor.schedule(0, () => called.push(0));
    reactor.schedule(-5, () => called.push(0));
    cancelled.dispose();
    cancelled.dispose();
    await until(() => called.length === 4);
    expect(called).toEqual([0, 0, 10, 20]);
  });

  it("goes on when a handler throws, and says what was thrown", async () => {
    const { reactor } = opened(openEpoll);
    complaints.length = 0;
    let went = false;
    reactor.schedule(0, () => {
      reactor.atTurnEnd(() => (went = true));
      throw new Error("a handler's own fault");
    });
    await until(() => went);
    expect(complaints.join("\n")).toContain("a handler's own fault");
  });

  it("runs what belongs to the end of a turn behind everything of that turn", async () => {
    const { reactor } = opened(openEpoll);
    const order: string[] = [];
    reactor.schedule(0, () => {
      order.push("one");
      reactor.atTurnEnd(() => {
        order.push("end");
        reactor.atTurnEnd(() => order.push("end of the end"));
      });
    });
    reactor.schedule(0, () => order.push("two"));
    await until(() => order.length === 4);
    expect(order).toEqual(["one", "two", "end", "end of the end"]);
  });

  it("says that no more sockets can be opened, and takes those that wait when there are some again", async () => {
    const { sockets, reactor } = opened(openEpoll);
    const accepted: Listening[] = [];
    const listener = await sockets.listenTcp(loopback, 0, (socket) => {
      const listening = new Listening();
      listening.socket = socket;
      accepted.push(listening);
      return listening;
    });
    await settled(reactor);
    complaints.length = 0;
    const peer = new Listening();
    const refused = new Listening();
    await new Promise<void>((resolve) =>
      reactor.schedule(0, () => {
        peer.socket = sockets.connectTcp(loopback, listener.port, peer);
        const allow = noMoreDescriptors();
        after(allow);
        refused.socket = sockets.connectTcp(loopback, listener.port, refused);
        const look = (): void => {
          if (complaints.length === 0) {
            reactor.schedule(1, look);
            return;
          }
          allow();
          resolve();
        };
        look();
      }),
    );
    await until(() => refused.heard.length > 0 && accepted.length === 1);
    expect(refused.heard).toEqual(["out-of-sockets"]);
    expect(complaints.join("\n")).toContain("no more sockets can be opened");
  });

  it("leaves no descriptor behind", async () => {
    const io = openEpoll();
    io.run();
    const server = createServer((socket) => socket.on("error", () => socket.destroy()).resume());
    after(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const inherited = new Set(readdirSync("/proc/self/fd"));
    const listening = new Listening();
    const tcp = io.sockets.connectTcp(loopback, (server.address() as AddressInfo).port, listening);
    await until(() => listening.heard.includes("connected"));
    await io.sockets.listenTcp(loopback, 0, () => undefined);
    await io.sockets.bindUdp(undefined, { datagram: () => undefined, failed: () => undefined });
    io.sockets.openPing({ reply: () => undefined, failed: () => undefined });
    tcp.close();
    io.stop();
    let connections = 1;
    await until(() => {
      server.getConnections((_failure, count) => (connections = count));
      return connections === 0;
    });
    const left = readdirSync("/proc/self/fd").filter((descriptor) => !inherited.has(descriptor));
    // The folder that is being read, and what the runtime's own server opened in its place, at most.
    expect(left.length).toBeLessThanOrEqual(1);
  });

  it("refuses what cannot be a socket's path", async () => {
    const { sockets } = opened(openEpoll);
    for (const path of ["", "/tmp/" + "x".repeat(200), "/tmp/a\0b", "/nowhere/at/all.sock"]) {
      const listening = new Listening();
      sockets.connectLocal(path, listening);
      await until(() => listening.heard.length > 0);
      expect(listening.heard).toEqual(["unreachable-host"]);
    }
  });
});

describe("choosing a loop", () => {
  it("takes the fast one here, and the one that is asked for", () => {
    const chosen = (kind: string | undefined): boolean => {
      const io = openReactor({ log: silentLog, kind });
      after(() => io.stop());
      return io.fast;
    };
    expect([chosen("portable"), chosen("epoll"), chosen("")]).toEqual([false, true, true]);
    expect(() => openReactor({ log: silentLog, kind: "fastest" })).toThrow(/TERRARIUM_FABRIC is "fastest"/);
  });

  it("says on the portable one why there are no pings", () => {
    const io = openReactor({ log: silentLog, kind: "portable" });
    after(() => io.stop());
    expect(io.sockets.openPing({ reply: () => undefined, failed: () => undefined })).toEqual({ refused: expect.stringContaining("portable") });
  });
});

describe("the loop's memory", () => {
  it("lends zeroed buffers that lie apart, takes them back once, and never runs out", () => {
    const memory = new LoopMemory(loadLibc());
    const one = memory.allocate(100).fill(1);
    const two = memory.allocate(100).fill(2);
    expect(one.every((byte) => byte === 1)).toBe(true);
    memory.release(one);
    expect(() => memory.release(one)).toThrow(/not lent/);
    const again = memory.allocate(90);
    expect(again.byteOffset).toBe(one.byteOffset);
    expect(again.every((byte) => byte === 0)).toBe(true);
    expect(two.every((byte) => byte === 2)).toBe(true);
    const huge = memory.allocate(300 * 1024 * 1024);
    expect([huge.length, memory.holds(huge), memory.holds(two)]).toEqual([300 * 1024 * 1024, false, true]);
    memory.release(huge);
  });
});

