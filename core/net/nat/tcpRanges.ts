/**
 * Parts of a stream, as sorted ranges [start, end) that neither touch nor overlap: what came out of order, and what the
 * other side says it has (RFC 2018). Their number is bounded, as the other side decides how many there are.
 */
export class Ranges {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  constructor(private readonly limit: number) {}

  get count(): number {
    return this.starts.length;
  }

  startOf(index: number): number {
    return this.starts[index] ?? Infinity;
  }

  endOf(index: number): number {
    return this.ends[index] ?? Infinity;
  }

  /** Behind the last of them; 0 when there is none. */
  get highest(): number {
    return this.ends[this.ends.length - 1] ?? 0;
  }

  /** Whether it could be added: one more range must be allowed, or it joins others. */
  fits(from: number, to: number): boolean {
    if (this.starts.length < this.limit) return true;
    const index = this.firstEndingAt(from);
    return index < this.starts.length && this.startOf(index) <= to;
  }

  /** Adds [from, to); false when that told nothing new, or when there are too many ranges already. */
  add(from: number, to: number): boolean {
    if (from >= to || !this.fits(from, to)) return false;
    const index = this.firstEndingAt(from);
    let start = from;
    let end = to;
    let joined = 0;
    for (; index + joined < this.starts.length && this.startOf(index + joined) <= to; joined++) {
      start = Math.min(start, this.startOf(index + joined));
      end = Math.max(end, this.endOf(index + joined));
    }
    if (joined === 1 && start === this.startOf(index) && end === this.endOf(index)) return false;
    this.starts.splice(index, joined, start);
    this.ends.splice(index, joined, end);
    return true;
  }

  /** The range that holds `position`, as its index; -1 for none. */
  find(position: number): number {
    const index = this.firstEndingAt(position + 1);
    return index < this.starts.length && this.startOf(index) <= position ? index : -1;
  }

  /** Where the next range at or behind `position` begins; Infinity for none. */
  nextStart(position: number): number {
    const index = this.firstEndingAt(position + 1);
    return Math.max(this.startOf(index), position);
  }

  /** Forgets everything before `position`. */
  dropTo(position: number): void {
    let gone = 0;
    while (gone < this.ends.length && this.endOf(gone) <= position) gone++;
    if (gone > 0) {
      this.starts.splice(0, gone);
      this.ends.splice(0, gone);
    }
    if (this.starts.length > 0 && this.startOf(0) < position) this.starts[0] = position;
  }

  clear(): void {
    this.starts.length = 0;
    this.ends.length = 0;
  }

  /** The first range that ends at `position` or behind it. */
  private firstEndingAt(position: number): number {
    let low = 0;
    let high = this.ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.endOf(middle) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
