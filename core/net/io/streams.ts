import type { Disposable } from "../../base/disposable";
import type { HostSockets, HostTcp, HostTcpHandler } from "../nat/hostSockets";

/** Byte streams on this computer, beside the sockets to elsewhere: they behave as a connection of TCP does. */
export interface LocalStreams {
  /** Connects to a Unix socket. */
  connectLocal(path: string, handler: HostTcpHandler): HostTcp;
  /** Takes a connected stream socket of this process over, with its descriptor; `connected` follows. */
  adopt(descriptor: number, handler: HostTcpHandler): HostTcp;
}

/** All sockets of one loop. Disposing closes every one that is left. */
export interface IoSockets extends HostSockets, LocalStreams, Disposable {}

/** How long a closed connection is waited for to take our last bytes before it is let go of, milliseconds. */
export const lingerMs = 10_000;
