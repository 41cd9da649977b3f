import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { Emitter } from "../../../core/base/emitter";
import { whenIdle } from "../../../core/cli/serve";

describe("a headless host service with nothing to do", () => {
  function watched(): { clock: ManualClock; set(busy: boolean): Promise<void>; idles: () => number; dispose(): void } {
    const clock = new ManualClock();
    const changed = new Emitter<void>();
    let busy = false;
    let idles = 0;
    const watch = whenIdle({ idleMs: 1000, onDidChange: [changed.event], isBusy: () => Promise.resolve(busy), onIdle: () => idles++ }, clock);
    return {
      clock,
      async set(value) {
        busy = value;
        changed.fire();
        await Promise.resolve();
        await Promise.resolve();
      },
      idles: () => idles,
      dispose: () => watch.dispose(),
    };
  }

  it("ends after its time, counted from the last thing it did", async () => {
    const { clock, set, idles } = watched();
    await set(false);
    clock.advance(900);
    await set(true);
    clock.advance(5000);
    expect(idles()).toBe(0);
    await set(false);
    clock.advance(999);
    expect(idles()).toBe(0);
    clock.advance(1);
    expect(idles()).toBe(1);
  });

  it("is not kept alive by news that change nothing", async () => {
    const { clock, set, idles } = watched();
    await set(false);
    clock.advance(600);
    await set(false);
    clock.advance(400);
    expect(idles()).toBe(1);
  });

  it("does nothing any more when it was disposed", async () => {
    const { clock, set, idles, dispose } = watched();
    await set(false);
    dispose();
    clock.advance(5000);
    expect(idles()).toBe(0);
  });
});
