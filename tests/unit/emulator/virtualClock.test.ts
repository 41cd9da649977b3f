import { expect, it } from "vitest";
import { VirtualClock } from "../../../core/emulator/virtualClock";

it("stands still while the guest is stopped, and goes on without a jump", () => {
  let host = 100;
  const clock = new VirtualClock(() => host);
  expect(clock.now()).toBe(100);
  clock.stop();
  host = 5100;
  expect(clock.now()).toBe(100);
  clock.run();
  host = 5110;
  expect(clock.now()).toBe(110);
});

it("goes on from a saved moment, stopped or running", () => {
  let host = 7;
  const clock = new VirtualClock(() => host);
  clock.stop();
  clock.set(90_000);
  host = 1000;
  expect(clock.now()).toBe(90_000);
  clock.run();
  host = 1002;
  expect(clock.now()).toBe(90_002);
  clock.set(50);
  host = 1003;
  expect(clock.now()).toBe(51);
});
