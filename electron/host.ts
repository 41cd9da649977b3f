import type { Duplex } from "node:stream";
import { systemClock, type Clock } from "../core/base/clock";
import type { Disposable } from "../core/base/disposable";
import { Emitter } from "../core/base/emitter";
import type { Log } from "../core/base/log";
import type { HostConnectionState } from "../core/contract/desktop";
import { TerrariumError, toErrorData } from "../core/contract/errors";
import type { MachineInfo } from "../core/contract/model";
import { isProcedureName, type HostEvent, type ProcedureName, type ProcedureOutput, type StreamRequest } from "../core/contract/procedures";
import { isLive } from "../core/contract/states";
import type { HostService } from "../core/machine/index";
import type { HostConnection } from "../core/server/client";

/*
 * The app's way to the host service. It is the host service when it gets the home's lock; when a headless one holds the
 * home it is that one's client, and takes over when that one ends. While it is at it, calls wait; when it fails, calls
 * fail with the reason, the windows show it, and it tries again by itself.
 */

/** The one host service of this process, or a connection to one elsewhere: the same calls either way. */
interface Served {
  readonly own: boolean;
  call(name: ProcedureName, input: unknown): Promise<unknown>;
  openStream(request: StreamRequest): Promise<Duplex>;
  close(): Promise<void>;
}

/** What makes the link, so that its life can be tested without machines. */
export interface HostSources {
  /** Takes the home, and serves it on the socket too. Fails with `locked` when someone else has it. */
  own(): Promise<{ readonly host: HostService; readonly socket: Disposable }>;
  /** undefined when nobody answers. */
  connect(): Promise<HostConnection | undefined>;
}

const retryMs = 3_000;
/** A holder of the home that does not answer is starting or ending; this long it is waited for. */
const silentHolderMs = 10_000;
const pollMs = 100;

export class HostLink implements Disposable {
  private current: HostConnectionState = { state: "connecting" };
  private served: Served | undefined;
  private retry: Disposable | undefined;
  private closing = false;
  private opening: Promise<void> = Promise.resolve();
  private readonly stateChanged = new Emitter<HostConnectionState>();
  private readonly changed = new Emitter<HostEvent>();
  readonly onDidChangeState = this.stateChanged.event;
  readonly onDidChange = this.changed.event;

  constructor(
    private readonly sources: HostSources,
    private readonly log: Log,
    private readonly clock: Clock = systemClock(),
  ) {}

  get state(): HostConnectionState {
    return this.current;
  }

  /** True when this process is the host service. */
  get isOwn(): boolean {
    return this.served?.own === true;
  }

  /** Begins to take the home or to connect; `state` tells how it goes. */
  open(): void {
    this.retry?.dispose();
    this.setState({ state: "connecting" });
    this.opening = this.tryToOpen().catch((error: unknown) => {
      if (this.closing) return;
      this.log.error("The host service could not be reached.", error);
      this.setState({ state: "failed", error: toErrorData(error) });
      this.retry = this.clock.schedule(retryMs, () => this.open());
    });
  }

  /** Any call of the contract; `name` and `input` come from outside and are checked. */
  async call(name: string, input: unknown): Promise<unknown> {
    if (!isProcedureName(name)) throw new TerrariumError("invalid-input", `There is no call named "${name.slice(0, 100)}".`);
    return await (await this.connected()).call(name, input);
  }

  /** A call main itself makes. */
  async ask<N extends ProcedureName>(name: N, input: unknown): Promise<ProcedureOutput<N>> {
    return (await this.call(name, input)) as ProcedureOutput<N>;
  }

  async openStream(request: StreamRequest): Promise<Duplex> {
    return await (await this.connected()).openStream(request);
  }

  /** Machines that have a process now. None when there is no connection: then nobody can be asked anything about them. */
  async liveMachines(): Promise<MachineInfo[]> {
    if (this.current.state !== "connected") return [];
    return (await this.ask("machine.list", {})).filter((machine) => isLive(machine.state));
  }

  /** Says something to every window that no call asked for. */
  announce(event: HostEvent): void {
    this.changed.fire(event);
  }

  /** Gives the home back, or hangs up. Machines go on. */
  async close(): Promise<void> {
    this.closing = true;
    this.retry?.dispose();
    await this.opening;
    const served = this.served;
    this.served = undefined;
    await served?.close();
  }

  /** Takes the home again after `close`, when closing the app came to nothing. */
  reopen(): void {
    this.closing = false;
    this.open();
  }

  dispose(): void {
    this.stateChanged.dispose();
    this.changed.dispose();
  }

  private async connected(): Promise<Served> {
    await this.opening;
    if (this.served) return this.served;
    if (this.current.state === "failed") throw TerrariumError.fromData(this.current.error);
    throw new TerrariumError("disconnected", "The connection to the host service was lost.", "It is being made again; try once more in a moment.");
  }

  private async tryToOpen(): Promise<void> {
    const until = this.clock.monotonic() + silentHolderMs;
    for (;;) {
      try {
        return await this.beHost();
      } catch (error) {
        if (!(error instanceof TerrariumError && error.code === "locked") || this.closing) throw error;
        const connection = await this.sources.connect();
        if (connection) return this.beClient(connection);
        if (this.clock.monotonic() > until) throw error;
      }
      await new Promise<void>((resolve) => void this.clock.schedule(pollMs, resolve));
    }
  }

  private async beHost(): Promise<void> {
    const { host, socket } = await this.sources.own();
    const listening = host.onDidChange((event) => this.changed.fire(event));
    this.served = {
      own: true,
      call: (name, input) => host.call(name, input),
      openStream: (request) => host.openStream(request),
      async close() {
        listening.dispose();
        socket.dispose();
        await host.close();
      },
    };
    this.log.info("This app is the host service.");
    this.setState({ state: "connected" });
  }

  private beClient(connection: HostConnection): void {
    const listening = connection.onDidChange((event) => this.changed.fire(event));
    const hangup = connection.onDidDisconnect(() => {
      listening.dispose();
      hangup.dispose();
      if (this.closing) return;
      this.log.info("The headless host service has ended; this app takes over.");
      this.served = undefined;
      this.open();
    });
    this.served = {
      own: false,
      // The other side checks the input; it is of no type here.
      call: (name, input) => connection.call(name, input as never),
      openStream: (request) => connection.openStream(request),
      close() {
        listening.dispose();
        hangup.dispose();
        connection.close();
        return Promise.resolve();
      },
    };
    this.log.info(`A host service (${connection.servedBy}) holds the home already; this app is its client.`);
    this.setState({ state: "connected" });
  }

  private setState(state: HostConnectionState): void {
    this.current = state;
    this.stateChanged.fire(state);
  }
}
