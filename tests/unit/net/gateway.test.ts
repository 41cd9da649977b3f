import { afterEach, describe, expect, it } from "vitest";
import type { ForwardSpec } from "../../../core/net/control";
import { broadcastMac, formatMac, type MacNumber } from "../../../core/net/wire/addresses";
import { DhcpOperation, DhcpType, readDhcp, writeDhcp } from "../../../core/net/wire/dhcp";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { arpFrame, arpRequest, echoFrame, ip, ipv4Frame, udpFrame, udpPayload, type ReadFrame } from "../../support/net/frames";
import { gateway, gatewayMac, nameServer, natSpec, outside, TestNetwork } from "../../support/net/testNetwork";

let test: TestNetwork;
afterEach(() => test.network.dispose());

const payload = Uint8Array.of(1, 2, 3, 4, 5);

const savedLease = { mac: "52:54:00:00:00:64", address: "10.9.0.100", expiresAt: 3_600_000 };

function forwardTo(mac: MacNumber): ForwardSpec {
  return { id: "f", segment: natSpec.id, mac: formatMac(mac), machine: "far", target: "running", forward: { protocol: "udp", hostAddress: "127.0.0.1", hostPort: 5000, guestPort: 7 } };
}

function errorsOf(frames: readonly ReadFrame[]): (readonly [type: number | undefined, code: number | undefined])[] {
  return frames.map((frame) => [frame.icmp?.type, frame.icmp?.code] as const);
}

