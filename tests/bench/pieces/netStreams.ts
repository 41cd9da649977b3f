import type { Namespace } from "../../support/namespaces";
import { passing, processorSeconds } from "./processes";
import { median, rounded } from "./report";

export interface Stream {
  readonly gigabits: number;
  /** Processor time of those that carried it, seconds for each gigabyte. */
  readonly processor: number;
}

const seconds = 2;

/** An iperf3 server that stays until its namespace goes. */
export async function startServer(namespace: Namespace, address: string): Promise<void> {
  const server = namespace.spawn("iperf3", "--server", "--bind", address);
  let printed = "";
  for (const stream of [server.stdout, server.stderr]) stream?.on("data", (chunk: Buffer) => (printed = (printed + chunk.toString()).slice(-4000)));
  for (let tries = 0; !(await namespace.run("ss", "--listening", "--tcp", "--numeric")).stdout.includes(":5201 "); tries++) {
    if (tries > 200 || server.exitCode !== null) throw new Error(`iperf3 does not listen: ${printed}`);
    await passing(50);
  }
}

/** One TCP stream from the namespace to the server, or (`down`) from the server. */
export async function stream(from: Namespace, server: string, down: boolean, pids: readonly number[]): Promise<Stream> {
  const spent = (): number => pids.reduce((sum, pid) => sum + processorSeconds(pid), 0);
  const before = spent();
  const { stdout, stderr } = await from.run("iperf3", "--client", server, "--time", String(seconds), "--json", ...(down ? ["--reverse"] : []));
  const report = JSON.parse(stdout) as { error?: string; end?: { sum_received?: { bits_per_second: number; bytes: number } } };
  const received = report.end?.sum_received;
  if (report.error !== undefined || received === undefined) throw new Error(`iperf3 from ${from.name} to ${server}: ${report.error ?? stderr}`);
  return { gigabits: received.bits_per_second / 1e9, processor: (spent() - before) / (received.bytes / 1e9) };
}

/** Measurements of several contenders, taken in turns so that each has the same weather. */
export class Rounds {
  private readonly of = new Map<string, Stream[]>();

  add(contender: string, measured: Stream): void {
    this.of.set(contender, [...(this.of.get(contender) ?? []), measured]);
  }

  median(contender: string): number {
    return median((this.of.get(contender) ?? []).map((round) => round.gigabits));
  }

  /** The median over the rounds of how many times as fast one is. */
  ratio(one: string, other: string): number {
    const others = this.of.get(other) ?? [];
    return median((this.of.get(one) ?? []).map((round, index) => round.gigabits / (others[index]?.gigabits ?? NaN)));
  }

  /** For people who judge the figures. */
  get detail(): Record<string, { gigabitsPerSecond: number; rounds: number[]; processorSecondsPerGigabyte: number }> {
    return Object.fromEntries(
      [...this.of].map(([name, rounds]) => [
        name,
        {
          gigabitsPerSecond: rounded(this.median(name)),
          rounds: rounds.map((round) => rounded(round.gigabits)),
          processorSecondsPerGigabyte: rounded(median(rounds.map((round) => round.processor))),
        },
      ]),
    );
  }
}
