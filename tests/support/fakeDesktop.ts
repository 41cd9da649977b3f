import * as z from "zod";
import { Preferences, type CloseAnswer, type DesktopApi, type HostConnectionState, type TerminalRequest } from "../../core/contract/desktop";
import type { ErrorData } from "../../core/contract/errors";
import { AdapterConfig, type DoctorCheck, type EngineInfo, type FileInspection, type Finding, type GuestSystem, type HostInfo, type JobInfo, type MachineConfig, type MachineInfo, type TrashEntry, type UsageReport } from "../../core/contract/model";
import type { HostEvent, ProcedureInput, ProcedureName, ProcedureOutput, StreamRequest } from "../../core/contract/procedures";
import { isLive, refusal, type MachineCommand } from "../../core/contract/states";
import { FakeNetworks } from "./fakeNetworks";
import { FakeSnapshots } from "./fakeSnapshots";

/*
 * A desktop in memory, for tests of the windows: it keeps machines in a list, moves them between states as the real
 * host service would, and records every call. Screens are drawn by whoever passes `screens`.
 */

export interface FakeScreens {
  /** A PNG of the machine's screen in base64, or null. */
  picture(machine: MachineInfo): Promise<string | null>;
  /** Serves RFB on the port. */
  serve(machine: MachineInfo, port: MessagePort): void;
}

export const builtInEngine: EngineInfo = {
  id: "v86",
  label: "Built-in emulator",
  available: true,
  capabilities: {
    smp: false, maxCpus: 1, minMemoryMiB: 16, maxMemoryMiB: 2047, x86_64: false, chipsets: ["pc"], firmwares: ["bios"], ownFirmware: false,
    diskBuses: ["virtio"], adapterModels: ["virtio"], expertSettings: false, seed: false, diskFormats: ["raw"], maxDisks: 4, maxAdapters: 4,
    networkModes: ["none"], preBooted: true, saveState: true, changeMediumLive: true, setLinkLive: true, hotPlugDisks: false, hotPlugAdapters: true, balloon: false,
    diskLimits: false, snapshots: "none", stateTransport: "file",
  },
};

export const qemuEngine: EngineInfo = {
  id: "qemu",
  label: "QEMU",
  version: "7.2.18",
  accelerator: { label: "KVM", fast: true },
  available: true,
  capabilities: {
    smp: true, maxCpus: 64, minMemoryMiB: 16, maxMemoryMiB: 1024 * 1024, x86_64: true, chipsets: ["q35", "pc"], firmwares: ["bios", "uefi"], ownFirmware: true,
    diskBuses: ["virtio", "sata", "scsi"], adapterModels: ["virtio", "e1000"], expertSettings: true, seed: true, diskFormats: ["raw", "qcow2"], maxDisks: 4, maxAdapters: 4,
    networkModes: ["none"], preBooted: false, saveState: true, changeMediumLive: true, setLinkLive: true, hotPlugDisks: true, hotPlugAdapters: true, balloon: true,
    diskLimits: true, snapshots: "live", stateTransport: "file",
  },
};

export const absentEngine: EngineInfo = {
  id: "qemu",
  label: "QEMU",
  available: false,
  problem: { code: "unavailable", message: "QEMU is not installed.", remedy: "Install it (Debian, Ubuntu: qemu-system-x86) and start Terrarium again." },
  capabilities: qemuEngine.capabilities,
};

const linuxGuest = { group: "Linux", cpus: 2, firmware: "bios", diskBus: "virtio", adapterModel: "virtio", clock: "utc" } as const;

export const fakeSystems: GuestSystem[] = [
  { ...linuxGuest, id: "ubuntu-24.04-amd64", label: "Ubuntu 24.04", arch: "x86_64", memoryMiB: 4096, diskBytes: 25 * 1024 ** 3 },
  { ...linuxGuest, id: "debian-12-amd64", label: "Debian 12", arch: "x86_64", memoryMiB: 2048, diskBytes: 20 * 1024 ** 3 },
  { ...linuxGuest, id: "debian-12-i386", label: "Debian 12 (32-bit)", arch: "i386", memoryMiB: 2048, diskBytes: 20 * 1024 ** 3 },
  { ...linuxGuest, id: "openbsd-7-amd64", label: "OpenBSD 7", group: "BSD", arch: "x86_64", memoryMiB: 1024, cpus: 1, diskBytes: 16 * 1024 ** 3 },
  { id: "windows-11-amd64", label: "Windows 11", group: "Windows", arch: "x86_64", memoryMiB: 4096, cpus: 2, diskBytes: 64 * 1024 ** 3, firmware: "uefi", diskBus: "sata", adapterModel: "e1000", clock: "local" },
  { id: "other-amd64", label: "Other system", group: "Other", arch: "x86_64", memoryMiB: 1024, cpus: 1, diskBytes: 16 * 1024 ** 3, firmware: "bios", diskBus: "sata", adapterModel: "e1000", clock: "utc" },
  { id: "other-i386", label: "Other system (32-bit)", group: "Other", arch: "i386", memoryMiB: 1024, cpus: 1, diskBytes: 16 * 1024 ** 3, firmware: "bios", diskBus: "sata", adapterModel: "e1000", clock: "utc" },
];

