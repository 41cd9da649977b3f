import { describe, expect, it } from "vitest";
import { DnsStreamSockets } from "../../../core/net/nat/dnsStream";
import type { HostTcpHandler } from "../../../core/net/nat/hostSockets";
import { ManualReactor } from "../../../core/net/reactor";
import { DnsForwarder } from "../../../core/net/services/dns";
import { FakeHost } from "../../support/net/fakeHost";
import { ip } from "../../support/net/frames";

const server = ip("10.9.0.3");

function build(): { reactor: ManualReactor; host: FakeHost; sockets: DnsStreamSockets; heard: string[]; handler: HostTcpHandler } {
  const reactor = new ManualReactor();
  const host = new FakeHost();
  const names = { domain: "lab", addresses: (name: string) => (name === "web" ? [ip("10.9.0.15")] : undefined), nameOf: () => undefined };
  const dns = new DnsForwarder({ clock: reactor, sockets: host, resolver: { servers: () => [] }, names, random16: () => 7 });
  const heard: string[] = [];
  const handler: HostTcpHandler = {
    connected: () => void heard.push("connected"),
    readable: () => void heard.push("readable"),
    writable: () => void heard.push("writable"),
    failed: (failure) => void heard.push(failure),
  };
  return { reactor, host, sockets: new DnsStreamSockets(host, { route: () => ({ refused: "prohibited" }) }, server, dns, reactor), heard, handler };
}

/** A query for web.lab, behind its length. */
const query = Uint8Array.from([0, 25, 0, 5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 119, 101, 98, 3, 108, 97, 98, 0, 0, 1, 0, 1]);

describe("DNS over TCP at the name server's address", () => {
  it("answers queries however they are cut, and ends when the guest has ended", () => {
    const { reactor, sockets, heard, handler } = build();
    const socket = sockets.connectTcp(server, 53, handler);
    expect(heard).toEqual([]);
    reactor.endTurn();
    socket.setReading(true);
    for (const byte of query) expect(socket.write(Uint8Array.of(byte), 0, 1)).toBe(1);
    reactor.advance(0);
    expect(heard).toEqual(["connected", "readable"]);
    const target = new Uint8Array(600);
    const length = socket.read(target, 0, 600);
    expect((target[0] ?? 0) * 256 + (target[1] ?? 0)).toBe(length - 2);
    expect([...target.subarray(length - 4, length)]).toEqual([10, 9, 0, 15]);
    expect(socket.read(target, 0, 600)).toBe(0);
    socket.shutdown();
    expect(socket.read(target, 0, 600)).toBe(-1);
  });

  it("takes no more queries while its answers are not read, and asks for more when they are", () => {
    const { reactor, sockets, heard, handler } = build();
    const socket = sockets.connectTcp(server, 53, handler);
    reactor.endTurn();
    let taken = 0;
    for (let round = 0; round < 100_000; round++) {
      const count = socket.write(query, 0, query.length);
      taken += count;
      if (count < query.length) break;
    }
    expect(taken).toBeLessThan(1_000_000);
    const target = new Uint8Array(65_536);
    while (socket.read(target, 0, target.length) > 0);
    reactor.endTurn();
    expect(heard).toEqual(["connected", "writable"]);
  });

  it("ends a connection that is silent for half a minute", () => {
    const { reactor, sockets, handler, heard } = build();
    const socket = sockets.connectTcp(server, 53, handler);
    reactor.endTurn();
    socket.setReading(true);
    reactor.advance(29_999);
    expect(heard).toEqual(["connected"]);
    expect(socket.read(new Uint8Array(9), 0, 9)).toBe(0);
    // The end is told of in every turn until it is read.
    socket.setReading(false);
    reactor.advance(1);
    expect(socket.read(new Uint8Array(9), 0, 9)).toBe(-1);
  });

  it("refuses other ports there, and leaves other addresses to the host", () => {
    const { reactor, sockets, host, heard, handler } = build();
    sockets.connectTcp(server, 54, handler);
    reactor.endTurn();
    expect(heard).toEqual(["refused"]);
    sockets.connectTcp(ip("198.51.100.7"), 53, handler);
    expect(host.tcp).toHaveLength(1);
  });
});
