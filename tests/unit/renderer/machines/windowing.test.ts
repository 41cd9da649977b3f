import { describe, expect, it } from "vitest";
import { layOut, neighbourOf, rowsWithin } from "../../../../renderer/features/machines/windowing";
import { fakeMachine } from "../../../support/fakeDesktop";

const names = (rows: ReturnType<typeof layOut>["rows"]) => rows.map((row) => (row.kind === "group" ? `[${row.group}]` : row.machine.name));

describe("the layout of the machine list", () => {
  it("lists groups by name, machines by name with numbers as numbers, and machines without a group last", () => {
    const machines = [fakeMachine("web-10", { config: { group: "lab" } }), fakeMachine("web-2", { config: { group: "lab" } }), fakeMachine("alone"), fakeMachine("x", { config: { group: "Archive" } })];
    expect(names(layOut(machines, new Set(), "").rows)).toEqual(["[Archive]", "x", "[lab]", "web-2", "web-10", "[]", "alone"]);
  });

  it("needs no heads when there are no groups", () => {
    expect(names(layOut([fakeMachine("b"), fakeMachine("a")], new Set(), "").rows)).toEqual(["a", "b"]);
  });

  it("hides the machines of a folded group, except from a search", () => {
    const machines = [fakeMachine("web", { config: { group: "lab" } })];
    expect(names(layOut(machines, new Set(["lab"]), "").rows)).toEqual(["[lab]"]);
    expect(names(layOut(machines, new Set(["lab"]), "we").rows)).toEqual(["[lab]", "web"]);
  });

  it("searches names, groups and addresses", () => {
    const machines = [
      fakeMachine("Äpfel"),
      fakeMachine("router", { guest: { agent: "answering", addresses: [{ adapter: 0, address: "10.9.0.21" }] } }),
      fakeMachine("db", { config: { group: "Testing" } }),
    ];
    expect(names(layOut(machines, new Set(), "äp").rows)).toEqual(["Äpfel"]);
    expect(names(layOut(machines, new Set(), "9.0.2").rows)).toEqual(["router"]);
    expect(names(layOut(machines, new Set(), "TEST").rows)).toEqual(["[Testing]", "db"]);
  });

  it("finds exactly the rows that touch a stretch, wherever it lies", () => {
    const machines = Array.from({ length: 200 }, (_, index) => fakeMachine(`m${index}`, { config: { group: `g${index % 7}` } }));
    const { rows, height } = layOut(machines, new Set(), "");
    for (let from = -100; from < height + 100; from += 37) {
      const to = from + 400;
      const touching = rows.filter((row) => row.top + row.height >= from && row.top <= to);
      expect(rowsWithin(rows, from, to)).toEqual(touching);
    }
  });

  it("leaves no gap and no overlap between rows of a group", () => {
    const { rows } = layOut([fakeMachine("a", { config: { group: "g" } }), fakeMachine("b", { config: { group: "g" } })], new Set(), "");
    rows.slice(1).forEach((row, index) => expect(row.top).toBe(rows[index]!.top + rows[index]!.height));
  });
});

describe("the machine beside one that went away", () => {
  const all = new Map(["a", "b", "c", "d"].map((name) => fakeMachine(name)).map((machine) => [machine.id, machine]));
  const idOf = (name: string): string => [...all.values()].find((machine) => machine.name === name)!.id;
  const without = (...names: string[]) => new Map([...all].filter(([, machine]) => !names.includes(machine.name)));

  it("is the next below, at the end of the list the one above", () => {
    expect(neighbourOf(idOf("b"), all, without("b"))).toBe(idOf("c"));
    expect(neighbourOf(idOf("b"), all, without("b", "c"))).toBe(idOf("d"));
    expect(neighbourOf(idOf("d"), all, without("d"))).toBe(idOf("c"));
    expect(neighbourOf(idOf("d"), all, without("b", "c", "d"))).toBe(idOf("a"));
  });

  it("does not exist when nothing is left, or nothing was there", () => {
    expect(neighbourOf(idOf("a"), all, new Map())).toBeUndefined();
    expect(neighbourOf("never seen", all, all)).toBeUndefined();
  });
});
