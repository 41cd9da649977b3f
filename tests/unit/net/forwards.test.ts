import { afterEach, describe, expect, it } from "vitest";
import type { ForwardSpec } from "../../../core/net/control";
import { formatMac } from "../../../core/net/wire/addresses";
import { readTcp, TcpFlag, writeTcp } from "../../../core/net/wire/tcp";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { icmpPayload, ip, ipv4Frame, udpFrame, type ReadFrame } from "../../support/net/frames";
import { gateway, gatewayMac, natSpec, outside, TestNetwork, type TestGuest } from "../../support/net/testNetwork";

let test: TestNetwork;
afterEach(() => test.network.dispose());

const payload = Uint8Array.of(1, 2, 3);
const local = { address: ip("127.0.0.1"), port: 6000 };
const remote = { address: ip("192.168.1.50"), port: 6000 };

function forward(guest: TestGuest, change: Partial<ForwardSpec["forward"]> = {}, target: ForwardSpec["target"] = "running"): ForwardSpec {
  return { id: "f", segment: natSpec.id, mac: formatMac(guest.mac), machine: "web", target, forward: { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 8080, guestPort: 80, ...change } };
}

/** A network with a guest whose address is known, and this forward to it. */
async function build(change: Partial<ForwardSpec["forward"]> = {}, target: ForwardSpec["target"] = "running"): Promise<TestGuest> {
  test = new TestNetwork();
  const guest = test.guest(15);
  guest.greet();
  test.network.applyForwards([forward(guest, change, target)]);
  await test.settle();
  return guest;
}

function synsOf(frames: readonly Uint8Array[]): { readonly from: number; readonly fromPort: number; readonly toPort: number; readonly sequence: number }[] {
  return frames.flatMap((frame) => {
    const segment = frame[23] === IpProtocol.tcp ? readTcp(frame, 34, frame.length) : undefined;
    return segment?.flags === TcpFlag.syn ? [{ from: new DataView(frame.buffer).getUint32(26), fromPort: segment.sourcePort, toPort: segment.destinationPort, sequence: segment.sequence }] : [];
  });
}

/** The guest takes the connection. */
function acceptAs(guest: TestGuest, syn: ReturnType<typeof synsOf>[number]): void {
  const segment = new Uint8Array(20);
  writeTcp(segment, 0, 20, guest.address, syn.from, { sourcePort: syn.toPort, destinationPort: syn.fromPort, sequence: 1000, acknowledgment: syn.sequence + 1, flags: TcpFlag.syn | TcpFlag.ack, window: 60_000 });
  guest.say(ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: syn.from, protocol: IpProtocol.tcp }, segment));
}

/** The guest has so many bytes. */
function acknowledgeAs(guest: TestGuest, syn: ReturnType<typeof synsOf>[number], bytes: number): void {
  const segment = new Uint8Array(20);
  writeTcp(segment, 0, 20, guest.address, syn.from, { sourcePort: syn.toPort, destinationPort: syn.fromPort, sequence: 1001, acknowledgment: syn.sequence + 1 + bytes, flags: TcpFlag.ack, window: 60_000 });
  guest.say(ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: syn.from, protocol: IpProtocol.tcp }, segment));
}

