import { Duplex } from "node:stream";

/** What is used of node-pty's terminal. */
export interface Pty {
  onData(listener: (data: string | Uint8Array) => void): unknown;
  onExit(listener: (end: { exitCode: number }) => void): unknown;
  write(data: Buffer): void;
  resize(columns: number, rows: number): void;
  pause(): void;
  resume(): void;
  kill(signal?: string): void;
}

/** A pseudoterminal with a program in it as a stream. The program gets a hangup when the stream is destroyed. */
export class PtyStream extends Duplex {
  private over = false;

  constructor(private readonly pty: Pty) {
    super({ highWaterMark: 1 << 16 });
    pty.onData((data) => {
      if (!this.destroyed && !this.push(Buffer.from(data as string))) pty.pause();
    });
    pty.onExit(() => {
      this.over = true;
      if (!this.destroyed) this.push(null);
    });
  }

  setSize(columns: number, rows: number): void {
    // The program may have ended a moment ago; then there is nothing to resize.
    if (!this.over && !this.destroyed) this.pty.resize(columns, rows);
  }

  override _read(): void {
    if (!this.over) this.pty.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.over) this.pty.write(chunk);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.over) this.pty.kill();
    done(error);
  }
}