export const fakeHost: HostInfo = {
  version: "0.1.0", home: "/home/ada/.local/share/terrarium", servedBy: "app", pid: 4242, platform: "linux", cpus: 8,
  memoryTotalMiB: 16_384, memoryAvailableMiB: 9_421, diskFreeBytes: 212 * 1024 ** 3,
  engines: [builtInEngine, absentEngine],
  starter: { ready: true, build: "f00d", kernelVersion: "6.1" },
  networkModes: [
    { mode: "none", available: true },
    { mode: "nat", available: false, reason: "Networks come with a later version." },
    { mode: "internal", available: false, reason: "Networks come with a later version." },
  ],
};

/** A host on which every kind of network can be had. */
export const networkedHost: HostInfo = { ...fakeHost, networkModes: (["none", "nat", "nat-network", "internal", "host-only", "bridged"] as const).map((mode) => ({ mode, available: true })) };

let serial = 0;

/** A machine with sensible facts; `part` overrides them, `config` overrides its configuration. */
export function fakeMachine(name: string, part: Partial<Omit<MachineInfo, "config">> & { config?: Partial<MachineConfig> } = {}): MachineInfo {
  const number = (++serial).toString(16).padStart(12, "0");
  const id = part.id ?? `00000000-0000-4000-8000-${number}`;
  return {
    folder: `/home/ada/.local/share/terrarium/machines/${name}`,
    name,
    state: "off",
    since: Date.now() - 3 * 86_400_000,
    unresponsive: false,
    engine: builtInEngine,
    guest: { agent: "none", addresses: [] },
    hostBytes: 812 * 1024 ** 2,
    ...part,
    id,
    config: {
      version: 1, id, name, createdAt: 1_700_000_000_000, engine: "auto", memoryMiB: 256, cpus: 1, boot: { kind: "starter" },
      disks: [{ id: "disk0", sizeBytes: 2 * 1024 ** 3, layers: [{ file: "disks/disk0/0.raw", format: "raw" }] }],
      drives: [{ id: "cd0", medium: null }],
      adapters: [{ mac: `52:54:00:00:${number.slice(-4, -2)}:${number.slice(-2)}`, attachment: { mode: "none" }, plugged: true }],
      ...part.config,
    },
  };
}

type Handlers = { [N in ProcedureName]: (input: ProcedureInput<N>) => ProcedureOutput<N> | Promise<ProcedureOutput<N>> };

class Refusal extends Error {
  constructor(readonly data: ErrorData) {
    super(data.message);
  }
}

export class FakeDesktop implements DesktopApi {
  readonly platform = "linux";
  readonly calls: { name: string; input: unknown }[] = [];
  readonly opened: string[] = [];
  readonly copied: string[] = [];
  /** What was shown in the browser. */
  readonly browsed: string[] = [];
  readonly closeAnswers: { answer: CloseAnswer; remember: boolean }[] = [];
  readonly windowActions: string[] = [];
  machines: Map<string, MachineInfo>;
  jobs: JobInfo[] = [];
  trash: TrashEntry[] = [];
  doctor: DoctorCheck[] = [];
  /** What `machine.usage` answers. */
  usage: (since: number | undefined) => UsageReport = () => ({ samples: [], absent: {} });
  commandLine: string[] = ["qemu-system-x86_64", "-name", "guest=a"];
  /** What `machine.check` answers. */
  findings: (input: ProcedureInput<"machine.check">) => Finding[] = () => [];
  /** What `media.inspect` answers. */
  inspect: (path: string) => FileInspection = (path) => ({ path, kind: "iso", format: "iso9660", sizeBytes: 700 * 1024 ** 2, label: "DEBIAN", bootable: true });
  /** What `host.systems` answers. */
  systems: GuestSystem[] = fakeSystems;
  /** What the file dialog answers. */
  pickedFile: string | null = null;
  /** Makes the named call fail from now on. */
  readonly failures = new Map<ProcedureName, ErrorData>();
  host: HostInfo;

