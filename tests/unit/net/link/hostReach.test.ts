import { describe, expect, it } from "vitest";
import { askMs, HostReach, maxHeldFrames, maxRoutesOfOneGuest, wireClaimMs } from "../../../../core/net/link/hostReach";
import { ManualReactor } from "../../../../core/net/reactor";
import { formatIpv4, parseIpv4, parseMac } from "../../../../core/net/wire/addresses";
import { ArpOperation, readArp, writeArp } from "../../../../core/net/wire/arp";
import { readEthernet, writeEthernet } from "../../../../core/net/wire/ethernet";
import { writeIpv4 } from "../../../../core/net/wire/ipv4";

const ip = (text: string): number => parseIpv4(text) ?? NaN;
const mac = (text: string): number => parseMac(text) ?? NaN;
const tapMac = mac("0a:00:00:00:00:01");
const guestMac = mac("52:54:00:00:00:10");
const otherMac = mac("52:54:00:00:00:11");
const host = ip("192.0.2.2");
const gateway = ip("192.0.2.1");
const guest = ip("192.0.2.50");

/** Routes are there at once, or, when they are `slow`, when the test says so. */
function setUp(options: { refuseRoutes?: boolean; slow?: boolean } = {}) {
  const reactor = new ManualReactor();
  const routes: string[] = [];
  const sent: Uint8Array[] = [];
  const toHost: Uint8Array[] = [];
  const settle: (() => void)[] = [];
  let full = 0;
  const reach = new HostReach(
    tapMac,
    {
      add: (address, source) => {
        routes.push(`+${formatIpv4(address)} from ${formatIpv4(source)}`);
        return new Promise((resolve) => {
          const done = (): void => resolve(options.refuseRoutes !== true);
          if (options.slow === true) settle.push(done);
          else done();
        });
      },
      remove: (address) => routes.push(`-${formatIpv4(address)}`),
    },
    { toGuests: (frame) => sent.push(frame), toHost: (frame) => toHost.push(frame), full: () => full++ },
    reactor,
  );
  reach.setHost([{ address: host, prefix: 24 }], new Set([gateway]));
  const arp = (operation: number, sender: number, senderMac: number, target: number): Uint8Array => {
    const frame = new Uint8Array(60);
    writeEthernet(frame, 0, { destination: 0xffff_ffff_ffff, source: senderMac, type: 0x0806 });
    writeArp(frame, 14, { operation, senderMac, senderAddress: sender, targetMac: 0, targetAddress: target });
    return frame;
  };
  const packet = (source: number, senderMac: number, length = 60): Uint8Array => {
    const frame = new Uint8Array(length);
    writeEthernet(frame, 0, { destination: tapMac, source: senderMac, type: 0x0800 });
    writeIpv4(frame, 14, { source, destination: host, protocol: 17, length: 20, ttl: 64 });
    return frame;
  };
  return {
    reach, reactor, routes, sent, toHost, packet,
    notHeld: () => full,
    guestAsks: (sender: number, senderMac: number, target: number) => reach.fromGuest(arp(ArpOperation.request, sender, senderMac, target), 0, 60, false),
    wireSays: (sender: number, senderMac: number) => reach.fromWire(arp(ArpOperation.reply, sender, senderMac, gateway), 0, 60),
    guestSends: (source: number, senderMac: number, toHost = true, length = 60) => reach.fromGuest(packet(source, senderMac, length), 0, length, toHost),
    /** The routes that were asked for so far are there, or refused. */
    routesSettle: async () => {
      for (const done of settle.splice(0)) done();
      await Promise.resolve();
      await Promise.resolve();
    },
  };
}

