import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../../core/base/clock";
import { DhcpServer, SavedLease, sanitizeHostname, type DhcpSettings } from "../../../../core/net/services/dhcp";
import { broadcastIpv4, broadcastMac, formatIpv4, parseIpv4 } from "../../../../core/net/wire/addresses";
import { DhcpOperation, DhcpType, readDhcp, writeDhcp, type DhcpMessage, type DhcpOptions } from "../../../../core/net/wire/dhcp";

function ip(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(text);
  return address;
}

const settings: DhcpSettings = {
  server: ip("10.9.0.1"),
  subnet: { base: ip("10.9.0.0"), prefix: 24 },
  first: ip("10.9.0.100"),
  last: ip("10.9.0.109"),
  reservations: [],
  leaseSeconds: 3600,
  router: ip("10.9.0.1"),
  dns: [ip("10.9.0.1")],
  domain: "lab",
  mtu: 9000,
};

const none: Omit<DhcpMessage, "type" | "options"> = {
  operation: DhcpOperation.request,
  transaction: 0xabcd1234,
  seconds: 0,
  broadcast: false,
  clientAddress: 0,
  yourAddress: 0,
  nextServer: 0,
  relay: 0,
  clientMac: 0x525400000001,
};

interface Answer {
  message: DhcpMessage;
  address: number;
  mac: number;
}

class Segment {
  readonly clock = new ManualClock(1_700_000_000_000);
  readonly ours = new Set<number>();
  server: DhcpServer;

  constructor(changed: Partial<DhcpSettings> = {}, ours: number[] = []) {
    for (const mac of ours) this.ours.add(mac);
    this.server = this.restarted({ ...settings, ...changed });
  }

  restarted(around: DhcpSettings, saved: SavedLease[] = []): DhcpServer {
    return new DhcpServer(around, { clock: this.clock, ours: () => this.ours }, saved);
  }

  say(type: number, options: DhcpOptions = {}, header: Partial<DhcpMessage> = {}, sender = header.clientMac ?? none.clientMac): Answer | undefined {
    const bytes = new Uint8Array(1500);
    const end = writeDhcp(bytes, 4, 1400, { ...none, ...header, type, options });
    const reply = this.server.answer(bytes, 4, end, sender);
    if (reply === undefined) return undefined;
    const message = readDhcp(reply.bytes, 0, reply.end);
    if (message === undefined) throw new Error("an answer that is none");
    return { message, address: reply.address, mac: reply.mac };
  }

  /** What a client that has nothing does; the address it has then. */
  boot(clientMac: number, options: DhcpOptions = {}): string | undefined {
    const offer = this.say(DhcpType.discover, options, { clientMac });
    if (offer === undefined) return undefined;
    expect(offer.message.type).toBe(DhcpType.offer);
    const requestedAddress = offer.message.yourAddress;
    const ack = this.say(DhcpType.request, { ...options, requestedAddress, server: offer.message.options.server }, { clientMac });
    expect(ack?.message).toMatchObject({ type: DhcpType.ack, yourAddress: requestedAddress });
    return formatIpv4(requestedAddress);
  }
}

const [a, b, c] = [0x525400000001, 0x525400000002, 0x525400000003] as const;