  private currentConnection: HostConnectionState = { state: "connected" };
  private currentPreferences: Preferences;
  private readonly thrownAway = new Map<string, MachineInfo>();
  private readonly hostListeners = new Set<(event: HostEvent) => void>();
  private readonly connectionListeners = new Set<(state: HostConnectionState) => void>();
  private readonly preferenceListeners = new Set<(preferences: Preferences) => void>();
  private readonly closeListeners = new Set<(running: { id: string; name: string }[]) => void>();

  constructor(options: { machines?: MachineInfo[]; host?: HostInfo; preferences?: Partial<Preferences>; screens?: FakeScreens; connection?: HostConnectionState } = {}) {
    this.machines = new Map((options.machines ?? []).map((machine) => [machine.id, machine]));
    this.host = options.host ?? fakeHost;
    this.currentPreferences = Preferences.parse(options.preferences ?? {});
    this.screens = options.screens;
    if (options.connection) this.currentConnection = options.connection;
  }

  private readonly screens: FakeScreens | undefined;

  async call(name: string, input: unknown): Promise<{ result: unknown } | { error: ErrorData }> {
    this.calls.push({ name, input });
    const failure = this.failures.get(name as ProcedureName);
    if (failure) return { error: failure };
    try {
      const handler = this.handlers[name as ProcedureName] as (input: unknown) => unknown;
      return { result: await handler(input) };
    } catch (error) {
      if (error instanceof Refusal) return { error: error.data };
      throw error;
    }
  }

  announce(event: HostEvent): void {
    for (const listener of this.hostListeners) listener(event);
  }

  setConnection(state: HostConnectionState): void {
    this.currentConnection = state;
    for (const listener of this.connectionListeners) listener(state);
  }

  /** Changes a machine and tells everyone. */
  update(id: string, part: Partial<MachineInfo>): MachineInfo {
    const machine = { ...this.machine(id), ...part };
    this.machines.set(id, machine);
    this.announce({ type: "machine", machine });
    return machine;
  }

  announceJob(job: JobInfo): void {
    this.jobs = [job, ...this.jobs.filter((other) => other.id !== job.id)];
    this.announce({ type: "job", job });
  }

  requestClose(running: { id: string; name: string }[]): void {
    for (const listener of this.closeListeners) listener(running);
  }

  onHostEvent = (listener: (event: HostEvent) => void) => subscribe(this.hostListeners, listener);
  onConnection = (listener: (state: HostConnectionState) => void) => subscribe(this.connectionListeners, listener);
  onPreferences = (listener: (preferences: Preferences) => void) => subscribe(this.preferenceListeners, listener);
  onCloseRequested = (listener: (running: { id: string; name: string }[]) => void) => subscribe(this.closeListeners, listener);
  onWindowState = () => () => undefined;
  connection = () => Promise.resolve(this.currentConnection);
  preferences = () => Promise.resolve(this.currentPreferences);

  async setPreferences(patch: Partial<Preferences>): Promise<Preferences> {
    this.currentPreferences = { ...this.currentPreferences, ...patch };
    for (const listener of this.preferenceListeners) listener(this.currentPreferences);
    return this.currentPreferences;
  }

  async openStream(request: StreamRequest, token: string): Promise<{ result: true } | { error: ErrorData }> {
    const machine = this.machine(request.id);
    if (!this.screens || request.stream !== "display") return { error: { code: "unavailable", message: "There is no such stream here." } };
    const { port1, port2 } = new MessageChannel();
    this.screens.serve(machine, port1);
    window.postMessage({ terrariumStream: token }, "*", [port2]);
    return { result: true };
  }

  pickFile = () => Promise.resolve(this.pickedFile);
  saveScreenshot = (suggestedName: string) => Promise.resolve({ result: `/home/ada/Pictures/${suggestedName}` });
  readClipboardText = () => Promise.resolve("");
  showFolder = () => Promise.resolve();

  async copyText(text: string): Promise<void> {
    this.copied.push(text);
  }

  /** What was asked of `openTerminal`. */
  readonly terminals: TerminalRequest[] = [];

  async openTerminal(request: TerminalRequest, _token: string): Promise<{ result: true } | { error: ErrorData }> {
    this.terminals.push(request);
    return { error: { code: "unavailable", message: "There is no ssh on this computer.", remedy: "Install the OpenSSH client." } };
  }

