import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../../core/base/clock";
import { DnsForwarder, maxOutstanding, maxOutstandingOfOne, type MachineNames } from "../../../../core/net/services/dns";
import type { NameServer } from "../../../../core/net/services/hostResolver";
import { DnsCode, DnsType, dnsRecordValue, readDns, writeDns, type DnsFields, type DnsMessage, type DnsValue } from "../../../../core/net/wire/dns";
import { FakeNameServers, ip } from "./fakeNameServers";

interface Heard {
  bytes: Uint8Array;
  message: DnsMessage;
  values: (DnsValue | undefined)[];
}

function message(fields: DnsFields): Uint8Array {
  const bytes = new Uint8Array(70_000);
  const end = writeDns(bytes, 0, bytes.length, fields);
  if (end === undefined) throw new Error("no such message");
  return bytes.slice(0, end);
}

class Guest {
  readonly clock = new ManualClock();
  readonly sockets = new FakeNameServers();
  servers: NameServer[] = ["192.0.2.1", "192.0.2.2"].map((address) => ({ address: ip(address), port: 53 }));
  readonly heard: Heard[] = [];
  readonly ids: number[] = [];
  readonly forwarder: DnsForwarder;
  private readonly machines = new Map([["web", ip("10.9.0.100")]]);

  constructor(names: Partial<MachineNames> = {}) {
    let seed = 0x1234;
    this.forwarder = new DnsForwarder({
      clock: this.clock,
      sockets: this.sockets,
      resolver: { servers: () => this.servers },
      names: {
        domain: "lab",
        subnet: { base: ip("10.9.0.0"), prefix: 24 },
        addresses: (name) => (this.machines.has(name) ? [this.machines.get(name) as number] : name === "off" ? [] : undefined),
        nameOf: (address) => [...this.machines].find(([, its]) => its === address)?.[0],
        ...names,
      },
      random16: () => {
        seed = (seed * 40_503 + 77) & 0xffff;
        this.ids.push(seed);
        return seed;
      },
    });
  }

  /** Asks, and waits until the forwarder has its socket. */
  async ask(name: string, type: number = DnsType.a, how: { udpBytes?: number; over?: "udp" | "tcp"; guest?: number } = {}): Promise<void> {
    await this.send(message({ id: 0x4711, recursionDesired: true, questions: [{ name, type, class: 1 }], udpBytes: how.udpBytes }), how);
  }

  async send(bytes: Uint8Array, { over = "udp", guest = 1 }: { over?: "udp" | "tcp"; guest?: number } = {}): Promise<void> {
    const framed = new Uint8Array(bytes.length + 12).fill(0xee);
    framed.set(bytes, 6);
    this.forwarder.answer(framed, 6, 6 + bytes.length, over, guest, (answer, at, end) => {
      const copy = answer.slice(at, end);
      const read = readDns(copy, 0, copy.length);
      if (!read) throw new Error("an answer that is none");
      this.heard.push({ bytes: copy, message: read, values: read.answers.map((record) => dnsRecordValue(copy, 0, copy.length, record)) });
    });
    framed.fill(0xdd);
    await settled();
  }

  get answer(): Heard {
    expect(this.heard).toHaveLength(1);
    return this.heard[0] as Heard;
  }

  /** What a server says to the latest query. */
  reply(fields: Partial<DnsFields> = {}): Uint8Array {
    const asked = readDns(this.sockets.latest.bytes, 0, this.sockets.latest.bytes.length) as DnsMessage;
    return message({ id: asked.id, response: true, recursionAvailable: true, questions: asked.questions, answers: [{ name: asked.questions[0]?.name ?? "", ttl: 300, value: { type: DnsType.a, address: ip("198.51.100.7") } }], ...fields });
  }
}