describe("a TCP forward", () => {
  it("connects to the guest, which sees a peer on the host at the gateway and another where it is", async () => {
    const guest = await build();
    test.host.knock("127.0.0.1:8080", local);
    test.host.knock("127.0.0.1:8080", remote);
    test.reactor.endTurn();
    expect(synsOf(guest.plug.take())).toMatchObject([
      { from: gateway.address, toPort: 80 },
      { from: remote.address, fromPort: 6000, toPort: 80 },
    ]);
    expect(test.network.flows().map((flow) => flow.direction)).toEqual(["in", "in"]);
  });

  it("listens on each port of a range, and leads to the port as far into the guest's", async () => {
    const guest = await build({ count: 3 });
    expect([...test.host.listeners.keys()]).toEqual(["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"]);
    test.host.knock("127.0.0.1:8082", local);
    test.reactor.endTurn();
    expect(synsOf(guest.plug.take())).toMatchObject([{ toPort: 82 }]);
  });

  it("resets connections to a machine that is off, and tells of it, once a second", async () => {
    await build({}, "off");
    expect(test.host.knock("127.0.0.1:8080", local)).toBeUndefined();
    expect(test.host.knock("127.0.0.1:8080", local)).toBeUndefined();
    expect(test.refusals).toEqual(["f off"]);
    test.reactor.advance(1000);
    test.host.knock("127.0.0.1:8080", local);
    expect(test.refusals).toEqual(["f off", "f off"]);
  });

  it("resets connections to an adapter whose address nobody knows, and tells of it", async () => {
    test = new TestNetwork();
    test.network.applyForwards([forward(test.guest(15))]);
    await test.settle();
    expect(test.host.knock("127.0.0.1:8080", local)).toBeUndefined();
    expect(test.refusals).toEqual(["f no-address"]);
  });

  it("waits five seconds for a paused machine, then resets and tells of it", async () => {
    await build({}, "paused");
    const knock = test.host.knock("127.0.0.1:8080", local);
    test.reactor.advance(4999);
    expect(knock?.socket.state).toBe("open");
    expect(test.refusals).toEqual([]);
    test.reactor.advance(1);
    expect(knock?.socket.state).toBe("reset");
    expect(test.refusals).toEqual(["f paused"]);
  });

  it("connects what waited when the machine goes on, without listening anew", async () => {
    const guest = await build({}, "paused");
    const listener = test.host.listeners.get("127.0.0.1:8080");
    const knock = test.host.knock("127.0.0.1:8080", local);
    test.reactor.advance(3000);
    test.network.applyForwards([forward(guest)]);
    test.reactor.endTurn();
    expect(synsOf(guest.plug.take())).toHaveLength(1);
    expect(test.host.listeners.get("127.0.0.1:8080")).toBe(listener);
    expect(knock?.socket.state).toBe("open");
    expect(test.refusals).toEqual([]);
  });

  it("resets what waited when the machine is turned off", async () => {
    const guest = await build({}, "paused");
    const knock = test.host.knock("127.0.0.1:8080", local);
    test.network.applyForwards([forward(guest, {}, "off")]);
    expect(knock?.socket.state).toBe("reset");
    expect(test.refusals).toEqual(["f off"]);
  });

  it("ends its connections on both sides when it is taken away, and closes its port", async () => {
    const guest = await build();
    const knock = test.host.knock("127.0.0.1:8080", remote);
    test.reactor.endTurn();
    const [syn] = synsOf(guest.plug.take());
    acceptAs(guest, syn as NonNullable<typeof syn>);
    guest.plug.take();
    expect(test.network.flows()).toMatchObject([{ state: "established" }]);
    test.network.applyForwards([]);
    test.reactor.endTurn();
    expect(knock?.socket.state).toBe("reset");
    expect(guest.plug.take().map((frame) => (frame[47] ?? 0) & TcpFlag.rst)).toEqual([TcpFlag.rst]);
    expect(test.network.flows()).toEqual([]);
    expect(test.host.listeners.size).toBe(0);
  });

  it("says who holds its port, tries again, and says when it has it", async () => {
    test = new TestNetwork();
    const guest = test.guest(15);
    test.host.taken.add("127.0.0.1:8081");
    test.network.applyForwards([forward(guest, { count: 2 })]);
    await test.settle();
    expect(test.network.forwardProblem("f")).toMatchObject({ code: "locked", message: "127.0.0.1:8081 is held by another program." });
    expect(test.changes).toBe(1);
    test.reactor.advance(10_000);
    await test.settle();
    expect(test.changes).toBe(1);
    test.host.taken.clear();
    test.reactor.advance(10_000);
    await test.settle();
    expect(test.network.forwardProblem("f")).toBeUndefined();
    expect(test.changes).toBe(2);
    expect(test.host.listeners.size).toBe(2);
  });

  it("is told at once when the guest says by ICMP that it takes no connections there, and by nobody else", async () => {
    const guest = await build();
    const liar = test.guest(16);
    const knock = test.host.knock("127.0.0.1:8080", remote);
    test.reactor.endTurn();
    const [syn] = guest.plug.take().filter((frame) => frame[23] === IpProtocol.tcp);
    const refusal = (from: TestGuest, code: number): Uint8Array => ipv4Frame(from.mac, gatewayMac, { source: from.address, destination: remote.address, protocol: IpProtocol.icmp }, icmpPayload(3, code, 0, (syn ?? new Uint8Array()).slice(14, 14 + 28)));
    liar.say(refusal(liar, 3));
    guest.say(refusal(guest, 1));
    expect(knock?.socket.state).toBe("open");
    guest.say(refusal(guest, 10));
    expect(knock?.socket.state).toBe("reset");
    expect(test.network.flows()).toEqual([]);
  });

  it("ends its connections half a minute after the guest's cable was pulled", async () => {
    const guest = await build();
    const knock = test.host.knock("127.0.0.1:8080", remote);
    test.reactor.endTurn();
    const [syn] = synsOf(guest.plug.take());
    acceptAs(guest, syn as NonNullable<typeof syn>);
    guest.unplug();
    test.reactor.advance(29_999);
    expect(knock?.socket.state).toBe("open");
    test.reactor.advance(1);
    expect(knock?.socket.state).toBe("reset");
  });

  it("sends one segment a turn while the guest's port is full, and the rest when it takes more", async () => {
    const guest = await build();
    const bystander = test.guest(16);
    bystander.greet();
    const knock = test.host.knock("127.0.0.1:8080", remote);
    test.reactor.endTurn();
    const [syn] = synsOf(guest.plug.take());
    if (syn === undefined) throw new Error("the guest was not called");
    acceptAs(guest, syn);
    guest.plug.take();
    knock?.socket.inbox.push(...new Uint8Array(5000));
    // Whose port is full matters, not that there is one.
    bystander.plug.writable = false;
    guest.plug.writable = false;
    const lengths = (): number[] => guest.plug.take().map((frame) => frame.length - 54);
    knock?.handler.readable();
    test.reactor.endTurn();
    const [first = 0, ...others] = lengths();
    expect(first).toBe(536);
    expect(others).toEqual([]);
    acknowledgeAs(guest, syn, first);
    expect(lengths()).toEqual([536]);
    guest.plug.writable = true;
    acknowledgeAs(guest, syn, 2 * first);
    expect(lengths().length).toBeGreaterThan(3);
  });

  it("gives its port to another forward at once", async () => {
    const guest = await build();
    test.network.applyForwards([{ ...forward(guest, { guestPort: 443 }), id: "g" }]);
    await test.settle();
    expect(test.network.forwardProblem("g")).toBeUndefined();
    test.host.knock("127.0.0.1:8080", local);
    test.reactor.endTurn();
    expect(synsOf(guest.plug.take())).toMatchObject([{ toPort: 443 }]);
  });
});

