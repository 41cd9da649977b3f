import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dnsRecordValue, DnsClass, DnsType, readDns, readDnsName, sameDnsName, writeDns, type DnsFields, type DnsMessage, type DnsValue } from "../../../../core/net/wire/dns";
import { any16, any32, anyAddress, damaged, expectTotal } from "./hostile";

const anyLabel = fc.oneof(fc.constantFrom("www", "example", "org", "Example", "in-addr", "arpa"), fc.uint8Array({ minLength: 1, maxLength: 20 }).map(escaped));
const anyName = fc.array(anyLabel, { maxLength: 6 }).map((labels) => labels.join("."));

function escaped(label: Uint8Array): string {
  return Array.from(label, (byte) => {
    if (byte <= 0x20 || byte >= 0x7f) return `\\${String(byte).padStart(3, "0")}`;
    return byte === 0x2e || byte === 0x5c ? `\\${String.fromCharCode(byte)}` : String.fromCharCode(byte);
  }).join("");
}

const anyValue: fc.Arbitrary<DnsValue> = fc.oneof(
  fc.record({ type: fc.constant(DnsType.a), address: anyAddress }),
  fc.record({ type: fc.constant(DnsType.aaaa), address: fc.uint8Array({ minLength: 16, maxLength: 16 }) }),
  fc.record({ type: fc.constantFrom(DnsType.cname, DnsType.ptr), name: anyName }),
);

const anyFields = fc.record({
  id: any16,
  response: fc.boolean(),
  opcode: fc.nat({ max: 15 }),
  authoritative: fc.boolean(),
  truncated: fc.boolean(),
  recursionDesired: fc.boolean(),
  recursionAvailable: fc.boolean(),
  code: fc.nat({ max: 15 }),
  questions: fc.array(fc.record({ name: anyName, type: any16, class: any16 }), { maxLength: 4 }),
  answers: fc.array(fc.record({ name: anyName, ttl: any32, value: anyValue }), { maxLength: 8 }),
  udpBytes: fc.option(any16, { nil: undefined }),
});

function put(fields: DnsFields, room = 5000): Uint8Array | undefined {
  const bytes = new Uint8Array(room + 16).fill(0xa5);
  const end = writeDns(bytes, 5, 5 + room, fields);
  expect(bytes.subarray(0, 5).every((byte) => byte === 0xa5) && bytes.subarray(5 + room).every((byte) => byte === 0xa5)).toBe(true);
  if (end !== undefined) expect(end).toBeLessThanOrEqual(5 + room);
  return end === undefined ? undefined : bytes.slice(5, end);
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("nothing was written or read");
  return value;
}

/** What a message says, as it would be said to `writeDns`. */
function told(bytes: Uint8Array): DnsFields {
  const { answers, authority, additional, questionsEnd, end, ...rest } = must(readDns(bytes, 0, bytes.length));
  expect(end).toBe(bytes.length);
  expect(questionsEnd).toBeLessThanOrEqual(end);
  expect(authority).toEqual([]);
  expect(additional).toHaveLength(rest.udpBytes === undefined ? 0 : 1);
  return {
    ...rest,
    answers: answers.map((record) => ({
      name: must(readDnsName(bytes, 0, record.nameAt, bytes.length)).name,
      ttl: record.ttl,
      value: must(dnsRecordValue(bytes, 0, bytes.length, record)),
    })),
  };
}

/** A query whose one name is these bytes, behind it type A, class IN. */
function query(...name: number[]): Uint8Array {
  return Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 1, 0, 1);
}

const nameOf = (bytes: Uint8Array): string | undefined => readDns(bytes, 0, bytes.length)?.questions[0]?.name;

