import type { Clock } from "../base/clock";
import type { Disposable } from "../base/disposable";
import type { Log } from "../base/log";
import type { Result } from "../base/result";
import { TerrariumError } from "../contract/errors";
import { usageIntervalMs, usageKeptMs, type UsageReport, type UsageSample } from "../contract/model";
import { isRecord, type QmpClient } from "../engine/qmp";
import { AgentError, type AgentClient } from "./agentClient";
import type { ProcessUsage } from "./processUsage";
import { agentMemory, balloonMemory, diskCounters, networkCounters, ratesOf, type Counters, type GuestMemory, type Reading } from "./usageCounters";

/**
 * What one run of a machine uses.
 *
 * Theory of operation. Nobody watches: nothing is measured and nothing is asked. Every report that is asked for is a
 * lease of ten seconds, and while there is one a sample is made every two seconds, whoever and however many watch. Four
 * places are asked at once: the system about the machine process, the machine process about its disks, the balloon and
 * the agent about the guest. What answers within half a second is in the sample; what comes later is in the next one, and
 * nobody is asked again before. Rates are differences of counters between two answers, each with the time it came at, so
 * the first sample has none.
 *
 * Who cannot answer costs the sample its fields and nothing else; the report says why they are absent.
 */
const leaseMs = 10_000;
const patienceMs = 500;
/** How long an answer is waited for before the question counts as lost, milliseconds. */
const answerMs = 2000;
/** A guest that tells nothing new for this long does not look after its balloon any more. */
const balloonSilenceMs = 10_000;
/** The balloon as every command line names it. */
const balloonPath = "/machine/peripheral/balloon0";
const balloonInterval = "guest-stats-polling-interval";

/** Whose use is measured. */
export interface UsageSubject {
  readonly clock: Clock;
  readonly log: Log;
  readonly qmp: Pick<QmpClient, "execute" | "isClosed">;
  readonly agent: Pick<AgentClient, "execute">;
  process(): Promise<Result<ProcessUsage>>;
  /** The guest runs, and its agent has answered. */
  agentAnswers(): boolean;
  /** The engine can ask the guest for its memory. */
  readonly balloon: boolean;
  /** What the guest was given. */
  readonly memoryBytes: number;
  /** The addresses of its adapters. */
  macs(): readonly string[];
}

/** What the agent says at once. */
interface AgentFigures {
  readonly memory: GuestMemory | undefined;
  readonly network: Counters;
}

/** Why fields of the newest sample are absent. */
type Absent = { -readonly [K in keyof UsageReport["absent"]]: UsageReport["absent"][K] };

export class UsageMeter implements Disposable {
  private samples: UsageSample[] = [];
  private absent: Absent = {};
  private leaseUntil = 0;
  /** The next sample; undefined while nobody watches. */
  private timer: Disposable | undefined;
  private patience: Disposable | undefined;
  private disposed = false;
  private balloonIsPolled = false;
  private balloonUpdated = { at: 0, value: -1 };
  /** The agent knows our own command; one that does not is asked what every agent knows. */
  private agentIsOurs = true;

  private readonly process: Probe<ProcessUsage>;
  private readonly disks: Probe<Counters>;
  private readonly balloon: Probe<GuestMemory | undefined>;
  private readonly agent: Probe<AgentFigures>;

  constructor(private readonly subject: UsageSubject) {
    const { clock, log } = subject;
    this.process = new Probe(clock, log, async () => {
      const usage = await subject.process();
      if (!usage.ok) throw new TerrariumError("unavailable", usage.error);
      return usage.value;
    });
    this.disks = new Probe(clock, log, async () => diskCounters(await subject.qmp.execute("query-blockstats", undefined, answerMs)));
    this.balloon = new Probe(clock, log, () => this.askBalloon());
    this.agent = new Probe(clock, log, () => this.askAgent());
  }