/** Lets promises that are fulfilled already be told. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
}

const outside: DnsValue = { type: DnsType.a, address: ip("198.51.100.7") };

describe("names of machines", () => {
  it("are answered without asking anybody, in any case, with and without the domain, and backwards", async () => {
    for (const [name, type, value] of [
      ["web", DnsType.a, { type: DnsType.a, address: ip("10.9.0.100") }],
      ["WEB.Lab", DnsType.a, { type: DnsType.a, address: ip("10.9.0.100") }],
      ["100.0.9.10.in-addr.arpa", DnsType.ptr, { type: DnsType.ptr, name: "web.lab" }],
    ] as const) {
      const guest = new Guest();
      await guest.ask(name, type);
      expect(guest.answer.message).toMatchObject({ id: 0x4711, response: true, authoritative: true, code: DnsCode.noError, recursionDesired: true, recursionAvailable: true, questions: [{ name, type, class: 1 }] });
      expect(guest.answer.values).toEqual([value]);
      expect(guest.sockets.queries).toEqual([]);
    }
  });

  it("have no other records, and none at all while the machine has no address: that is no error", async () => {
    const guest = new Guest();
    await guest.ask("web", DnsType.aaaa);
    await guest.ask("off.lab");
    for (const { message: answer } of guest.heard) expect(answer).toMatchObject({ code: DnsCode.noError, answers: [] });
    expect(guest.heard).toHaveLength(2);
  });

  it("that nobody has do not exist in the domain, nor backwards in the subnet", async () => {
    const guest = new Guest();
    await guest.ask("nobody.lab");
    await guest.ask("9.0.9.10.in-addr.arpa", DnsType.ptr);
    expect(guest.heard.map((heard) => heard.message.code)).toEqual([DnsCode.nameError, DnsCode.nameError]);
    expect(guest.sockets.queries).toEqual([]);
    for (const name of ["nobody", "a.b.lab", "lab", "9.1.9.10.in-addr.arpa"]) await guest.ask(name);
    expect(guest.sockets.queries).toHaveLength(4);
  });

  it("answer with a size of their own to those that speak EDNS", async () => {
    const guest = new Guest();
    await guest.ask("web", DnsType.a, { udpBytes: 1232 });
    expect(guest.answer.message.udpBytes).toBe(4096);
  });
});

describe("other names", () => {
  it("are asked of the host's server as the guest asks, under another number, and answered under the guest's", async () => {
    const guest = new Guest();
    await guest.ask("www.Example.org", DnsType.a, { udpBytes: 1232 });
    expect(guest.heard).toEqual([]);
    const { bytes, to } = guest.sockets.latest;
    expect(to).toBe("192.0.2.1");
    expect(readDns(bytes, 0, bytes.length)).toMatchObject({ id: guest.ids[0], recursionDesired: true, udpBytes: 1232, questions: [{ name: "www.Example.org" }] });
    const reply = guest.reply();
    guest.sockets.latest.answer(reply);
    expect(guest.answer.message.id).toBe(0x4711);
    expect(guest.answer.bytes.subarray(2)).toEqual(reply.subarray(2));
    expect(guest.sockets.openSockets).toBe(0);
    expect(guest.forwarder.waiting).toBe(0);
  });

  it("go without what the guest put behind its message", async () => {
    const guest = new Guest();
    const query = message({ id: 1, questions: [{ name: "example.org", type: 1, class: 1 }] });
    await guest.send(Uint8Array.of(...query, 1, 2, 3));
    expect(guest.sockets.latest.bytes.length).toBe(query.length);
  });

  it("are asked of the next server when one is silent, gone, out of order or not to be reached, and later again", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    guest.clock.advance(1500);
    guest.sockets.latest.fail();
    guest.sockets.latest.answer(guest.reply({ code: DnsCode.serverFailure, answers: [] }));
    expect(guest.sockets.queries.map((query) => query.to)).toEqual(["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"]);
    expect(new Set(guest.ids).size).toBe(4);
    expect(guest.heard).toEqual([]);
    guest.sockets.latest.answer(guest.reply());
    expect(guest.answer.values).toEqual([outside]);
    expect(guest.sockets.openSockets).toBe(0);
    const blocked = new Guest();
    blocked.sockets.refusing.add("192.0.2.1");
    await blocked.ask("example.org");
    expect(blocked.sockets.queries.map((query) => query.to)).toEqual(["192.0.2.2"]);
  });

  it("get a server's own refusal when no other server knows better", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    for (let count = 0; count < 4; count++) guest.sockets.latest.answer(guest.reply({ code: DnsCode.refused, answers: [] }));
    expect(guest.answer.message).toMatchObject({ id: 0x4711, code: DnsCode.refused });
    expect(guest.sockets.queries).toHaveLength(4);
  });

  it("are answered late, by a server that was given up already", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    const first = guest.sockets.latest;
    const reply = guest.reply();
    guest.clock.advance(1500);
    first.answer(reply);
    expect(guest.answer.values).toEqual([outside]);
    guest.sockets.latest.answer(guest.reply());
    expect(guest.heard).toHaveLength(1);
  });

  it("fail when nobody answers, after all were asked twice", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    guest.clock.advance(8999);
    expect(guest.heard).toEqual([]);
    guest.clock.advance(1);
    expect(guest.answer.message).toMatchObject({ id: 0x4711, code: DnsCode.serverFailure, questions: [{ name: "example.org" }] });
    expect(guest.sockets.queries).toHaveLength(4);
    expect(guest.sockets.openSockets).toBe(0);
  });

  it("fail at once when the host has no server, or no socket", async () => {
    const without = new Guest();
    without.servers = [];
    await without.ask("example.org");
    expect(without.answer.message.code).toBe(DnsCode.serverFailure);
    const exhausted = new Guest();
    exhausted.sockets.outOfSockets = true;
    await exhausted.ask("example.org");
    expect(exhausted.answer.message.code).toBe(DnsCode.serverFailure);
    expect(exhausted.forwarder.waiting).toBe(0);
  });

  it("are asked of the servers the host has now, when it moved to another network meanwhile", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    guest.servers = [{ address: ip("203.0.113.1"), port: 53 }, { address: ip("203.0.113.2"), port: 53 }];
    guest.clock.advance(1500);
    expect(guest.sockets.latest.to).toBe("203.0.113.2");
    guest.clock.advance(1500);
    expect(guest.sockets.latest.to).toBe("203.0.113.1");
  });

  it("are not answered by somebody who only guesses", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    const { answer } = guest.sockets.latest;
    const right = guest.reply();
    answer(right, { address: "192.0.2.9" });
    answer(right, { port: 5353 });
    answer(guest.reply({ id: ((guest.ids[0] ?? 0) + 1) & 0xffff }));
    answer(guest.reply({ response: false }));
    answer(guest.reply({ questions: [] }));
    answer(guest.reply({ questions: [{ name: "example.com", type: 1, class: 1 }] }));
    answer(guest.reply({ questions: [{ name: "example.org", type: 28, class: 1 }] }));
    answer(guest.reply({ questions: [{ name: "example.org", type: 1, class: 3 }] }));
    answer(right.subarray(0, 20));
    expect(guest.heard).toEqual([]);
    answer(right);
    expect(guest.answer.values).toEqual([outside]);
  });
});

describe("answers that are too long for UDP", () => {
  const many = (count: number): NonNullable<DnsFields["answers"]> => Array.from({ length: count }, (_, index) => ({ name: "example.org", ttl: 1, value: { type: DnsType.a, address: index } }));
  const framed = (bytes: Uint8Array): Uint8Array => Uint8Array.of(bytes.length >>> 8, bytes.length & 255, ...bytes);

  async function overTcp(udpBytes: number | undefined, over: "udp" | "tcp"): Promise<{ guest: Guest; tcp: FakeNameServers["connections"][number]; asked: DnsMessage }> {
    const guest = new Guest();
    guest.sockets.writeStep = 7;
    await guest.ask("example.org", DnsType.a, { ...(udpBytes === undefined ? {} : { udpBytes }), over });
    guest.sockets.latest.answer(guest.reply({ answers: [], truncated: true }));
    expect(guest.heard).toEqual([]);
    const tcp = guest.sockets.connections[0] as FakeNameServers["connections"][number];
    expect(tcp.to).toBe("192.0.2.1");
    tcp.connect();
    const bytes = Uint8Array.from(tcp.heard);
    expect(bytes.length).toBe(2 + ((bytes[0] ?? 0) << 8) + (bytes[1] ?? 0));
    return { guest, tcp, asked: readDns(bytes, 2, bytes.length) as DnsMessage };
  }

  it("are fetched over TCP, in however small pieces, and go to those that take them", async () => {
    for (const [udpBytes, over, count, fits] of [[1232, "udp", 60, true], [undefined, "tcp", 4000, true], [undefined, "udp", 60, false], [65_535, "udp", 300, false]] as const) {
      const { guest, tcp, asked } = await overTcp(udpBytes, over);
      expect(asked.questions).toEqual([{ name: "example.org", type: 1, class: 1 }]);
      tcp.say(framed(guest.reply({ id: asked.id, answers: many(count) })), 1 + (count % 700));
      expect(guest.answer.message).toMatchObject({ id: 0x4711, truncated: !fits, code: DnsCode.noError, questions: asked.questions });
      expect(guest.answer.values).toHaveLength(fits ? count : 0);
      expect(tcp.closed).toBe(true);
      expect(guest.sockets.openSockets).toBe(0);
    }
  });

  it("stay truncated when TCP fails, ends, says something else, or nothing", async () => {
    const endings: ((guest: Guest, tcp: FakeNameServers["connections"][number], asked: DnsMessage) => void)[] = [
      (_guest, tcp) => tcp.fail(),
      (_guest, tcp) => tcp.end(),
      (_guest, tcp) => tcp.say(Uint8Array.of(0, 5, 1, 2, 3, 4, 5)),
      (guest, tcp, asked) => tcp.say(framed(guest.reply({ id: asked.id ^ 1 }))),
      (guest, tcp, asked) => (tcp.say(framed(guest.reply({ id: asked.id })).subarray(0, 9)), tcp.end()),
      (guest) => guest.clock.advance(5000),
    ];
    for (const end of endings) {
      const { guest, tcp, asked } = await overTcp(undefined, "udp");
      end(guest, tcp, asked);
      expect(guest.answer.message).toMatchObject({ id: 0x4711, truncated: true });
      expect(guest.sockets.openSockets).toBe(0);
    }
  });
});

describe("the DNS forwarder", () => {
  it("says what is wrong with a query, and does not answer what is none", async () => {
    const guest = new Guest();
    const question = { name: "example.org", type: 1, class: 1 };
    await guest.send(message({ id: 1, response: true, questions: [question] }));
    await guest.send(new Uint8Array(11));
    expect(guest.heard).toEqual([]);
    await guest.send(message({ id: 2, opcode: 5, questions: [question] }));
    await guest.send(message({ id: 3, questions: [question, question] }));
    await guest.send(message({ id: 4, questions: [] }));
    await guest.send(message({ id: 5, questions: [question] }).subarray(0, 20));
    await guest.ask("example.org", DnsType.axfr);
    expect(guest.heard.map((heard) => [heard.message.id, heard.message.code])).toEqual([
      [2, DnsCode.notImplemented],
      [3, DnsCode.formatError],
      [4, DnsCode.formatError],
      [5, DnsCode.formatError],
      [0x4711, DnsCode.refused],
    ]);
    expect(guest.sockets.queries).toEqual([]);
  });

  it("lets so many queries wait, and one guest not all of them", async () => {
    const guest = new Guest();
    for (let count = 0; count < maxOutstandingOfOne + 5; count++) await guest.ask("example.org");
    expect(guest.heard.map((heard) => heard.message.code)).toEqual(new Array(5).fill(DnsCode.serverFailure));
    for (let other = 2; other < 9; other++) for (let count = 0; count < maxOutstandingOfOne; count++) await guest.ask("example.org", DnsType.a, { guest: other });
    expect(guest.forwarder.waiting).toBe(maxOutstanding);
    expect(guest.sockets.openSockets).toBe(maxOutstanding);
    guest.clock.advance(9000);
    expect(guest.forwarder.waiting).toBe(0);
    await guest.ask("example.org");
    expect(guest.forwarder.waiting).toBe(1);
  });

  it("answers nothing any more and holds no socket once it is disposed of", async () => {
    const guest = new Guest();
    await guest.ask("example.org");
    const { answer } = guest.sockets.latest;
    const reply = guest.reply();
    guest.forwarder.dispose();
    answer(reply);
    await guest.ask("web");
    guest.clock.advance(100_000);
    expect(guest.heard).toEqual([]);
    expect(guest.sockets.openSockets).toBe(0);
    const early = new Guest();
    const asking = early.ask("example.org");
    early.forwarder.dispose();
    await asking;
    expect(early.sockets.openSockets).toBe(0);
  });

  it("takes any bytes from guests and servers without a fault", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ maxLength: 60 }), async (query, reply) => {
        const guest = new Guest();
        await guest.send(query);
        for (const sent of guest.sockets.queries.slice()) sent.answer(reply);
        await guest.ask("example.org");
        guest.sockets.latest.answer(Uint8Array.of(...guest.sockets.latest.bytes.subarray(0, 2), 0x80, ...reply));
        guest.clock.advance(20_000);
        expect(guest.forwarder.waiting).toBe(0);
        expect(guest.sockets.openSockets).toBe(0);
        guest.forwarder.dispose();
      }),
    );
  });
});
