import { afterEach, describe, expect, it } from "vitest";
import type { SegmentSpec } from "../../../core/net/control";
import { broadcastMac } from "../../../core/net/wire/addresses";
import { DhcpOperation, DhcpType, readDhcp, writeDhcp } from "../../../core/net/wire/dhcp";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { arpFrame, arpRequest, echoFrame, ip, ipv4Frame, udpFrame, udpPayload } from "../../support/net/frames";
import { Plug } from "../../support/net/plug";
import { gateway, nameServer, natSpec, outside, TestNetwork, type TestGuest } from "../../support/net/testNetwork";

let test: TestNetwork;
afterEach(() => test.network.dispose());

const hostOnly: SegmentSpec = {
  id: "network:host",
  label: "the network host",
  mode: "host-only",
  subnet: "10.9.0.0/24",
  gateway: "10.9.0.1",
  dhcp: { first: "10.9.0.100", last: "10.9.0.254", reservations: [{ mac: "52:54:00:00:00:0f", address: "10.9.0.30" }], leaseSeconds: 600 },
  mtu: 1500,
};

function discover(guest: TestGuest): Uint8Array {
  const bytes = new Uint8Array(600);
  const end = writeDhcp(bytes, 0, bytes.length, { operation: DhcpOperation.request, type: DhcpType.discover, transaction: 9, seconds: 0, broadcast: false, clientAddress: 0, yourAddress: 0, nextServer: 0, relay: 0, clientMac: guest.mac, options: {} });
  return ipv4Frame(guest.mac, broadcastMac, { source: 0, destination: 0xffff_ffff, protocol: IpProtocol.udp }, udpPayload(0, 0xffff_ffff, 68, 67, bytes.subarray(0, end)));
}

function offerTo(guest: TestGuest): ReturnType<typeof readDhcp> {
  guest.say(discover(guest));
  const payload = guest.hear().find((frame) => frame.udp?.destinationPort === 68)?.udp?.payload;
  return payload && readDhcp(payload, 0, payload.length);
}

function question(name: string): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...[...label].map((letter) => letter.charCodeAt(0))]);
  return Uint8Array.from([0, 5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

describe("a network", () => {
  it("of NAT lets its guests reach each other, and answers the names of machines", () => {
    test = new TestNetwork();
    const web = test.guest(15, "Web");
    const client = test.guest(16, "client");
    web.greet();
    client.say(echoFrame(client, web, 1, 1, Uint8Array.of(1)), udpFrame(client, 999, nameServer, 53, question("web.lab")));
    expect(web.hear()).toHaveLength(1);
    const [answer] = client.hear();
    expect(answer?.udp).toMatchObject({ sourcePort: 53, destinationPort: 999 });
    expect([...(answer?.udp?.payload.slice(-4) ?? [])]).toEqual([10, 9, 0, 15]);
  });

  it("that is internal without DHCP is a switch and nothing else", () => {
    test = new TestNetwork({ id: "network:in", label: "the network in", mode: "internal", mtu: 1500, subnet: "10.9.0.0/24" });
    const one = test.guest(15);
    const two = test.guest(16);
    one.say(arpRequest(one, gateway.address), discover(one));
    expect(one.plug.take()).toEqual([]);
    expect(two.plug.take()).toHaveLength(2);
    expect(test.network.forwardProblem("f")).toMatchObject({ code: "unsupported" });
    expect(test.network.counters.frames).toBe(2);
  });

  it("with the host on it gives addresses from an address of its own, no router, and carries nothing further", () => {
    test = new TestNetwork(hostOnly);
    const tap = new Plug();
    test.network.attach(tap);
    const guest = test.guest(15);
    const offer = offerTo(guest);
    expect(offer).toMatchObject({ yourAddress: ip("10.9.0.30"), options: { server: ip("10.9.0.254") } });
    expect(offer?.options.routers).toBeUndefined();
    expect(offer?.options.dnsServers).toBeUndefined();
    // The host's own address is the host's to answer for.
    tap.take();
    guest.say(arpRequest(guest, ip("10.9.0.1")));
    expect(tap.take()).toHaveLength(1);
    expect(guest.hear()).toEqual([]);
    guest.say(udpFrame(guest, 1, { mac: 0x5255_0a09_00fe, address: ip("198.51.100.7") }, 7, Uint8Array.of(1)));
    expect(guest.hear().map((frame) => [frame.icmp?.type, frame.icmp?.code])).toEqual([[3, 13]]);
    expect(test.host.udp).toEqual([]);
  });

  it("that is bridged is a switch between its guests and the card", () => {
    test = new TestNetwork({ id: "card:x", label: "the card x", mode: "bridged", mtu: 1500, card: "x" });
    const card = new Plug();
    test.network.attach(card);
    const guest = test.guest(15);
    guest.say(discover(guest));
    expect(card.take()).toHaveLength(1);
    expect(guest.hear()).toEqual([]);
  });

  it("changes what may be changed while it runs, and cuts what must not be reached any more", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(udpFrame(guest, 1, outside("192.168.1.10"), 7, Uint8Array.of(1)), udpFrame(guest, 2, outside("198.51.100.7"), 7, Uint8Array.of(1)));
    await test.settle();
    test.hostNetworks = [{ base: ip("192.168.1.0"), prefix: 24 }];
    expect(test.network.update({ ...natSpec, nat: { hostLoopback: false, hostNetworks: false } })).toBe(true);
    expect(test.network.flows().map((flow) => flow.remoteAddress)).toEqual([ip("198.51.100.7")]);
    expect(test.network.update({ ...natSpec, dhcp: { ...(natSpec.dhcp as NonNullable<SegmentSpec["dhcp"]>), first: "10.9.0.150" } })).toBe(true);
    expect(offerTo(guest)?.yourAddress).toBe(ip("10.9.0.150"));
  });

  it("says that it must be made anew when it is to have other addresses", () => {
    test = new TestNetwork();
    for (const change of [{ subnet: "10.8.0.0/24" }, { gateway: "10.9.0.1" }, { dns: "10.9.0.4" }, { mtu: 9000 }, { mode: "internal" as const }]) expect(test.network.update({ ...natSpec, ...change })).toBe(false);
    expect(test.network.update({ ...natSpec, label: "another name" })).toBe(true);
  });

  it("remembers leases of before", () => {
    test = new TestNetwork(natSpec, [{ mac: "52:54:00:00:00:0f", address: "10.9.0.177", expiresAt: 3_600_000 }]);
    const guest = test.guest(15);
    expect(test.network.addressOf(guest.mac)).toBe(ip("10.9.0.177"));
    expect(offerTo(guest)?.yourAddress).toBe(ip("10.9.0.177"));
  });

  it("lets an unplugged adapter's address go at once", () => {
    test = new TestNetwork();
    const plug = new Plug();
    const cable = test.network.attach(plug, { id: "a", mac: 0x5254_0000_0063 });
    const address = ip("10.9.0.15");
    plug.say(arpRequest({ mac: 0x5254_0000_0063, address }, gateway.address));
    cable.dispose();
    expect(plug.isConnected).toBe(false);
    const guest = test.guest(15);
    guest.say(arpFrame(guest.mac, broadcastMac, { operation: 1, senderMac: guest.mac, senderAddress: address, targetMac: 0, targetAddress: address }));
    expect(test.network.addressOf(guest.mac)).toBe(address);
  });
});
