import type { Socket } from "node:net";
import type { Log } from "../base/log";
import { FrameBatch, FrameDecoder } from "../net/link/stream";
import type { ToWorker } from "./messages";
import { OneClient } from "./sockets";

/** Bytes of frames the guest has not taken yet before the peer has to wait. */
const maxInput = 1024 * 1024;

/** One adapter's socket on the main thread's side. */
export class NetChannel {
  private peer: Socket | undefined;
  private inputOutstanding = 0;
  readonly clients = new OneClient((socket) => this.serve(socket));

  constructor(
    private readonly adapter: number,
    private readonly post: (message: ToWorker, transfer?: readonly ArrayBuffer[]) => void,
    private readonly log: Log,
  ) {}

  /** Frames from the guest, each behind its length already: they go out as they are. */
  output(batch: Uint8Array): void {
    const drained = (): void => this.post({ type: "framesDrained", adapter: this.adapter, bytes: batch.length });
    if (this.peer && !this.peer.destroyed) this.peer.write(batch, drained);
    else drained();
  }

  taken(bytes: number): void {
    this.inputOutstanding = Math.max(0, this.inputOutstanding - bytes);
    if (this.inputOutstanding < maxInput / 2) this.peer?.resume();
  }

  /** A new worker has begun: it has to hear who is there, and the frames the old one held are gone. */
  reset(): void {
    this.inputOutstanding = 0;
    this.peer?.resume();
    this.post({ type: "peer", adapter: this.adapter, present: this.peer !== undefined });
  }

  private serve(socket: Socket | undefined): void {
    this.peer = socket;
    this.post({ type: "peer", adapter: this.adapter, present: socket !== undefined });
    if (!socket) return;
    const decoder = new FrameDecoder();
    const batch = new FrameBatch();
    socket.on("data", (chunk: Buffer) => {
      const fault = decoder.push(chunk, (frame) => batch.append(frame.length).set(frame));
      if (batch.bytes > 0) {
        const frames = batch.drain();
        this.inputOutstanding += frames.length;
        if (this.inputOutstanding > maxInput) socket.pause();
        this.post({ type: "frames", adapter: this.adapter, batch: frames }, [frames.buffer as ArrayBuffer]);
      }
      if (fault !== undefined) {
        this.log.warn(`net${this.adapter}: the peer is cut off: ${fault}`);
        socket.destroy();
      }
    });
  }
}
