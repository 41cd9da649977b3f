import { afterEach, describe, expect, it } from "vitest";
import { maxPings } from "../../../core/net/nat/icmp";
import { ip, echoFrame, readFrame } from "../../support/net/frames";
import { gateway, outside, TestNetwork } from "../../support/net/testNetwork";

let test: TestNetwork;
afterEach(() => test.network.dispose());

const payload = Uint8Array.of(1, 2, 3, 4);
const far = outside("198.51.100.7");

describe("pings through the gateway", () => {
  it("go out with the TTL one less and come back to the ping they belong to", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(echoFrame(guest, far, 7, 1, payload, 9), echoFrame(guest, far, 8, 1, payload));
    expect(test.host.pings.map((ping) => ping.sent)).toEqual([[{ bytes: payload, address: far.address, sequence: 1, ttl: 8 }], [{ bytes: payload, address: far.address, sequence: 1, ttl: 63 }]]);
    test.host.pings[1]?.handler.reply(payload, 0, payload.length, far.address, 1);
    const [answer] = guest.hear();
    expect(answer?.ipv4).toMatchObject({ source: far.address, destination: guest.address });
    expect(answer?.icmp).toMatchObject({ type: 0, rest: 0x0008_0001, payload });
  });

  it("tell of a router on the way, so that traceroute works, with the guest's own packet quoted", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    const sent = echoFrame(guest, far, 7, 5, payload, 3);
    guest.say(sent);
    test.host.pings[0]?.handler.failed(ip("192.0.2.254"), 11, 0, far.address, 5);
    const [error] = guest.hear();
    expect(error?.ipv4?.source).toBe(ip("192.0.2.254"));
    expect(error?.icmp).toMatchObject({ type: 11, code: 0 });
    const quoted = error?.icmp?.payload ?? new Uint8Array();
    expect(quoted.slice(12, 22)).toEqual(sent.slice(26, 36));
    expect(quoted.slice(24, 28)).toEqual(sent.slice(38, 42));
  });

  it("that the host does not allow are told to be prohibited once, counted, and the network says why", () => {
    test = new TestNetwork();
    test.host.noPing = "the host's user may not";
    const guest = test.guest(15);
    guest.say(echoFrame(guest, far, 7, 1, payload), echoFrame(guest, far, 7, 2, payload));
    expect(guest.hear().map((frame) => [frame.icmp?.type, frame.icmp?.code])).toEqual([[3, 13]]);
    expect(test.network.problem).toMatchObject({ code: "unavailable", message: "Guests cannot ping the outside: the host's user may not." });
    expect(test.changes).toBe(1);
    guest.say(echoFrame(guest, gateway, 7, 3, payload));
    expect(guest.hear().map((frame) => frame.icmp?.type)).toEqual([0]);
    test.host.noPing = undefined;
    guest.say(echoFrame(guest, far, 9, 1, payload));
    expect(test.network.problem).toBeUndefined();
    expect(test.changes).toBe(2);
  });

  it("are bounded, and end a minute after the last echo", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    for (let identifier = 0; identifier < 1000; identifier++) guest.plug.say(echoFrame(guest, far, identifier, 1, payload));
    expect(test.host.openPings).toHaveLength(maxPings);
    expect(test.network.flows()).toHaveLength(maxPings);
    test.reactor.advance(66_000);
    expect(test.host.openPings).toEqual([]);
  });

  it("can be cut", () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    guest.say(echoFrame(guest, far, 7, 1, payload));
    const [flow] = test.network.flows();
    expect(flow).toMatchObject({ protocol: "icmp", guestPort: 7, remoteAddress: far.address });
    expect(test.network.cutFlow(flow?.id ?? 0)).toBe(true);
    expect(test.host.openPings).toEqual([]);
    expect(guest.plug.take().map(readFrame)).toEqual([]);
  });
});
