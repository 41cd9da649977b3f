import type { HostSockets, HostTcp, HostTcpHandler, HostUdp, HostUdpHandler } from "../../../../core/net/nat/hostSockets";
import { parseIpv4 } from "../../../../core/net/wire/addresses";
import { dnsPort } from "../../../../core/net/wire/dns";

export function ip(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(text);
  return address;
}

export interface SentQuery {
  readonly bytes: Uint8Array;
  readonly to: string;
  /** Answers from where the query went, or pretends to be somebody else. */
  readonly answer: (bytes: Uint8Array, from?: { address?: string; port?: number }) => void;
  /** The host says that nobody is there. */
  readonly fail: () => void;
}

export interface MadeConnection {
  readonly to: string;
  /** What was written into it. */
  readonly heard: number[];
  readonly connect: () => void;
  readonly fail: () => void;
  /** Bytes come, so many at once. */
  readonly say: (bytes: Uint8Array, step?: number) => void;
  readonly end: () => void;
  closed: boolean;
}

/** The host's sockets, with nothing behind them but a test. */
export class FakeNameServers implements HostSockets {
  readonly queries: SentQuery[] = [];
  readonly connections: MadeConnection[] = [];
  openSockets = 0;
  /** Datagrams that the host does not take. */
  refusing = new Set<string>();
  outOfSockets = false;
  /** How much a connection takes at a time. */
  writeStep = Infinity;

  get latest(): SentQuery {
    const query = this.queries.at(-1);
    if (!query) throw new Error("nothing was asked");
    return query;
  }

  bindUdp(local: unknown, handler: HostUdpHandler): Promise<HostUdp> {
    if (local !== undefined) throw new Error("a query's port is the host's to choose");
    if (this.outOfSockets) return Promise.reject(new Error("no more sockets"));
    this.openSockets++;
    let open = true;
    return Promise.resolve({
      address: 0,
      port: 40_000 + this.openSockets,
      send: (bytes, at, end, address, port) => {
        const to = nameOf(address, port);
        if (this.refusing.has(to)) return false;
        this.queries.push({
          bytes: bytes.slice(at, end),
          to,
          answer: (answer, from) => {
            const framed = new Uint8Array(answer.length + 8).fill(0xee);
            framed.set(answer, 4);
            if (open) handler.datagram(framed, 4, 4 + answer.length, from?.address === undefined ? address : ip(from.address), from?.port ?? port);
            framed.fill(0xdd);
          },
          fail: () => open && handler.failed("refused", address, port),
        });
        return true;
      },
      dispose: () => {
        if (open) this.openSockets--;
        open = false;
      },
    });
  }

  connectTcp(address: number, port: number, handler: HostTcpHandler): HostTcp {
    let waiting: Uint8Array = new Uint8Array(0);
    let ended = false;
    let reading = false;
    const made: MadeConnection = {
      to: nameOf(address, port),
      heard: [],
      closed: false,
      connect: () => {
        handler.connected();
        for (let heard = 0; made.heard.length > heard; handler.writable()) heard = made.heard.length;
      },
      fail: () => handler.failed("refused"),
      say: (bytes, step = bytes.length) => {
        for (let at = 0; at < bytes.length && !made.closed; at += step) {
          waiting = bytes.slice(at, at + step);
          if (reading) handler.readable();
        }
      },
      end: () => {
        ended = true;
        handler.readable();
      },
    };
    this.connections.push(made);
    this.openSockets++;
    const close = (): void => {
      if (!made.closed) this.openSockets--;
      made.closed = true;
    };
    return {
      read: (target, at, end) => {
        if (waiting.length === 0) return ended ? -1 : 0;
        const part = waiting.subarray(0, end - at);
        target.set(part, at);
        waiting = waiting.subarray(part.length);
        return part.length;
      },
      setReading: (on) => (reading = on),
      write: (bytes, at, end) => {
        const count = Math.min(end - at, this.writeStep);
        made.heard.push(...bytes.subarray(at, at + count));
        return count;
      },
      shutdown: () => undefined,
      close,
      reset: close,
    };
  }

  listenTcp(): never {
    throw new Error("a forwarder listens to nobody");
  }

  openPing(): never {
    throw new Error("a forwarder pings nobody");
  }
}

function nameOf(address: number, port: number): string {
  const text = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
  return port === dnsPort ? text : `${text}:${port}`;
}
