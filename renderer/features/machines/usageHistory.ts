import { usageIntervalMs, usageKeptMs, type UsageReport, type UsageSample } from "../../../core/contract/model";
import { formatBytes, plural } from "../../ui/format";

/** What is known of a machine's last five minutes. */
export const noHistory: UsageReport = { samples: [], absent: {} };

/** Two samples further apart than this were not made one after another: nobody watched in between. */
const gapMs = 2.5 * usageIntervalMs;

/** The history with what was reported since. Where the host's clock was set back, what was known does not fit any more. */
export function withReport({ samples }: UsageReport, report: UsageReport): UsageReport {
  const first = report.samples[0]?.at ?? Infinity;
  const all = [...samples.filter(({ at }) => at < first), ...report.samples];
  const newest = all.at(-1)?.at ?? 0;
  return { samples: all.filter(({ at }) => at > newest - usageKeptMs), absent: report.absent };
}

/** One line of a chart: its values by time, none where it is not known. */
export interface Series {
  /** "read" */
  readonly name: string;
  readonly of: (sample: UsageSample) => number | undefined;
}

/** A chart with what stands above it, all of it words. */
export interface Chart {
  readonly title: string;
  /** The figure of now, "23 %"; a dash where it is not known. */
  readonly value: string;
  /** What it is a figure of; and of the second line, its figure of now. */
  readonly of: string;
  readonly second?: string | undefined;
  readonly lines: readonly Series[];
  /** What the top of the chart stands for. */
  readonly top: number;
  /** The same for who cannot see it. */
  readonly description: string;
  /** Why there is nothing to show. */
  readonly absent?: string | undefined;
}

/** The least that fills a chart of bytes a second: a log that is written now and then is no mountain. */
const smallestRate = 64 * 1024;
const none = "–";

/** The four charts of a machine. */
export function chartsOf(history: UsageReport, machine: { cpus: number; memoryMiB: number }): Chart[] {
  const { samples, absent } = history;
  const now = samples.at(-1);
  return [processorChart(samples, now, absent, machine.cpus), memoryChart(samples, now, absent, machine.memoryMiB * 1024 * 1024), diskChart(samples, now, absent), networkChart(samples, now, absent)];
}

type Absent = UsageReport["absent"];

function processorChart(samples: readonly UsageSample[], now: UsageSample | undefined, absent: Absent, cpus: number): Chart {
  const percent: Series = { name: "busy", of: ({ cpu }) => (cpu === undefined ? undefined : (cpu / cpus) * 100) };
  const highest = peak(samples, percent);
  const of = cpus === 1 ? "of a processor" : `of ${cpus} processors`;
  const value = show(now, percent, formatPercent);
  return { title: "Processor", value, of, lines: [percent], top: Math.max(100, highest ?? 0), absent: absent.cpu, description: describe("Processor", [`${value} ${of}`], [`at most ${formatPercent(highest ?? 0)}`], absent.cpu, now) };
}

function memoryChart(samples: readonly UsageSample[], now: UsageSample | undefined, absent: Absent, givenBytes: number): Chart {
  const guest: Series = { name: "in the guest", of: ({ guestMemory }) => guestMemory && guestMemory.totalBytes - guestMemory.availableBytes };
  const host: Series = { name: "on the host", of: ({ residentBytes }) => residentBytes };
  const known = now?.guestMemory;
  const onHost = show(now, host, formatBytes);
  const top = Math.max(givenBytes, peak(samples, guest) ?? 0, peak(samples, host) ?? 0);
  // A guest that has told it before tells it again: its line keeps its place meanwhile.
  if (!known && peak(samples, guest) === undefined) {
    const value = onHost;
    const description = describe("Memory", [`${value} on the host`], [], absent.residentBytes, now);
    // The host's figure is there without the guest's, which is then told to be missing.
    const more = absent.residentBytes === undefined && absent.guestMemory !== undefined ? ` ${absent.guestMemory}` : "";
    return { title: "Memory", value, of: "on the host", lines: [host, guest], top, absent: absent.residentBytes, description: `${description}${more}` };
  }
  const value = show(now, guest, formatBytes);
  const of = `of ${formatBytes(known?.totalBytes ?? givenBytes)}`;
  const second = onHost === none ? undefined : `${onHost} on the host`;
  return { title: "Memory", value, of, second, lines: [guest, host], top, description: describe("Memory", [`${value} ${of} in the guest`, ...(second === undefined ? [] : [second])], [], undefined, now) };
}

