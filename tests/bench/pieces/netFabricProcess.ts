/*
 * A program that carries the frames of one network as the fabric does, between TAPs that somebody else moves into the
 * namespaces of guests. Its one argument is a `FabricSetting` in JSON. It says JSON lines on standard output, and does what
 * lines on standard input say: "memory" and "counters" are answered, "close" ends it.
 */
import { createInterface } from "node:readline";
import { DisposableStore } from "../../../core/base/disposable";
import { createLog } from "../../../core/base/log";
import type { SegmentSpec } from "../../../core/net/control";
import { openReactor, type EpollReactor, type Io } from "../../../core/net/io";
import { PortableDescriptorWatcher, type DescriptorWatcher } from "../../../core/net/link/descriptorWatcher";
import { Interfaces } from "../../../core/net/link/interfaces";
import { loadKernelCalls, type KernelCalls } from "../../../core/net/link/kernelCalls";
import { openLinkIo } from "../../../core/net/link/linkIo";
import { TapPort } from "../../../core/net/link/tap";
import { Network } from "../../../core/net/network";
import type { FramePort, FrameSink } from "../../../core/net/port";
import type { Reactor } from "../../../core/net/reactor";
import { parseMac } from "../../../core/net/wire/addresses";

export interface FabricSetting {
  readonly loop: "epoll" | "portable";
  readonly segment: SegmentSpec;
  /** Interfaces to make, one for each guest. */
  readonly taps: readonly { readonly name: string; readonly mac: string }[];
  /** How long what the guests send is held back, milliseconds. */
  readonly delayMs?: number;
}

/** Words of the program about its memory, bytes. */
export interface FabricMemory {
  readonly resident: number;
  /** On the heap and in buffers beside it, after what nobody needs was collected. */
  readonly used: number;
  readonly flows: number;
  /** How many of these there are in each state. */
  readonly states: Readonly<Record<string, number>>;
}

/** Holds back what comes from a port. Runs do not wait for each other: each is as late as the others. */
class DelayedPort implements FramePort {
  constructor(
    private readonly port: FramePort,
    private readonly reactor: Reactor,
    private readonly delayMs: number,
  ) {}

  get counters(): FramePort["counters"] {
    return this.port.counters;
  }

  get writable(): boolean {
    return this.port.writable;
  }

  connect(sink: FrameSink | undefined): void {
    if (sink === undefined) return this.port.connect(undefined);
    this.port.connect({
      frames: (bytes, at, end) => {
        const copy = Uint8Array.prototype.slice.call(bytes, at, end);
        this.reactor.schedule(this.delayMs, () => sink.frames(copy, 0, copy.length));
      },
    });
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.port.frames(bytes, at, end);
  }

  dispose(): void {
    this.port.dispose();
  }
}

const say = (words: unknown): boolean => process.stdout.write(`${JSON.stringify(words)}\n`);

function watcherOf(io: Io, kernel: KernelCalls, log: ReturnType<typeof createLog>): DescriptorWatcher {
  return io.fast ? (io.reactor as EpollReactor) : new PortableDescriptorWatcher(kernel, log);
}

function open(setting: FabricSetting): void {
  const log = createLog((line) => process.stderr.write(`${line}\n`));
  const store = new DisposableStore();
  const io = openReactor({ log, kind: setting.loop });
  const kernel = loadKernelCalls();
  const linkIo = openLinkIo({ kernel, watcher: watcherOf(io, kernel, log), reactor: io.reactor, log });
  const network = new Network(setting.segment, {
    reactor: io.reactor,
    sockets: io.sockets,
    log,
    leases: { load: () => [], save: () => undefined },
    resolver: { servers: () => [] },
    hostNetworks: () => [],
    otherSegments: () => [],
    refused: () => undefined,
    changed: () => undefined,
  });
  store.add(network);
  const interfaces = new Interfaces(kernel);
  const ports: TapPort[] = [];
  for (const { name, mac } of setting.taps) {
    const descriptor = interfaces.do({ do: "tap", name, mac, mtu: setting.segment.mtu });
    if (descriptor === undefined) throw new Error(`there is no ${name}`);
    const port = new TapPort(linkIo, descriptor, (reason) => log.warn(`${name} is gone: ${reason}`));
    ports.push(port);
    const address = parseMac(mac);
    if (address === undefined) throw new Error(`${mac} is no MAC address`);
    store.add(network.attach(setting.delayMs === undefined ? port : new DelayedPort(port, io.reactor, setting.delayMs), { id: name, mac: address }));
    store.add(port);
  }
  io.run();
  createInterface(process.stdin).on("line", (line) => {
    if (line === "memory") {
      globalThis.gc?.();
      const { rss, heapUsed, external } = process.memoryUsage();
      const states: Record<string, number> = {};
      for (const { state } of network.flows()) states[state] = (states[state] ?? 0) + 1;
      say({ memory: { resident: rss, used: heapUsed + external, flows: network.flows().length, states } satisfies FabricMemory });
    } else if (line === "counters") say({ counters: ports.map((port) => port.counters) });
    else {
      store.dispose();
      io.stop();
      process.exit(0);
    }
  });
  say({ opened: setting.taps.map((tap) => tap.name), fast: io.fast });
}

open(JSON.parse(process.argv[2] ?? "{}") as FabricSetting);
