import { afterEach, describe, expect, it } from "vitest";
import { maxFlowsOfGuest } from "../../../core/net/nat/udp";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { echoFrame, icmpPayload, ip, ipv4Frame, udpFrame, type Station } from "../../support/net/frames";
import { gateway, natSpec, outside, subnet, TestNetwork } from "../../support/net/testNetwork";

let test: TestNetwork;
afterEach(() => test.network.dispose());

const payload = Uint8Array.of(1, 2, 3);
const server = outside("198.51.100.7");
const other = outside("203.0.113.9");

/** A guest does not take this frame's packet. */
function refusalFrame(from: Station, to: Station, frame: Uint8Array, code = 3): Uint8Array {
  return ipv4Frame(from.mac, to.mac, { source: from.address, destination: to.address, protocol: IpProtocol.icmp }, icmpPayload(3, code, 0, frame.slice(14)));
}

describe("UDP through the gateway", () => {
  it("sends a guest's datagrams from one socket, whoever they go to, and each of its ports from another", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 7, payload), udpFrame(guest, 4000, other, 8, payload), udpFrame(guest, 4001, server, 7, payload));
    await test.settle();
    expect(test.host.udp.map((socket) => socket.sent.map(({ address, port }) => ({ address, port })))).toEqual([
      [
        { address: server.address, port: 7 },
        { address: other.address, port: 8 },
      ],
      [{ address: server.address, port: 7 }],
    ]);
  });

  it("brings answers back, from other ports of the same host too, and nothing from strangers", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 7, payload));
    await test.settle();
    const [socket] = test.host.udp;
    socket?.deliver(Uint8Array.of(9), server.address, 7);
    socket?.deliver(Uint8Array.of(8), server.address, 99);
    socket?.deliver(Uint8Array.of(7), other.address, 7);
    expect(guest.hear().map((frame) => [frame.ipv4?.source, frame.udp])).toMatchObject([
      [server.address, { sourcePort: 7, destinationPort: 4000, payload: Uint8Array.of(9) }],
      [server.address, { sourcePort: 99, destinationPort: 4000, payload: Uint8Array.of(8) }],
    ]);
  });

  it("keeps an unanswered flow for 30 s, a conversation for 180 s, a name server's answer for 10 s, and closes the socket with the last", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 1, server, 7, payload), udpFrame(guest, 2, server, 7, payload), udpFrame(guest, 3, server, 53, payload));
    await test.settle();
    test.host.udp[1]?.deliver(payload, server.address, 7);
    test.host.udp[2]?.deliver(payload, server.address, 53);
    const open = (): boolean[] => test.host.udp.map((socket) => !socket.disposed);
    test.reactor.advance(9_000);
    expect(open()).toEqual([true, true, true]);
    test.reactor.advance(3_000);
    expect(open()).toEqual([true, true, false]);
    test.reactor.advance(17_000);
    expect(open()).toEqual([true, true, false]);
    test.reactor.advance(4_000);
    expect(open()).toEqual([false, true, false]);
    guest.say(udpFrame(guest, 2, server, 7, payload));
    test.reactor.advance(179_000);
    expect(open()).toEqual([false, true, false]);
    test.reactor.advance(4_000);
    expect(open()).toEqual([false, false, false]);
    expect(test.network.flows()).toEqual([]);
  });

  it("tells a guest what the host hears of its datagrams, quoting them", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const sent = udpFrame(guest, 4000, server, 7, payload);
    guest.say(sent);
    await test.settle();
    const [socket] = test.host.udp;
    socket?.handler.failed("refused", server.address, 7);
    socket?.handler.failed("unreachable-host", server.address, 7);
    socket?.handler.failed("refused", other.address, 7);
    const errors = guest.hear();
    expect(errors.map((frame) => [frame.ipv4?.source, frame.icmp?.type, frame.icmp?.code])).toEqual([
      [server.address, 3, 3],
      [gateway.address, 3, 1],
    ]);
    const quoted = errors[0]?.icmp?.payload;
    // Addresses and ports, by which the guest finds its socket; and the length.
    expect(quoted?.slice(12, 26)).toEqual(sent.slice(26, 40));
    expect(quoted?.length).toBe(28);
  });

  it("sends datagrams on with the TTL one less, also those that waited for a socket", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 33_434, payload, 2));
    await test.settle();
    guest.say(udpFrame(guest, 4000, server, 33_435, payload, 3), udpFrame(guest, 4000, server, 7, payload));
    expect(test.host.udp[0]?.sent.map(({ port, ttl }) => [port, ttl])).toEqual([
      [33_434, 1],
      [33_435, 2],
      [7, 63],
    ]);
  });

  it("tells a guest of a router on the way, so that traceroute works, and of no error that it has no use for", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const sent = udpFrame(guest, 4000, server, 33_434, payload, 3);
    guest.say(sent);
    await test.settle();
    const [socket] = test.host.udp;
    const router = ip("192.0.2.254");
    socket?.handler.failed("unreachable-host", server.address, 33_434, { from: router, type: 11, code: 0 });
    socket?.handler.failed("unreachable-host", server.address, 33_434, { from: router, type: 3, code: 10 });
    socket?.handler.failed("refused", server.address, 33_434, { from: server.address, type: 3, code: 3 });
    // Too long, wrong parameters, and a flow that is not there.
    socket?.handler.failed("unreachable-host", server.address, 33_434, { from: router, type: 3, code: 4 });
    socket?.handler.failed("unreachable-host", server.address, 33_434, { from: router, type: 12, code: 0 });
    socket?.handler.failed("unreachable-host", other.address, 33_434, { from: router, type: 11, code: 0 });
    const errors = guest.hear();
    expect(errors.map((frame) => [frame.ipv4?.source, frame.icmp?.type, frame.icmp?.code])).toEqual([
      [router, 11, 0],
      [router, 3, 10],
      [server.address, 3, 3],
    ]);
    for (const error of errors) expect(error.icmp?.payload.slice(12, 26)).toEqual(sent.slice(26, 40));
  });

  it("lets an error come from the gateway that came from where a guest can see nobody", async () => {
    test = new TestNetwork({ ...natSpec, nat: { hostLoopback: true, hostNetworks: true } });
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, gateway, 7, payload, 1), udpFrame(guest, 4000, server, 8, payload));
    await test.settle();
    const [socket] = test.host.udp;
    expect(socket?.sent[0]).toMatchObject({ address: ip("127.0.0.1"), ttl: 1 });
    socket?.handler.failed("refused", ip("127.0.0.1"), 7, { from: ip("127.0.0.1"), type: 3, code: 3 });
    for (const nobody of ["127.0.0.5", "224.0.0.1", "255.255.255.255", "0.0.0.0"]) socket?.handler.failed("unreachable-host", server.address, 8, { from: ip(nobody), type: 3, code: 1 });
    expect(guest.hear().map((frame) => frame.ipv4?.source)).toEqual(Array.from({ length: 5 }, () => gateway.address));
  });

  it("sends nothing to the host's loopback unless that is allowed, and then it is at the gateway's address", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, gateway, 7, payload));
    await test.settle();
    expect(guest.hear().map((frame) => [frame.icmp?.type, frame.icmp?.code])).toEqual([[3, 13]]);
    expect(test.host.udp).toEqual([]);
    test.network.update({ ...natSpec, nat: { hostLoopback: true, hostNetworks: true } });
    guest.say(udpFrame(guest, 4000, gateway, 7, payload));
    await test.settle();
    expect(test.host.udp[0]?.sent[0]).toMatchObject({ address: ip("127.0.0.1"), port: 7 });
    test.host.udp[0]?.deliver(payload, ip("127.0.0.1"), 7);
    expect(guest.hear()[0]?.ipv4?.source).toBe(gateway.address);
    test.network.update(natSpec);
    expect(test.host.openUdp).toEqual([]);
  });

  it("refuses what no router passes on, other segments, and closed networks of the host", async () => {
    test = new TestNetwork({ ...natSpec, nat: { hostLoopback: true, hostNetworks: false } });
    test.otherSegments = [subnet("192.168.56.0/24")];
    test.hostNetworks = [subnet("192.168.1.0/24")];
    const guest = test.guest(15);
    guest.greet();
    const closed = ["0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.251", "240.0.0.1", "192.168.56.1", "192.168.1.10", "10.9.0.99"];
    for (const address of closed) guest.say(udpFrame(guest, 4000, outside(address), 7, payload));
    await test.settle();
    expect(test.host.udp).toEqual([]);
    // Of groups nobody is told.
    expect(guest.hear().map((frame) => frame.icmp?.code)).toEqual(closed.filter((address) => address !== "224.0.0.251").map(() => 13));
    test.hostNetworks = [];
    guest.say(udpFrame(guest, 4000, outside("192.168.1.10"), 7, payload));
    await test.settle();
    expect(test.host.udp).toHaveLength(1);
  });

  it("keeps so many flows of a guest and no more, the oldest go, and another guest's stay", async () => {
    test = new TestNetwork();
    const quiet = test.guest(14);
    const loud = test.guest(15);
    quiet.say(udpFrame(quiet, 4000, server, 7, payload));
    await test.settle();
    for (let port = 1; port <= 5000; port++) loud.plug.say(udpFrame(loud, port, server, 7, payload));
    await test.settle();
    expect(test.network.flows()).toHaveLength(maxFlowsOfGuest + 1);
    expect(test.host.openUdp).toHaveLength(maxFlowsOfGuest + 1);
    expect(test.host.udp[0]?.disposed).toBe(false);
    expect(test.network.flows().some((flow) => flow.guestPort === 5000)).toBe(true);
  });

  it("ends a flow, and closes the socket with the last, when the guest says that nobody takes the answers", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 7, payload), udpFrame(guest, 4000, server, 8, payload));
    await test.settle();
    const refuse = (remotePort: number): void => guest.say(refusalFrame(guest, server, udpFrame(server, remotePort, guest, 4000, payload)));
    refuse(7);
    expect(test.network.flows()).toMatchObject([{ remotePort: 8 }]);
    expect(test.host.udp[0]?.disposed).toBe(false);
    refuse(8);
    expect(test.network.flows()).toEqual([]);
    expect(test.host.udp[0]?.disposed).toBe(true);
    expect(guest.hear()).toEqual([]);
  });

  it("believes no guest about another's flows, no router about a whole host, and nothing that is damaged", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const liar = test.guest(16);
    guest.say(udpFrame(guest, 4000, server, 7, payload));
    await test.settle();
    const answer = udpFrame(server, 7, guest, 4000, payload);
    liar.say(refusalFrame(liar, server, answer));
    // About what went to another, whose ports are the same.
    guest.say(refusalFrame(guest, server, udpFrame(server, 7, liar, 4000, payload)));
    guest.say(refusalFrame(guest, other, answer), refusalFrame(guest, server, answer, 1), refusalFrame(guest, server, udpFrame(server, 7, guest, 4001, payload)));
    const damaged = refusalFrame(guest, server, answer);
    damaged[damaged.length - 1] = 77;
    guest.say(damaged, refusalFrame(guest, server, answer.slice(0, 14 + 27)), refusalFrame(guest, server, answer.slice(0, 14)));
    const optionsTooLong = answer.slice();
    optionsTooLong[14] = 0x4f;
    guest.say(refusalFrame(guest, server, optionsTooLong));
    expect(test.network.flows()).toHaveLength(1);
  });

  it("lets flows go on when a guest's cable is pulled and put in again, and ends them half a minute after it was pulled", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const stays = test.guest(14);
    for (const one of [guest, stays]) one.say(udpFrame(one, 4000, server, 7, payload));
    guest.say(echoFrame(guest, server, 7, 1, payload));
    await test.settle();
    for (const socket of test.host.udp) socket.deliver(payload, server.address, 7);
    const { length } = test.network.flows();
    expect(length).toBe(3);
    guest.unplug();
    guest.plugIn();
    test.reactor.advance(30_000);
    guest.say(udpFrame(guest, 4000, server, 7, payload));
    expect(test.network.flows()).toHaveLength(length);
    guest.unplug();
    test.reactor.advance(29_999);
    expect(test.network.flows()).toHaveLength(length);
    test.reactor.advance(1);
    expect(test.network.flows()).toMatchObject([{ guestAddress: stays.address }]);
  });

  it("ends a guest's flows at once when another takes the address of one that was unplugged", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 7, payload));
    await test.settle();
    guest.unplug();
    const heir = test.guest(16);
    heir.say(udpFrame({ mac: heir.mac, address: guest.address }, 4000, server, 7, payload));
    await test.settle();
    expect(test.host.udp.map((socket) => socket.disposed)).toEqual([true, false]);
  });

  it("shows flows and cuts one of them", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 4000, server, 7, payload), udpFrame(guest, 4001, server, 7, payload));
    await test.settle();
    test.host.udp[0]?.deliver(Uint8Array.of(1, 2, 3, 4, 5), server.address, 7);
    const [first, second] = test.network.flows();
    expect(first).toMatchObject({ protocol: "udp", direction: "out", guestAddress: guest.address, guestPort: 4000, remoteAddress: server.address, remotePort: 7, state: "open", sentBytes: 3, receivedBytes: 5 });
    expect(test.network.cutFlow(first?.id ?? 0)).toBe(true);
    expect(test.network.cutFlow(first?.id ?? 0)).toBe(false);
    expect(test.network.flows()).toEqual([second]);
    expect(test.host.udp.map((socket) => socket.disposed)).toEqual([true, false]);
  });

  it("holds what a guest sends before the host has a socket, so much and no more, and ends the flow when there is none", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    for (let number = 0; number < 40; number++) guest.plug.say(udpFrame(guest, 4000, server, 7, Uint8Array.of(number)));
    await test.settle();
    expect(test.host.udp[0]?.sent.map(({ bytes }) => bytes[0])).toEqual(Array.from({ length: 16 }, (_, number) => number));
    test.host.noSockets = true;
    guest.say(udpFrame(guest, 4001, server, 7, payload));
    expect(test.network.flows()).toHaveLength(2);
    await test.settle();
    expect(test.network.flows()).toHaveLength(1);
  });

  it("does not pass on datagrams with a wrong checksum or port 0", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const wrong = udpFrame(guest, 4000, server, 7, payload);
    wrong[wrong.length - 1] = 77;
    guest.say(wrong, udpFrame(guest, 0, server, 7, payload), udpFrame(guest, 4000, server, 0, payload));
    await test.settle();
    expect(test.host.udp).toEqual([]);
  });
});
