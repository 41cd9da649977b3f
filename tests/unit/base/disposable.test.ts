import { describe, expect, it } from "vitest";
import { DisposableStore, toDisposable } from "../../../core/base/disposable";

describe("toDisposable", () => {
  it("releases once however often it is disposed", () => {
    let released = 0;
    const item = toDisposable(() => released++);
    item.dispose();
    item.dispose();
    expect(released).toBe(1);
  });
});

describe("DisposableStore", () => {
  it("releases in reverse order", () => {
    const order: string[] = [];
    const store = new DisposableStore();
    for (const name of ["first", "second", "third"]) store.add(toDisposable(() => order.push(name)));
    store.dispose();
    expect(order).toEqual(["third", "second", "first"]);
  });

  it("releases at once what is added after its own disposal", () => {
    const store = new DisposableStore();
    store.dispose();
    let released = false;
    store.add(toDisposable(() => (released = true)));
    expect(released).toBe(true);
  });

  it("releases the rest when one fails, and then says which failed", () => {
    const store = new DisposableStore();
    let released = false;
    store.add(toDisposable(() => (released = true)));
    store.add(
      toDisposable(() => {
        throw new Error("stuck");
      }),
    );
    expect(() => store.dispose()).toThrow(AggregateError);
    expect(released).toBe(true);
  });
});
