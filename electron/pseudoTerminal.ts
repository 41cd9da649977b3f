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
  private failed: Error | undefined;

  /** @param failure what a program that ended with `exitCode` has failed in, if it has */
  constructor(
    private readonly pty: Pty,
    failure: (exitCode: number) => Error | undefined = () => undefined,
  ) {
    super({ highWaterMark: 1 << 16 });
    pty.onData((data) => {
      if (!this.destroyed && !this.push(Buffer.from(data as string))) pty.pause();
    });
    pty.onExit(({ exitCode }) => {
      this.over = true;
      if (this.destroyed) return;
      this.failed = failure(exitCode);
      if (!this.failed) this.push(null);
      else if (this.readableLength === 0) this.destroy(this.failed);
    });
  }

  setSize(columns: number, rows: number): void {
    // The program may have ended a moment ago; then there is nothing to resize.
    if (!this.over && !this.destroyed) this.pty.resize(columns, rows);
  }

  /** What the program has said comes first, and then that it failed: the words say why. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    if (this.failed && this.readableLength === 0) this.destroy(this.failed);
    return chunk;
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
