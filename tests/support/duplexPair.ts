import { Duplex } from "node:stream";

/** Two ends of a connection in memory: what one writes the other reads, with back-pressure like a socket's. */
export function duplexPair(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const make = (index: 0 | 1): Duplex => {
    let waiting: (() => void) | undefined;
    const end = new Duplex({
      read() {
        const resume = waiting;
        waiting = undefined;
        resume?.();
      },
      write(chunk: Buffer, _encoding, done) {
        const other = ends[1 - index];
        if (!other || other.destroyed) done(new Error("EPIPE"));
        else if (other.push(chunk)) done();
        else (other as Duplex & { takeLater(resume: () => void): void }).takeLater(done);
      },
      final(done) {
        const other = ends[1 - index];
        if (other && !other.destroyed) other.push(null);
        done();
      },
      destroy(failure, done) {
        const other = ends[1 - index];
        if (other && !other.destroyed && !other.readableEnded) other.push(null);
        done(failure);
      },
    });
    return Object.assign(end, {
      takeLater(resume: () => void): void {
        waiting = resume;
      },
    });
  };
  const first = make(0);
  const second = make(1);
  ends.push(first, second);
  return [first, second];
}
