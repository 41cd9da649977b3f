import { afterEach, describe, expect, it } from "vitest";
import { maxPings } from "../../../core/net/nat/icmp";
import { Accounts } from "../../../core/net/nat/shares";
import { ChunkPool } from "../../../core/net/nat/tcp";
import { maxFlows, maxFlowsOfGuest } from "../../../core/net/nat/udp";
import { ManualReactor } from "../../../core/net/reactor";
import { formatMac } from "../../../core/net/wire/addresses";
import { echoFrame, ip, udpFrame } from "../../support/net/frames";
import { GuestTcp } from "../../support/net/guestTcp";
import { MemoryTcp } from "../../support/net/memorySockets";
import { remote, TcpBench } from "../../support/net/tcpBench";
import { natSpec, outside, TestNetwork, type TestGuest } from "../../support/net/testNetwork";

let test: TestNetwork;
afterEach(() => test.network.dispose());

const server = outside("198.51.100.7");

function tcpOf(guest: TestGuest, port: number, address = guest.address): GuestTcp {
  return new GuestTcp({ ...test, plug: guest.plug }, { mac: guest.mac, address }, port, server);
}

describe("memory for TCP", () => {
  const limit = 8 * 1024 * 1024;
  const data = new Uint8Array(1400);

  /** Connections to a peer that reads nothing, full, until there is no more memory for them. */
  function hoard(guest: TestGuest, pool: ChunkPool, address?: number): void {
    for (let port = 1024, before = -1; pool.usedBytes > before; port += 8) {
      before = pool.usedBytes;
      for (let more = 0; more < 8; more++) {
        const tcp = tcpOf(guest, port + more, address);
        const socket = tcp.connect();
        if (socket) socket.full = true;
        for (let sent = 0; sent < 65_000; sent += data.length) tcp.send(data);
      }
    }
  }

  function expectServed(guest: TestGuest): void {
    const tcp = tcpOf(guest, 5000);
    const socket = tcp.connect();
    tcp.send(data);
    expect(socket?.written).toEqual([data]);
    socket?.inbox.push(1, 2, 3);
    socket?.handler?.readable();
    test.reactor.endTurn();
    expect(tcp.hear().some((segment) => segment.end - segment.payload === 3)).toBe(true);
  }

  it("is not taken from others by guests whose connections nobody reads", () => {
    const pool = new ChunkPool(new ManualReactor(), limit);
    test = new TestNetwork(natSpec, [], { pool });
    for (const number of [66, 67, 68, 69]) hoard(test.guest(number), pool);
    expect(pool.usedBytes).toBeGreaterThan(limit / 2);
    expectServed(test.guest(15));
  });

  it("is a guest's, whatever addresses it takes", () => {
    const pool = new ChunkPool(new ManualReactor(), limit);
    test = new TestNetwork(natSpec, [], { pool });
    const guest = test.guest(66);
    hoard(guest, pool);
    const held = pool.usedBytes;
    for (let more = 1; more < 8; more++) hoard(guest, pool, ip("10.9.0.30") + more);
    expect(pool.usedBytes).toBe(held);
    expectServed(test.guest(15));
  });

  it("all comes back when the connections end", () => {
    const pool = new ChunkPool(new ManualReactor(), limit);
    test = new TestNetwork(natSpec, [], { pool });
    for (const number of [66, 67]) hoard(test.guest(number), pool);
    expect(pool.usedBytes).toBeGreaterThan(0);
    test.network.dispose();
    expect(pool.usedBytes).toBe(0);
  });
});

