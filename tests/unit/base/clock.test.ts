import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";

describe("ManualClock", () => {
  it("runs what falls due in the order of its time", () => {
    const clock = new ManualClock();
    const order: string[] = [];
    clock.schedule(20, () => order.push("late"));
    clock.schedule(10, () => order.push("early"));
    clock.advance(15);
    expect(order).toEqual(["early"]);
    clock.advance(5);
    expect(order).toEqual(["early", "late"]);
  });

  it("runs what a callback schedules within the same step", () => {
    const clock = new ManualClock(1000);
    const at: number[] = [];
    clock.schedule(10, () => clock.schedule(10, () => at.push(clock.now())));
    clock.advance(30);
    expect(at).toEqual([1020]);
    expect(clock.now()).toBe(1030);
  });

  it("does not run what was cancelled", () => {
    const clock = new ManualClock();
    let ran = false;
    clock.schedule(10, () => (ran = true)).dispose();
    clock.advance(10);
    expect(ran).toBe(false);
  });
});
