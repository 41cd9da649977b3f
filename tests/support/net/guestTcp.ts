import type { ManualReactor } from "../../../core/net/reactor";
import { IpProtocol } from "../../../core/net/wire/ipv4";
import { readTcp, TcpFlag, writeTcp, type TcpSegment } from "../../../core/net/wire/tcp";
import type { FakeHost, FakeTcp } from "./fakeHost";
import { ipv4Frame, type Station } from "./frames";
import type { Plug } from "./plug";

/** A guest's end of a TCP connection to the outside, segment by segment: for tests of what many of them may do. */
export class GuestTcp {
  private sequence = 1;
  private acknowledgment = 0;

  constructor(
    private readonly line: { readonly reactor: ManualReactor; readonly host: FakeHost; readonly plug: Plug },
    private readonly guest: Station,
    private readonly port: number,
    private readonly remote: Station,
  ) {}

  /** Asks for a connection: the socket that the host makes for it, if it makes one. */
  call(): FakeTcp | undefined {
    const { tcp } = this.line.host;
    const before = tcp.length;
    this.sequence = 1;
    this.say(TcpFlag.syn);
    this.sequence++;
    return tcp.length > before ? tcp[before] : undefined;
  }

  /** The whole handshake, with a peer that takes the call. */
  connect(): FakeTcp | undefined {
    const socket = this.call();
    socket?.handler?.connected();
    this.line.reactor.endTurn();
    const answer = this.hear().pop();
    if (answer === undefined) return undefined;
    this.acknowledgment = answer.sequence + 1;
    this.say(TcpFlag.ack);
    return socket;
  }

  send(data: Uint8Array): void {
    this.say(TcpFlag.ack, data);
    this.sequence += data.length;
  }

  /** What came for this connection. */
  hear(): TcpSegment[] {
    return this.line.plug.take().flatMap((frame) => {
      const segment = frame[23] === IpProtocol.tcp ? readTcp(frame, 34, frame.length) : undefined;
      return segment?.destinationPort === this.port ? [segment] : [];
    });
  }

  private say(flags: number, data: Uint8Array = new Uint8Array(0)): void {
    const { guest, remote, line } = this;
    const segment = new Uint8Array(20 + data.length);
    segment.set(data, 20);
    writeTcp(segment, 0, segment.length, guest.address, remote.address, { sourcePort: this.port, destinationPort: 80, sequence: this.sequence, acknowledgment: this.acknowledgment, flags, window: 65_535 });
    line.plug.say(ipv4Frame(guest.mac, remote.mac, { source: guest.address, destination: remote.address, protocol: IpProtocol.tcp }, segment));
    line.reactor.endTurn();
  }
}
