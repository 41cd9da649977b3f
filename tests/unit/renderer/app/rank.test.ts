import { describe, expect, it } from "vitest";
import { rank } from "../../../../renderer/app/rank";

const text = (entry: string) => entry;

describe("the palette's search", () => {
  it("shows everything as it came while nothing is typed", () => {
    expect(rank(["b", "a"], "  ", text)).toEqual(["b", "a"]);
  });

  it("wants every word, in any order and case", () => {
    expect(rank(["Start: web-01", "Pause: web-01", "Start: db"], "WEB start", text)).toEqual(["Start: web-01"]);
  });

  it("puts a beginning before the beginning of a word, and that before the middle", () => {
    expect(rank(["restart", "re start", "start"], "start", text)).toEqual(["start", "re start", "restart"]);
  });

  it("keeps the order of equals", () => {
    expect(rank(["start b", "start a"], "start", text)).toEqual(["start b", "start a"]);
  });
});
