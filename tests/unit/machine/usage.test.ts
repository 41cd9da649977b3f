import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { silentLog } from "../../../core/base/log";
import { ok, type Result } from "../../../core/base/result";
import { TerrariumError } from "../../../core/contract/errors";
import { UsageReport, usageIntervalMs, usageKeptMs } from "../../../core/contract/model";
import { AgentError } from "../../../core/machine/agentClient";
import type { ProcessUsage } from "../../../core/machine/processUsage";
import { UsageMeter } from "../../../core/machine/usage";

const MiB = 1024 * 1024;
const mac = "52:54:00:12:34:56";

/** A machine whose figures a test sets, on a clock of its own. */
class Subject {
  readonly clock = new ManualClock(1_700_000_000_000);
  readonly log = silentLog;
  readonly memoryBytes = 256 * MiB;
  /** Everything that was asked, in order. */
  asked: string[] = [];
  cpuSeconds = 0;
  disk = { rd_bytes: 0, wr_bytes: 0, rd_operations: 0, wr_operations: 0 };
  card = { "rx-bytes": 0, "tx-bytes": 0 };
  answers = true;
  hasCard = true;
  /** Set: the monitor is not answered until it is called. */
  hold: Promise<void> | undefined;
  processUsage: () => Result<ProcessUsage> = () => ok({ cpuSeconds: this.cpuSeconds, residentBytes: 100 * MiB });
  monitor: (command: string, args?: Record<string, unknown>) => unknown = (command) => {
    if (command === "query-blockstats") return [{ device: "", qdev: "/machine/peripheral/disk0/virtio-backend", stats: this.disk }];
    if (command === "qom-get") return { stats: { "stat-total-memory": 200 * MiB, "stat-available-memory": 150 * MiB }, "last-update": 1 };
    return {};
  };
  guest: (command: string) => unknown = (command) => {
    if (command !== "terrarium-usage") throw new AgentError(command, "not found");
    return { memory: { "total-bytes": 240 * MiB, "available-bytes": 180 * MiB }, interfaces: [{ "hardware-address": mac.toUpperCase(), statistics: this.card }] };
  };

  constructor(readonly balloon = false) {}

  readonly qmp = {
    isClosed: false,
    execute: async (command: string, args?: Record<string, unknown>): Promise<unknown> => {
      this.asked.push(args === undefined ? command : `${command} ${String(args["value"] ?? args["property"])}`);
      await this.hold;
      return this.monitor(command, args);
    },
  };
  readonly agent = {
    execute: async (command: string): Promise<unknown> => {
      this.asked.push(command);
      return this.guest(command);
    },
  };
  process = async (): Promise<Result<ProcessUsage>> => {
    this.asked.push("process");
    return this.processUsage();
  };
  agentAnswers = (): boolean => this.answers;
  macs = (): string[] => (this.hasCard ? [mac] : []);

