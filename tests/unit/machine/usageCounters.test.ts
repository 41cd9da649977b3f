import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agentMemory, balloonMemory, diskCounters, networkCounters, ratesOf } from "../../../core/machine/usageCounters";

const mac = "52:54:00:12:34:56";
const given = 256 * 1024 * 1024;
const at = (ms: number, ...devices: [string, ...number[]][]) => ({ at: ms, value: new Map(devices.map(([name, ...counts]) => [name, counts])) });

describe("rates of counters", () => {
  it("are sums over the devices that were there both times", () => {
    expect(ratesOf(at(0, ["a", 0, 10], ["b", 5, 5]), at(2000, ["a", 4, 10], ["b", 7, 6], ["new", 1000, 1000]))).toEqual([3, 0.5]);
  });

  it("leave out a device that was reset, and are unknown when none is left", () => {
    expect(ratesOf(at(0, ["a", 0], ["b", 100]), at(1000, ["a", 1], ["b", 50]))).toEqual([1]);
    expect(ratesOf(at(0, ["b", 100]), at(1000, ["b", 50]))).toBeUndefined();
    expect(ratesOf(at(0, ["b", 100]), at(1000))).toBeUndefined();
  });

  it("are unknown where no time has passed", () => {
    expect(ratesOf(at(5, ["a", 0]), at(5, ["a", 1]))).toBeUndefined();
  });

  it("are never negative and never no number, whatever the counters are", () => {
    const counters = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.tuple(fc.nat(), fc.nat()), { noNullPrototype: true }).map((entries) => new Map(Object.entries(entries)));
    fc.assert(
      fc.property(counters, counters, fc.integer({ min: -10, max: 10_000 }), (before, after, ms) => {
        for (const rate of ratesOf({ at: 0, value: before }, { at: ms, value: after }) ?? []) expect(Number.isFinite(rate) && rate >= 0).toBe(true);
      }),
    );
  });
});

describe("what a machine says of itself", () => {
  it("is read of disks by the device, the drive or the block node", () => {
    const stats = { rd_bytes: 1, wr_bytes: 2, rd_operations: 3, wr_operations: 4, flush_operations: 9 };
    const counters = diskCounters([{ device: "ide0", qdev: "/machine/peripheral/disk0/virtio-backend", "node-name": "disk0", stats }, { device: "disk1", "node-name": "disk1", stats }, { device: "", "node-name": "disk2", stats }]);
    expect([...counters]).toEqual([
      ["/machine/peripheral/disk0/virtio-backend", [1, 2, 3, 4]],
      ["disk1", [1, 2, 3, 4]],
      ["disk2", [1, 2, 3, 4]],
    ]);
  });

  it("is read of the machine's own cards only, once for each", () => {
    const statistics = { "rx-bytes": 7, "tx-bytes": 8 };
    const counters = networkCounters(
      [
        { name: "lo", statistics },
        { name: "eth0", "hardware-address": mac.toUpperCase(), statistics },
        { name: "br0", "hardware-address": mac, statistics: { "rx-bytes": 1000, "tx-bytes": 1000 } },
        { name: "eth9", "hardware-address": "52:54:00:00:00:99", statistics },
      ],
      [mac],
    );
    expect([...counters]).toEqual([[mac, [7, 8]]]);
  });

  it("is not believed when it is more than the guest was given", () => {
    const balloon = (total: number, available: number) => balloonMemory({ stats: { "stat-total-memory": total, "stat-available-memory": available }, "last-update": 5 }, given).memory;
    expect(balloon(given, 10)).toEqual({ totalBytes: given, availableBytes: 10 });
    expect(balloon(given + 1, 10)).toBeUndefined();
    expect(balloon(100, 101)).toBeUndefined();
    expect(agentMemory({ memory: { "total-bytes": 2 ** 60, "available-bytes": 1 } }, given)).toBeUndefined();
  });

  it("is what is free and in caches where an old guest does not tell what is available", () => {
    const stats = { "stat-total-memory": 1000, "stat-free-memory": 100, "stat-disk-caches": 300, "stat-available-memory": 18446744073709551615 };
    expect(balloonMemory({ stats, "last-update": 5 }, given)).toEqual({ memory: { totalBytes: 1000, availableBytes: 400 }, updated: 5 });
  });

  it("may be anything: what is no sensible number counts as not told", () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: false }), (answer) => {
        diskCounters(answer);
        networkCounters(answer, [mac]);
        balloonMemory(answer, given);
        agentMemory(answer, given);
      }),
    );
    const odd = fc.oneof(fc.constant(-1), fc.constant(NaN), fc.constant(2 ** 63), fc.constant(0.5), fc.constant("12"), fc.constant(null));
    fc.assert(
      fc.property(odd, (value) => {
        expect(diskCounters([{ device: "a", stats: { rd_bytes: value, wr_bytes: 0, rd_operations: 0, wr_operations: 0 } }]).size).toBe(0);
        expect(networkCounters([{ "hardware-address": mac, statistics: { "rx-bytes": 0, "tx-bytes": value } }], [mac]).size).toBe(0);
        expect(balloonMemory({ stats: { "stat-total-memory": value, "stat-available-memory": 0 } }, given).memory).toBeUndefined();
      }),
    );
  });

  it("is read to a limit", () => {
    const stats = { rd_bytes: 1, wr_bytes: 2, rd_operations: 3, wr_operations: 4 };
    expect(diskCounters(Array.from({ length: 100_000 }, (_, index) => ({ device: `d${index}`, stats }))).size).toBe(64);
    expect([...diskCounters([{ device: "d".repeat(10_000), stats }]).keys()][0]).toHaveLength(200);
  });
});
