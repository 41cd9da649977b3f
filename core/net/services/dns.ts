import type { Clock } from "../../base/clock";
import type { Disposable } from "../../base/disposable";
import type { HostSockets } from "../nat/hostSockets";
import { inSubnet, parseIpv4, type Ipv4Address, type Subnet } from "../wire/addresses";
import { DnsClass, DnsCode, DnsType, plainUdpBytes, readDns, readDnsHeader, writeDns, type DnsFields, type DnsHeader, type DnsMessage, type DnsQuestion, type DnsValue } from "../wire/dns";
import { HostQuery } from "./dnsQuery";
import type { HostResolver } from "./hostResolver";

/*
 * The DNS server of a segment (RFC 1035, RFC 5625 for what a forwarder should leave alone). It answers the names of
 * machines itself and passes everything else on, as it is, to whom the host asks, from the host: so a resolver that only
 * the host reaches (127.0.0.53) works. It keeps no answers.
 */

/** The names of machines on a segment. */
export interface MachineNames {
  /** Of the segment: `NAME.domain` is the same as `NAME`. Nobody else is asked about names right below it. */
  readonly domain?: string | undefined;
  /** Nobody else is asked who has an address of it. */
  readonly subnet?: Subnet | undefined;
  /** Addresses of the machine of this name, which has small letters and no dots; undefined when there is none. */
  addresses(name: string): readonly Ipv4Address[] | undefined;
  nameOf(address: Ipv4Address): string | undefined;
}

export interface DnsAround {
  readonly clock: Clock;
  readonly sockets: HostSockets;
  readonly resolver: HostResolver;
  readonly names: MachineNames;
  /** An unforeseeable whole number of 16 bits: whoever can guess it can answer in a server's place. */
  readonly random16: () => number;
}

/** Takes the answer, once; its bytes are valid until it returns. */
export type DnsReply = (bytes: Uint8Array, at: number, end: number) => void;

/** Queries that wait for a server, in all and of one guest. */
export const maxOutstanding = 512;
export const maxOutstandingOfOne = 128;

/** Machines come and go, so nobody should remember them for long. */
const machineTtlSeconds = 10;
/** The longest answer over UDP, whatever the guest says it takes. */
const maxUdpBytes = 4096;
const maxTcpBytes = 65_535;

export class DnsForwarder implements Disposable {
  private readonly outstanding = new Map<HostQuery, Ipv4Address>();
  private readonly scratch = new Uint8Array(2048);
  private disposed = false;

  constructor(private readonly around: DnsAround) {}

  /** How many queries wait for a server. */
  get waiting(): number {
    return this.outstanding.size;
  }

  /**
   * Answers the query in [at, end), at once or later; what is no query is not answered.
   * @param over TCP: the message without the length in front of it; the answer comes without it too
   * @param guest who asks: one guest cannot take all of what may wait
   */
  answer(bytes: Uint8Array, at: number, end: number, over: "udp" | "tcp", guest: Ipv4Address, reply: DnsReply): void {
    const header = readDnsHeader(bytes, at, end);
    // A response that is answered with a response would go on for ever.
    if (this.disposed || header === undefined || header.response) return;
    const message = readDns(bytes, at, end);
    const question = message?.questions[0];
    if (header.opcode !== 0) return this.say(reply, { ...header, questions: message?.questions ?? [] }, { code: DnsCode.notImplemented });
    if (message === undefined || question === undefined || message.questions.length !== 1) {
      return this.say(reply, { ...header, questions: [] }, { code: DnsCode.formatError });
    }
    const own = this.ownAnswer(question);
    if (own) return this.say(reply, message, { authoritative: true, ...own });
    // Whole zones come in many messages, and are not a guest's business.
    if (question.type === DnsType.axfr || question.type === DnsType.ixfr) return this.say(reply, message, { code: DnsCode.refused });
    this.forward(bytes.slice(at, message.end), message, question, over, guest, reply);
  }

  dispose(): void {
    this.disposed = true;
    for (const query of [...this.outstanding.keys()]) query.dispose();
    this.outstanding.clear();
  }

