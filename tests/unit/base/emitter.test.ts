import { describe, expect, it } from "vitest";
import { Emitter } from "../../../core/base/emitter";

describe("Emitter", () => {
  it("tells every listener, in the order they came", () => {
    const emitter = new Emitter<number>();
    const seen: string[] = [];
    emitter.event((value) => seen.push(`a${value}`));
    emitter.event((value) => seen.push(`b${value}`));
    emitter.fire(1);
    expect(seen).toEqual(["a1", "b1"]);
  });

  it("counts one function subscribed twice as two subscriptions", () => {
    const emitter = new Emitter<number>();
    let calls = 0;
    const listener = (): void => void calls++;
    const first = emitter.event(listener);
    emitter.event(listener);
    emitter.fire(0);
    first.dispose();
    emitter.fire(0);
    expect(calls).toBe(3);
  });

  it("tells the others when a listener throws, and throws it then", () => {
    const emitter = new Emitter<number>();
    const seen: number[] = [];
    const bug = new Error("a bug");
    const first = emitter.event(() => {
      throw bug;
    });
    emitter.event((value) => seen.push(value));
    expect(() => emitter.fire(1)).toThrow(bug);
    expect(seen).toEqual([1]);
    emitter.event(() => {
      throw new Error("another");
    });
    expect(() => emitter.fire(2)).toThrow(AggregateError);
    expect(seen).toEqual([1, 2]);
    first.dispose();
  });

  it("lets a listener leave while it is told", () => {
    const emitter = new Emitter<number>();
    const seen: number[] = [];
    const subscription = emitter.event((value) => {
      seen.push(value);
      subscription.dispose();
    });
    emitter.fire(1);
    emitter.fire(2);
    expect(seen).toEqual([1]);
    expect(emitter.hasListeners).toBe(false);
  });
});
