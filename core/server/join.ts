import type { Duplex } from "node:stream";

/**
 * Joins two byte channels: what comes from one goes to the other, no faster than it is taken. When one side has said
 * all it has to say the other may still go on (half-close); when one side breaks, both end.
 */
export function joinStreams(a: Duplex, b: Duplex): void {
  a.pipe(b);
  b.pipe(a);
  // An error is followed by the close that ends the other side; both are handled here, so nothing is left to report.
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.on("error", () => other.destroy());
    one.once("close", () => {
      // After an orderly end the other side is still flushing what it was given.
      if (!one.readableEnded || !one.writableFinished) other.destroy();
    });
  }
}