describe("a DHCP client", () => {
  it("is offered an address, gets it, and is told everything about the network that it asks for", () => {
    const segment = new Segment({ routes: [{ to: { base: ip("10.20.0.0"), prefix: 16 }, router: ip("10.9.0.7") }] });
    const wanted = [1, 3, 6, 15, 26, 121];
    const offer = segment.say(DhcpType.discover, { wanted, clientIdentifier: "01525400000001" });
    expect(offer?.message).toMatchObject({ operation: DhcpOperation.reply, type: DhcpType.offer, transaction: none.transaction, clientMac: a, yourAddress: ip("10.9.0.100") });
    expect(segment.server.leases()).toEqual([]);
    const ack = segment.say(DhcpType.request, { wanted, requestedAddress: ip("10.9.0.100"), server: settings.server, hostname: "Web Server.local", clientIdentifier: "01525400000001" });
    expect(ack?.message.type).toBe(DhcpType.ack);
    expect(ack?.message.options).toEqual({
      subnetMask: 0xffffff00,
      routers: [ip("10.9.0.1")],
      dnsServers: [ip("10.9.0.1")],
      domain: "lab",
      mtu: 9000,
      leaseSeconds: 3600,
      renewalSeconds: 1800,
      rebindingSeconds: 3150,
      server: settings.server,
      clientIdentifier: "01525400000001",
      routes: [{ to: { base: ip("10.20.0.0"), prefix: 16 }, router: ip("10.9.0.7") }, { to: { base: 0, prefix: 0 }, router: ip("10.9.0.1") }],
    });
    expect(segment.server.leases()).toEqual([{ mac: a, address: ip("10.9.0.100"), hostname: "web-server", expiresAt: segment.clock.now() + 3_600_000, reserved: false }]);
    expect(segment.server.addressOf(a)).toBe(ip("10.9.0.100"));
    expect(segment.say(DhcpType.discover, { wanted: [1] }, { clientMac: b })?.message.options).not.toHaveProperty("mtu", 9000);
  });

  it("is answered where it can hear it", () => {
    const segment = new Segment();
    expect(segment.say(DhcpType.discover)).toMatchObject({ address: ip("10.9.0.100"), mac: a });
    expect(segment.say(DhcpType.discover, {}, { broadcast: true })).toMatchObject({ address: broadcastIpv4, mac: broadcastMac });
    segment.boot(a);
    expect(segment.say(DhcpType.request, {}, { clientAddress: ip("10.9.0.100"), broadcast: true })).toMatchObject({ address: ip("10.9.0.100"), mac: a });
    expect(segment.say(DhcpType.request, {}, { clientAddress: ip("192.0.2.1") })).toMatchObject({ address: broadcastIpv4, mac: broadcastMac, message: { type: DhcpType.nak, yourAddress: 0 } });
  });

  it("keeps its address when it renews, starts anew, or comes back after its lease and a restart", () => {
    const segment = new Segment();
    segment.boot(b);
    const address = segment.boot(a);
    segment.clock.advance(1_000_000);
    expect(segment.say(DhcpType.request, {}, { clientAddress: ip(address as string) })?.message.type).toBe(DhcpType.ack);
    expect(segment.server.leases().find((lease) => lease.mac === a)?.expiresAt).toBe(segment.clock.now() + 3_600_000);
    expect(segment.boot(a)).toBe(address);
    segment.clock.advance(100_000_000);
    expect(segment.server.leases()).toEqual([]);
    const saved = segment.server.save();
    expect(saved.map((lease) => SavedLease.parse(JSON.parse(JSON.stringify(lease))))).toEqual(saved);
    segment.server = segment.restarted(settings, saved);
    segment.boot(c);
    expect(segment.boot(a)).toBe(address);
    // An offer that was never taken does not make the server forget.
    segment.clock.advance(100_000_000);
    segment.say(DhcpType.discover, {}, { clientMac: b });
    segment.server = segment.restarted(settings, segment.server.save());
    expect(segment.boot(b)).toBe("10.9.0.100");
  });

  it("keeps its address when it names itself in another way, or has another MAC and its old name", () => {
    const segment = new Segment();
    segment.boot(c);
    const address = segment.boot(a, { clientIdentifier: "ff00112233" });
    expect(segment.boot(a)).toBe(address);
    expect(segment.boot(a, { clientIdentifier: "ff00112233" })).toBe(address);
    segment.clock.advance(3_600_000);
    expect(segment.boot(b, { clientIdentifier: "ff00112233" })).toBe(address);
  });

  it("that is a clone and names itself like another gets an address of its own", () => {
    const segment = new Segment({}, [a, b, c]);
    expect(segment.boot(a, { clientIdentifier: "ff00112233" })).toBe("10.9.0.100");
    expect(segment.boot(b, { clientIdentifier: "ff00112233" })).toBe("10.9.0.101");
    segment.clock.advance(100_000_000);
    expect(segment.boot(c, { clientIdentifier: "ff00112233" })).toBe("10.9.0.102");
    expect(segment.boot(b, { clientIdentifier: "ff00112233" })).toBe("10.9.0.101");
    expect(segment.boot(a, { clientIdentifier: "ff00112233" })).toBe("10.9.0.100");
  });

  it("gets the address it asks for when that is free, and is refused what is another's or outside", () => {
    const segment = new Segment();
    expect(segment.boot(a, { requestedAddress: ip("10.9.0.105") })).toBe("10.9.0.105");
    expect(segment.say(DhcpType.request, { requestedAddress: ip("10.9.0.107") }, { clientMac: b })?.message.type).toBe(DhcpType.ack);
    for (const wrong of ["10.9.0.105", "10.9.0.50", "10.9.0.1", "192.168.1.5"]) {
      const answer = segment.say(DhcpType.request, { requestedAddress: ip(wrong) }, { clientMac: c });
      expect(answer?.message).toMatchObject({ type: DhcpType.nak, yourAddress: 0 });
      expect(answer?.message.options.leaseSeconds).toBeUndefined();
    }
    expect(segment.boot(c, { requestedAddress: ip("10.9.0.105") })).toBe("10.9.0.100");
  });

  it("that chose another server gets no answer, and its offer is free at once", () => {
    const segment = new Segment({ last: ip("10.9.0.100") });
    segment.say(DhcpType.discover);
    expect(segment.say(DhcpType.discover, {}, { clientMac: b })).toBeUndefined();
    expect(segment.say(DhcpType.request, { server: ip("10.9.0.2"), requestedAddress: ip("10.9.0.200") })).toBeUndefined();
    expect(segment.boot(b)).toBe("10.9.0.100");
  });

  it("that never takes its offer keeps it for half a minute", () => {
    const segment = new Segment({ last: ip("10.9.0.100") });
    segment.say(DhcpType.discover);
    segment.clock.advance(29_999);
    expect(segment.boot(b)).toBeUndefined();
    segment.clock.advance(1);
    expect(segment.boot(b)).toBe("10.9.0.100");
  });

  it("that gives its address back leaves it to others, but gets it again before them", () => {
    const segment = new Segment({ last: ip("10.9.0.101") });
    segment.boot(a);
    segment.boot(b);
    expect(segment.boot(c)).toBeUndefined();
    segment.say(DhcpType.release, {}, { clientMac: c, clientAddress: ip("10.9.0.100") });
    segment.say(DhcpType.release, {}, { clientAddress: ip("10.9.0.101") });
    expect(segment.boot(c)).toBeUndefined();
    segment.say(DhcpType.release, {}, { clientAddress: ip("10.9.0.100") });
    expect(segment.server.leases().map((lease) => lease.mac)).toEqual([b]);
    expect(segment.boot(a)).toBe("10.9.0.100");
    segment.say(DhcpType.release, {}, { clientAddress: ip("10.9.0.100") });
    expect(segment.boot(c)).toBe("10.9.0.100");
  });

  it("that finds its address in use gets another, and nobody gets that one for ten minutes", () => {
    const segment = new Segment();
    segment.boot(a);
    segment.say(DhcpType.decline, { requestedAddress: ip("10.9.0.100") }, { clientMac: b });
    expect(segment.server.leases()).toHaveLength(1);
    segment.say(DhcpType.decline, { requestedAddress: ip("10.9.0.100") });
    expect(segment.boot(a)).toBe("10.9.0.101");
    expect(segment.boot(b, { requestedAddress: ip("10.9.0.100") })).toBe("10.9.0.102");
    segment.clock.advance(600_000);
    expect(segment.boot(c, { requestedAddress: ip("10.9.0.100") })).toBe("10.9.0.100");
  });

  it("that has an address of its own is told about the network without a lease", () => {
    const segment = new Segment();
    const ack = segment.say(DhcpType.inform, {}, { clientAddress: ip("10.9.0.77") });
    expect(ack).toMatchObject({ address: ip("10.9.0.77"), message: { type: DhcpType.ack, yourAddress: 0, options: { routers: [ip("10.9.0.1")] } } });
    expect(ack?.message.options.leaseSeconds).toBeUndefined();
    expect(segment.server.leases()).toEqual([]);
  });
});

