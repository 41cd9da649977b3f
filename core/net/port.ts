import type { Disposable } from "../base/disposable";

/** The longest Ethernet frame that is carried, in bytes without the frame check sequence; as QEMU's `-netdev stream`. */
export const maxFrameBytes = 65_550;

/**
 * Takes frames. They come as a run: whole Ethernet frames, without preamble and frame check sequence, each behind its
 * length as a 4-byte big-endian number, in `bytes` from `at` to `end`. Every length was checked to be between
 * `minFrameBytes` and `maxFrameBytes`. The bytes are the caller's and are reused after the call: whoever keeps them
 * copies them. Passing runs on, instead of frames, is what makes a switch fast.
 */
export interface FrameSink {
  frames(bytes: Uint8Array, at: number, end: number): void;
}

/** Frames a port did not carry, by reason. A reason that never came up is absent. */
export type DropReason =
  | "queue-full" // the other side does not read as fast as frames come
  | "no-peer" // nobody is connected, or the cable is pulled
  | "malformed" // too short, too long, or a source address that no station can have
  | "mac-policy" // a source address that is not the adapter's, or is ours
  | "reserved" // to a group that no bridge passes on
  | "rate-limit"
  | "condition"; // a pretended bad line

export interface PortCounters {
  /** Towards the fabric. */
  receivedFrames: number;
  receivedBytes: number;
  /** Towards the other side. */
  sentFrames: number;
  sentBytes: number;
  readonly dropped: Partial<Record<DropReason, number>>;
}

/**
 * The one seam between a network adapter and the fabric: `frames` sends to the other side, and what comes from there
 * goes to the sink that is connected. A machine's socket, a TAP, a card of the host, a gateway and the decorators of
 * these (trace, capture, conditions) all are ports.
 */
export interface FramePort extends FrameSink, Disposable {
  readonly counters: PortCounters;
  /** Where frames from the other side go from now on; undefined drops them. */
  connect(sink: FrameSink | undefined): void;
  /**
   * Whether the other side takes frames as fast as they come. A sender that can wait should; frames sent all the same
   * may be dropped, as on any Ethernet.
   */
  readonly writable: boolean;
}

export function newCounters(): PortCounters {
  return { receivedFrames: 0, receivedBytes: 0, sentFrames: 0, sentBytes: 0, dropped: {} };
}

export function countDrop(counters: PortCounters, reason: DropReason, frames = 1): void {
  counters.dropped[reason] = (counters.dropped[reason] ?? 0) + frames;
}
