import { describe, expect, it, vi } from "vitest";
import { ManualClock } from "../../../core/base/clock";
import { createLog, silentLog } from "../../../core/base/log";
import { PreferencesPatch } from "../../../core/contract/desktop";

vi.mock("electron-store", () => ({ default: class {} }));
const { PreferenceStore } = await import("../../../electron/preferences");

const place = { x: 1, y: 2, width: 300, height: 200, maximized: false };

describe("preferences", () => {
  it("have their defaults, keep what was chosen and tell of it", () => {
    const store = new PreferenceStore({ store: {} }, silentLog, new ManualClock());
    expect(store.preferences).toEqual({ theme: "system", hostKey: "ControlRight", consoleScale: "fit", sidebarCollapsed: false, onClose: "ask" });
    const told: string[] = [];
    store.onDidChange(({ theme }) => told.push(theme));
    expect(store.set({ theme: "dark" })).toMatchObject({ theme: "dark", hostKey: "ControlRight" });
    expect(told).toEqual(["dark"]);
  });

  it("are written once, a moment after the last change, or when the app ends", () => {
    const clock = new ManualClock();
    const written: unknown[] = [];
    const file = {
      get store(): Record<string, unknown> {
        return {};
      },
      set store(value: Record<string, unknown>) {
        written.push(structuredClone(value));
      },
    };
    const store = new PreferenceStore(file, silentLog, clock);
    for (let x = 0; x < 50; x++) store.remember("main", { ...place, x });
    expect(written).toHaveLength(0);
    clock.advance(400);
    expect(written).toMatchObject([{ places: { main: { x: 49 } } }]);
    store.set({ sidebarCollapsed: true });
    store.dispose();
    expect(written).toMatchObject([{}, { preferences: { sidebarCollapsed: true } }]);
    clock.advance(1000);
    expect(written).toHaveLength(2);
  });

  it("that were damaged become the defaults, and the rest stays", () => {
    const store = new PreferenceStore({ store: { preferences: { theme: "plaid" }, places: { main: place } } }, silentLog, new ManualClock());
    expect(store.preferences.theme).toBe("system");
    expect(store.place("main")).toEqual(place);
    expect(new PreferenceStore({ store: { places: { main: { x: "left" } } } }, silentLog, new ManualClock()).place("main")).toBeUndefined();
  });

  it("change by what a page names, and by nothing else", () => {
    const store = new PreferenceStore({ store: {} }, silentLog, new ManualClock());
    store.set(PreferencesPatch.parse({ theme: "light", consoleScale: "one" }));
    store.set(PreferencesPatch.parse({ selectedMachine: "m" }));
    expect(store.preferences).toMatchObject({ theme: "light", consoleScale: "one", selectedMachine: "m" });
    expect(() => PreferencesPatch.parse({ theme: "pink" })).toThrow();
    expect(() => PreferencesPatch.parse({ colour: "pink" })).toThrow();
  });

  it("remember a bounded number of windows", () => {
    const store = new PreferenceStore({ store: {} }, silentLog, new ManualClock());
    for (let i = 0; i < 300; i++) store.remember(`console:${i}`, place);
    expect(store.place("console:0")).toBeUndefined();
    expect(store.place("console:299")).toEqual(place);
  });

  it("go on in memory when the disk takes nothing, and the log says so", () => {
    const lines: string[] = [];
    const file = {
      get store(): Record<string, unknown> {
        return {};
      },
      set store(_value: Record<string, unknown>) {
        throw new Error("ENOSPC");
      },
    };
    const clock = new ManualClock();
    const store = new PreferenceStore(file, createLog((line) => lines.push(line)), clock);
    store.set({ theme: "light" });
    clock.advance(400);
    expect(store.preferences.theme).toBe("light");
    expect(lines.join("\n")).toContain("ENOSPC");
  });
});