describe("reservations", () => {
  it("give an adapter its address, also outside of the range, and nobody else", () => {
    const segment = new Segment({ reservations: [{ mac: a, address: ip("10.9.0.20") }, { mac: b, address: ip("10.9.0.100") }] });
    expect(segment.boot(c, { requestedAddress: ip("10.9.0.100") })).toBe("10.9.0.101");
    expect(segment.say(DhcpType.request, { requestedAddress: ip("10.9.0.20") }, { clientMac: c })?.message.type).toBe(DhcpType.nak);
    expect(segment.boot(a)).toBe("10.9.0.20");
    expect(segment.boot(b)).toBe("10.9.0.100");
    expect(segment.server.leases().map((lease) => lease.reserved)).toEqual([false, true, true]);
  });

  it("that are made later move their adapter when it asks again, and the holder with it", () => {
    const segment = new Segment();
    segment.boot(a);
    segment.boot(b);
    let changes = 0;
    segment.server.onDidChange(() => changes++);
    segment.server.update({ ...settings, reservations: [{ mac: b, address: ip("10.9.0.100") }] });
    expect(changes).toBe(1);
    expect(segment.say(DhcpType.request, {}, { clientAddress: ip("10.9.0.100") })?.message.type).toBe(DhcpType.nak);
    expect(segment.say(DhcpType.request, {}, { clientMac: b, clientAddress: ip("10.9.0.101") })?.message.type).toBe(DhcpType.nak);
    expect(segment.boot(b)).toBe("10.9.0.100");
    expect(segment.boot(a)).toBe("10.9.0.101");
  });
});