  /** The samples after `since`, and a lease. */
  report(since?: number): UsageReport {
    const { clock } = this.subject;
    this.leaseUntil = clock.monotonic() + leaseMs;
    if (!this.timer && !this.disposed) this.measure();
    this.forgetOld();
    const newest = this.samples.at(-1)?.at;
    // Later than all there is: of a clock that was set back since.
    const from = since === undefined || newest === undefined || since > newest ? -Infinity : since;
    return { samples: this.samples.filter(({ at }) => at > from), absent: { ...this.absent } };
  }

  dispose(): void {
    this.disposed = true;
    this.rest();
  }

  private measure(): void {
    const { clock } = this.subject;
    if (clock.monotonic() >= this.leaseUntil) return this.rest();
    this.timer = clock.schedule(usageIntervalMs, () => this.measure());
    const { timer } = this;
    const asked = this.probes().map((probe) => probe.ask());
    const late = new Promise<void>((resolve) => (this.patience = clock.schedule(patienceMs, resolve)));
    void Promise.race([Promise.all(asked), late]).then(() => {
      if (this.timer !== timer) return;
      this.patience?.dispose();
      this.record();
    });
  }

  private probes(): { ask(): Promise<void> }[] {
    return [this.process, this.disks, ...(this.subject.balloon ? [this.balloon] : []), ...(this.subject.agentAnswers() ? [this.agent] : [])];
  }

  /** Nobody watches any more. */
  private rest(): void {
    this.timer?.dispose();
    this.patience?.dispose();
    this.timer = undefined;
    for (const probe of [this.process, this.disks, this.balloon, this.agent]) probe.forget();
    this.balloonUpdated = { at: 0, value: -1 };
    if (!this.balloonIsPolled) return;
    this.balloonIsPolled = false;
    const { qmp, log } = this.subject;
    if (qmp.isClosed) return;
    qmp.execute("qom-set", { path: balloonPath, property: balloonInterval, value: 0 }, answerMs).catch((error: unknown) => log.info(`the guest goes on counting its memory for nobody: ${String(error)}`));
  }

  private record(): void {
    const at = this.subject.clock.now();
    const newest = this.samples.at(-1);
    if (newest && newest.at >= at) this.samples = []; // The clock was set back: times would not be in order any more.
    this.absent = {};
    const sample: UsageSample = { at };
    this.addProcess(sample);
    this.addDisks(sample);
    this.addGuest(sample);
    this.samples.push(sample);
    this.forgetOld();
  }

  private forgetOld(): void {
    const oldest = this.subject.clock.now() - usageKeptMs;
    while (this.samples[0] && this.samples[0].at <= oldest) this.samples.shift();
  }

  private addProcess(sample: UsageSample): void {
    const taken = this.process.take();
    if (!taken) {
      if (this.process.problem !== undefined) this.absent.cpu = this.absent.residentBytes = this.process.problem;
      return;
    }
    sample.residentBytes = taken.now.value.residentBytes;
    const spent = ({ at, value }: Reading<ProcessUsage>): Reading<Counters> => ({ at, value: new Map([["process", [value.cpuSeconds]]]) });
    const cpu = taken.before && ratesOf(spent(taken.before), spent(taken.now))?.[0];
    if (cpu !== undefined) sample.cpu = cpu;
  }

  private addDisks(sample: UsageSample): void {
    const taken = this.disks.take();
    if (taken?.now.value.size === 0) this.absent.disk = "The machine has no disk.";
    else if (!taken && this.disks.problem !== undefined) this.absent.disk = this.disks.problem;
    const [readBytes, writtenBytes, reads, writes] = (taken?.before && ratesOf(taken.before, taken.now)) ?? [];
    if (readBytes !== undefined && writtenBytes !== undefined && reads !== undefined && writes !== undefined) sample.disk = { readBytes, writtenBytes, reads, writes };
  }

