import { afterEach, describe, expect, it } from "vitest";
import { ChunkPool } from "../../../core/net/nat/tcp";
import { ManualReactor } from "../../../core/net/reactor";
import { ip } from "../../support/net/frames";
import { GuestTcp } from "../../support/net/guestTcp";
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
