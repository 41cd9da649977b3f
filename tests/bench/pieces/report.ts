import { execFileSync } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";

/** What a figure should be. */
export type Goal = { readonly atMost: number } | { readonly atLeast: number };

/** One measured thing. `value` is null when it could not be measured; `error` then says why. */
export interface Figure {
  readonly figure: string;
  readonly value: number | null;
  readonly unit: string;
  readonly goal: string | null;
  readonly met: boolean | null;
  readonly error?: string;
  /** Rounds, medians and what else is needed to judge the value. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

export function figure(name: string, value: number, unit: string, goal?: Goal, detail?: Figure["detail"]): Figure {
  return { figure: name, value: rounded(value), unit, ...judged(value, unit, goal), ...(detail === undefined ? {} : { detail }) };
}

function judged(value: number, unit: string, goal: Goal | undefined): Pick<Figure, "goal" | "met"> {
  if (goal === undefined) return { goal: null, met: null };
  const after = unit === "" ? "" : ` ${unit}`;
  return "atMost" in goal ? { goal: `at most ${goal.atMost}${after}`, met: value <= goal.atMost } : { goal: `at least ${goal.atLeast}${after}`, met: value >= goal.atLeast };
}

/** A part of a bench: measures its figures, or says why it could not. The other parts go on. */
export interface Part {
  readonly name: string;
  measure(): Promise<Figure[]>;
}

/**
 * Measures the parts in turn and prints one JSON document. Parts named on the command line are measured alone.
 * The exit code is 1 when something could not be measured; a missed goal is a figure like any other.
 */
export async function runBench(bench: string, parts: readonly Part[]): Promise<void> {
  const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith("-"));
  const unknown = wanted.filter((name) => !parts.some((part) => part.name === name));
  if (unknown.length > 0) throw new Error(`the bench ${bench} has no part called ${unknown.join(", ")}; it has ${parts.map((part) => part.name).join(", ")}`);
  const at = new Date().toISOString();
  const loadBefore = loadavg();
  const figures: Figure[] = [];
  for (const part of parts) {
    if (wanted.length > 0 && !wanted.includes(part.name)) continue;
    say(`${part.name} ...`);
    try {
      for (const measured of await part.measure()) {
        figures.push(measured);
        say(`${measured.figure}: ${String(measured.value)} ${measured.unit}${measured.goal === null ? "" : ` (goal: ${measured.goal}${measured.met ? "" : ", MISSED"})`}`);
      }
    } catch (error) {
      process.exitCode = 1;
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      say(`${part.name} could not be measured: ${reason}`);
      figures.push({ figure: part.name, value: null, unit: "", goal: null, met: null, error: reason.slice(0, 4000) });
    }
  }
  const report = { bench, at, machine: machineFacts(), loadAverage: { before: loadBefore.map(rounded), after: loadavg().map(rounded) }, figures };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}

/** Progress, on standard error: standard output is the figures' alone. */
export function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function machineFacts(): Record<string, unknown> {
  const processors = cpus();
  return {
    processor: processors[0]?.model ?? "unknown",
    cores: processors.length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    commit: commit(),
  };
}

function commit(): string {
  const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8", cwd: process.env.TERRARIUM_CHECKOUT ?? "." }).trim();
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : " with changes");
  } catch (error) {
    // A copy without its history is measured all the same.
    return `unknown (${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)})`;
  }
}

/** The `fraction` quantile by the nearest rank. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * fraction) - 1))];
  if (value === undefined) throw new Error("there is no quantile of nothing");
  return value;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2 : quantile(sorted, 0.5);
}

/** Three significant places are more than a figure of this kind has. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

export function milliseconds(values: readonly number[]): number[] {
  return values.map((value) => Math.round(value));
}
