import type { Log } from "../../base/log";
import type { Reactor } from "../reactor";
import { MachinePort } from "./machinePort";
import { PortableReactor } from "./portableReactor";
import { PortableSockets } from "./portableSockets";
import type { IoSockets } from "./streams";

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
  return withPorts(reactor, new PortableSockets(reactor), {
    fast: false,
    // The runtime turns its own loop.
    run: () => undefined,
  });
}

/** Opens the loop that suits this computer. */
export function openReactor({ log }: { readonly log: Log }): Io {
  return openPortableIo(log);
}

function withPorts(reactor: Reactor, sockets: IoSockets, loop: { readonly fast: boolean; run(): void }): Io {
  return {
    reactor,
    sockets,
    fast: loop.fast,
    connectMachine: (path) => new MachinePort(reactor, (handler) => sockets.connectLocal(path, handler)),
    adoptMachine: (descriptor) => new MachinePort(reactor, (handler) => sockets.adopt(descriptor, handler), false),
    run: () => loop.run(),
    stop: () => sockets.dispose(),
  };
}