describe("a guest's flood", () => {
  const one = Uint8Array.of(1);

  it("of pings ends its own, not another's", () => {
    test = new TestNetwork();
    const victim = test.guest(15);
    const loud = test.guest(66);
    victim.say(echoFrame(victim, server, 7, 1, one));
    for (let id = 0; id < 200; id++) loud.say(echoFrame({ mac: loud.mac, address: loud.address + (id % 20) }, server, id, 1, one));
    expect(test.host.pings[0]?.disposed).toBe(false);
    expect(test.host.openPings).toHaveLength(maxPings);
  });

  it("of SYNs ends its own handshakes, not another's", () => {
    test = new TestNetwork();
    const socket = tcpOf(test.guest(15), 5000).call();
    const loud = test.guest(66);
    for (let port = 1024; port < 1024 + 3000; port++) tcpOf(loud, port, loud.address + (port % 20)).call();
    expect(socket?.state).toBe("open");
    expect(test.network.sizes.tcpConnections).toBe(2048);
  });

  it("of datagrams ends its own flows, whatever addresses it takes, and not another's", async () => {
    test = new TestNetwork();
    const victim = test.guest(15);
    const loud = test.guest(66);
    victim.say(udpFrame(victim, 4000, server, 5060, one));
    await test.settle();
    for (let port = 1; port <= 3000; port++) loud.say(udpFrame({ mac: loud.mac, address: loud.address + (port % 20) }, port, server, 9, one));
    await test.settle();
    expect(test.host.udp[0]?.disposed).toBe(false);
    expect(test.network.sizes.udpFlows).toBe(maxFlowsOfGuest + 1);
  });

  it("of datagrams beside those of others ends no flow of one who has few", async () => {
    test = new TestNetwork();
    const victim = test.guest(15);
    victim.say(udpFrame(victim, 4000, server, 5060, one));
    await test.settle();
    for (const number of [66, 67, 68, 69, 70]) {
      const loud = test.guest(number);
      for (let port = 1; port <= 600; port++) loud.say(udpFrame(loud, port, server, 9, one));
    }
    await test.settle();
    expect(test.host.udp[0]?.disposed).toBe(false);
    expect(test.network.sizes.udpFlows).toBe(maxFlows);
  });

  it("of connections that stand ends as many of them as others want", () => {
    test = new TestNetwork();
    const bench = benchOf({ connections: 64 });
    const sockets = Array.from({ length: 64 }, (_, index) => connect(bench, loudAddress, 1024 + index));
    const refused = connect(bench, loudAddress, 999);
    expect(refused).toBeUndefined();
    for (let more = 0; more < 40; more++) expect(connect(bench, quietAddress, 1024 + more)?.isGone).toBe(more < 32 ? false : undefined);
    expect(sockets.filter((socket) => socket?.isReset)).toHaveLength(32);
    expect(bench.nat.connections()).toBe(64);
  });

  it("of connections ends those that are silent before one that speaks", () => {
    test = new TestNetwork();
    const bench = benchOf({ connections: 8 });
    const sockets = Array.from({ length: 8 }, (_, index) => connect(bench, loudAddress, 1024 + index));
    bench.after(1000);
    bench.send({ flags: "ACK", sequence: 1001, acknowledgment: acknowledgments.get(sockets[0]!) ?? 0 }, { address: loudAddress, port: 1024 });
    connect(bench, quietAddress, 1024);
    expect(sockets.map((socket) => socket?.isReset)).toEqual([false, true, ...new Array<boolean>(6).fill(false)]);
  });
});

describe("those who come to a port forward", () => {
  it("end no UDP flow that the guest began", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 5060, Uint8Array.of(1)));
    test.network.applyForwards([{ id: "f", segment: natSpec.id, mac: formatMac(guest.mac), machine: "m", target: "running", forward: { protocol: "udp", hostAddress: "0.0.0.0", hostPort: 5000, guestPort: 7 } }]);
    await test.settle();
    const forward = test.host.openUdp.find((socket) => socket.port === 5000);
    for (let port = 1000; port < 2000; port++) forward?.deliver(Uint8Array.of(1), ip("203.0.113.9"), port);
    expect(test.host.udp[0]?.disposed).toBe(false);
    expect(test.network.sizes.udpFlows).toBe(maxFlowsOfGuest + 1);
  });

  it("end no handshake of the guest's own, and leave room for more", () => {
    test = new TestNetwork();
    const bench = benchOf({ halfOpen: 16, connections: 32 });
    bench.send({ flags: "SYN", sequence: 1000 }, { address: quietAddress, port: 1024 });
    const own = bench.sockets.latest;
    for (let port = 1; port < 100; port++) bench.nat.accept(new MemoryTcp(), { address: 1, port }, { address: quietAddress, port: 22 }, { address: ip("203.0.113.9"), port });
    bench.endTurn();
    expect(own.isGone).toBe(false);
    expect(bench.nat.connections()).toBe(16);
    expect(connect(bench, quietAddress, 1025)?.isGone).toBe(false);
  });
});

const loudAddress = ip("10.0.2.66");
const quietAddress = ip("10.0.2.15");
const acknowledgments = new WeakMap<MemoryTcp, number>();

/** The gateway's TCP with few connections, for guests that have an address each. */
function benchOf(limits: { connections?: number; halfOpen?: number }): TcpBench {
  const cables = new Map([loudAddress, quietAddress].map((address) => [address, {}]));
  return new TcpBench({ limits, accounts: new Accounts((guest) => cables.get(guest)) });
}

/** A connection that stands; undefined when it was refused. */
function connect(bench: TcpBench, address: number, port: number): MemoryTcp | undefined {
  const before = bench.sockets.opened.length;
  bench.send({ flags: "SYN", sequence: 1000 }, { address, port }, remote);
  if (bench.sockets.opened.length === before) return undefined;
  const socket = bench.sockets.latest;
  socket.handler?.connected();
  const answer = bench.endTurn().find((reply) => reply.names === "SYN ACK");
  acknowledgments.set(socket, ((answer?.sequence ?? 0) + 1) >>> 0);
  bench.send({ sequence: 1001, acknowledgment: acknowledgments.get(socket) ?? 0 }, { address, port }, remote);
  return socket;
}
