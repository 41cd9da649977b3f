import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { usageIntervalMs, type EngineId, type UsageReport, type UsageSample } from "../../core/contract/model";
import { TestHost } from "../support/host";

const MiB = 1024 * 1024;
const engines: EngineId[] = ["v86", "qemu"];

/** The same on both engines: nothing here asks which one it is but the machine's configuration. */
describe.each(engines)("the use of a starter machine on the engine %s", (engine) => {
  let test: TestHost;
  let id: string;
  /** When the sample was made after which `watch` looks: the first it sees tells of the time from then on. */
  let before: number | undefined;

  beforeAll(async () => {
    test = await TestHost.open();
    ({ id } = await test.create(`usage-${engine}`, { engine, disks: [{ sizeBytes: 256 * MiB }] }));
    await test.start(id);
    await test.untilAnswering(id);
  }, 600_000);
  afterAll(() => test.dispose());

  /** Asks as a window does, until samples made after this are as wanted; answers with those. */
  async function watch(wanted: (samples: readonly UsageSample[], report: UsageReport) => boolean): Promise<UsageSample[]> {
    const since = (await test.host.call("machine.usage", { id })).samples.at(-1)?.at;
    before = since;
    return vi.waitFor(
      async () => {
        const report = await test.host.call("machine.usage", { id, since });
        if (!wanted(report.samples, report)) throw new Error(`not yet: ${JSON.stringify(report).slice(-500)}`);
        return report.samples;
      },
      { interval: 250, timeout: 100_000 },
    );
  }
  const highest = (samples: readonly UsageSample[], of: (sample: UsageSample) => number | undefined): number => Math.max(0, ...samples.map((sample) => of(sample) ?? 0));

  it("is told of processor, memory, disks and cards, and not before anybody has asked", async () => {
    expect(await test.host.call("machine.usage", { id })).toEqual({ samples: [], absent: {} });
    let report: UsageReport | undefined;
    const samples = await watch((seen, now) => {
      report = now;
      return seen.some(({ cpu, disk, network, guestMemory }) => cpu !== undefined && disk !== undefined && network !== undefined && guestMemory !== undefined);
    });
    expect(report?.absent).toEqual({});
    const sample = samples.at(-1)!;
    const { pid } = JSON.parse(await readFile(join((await test.get(id)).folder, "run.json"), "utf8")) as { pid: number };
    const resident = 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);
    expect(Math.abs(sample.residentBytes! - resident)).toBeLessThan(0.2 * resident);
    // The guest's own account, read in the guest.
    const total = 1024 * Number(await test.shell(id, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"));
    const available = 1024 * Number(await test.shell(id, "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"));
    expect(sample.guestMemory!.totalBytes).toBe(total);
    expect(Math.abs(sample.guestMemory!.availableBytes - available)).toBeLessThan(16 * MiB);
    // No cable is plugged.
    expect(sample.network).toEqual({ receivedBytes: 0, sentBytes: 0 });
  });

  it("rises with a busy loop, and falls when that ends", async () => {
    const idle = highest(await watch((samples) => samples.length >= 3), ({ cpu }) => cpu);
    await test.shell(id, "(while :; do :; done) >/dev/null 2>&1 & echo $! >/tmp/busy");
    const busy = highest(await watch((samples) => highest(samples, ({ cpu }) => cpu) > 0.4), ({ cpu }) => cpu);
    expect(busy).toBeGreaterThan(idle);
    await test.shell(id, "kill $(cat /tmp/busy)");
    await watch((samples) => samples.some(({ cpu }) => cpu !== undefined && cpu < 0.3));
  });

  it("counts every byte that is written to the disk, and read from it", async () => {
    // Long enough for several samples: one alone may be told a little before or after its bytes were counted.
    const written = 36 * MiB;
    await watch((samples) => samples.length >= 2);
    let asked = watch((samples) => sum(before, samples, ({ disk }) => disk?.writtenBytes) > 0.9 * written);
    await test.shell(id, "dd if=/dev/urandom of=/data/file bs=64k count=576 && sync");
    const writing = await asked;
    expect(sum(before, writing, ({ disk }) => disk?.writtenBytes)).toBeLessThan(2 * written);
    expect(highest(writing, ({ disk }) => disk?.writes)).toBeGreaterThan(0);
    asked = watch((samples) => sum(before, samples, ({ disk }) => disk?.readBytes) > 0.9 * written);
    await test.shell(id, "echo 3 >/proc/sys/vm/drop_caches; cat /data/file >/dev/null");
    expect(sum(before, await asked, ({ disk }) => disk?.readBytes)).toBeLessThan(2 * written);
  });

  it("shows what the guest takes of its memory", async () => {
    const before = (await watch((samples) => samples.some(({ guestMemory }) => guestMemory))).at(-1)!.guestMemory!.availableBytes;
    await test.shell(id, "mount -t tmpfs none /mnt && dd if=/dev/zero of=/mnt/ballast bs=1M count=64");
    await watch((samples) => samples.some(({ guestMemory }) => guestMemory !== undefined && guestMemory.availableBytes < before - 48 * MiB));
    await test.shell(id, "umount /mnt");
  });

  it("goes on while the machine is paused, and is over when the machine is", async () => {
    await test.host.call("machine.pause", { id });
    // The guest cannot say anything now; the host can.
    const paused = await watch((samples) => samples.some(({ cpu, disk }) => cpu !== undefined && cpu < 0.2 && disk?.writtenBytes === 0));
    expect(paused.at(-1)?.network).toBeUndefined();
    await test.host.call("machine.resume", { id });
    await watch((samples) => samples.some(({ network }) => network !== undefined));
    await test.host.call("machine.powerOff", { id });
    expect(await test.host.call("machine.usage", { id })).toEqual({ samples: [], absent: {} });
  });
});

/** What the rates of samples that follow each other amount to; `before` is when the sample in front of them was made. */
function sum(before: number | undefined, samples: readonly UsageSample[], of: (sample: UsageSample) => number | undefined): number {
  let total = 0;
  for (const [index, sample] of samples.entries()) {
    const spanMs = sample.at - (samples[index - 1]?.at ?? before ?? sample.at - usageIntervalMs);
    total += ((of(sample) ?? 0) * spanMs) / 1000;
  }
  return total;
}