describe("a guest that asks under thousands of names", () => {
  it("cannot take the last addresses of our own adapters, nor those they had", () => {
    const segment = new Segment({}, [a, b, c]);
    expect(segment.boot(a)).toBe("10.9.0.100");
    segment.clock.advance(100_000_000);
    const taken = Array.from({ length: 5000 }, (_, index) => segment.boot(0x020000000000 + index)).filter((address) => address !== undefined);
    expect(new Set(taken).size).toBe(7);
    expect(taken).toHaveLength(7);
    expect(segment.boot(b)).toBeDefined();
    expect(segment.boot(c)).toBeDefined();
    expect(segment.boot(a)).toBe("10.9.0.100");
    expect(segment.server.save()).toHaveLength(10);
  });

  it("leaves a free address for a MAC that somebody set by hand, where there are any", () => {
    const segment = new Segment({ last: ip("10.9.0.100") }, [a]);
    expect(segment.boot(b)).toBe("10.9.0.100");
  });

  it("makes the server keep few thousand leases, and our adapters find room all the same", () => {
    const segment = new Segment({ subnet: { base: ip("10.0.0.0"), prefix: 8 }, first: ip("10.9.0.100"), last: ip("10.200.0.0") }, [a]);
    for (let index = 0; index < 4000; index++) segment.say(DhcpType.request, { requestedAddress: ip("10.10.0.0") + index * 7 }, { clientMac: 0x020000000000 + index });
    expect(segment.server.save()).toHaveLength(3072);
    expect(segment.boot(a)).toBeDefined();
    segment.clock.advance(4_000_000);
    expect(segment.boot(b)).toBeDefined();
    expect(segment.server.save()).toHaveLength(3073);
  });

  it("takes over what strangers had longest ago when there is nothing else", () => {
    const segment = new Segment({ last: ip("10.9.0.102") });
    for (const mac of [c, a, b]) {
      segment.boot(mac);
      segment.clock.advance(10_000);
    }
    segment.clock.advance(10_000_000);
    expect(segment.boot(0x525400000009)).toBe("10.9.0.100");
    expect(segment.boot(a)).toBe("10.9.0.101");
  });

  it("cannot empty the range by finding every address in use", () => {
    const segment = new Segment();
    for (let round = 0; round < 50; round++) {
      const address = segment.boot(c);
      if (address !== undefined) segment.say(DhcpType.decline, { requestedAddress: ip(address) }, { clientMac: c });
    }
    const got = Array.from({ length: 10 }, (_, index) => segment.boot(0x525400001000 + index)).filter((address) => address !== undefined);
    expect(got.length).toBeGreaterThanOrEqual(8);
  });
});

