import { TerrariumError } from "../../contract/errors";
import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";
import { EpollReactor, type EpollOptions } from "./epollReactor";
import { EpollSockets } from "./epollSockets";
import { loadLibc } from "./libc";
import { MachinePort } from "./machinePort";
import { PortableReactor } from "./portableReactor";
import { PortableSockets } from "./portableSockets";
import type { IoSockets } from "./streams";

export { EpollReactor, type EpollOptions, type Watch, type WatchHandlers } from "./epollReactor";
export { MachinePort, type PortClosed } from "./machinePort";
export type { IoSockets, LocalStreams } from "./streams";

/** A loop with everything that goes in and out of it. */
export interface Io {
  readonly reactor: Reactor;
  readonly sockets: IoSockets;
  /** Whether it is the fast loop. */
  readonly fast: boolean;
  /** A machine's socket as a port, connected as long as it is not disposed. */
  connectMachine(path: string): MachinePort;
  /** A stream socket that was handed to this process, by its descriptor, as a port; it ends with its connection. */
  adoptMachine(descriptor: number): MachinePort;
  /** Turns the loop until `stop`. Nothing is handled before. */
  run(): void;
  stop(): void;
}

/** The portable loop, which runs wherever the runtime does. */
export function openPortableIo(log: Log): Io {
  const reactor = new PortableReactor(log);
  const sockets = new PortableSockets(reactor);
  // The runtime turns its own loop.
  return withPorts(reactor, sockets, { fast: false, run: () => undefined, stop: () => sockets.dispose() });
}

/**
 * The fast loop, which has a thread to itself.
 * @throws TerrariumError `unavailable` where it cannot run
 */
export function openEpollIo(log: Log, options: EpollOptions = {}): Io & { readonly reactor: EpollReactor } {
  if (process.platform !== "linux") throw new TerrariumError("unavailable", "The network's fast loop runs on Linux only.");
  let reactor: EpollReactor;
  try {
    reactor = new EpollReactor(loadLibc(), log, options);
  } catch (failure) {
    throw new TerrariumError("unavailable", `The network's fast loop cannot run here: ${failure instanceof Error ? failure.message : String(failure)}`, undefined, { cause: failure });
  }
  const sockets = new EpollSockets(reactor);
  const stop = (): void => {
    sockets.dispose();
    reactor.stop();
  };
  return { ...withPorts(reactor, sockets, { fast: true, run: () => reactor.run(), stop }), reactor };
}

/**
 * Opens the loop that suits this computer, or the one that `kind` asks for.
 * @throws TerrariumError `unavailable` when the one asked for cannot run, `invalid-input` when there is none of that name
 */
export function openReactor({ log, kind = process.env["TERRARIUM_FABRIC"] }: { readonly log: Log; readonly kind?: string | undefined }): Io {
  switch (kind) {
    case "portable":
      return openPortableIo(log);
    case "epoll":
      return openEpollIo(log);
    case undefined:
    case "":
      break;
    default:
      throw new TerrariumError("invalid-input", `TERRARIUM_FABRIC is "${kind}".`, 'Set it to "epoll" or "portable", or not at all.');
  }
  try {
    return openEpollIo(log);
  } catch (failure) {
    log.info(`the network runs over the portable sockets: ${failure instanceof Error ? failure.message : String(failure)}`);
    return openPortableIo(log);
  }
}

function withPorts(reactor: Reactor, sockets: IoSockets, loop: Pick<Io, "fast" | "run" | "stop">): Io {
  return {
    ...loop,
    reactor,
    sockets,
    connectMachine: (path) => new MachinePort(reactor, (handler) => sockets.connectLocal(path, handler)),
    adoptMachine: (descriptor) => new MachinePort(reactor, (handler) => sockets.adopt(descriptor, handler), false),
  };
}