function diskChart(samples: readonly UsageSample[], now: UsageSample | undefined, absent: Absent): Chart {
  const read: Series = { name: "read", of: ({ disk }) => disk?.readBytes };
  const written: Series = { name: "written", of: ({ disk }) => disk?.writtenBytes };
  const operations = now?.disk ? [`${plural(Math.round(now.disk.reads), "read")} and ${plural(Math.round(now.disk.writes), "write")} a second`] : [];
  return rateChart("Disk", [read, written], samples, now, absent.disk, operations);
}

function networkChart(samples: readonly UsageSample[], now: UsageSample | undefined, absent: Absent): Chart {
  const received: Series = { name: "in", of: ({ network }) => network?.receivedBytes };
  const sent: Series = { name: "out", of: ({ network }) => network?.sentBytes };
  return rateChart("Network", [received, sent], samples, now, absent.network, []);
}

function rateChart(title: string, lines: readonly [Series, Series], samples: readonly UsageSample[], now: UsageSample | undefined, absent: string | undefined, more: readonly string[]): Chart {
  const [first, second] = lines;
  const value = show(now, first, formatRate);
  const other = show(now, second, formatRate);
  const highest = Math.max(peak(samples, first) ?? 0, peak(samples, second) ?? 0);
  return {
    ...{ title, value, lines, absent, of: first.name, second: other === none ? undefined : `${other} ${second.name}` },
    top: Math.max(smallestRate, highest),
    description: describe(title, [`${value} ${first.name}`, `${other} ${second.name}`], [...more, `at most ${formatRate(highest)}`], absent, now),
  };
}

function describe(title: string, now: readonly string[], more: readonly string[], absent: string | undefined, sample: UsageSample | undefined): string {
  if (!sample) return `${title}: not measured yet.`;
  if (absent !== undefined) return `${title}: ${absent}`;
  return `${title} in the last five minutes: now ${[...now, ...more].join(", ")}.`;
}

function show(sample: UsageSample | undefined, { of }: Series, format: (value: number) => string): string {
  const value = sample && of(sample);
  return value === undefined ? none : format(value);
}

function peak(samples: readonly UsageSample[], { of }: Series): number | undefined {
  const values = samples.flatMap((sample) => of(sample) ?? []);
  return values.length === 0 ? undefined : Math.max(...values);
}

export function formatPercent(percent: number): string {
  return percent > 0 && percent < 1 ? "< 1 %" : `${Math.round(percent)} %`;
}

/** Bytes a second: `812 KB/s`. Less than a kilobyte is told in tenths, for the eye is not to jump between units. */
export function formatRate(bytes: number): string {
  if (bytes === 0) return "0";
  return bytes < 1024 ? `${(bytes / 1024).toFixed(1)} KB/s` : `${formatBytes(bytes)}/s`;
}

/**
 * A line through the values as the `d` of an SVG path, in a box of this size, with the newest sample at its right end and
 * five minutes across. It is interrupted where nothing is known. Also where its last point is, if the newest value is known.
 */
export function linePath(samples: readonly UsageSample[], { of }: Series, top: number, width: number, height: number): { line: string; area: string; end: { x: number; y: number } | undefined } {
  const newest = samples.at(-1)?.at ?? 0;
  const parts: { x: number; y: number }[][] = [];
  let before: number | undefined;
  for (const sample of samples) {
    const value = of(sample);
    if (value === undefined) {
      before = undefined;
      continue;
    }
    const point = { x: round(width * (1 - (newest - sample.at) / usageKeptMs)), y: round(height * (1 - Math.min(1, value / top))) };
    if (before === undefined || sample.at - before > gapMs) parts.push([point]);
    else parts.at(-1)?.push(point);
    before = sample.at;
  }
  const drawn = parts.map((points) => points.map(({ x, y }, index) => `${index === 0 ? "M" : "L"}${x} ${y}`).join(""));
  const area = parts.map((points, index) => `${drawn[index]}L${points.at(-1)?.x ?? 0} ${height}L${points[0]?.x ?? 0} ${height}Z`).join("");
  return { line: drawn.join(""), area, end: before === newest ? parts.at(-1)?.at(-1) : undefined };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