describe("the host among the guests on its own card", () => {
  it("answers where the host is, and leads the guest's address to it", async () => {
    const { guestAsks, routes, sent, routesSettle } = setUp();
    expect(guestAsks(guest, guestMac, host)).toBe(true);
    await routesSettle();
    const [answer = new Uint8Array()] = sent;
    expect(readEthernet(answer, 0, answer.length)).toEqual({ destination: guestMac, source: tapMac, type: 0x0806 });
    expect(readArp(answer, 14, answer.length)).toEqual({ operation: ArpOperation.reply, senderMac: tapMac, senderAddress: host, targetMac: guestMac, targetAddress: guest });
    expect(routes).toEqual(["+192.0.2.50 from 192.0.2.2"]);
  });

  it("tells a guest that looks whether the host's address is free that it is not, and leads nothing anywhere", () => {
    const { guestAsks, routes, sent } = setUp();
    expect(guestAsks(0, guestMac, host)).toBe(true);
    expect(sent).toHaveLength(1);
    expect(routes).toEqual([]);
  });

  it("leaves questions about others to others", () => {
    expect(setUp().guestAsks(guest, guestMac, gateway)).toBe(false);
  });

  it("learns from packets too, once", () => {
    const { guestSends, routes } = setUp();
    for (let count = 0; count < 3; count++) expect(guestSends(guest, guestMac, false)).toBe(false);
    expect(routes).toEqual(["+192.0.2.50 from 192.0.2.2"]);
  });

  it.each([
    ["the gateway's", "192.0.2.1"],
    ["the host's own", "192.0.2.2"],
    ["the network's", "192.0.2.0"],
    ["everybody's", "192.0.2.255"],
    ["one of another network", "203.0.113.5"],
    ["a loopback", "127.0.0.1"],
    ["a group's", "224.0.0.251"],
  ])("does not believe a guest that says its address is %s", (_whose, address) => {
    const { guestAsks, guestSends, routes } = setUp();
    guestAsks(ip(address), guestMac, gateway);
    guestSends(ip(address), guestMac);
    expect(routes).toEqual([]);
  });

  it("does not believe a guest that says it has an address the wire has, until that was long ago", () => {
    const { guestAsks, wireSays, routes, reactor } = setUp();
    wireSays(guest, otherMac);
    guestAsks(guest, guestMac, gateway);
    expect(routes).toEqual([]);
    reactor.advance(wireClaimMs);
    guestAsks(guest, guestMac, gateway);
    expect(routes).toEqual(["+192.0.2.50 from 192.0.2.2"]);
  });

  it("takes the route away when the address turns up on the wire", () => {
    const { guestAsks, wireSays, routes } = setUp();
    guestAsks(guest, guestMac, gateway);
    wireSays(guest, guestMac);
    expect(routes).toHaveLength(1);
    wireSays(guest, otherMac);
    expect(routes).toEqual(["+192.0.2.50 from 192.0.2.2", "-192.0.2.50"]);
  });

  it("makes only so many routes for a guest", () => {
    const { guestAsks, routes } = setUp();
    for (let last = 10; last < 200; last++) guestAsks(ip(`192.0.2.${last}`), guestMac, gateway);
    expect(routes).toHaveLength(maxRoutesOfOneGuest);
    guestAsks(ip("192.0.2.210"), otherMac, gateway);
    expect(routes).toHaveLength(maxRoutesOfOneGuest + 1);
  });

  it("asks a guest that is silent, and forgets it only when it does not answer", () => {
    const { guestAsks, reactor, routes, sent } = setUp();
    guestAsks(guest, guestMac, gateway);
    reactor.advance(askMs);
    expect(sent).toHaveLength(1);
    expect(readArp(sent[0] ?? new Uint8Array(), 14, 60)).toMatchObject({ operation: ArpOperation.request, senderAddress: host, senderMac: tapMac, targetAddress: guest });
    guestAsks(guest, guestMac, host);
    reactor.advance(3 * askMs);
    expect(routes).toHaveLength(1);
    reactor.advance(2 * askMs);
    expect(routes).toEqual(["+192.0.2.50 from 192.0.2.2", "-192.0.2.50"]);
    const asked = sent.length;
    reactor.advance(10 * askMs);
    expect(sent).toHaveLength(asked);
  });

  it("follows the host's addresses", () => {
    const { reach, guestAsks, routes } = setUp();
    guestAsks(guest, guestMac, gateway);
    reach.setHost([{ address: ip("198.51.100.2"), prefix: 24 }], new Set());
    expect(routes.at(-1)).toBe("-192.0.2.50");
    expect(guestAsks(guest, guestMac, host)).toBe(false);
    expect(guestAsks(ip("198.51.100.9"), guestMac, ip("198.51.100.2"))).toBe(true);
    expect(routes.at(-1)).toBe("+198.51.100.9 from 198.51.100.2");
  });

  it("tries again where a route could not be made", async () => {
    const { guestAsks, routes, reach } = setUp({ refuseRoutes: true });
    guestAsks(guest, guestMac, gateway);
    await Promise.resolve();
    await Promise.resolve();
    expect(reach.routed).toEqual([]);
    guestAsks(guest, guestMac, gateway);
    expect(routes).toHaveLength(2);
  });

  it("keeps the host's answer from going astray: what a guest asks goes on in its order when the route to it is there", async () => {
    const { guestAsks, guestSends, packet, sent, toHost, routesSettle } = setUp({ slow: true });
    expect(guestAsks(guest, guestMac, host)).toBe(true);
    // It may know from before where the host is.
    for (const length of [61, 62]) expect(guestSends(guest, guestMac, true, length)).toBe(true);
    expect([...sent, ...toHost]).toEqual([]);
    await routesSettle();
    expect(sent.map((frame) => readArp(frame, 14, frame.length)?.operation)).toEqual([ArpOperation.reply]);
    expect(toHost).toEqual([packet(guest, guestMac, 61), packet(guest, guestMac, 62)]);
    // From now on the caller's.
    expect(guestSends(guest, guestMac)).toBe(false);
    expect(guestAsks(guest, guestMac, host)).toBe(true);
    expect(sent).toHaveLength(2);
  });

  it("holds back only what is for the host, and only of a guest it makes a route to", () => {
    const { guestSends } = setUp({ slow: true });
    expect(guestSends(guest, guestMac, false)).toBe(false);
    expect(guestSends(gateway, guestMac)).toBe(false);
    expect(guestSends(ip("203.0.113.5"), guestMac)).toBe(false);
  });

  it("lets on what it held back also when the route cannot be made", async () => {
    const { guestAsks, guestSends, sent, toHost, routesSettle } = setUp({ slow: true, refuseRoutes: true });
    guestAsks(guest, guestMac, host);
    guestSends(guest, guestMac);
    await routesSettle();
    expect([sent.length, toHost.length]).toEqual([1, 1]);
  });

  it("holds back only so many frames of an address, and so many bytes in all, and says of each other that it did not", async () => {
    const { guestSends, toHost, notHeld, routesSettle } = setUp({ slow: true });
    for (let count = 0; count < maxHeldFrames + 5; count++) expect(guestSends(guest, guestMac)).toBe(true);
    expect(notHeld()).toBe(5);
    for (let last = 10; last < 14; last++) for (let count = 0; count < 10; count++) guestSends(ip(`192.0.2.${last}`), guestMac, true, 64_000);
    await routesSettle();
    const bytes = toHost.reduce((sum, frame) => sum + frame.length, 0);
    expect(bytes).toBeGreaterThan(900_000);
    expect(bytes).toBeLessThanOrEqual(1 << 20);
    expect(toHost.length + notHeld()).toBe(maxHeldFrames + 5 + 40);
    // There is room again.
    const before = notHeld();
    for (let count = 0; count < 10; count++) guestSends(ip("192.0.2.20"), otherMac, true, 64_000);
    expect(notHeld()).toBe(before);
  });

  it("sends nothing on when it is over meanwhile", async () => {
    const { guestAsks, guestSends, reach, sent, toHost, routesSettle } = setUp({ slow: true });
    guestAsks(guest, guestMac, host);
    guestSends(guest, guestMac);
    reach.dispose();
    await routesSettle();
    expect([...sent, ...toHost]).toEqual([]);
  });

  it("takes its routes away in the end", () => {
    const { guestAsks, reach, routes } = setUp();
    guestAsks(guest, guestMac, gateway);
    reach.dispose();
    expect(routes.at(-1)).toBe("-192.0.2.50");
    guestAsks(guest, guestMac, gateway);
    expect(routes).toHaveLength(2);
  });
});