  resizeTerminal = () => Promise.resolve();
  onConsoleView = () => () => undefined;

  async openInBrowser(address: string, port: number): Promise<{ result: unknown }> {
    this.browsed.push(`${address}:${port}`);
    return { result: true };
  }

  async openConsole(machineId: string, show?: "ssh"): Promise<void> {
    this.opened.push(show === undefined ? machineId : `${machineId} ${show}`);
  }

  async window(action: string): Promise<void> {
    this.windowActions.push(action);
  }

  async answerClose(answer: CloseAnswer, remember: boolean): Promise<void> {
    this.closeAnswers.push({ answer, remember });
  }

  private machine(id: string): MachineInfo {
    const machine = this.machines.get(id);
    if (!machine) throw new Refusal({ code: "not-found", message: `There is no machine ${id}.` });
    return machine;
  }

  private legal(command: MachineCommand, id: string): MachineInfo {
    const machine = this.machine(id);
    const refused = refusal(command, machine);
    if (refused !== undefined) throw new Refusal({ code: "illegal-state", message: refused });
    return machine;
  }

  private move(id: string, state: MachineInfo["state"], part: Partial<MachineInfo> = {}): void {
    this.update(id, { state, since: Date.now(), ...part });
  }

  private finishedJob(kind: JobInfo["kind"], title: string, machineId?: string): JobInfo {
    const job: JobInfo = { id: `job-${++serial}`, kind, title, machineId, state: "done", cancellable: false, startedAt: Date.now(), endedAt: Date.now() };
    this.announceJob(job);
    return job;
  }

  readonly networks = new FakeNetworks({
    machine: (id) => this.machine(id),
    machines: () => [...this.machines.values()],
    update: (id, part) => this.update(id, part),
    announce: (event) => this.announce(event),
    refuse: (code, message, remedy) => {
      throw new Refusal({ code, message, ...(remedy === undefined ? {} : { remedy }) });
    },
  });

  readonly snapshots = new FakeSnapshots({
    machine: (id) => this.machine(id),
    job: (kind, title, id) => this.finishedJob(kind, title, id),
    announce: (event) => this.announce(event),
    refuse: (code, message) => {
      throw new Refusal({ code, message });
    },
  });

