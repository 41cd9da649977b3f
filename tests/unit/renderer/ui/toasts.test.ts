import { afterEach, describe, expect, it } from "vitest";
import { attempt, toasts } from "../../../../renderer/ui/toasts";

afterEach(() => {
  for (const toast of toasts.get()) toasts.close(toast.id);
});

const shown = () => toasts.get().map(({ about, message }) => [about, message]);

describe("short messages", () => {
  it("say the same complaint about one thing once, and about two things twice", () => {
    for (const about of ["web", "db", "web"]) toasts.show({ level: "warning", about, message: "It is running." });
    expect(shown()).toEqual([["db", "It is running."], ["web", "It is running."]]);
  });

  it("say what an attempt that failed was about, with its remedy", async () => {
    expect(await attempt(() => Promise.reject(Object.assign(new Error("It is full."), { remedy: "Free some." })), "web")).toBeUndefined();
    expect(toasts.get()).toMatchObject([{ level: "error", about: "web", message: "It is full.", remedy: "Free some." }]);
    expect(await attempt(() => Promise.resolve(7), "web")).toBe(7);
    expect(shown()).toHaveLength(1);
  });

  it("are four at once, the newest ones", () => {
    for (let number = 0; number < 6; number++) toasts.show({ level: "info", message: String(number) });
    expect(shown().map(([, message]) => message)).toEqual(["2", "3", "4", "5"]);
  });
});
