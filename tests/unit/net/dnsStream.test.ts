import { describe, expect, it } from "vitest";
import { silentLog } from "../../../core/base/log";
import { DnsStreamSockets, maxStreams, maxStreamsOfOne } from "../../../core/net/nat/dnsStream";
import type { HostTcpHandler } from "../../../core/net/nat/hostSockets";
import { TcpNat } from "../../../core/net/nat/tcp";
import { ManualReactor } from "../../../core/net/reactor";
import { DnsForwarder, maxOutstandingOfOne } from "../../../core/net/services/dns";
import { TcpFlag, writeTcp } from "../../../core/net/wire/tcp";
import { CapturedOutput } from "../../support/net/capturedOutput";
import { FakeHost } from "../../support/net/fakeHost";
import { ip } from "../../support/net/frames";

const server = ip("10.9.0.3");

function build(servers: readonly { address: number; port: number }[] = []): { reactor: ManualReactor; host: FakeHost; dns: DnsForwarder; sockets: DnsStreamSockets; heard: string[]; handler: HostTcpHandler } {
  const reactor = new ManualReactor();
  const host = new FakeHost();
  const names = { domain: "lab", addresses: (name: string) => (name === "web" ? [ip("10.9.0.15")] : undefined), nameOf: () => undefined };
  const dns = new DnsForwarder({ clock: reactor, sockets: host, resolver: { servers: () => servers }, names, random16: () => 7 });
  const heard: string[] = [];
  const handler: HostTcpHandler = {
    connected: () => void heard.push("connected"),
    readable: () => void heard.push("readable"),
    writable: () => void heard.push("writable"),
    failed: (failure) => void heard.push(failure),
  };
  return { reactor, host, dns, sockets: new DnsStreamSockets(host, { route: () => ({ refused: "prohibited" }) }, server, dns, reactor), heard, handler };
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

  it("lets no guest take another's part of what may wait for a server", () => {
    const { dns, sockets, handler, reactor } = build([{ address: ip("192.0.2.53"), port: 53 }]);
    const outside = Uint8Array.from(query);
    // wxb.lbb is nobody's here.
    outside.set([119, 120, 98, 3, 108, 98, 98], 15);
    for (let number = 0; number < maxStreamsOfOne; number++) {
      const socket = sockets.connectTcp(server, 53, handler, ip("10.9.0.15"));
      for (let question = 0; question < 16; question++) socket.write(outside, 0, outside.length);
    }
    reactor.endTurn();
    expect(dns.waiting).toBe(maxOutstandingOfOne);
    sockets.connectTcp(server, 53, handler, ip("10.9.0.16")).write(outside, 0, outside.length);
    expect(dns.waiting).toBe(maxOutstandingOfOne + 1);
  });

  it("refuses a guest's connections beyond its part, all beyond the most there may be, and takes new ones when some have ended", () => {
    const { sockets, heard, handler, reactor } = build();
    const open = (guest: number, count: number): ReturnType<DnsStreamSockets["connectTcp"]>[] => Array.from({ length: count }, () => sockets.connectTcp(server, 53, handler, guest));
    const said = (word: string): number => {
      reactor.endTurn();
      return heard.splice(0).filter((one) => one === word).length;
    };
    const [first] = open(1, maxStreamsOfOne + 1);
    expect(said("refused")).toBe(1);
    for (let guest = 2; guest <= 20; guest++) open(guest, maxStreamsOfOne);
    expect(said("connected")).toBe(maxStreams - maxStreamsOfOne);
    first?.close();
    open(1, 1);
    expect(said("connected")).toBe(1);
  });

  it("knows which guest it is that the gateway's TCP connects for", () => {
    const { sockets, reactor, host } = build();
    const tcp = new TcpNat({ reactor, sockets, output: new CapturedOutput(), policy: sockets, mtu: 1500, log: silentLog });
    const guests: (number | undefined)[] = [];
    const connect = sockets.connectTcp.bind(sockets);
    sockets.connectTcp = (address, port, handler, guest) => {
      guests.push(guest);
      return connect(address, port, handler, guest);
    };
    const segment = new Uint8Array(20);
    const source = ip("10.9.0.15");
    writeTcp(segment, 0, 20, source, server, { sourcePort: 4000, destinationPort: 53, sequence: 1, acknowledgment: 0, flags: TcpFlag.syn, window: 60_000 });
    const packet = { source, destination: server, protocol: 6, ttl: 64, service: 0, identification: 0, dontFragment: false, moreFragments: false, fragmentOffset: 0, payload: 0, end: 20 };
    tcp.input(segment, 0, 20, packet);
    expect(guests).toEqual([source]);
    expect(host.tcp).toEqual([]);
    tcp.dispose();
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
