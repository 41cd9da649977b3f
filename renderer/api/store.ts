import type { HostConnectionState, Preferences } from "../../core/contract/desktop";
import type { GuestSystem, HostInfo, JobInfo, MachineInfo, Notice, TrashEntry } from "../../core/contract/model";
import type { NetworkInfo } from "../../core/contract/network";
import type { HostEvent } from "../../core/contract/procedures";
import { call, CallError } from "./client";
import { Observable } from "./observable";

/** Jobs that ended are kept until there are more than this. */
const keptJobs = 100;
const keptNotices = 100;

/**
 * What this window knows of the host service. One subscription feeds it: events arrive in the order in which they
 * happened, behind the lists they change, so the last word on a machine is always the newest.
 */
export class HostStore {
  readonly connection = new Observable<HostConnectionState>({ state: "connecting" });
  readonly host = new Observable<HostInfo | undefined>(undefined);
  /** Undefined until the first list has arrived: that is not the same as no machines. */
  readonly machines = new Observable<ReadonlyMap<string, MachineInfo> | undefined>(undefined);
  /** The table of guest systems; empty until it has arrived. */
  readonly systems = new Observable<readonly GuestSystem[]>([]);
  readonly jobs = new Observable<readonly JobInfo[]>([]);
  readonly trash = new Observable<readonly TrashEntry[]>([]);
  /** The named networks. */
  readonly networks = new Observable<readonly NetworkInfo[]>([]);
  readonly notices = new Observable<readonly Notice[]>([]);
  readonly preferences: Observable<Preferences>;

  constructor(preferences: Preferences) {
    this.preferences = new Observable(preferences);
  }

  /** Begins to listen; the returned function ends it. */
  start(): () => void {
    const stops = [
      window.terrarium.onHostEvent((event) => this.apply(event)),
      window.terrarium.onPreferences((preferences) => this.preferences.set(preferences)),
      window.terrarium.onConnection((state) => this.connectionChanged(state)),
    ];
    void window.terrarium.connection().then((state) => this.connectionChanged(state));
    return () => stops.forEach((stop) => stop());
  }

  async setPreferences(patch: Partial<Preferences>): Promise<void> {
    // Shown at once: a switch that waits for another process feels broken.
    this.preferences.set({ ...this.preferences.get(), ...patch });
    this.preferences.set(await window.terrarium.setPreferences(patch));
  }

  apply(event: HostEvent): void {
    switch (event.type) {
      case "machine": {
        const machines = new Map(this.machines.get());
        machines.set(event.machine.id, event.machine);
        this.machines.set(machines);
        break;
      }
      case "machineRemoved": {
        const machines = new Map(this.machines.get());
        machines.delete(event.id);
        this.machines.set(machines);
        break;
      }
      case "job":
        this.jobs.set(withJob(this.jobs.get(), event.job));
        break;
      case "trash":
        this.trash.set(event.entries);
        break;
      case "host":
        this.host.set(event.host);
        break;
      case "networks":
        this.networks.set(event.networks);
        break;
      case "snapshots":
        // No screen shows them yet: nobody here keeps trees.
        break;
      case "notice":
        this.notices.set([event.notice, ...this.notices.get().filter((notice) => notice.id !== event.notice.id)].slice(0, keptNotices));
        break;
    }
  }

  dismissNotice(id: string): void {
    this.notices.set(this.notices.get().filter((notice) => notice.id !== id));
  }

  private connectionChanged(state: HostConnectionState): void {
    const before = this.connection.get().state;
    this.connection.set(state);
    if (state.state === "connected" && (before !== "connected" || this.machines.get() === undefined)) void this.load();
  }

  private async load(): Promise<void> {
    try {
      await Promise.all([
        call("machine.list", {}).then((list) => this.machines.set(new Map(list.map((machine) => [machine.id, machine])))),
        call("host.info", {}).then((host) => this.host.set(host)),
        call("host.systems", {}).then((systems) => this.systems.set(systems)),
        call("network.list", {}).then((networks) => this.networks.set(networks)),
        call("job.list", {}).then((jobs) => this.jobs.set(jobs.reduce(withJob, [] as readonly JobInfo[]))),
        call("trash.list", {}).then((entries) => this.trash.set(entries)),
      ]);
    } catch (error) {
      const data = error instanceof CallError ? { code: error.code, message: error.message, remedy: error.remedy } : { code: "internal" as const, message: String(error) };
      this.connection.set({ state: "failed", error: data });
    }
  }
}

/** Newest first; what runs is never dropped. */
function withJob(jobs: readonly JobInfo[], job: JobInfo): readonly JobInfo[] {
  const known = jobs.some((other) => other.id === job.id);
  const next = known ? jobs.map((other) => (other.id === job.id ? job : other)) : [job, ...jobs];
  next.sort((a, b) => b.startedAt - a.startedAt);
  return next.filter((other, index) => index < keptJobs || other.state === "running");
}
