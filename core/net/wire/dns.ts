import { read16, read32, write16, write32, type Ipv4Address } from "./addresses";

/**
 * DNS messages (RFC 1035, 4.1), with names compressed, and EDNS (RFC 6891) so far as the size it tells. Names are texts
 * without the last dot, "" being the root; a byte that is no printable character, and a dot or backslash within a label,
 * is written as in zone files: \DDD, \. and \\ (RFC 1035, 5.1).
 */
export const dnsHeaderBytes = 12;
export const dnsPort = 53;

export const DnsType = { a: 1, ns: 2, cname: 5, soa: 6, ptr: 12, aaaa: 28, opt: 41, ixfr: 251, axfr: 252, any: 255 } as const;
export const DnsClass = { in: 1, any: 255 } as const;
export const DnsCode = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;

/** What is answered over UDP to somebody who says nothing of larger messages (RFC 1035, 4.2.1). */
export const plainUdpBytes = 512;

const Flag = { response: 0x8000, authoritative: 0x0400, truncated: 0x0200, recursionDesired: 0x0100, recursionAvailable: 0x0080 } as const;

export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** A record, with where its parts lie: most are passed on without anybody looking into them. */
export interface DnsRecord {
  readonly nameAt: number;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly dataAt: number;
  readonly dataEnd: number;
}

export interface DnsHeader {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly code: number;
}

export interface DnsMessage extends DnsHeader {
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
  readonly additional: readonly DnsRecord[];
  /** How long an answer over UDP its sender takes (RFC 6891, 6.2.3); undefined without EDNS. */
  readonly udpBytes: number | undefined;
  /** Where the questions end. */
  readonly questionsEnd: number;
  /** Where the last record ends: what follows is no part of the message. */
  readonly end: number;
}

/** Nobody sends more than one, but the format allows it. */
const maxQuestions = 4;
const maxNameBytes = 255;
const maxLabelBytes = 63;
const pointerBits = 0xc0;

export function readDnsHeader(bytes: Uint8Array, at: number, end: number): DnsHeader | undefined {
  if (end - at < dnsHeaderBytes) return undefined;
  const flags = read16(bytes, at + 2);
  return {
    id: read16(bytes, at),
    response: (flags & Flag.response) !== 0,
    opcode: (flags >>> 11) & 15,
    authoritative: (flags & Flag.authoritative) !== 0,
    truncated: (flags & Flag.truncated) !== 0,
    recursionDesired: (flags & Flag.recursionDesired) !== 0,
    recursionAvailable: (flags & Flag.recursionAvailable) !== 0,
    code: flags & 15,
  };
}

/** The message in [at, end); undefined when something in it is cut off or a question's name is none. */
export function readDns(bytes: Uint8Array, at: number, end: number): DnsMessage | undefined {
  const header = readDnsHeader(bytes, at, end);
  const questionCount = read16(bytes, at + 4);
  if (header === undefined || questionCount > maxQuestions) return undefined;
  let position = at + dnsHeaderBytes;
  const questions: DnsQuestion[] = [];
  for (let count = 0; count < questionCount; count++) {
    const name = readDnsName(bytes, at, position, end);
    if (name === undefined || name.end + 4 > end) return undefined;
    questions.push({ name: name.name, type: read16(bytes, name.end), class: read16(bytes, name.end + 2) });
    position = name.end + 4;
  }
  const questionsEnd = position;
  const sections: DnsRecord[][] = [];
  for (const count of [read16(bytes, at + 6), read16(bytes, at + 8), read16(bytes, at + 10)]) {
    const records: DnsRecord[] = [];
    while (records.length < count) {
      const record = readRecord(bytes, position, end);
      if (record === undefined) return undefined;
      records.push(record);
      position = record.dataEnd;
    }
    sections.push(records);
  }
  const [answers = [], authority = [], additional = []] = sections;
  // RFC 6891, 6.1.2: the class of the OPT record is the size.
  const udpBytes = additional.find((record) => record.type === DnsType.opt)?.class;
  return { ...header, questions, answers, authority, additional, udpBytes, questionsEnd, end: position };
}

function readRecord(bytes: Uint8Array, at: number, end: number): DnsRecord | undefined {
  const nameEnd = skipName(bytes, at, end);
  if (nameEnd === undefined || nameEnd + 10 > end) return undefined;
  const dataAt = nameEnd + 10;
  const dataEnd = dataAt + read16(bytes, nameEnd + 8);
  if (dataEnd > end) return undefined;
  return { nameAt: at, type: read16(bytes, nameEnd), class: read16(bytes, nameEnd + 2), ttl: read32(bytes, nameEnd + 4), dataAt, dataEnd };
}

