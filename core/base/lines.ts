/**
 * Cuts a byte stream into lines (without their line feed) and refuses to grow: a line longer than `maxBytes` ends the
 * reading. What follows the last line stays available, for a connection that turns into a raw stream.
 */
export class LineReader {
  private pieces: Buffer[] = [];
  /** So many pieces, of so many bytes together, were searched and hold no line feed. */
  private searched = 0;
  private searchedBytes = 0;
  private held = 0;

  constructor(private readonly maxBytes: number) {}

  /** Takes a chunk in; `next` then gives its lines. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.pieces.push(chunk);
    this.held += chunk.length;
  }

  /** The next whole line, `undefined` when none is there yet, `"too-long"` when the coming one passes the limit. */
  next(): { readonly line: string } | "too-long" | undefined {
    for (; this.searched < this.pieces.length; this.searched++) {
      const piece = this.pieces[this.searched]!;
      const at = piece.indexOf(0x0a);
      const length = this.searchedBytes + at;
      if (at >= 0) return length > this.maxBytes ? "too-long" : { line: this.cut(length) };
      this.searchedBytes += piece.length;
    }
    return this.held > this.maxBytes ? "too-long" : undefined;
  }

  /** Hands out what no line has taken, and forgets it. */
  takeRest(): Buffer {
    const rest = this.pieces.length === 1 ? this.pieces[0]! : Buffer.concat(this.pieces);
    this.keep(Buffer.alloc(0));
    return rest;
  }

  /** Takes `length` bytes and the line feed after them. */
  private cut(length: number): string {
    const whole = this.takeRest();
    this.keep(whole.subarray(length + 1));
    return whole.toString("utf8", 0, length);
  }

  private keep(rest: Buffer): void {
    this.pieces = rest.length > 0 ? [rest] : [];
    this.searched = 0;
    this.searchedBytes = 0;
    this.held = rest.length;
  }
}