describe("a UDP forward", () => {
  const answersOf = (frames: readonly ReadFrame[]): unknown[] => frames.map((frame) => [frame.ipv4?.source, frame.udp?.sourcePort, frame.udp?.destinationPort]);

  it("brings datagrams to the guest and its answers back to each peer", async () => {
    const guest = await build({ protocol: "udp" });
    const [socket] = test.host.udp;
    expect(socket).toMatchObject({ address: ip("127.0.0.1"), port: 8080 });
    socket?.deliver(payload, local.address, local.port);
    socket?.deliver(payload, remote.address, remote.port);
    expect(answersOf(guest.hear())).toEqual([
      [gateway.address, 6000, 80],
      [remote.address, 6000, 80],
    ]);
    guest.say(udpFrame(guest, 80, gateway, 6000, Uint8Array.of(7)), udpFrame(guest, 80, outside("192.168.1.50"), 6000, Uint8Array.of(8)));
    expect(socket?.sent).toEqual([
      { bytes: Uint8Array.of(7), ...local },
      { bytes: Uint8Array.of(8), ...remote },
    ]);
    expect(test.host.udp).toHaveLength(1);
  });

  it("tells peers apart whose addresses the guest sees as one", async () => {
    const guest = await build({ protocol: "udp", hostAddress: "0.0.0.0" });
    const [socket] = test.host.udp;
    const twin = { address: ip("127.0.0.2"), port: 6000 };
    socket?.deliver(payload, local.address, local.port);
    socket?.deliver(payload, twin.address, twin.port);
    const seen = guest.hear().map((frame) => frame.udp?.sourcePort ?? 0);
    expect(new Set(seen).size).toBe(2);
    for (const port of seen) guest.say(udpFrame(guest, 80, gateway, port, payload));
    expect(socket?.sent.map(({ address, port }) => ({ address, port }))).toEqual([local, twin]);
  });

  it("tells of datagrams to a machine that is off, and drops them", async () => {
    const guest = await build({ protocol: "udp" }, "off");
    test.host.udp[0]?.deliver(payload, local.address, local.port);
    expect(guest.hear()).toEqual([]);
    expect(test.refusals).toEqual(["f off"]);
  });

  it("holds the first datagrams to a paused machine for five seconds, and brings them in order when it goes on", async () => {
    const guest = await build({ protocol: "udp" }, "paused");
    const [socket] = test.host.udp;
    for (let number = 0; number < 20; number++) socket?.deliver(Uint8Array.of(number), remote.address, remote.port);
    expect(test.refusals).toEqual(["f paused"]);
    test.reactor.advance(4999);
    expect(guest.hear()).toEqual([]);
    test.network.applyForwards([forward(guest, { protocol: "udp" })]);
    expect(guest.hear().map((frame) => frame.udp?.payload[0])).toEqual(Array.from({ length: 16 }, (_, number) => number));
    test.reactor.advance(60_000);
    expect(test.refusals).toEqual(["f paused"]);
    // The room is there again.
    test.network.applyForwards([forward(guest, { protocol: "udp" }, "paused")]);
    socket?.deliver(payload, remote.address, remote.port);
    test.network.applyForwards([forward(guest, { protocol: "udp" })]);
    expect(guest.hear()).toHaveLength(1);
  });

  it("holds no more than 64 KB", async () => {
    const guest = await build({ protocol: "udp" }, "paused");
    for (let number = 0; number < 3; number++) test.host.udp[0]?.deliver(new Uint8Array(30_000).fill(number), remote.address, remote.port);
    test.network.applyForwards([forward(guest, { protocol: "udp" })]);
    test.reactor.endTurn();
    expect(guest.plug.take().filter((frame) => ((frame[20] ?? 0) & 0x1f) === 0 && frame[21] === 0).map((frame) => frame[42])).toEqual([0, 1]);
  });

  it("drops what waited five seconds for a paused machine, or until it was turned off, and tells of it", async () => {
    const guest = await build({ protocol: "udp" }, "paused");
    test.host.udp[0]?.deliver(payload, remote.address, remote.port);
    test.reactor.advance(4999);
    expect(test.refusals).toEqual([]);
    test.reactor.advance(1);
    expect(test.refusals).toEqual(["f paused"]);
    test.host.udp[0]?.deliver(payload, remote.address, remote.port);
    test.network.applyForwards([forward(guest, { protocol: "udp" }, "off")]);
    expect(test.refusals).toEqual(["f paused", "f off"]);
    test.network.applyForwards([forward(guest, { protocol: "udp" })]);
    expect(guest.hear()).toEqual([]);
  });

  it("ends a peer's flow when the guest says that nobody listens", async () => {
    const guest = await build({ protocol: "udp" });
    test.host.udp[0]?.deliver(payload, remote.address, remote.port);
    test.reactor.endTurn();
    const [frame = new Uint8Array()] = guest.plug.take();
    expect(test.network.flows()).toHaveLength(1);
    guest.say(ipv4Frame(guest.mac, gatewayMac, { source: guest.address, destination: remote.address, protocol: IpProtocol.icmp }, icmpPayload(3, 3, 0, frame.slice(14))));
    expect(test.network.flows()).toEqual([]);
    expect(test.host.openUdp).toHaveLength(1);
  });

  it("ends with its flows", async () => {
    await build({ protocol: "udp" });
    test.host.udp[0]?.deliver(payload, local.address, local.port);
    expect(test.network.flows()).toMatchObject([{ direction: "in", remoteAddress: local.address, remotePort: local.port }]);
    test.network.applyForwards([]);
    expect(test.network.flows()).toEqual([]);
    expect(test.host.openUdp).toEqual([]);
  });
});