  private readonly handlers: Handlers = {
    ...this.networks.handlers,
    ...this.snapshots.handlers,
    "host.info": () => this.host,
    "host.doctor": () => this.doctor,
    "host.systems": () => this.systems,
    "host.stop": () => ({}),
    "machine.list": () => [...this.machines.values()],
    "machine.get": ({ id }) => this.machine(id),
    "machine.check": (input) => this.findings(input),
    "machine.create": ({ spec }) => {
      const machine = fakeMachine(spec.name, { config: { memoryMiB: spec.memoryMiB, boot: spec.boot } });
      this.machines.set(machine.id, machine);
      this.announce({ type: "machine", machine });
      return { id: machine.id, job: this.finishedJob("create", `Create ${spec.name}`, machine.id) };
    },
    "machine.set": ({ id, patch }) => {
      const before = this.machine(id);
      if (Object.keys(patch).some((key) => !["name", "group", "notes", "disks", "addDisks", "adapters"].includes(key))) this.legal("configure", id);
      const adapters = patch.adapters && z.array(AdapterConfig).parse(patch.adapters);
      if (adapters) this.legal(adapters.map(({ mac }) => mac).join() === before.config!.adapters.map(({ mac }) => mac).join() ? "setLink" : "configure", id);
      const { group, addDisks: _added, removeDisks: _removed, medium: _medium, adapters: _adapters, system, arch, disks: changes = [], ...rest } = patch;
      const disks = before.config!.disks.map((disk) => {
        const { limits = disk.limits, bus = disk.bus } = changes.find((other) => other.id === disk.id) ?? {};
        return { ...disk, bus, limits: limits ?? undefined };
      });
      const config: MachineConfig = { ...before.config!, ...rest, disks, ...(adapters && { adapters }), ...(group === undefined ? {} : { group: group ?? undefined }), ...(system === undefined ? {} : { system: system ?? undefined }), ...(arch === undefined ? {} : { arch: arch ?? undefined }) };
      return this.update(id, { name: config.name, config });
    },
    "machine.start": ({ id }) => {
      const { name, state } = this.legal("start", id);
      this.move(id, "running", { startedFrom: state === "saved" ? "saved" : "pre-booted", problem: undefined });
      return { job: this.finishedJob("start", `Start ${name}`, id) };
    },
    "machine.pause": ({ id }) => (this.legal("pause", id), this.move(id, "paused", { pauseReason: "user" }), {}),
    "machine.resume": ({ id }) => (this.legal("resume", id), this.move(id, "running", { pauseReason: undefined }), {}),
    "machine.reset": ({ id }) => (this.legal("reset", id), {}),
    "machine.shutdown": ({ id }) => {
      const { name } = this.legal("shutdown", id);
      this.move(id, "off");
      return { job: this.finishedJob("shutdown", `Shut down ${name}`, id) };
    },
    "machine.powerOff": ({ id }) => (this.legal("powerOff", id), this.move(id, "off"), {}),
    "machine.save": ({ id }) => {
      const { name } = this.legal("save", id);
      this.move(id, "saved");
      return { job: this.finishedJob("save", `Save ${name}`, id) };
    },
    "machine.discardSaved": ({ id }) => (this.legal("discardSaved", id), this.move(id, "off"), {}),
    "machine.delete": ({ id }) => {
      const machine = this.legal("delete", id);
      const entry: TrashEntry = { id: `trash-${++serial}`, name: machine.name, machineId: id, deletedAt: Date.now(), bytes: machine.hostBytes ?? 0 };
      this.machines.delete(id);
      this.thrownAway.set(entry.id, machine);
      this.trash = [entry, ...this.trash];
      this.announce({ type: "machineRemoved", id });
      this.announce({ type: "trash", entries: this.trash });
      return entry;
    },
    "machine.screenshot": async ({ id, unless }) => {
      const machine = this.legal("screenshot", id);
      const revision = `${machine.state} ${machine.since}`;
      const png = unless === revision || !this.screens ? null : await this.screens.picture(machine);
      return { live: machine.state === "running", revision, png };
    },
    "machine.sendKeys": () => ({}),
    "machine.typeText": () => ({}),
    "machine.exec": () => ({ exitCode: 0, signal: null, stdout: "", stderr: "", truncated: false }),
    "machine.changeMedium": ({ id, medium }) => {
      const machine = this.legal("changeMedium", id);
      this.update(id, { config: { ...machine.config!, drives: [{ id: "cd0", medium }] } });
      return {};
    },
    "machine.setLink": ({ id, adapter, up }) => {
      const machine = this.legal("setLink", id);
      const adapters = machine.config!.adapters.map((other, index) => (index === adapter ? { ...other, plugged: up } : other));
      this.update(id, { config: { ...machine.config!, adapters } });
      return {};
    },
    "machine.usage": ({ since }) => this.usage(since),
    "machine.setBalloon": ({ id, memoryMiB }) => {
      const machine = this.legal("setBalloon", id);
      this.update(id, { balloonMiB: memoryMiB < machine.config!.memoryMiB ? memoryMiB : undefined });
      return {};
    },
    "machine.commandLine": ({ id }) => ({ live: isLive(this.machine(id).state), command: this.commandLine }),
    "machine.log": ({ log }) => ({ text: log === "events" ? "2026-11-22T14:02:11.000Z started from a pre-booted state\n2026-11-22T14:02:12.000Z the guest's agent answers\n" : "", truncated: false }),
    "job.list": () => this.jobs,
    "job.cancel": ({ id }) => {
      const job = this.jobs.find((other) => other.id === id);
      if (!job) throw new Refusal({ code: "not-found", message: "There is no such job." });
      this.announceJob({ ...job, state: "cancelled", endedAt: Date.now() });
      return {};
    },
    "job.wait": ({ id }) => this.jobs.find((job) => job.id === id)!,
    "trash.list": () => this.trash,
    "trash.restore": ({ id }) => {
      const machine = this.thrownAway.get(id);
      if (!machine) throw new Refusal({ code: "not-found", message: "That is not in the trash any more." });
      this.thrownAway.delete(id);
      this.trash = this.trash.filter((entry) => entry.id !== id);
      this.machines.set(machine.id, machine);
      this.announce({ type: "machine", machine });
      this.announce({ type: "trash", entries: this.trash });
      return machine;
    },
    "trash.empty": ({ id }) => {
      this.trash = id === undefined ? [] : this.trash.filter((entry) => entry.id !== id);
      this.announce({ type: "trash", entries: this.trash });
      return { job: this.finishedJob("empty-trash", "Empty the trash") };
    },
    "media.inspect": ({ path }) => this.inspect(path),
  };
}

function subscribe<T>(listeners: Set<(value: T) => void>, listener: (value: T) => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
