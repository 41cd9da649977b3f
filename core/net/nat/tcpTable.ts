import type { Ipv4Address } from "../wire/addresses";
import type { TcpEnds } from "./tcpSegment";

/** An entry of a table, and the next one in its bucket. */
export interface TcpEntry {
  readonly ends: TcpEnds;
  nextInBucket: this | undefined;
}

const buckets = 4096;

/**
 * Connections by their four numbers. A Map would need a key of 96 bits, so a string for every segment; this finds them by
 * numbers alone. The last one found is asked first: segments come in runs. `salt` keeps a guest from choosing ports that
 * all fall into one bucket.
 */
export class TcpTable<E extends TcpEntry> {
  private readonly heads = new Array<E | undefined>(buckets).fill(undefined);
  private latest: E | undefined;

  constructor(private readonly salt: number) {}

  find(guestAddress: Ipv4Address, guestPort: number, remoteAddress: Ipv4Address, remotePort: number): E | undefined {
    if (this.latest && holds(this.latest.ends, guestAddress, guestPort, remoteAddress, remotePort)) return this.latest;
    for (let entry = this.heads[this.bucket(guestAddress, guestPort, remoteAddress, remotePort)]; entry; entry = entry.nextInBucket) {
      if (holds(entry.ends, guestAddress, guestPort, remoteAddress, remotePort)) return (this.latest = entry);
    }
    return undefined;
  }

  add(entry: E): void {
    const bucket = this.bucketOf(entry);
    entry.nextInBucket = this.heads[bucket];
    this.heads[bucket] = entry;
  }

  remove(entry: E): void {
    if (this.latest === entry) this.latest = undefined;
    const bucket = this.bucketOf(entry);
    const head = this.heads[bucket];
    if (head === entry) {
      this.heads[bucket] = entry.nextInBucket;
      return;
    }
    for (let before = head; before; before = before.nextInBucket) {
      if (before.nextInBucket === entry) {
        before.nextInBucket = entry.nextInBucket;
        return;
      }
    }
  }

  private bucketOf({ ends }: E): number {
    return this.bucket(ends.guestAddress, ends.guestPort, ends.remoteAddress, ends.remotePort);
  }

  private bucket(guestAddress: Ipv4Address, guestPort: number, remoteAddress: Ipv4Address, remotePort: number): number {
    let hash = Math.imul(guestAddress ^ this.salt, 0x9e37_79b1) ^ remoteAddress;
    hash = Math.imul(hash ^ (hash >>> 15), 0x85eb_ca6b) ^ ((guestPort << 16) | remotePort);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35) ^ this.salt;
    return (hash ^ (hash >>> 16)) & (buckets - 1);
  }
}

function holds(ends: TcpEnds, guestAddress: Ipv4Address, guestPort: number, remoteAddress: Ipv4Address, remotePort: number): boolean {
  return ends.guestPort === guestPort && ends.remotePort === remotePort && ends.remoteAddress === remoteAddress && ends.guestAddress === guestAddress;
}
