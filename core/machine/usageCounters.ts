import { isRecord } from "../engine/qmp";

/*
 * Figures that machine processes and guests tell of themselves. Both are hostile: everything is checked, and what is not
 * a sensible number counts as not told.
 */

/** Totals since some beginning, by the device they belong to; every device has the same columns. */
export type Counters = ReadonlyMap<string, readonly number[]>;

/** What was read, and when by the monotonic clock. */
export interface Reading<T> {
  readonly at: number;
  readonly value: T;
}

const maxDevices = 64;
const maxNameLength = 200;

/**
 * How much the counters grew a second between two readings, columns summed over the devices. A device that came or went,
 * and one whose counters went backwards (it was reset), tells nothing of the time between; undefined when none does.
 */
export function ratesOf(before: Reading<Counters>, after: Reading<Counters>): number[] | undefined {
  const seconds = (after.at - before.at) / 1000;
  if (seconds <= 0) return undefined;
  let sums: number[] | undefined;
  for (const [device, counts] of after.value) {
    const earlier = before.value.get(device);
    if (!earlier || counts.some((count, column) => count < (earlier[column] ?? Infinity))) continue;
    sums ??= counts.map(() => 0);
    for (const [column, count] of counts.entries()) sums[column] = (sums[column] ?? 0) + (count - (earlier[column] ?? 0)) / seconds;
  }
  return sums;
}

/** QMP reference, query-blockstats: bytes read and written, reads and writes of every disk and drive the guest has. */
export function diskCounters(answer: unknown): Counters {
  const counters = new Map<string, number[]>();
  for (const entry of list(answer)) {
    const stats = entry["stats"];
    const name = [entry["qdev"], entry["device"], entry["node-name"]].find((candidate) => typeof candidate === "string" && candidate !== "");
    if (!isRecord(stats) || typeof name !== "string") continue;
    const counts = ["rd_bytes", "wr_bytes", "rd_operations", "wr_operations"].map((column) => count(stats[column]));
    if (counts.every(isKnown)) counters.set(name.slice(0, maxNameLength), counts);
  }
  return counters;
}

/**
 * Bytes received and sent by adapter, of the shape of the guest agent's guest-network-get-interfaces. Of interfaces with
 * the same address (a bridge has that of its first card) the first one is the card.
 */
export function networkCounters(interfaces: unknown, macs: readonly string[]): Counters {
  const counters = new Map<string, number[]>();
  for (const entry of list(interfaces)) {
    const { statistics } = entry;
    const address = entry["hardware-address"];
    const mac = typeof address === "string" ? address.toLowerCase() : "";
    if (!macs.includes(mac) || counters.has(mac) || !isRecord(statistics)) continue;
    const counts = ["rx-bytes", "tx-bytes"].map((column) => count(statistics[column]));
    if (counts.every(isKnown)) counters.set(mac, counts);
  }
  return counters;
}

export interface GuestMemory {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

/** The guest-stats of a balloon device (VIRTIO 1.1, 5.5.6.4), if the guest has a driver that tells them. What it does not tell is 2^64 - 1. */
export function balloonMemory(answer: unknown, givenBytes: number): { memory: GuestMemory | undefined; updated: number } {
  if (!isRecord(answer) || !isRecord(answer["stats"])) return { memory: undefined, updated: 0 };
  const { stats } = answer;
  const [free, caches] = [count(stats["stat-free-memory"]), count(stats["stat-disk-caches"])];
  // Linux tells what is available since 4.6; before that it is about what is free or could be given up.
  const available = count(stats["stat-available-memory"]) ?? (free === undefined ? undefined : free + (caches ?? 0));
  return { memory: sensible(count(stats["stat-total-memory"]), available, givenBytes), updated: count(answer["last-update"]) ?? 0 };
}

/** The `memory` of our own agent's terrarium-usage. */
export function agentMemory(answer: unknown, givenBytes: number): GuestMemory | undefined {
  const memory = isRecord(answer) ? answer["memory"] : undefined;
  return isRecord(memory) ? sensible(count(memory["total-bytes"]), count(memory["available-bytes"]), givenBytes) : undefined;
}

/** No guest has more than it was given, or more left than it has. */
function sensible(total: number | undefined, available: number | undefined, givenBytes: number): GuestMemory | undefined {
  if (total === undefined || available === undefined || total === 0 || total > givenBytes || available > total) return undefined;
  return { totalBytes: total, availableBytes: available };
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.slice(0, maxDevices).filter(isRecord) : [];
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function isKnown(value: number | undefined): value is number {
  return value !== undefined;
}
