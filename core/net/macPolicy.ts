import { countDrop, type FramePort, type FrameSink, type PortCounters } from "./port";
import { read16, read32, type MacNumber } from "./wire/addresses";

/**
 * A port whose guest may send with one address only, its adapter's own: nothing it says can be taken for another's.
 * Without an address it may send with any.
 */
export class MacPolicyPort implements FramePort {
  private sink: FrameSink | undefined;
  private low = 0;
  private high: number | undefined;

  constructor(
    private readonly inner: FramePort,
    own: MacNumber | undefined,
  ) {
    this.setOwn(own);
    inner.connect({ frames: (bytes, at, end) => (this.high === undefined ? this.sink?.frames(bytes, at, end) : this.check(this.high, bytes, at, end)) });
  }

  get counters(): PortCounters {
    return this.inner.counters;
  }

  get writable(): boolean {
    return this.inner.writable;
  }

  /** From now on. */
  setOwn(mac: MacNumber | undefined): void {
    this.low = (mac ?? 0) % 2 ** 32;
    this.high = mac === undefined ? undefined : (mac - this.low) / 2 ** 32;
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.inner.frames(bytes, at, end);
  }

  dispose(): void {
    this.inner.dispose();
  }

  /** Frames in a row that are right go on as one run. */
  private check(high: number, bytes: Uint8Array, at: number, end: number): void {
    let runAt = at;
    let refused = 0;
    for (let position = at; position < end; ) {
      const next = position + 4 + read32(bytes, position);
      if (read16(bytes, position + 10) !== high || read32(bytes, position + 12) !== this.low) {
        if (position > runAt) this.sink?.frames(bytes, runAt, position);
        runAt = next;
        refused++;
      }
      position = next;
    }
    if (runAt < end) this.sink?.frames(bytes, runAt, end);
    if (refused > 0) countDrop(this.inner.counters, "mac-policy", refused);
  }
}