describe("the DHCP server", () => {
  it("never gives one address to two, whatever clients do", () => {
    const step = fc.record({
      mac: fc.integer({ min: 1, max: 14 }),
      type: fc.integer({ min: 0, max: 9 }),
      wanted: fc.option(fc.integer({ min: 98, max: 112 }), { nil: undefined }),
      at: fc.option(fc.integer({ min: 98, max: 112 }), { nil: undefined }),
      client: fc.option(fc.constantFrom("0011", "0022"), { nil: undefined }),
      later: fc.constantFrom(0, 0, 0, 31_000, 4_000_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const segment = new Segment({ reservations: [{ mac: 0x525400000003, address: ip("10.9.0.103") }] }, [0x525400000001, 0x525400000002, 0x525400000003]);
        const holders = new Map<number, { mac: number; until: number }>();
        for (const { mac, type, wanted, at, client, later } of steps) {
          segment.clock.advance(later);
          const clientMac = 0x525400000000 + mac;
          const clientAddress = at === undefined ? 0 : settings.subnet.base + at;
          if (type === DhcpType.release || type === DhcpType.decline) {
            const address = type === DhcpType.release ? clientAddress : settings.subnet.base + (wanted ?? 0);
            if (holders.get(address)?.mac === clientMac) holders.delete(address);
          }
          const answer = segment.say(type, { requestedAddress: wanted === undefined ? undefined : settings.subnet.base + wanted, clientIdentifier: client }, { clientMac, clientAddress });
          if (answer?.message.type !== DhcpType.ack || answer.message.yourAddress === 0) continue;
          const address = answer.message.yourAddress;
          const holder = holders.get(address);
          if (holder && holder.mac !== clientMac) expect(holder.until).toBeLessThanOrEqual(segment.clock.now());
          expect(address === ip("10.9.0.103") ? clientMac : 0x525400000003).toBe(0x525400000003);
          expect(address).toBeGreaterThanOrEqual(settings.first);
          expect(address).toBeLessThanOrEqual(settings.last);
          holders.set(address, { mac: clientMac, until: segment.clock.now() + 3_600_000 });
        }
        const leases = segment.server.leases();
        expect(new Set(leases.map((lease) => lease.address)).size).toBe(leases.length);
        expect(new Set(leases.map((lease) => lease.mac)).size).toBe(leases.length);
      }),
    );
  });

  it("cannot speak for another client, and so cannot take its address", () => {
    const segment = new Segment({}, [a, b]);
    expect(segment.boot(a)).toBe("10.9.0.100");
    expect(segment.say(DhcpType.release, {}, { clientMac: a, clientAddress: ip("10.9.0.100") }, b)).toBeUndefined();
    expect(segment.say(DhcpType.decline, { requestedAddress: ip("10.9.0.100") }, { clientMac: a }, b)).toBeUndefined();
    expect(segment.say(DhcpType.discover, {}, { clientMac: c }, b)).toBeUndefined();
    expect(segment.server.leases()).toMatchObject([{ mac: a, address: ip("10.9.0.100") }]);
    expect(segment.say(DhcpType.request, { requestedAddress: ip("10.9.0.100") }, { clientMac: b })?.message.type).toBe(DhcpType.nak);
  });

  it("does not get what an adapter of ours has given back by asking for it, only when nothing else is left", () => {
    const segment = new Segment({ last: ip("10.9.0.101") }, [a, b]);
    expect(segment.boot(a)).toBe("10.9.0.100");
    segment.say(DhcpType.release, {}, { clientMac: a, clientAddress: ip("10.9.0.100") });
    expect(segment.say(DhcpType.request, { requestedAddress: ip("10.9.0.100") }, { clientMac: b })?.message.type).toBe(DhcpType.nak);
    expect(segment.boot(b, { requestedAddress: ip("10.9.0.100") })).toBe("10.9.0.101");
    segment.ours.add(c);
    expect(segment.boot(c)).toBe("10.9.0.100");
  });

  it("does not push the adapters' leases out of the last that are kept", () => {
    const segment = new Segment({ subnet: { base: ip("10.9.0.0"), prefix: 16 }, first: ip("10.9.1.0"), last: ip("10.9.200.0") }, [a]);
    expect(segment.boot(a)).toBe("10.9.1.0");
    for (let client = 0; client < 50; client++) segment.boot(0x0200_0000_0000 + client);
    expect(segment.server.save()).toHaveLength(51);
    expect(segment.server.save().at(-1)).toMatchObject({ address: "10.9.1.0" });
  });

  it("does not answer relays, answers, group addresses and what is no message", () => {
    const segment = new Segment();
    expect(segment.say(DhcpType.discover, {}, { relay: ip("10.9.0.3") })).toBeUndefined();
    expect(segment.say(DhcpType.discover, {}, { operation: DhcpOperation.reply })).toBeUndefined();
    expect(segment.say(DhcpType.discover, {}, { clientMac: broadcastMac })).toBeUndefined();
    expect(segment.say(DhcpType.discover, {}, { clientMac: 0 })).toBeUndefined();
    expect(segment.say(DhcpType.offer)).toBeUndefined();
    expect(segment.say(DhcpType.request)).toBeUndefined();
    expect(segment.server.answer(new Uint8Array(300), 0, 300, a)).toBeUndefined();
    expect(segment.server.save()).toEqual([]);
  });

  it("takes no lease from a file that its settings do not allow", () => {
    const segment = new Segment();
    const lease = { mac: "52:54:00:00:00:01", expiresAt: segment.clock.now() + 1000 };
    const server = segment.restarted(settings, [{ ...lease, address: "10.9.0.1" }, { ...lease, address: "10.8.0.100" }, { ...lease, address: "10.9.0.99" }]);
    expect(server.save()).toEqual([]);
  });
});

describe("names that guests give themselves", () => {
  it("become labels that DNS can answer for, or nothing", () => {
    expect(sanitizeHostname("Web_Server 1.example.org")).toBe("web-server-1");
    expect(sanitizeHostname("--a<script>--")).toBe("ascript");
    expect(sanitizeHostname("\u00e9\0")).toBeUndefined();
    expect(sanitizeHostname("...")).toBeUndefined();
    expect(sanitizeHostname(undefined)).toBeUndefined();
    fc.assert(
      fc.property(fc.string(), (name) => {
        const label = sanitizeHostname(name);
        if (label !== undefined) expect(label).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      }),
    );
  });
});
