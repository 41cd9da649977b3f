import type { Clock } from "../base/clock";

/** What may be said at once, and from then on each second. */
const burstLines = 200;
const linesPerSecond = 1;

/**
 * Hands lines of a log on, so many and no more: guests decide how often something goes wrong, and the host's disk must
 * not be full of it. How many were left out is said in front of the next one.
 */
export function rationLines(write: (line: string) => void, clock: Clock): (line: string) => void {
  let lines = burstLines;
  let countedAt = clock.monotonic();
  let leftOut = 0;
  return (line) => {
    const now = clock.monotonic();
    lines = Math.min(burstLines, lines + ((now - countedAt) / 1000) * linesPerSecond);
    countedAt = now;
    if (lines < 1) {
      leftOut++;
      return;
    }
    lines--;
    if (leftOut > 0) write(`${new Date(clock.now()).toISOString()} warn  ${leftOut} lines are left out here, there were too many`);
    leftOut = 0;
    write(line);
  };
}
