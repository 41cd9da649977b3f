import { describe, expect, it } from "vitest";
import { chooseMachine } from "../../../core/cli/machines";
import { facts, table } from "../../../core/cli/table";
import type { MachineInfo } from "../../../core/contract/model";

function machine(id: string, name: string): MachineInfo {
  return { id: `${id}-0000-4000-8000-000000000000`, name, folder: "/", state: "off", since: 0, unresponsive: false, guest: { agent: "none", addresses: [] } };
}

const web = machine("01234567", "web");
const other = machine("0123ffff", "Web");
const beef = machine("aaaaaaaa", "beef");
const byId = machine("beef0000", "Köln 東京");
const all = [web, other, beef, byId];

describe("the machine a person means", () => {
  it.each([
    ["web", web],
    ["Web", other],
    ["01234567", web],
    ["0123f", other],
    [web.id.toUpperCase(), web],
    ["beef", beef],
    ["beef0", byId],
    ["ko\u0308ln 東京", byId],
    ["Ko\u0308ln 東京", byId],
    ["BEEF", byId],
  ])("by %s is found", (said, expected) => {
    expect(chooseMachine(all, said)).toBe(expected);
  });

  it("is not guessed when it could be several", () => {
    expect(() => chooseMachine(all, "0123")).toThrow(/could be any of 2/);
    expect(() => chooseMachine(all, "WEB")).toThrow(/could be any of 2/);
  });

  it("is not there, with what there is", () => {
    expect(() => chooseMachine(all, "012")).toThrow(/no machine "012"/);
    expect(() => chooseMachine(all, "")).toThrow(/no machine/);
    expect(() => chooseMachine([], "web")).toThrow(expect.objectContaining({ code: "not-found", remedy: expect.stringContaining("terrarium create") as string }) as Error);
  });
});

describe("text in columns", () => {
  it("lines up, also where characters are wide or combine", () => {
    expect(table(["NAME", "X"], [["東京", "1"], ["ko\u0308ln", "2"], ["a", "3"]])).toBe("NAME  X\n東京  1\nko\u0308ln  2\na     3");
  });

  it("leaves out what has no value and indents what has several lines", () => {
    expect(facts([["A", "1"], ["Gone", undefined], ["Long", "x\ny"]])).toBe("A:     1\nLong:  x\n       y");
  });
});
