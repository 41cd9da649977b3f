import { describe, expect, it } from "vitest";
import { MacAddress, MachinePatch } from "../../../../core/contract/model";
import { draftOf, freshMac, malformed, patchOf, rebased } from "../../../../renderer/features/machines/settings/draft";
import { fakeMachine } from "../../../support/fakeDesktop";

const config = fakeMachine("web", { config: { group: "lab" } }).config!;

describe("the draft of a machine's settings", () => {
  it("is no change when nothing was touched", () => {
    expect(patchOf(config, draftOf(config))).toEqual({});
  });

  it("sends exactly what differs, in a form the contract accepts", () => {
    const patch = patchOf(config, { ...draftOf(config), memoryMiB: "512", name: "db", group: " ", removeDisks: ["disk0"], addDisks: [{ sizeBytes: 512 }] });
    expect(patch).toEqual({ memoryMiB: 512, name: "db", group: null, removeDisks: ["disk0"], addDisks: [{ sizeBytes: 512 }] });
    expect(MachinePatch.safeParse(patch).success).toBe(true);
  });

  it("calls a field that holds no number malformed and leaves it out of the change", () => {
    const draft = { ...draftOf(config), memoryMiB: "lots", cpus: "0" };
    expect(malformed(draft).map((finding) => finding.field)).toEqual(["memoryMiB", "cpus"]);
    expect(patchOf(config, draft)).toEqual({});
  });

  it("reverts nothing that someone else changed meanwhile, and keeps what was typed", () => {
    const adapter = (last: string) => ({ ...config.adapters[0]!, mac: `52:54:00:00:00:${last}`, plugged: true });
    const base = { ...config, adapters: [adapter("01"), adapter("02")], disks: [] };
    const draft = { ...draftOf(base), memoryMiB: "512", adapters: [{ ...adapter("01"), plugged: false }, adapter("02")], removeDisks: ["disk0"] };
    const theirs = { ...base, name: "renamed", adapters: [adapter("01"), { ...adapter("02"), plugged: false }, adapter("03")] };
    const after = rebased(draft, base, theirs);
    expect(patchOf(theirs, after)).toEqual({ memoryMiB: 512, adapters: [{ ...adapter("01"), plugged: false }, { ...adapter("02"), plugged: false }, adapter("03")] });
    expect(patchOf(theirs, rebased({ ...draftOf(base), memoryMiB: "lots" }, base, theirs))).toEqual({});
    expect(rebased({ ...draftOf(base), memoryMiB: "lots" }, base, theirs).memoryMiB).toBe("lots");
  });

  it("sends another engine and another way to boot", () => {
    const boot = { kind: "firmware", order: "cd" } as const;
    expect(patchOf(config, { ...draftOf(config), engine: "qemu", boot })).toEqual({ engine: "qemu", boot });
  });

  it("takes a model that is left out for the one it stands for, and the order of members for nothing", () => {
    const [adapter] = config.adapters;
    expect(patchOf(config, { ...draftOf(config), adapters: [{ ...adapter!, model: "virtio" }] })).toEqual({});
    const turned = Object.fromEntries(Object.entries(adapter!).reverse()) as typeof adapter;
    expect(patchOf(config, { ...draftOf(config), adapters: [turned!] })).toEqual({});
    expect(patchOf(config, { ...draftOf(config), adapters: [{ ...adapter!, model: "e1000" }] })).toEqual({ adapters: [{ ...adapter, model: "e1000" }] });
  });

  it("sends no settings of a disk that is taken out", () => {
    const draft = { ...draftOf(config), disks: { disk0: { ...draftOf(config).disks["disk0"]!, bus: "sata" as const } } };
    expect(patchOf(config, draft)).toEqual({ disks: [{ id: "disk0", bus: "sata" }] });
    expect(patchOf(config, { ...draft, removeDisks: ["disk0"] })).toEqual({ removeDisks: ["disk0"] });
  });

  it("follows a group and an engine that someone else has set, and keeps disks that were asked for here", () => {
    const theirs = { ...config, group: "week 6", engine: "qemu" as const };
    expect(patchOf(theirs, rebased({ ...draftOf(config), addDisks: [{ sizeBytes: 512 }] }, config, theirs))).toEqual({ addDisks: [{ sizeBytes: 512 }] });
  });

  it("makes addresses of single stations that are different each time", () => {
    const made = Array.from({ length: 50 }, freshMac);
    for (const mac of made) expect(MacAddress.safeParse(mac).success).toBe(true);
    expect(new Set(made).size).toBeGreaterThan(45);
  });
});
