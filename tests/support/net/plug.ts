import { newCounters, type FramePort, type FrameSink } from "../../../core/net/port";
import { write32 } from "../../../core/net/wire/addresses";

/** The end of a cable in a test: `say` sends frames into the fabric, `heard` keeps what came out of it. */
export class Plug implements FramePort {
  readonly counters = newCounters();
  writable = true;
  /** Frames, oldest first. */
  heard: Uint8Array[] = [];
  /** How many calls brought them. */
  runs = 0;
  /** Where runs came from, to see whether they were copied. */
  lastRun: { readonly bytes: Uint8Array; readonly at: number; readonly end: number } | undefined;
  disposed = false;

  private sink: FrameSink | undefined;

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  get isConnected(): boolean {
    return this.sink !== undefined;
  }

  frames(bytes: Uint8Array, at: number, end: number): void {
    this.runs++;
    this.lastRun = { bytes, at, end };
    for (const frame of framesOf(bytes, at, end)) this.heard.push(frame);
  }

  /** Sends these frames as one run. */
  say(...frames: readonly Uint8Array[]): Uint8Array {
    const run = runOf(frames);
    this.sink?.frames(run, 0, run.length);
    return run;
  }

  /** What came since the last time. */
  take(): Uint8Array[] {
    return this.heard.splice(0);
  }

  dispose(): void {
    this.disposed = true;
    this.sink = undefined;
  }
}

export function runOf(frames: readonly Uint8Array[]): Uint8Array {
  const run = new Uint8Array(frames.reduce((total, frame) => total + 4 + frame.length, 0));
  let at = 0;
  for (const frame of frames) {
    write32(run, at, frame.length);
    run.set(frame, at + 4);
    at += 4 + frame.length;
  }
  return run;
}

export function framesOf(bytes: Uint8Array, at: number, end: number): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const frames: Uint8Array[] = [];
  for (let position = at; position < end; position += 4 + view.getUint32(position)) frames.push(bytes.slice(position + 4, position + 4 + view.getUint32(position)));
  return frames;
}