  /** Lets time pass, with what is answered in between. */
  async pass(ms: number, step = 500): Promise<void> {
    await settle();
    for (let passed = 0; passed < ms; passed += step) {
      this.clock.advance(step);
      await settle();
    }
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Watches for a while: asks as a window does. */
async function watch(meter: UsageMeter, subject: Subject, ms: number): Promise<UsageReport> {
  meter.report();
  for (let passed = 0; passed < ms; passed += usageIntervalMs) {
    await subject.pass(usageIntervalMs);
    meter.report();
  }
  return UsageReport.parse(meter.report());
}

describe("the use of a machine", () => {
  it("is a difference of counters a second, and what there is of a moment", async () => {
    const subject = new Subject();
    const meter = new UsageMeter(subject);
    meter.report();
    await subject.pass(500);
    subject.cpuSeconds = 1.5;
    subject.disk = { rd_bytes: 2000, wr_bytes: 8_000_000, rd_operations: 4, wr_operations: 20 };
    subject.card = { "rx-bytes": 100, "tx-bytes": 4000 };
    const { samples, absent } = await watch(meter, subject, usageIntervalMs);
    expect(samples[0]).toEqual({ at: subject.clock.now() - 2500, residentBytes: 100 * MiB, guestMemory: { totalBytes: 240 * MiB, availableBytes: 180 * MiB } });
    expect(samples[1]).toEqual({
      ...samples[0],
      at: subject.clock.now() - 500,
      cpu: 0.75,
      disk: { readBytes: 1000, writtenBytes: 4_000_000, reads: 2, writes: 10 },
      network: { receivedBytes: 50, sentBytes: 2000 },
    });
    expect(absent).toEqual({});
    meter.dispose();
  });

  it("costs nothing while nobody watches, and begins anew after that", async () => {
    const subject = new Subject(true);
    const meter = new UsageMeter(subject);
    await subject.pass(60_000);
    expect(subject.asked).toEqual([]);
    meter.report();
    await subject.pass(30_000);
    const asked = subject.asked.length;
    expect(subject.asked.filter((question) => question === "process")).toHaveLength(5);
    // The guest is told once to count its memory, and once that it need not any more.
    expect(subject.asked.filter((question) => question.startsWith("qom-set"))).toEqual(["qom-set 2", "qom-set 0"]);
    await subject.pass(120_000);
    expect(subject.asked).toHaveLength(asked);
    subject.cpuSeconds = 1000;
    const { samples } = await watch(meter, subject, 2 * usageIntervalMs);
    // What happened unwatched is spread over no sample.
    expect(samples.map(({ cpu }) => cpu).filter((cpu) => cpu !== undefined && cpu > 0)).toEqual([]);
    expect(samples.at(-1)?.cpu).toBe(0);
    meter.dispose();
  });

  it("is measured once, however many watch", async () => {
    const subject = new Subject();
    const meter = new UsageMeter(subject);
    for (let passed = 0; passed < 20_000; passed += 250) {
      meter.report();
      await subject.pass(250, 250);
    }
    expect(subject.asked.filter((question) => question === "process")).toHaveLength(11);
    meter.dispose();
  });

  it("is known for the last five minutes and no longer, and is told from a moment on", async () => {
    const subject = new Subject();
    const meter = new UsageMeter(subject);
    const { samples } = await watch(meter, subject, 2 * usageKeptMs);
    expect(samples).toHaveLength(usageKeptMs / usageIntervalMs);
    const later = samples.at(-3)!;
    expect(meter.report(later.at).samples).toEqual(samples.slice(-2));
    expect(meter.report(samples.at(-1)!.at).samples).toEqual([]);
    // Whoever's clock was ahead hears everything.
    expect(meter.report(subject.clock.now() + 3_600_000).samples).toHaveLength(samples.length);
    // Nobody has watched since the lease ran out.
    await subject.pass(usageKeptMs + 12_000);
    expect(meter.report().samples).toEqual([]);
    meter.dispose();
  });

  it("has no rate for the time in which a counter went backwards, and goes on from there", async () => {
    const subject = new Subject();
    subject.disk = { rd_bytes: 5000, wr_bytes: 0, rd_operations: 5, wr_operations: 0 };
    const meter = new UsageMeter(subject);
    await watch(meter, subject, usageIntervalMs);
    subject.disk = { rd_bytes: 100, wr_bytes: 0, rd_operations: 1, wr_operations: 0 };
    const { samples: reset } = await watch(meter, subject, usageIntervalMs);
    expect(reset.at(-1)?.disk).toBeUndefined();
    subject.disk = { rd_bytes: 2100, wr_bytes: 0, rd_operations: 2, wr_operations: 0 };
    const { samples } = await watch(meter, subject, usageIntervalMs);
    expect(samples.at(-1)?.disk).toEqual({ readBytes: 1000, writtenBytes: 0, reads: 0.5, writes: 0 });
    meter.dispose();
  });

  it("does not wait for a monitor that hangs, asks it once, and counts over the whole time when it comes back", async () => {
    const subject = new Subject();
    const meter = new UsageMeter(subject);
    await watch(meter, subject, usageIntervalMs);
    let release = (): void => undefined;
    subject.hold = new Promise((resolve) => (release = resolve));
    subject.asked = [];
    const { samples: hung } = await watch(meter, subject, 3 * usageIntervalMs);
    expect(hung.at(-1)).toMatchObject({ cpu: 0 });
    expect(hung.at(-1)?.disk).toBeUndefined();
    expect(subject.asked.filter((question) => question === "query-blockstats")).toHaveLength(1);
    subject.disk = { rd_bytes: 0, wr_bytes: 800_000, rd_operations: 0, wr_operations: 8 };
    subject.hold = undefined;
    release();
    const { samples } = await watch(meter, subject, usageIntervalMs);
    // All of it in one sample, and as a rate of the time it took and not of one interval.
    const [written = 0, ...others] = samples.flatMap(({ disk }) => (disk && disk.writtenBytes > 0 ? [disk.writtenBytes] : []));
    expect(others).toEqual([]);
    expect(written).toBeGreaterThan(50_000);
    expect(written).toBeLessThan(200_000);
    meter.dispose();
  });

  it("takes the guest's memory from the balloon where there is one, and from the agent where that has no driver", async () => {
    const subject = new Subject(true);
    const meter = new UsageMeter(subject);
    expect((await watch(meter, subject, usageIntervalMs)).samples.at(-1)?.guestMemory).toEqual({ totalBytes: 200 * MiB, availableBytes: 150 * MiB });
    subject.monitor = (command) => (command === "query-blockstats" ? [] : { stats: { "stat-total-memory": 2 ** 64, "stat-available-memory": 2 ** 64 }, "last-update": 0 });
    expect((await watch(meter, subject, usageIntervalMs)).samples.at(-1)?.guestMemory).toEqual({ totalBytes: 240 * MiB, availableBytes: 180 * MiB });
    meter.dispose();
  });

  it("does not go on showing what a guest that hangs said of its memory last", async () => {
    const subject = new Subject(true);
    subject.answers = false;
    const meter = new UsageMeter(subject);
    expect((await watch(meter, subject, usageIntervalMs)).samples.at(-1)?.guestMemory).toBeDefined();
    const { samples, absent } = await watch(meter, subject, 12_000);
    expect(samples.at(-1)?.guestMemory).toBeUndefined();
    expect(absent.guestMemory).toContain("balloon");
    meter.dispose();
  });

  it("asks a stranger's agent what every agent knows, after it has refused our own question once", async () => {
    const subject = new Subject();
    subject.guest = (command) => {
      if (command !== "guest-network-get-interfaces") throw new AgentError(command, "The command has not been found");
      return [{ name: "eth0", "hardware-address": mac, statistics: subject.card }];
    };
    const meter = new UsageMeter(subject);
    const { samples, absent } = await watch(meter, subject, 3 * usageIntervalMs);
    expect(samples.at(-1)?.network).toEqual({ receivedBytes: 0, sentBytes: 0 });
    expect(subject.asked.filter((question) => question === "terrarium-usage")).toHaveLength(1);
    expect(absent).toEqual({ guestMemory: "The guest's agent does not tell how much memory is used." });
    meter.dispose();
  });

  it("says why a figure is absent", async () => {
    const subject = new Subject();
    subject.answers = false;
    subject.processUsage = () => ({ ok: false, error: "Nobody counts here." });
    subject.monitor = () => {
      throw new TerrariumError("timeout", "The monitor is silent.");
    };
    const meter = new UsageMeter(subject);
    const { samples, absent } = await watch(meter, subject, usageIntervalMs);
    expect(Object.keys(samples.at(-1)!)).toEqual(["at"]);
    expect(absent).toMatchObject({ cpu: "Nobody counts here.", residentBytes: "Nobody counts here.", disk: "The monitor is silent." });
    expect(absent.network).toContain("agent");
    expect(absent.guestMemory).toContain("agent");
    subject.hasCard = false;
    subject.monitor = () => [];
    const bare = await watch(meter, subject, usageIntervalMs);
    expect(bare.absent).toMatchObject({ disk: "The machine has no disk.", network: "The machine has no network card." });
    meter.dispose();
  });

  it("keeps its times in order when the clock is set back", async () => {
    const subject = new Subject();
    const clock = new (class extends ManualClock {
      back = 0;
      override now(): number {
        return super.now() - this.back;
      }
    })(1_700_000_000_000);
    Object.assign(subject, { clock });
    const meter = new UsageMeter(subject);
    await watch(meter, subject, 10_000);
    clock.back = 3_600_000;
    const { samples } = await watch(meter, subject, 4000);
    const times = samples.map(({ at }) => at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times.every((at) => at <= clock.now())).toBe(true);
    expect(times.length).toBeGreaterThan(1);
    meter.dispose();
  });

  it("leaves nothing behind when the run ends", async () => {
    const subject = new Subject(true);
    const meter = new UsageMeter(subject);
    await watch(meter, subject, usageIntervalMs);
    subject.qmp.isClosed = true;
    meter.dispose();
    subject.asked = [];
    meter.report();
    await subject.pass(10_000);
    expect(subject.asked).toEqual([]);
  });
});
