import type { Event } from "../base/emitter";

/** The longest Ethernet frame that is carried, in bytes without the frame check sequence; as QEMU's `-netdev stream`. */
export const maxFrameBytes = 65_550;

/**
 * The one seam between a network adapter and the fabric. A port carries whole Ethernet frames, without preamble and
 * frame check sequence. Trace, capture and conditions are decorators of it.
 */
export interface FramePort {
  /**
   * A frame arrived from the other side. The bytes belong to the port and are reused after the listener returns:
   * whoever keeps them copies them.
   */
  readonly onDidReceive: Event<Uint8Array>;
  /** Sends a frame to the other side. The bytes are taken before the call returns. A port without a peer drops it. */
  send(frame: Uint8Array): void;
  /**
   * Whether the other side takes frames as fast as they come. A sender that can wait should, until `onDidDrain`;
   * frames sent all the same may be dropped, as on any Ethernet.
   */
  readonly writable: boolean;
  readonly onDidDrain: Event<void>;
}
