import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TimerHeap } from "../../../../core/net/io/timerHeap";
import type { Disposable } from "../../../../core/base/disposable";

describe("the timers", () => {
  it("fall due in the order of their moments, equal ones in the order they were set, whatever is cancelled between", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("set" as const), at: fc.integer({ min: 0, max: 50 }) }),
      fc.record({ kind: fc.constant("cancel" as const), at: fc.nat({ max: 200 }) }),
      fc.record({ kind: fc.constant("advance" as const), at: fc.integer({ min: 0, max: 20 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const timers = new TimerHeap();
        let model: { at: number; id: number }[] = [];
        const set: Disposable[] = [];
        const called: number[] = [];
        let now = 0;
        for (const { kind, at } of steps) {
          if (kind === "set") {
            const id = set.length;
            set.push(timers.add(now + at, () => called.push(id)));
            model.push({ at: now + at, id });
          } else if (kind === "cancel") {
            set[at]?.dispose();
            model = model.filter((timer) => timer.id !== at);
          } else {
            now += at;
            const due = model.filter((timer) => timer.at <= now).sort((one, other) => one.at - other.at || one.id - other.id);
            model = model.filter((timer) => timer.at > now);
            called.length = 0;
            for (let next = timers.takeDue(now, timers.count); next; next = timers.takeDue(now, timers.count)) next();
            expect(called).toEqual(due.map((timer) => timer.id));
          }
          expect(timers.size).toBe(model.length);
          expect(timers.next).toBe(Math.min(Infinity, ...model.map((timer) => timer.at)));
        }
      }),
    );
  });

  it("leave those for later that are set while others are called", () => {
    const timers = new TimerHeap();
    let calls = 0;
    const again = (): void => {
      calls++;
      timers.add(0, again);
    };
    timers.add(0, again);
    const set = timers.count;
    for (let due = timers.takeDue(10, set); due; due = timers.takeDue(10, set)) due();
    expect(calls).toBe(1);
    expect(timers.size).toBe(1);
  });

  it("are set, moved and cancelled by the hundred thousand without one staying behind", () => {
    const timers = new TimerHeap();
    let set: Disposable[] = [];
    for (let round = 0; round < 20; round++) {
      for (const timer of set) timer.dispose();
      set = Array.from({ length: 10_000 }, (_, index) => timers.add((index * 7919) % 10_007, () => undefined));
    }
    expect(timers.size).toBe(10_000);
    let last = -1;
    for (let next = timers.next; timers.takeDue(next, timers.count); next = timers.next) {
      expect(next).toBeGreaterThanOrEqual(last);
      last = next;
    }
    expect(timers.size).toBe(0);
  });
});
