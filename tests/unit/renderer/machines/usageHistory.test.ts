import { describe, expect, it } from "vitest";
import { usageIntervalMs, usageKeptMs, type UsageSample } from "../../../../core/contract/model";
import { chartsOf, formatPercent, formatRate, linePath, noHistory, withReport, type Series } from "../../../../renderer/features/machines/usageHistory";

const MiB = 1024 * 1024;
const began = 1_700_000_000_000;
const sample = (index: number, part: Partial<UsageSample> = {}): UsageSample => ({ at: began + index * usageIntervalMs, ...part });
const full: Partial<UsageSample> = {
  cpu: 0.5,
  residentBytes: 300 * MiB,
  guestMemory: { totalBytes: 240 * MiB, availableBytes: 180 * MiB },
  disk: { readBytes: 2048, writtenBytes: 3 * MiB, reads: 1, writes: 12.4 },
  network: { receivedBytes: 100, sentBytes: 0 },
};
const cpu: Series = { name: "busy", of: (one) => one.cpu };

describe("the history of a machine's use", () => {
  it("grows by what is reported, and forgets what is older than five minutes", () => {
    const count = usageKeptMs / usageIntervalMs;
    let history = noHistory;
    for (let index = 0; index < count + 20; index++) history = withReport(history, { samples: [sample(index)], absent: {} });
    expect(history.samples).toHaveLength(count);
    expect(history.samples[0]).toEqual(sample(20));
  });

  it("lets go of times that come again, because the host's clock was set back", () => {
    const before = withReport(noHistory, { samples: [0, 1, 2, 3].map((index) => sample(index)), absent: {} });
    const after = withReport(before, { samples: [sample(2, { cpu: 1 })], absent: {} });
    expect(after.samples).toEqual([sample(0), sample(1), sample(2, { cpu: 1 })]);
  });

  it("says why something is absent only as long as that is so", () => {
    const absent = withReport(noHistory, { samples: [sample(0)], absent: { disk: "no disk" } });
    expect(absent.absent).toEqual({ disk: "no disk" });
    expect(withReport(absent, { samples: [], absent: {} }).absent).toEqual({});
  });
});

describe("the charts of a machine's use", () => {
  const charts = (part: Partial<UsageSample>, absent = {}, cpus = 1) => chartsOf({ samples: [sample(0), sample(1, part)], absent }, { cpus, memoryMiB: 256 });

  it("say in words what they draw", () => {
    expect(charts(full).map(({ title, value, of, second }) => [title, value, of, second])).toEqual([
      ["Processor", "50 %", "of a processor", undefined],
      ["Memory", "60 MB", "of 240 MB", "300 MB on the host"],
      ["Disk", "2 KB/s", "read", "3 MB/s written"],
      ["Network", "0.1 KB/s", "in", "0 out"],
    ]);
    expect(charts(full)[2]?.description).toBe("Disk in the last five minutes: now 2 KB/s read, 3 MB/s written, 1 read and 12 writes a second, at most 3 MB/s.");
    expect(charts(full, {}, 2)[0]).toMatchObject({ value: "25 %", of: "of 2 processors" });
  });

  it("say what is not known, and why", () => {
    const [processor, memory, disk, network] = charts({ residentBytes: 300 * MiB }, { cpu: "Nobody counts.", guestMemory: "No agent.", disk: "No disk.", network: "No card." });
    expect(processor).toMatchObject({ value: "–", absent: "Nobody counts." });
    // What the host sees of its memory is known all the same.
    expect(memory).toMatchObject({ value: "300 MB", of: "on the host", absent: undefined, description: "Memory in the last five minutes: now 300 MB on the host. No agent." });
    const once = chartsOf({ samples: [sample(0, full), sample(1, { residentBytes: 300 * MiB })], absent: {} }, { cpus: 1, memoryMiB: 256 });
    expect(once[1]).toMatchObject({ value: "–", of: "of 256 MB", second: "300 MB on the host" });
    expect(disk).toMatchObject({ value: "–", absent: "No disk.", description: "Disk: No disk." });
    expect(network).toMatchObject({ value: "–", absent: "No card." });
    expect(chartsOf(noHistory, { cpus: 1, memoryMiB: 256 }).map(({ description }) => description)).toEqual(["Processor", "Memory", "Disk", "Network"].map((title) => `${title}: not measured yet.`));
  });

  it("are as high as what they show", () => {
    expect(charts({ cpu: 3 })[0]?.top).toBe(300);
    expect(charts({ cpu: 0.1 })[0]?.top).toBe(100);
    expect(charts({ residentBytes: 900 * MiB })[1]?.top).toBe(900 * MiB);
    expect(charts({ disk: { readBytes: 10, writtenBytes: 20, reads: 0, writes: 0 } })[2]?.top).toBe(64 * 1024);
  });

  it("are lines over five minutes that end with the newest sample", () => {
    const samples = [sample(0, { cpu: 0 }), sample(1, { cpu: 1 }), sample(2, { cpu: 0.5 })];
    expect(linePath(samples, cpu, 1, 150, 100)).toEqual({
      line: "M148 100L149 0L150 50",
      area: "M148 100L149 0L150 50L150 100L148 100Z",
      end: { x: 150, y: 50 },
    });
  });

  it("have gaps where nothing is known and where nobody watched", () => {
    const samples = [sample(0, { cpu: 0 }), sample(1), sample(2, { cpu: 1 }), sample(10, { cpu: 1 }), sample(11)];
    const { line, end } = linePath(samples, cpu, 1, 150, 100);
    expect(line.match(/M/g)).toHaveLength(3);
    expect(end).toBeUndefined();
    expect(linePath([], cpu, 1, 150, 100)).toEqual({ line: "", area: "", end: undefined });
  });

  it("put numbers in few words", () => {
    expect([0, 0.4, 1, 99.6].map(formatPercent)).toEqual(["0 %", "< 1 %", "1 %", "100 %"]);
    expect([0, 100, 1024, 12 * MiB].map(formatRate)).toEqual(["0", "0.1 KB/s", "1 KB/s", "12 MB/s"]);
  });
});
