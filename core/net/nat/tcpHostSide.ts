import type { HostTcp } from "./hostSockets";
import { chunkBytes } from "./tcpBuffer";
import type { TcpReceiver } from "./tcpReceiver";
import type { TcpSender } from "./tcpSender";

/** Read from one connection in one turn at most, so that the others have theirs. */
const mostPerTurn = 512 * 1024;

/**
 * The host's end of a connection: fills the sender from the socket as far as there is room, and empties the receiver into
 * it as far as it takes. Nothing is read that there is no room for, so the far end is slowed down by its own TCP.
 */
export class TcpHostSide {
  /** The far end has sent the end of its stream. */
  ended = false;
  /** There was no memory for what there is to read. */
  starved = false;
  /** What was read last filled all that was asked for, so there is probably more. */
  more = false;
  private reading = false;
  private blocked = false;
  private shut = false;
  private gone = false;

  constructor(private readonly socket: HostTcp) {}

  /** Takes bytes for the guest, and says when to be called again; true when anything came. */
  fill(sender: TcpSender): void {
    if (this.ended || this.gone) return;
    for (let budget = mostPerTurn; budget > 0 && sender.room > 0; ) {
      const chunk = sender.buffer.chunkAt(sender.end);
      this.starved = !chunk;
      this.more = false;
      if (!chunk) break;
      const at = sender.end % chunkBytes;
      const asked = Math.min(chunkBytes - at, sender.room);
      const count = this.socket.read(chunk, at, at + asked);
      if (count < 0) {
        this.ended = true;
        sender.finish();
        break;
      }
      sender.appended(count);
      budget -= count;
      this.more = count === asked;
      if (!this.more) break;
    }
    sender.releaseUnused();
    this.listen(sender);
  }

  /** There is more to read at once, and room for it. */
  hungry(sender: TcpSender): boolean {
    return this.more && !this.ended && sender.wantsMore;
  }

  /** Has the socket tell when there is something to read, if there is room for it. */
  listen(sender: TcpSender): void {
    if (this.gone) return;
    const wanted = !this.ended && !this.starved && (this.reading ? sender.room > 0 : sender.wantsMore);
    if (wanted === this.reading) return;
    this.reading = wanted;
    this.socket.setReading(wanted);
  }

  /** Hands on what came from the guest, then the end of it. */
  drain(receiver: TcpReceiver): void {
    if (this.gone || this.blocked) return;
    if (!receiver.drained) this.blocked = !receiver.drain(this.socket);
    if (receiver.finished && receiver.drained && !this.shut) {
      this.shut = true;
      this.socket.shutdown();
    }
  }

  /** Where data of the guest may be put directly; undefined while the socket is full. */
  get taker(): HostTcp | undefined {
    return this.blocked || this.gone ? undefined : this.socket;
  }

  writable(): void {
    this.blocked = false;
  }

  /** The socket has failed: it is not touched any more. */
  failed(): void {
    this.gone = true;
  }

  close(): void {
    if (this.gone) return;
    this.gone = true;
    this.socket.close();
  }

  reset(): void {
    if (this.gone) return;
    this.gone = true;
    this.socket.reset();
  }
}
