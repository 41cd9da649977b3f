import { closeSync, openSync, writeSync } from "node:fs";
import type { FramePort, FrameSink, PortCounters } from "../../../core/net/port";
import { read32 } from "../../../core/net/wire/addresses";

/** A port whose frames, both ways, are written to a file while one is open (pcap-savefile(5): Ethernet, microseconds). */
export class CapturedPort implements FramePort {
  private sink: FrameSink | undefined;
  private file: number | undefined;
  private readonly header = new Uint32Array(4);

  constructor(private readonly inner: FramePort) {
    inner.connect({
      frames: (bytes, at, end) => {
        this.keep(bytes, at, end);
        this.sink?.frames(bytes, at, end);
      },
    });
  }

  get counters(): PortCounters {
    return this.inner.counters;
  }

  get writable(): boolean {
    return this.inner.writable;
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.keep(bytes, at, end);
    this.inner.frames(bytes, at, end);
  }

  /** Writes to `path` from now on; without one, nowhere. */
  capture(path: string | undefined): void {
    if (this.file !== undefined) closeSync(this.file);
    this.file = path === undefined ? undefined : openSync(path, "w");
    if (this.file !== undefined) writeSync(this.file, Uint32Array.of(0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1));
  }

  dispose(): void {
    this.capture(undefined);
    this.inner.dispose();
  }

  private keep(bytes: Uint8Array, at: number, end: number): void {
    if (this.file === undefined) return;
    const microseconds = Math.floor(performance.now() * 1000);
    for (let next = at; next < end; ) {
      const length = read32(bytes, next);
      this.header.set([Math.floor(microseconds / 1e6), microseconds % 1e6, length, length]);
      writeSync(this.file, this.header);
      writeSync(this.file, bytes, next + 4, length);
      next += 4 + length;
    }
  }
}