  private addGuest(sample: UsageSample): void {
    const answers = this.subject.agentAnswers();
    const balloon = this.balloon.take()?.now.value;
    const agent = this.agent.take();
    const memory = balloon ?? agent?.now.value.memory;
    if (memory) sample.guestMemory = memory;
    else if (answers && !agent && this.agent.problem === undefined) {
      // It has been asked and will say.
    } else if (this.subject.balloon) this.absent.guestMemory = "The guest has no driver for its memory balloon, through which it tells this.";
    else this.absent.guestMemory = answers ? (this.agent.problem ?? "The guest's agent does not tell how much memory is used.") : "The guest tells this through its agent, which does not answer.";

    const counters = agent?.now.value.network;
    const [receivedBytes, sentBytes] = (agent?.before && ratesOf(networkOf(agent.before), networkOf(agent.now))) ?? [];
    if (receivedBytes !== undefined && sentBytes !== undefined) sample.network = { receivedBytes, sentBytes };
    else if (this.subject.macs().length === 0) this.absent.network = "The machine has no network card.";
    else if (!answers) this.absent.network = "The guest tells this through its agent, which does not answer.";
    else if (this.agent.problem !== undefined) this.absent.network = this.agent.problem;
    else if (counters?.size === 0) this.absent.network = "The guest's agent does not count what its network cards send.";
  }

  private async askBalloon(): Promise<GuestMemory | undefined> {
    const { qmp, clock, memoryBytes } = this.subject;
    if (!this.balloonIsPolled) {
      await qmp.execute("qom-set", { path: balloonPath, property: balloonInterval, value: usageIntervalMs / 1000 }, answerMs);
      this.balloonIsPolled = true;
    }
    const { memory, updated } = balloonMemory(await qmp.execute("qom-get", { path: balloonPath, property: "guest-stats" }, answerMs), memoryBytes);
    if (updated !== this.balloonUpdated.value) this.balloonUpdated = { at: clock.monotonic(), value: updated };
    return clock.monotonic() - this.balloonUpdated.at > balloonSilenceMs ? undefined : memory;
  }

  private async askAgent(): Promise<AgentFigures> {
    const { agent, memoryBytes } = this.subject;
    const macs = this.subject.macs();
    if (this.agentIsOurs) {
      try {
        const answer = await agent.execute("terrarium-usage", undefined, answerMs);
        return { memory: agentMemory(answer, memoryBytes), network: networkCounters(isRecord(answer) ? answer["interfaces"] : undefined, macs) };
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        this.agentIsOurs = false;
      }
    }
    return { memory: undefined, network: networkCounters(await agent.execute("guest-network-get-interfaces", undefined, answerMs), macs) };
  }
}

function networkOf({ at, value }: Reading<AgentFigures>): Reading<Counters> {
  return { at, value: value.network };
}

/** Somebody who is asked, one question at a time, and what was answered last. */
class Probe<T> {
  private asking: Promise<void> | undefined;
  private before: Reading<T> | undefined;
  private fresh: Reading<T> | undefined;
  /** Ends what is still being waited for. */
  private round = 0;
  /** Why the last question has no answer. */
  problem: string | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly question: () => Promise<T>,
  ) {}

  /** Resolves when the question has been answered or has failed; one that is on its way is not asked again. */
  ask(): Promise<void> {
    return (this.asking ??= this.put(this.round));
  }

  /** The newest answer, once, and the one taken before it. */
  take(): { before: Reading<T> | undefined; now: Reading<T> } | undefined {
    const { before, fresh: now } = this;
    if (!now) return undefined;
    this.before = now;
    this.fresh = undefined;
    return { before, now };
  }

  /** Begins anew: what is answered to an earlier question does not count. */
  forget(): void {
    this.round++;
    this.asking = this.before = this.fresh = this.problem = undefined;
  }

  private async put(round: number): Promise<void> {
    let fresh: Reading<T> | undefined;
    let problem: string | undefined;
    try {
      const value = await this.question();
      fresh = { at: this.clock.monotonic(), value };
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
      if (!(error instanceof TerrariumError)) this.log.error("a machine could not be measured", error);
    }
    if (round !== this.round) return;
    this.asking = undefined;
    this.problem = problem;
    this.fresh = fresh;
  }
}
