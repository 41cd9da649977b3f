import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Disposable } from "../base/disposable";

/**
 * A file the machine boots from. It is held open: a reset must boot what the machine was started with, also when the
 * file has been replaced since.
 */
export class InputFile implements Disposable {
  private readonly fd: number;

  /** Throws with a reason for people; `what` is the file's part in the machine. */
  constructor(
    private readonly what: string,
    private readonly path: string,
  ) {
    try {
      this.fd = openSync(path, "r");
    } catch (error) {
      throw this.failure(error);
    }
  }

  read(): Uint8Array {
    try {
      const bytes = new Uint8Array(fstatSync(this.fd).size);
      let done = 0;
      while (done < bytes.length) {
        const count = readSync(this.fd, bytes, done, bytes.length - done, done);
        if (count === 0) throw new Error("it became shorter");
        done += count;
      }
      return bytes;
    } catch (error) {
      throw this.failure(error);
    }
  }

  dispose(): void {
    closeSync(this.fd);
  }

  private failure(error: unknown): Error {
    return new Error(`The ${this.what} ${this.path} cannot be read: ${(error as Error).message}`);
  }
}