  /** What is to be said about names and addresses of the segment itself; undefined when others know better. */
  private ownAnswer(question: DnsQuestion): Pick<DnsFields, "code" | "answers"> | undefined {
    if (question.class !== DnsClass.in && question.class !== DnsClass.any) return undefined;
    const wanted = (type: number): boolean => question.type === type || question.type === DnsType.any;
    const say = (...values: DnsValue[]): Pick<DnsFields, "code" | "answers"> => ({
      code: DnsCode.noError,
      answers: values.filter((value) => wanted(value.type)).map((value) => ({ name: question.name, ttl: machineTtlSeconds, value })),
    });
    const { names } = this.around;
    const reverse = addressOfReverseName(question.name);
    if (reverse !== undefined) {
      const name = names.nameOf(reverse);
      if (name !== undefined) return say({ type: DnsType.ptr, name: names.domain === undefined ? name : `${name}.${names.domain}` });
      return names.subnet && inSubnet(names.subnet, reverse) ? { code: DnsCode.nameError } : undefined;
    }
    const { label, inDomain } = this.machineLabel(question.name);
    const addresses = label === undefined ? undefined : names.addresses(label);
    if (addresses) return say(...addresses.map((address): DnsValue => ({ type: DnsType.a, address })));
    return inDomain ? { code: DnsCode.nameError } : undefined;
  }

  /** The machine's name in NAME or NAME.domain. */
  private machineLabel(name: string): { label: string | undefined; inDomain: boolean } {
    const lower = name.toLowerCase();
    const suffix = this.around.names.domain === undefined ? undefined : `.${this.around.names.domain.toLowerCase()}`;
    const inDomain = suffix !== undefined && lower.endsWith(suffix) && isLabel(lower.slice(0, -suffix.length));
    return { label: inDomain ? lower.slice(0, -suffix.length) : isLabel(lower) ? lower : undefined, inDomain };
  }

  private forward(query: Uint8Array, message: DnsMessage, question: DnsQuestion, over: "udp" | "tcp", guest: Ipv4Address, reply: DnsReply): void {
    let ofGuest = 0;
    for (const other of this.outstanding.values()) if (other === guest) ofGuest++;
    if (this.outstanding.size >= maxOutstanding || ofGuest >= maxOutstandingOfOne) return this.fail(message, reply);
    const { clock, sockets, resolver, random16 } = this.around;
    if (resolver.servers().length === 0) return this.fail(message, reply);
    const asking = new HostQuery({ clock, sockets, resolver, random16 }, query, question, (answer) => {
      this.outstanding.delete(asking);
      if (answer === undefined) this.fail(message, reply);
      else this.pass(answer, message, over, reply);
    });
    this.outstanding.set(asking, guest);
  }

  /** Gives an answer to the guest under the guest's own number, or word that it is too long. */
  private pass(answer: Uint8Array, message: DnsMessage, over: "udp" | "tcp", reply: DnsReply): void {
    const room = over === "tcp" ? maxTcpBytes : Math.min(Math.max(plainUdpBytes, message.udpBytes ?? 0), maxUdpBytes);
    if (answer.length > room) return this.say(reply, message, { code: readDnsHeader(answer, 0, answer.length)?.code, truncated: true });
    answer[0] = message.id >>> 8;
    answer[1] = message.id & 255;
    reply(answer, 0, answer.length);
  }

  private fail(message: DnsMessage, reply: DnsReply): void {
    this.say(reply, message, { code: DnsCode.serverFailure });
  }

  /** Says something of ours about a query. */
  private say(reply: DnsReply, query: Query, { code, truncated, authoritative, answers }: Partial<DnsFields>): void {
    const written = writeDns(this.scratch, 0, plainUdpBytes, {
      id: query.id,
      opcode: query.opcode,
      response: true,
      recursionDesired: query.recursionDesired,
      recursionAvailable: true,
      authoritative: authoritative ?? false,
      truncated: truncated ?? false,
      code: code ?? DnsCode.noError,
      questions: query.questions,
      answers: answers ?? [],
      udpBytes: query.udpBytes === undefined ? undefined : maxUdpBytes,
    });
    if (written !== undefined) reply(this.scratch, 0, written);
  }
}

type Query = DnsHeader & Pick<DnsMessage, "questions"> & { readonly udpBytes?: number | undefined };

function isLabel(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(text);
}

/** The address in 2.1.0.10.in-addr.arpa (RFC 1035, 3.5). */
function addressOfReverseName(name: string): Ipv4Address | undefined {
  const digits = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/i.exec(name);
  return digits ? parseIpv4(digits.slice(1).reverse().join(".")) : undefined;
}