describe("DNS messages", () => {
  it("are read as they were written", () => {
    fc.assert(
      fc.property(anyFields, (fields) => {
        expect(told(must(put(fields)))).toEqual(fields);
      }),
    );
  });

  it("say that they are truncated when answers find no room, and hold whole answers", () => {
    fc.assert(
      fc.property(anyFields, fc.integer({ min: 12, max: 300 }), (fields, room) => {
        const bytes = put(fields, room);
        if (bytes === undefined) return;
        const read = told(bytes);
        const kept = read.answers?.length ?? 0;
        expect(read.answers).toEqual(fields.answers.slice(0, kept));
        expect(read.truncated).toBe(fields.truncated || kept < fields.answers.length);
        expect(read.udpBytes).toBe(fields.udpBytes);
      }),
    );
  });

  it("write an ending that was there before as a pointer, and no other", () => {
    const answers = [{ name: "www.example.org", ttl: 1, value: { type: DnsType.cname, name: "a.example.org" } }] as const;
    const bytes = must(put({ id: 1, questions: [{ name: "www.example.org", type: 1, class: 1 }], answers }));
    expect(Buffer.from(bytes.subarray(12)).toString("latin1")).toBe("\x03www\x07example\x03org\0\0\x01\0\x01\xc0\x0c\0\x05\0\x01\0\0\0\x01\0\x04\x01a\xc0\x10");
    const tricky = [{ name: "x\\000\\.b", ttl: 1, value: { type: DnsType.ptr, name: "\\000.b" } }, { name: "x.\\000.b", ttl: 1, value: { type: DnsType.ptr, name: "b" } }] as const;
    expect(told(must(put({ id: 1, questions: [], answers: tricky }))).answers).toEqual(tricky);
  });

  it("point to no name that lies further back than a pointer can say", () => {
    const answers = Array.from({ length: 900 }, (_, index) => ({ name: `${"n".repeat(20)}${index >> 1}.x${index >> 1}`, ttl: 1, value: { type: DnsType.a, address: index } }));
    const bytes = must(put({ id: 1, questions: [], answers }, 60_000));
    expect(bytes.length).toBeGreaterThan(0x6000);
    expect(told(bytes).answers).toEqual(answers);
  });

  it("are read from any bytes without a fault", () => {
    const read = (bytes: Uint8Array, at: number, end: number): unknown => {
      const message = readDns(bytes, at, end);
      if (message) expect(message.end).toBeLessThanOrEqual(end);
      return message && { ...message, all: said(message, bytes, at, end) };
    };
    const said = (message: DnsMessage, bytes: Uint8Array, at: number, end: number): unknown[] =>
      [...message.answers, ...message.authority, ...message.additional].map((record) => [readDnsName(bytes, at, record.nameAt, end), dnsRecordValue(bytes, at, end, record)]);
    expectTotal(damaged(anyFields.map((fields) => must(put(fields)))), read);
    expectTotal(fc.uint8Array({ maxLength: 80 }), read);
  });

  it("that promise more than they hold are none", () => {
    for (const where of [5, 7, 9, 11]) {
      const bytes = query(1, 0x61, 0);
      bytes[where] = 3;
      expect(readDns(bytes, 0, bytes.length)).toBeUndefined();
    }
    expect(readDns(query(1, 0x61, 0), 0, 11)).toBeUndefined();
    const thousands = new Uint8Array(65_535);
    thousands.set([0, 1, 1, 0, 0xff, 0xff], 0);
    expect(readDns(thousands, 0, thousands.length)).toBeUndefined();
  });

  it("tell the size that EDNS allows", () => {
    const bytes = must(put({ id: 1, questions: [{ name: "a", type: 1, class: 1 }], udpBytes: 1232 }));
    expect(readDns(bytes, 0, bytes.length)?.udpBytes).toBe(1232);
    expect(readDns(query(1, 0x61, 0), 0, 19)?.udpBytes).toBeUndefined();
  });
});

describe("DNS names", () => {
  it("end, also those that point to themselves, to each other, forward or into the header", () => {
    expect(nameOf(query(0xc0, 12))).toBeUndefined();
    expect(nameOf(query(1, 0x61, 0xc0, 12))).toBeUndefined();
    expect(nameOf(query(0xc0, 14, 0xc0, 12))).toBeUndefined();
    expect(nameOf(query(0xc0, 15, 0, 0))).toBeUndefined();
    expect(nameOf(query(0xc0, 4))).toBeUndefined();
    expect(nameOf(query(0xc0))).toBeUndefined();
  });

  it("follow many pointers backwards, but not beyond 255 bytes", () => {
    const chain: number[] = [0];
    // Each name is a letter and a pointer to the one before it.
    for (let count = 0; count < 200; count++) chain.push(1, 0x61, 0xc0 | ((12 + Math.max(0, chain.length - 4)) >> 8), (12 + (count === 0 ? 0 : chain.length - 4)) & 255);
    const bytes = Uint8Array.of(...new Array<number>(12).fill(0), ...chain);
    const nameFrom = (count: number): string | undefined => readDnsName(bytes, 0, 12 + 1 + (count - 1) * 4, bytes.length)?.name;
    expect(nameFrom(3)).toBe("a.a.a");
    expect(nameFrom(127)?.length).toBe(253);
    expect(nameFrom(128)).toBeUndefined();
  });

  it("have labels of at most 63 bytes", () => {
    const label = (length: number): number[] => [length, ...new Array<number>(length).fill(0x61)];
    expect(nameOf(query(...label(63), 0))).toBe("a".repeat(63));
    expect(nameOf(query(...label(64), 0))).toBeUndefined();
    expect(put({ id: 1, questions: [{ name: "a".repeat(64), type: 1, class: 1 }] })).toBeUndefined();
    expect(nameOf(query(...label(63), ...label(63), ...label(63), ...label(61), 0))).toHaveLength(253);
    expect(nameOf(query(...label(63), ...label(63), ...label(63), ...label(62), 0))).toBeUndefined();
  });

  it("that are none are not written", () => {
    for (const name of [".", "a..b", "a.", ".a", "a\\", "a\\25", "a\\256", "ä".repeat(1) + "\u{1f600}", `${"a".repeat(63)}.`.repeat(4).slice(0, -1)]) {
      expect(put({ id: 1, questions: [{ name, type: 1, class: DnsClass.in }] })).toBeUndefined();
    }
  });

  it("are the same whatever the case of their letters", () => {
    expect(sameDnsName("WWW.Example.ORG", "www.example.org")).toBe(true);
    expect(sameDnsName("www.example.org", "www.example.com")).toBe(false);
  });
});