/** Where the name that begins at `at` ends, without following it. */
function skipName(bytes: Uint8Array, at: number, end: number): number | undefined {
  for (let position = at; position < end; ) {
    const length = bytes[position] ?? 0;
    if (length === 0) return position + 1;
    if ((length & pointerBits) === pointerBits) return position + 2 <= end ? position + 2 : undefined;
    if (length > maxLabelBytes) return undefined;
    position += 1 + length;
  }
  return undefined;
}

/**
 * The name at `at` in the message that begins at `start`, and where it ends there. A pointer leads to before the labels
 * that led to it, never forward: so the way through the message ends (RFC 1035, 4.1.4: "a prior occurrence").
 */
export function readDnsName(bytes: Uint8Array, start: number, at: number, end: number): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let nameEnd: number | undefined;
  let length = 1;
  let runStart = at;
  for (let position = at; position < end; ) {
    const byte = bytes[position] ?? 0;
    if (byte === 0) return { name: labels.join("."), end: nameEnd ?? position + 1 };
    if ((byte & pointerBits) === pointerBits) {
      if (position + 2 > end) return undefined;
      const target = start + (read16(bytes, position) & 0x3fff);
      if (target >= runStart || target < start + dnsHeaderBytes) return undefined;
      nameEnd ??= position + 2;
      runStart = target;
      position = target;
      continue;
    }
    length += 1 + byte;
    if (byte > maxLabelBytes || length > maxNameBytes || position + 1 + byte > end) return undefined;
    labels.push(labelText(bytes, position + 1, position + 1 + byte));
    position += 1 + byte;
  }
  return undefined;
}

function labelText(bytes: Uint8Array, at: number, end: number): string {
  let label = "";
  for (let position = at; position < end; position++) {
    const byte = bytes[position] ?? 0;
    if (byte <= 0x20 || byte >= 0x7f) label += `\\${String(byte).padStart(3, "0")}`;
    else label += byte === 0x2e || byte === 0x5c ? `\\${String.fromCharCode(byte)}` : String.fromCharCode(byte);
  }
  return label;
}

/** The labels of a name as bytes; undefined when it is none: a label is 1 to 63 bytes, a name 255 at most. */
function nameLabels(name: string): number[][] | undefined {
  if (name === "") return [];
  const labels: number[][] = [[]];
  let length = 2;
  for (let index = 0; index < name.length; index++) {
    const character = name.charCodeAt(index);
    if (character === 0x2e) {
      labels.push([]);
      length++;
      continue;
    }
    let byte = character;
    if (character === 0x5c) {
      const escape = /^\\(?:(\d{3})|([^\d]))/.exec(name.slice(index, index + 4));
      if (!escape) return undefined;
      byte = escape[1] === undefined ? (escape[2] ?? "").charCodeAt(0) : Number(escape[1]);
      index += escape[0].length - 1;
    }
    if (byte > 255) return undefined;
    labels.at(-1)?.push(byte);
    length++;
  }
  return length <= maxNameBytes && labels.every((label) => label.length > 0 && label.length <= maxLabelBytes) ? labels : undefined;
}

/** Names are the same whatever the case of their ASCII letters (RFC 4343). */
export function sameDnsName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** What a record says, for the types we have to do with; undefined for others, and for data that cannot be what they say. */
export function dnsRecordValue(bytes: Uint8Array, start: number, end: number, record: DnsRecord): DnsValue | undefined {
  const length = record.dataEnd - record.dataAt;
  switch (record.type) {
    case DnsType.a:
      return length === 4 ? { type: DnsType.a, address: read32(bytes, record.dataAt) } : undefined;
    case DnsType.aaaa:
      return length === 16 ? { type: DnsType.aaaa, address: bytes.slice(record.dataAt, record.dataEnd) } : undefined;
    case DnsType.cname:
    case DnsType.ptr: {
      const name = readDnsName(bytes, start, record.dataAt, end);
      return name?.end === record.dataEnd ? { type: record.type, name: name.name } : undefined;
    }
    default:
      return undefined;
  }
}

export type DnsValue =
  | { readonly type: typeof DnsType.a; readonly address: Ipv4Address }
  /** 16 bytes. */
  | { readonly type: typeof DnsType.aaaa; readonly address: Uint8Array }
  | { readonly type: typeof DnsType.cname | typeof DnsType.ptr; readonly name: string };

/** What a message is written from. */
export interface DnsFields extends Partial<DnsHeader> {
  readonly id: number;
  readonly questions: readonly DnsQuestion[];
  /** Of the class IN. */
  readonly answers?: readonly { readonly name: string; readonly ttl: number; readonly value: DnsValue }[];
  /** Adds an OPT record that tells this size. */
  readonly udpBytes?: number | undefined;
}

