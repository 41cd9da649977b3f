import { describe, expect, it } from "vitest";
import { hostEnd } from "../../../../core/net/link/hostLinks";
import { tapNamePattern } from "../../../../core/net/link/linkRequests";
import { formatMac } from "../../../../core/net/wire/addresses";

describe("the name of an interface of ours", () => {
  it("is always the same for the same network, another for others, and one the kernel takes", () => {
    const names = ["Lab", "lab 2", "Übungsnetz", "…", "a very long name of a network"].map((name) => hostEnd("/run/one", name).name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(tapNamePattern);
    expect(hostEnd("/run/one", "Lab")).toEqual(hostEnd("/run/one", "Lab"));
    expect(hostEnd("/run/two", "Lab").name).not.toBe(hostEnd("/run/one", "Lab").name);
  });

  it("has a MAC address of a single station that no vendor gave", () => {
    expect(formatMac(hostEnd("/run/one", "Lab").mac)).toMatch(/^0a(:[0-9a-f]{2}){5}$/);
  });
});