describe("the gateway of a NAT network", () => {
  it("answers ARP for its address and the name server's, and for no other", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(arpRequest(guest, gateway.address), arpRequest(guest, nameServer.address), arpRequest(guest, ip("10.9.0.77")));
    const answers = guest.hear();
    expect(answers.map((answer) => answer.arp)).toEqual([
      { operation: 2, senderMac: gatewayMac, senderAddress: gateway.address, targetMac: guest.mac, targetAddress: guest.address },
      { operation: 2, senderMac: gatewayMac, senderAddress: nameServer.address, targetMac: guest.mac, targetAddress: guest.address },
    ]);
    expect(answers[0]?.ethernet.destination).toBe(guest.mac);
  });

  it("answers pings to itself", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(echoFrame(guest, gateway, 7, 3, payload, 1));
    const [answer] = guest.hear();
    expect(answer?.ipv4).toMatchObject({ source: gateway.address, destination: guest.address });
    expect(answer?.icmp).toMatchObject({ type: 0, code: 0, rest: 0x0007_0003, payload });
  });

  it("answers everything of one turn in one run", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(echoFrame(guest, gateway, 7, 1, payload), echoFrame(guest, gateway, 7, 2, payload), arpRequest(guest, gateway.address));
    expect(guest.plug.runs).toBe(1);
    expect(guest.hear()).toHaveLength(3);
  });

  it("tells a guest whose packet has no hops left, with the packet quoted", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.greet();
    const sent = udpFrame(guest, 4000, outside("198.51.100.7"), 33_434, payload, 1);
    guest.say(sent);
    const [answer] = guest.hear();
    expect(answer?.ipv4?.source).toBe(gateway.address);
    expect(answer?.icmp).toMatchObject({ type: 11, code: 0, payload: sent.slice(14) });
    expect(test.host.udp).toEqual([]);
  });

  it("says of protocols it does not carry, and of ports where nothing is, that they are not reached", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(
      ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: ip("198.51.100.7"), protocol: 47 }, payload),
      udpFrame(guest, 4000, nameServer, 99, payload),
    );
    expect(errorsOf(guest.hear())).toEqual([
      [3, 2],
      [3, 3],
    ]);
  });

  it("sends so many errors at once and no more, and again with time", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const lost = Array.from({ length: 200 }, () => udpFrame(guest, 4000, outside("198.51.100.7"), 9, payload, 1));
    guest.say(...lost);
    expect(guest.hear()).toHaveLength(50);
    test.reactor.advance(100);
    guest.say(...lost);
    expect(guest.hear()).toHaveLength(10);
  });

  it("says nothing about broken packets, foreign senders, broadcasts and errors", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.greet();
    const broken = udpFrame(guest, 4000, outside("198.51.100.7"), 9, payload, 1);
    broken[24] = 99;
    guest.say(
      broken,
      udpFrame({ mac: guest.mac, address: ip("192.0.2.1") }, 4000, outside("198.51.100.7"), 9, payload, 1),
      udpFrame({ mac: guest.mac, address: gateway.address }, 4000, outside("198.51.100.7"), 9, payload, 1),
      udpFrame(guest, 4000, { mac: broadcastMac, address: ip("198.51.100.7") }, 9, payload, 1),
      udpFrame(guest, 4000, { mac: broadcastMac, address: ip("10.9.0.255") }, 9, payload, 1),
      ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: ip("198.51.100.7"), protocol: IpProtocol.icmp, ttl: 1 }, Uint8Array.of(3, 3, 0xfc, 0xfc, 0, 0, 0, 0)),
      ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: ip("198.51.100.7"), protocol: IpProtocol.udp, ttl: 1, fragmentOffset: 64 }, payload),
    );
    expect(guest.hear()).toEqual([]);
  });

  it("leaves an address with the guest that uses it, whatever another says", () => {
    test = new TestNetwork();
    const owner = test.guest(15);
    const liar = test.guest(16);
    owner.greet();
    const claim = arpFrame(liar.mac, gatewayMac, { operation: 2, senderMac: liar.mac, senderAddress: owner.address, targetMac: gatewayMac, targetAddress: gateway.address });
    liar.say(claim, echoFrame({ mac: liar.mac, address: owner.address }, gateway, 1, 1, payload));
    expect(liar.hear()).toEqual([]);
    expect(test.network.addressOf(owner.mac)).toBe(owner.address);
    // A silent one's address is free again.
    test.reactor.advance(60_001);
    liar.say(claim);
    expect(test.network.addressOf(liar.mac)).toBe(owner.address);
  });

  it("gives a leased address to its holder at once, also when another took it before", () => {
    test = new TestNetwork();
    const holder = test.guest(15);
    const thief = test.guest(16);
    const lease = (type: number): void => {
      const bytes = new Uint8Array(600);
      const options = type === DhcpType.request ? { requestedAddress: ip("10.9.0.100"), server: gateway.address } : {};
      const end = writeDhcp(bytes, 0, bytes.length, { operation: DhcpOperation.request, type, transaction: 9, seconds: 0, broadcast: false, clientAddress: 0, yourAddress: 0, nextServer: 0, relay: 0, clientMac: holder.mac, options });
      holder.say(ipv4Frame(holder.mac, broadcastMac, { source: 0, destination: 0xffff_ffff, protocol: IpProtocol.udp }, udpPayload(0, 0xffff_ffff, 68, 67, bytes.subarray(0, end))));
    };
    lease(DhcpType.discover);
    const [offer] = holder.hear();
    expect(offer?.ethernet.destination).toBe(holder.mac);
    expect(offer?.udp).toMatchObject({ sourcePort: 67, destinationPort: 68 });
    expect(readDhcp(offer?.udp?.payload ?? payload, 0, offer?.udp?.payload.length ?? 0)).toMatchObject({ type: DhcpType.offer, yourAddress: ip("10.9.0.100"), options: { routers: [gateway.address], dnsServers: [nameServer.address], domain: "lab" } });
    thief.say(arpRequest({ mac: thief.mac, address: ip("10.9.0.100") }, gateway.address));
    expect(test.network.addressOf(thief.mac)).toBe(ip("10.9.0.100"));
    lease(DhcpType.request);
    expect(test.network.leases()).toMatchObject([{ mac: holder.mac, address: ip("10.9.0.100") }]);
    expect(test.saved.get(natSpec.id)).toHaveLength(1);
    holder.say(arpRequest({ mac: holder.mac, address: ip("10.9.0.100") }, gateway.address));
    thief.say(arpRequest({ mac: thief.mac, address: ip("10.9.0.100") }, gateway.address));
    expect(test.network.addressOf(holder.mac)).toBe(ip("10.9.0.100"));
    expect(test.network.addressOf(thief.mac)).toBeUndefined();
  });

  it("says to all whose address the gateway's is when a guest says it is its own, once in ten seconds", () => {
    test = new TestNetwork();
    const liar = test.guest(16);
    const other = test.guest(15);
    const claim = arpFrame(liar.mac, broadcastMac, { operation: 1, senderMac: liar.mac, senderAddress: gateway.address, targetMac: 0, targetAddress: gateway.address });
    liar.say(claim, claim);
    liar.say(claim);
    const defences = (): unknown[] => other.plug.take().filter((frame) => frame[6] === 0x52 && frame[7] === 0x55);
    expect(defences()).toHaveLength(1);
    test.reactor.advance(10_000);
    liar.say(claim);
    expect(defences()).toHaveLength(1);
  });

  it("asks for a guest whose station it does not know, and sends what waited when it answers", async () => {
    test = new TestNetwork(natSpec, [savedLease]);
    const guest = test.guest(100);
    test.network.applyForwards([forwardTo(guest.mac)]);
    await test.settle();
    for (let number = 0; number < 10; number++) test.host.udp[0]?.deliver(Uint8Array.of(number), ip("127.0.0.1"), 6000);
    test.reactor.endTurn();
    const [question, ...more] = guest.plug.take();
    expect(more).toEqual([]);
    expect(question).toEqual(arpRequest(gateway, guest.address));
    guest.say(arpFrame(guest.mac, gatewayMac, { operation: 2, senderMac: guest.mac, senderAddress: guest.address, targetMac: gatewayMac, targetAddress: gateway.address }));
    // The eight that came last.
    expect(guest.hear().map((frame) => frame.udp?.payload[0])).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("asks three times, a second apart, and then lets go of what waited", async () => {
    test = new TestNetwork(natSpec, [savedLease]);
    const guest = test.guest(100);
    test.network.applyForwards([forwardTo(guest.mac)]);
    await test.settle();
    test.host.udp[0]?.deliver(payload, ip("127.0.0.1"), 6000);
    test.reactor.endTurn();
    expect(guest.plug.take()).toHaveLength(1);
    test.reactor.advance(1999);
    expect(guest.plug.take()).toHaveLength(1);
    test.reactor.advance(60_000);
    expect(guest.plug.take()).toHaveLength(1);
    guest.greet();
    guest.say(echoFrame(guest, gateway, 1, 1, payload));
    expect(guest.hear().map((frame) => frame.udp)).toEqual([undefined]);
  });

  it("puts fragments together before they go on", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const big = Uint8Array.from({ length: 3000 }, (_, index) => index);
    const whole = udpPayload(guest.address, ip("198.51.100.7"), 4000, 7, big);
    const piece = (from: number, to: number, more: boolean): Uint8Array =>
      ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: ip("198.51.100.7"), protocol: IpProtocol.udp, identification: 5, moreFragments: more, fragmentOffset: from }, whole.slice(from, to));
    guest.say(piece(1480, 2960, true), piece(2960, 3008, false), piece(0, 1480, true));
    await test.settle();
    expect(test.host.udp[0]?.sent).toEqual([{ bytes: big, address: ip("198.51.100.7"), port: 7, ttl: 63 }]);
  });

  it("cuts what is longer than the MTU into fragments that guests can put together", async () => {
    test = new TestNetwork({ ...natSpec, mtu: 1499 });
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, outside("198.51.100.7"), 7, payload));
    await test.settle();
    const big = Uint8Array.from({ length: 4000 }, (_, index) => index * 7);
    test.host.udp[0]?.deliver(big, ip("198.51.100.7"), 7);
    test.reactor.endTurn();
    const frames = guest.plug.take();
    expect(frames.every((frame) => frame.length <= 1513)).toBe(true);
    const whole = new Uint8Array(4008);
    for (const frame of frames) whole.set(frame.subarray(34), ((((frame[20] ?? 0) & 0x1f) << 8) | (frame[21] ?? 0)) * 8);
    expect(whole.slice(8)).toEqual(big);
    expect(frames.map((frame) => ((frame[20] ?? 0) & 0x20) !== 0)).toEqual([true, true, false]);
    expect(new Set(frames.map((frame) => `${frame[18]} ${frame[19]}`)).size).toBe(1);
  });
});