/**
 * Writes a message into [at, end) and returns where it ends. Answers that find no room are left out, and the message
 * says that it is truncated. Undefined when not even the questions fit, or a name is none.
 */
export function writeDns(bytes: Uint8Array, at: number, end: number, fields: DnsFields): number | undefined {
  if (end - at < dnsHeaderBytes) return undefined;
  const writer = new NameWriter(bytes, at, end - (fields.udpBytes === undefined ? 0 : optBytes));
  let position: number | undefined = at + dnsHeaderBytes;
  for (const question of fields.questions) {
    position = writer.write(question.name, position, 4);
    if (position === undefined) return undefined;
    write16(bytes, position, question.type);
    write16(bytes, position + 2, question.class);
    position += 4;
  }
  let answerCount = 0;
  for (const answer of fields.answers ?? []) {
    const next = writeAnswer(bytes, position, writer, answer);
    if (next === undefined) break;
    position = next;
    answerCount++;
  }
  const truncated = (fields.truncated ?? false) || answerCount < (fields.answers?.length ?? 0);
  write16(bytes, at, fields.id);
  write16(
    bytes,
    at + 2,
    (fields.response ? Flag.response : 0) |
      ((fields.opcode ?? 0) << 11) |
      (fields.authoritative ? Flag.authoritative : 0) |
      (truncated ? Flag.truncated : 0) |
      (fields.recursionDesired ? Flag.recursionDesired : 0) |
      (fields.recursionAvailable ? Flag.recursionAvailable : 0) |
      (fields.code ?? 0),
  );
  write16(bytes, at + 4, fields.questions.length);
  write16(bytes, at + 6, answerCount);
  write16(bytes, at + 8, 0);
  write16(bytes, at + 10, fields.udpBytes === undefined ? 0 : 1);
  if (fields.udpBytes === undefined) return position;
  if (position + optBytes > end) return undefined;
  bytes[position] = 0;
  write16(bytes, position + 1, DnsType.opt);
  write16(bytes, position + 3, fields.udpBytes);
  write32(bytes, position + 5, 0);
  write16(bytes, position + 9, 0);
  return position + optBytes;
}

const optBytes = 11;

function writeAnswer(bytes: Uint8Array, at: number, writer: NameWriter, answer: { name: string; ttl: number; value: DnsValue }): number | undefined {
  const { value } = answer;
  const fixed = 10 + ("name" in value ? 0 : value.type === DnsType.a ? 4 : 16);
  const nameEnd = writer.write(answer.name, at, fixed);
  if (nameEnd === undefined) return undefined;
  const dataAt = nameEnd + 10;
  let dataEnd: number | undefined;
  if ("name" in value) {
    dataEnd = writer.write(value.name, dataAt, 0);
    if (dataEnd === undefined) return undefined;
  } else if (value.type === DnsType.a) {
    write32(bytes, dataAt, value.address);
    dataEnd = dataAt + 4;
  } else {
    bytes.set(value.address.subarray(0, 16), dataAt);
    dataEnd = dataAt + 16;
  }
  write16(bytes, nameEnd, value.type);
  write16(bytes, nameEnd + 2, DnsClass.in);
  write32(bytes, nameEnd + 4, answer.ttl);
  write16(bytes, nameEnd + 8, dataEnd - dataAt);
  return dataEnd;
}

/** Writes names, each ending as one before it where that is possible (RFC 1035, 4.1.4). */
class NameWriter {
  private readonly written = new Map<string, number>();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly start: number,
    private readonly end: number,
  ) {}

  /** Writes `name` at `at` when it and `more` bytes fit; returns where it ends. */
  write(name: string, at: number, more: number): number | undefined {
    const labels = nameLabels(name);
    if (labels === undefined) return undefined;
    const suffixes = labels.map((_, index) => labels.slice(index).map((label) => String.fromCharCode(label.length, ...label)).join(""));
    const known = suffixes.findIndex((suffix) => this.written.has(suffix));
    const own = known < 0 ? labels : labels.slice(0, known);
    const length = own.reduce((sum, label) => sum + 1 + label.length, known < 0 ? 1 : 2);
    if (at + length + more > this.end) return undefined;
    let position = at;
    for (const [index, label] of own.entries()) {
      // A pointer has 14 bits.
      if (position - this.start < 0x4000) this.written.set(suffixes[index] ?? "", position - this.start);
      this.bytes[position] = label.length;
      this.bytes.set(label, position + 1);
      position += 1 + label.length;
    }
    if (known < 0) this.bytes[position] = 0;
    else write16(this.bytes, position, 0xc000 | (this.written.get(suffixes[known] ?? "") ?? 0));
    return position + (known < 0 ? 1 : 2);
  }
}
