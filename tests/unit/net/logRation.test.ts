import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { rationLines } from "../../../core/net/logRation";

describe("a log whose lines are rationed", () => {
  it("takes a burst, then a line a second, and says how many were left out", () => {
    const clock = new ManualClock();
    const lines: string[] = [];
    const say = rationLines((line) => lines.push(line), clock);
    for (let count = 0; count < 100_000; count++) say("a guest's fault");
    expect(lines).toHaveLength(200);
    clock.advance(1000);
    say("something else");
    expect(lines.slice(200)).toEqual([expect.stringMatching(/ warn {2}99800 lines are left out here, there were too many$/), "something else"]);
  });

  it("takes everything again after a while", () => {
    const clock = new ManualClock();
    const lines: string[] = [];
    const say = rationLines((line) => lines.push(line), clock);
    for (let count = 0; count < 200; count++) say("a guest's fault");
    clock.advance(200_000);
    for (let count = 0; count < 200; count++) say("and again");
    expect(lines).toHaveLength(400);
  });
});
